"""Legends and colour bars, outside the axes so that they hide nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_cli.plots.coloring import Coloring
from landscape_cli.plots.style import NARROW

LONG = 16  # entries above which a legend is set smaller
GAP = " "
SHARE = 0.42  # of a figure's width: a legend that takes more stands below the axes


def handles(entries: Sequence[tuple[str, str, str]]) -> list[Any]:
    """Legend handles of texts, colours and markers."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], linestyle="none", marker=marker, color=color, markersize=5, markeredgewidth=0, label=name)
        for name, color, marker in entries
    ]


def fits_beside(width: float, labels: Sequence[str]) -> bool:
    """Whether a legend finds its place right of the axes of a figure of ``width`` inches."""
    return width >= NARROW and max(map(len, labels), default=0) * 0.06 + 0.5 <= SHARE * width


def heading(text: str) -> Any:
    """A legend entry that is a heading for those below it."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", label=f"{text}:")


def is_heading(entry: Any) -> bool:
    """Whether a legend entry is a heading: it shows neither a line nor a marker (nor a bar)."""
    if not hasattr(entry, "get_marker"):
        return False
    return bool(entry.get_linestyle() == "None" and entry.get_marker() in ("None", None, ""))


def color_bar(drawn: Any, axes: Any, shades: Coloring, *, below: bool = False) -> None:
    """What the colours of a column of numbers mean, right of the axes or below them."""
    place = {"location": "bottom", "aspect": 35} if below else {"location": "right", "aspect": 25}
    bar = drawn.colorbar(shades.mappable(), ax=axes, label=shades.called, shrink=0.8, **place)
    bar.outline.set_visible(False)


def columns_below(width: float, labels: Sequence[str]) -> tuple[int, float]:
    """How many columns of a legend stand beside each other in ``width`` inches, and its size in points."""
    size = 7.0 if len(labels) > LONG else 8.0
    longest = max(map(len, labels), default=0)
    return max(1, min(len(labels), 4, int(width * 72 / ((0.54 * longest + 4.2) * size)))), size


def height_below(width: float, labels: Sequence[str]) -> float:
    """Inches that a legend below the axes takes."""
    columns, size = columns_below(width, labels)
    return -(-len(labels) // columns) * size * 1.5 / 72


def own_legend(drawn: Any, axes: Any, handles: Sequence[Any] | None = None, **place: Any) -> None:
    """A legend of the axes' own lines: in the axes, or below them where these are too narrow for it."""
    entries = list(axes.get_legend_handles_labels()[0] if handles is None else handles)
    if drawn.get_figwidth() >= NARROW:
        axes.legend(handles=entries, **place)
        return
    labels = [str(entry.get_label()) for entry in entries]
    columns, size = columns_below(drawn.get_figwidth(), labels)
    drawn.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize=size, columnspacing=1.0)


def narrow_height(width: float, ratio: float, entries: int) -> float:
    """Inches of a figure with one pair of axes: a share of its width, and room for what stands below narrow ones."""
    return ratio * width if width >= NARROW else 0.82 * width + 0.17 * entries


def outer_legend(drawn: Any, entries: Sequence[Any], *, below: bool = False) -> None:
    """A legend right of the axes, or below them in as many columns as the figure has room for."""
    if not entries:
        return
    labels = [str(entry.get_label()) for entry in entries]
    columns, size = columns_below(drawn.get_figwidth(), labels)
    if below:
        entries = _with_gaps(entries, columns)
        place = {"loc": "outside lower center", "ncols": columns, "columnspacing": 1.0}
    else:
        place = {"loc": "outside right upper", "labelspacing": 0.35}
    legend = drawn.legend(handles=list(entries), fontsize=size, **place)
    for text, entry in zip(legend.get_texts(), entries, strict=True):
        if is_heading(entry):
            text.set_fontweight("bold")


def _with_gaps(entries: Sequence[Any], columns: int) -> list[Any]:
    """Entries so that no heading stands last in its column, away from what it is the heading of."""
    from matplotlib.lines import Line2D

    found = list(entries)
    for _ in range(len(found)):  # each gap moves the ends of all columns
        rows, longer = divmod(len(found), columns)
        ends = np.cumsum([rows + (column < longer) for column in range(columns)]) - 1
        last = [end for end in ends[:-1] if rows > 1 and is_heading(found[end]) and found[end].get_label() != GAP]
        if not last:
            break
        found.insert(int(last[0]), Line2D([], [], linestyle="none", label=GAP))
    return found
