"""From the words of ``landscape plot`` to a figure in a file."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape_cli.cli.prediction_options import parse_names
from landscape_cli.errors import UsageError
from landscape_cli.plots.recognise import Figure, Result
from landscape_cli.plots.style import SUFFIXES, save, write_picture

PAGE = ".html"
NONE = "none"  # for --color and --line
VIEWS: tuple[Figure, ...] = ("embedding", "aligned", "reading")  # those of points, which can be a page
PLANES: tuple[Figure, ...] = ("plane", "surface")  # as a page they are both surfaces
_POINTS = frozenset({"dims", "color", "marker", "line", "where"})
# The options that mean something for each figure, beside title, width and height.
MEANT: dict[Figure, frozenset[str]] = {
    "embedding": _POINTS,
    "aligned": _POINTS,
    "reading": _POINTS,
    "spectrum": frozenset(),
    "stress": frozenset(),
    "progress": frozenset({"x", "y", "color", "line", "group_by", "where"}),
    "trajectories": frozenset({"y", "color", "where"}),
    "dendrogram": frozenset({"color"}),
    "importance": frozenset(),
    "training": frozenset({"where"}),
    "barrier": frozenset({"where"}),
    "layers": frozenset({"where"}),
    "matrix": frozenset({"where"}),
    "spawn": frozenset({"where"}),
    "velocity": frozenset({"where"}),
    "linearized": frozenset({"where"}),
    "sharpness": frozenset({"where"}),
    "density": frozenset({"where"}),
    "escape": frozenset({"where"}),
    "plane": frozenset({"color", "log"}),
    "surface": frozenset({"color", "log"}),
}


@dataclass(frozen=True)
class Asked:
    """The options of a figure; None and empty where they are not given.

    Args:
        dims: Dimensions, counted from 1.
        color: A column; of a dendrogram a list of them; of a plane the values to draw.
        marker: A column.
        line: A column.
        x: A column.
        y: A column.
        group_by: Columns.
        where: A condition on rows.
        log: Whether losses are on a logarithmic scale.
        title: The title.
        width: Inches.
        height: Inches.
    """

    dims: tuple[int, ...] | None = None
    color: str | None = None
    marker: str | None = None
    line: str | None = None
    x: str | None = None
    y: str | None = None
    group_by: list[str] = field(default_factory=list)
    where: str | None = None
    log: bool | None = None
    title: str | None = None
    width: float | None = None
    height: float | None = None

    def check(self, figure: Figure, target: Path) -> None:
        """Refuse what a figure cannot be.

        Raises:
            UsageError: If an option means nothing for it, or it cannot have the format.
        """
        page = target.suffix == PAGE
        if page and figure not in (*VIEWS, *PLANES):
            raise UsageError(f"{target}: a figure '{figure}' is no page to turn", f"write it as {', '.join(SUFFIXES)}")
        names = {"dims", "color", "marker", "line", "x", "y", "group_by", "where", "log"} - MEANT[figure]
        names |= {"width", "height"} if page else set()
        for name in sorted(names):
            if getattr(self, name) not in (None, []):
                shown = "--log" if name == "log" else f"--{name.replace('_', '-')}"
                kind = "a page, which fills its window" if page and name not in MEANT[figure] else f"figure '{figure}'"
                raise UsageError(f"{shown} means nothing for {kind}", "leave it out")

    def given(self, *names: str) -> dict[str, Any]:
        """Those of some options that were given."""
        return {name: value for name in names if (value := getattr(self, name)) not in (None, [])}

    @property
    def size(self) -> dict[str, Any]:
        """Title and size, as every figure takes them."""
        return {"title": self.title, "width": self.width, "height": self.height}


def arguments(results: Sequence[str] | None) -> Sequence[str]:
    """What is to be drawn: without arguments, stdin if that is no terminal.

    Raises:
        UsageError: If there is neither.
    """
    if results:
        return results
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no result is given", "name a file, or pipe the records of another command in")
    return ["-"]


def parse_dims(text: str | None) -> tuple[int, ...] | None:
    """Dimensions as a person writes them.

    >>> parse_dims("1,3")
    (1, 3)

    Raises:
        UsageError: If they are no whole numbers.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--dims {text}: dimensions are whole numbers", "as in --dims 1,2 or 1,2,3") from None


