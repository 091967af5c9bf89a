"""Who is who in a folder of runs: parents, children, linearised runs, checkpoints of other tools. Knows no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape_cli.errors import CheckpointError
from landscape_cli.jobs.lineage import beginning_of
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.curves import is_curve
from landscape_cli.store.locate import checkpoints_of
from landscape_cli.store.runs import Run, is_run

BESIDE_RUNS = "a checkpoint of another tool beside runs: a report of its own, with --network and --data, shows it"


@dataclass(frozen=True)
class Cast:
    """The runs of a report by what they are to each other.

    Args:
        parents: Runs of their own, those with the most children first.
        children: Runs spawned from a parent to be trained as it was.
        linearized: Runs trained in a tangent space.
        low_rate: Runs trained from there at the same low rate, as pairs of the linearised ones.
        foreign: Folders and files of checkpoints that are no runs.
        left_out: What is drawn nowhere, and why.
    """

    parents: tuple[Run, ...] = ()
    children: tuple[Run, ...] = ()
    linearized: tuple[Run, ...] = ()
    low_rate: tuple[Run, ...] = ()
    foreign: tuple[Path, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def networks(self) -> tuple[Run, ...]:
        """Runs whose predictions are compared: parents and children."""
        return (*self.parents, *self.children)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them."""
        return (*self.parents, *self.children, *self.linearized, *self.low_rate)

    def siblings(self) -> dict[tuple[str, int], list[Run]]:
        """Children by their parent's path and spawn step, where there are two or more."""
        found: dict[tuple[str, int], list[Run]] = {}
        for child in self.children:
            lineage = child.lineage or {}
            parent = "" if child.parent is None else str(child.parent.resolve())
            found.setdefault((parent, int(lineage.get("step", 0))), []).append(child)
        return {key: runs for key, runs in found.items() if len(runs) > 1}


@dataclass
class _Sorting:
    found: dict[Path, Run] = field(default_factory=dict)
    foreign: list[Path] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)
    loose: list[Path] = field(default_factory=list)  # checkpoints that belong to no run


def cast_of(places: Iterable[Path]) -> Cast:
    """Sort what lies at some places: runs, folders of runs (at any depth), checkpoints of other tools.

    Raises:
        CheckpointError: If a place holds none of these.
    """
    sorting = _Sorting()
    asked: set[Path] = set()
    for place in places:
        if place.resolve() in asked:
            continue
        asked.add(place.resolve())
        sorting.loose.clear()
        sorting.seen.clear()
        runs = [place] if is_run(place) else _runs_in(place, sorting) if place.is_dir() else []
        if runs:
            sorting.left_out += [(str(path), BESIDE_RUNS) for path in sorting.loose]
        elif checkpoints_of(place):  # or its error, which says what is there
            sorting.foreign.append(place)
        for path in runs:
            _take(sorting, path)
    by_parent: dict[Path, int] = {}
    parents, children, linearized = [], [], []
    for run in sorting.found.values():
        lineage = run.lineage
        if lineage is None:
            parents.append(run)
        elif lineage.get("linearized"):
            linearized.append(run)
        else:
            children.append(run)
        if run.parent is not None:
            by_parent[run.parent.resolve()] = by_parent.get(run.parent.resolve(), 0) + 1
    parents.sort(key=lambda run: -by_parent.get(run.path.resolve(), 0))
    partners = {beginning_of(run) for run in linearized}
    return Cast(
        parents=tuple(parents),
        children=tuple(run for run in children if beginning_of(run) not in partners),
        linearized=tuple(linearized),
        low_rate=tuple(run for run in children if beginning_of(run) in partners),
        foreign=tuple(sorting.foreign),
        left_out=tuple(sorting.left_out),
    )


def _runs_in(folder: Path, sorting: _Sorting) -> list[Path]:
    """The runs below a folder, each once though links may lead to it twice; what else lies there is noted."""
    real = folder.resolve()
    if real in sorting.seen:
        return []
    sorting.seen.add(real)
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        sorting.left_out.append((str(folder), f"it cannot be read: {error.strerror}"))
        return []
    found = []
    for child in children:
        if child.name.startswith("."):
            continue
        if is_run(child):
            found.append(child)
        elif child.is_dir():
            found += _runs_in(child, sorting)
        elif child.suffix == ".safetensors":
            sorting.loose.append(child)
    return found


def _take(sorting: _Sorting, path: Path) -> None:
    try:
        run = Run.open(path)
    except CheckpointError as error:
        sorting.left_out.append((str(path), error.message))
        return
    if is_curve(run):
        sorting.left_out.append((str(path), "a curve between two networks: 'landscape barrier --along' measures it"))
    elif not run.steps():
        sorting.left_out.append((str(path), "it has no checkpoint yet"))
    elif run.status == "diverged":
        sorting.left_out.append((str(path), "it diverged"))
    else:
        sorting.found[path.resolve()] = run


def data_of(run: Run) -> str:
    """Which data a run was trained on: equal for equal data."""
    data = run.document.get("data") or {}
    return str((data.get("name"), data.get("fingerprint")))


def state_of(run: Run, *, last: bool = False) -> dict[str, Any]:
    """What a result made from a run depends on: its checkpoints, by their contents, and the files of its data.

    Cost: the header of each checkpoint.

    Args:
        run: The run.
        last: Whether only its last checkpoint is read.
    """
    steps = run.steps()[-1:] if last else run.steps()
    hashes: list[str | None] = []
    for step in steps:
        try:
            hashes.append(run.checkpoint(step).hash())
        except CheckpointError:  # damaged: the commands that read it say so, and the rest of the report is made
            hashes.append(None)
    source = ((run.document.get("config") or {}).get("data") or {}).get("source")
    return {
        "path": str(run.path.resolve()), "steps": steps, "hashes": hashes, "data": data_of(run),
        "source": None if source is None else state_of_source(str(source)),
    }  # fmt: skip


def state_of_files(checkpoints: Sequence[Checkpoint]) -> list[Any]:
    """The same of checkpoints of other tools: their names, sizes and times."""
    return [_stamp(file) for checkpoint in checkpoints for file in checkpoint.files]


def state_of_source(source: str) -> list[Any]:
    """The files that a network or data set is named by (``file.py:function``, ``npz:FILE``), with sizes and times."""
    parts = source.split(":")
    named = (Path(":".join(parts[k:n])) for k in range(len(parts)) for n in range(k + 1, len(parts) + 1))
    return [_stamp(path) for path in named if path.is_file()]


def _stamp(file: Path) -> list[Any]:
    found = file.stat()
    return [str(file.resolve()), found.st_size, found.st_mtime_ns]
