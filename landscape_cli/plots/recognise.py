"""What a result is, and which figures there are of it."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from landscape_cli.errors import DataError, LandscapeError, UsageError
from landscape_cli.plots.entries import check
from landscape_cli.store.hdf5 import open_hdf5
from landscape_cli.store.runs import is_run
from landscape_cli.store.tables import read_table

Kind = Literal[
    "run",
    "embedding",
    "trajectories",
    "clusters",
    "progress",
    "barrier",
    "pair-distance",
    "comparison",
    "kernel-velocity",
    "linearization",
    "plane",
    "hessian",
    "escape",
    "distances",
    "predictions",
    "curve",
]
Figure = Literal[
    "training",
    "embedding",
    "spectrum",
    "stress",
    "aligned",
    "reading",
    "trajectories",
    "dendrogram",
    "importance",
    "progress",
    "barrier",
    "layers",
    "matrix",
    "spawn",
    "scatter",
    "through",
    "velocity",
    "linearized",
    "advantage",
    "against-barrier",
    "plane",
    "surface",
    "sharpness",
    "density",
    "overlap",
    "escape",
    "models",
    "curve",
]

# The figures of each kind of result; the first is drawn unless another is asked for.
FIGURES: dict[Kind, tuple[Figure, ...]] = {
    "run": ("training",),
    "embedding": ("embedding", "spectrum", "stress", "aligned", "reading"),
    "trajectories": ("trajectories",),
    "clusters": ("dendrogram", "importance"),
    "progress": ("progress",),
    "barrier": ("barrier", "layers"),
    "pair-distance": ("matrix", "spawn", "through"),
    "comparison": ("spawn", "scatter", "matrix"),
    "kernel-velocity": ("velocity", "against-barrier"),
    "linearization": ("linearized", "advantage", "against-barrier"),
    "plane": ("plane", "surface"),
    "hessian": ("sharpness", "density", "overlap"),
    "escape": ("escape",),
    "distances": ("matrix",),
    "predictions": ("models",),
    "curve": ("curve",),
}
# What the kinds of records mean: those of the second column are drawn themselves, those of the first name a file.
FILES: dict[str, Kind] = {
    "embedding": "embedding",
    "trajectories": "trajectories",
    "clusters": "clusters",
    "plane": "plane",
    "distances": "distances",
    "predictions": "predictions",
}
RECORDS: dict[str, Kind] = {
    "run": "run",
    "progress": "progress",
    "barrier": "barrier",
    "path-point": "barrier",
    "barrier-summary": "barrier",
    "curve": "curve",
    "weight-distance": "pair-distance",
    "relu-distance": "pair-distance",
    "function-distance": "pair-distance",
    "gradient-distance": "pair-distance",
    "kernel-distance": "pair-distance",
    "comparison": "comparison",
    "kernel-velocity": "kernel-velocity",
    "linearization": "linearization",
    "kernel-regression": "linearization",
    "hessian": "hessian",
    "escape": "escape",
}
# Results of which there is no figure, and the way to one.
FIRST = {"checkpoint": "landscape predict {0} | landscape progress | landscape plot"}
SIGNATURE = b"\x89HDF\r\n\x1a\n"
DRAWN = (
    "figures are drawn of runs, predictions, distances, embeddings, trajectories, clusters, progress, barriers, "
    "curves, planes, kernels, linearised training, curvature and escape thresholds"
)


@dataclass(frozen=True)
class Result:
    """What is to be drawn.

    Args:
        kind: Which kind of result.
        path: The file it is in; None for records from a pipe or several files.
        records: Its records, if it is no file of its own.
    """

    kind: Kind
    path: Path | None = None
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self.path) if self.path is not None else f"the {self.kind} records"

    def figure(self, asked: Figure | None) -> Figure:
        """The figure to draw.

        Raises:
            UsageError: If there is no such figure of this kind of result.
        """
        possible = FIGURES[self.kind]
        if self.kind == "linearization" and any(RECORDS[record["kind"]] == "barrier" for record in self.records):
            possible = ("against-barrier",)
        if asked is not None and asked not in possible:
            raise UsageError(
                f"{self.name}: there is no figure '{asked}' of {self.kind} results",
                f"there is {', '.join(possible)}",
            )
        if asked is None and self.kind == "barrier" and all("layer" in record for record in self.records):
            return "layers"
        if asked is None and self.kind == "pair-distance":
            if not all(map(_of_siblings, self.records)):
                return "matrix"
            # A pair at several times of its training is a line, one at its end a point.
            pairs = {tuple(str(r[side]).rpartition("@")[0] or str(r[side]) for side in "ab") for r in self.records}
            return "spawn" if len(pairs) == len(self.records) else "through"
        return asked or possible[0]

    def default_out(self, figure: Figure) -> Path:
        """Where the figure goes by default: beside the file, else here."""
        base = self.path if self.path is not None else Path(self.kind)
        first = figure == FIGURES[self.kind][0]
        if self.kind == "run":  # a picture of a run lies beside its directory, not in it
            return base.with_name(f"{base.name}-{figure}.png")
        return base.with_name(f"{base.stem}.png" if first else f"{base.stem}-{figure}.png")


def _of_siblings(record: dict[str, Any]) -> bool:
    """Whether a pair is of children at one time; two times of one child have a spawn time in common too."""
    return record.get("spawn_epoch") is not None and record.get("step_a") == record.get("step_b")


def recognise(arguments: Sequence[str], *, stdin: Iterable[str] | None = None) -> Result:
    """Read what the arguments name; ``-`` stands for the lines of stdin, each a path or a record.

    Records of one kind may come from several files; of results that are files only one can be drawn.

    Raises:
        UsageError: If there is nothing, or something that is not drawn, or things of several kinds.
        DataError: If a file is missing or neither HDF5 nor records.
    """
    if arguments.count("-") > 1:
        raise UsageError("'-' is given twice: stdin can be read once")
    found: list[Result] = []
    for argument in arguments:
        if argument == "-":
            lines = [line for line in (sys.stdin if stdin is None else stdin) if line.strip()]
            if not lines:
                raise UsageError(
                    "nothing came through the pipe", "did the command before it fail? Its message is above"
                )
            for number, line in enumerate(lines, start=1):
                found += _line(line, f"line {number} of the input", UsageError)
        else:
            found += _file(Path(argument))
    kinds = list(dict.fromkeys(result.kind for result in found))
    if set(kinds) == {"linearization", "barrier"}:  # one is drawn against the other
        kinds = ["linearization"]
    if len(kinds) > 1:
        raise UsageError(f"results of several kinds are given: {', '.join(kinds)}", "a figure shows one kind")
    paths = list(dict.fromkeys(result.path for result in found))
    records = [record for result in found for record in result.records]
    if not records and len(paths) > 1:
        raise UsageError(f"{len(paths)} {kinds[0]} files are given; a figure shows one", f"as in: {paths[0]}")
    return Result(kinds[0], paths[0] if len(paths) == 1 else None, records)


def _file(path: Path) -> list[Result]:
    """What a file holds."""
    if not path.is_file():
        if is_run(path):
            return [Result("run", path, [{"kind": "run", "path": str(path)}])]
        if path.is_dir():
            raise DataError(f"{path} is a folder, no result", FIRST["checkpoint"].format(path))
        raise DataError(f"{path} does not exist")
    try:
        with path.open("rb") as file:
            start = file.read(len(SIGNATURE))
        if start == SIGNATURE:
            with open_hdf5(path) as content:
                return [_of_kind(str(content.attrs.get("kind", "")), path, f"{path}")]
        if path.suffix == ".csv":
            records = [{"kind": "progress", **_unfolded(row)} for row in read_table(path).rows()]
            if not records:
                raise DataError(f"{path} has a line of names and no record")
            return [_of_record(row, f"{path}: row {number}", DataError, path) for number, row in enumerate(records, 1)]
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is neither an HDF5 file nor a file of records", DRAWN) from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty")
    if not lines[0][1].lstrip().startswith("{"):
        raise DataError(f"{path} is neither an HDF5 file nor a file of records", DRAWN)
    return [result for number, line in lines for result in _line(line, f"{path}: line {number}", DataError, path)]


def _line(line: str, place: str, error: type[LandscapeError], source: Path | None = None) -> list[Result]:
    """A line: a record, or (in a pipe) a path."""
    text = line.strip()
    if not text.startswith("{") and source is None:
        return _file(Path(text))
    try:
        record = json.loads(text)
    except json.JSONDecodeError as problem:
        raise error(f"{place} is no JSON record: {problem.msg}") from problem
    if not isinstance(record, dict):
        raise error(f"{place} is no JSON record")
    kind = str(record.get("kind") or "")
    if kind in FILES and isinstance(record.get("path"), str):
        return _file(Path(record["path"]))
    return [_of_record(record, place, error, source)]


def _of_record(record: dict[str, Any], place: str, error: type[LandscapeError], source: Path | None) -> Result:
    kind = _record_kind(str(record.get("kind") or ""), record, place)
    check(record, place, error)
    return Result(kind, source, [record])


def _unfolded(row: dict[str, Any]) -> dict[str, Any]:
    """A row of CSV with what is nested in it as lists and objects again."""
    return {
        name: _nested(value) if isinstance(value, str) and value[:1] in "[{" else value for name, value in row.items()
    }


def _nested(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _record_kind(kind: str, record: dict[str, Any], place: str) -> Kind:
    if kind in RECORDS:
        return RECORDS[kind]
    shown = f"a record of kind '{kind}'" if kind else "a record without a kind"
    raise UsageError(f"{place} is {shown}: there is no figure of that", _way(kind, str(record.get("path") or "FILE")))


def _of_kind(kind: str, path: Path, place: str) -> Result:
    if kind in FILES:
        return Result(FILES[kind], path)
    shown = f"holds {kind}" if kind else "holds nothing that this toolkit wrote"
    raise UsageError(f"{place} {shown}: there is no figure of that", _way(kind, str(path)))


def _way(kind: str, path: str) -> str:
    return FIRST.get(kind, DRAWN).format(path)