def check_format(out: Path) -> None:
    """Refuse a name whose format is unknown, before anything is read.

    Raises:
        UsageError: If it is.
    """
    if out.suffix not in (*SUFFIXES, PAGE):
        known = ", ".join(SUFFIXES)
        raise UsageError(
            f"{out}: figures are written as {known}, embeddings and planes also as {PAGE}", "change the suffix"
        )


def write(result: Result, figure: Figure, asked: Asked, target: Path, *, force: bool) -> bool:
    """Draw a figure of a result into a file; returns whether it was not there already.

    Raises:
        LandscapeError: If matplotlib is missing and it is no page.
        UsageError: If a column or dimension is not there, or there is nothing to draw.
        DataError: If the result is damaged.
        ConflictError: If another file is there and may not be replaced.
        StorageError: If it cannot be written.
    """
    if target.suffix == PAGE and figure in PLANES:
        from landscape_cli.plots.surface import surface_page

        drawn = surface_page(_plane(result), title=asked.title, **_plane_options(asked))
        return write_picture(drawn.encode("utf-8"), target, force=force)
    if target.suffix == PAGE:
        from landscape_cli.plots.interactive import interactive_page

        page = interactive_page(
            _embedded(result, figure, asked), title=asked.title, **asked.given("dims", "color", "marker", "line")
        )
        return write_picture(page.encode("utf-8"), target, force=force)
    return save(_draw(result, figure, asked), target, force=force)


def _draw(result: Result, figure: Figure, asked: Asked) -> Any:
    if figure in VIEWS:
        from landscape_cli.plots.embedding import embedding_figure

        given = asked.given("dims", "color", "marker", "line")
        return embedding_figure(_embedded(result, figure, asked), **given, **asked.size)
    if figure in ("spectrum", "stress"):
        from landscape_cli.plots import spectrum

        draw = spectrum.spectrum_figure if figure == "spectrum" else spectrum.stress_figure
        return draw(_embedded(result, "embedding", asked), **asked.size)
    if figure == "progress":
        from landscape_cli.plots.progress import progress_figure

        given = asked.given("x", "y", "color", "line", "group_by")
        return progress_figure(_table(result, asked), **given, **asked.size)
    if figure == "trajectories":
        from landscape_cli.plots.trajectories import trajectories_figure
        from landscape_cli.store.trajectories import Trajectories

        assert result.path is not None
        given = asked.given("y", "color", "where")
        return trajectories_figure(Trajectories.open(result.path), **given, **asked.size)
    if figure in ("dendrogram", "importance"):
        return _draw_clusters(result, figure, asked)
    if figure in PLANES:
        from landscape_cli.plots.plane import plane_figure
        from landscape_cli.plots.surface import surface_figure

        drawn = plane_figure if figure == "plane" else surface_figure
        return drawn(_plane(result), **_plane_options(asked), **asked.size)
    if figure == "training":
        from landscape_cli.plots.training import training_figure

        return training_figure([Path(record["path"]) for record in _records(result, asked)], **asked.size)
    if figure in ("matrix", "spawn"):
        from landscape_cli.plots.pair_distances import matrix_figure, spawn_figure

        return (matrix_figure if figure == "matrix" else spawn_figure)(_records(result, asked), **asked.size)
    if figure in ("velocity", "linearized"):
        from landscape_cli.plots import tangent

        figures = {
            "velocity": tangent.velocity_figure,
            "linearized": tangent.linearized_figure,
        }
        return figures[figure](_records(result, asked), **asked.size)
    if figure in ("sharpness", "density", "escape"):
        from landscape_cli.plots import curvature

        figures = {
            "sharpness": curvature.sharpness_figure,
            "density": curvature.density_figure,
            "escape": curvature.escape_figure,
        }
        return figures[figure](_records(result, asked), **asked.size)
    return _draw_barriers(result, figure, asked)


