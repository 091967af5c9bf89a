"""What is asked of a figure in the words of ``landscape plot``, and what of it means something for which."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape_cli.errors import UsageError
from landscape_cli.plots.recognise import Figure

PAGE = ".html"
NONE = "none"  # for --color and --line
VIEWS: tuple[Figure, ...] = ("embedding", "aligned", "reading")  # those of points, which can be a page
PLANES: tuple[Figure, ...] = ("plane", "surface")  # as a page they are both surfaces
# Those that a terminal shows: lines and points, no areas and no trees.
PREVIEWS: frozenset[Figure] = frozenset({
    "training", "embedding", "aligned", "reading", "spectrum", "stress", "progress", "trajectories", "barrier", "spawn",
    "scatter", "through", "velocity", "linearized", "advantage", "against-barrier",
    "sharpness", "density", "overlap", "escape",
    "models",
})  # fmt: skip
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
    "training": frozenset({"line", "where"}),
    "barrier": frozenset({"where"}),
    "layers": frozenset({"where"}),
    "matrix": frozenset({"where"}),
    "spawn": frozenset({"where"}),
    "scatter": frozenset({"x", "y", "where"}),
    "through": frozenset({"where"}),
    "velocity": frozenset({"where"}),
    "linearized": frozenset({"where"}),
    "advantage": frozenset({"where"}),
    "against-barrier": frozenset({"where"}),
    "sharpness": frozenset({"where"}),
    "density": frozenset({"where"}),
    "overlap": frozenset({"where"}),
    "escape": frozenset({"where"}),
    "models": frozenset({"x", "y", "color", "line", "group_by", "where"}),
    "curve": frozenset({"where"}),
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

    def check(self, figure: Figure, target: Path | None) -> None:
        """Refuse what a figure cannot be.

        Raises:
            UsageError: If an option means nothing for it, or it cannot have the format.
        """
        page = target is not None and target.suffix == PAGE and figure in (*VIEWS, *PLANES)  # a page to turn
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
