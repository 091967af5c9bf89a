"""Curves of numbers of models: of single runs, or of groups by mean and spread; and the legend of these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import Coloring, is_text
from landscape_cli.plots.legends import color_bar, fits_beside, handles, heading, height_below, outer_legend
from landscape_cli.plots.style import COLORS, MARKERS, NARROW
from landscape_cli.store.tables import Table

SPAN = 30.0  # largest over smallest value above zero from which the horizontal axis is logarithmic
FEW = 40  # points of a curve up to which each is marked
LABELS = {
    "progress": "progress",
    "distance_to_geodesic": "distance to the geodesic",
    "distance_at_equal_progress": "distance at equal progress",
    "geodesic_at": "λ of the nearest point",
    "tube_width": "tube width",
    "truth": "distance to truth",
    "ignorance": "distance to ignorance",
}
UNITS = {"bhattacharyya": "nats", "skl": "nats", "geodesic": "rad"}  # of distances that have one
NAMED = {"bhattacharyya": "Bhattacharyya", "hellinger": "Hellinger", "euclidean": "Euclidean", "skl": "symmetrised KL"}
_LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a figure.

    Args:
        x: In order of training; of a group ascending.
        y: One value each.
        spread: Standard deviation at each x; zeros for a single run.
        runs: How many runs there are at each x.
        row: A row of the table that stands for the line.
        averaged: Whether it is a mean over runs.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    spread: NDArray[np.float64]
    runs: NDArray[np.int64]
    row: int
    averaged: bool = False


def distance_label(distance: str) -> str:
    """What an axis of a distance is called, with its unit.

    >>> distance_label("bhattacharyya"), distance_label("weight")
    ('Bhattacharyya distance (nats)', 'weight distance')
    """
    return f"{NAMED.get(distance, distance)} distance" + (f" ({UNITS[distance]})" if distance in UNITS else "")


def numbers(table: Table, name: str) -> NDArray[np.float64]:
    """A column of numbers.

    Raises:
        UsageError: If it is not there, or holds text.
    """
    values = table.column(name)
    if is_text(values):
        raise UsageError(f"column '{name}' holds text, not numbers")
    return values.astype(np.float64)


def group_name(values: dict[str, Any]) -> str:
    """What a group is called: its values, in the order of the columns."""
    shown = ("no value" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in values.values())
    return ", ".join(shown)


def told_curves(curves: Sequence[Curve]) -> str:
    """A caption: how many runs, or that the curves are means over them."""
    if all(curve.averaged for curve in curves):
        spread = any(curve.spread.any() for curve in curves)
        return "mean and standard deviation over runs" if spread else "mean over runs"
    return f"{len(curves):,} run{'' if len(curves) == 1 else 's'}"


def legend_texts(shades: Coloring | None, curves: Sequence[Curve]) -> list[str]:
    """What the legend says: the column, and its texts; of groups with the number of their runs."""
    if shades is None or shades.numeric:
        return []
    counts = {int(shades.codes[curve.row]): _runs(curve) for curve in curves if curve.averaged}
    named = [f"{label}{counts.get(code, '')}" for code, label in enumerate(shades.labels)]
    return [shades.called, *named, *([shades.absent] if shades.missing.any() else [])]


def _runs(curve: Curve) -> str:
    least, most = int(curve.runs.min()), int(curve.runs.max())
    return f" ({most if least == most else f'{least}–{most}'} run{'' if most == 1 else 's'})"


def legend_height(width: float, shades: Coloring | None, texts: Sequence[str]) -> float:
    """Inches below the axes that legend and colour bar take."""
    barred = width < NARROW and shades is not None and shades.numeric
    return (0.0 if fits_beside(width, texts) else height_below(width, texts)) + 0.5 * barred


def draw_legend(
    drawn: Any, axes: Any, shades: Coloring | None, texts: Sequence[str], curves: Sequence[Curve] = ()
) -> None:
    """The bar for numbers, or the texts with their colours, and with their kinds of lines where curves are means."""
    width = drawn.get_figwidth()
    if shades is not None and shades.numeric:
        color_bar(drawn, axes, shades, below=width < NARROW)
    elif shades is not None:
        entries = [(text, color, mark) for text, (_, color, mark) in zip(texts[1:], shades.entries(), strict=True)]
        listed = handles(entries)
        if curves and all(curve.averaged for curve in curves):
            for number, curve in enumerate(curves):
                if shades.codes[curve.row] >= 0:
                    entry = listed[int(shades.codes[curve.row])]
                    entry.set_linestyle(_LINES[number % len(_LINES)])
                    if not _marked(curves):
                        entry.set_marker("")
        outer_legend(drawn, [heading(shades.called), *listed], below=not fits_beside(width, texts))


def _colors(shades: Coloring | None, curves: Sequence[Curve]) -> list[tuple[Any, str]]:
    """Colour and marker of each curve."""
    if shades is None:
        return [(COLORS[0], MARKERS[0])] * len(curves)
    rgba, marks = shades.colors(), shades.markers()
    return [(rgba[curve.row], marks[curve.row]) for curve in curves]


def draw_curves(axes: Any, curves: Sequence[Curve], shades: Coloring | None) -> None:
    """Means with their spread as a band; or runs, fainter the more there are."""
    if all(curve.averaged for curve in curves):
        _draw_means(axes, curves, shades)
    else:
        _draw_runs(axes, curves, shades)


def draw_points(axes: Any, across: NDArray[np.float64], up: NDArray[np.float64], shades: Coloring | None) -> None:
    """Models as points, in a fixed random order: in the file's the last network would hide the first."""
    rows = np.random.default_rng(0).permutation(len(across))
    rgba = np.asarray([COLORS[0]] * len(rows)) if shades is None else shades.colors()
    marks = np.asarray([MARKERS[0]] * len(rows) if shades is None else shades.markers())
    for mark in dict.fromkeys(marks.tolist()):
        chosen = rows[marks[rows] == mark]
        axes.scatter(across[chosen], up[chosen], s=12, c=rgba[chosen], marker=mark, linewidths=0, alpha=0.7, zorder=3)