def _plane(result: Result) -> Any:
    from landscape_cli.store.planes import StoredPlane

    assert result.path is not None
    return StoredPlane.open(result.path)


def _plane_options(asked: Asked) -> dict[str, Any]:
    """The values to draw, and the scale of losses."""
    return {"color": None if asked.color is None else parse_names(asked.color), "log": asked.log}


def _draw_clusters(result: Result, figure: Figure, asked: Asked) -> Any:
    from landscape_cli.plots.dendrogram import dendrogram_figure, importance_figure
    from landscape_cli.store.clusters import Clusters

    assert result.path is not None
    clusters = Clusters.open(result.path)
    if figure == "importance":
        return importance_figure(clusters, **asked.size)
    columns = None if asked.color is None else [name for name in parse_names(asked.color) if name != NONE]
    return dendrogram_figure(clusters, columns=columns, **asked.size)


def _embedded(result: Result, figure: Figure, asked: Asked) -> Any:
    """The embedding, or another view of it, with the models asked for."""
    from landscape_cli.plots.embedded import Embedded
    from landscape_cli.store.embeddings import Embedding

    assert result.path is not None
    assert figure in ("embedding", "aligned", "reading")
    embedded = Embedded.of(Embedding.open(result.path), figure)
    return embedded if asked.where is None else embedded.where(asked.where)


def _table(result: Result, asked: Asked) -> Any:
    """The records as a table, those asked for."""
    import numpy as np

    from landscape_cli.store.tables import Table

    table = Table.from_rows([{k: v for k, v in record.items() if k != "kind"} for record in result.records])
    for name in (*asked.given("x", "y", "color", "line").values(), *asked.group_by):
        try:
            _ = name == NONE or table.column(name)
        except UsageError as error:
            told = f"{error.hint}; 'landscape progress --columns {name}' puts it into the records"
            raise UsageError(error.message, told) from None
    if asked.where is None:
        return table
    rows = np.flatnonzero(table.where(asked.where))
    if not len(rows):
        raise UsageError(f'--where "{asked.where}": none of the {len(table)} records fulfils it')
    return table.take(rows)


def _records(result: Result, asked: Asked) -> list[dict[str, Any]]:
    """The records, those asked for."""
    if asked.where is None:
        return result.records
    from landscape_cli.store.tables import Table

    plain = [{k: v for k, v in record.items() if not isinstance(v, dict | list)} for record in result.records]
    kept = Table.from_rows(plain).where(asked.where)
    if not kept.any():
        raise UsageError(f'--where "{asked.where}": none of the {len(kept)} records fulfils it')
    return [record for record, keep in zip(result.records, kept.tolist(), strict=True) if keep]


def _draw_barriers(result: Result, figure: Figure, asked: Asked) -> Any:
    """Paths, barriers and their means over pairs; of one split, test if there is no other word."""
    from landscape_cli.jobs.summaries import barriers_by_spawn_time
    from landscape_cli.plots.barrier import barrier_figure, layers_figure

    chosen = _records(result, asked)
    splits = {record.get("split") for record in chosen}
    split = "test" if "test" in splits else str(chosen[0].get("split"))
    of_kind = {
        kind: [record for record in chosen if record["kind"] == kind and record.get("split") == split]
        for kind in ("path-point", "barrier", "barrier-summary")
    }
    if figure == "layers":
        return layers_figure(of_kind["barrier"], **asked.size)
    summary = of_kind["barrier-summary"] or barriers_by_spawn_time(of_kind["barrier"], split=split)
    return barrier_figure(of_kind["path-point"], of_kind["barrier"], summary, **asked.size)