def _marked(curves: Sequence[Curve]) -> bool:
    """Whether the points of curves are marked: those of all or of none, else a short curve would stand out."""
    return max(len(curve.x) for curve in curves) <= FEW


def _draw_means(axes: Any, means: Sequence[Curve], shades: Coloring | None) -> None:
    marked = _marked(means)
    for number, (curve, (color, mark)) in enumerate(zip(means, _colors(shades, means), strict=True)):
        axes.fill_between(
            curve.x, curve.y - curve.spread, curve.y + curve.spread, color=color, alpha=0.18, linewidth=0, zorder=2
        )
        # Its own kind of line too, for those who tell colours badly and for grey prints.
        axes.plot(
            curve.x, curve.y, _LINES[number % len(_LINES)], color=color, zorder=3,
            marker=mark if marked or len(curve.x) == 1 else None, markersize=3.5, markeredgewidth=0,
        )  # fmt: skip


def _draw_runs(axes: Any, lines: Sequence[Curve], shades: Coloring | None) -> None:
    alpha = min(0.9, max(0.25, 20 / len(lines)))
    marked = _marked(lines)
    for curve, (color, mark) in zip(lines, _colors(shades, lines), strict=True):
        axes.plot(
            curve.x, curve.y, color=color, marker=mark if marked or len(curve.x) == 1 else None, linewidth=1.1,
            markersize=3.5, markeredgewidth=0, alpha=alpha, zorder=3,
        )  # fmt: skip


def range_up(axes: Any, name: str, values: NDArray[np.float64], unit: str | None = None) -> None:
    """The upward axis: from zero, if nothing is below it, and a little more, so that no point is cut."""
    top = 1.0 if name == "progress" else float(values.max())
    if values.min() >= 0 and top > 0:
        axes.set_ylim(-0.03 * top, 1.04 * top)
    axes.set_ylabel(LABELS.get(name, name) + (f" ({unit})" if unit else ""))


def range_across(axes: Any, across: NDArray[np.float64]) -> None:
    """Powers of ten where the times span many."""
    above = across[across > 0]
    if len(above) and across.min() >= 0 and above.max() >= SPAN * above.min():
        # Networks move most in the first epochs, where most checkpoints are. Zero itself stays on the axis.
        powers = 10.0 ** np.arange(np.ceil(np.log10(above.min())), np.floor(np.log10(above.max())) + 1)
        if across.min() > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=above.min(), linscale=0.4)
            axes.set_xlim(-0.15 * above.min(), 1.15 * above.max())
            powers = np.concatenate([[0.0], powers])
        axes.set_xticks(powers, [f"{power:g}" for power in powers])
        axes.minorticks_off()
