"""What a figure shows, as numbers: read back from its axes, so that no figure has to say it twice."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One line or set of points.

    Args:
        label: What the legend calls it; empty for none.
        x: Across.
        y: Upwards.
        spread: Half the length of the error bars, below and above, ``(2, point)``; None without.
        color: As ``#rrggbb``.
        joined: Whether its points are joined.
    """

    label: str
    x: Floats
    y: Floats
    spread: Floats | None
    color: str
    joined: bool


@dataclass(frozen=True, eq=False)
class Panel:
    """What one pair of axes shows.

    Args:
        title: Its title; empty for none.
        xlabel: What is across.
        ylabel: What is upwards.
        series: Lines and points.
        axes: The axes.
        xticks: Names at positions across, where these are no numbers.
    """

    title: str
    xlabel: str
    ylabel: str
    series: list[Series]
    axes: Any = None
    xticks: dict[float, str] = field(default_factory=dict)


def panels(drawn: Any) -> list[Panel]:
    """The panels of a figure that hold lines or points, in order; levels across the whole axes are not data."""
    found = []
    for axes in drawn.axes:
        if not axes.get_visible() or axes.name == "3d" or axes.get_label() == "<colorbar>":
            continue
        series = [*_bars_of_error(axes), *_lines(axes), *_points(axes), *_bars(axes), *_cells(axes)]
        if series:
            title = axes.get_title(loc="left") or axes.get_title()
            found.append(Panel(title, _across(axes), axes.get_ylabel() or title, series, axes, _names(axes)))
    return found


def as_csv(shown: Sequence[Panel]) -> str:
    """All numbers of the panels as CSV: panel, series, x, y, below and above (of error bars)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["panel", "series", "x", "y", "below", "above"])
    for number, panel in enumerate(shown, start=1):
        name = panel.title or panel.ylabel or f"panel {number}"
        for one in panel.series:
            below, above = one.spread if one.spread is not None else (np.full(len(one.x), np.nan),) * 2
            for x, y, low, high in zip(one.x, one.y, below, above, strict=True):
                across = panel.xticks.get(float(x), _number(x))
                writer.writerow([" ".join(name.split()), one.label, across, _number(y), _number(low), _number(high)])
    return text.getvalue()


def _number(value: float) -> str:
    return f"{value:.10g}" if math.isfinite(value) else ""


def _bars_of_error(axes: Any) -> list[Series]:
    """Curves with error bars: their data line, and the ends of the bars."""
    found = []
    for container in axes.containers:
        if type(container).__name__ != "ErrorbarContainer" or container.lines[0] is None:
            continue
        line, _, bars = container.lines
        x, y = _xy(line)
        spread = None
        if bars:
            ends = {float(s[0][0]): (s[0][1], s[1][1]) for s in bars[0].get_segments() if len(s) == 2}
            pairs = [ends.get(float(at), (math.nan, math.nan)) for at in x]
            spread = np.abs(np.asarray(pairs, dtype=np.float64).T - y)
        found.append(Series(_label(container), x, y, spread, _hex(line.get_color()), line.get_linestyle() != "None"))
    return found


def _lines(axes: Any) -> list[Series]:
    taken = {
        id(part)
        for container in axes.containers
        if type(container).__name__ == "ErrorbarContainer"
        for part in (container.lines[0], *container.lines[1])
    }
    found = []
    for line in axes.lines:
        x, y = _xy(line)
        whole = line.get_transform() == axes.transData
        if id(line) not in taken and whole and len(x):
            found.append(Series(_label(line), x, y, None, _hex(line.get_color()), line.get_linestyle() != "None"))
    return found


def _points(axes: Any) -> list[Series]:
    """Scattered points; a collection of one place is a marker of something, and drawn as a point too."""
    found = []
    for collection in axes.collections:
        if type(collection).__name__ != "PathCollection":
            continue
        places = np.asarray(np.ma.filled(collection.get_offsets(), np.nan), dtype=np.float64)
        colors = collection.get_facecolors()
        color = _hex(colors[0]) if len(colors) else "#000000"
        if len(places):
            found.append(Series(_label(collection), places[:, 0], places[:, 1], None, color, False))
    return found


def _bars(axes: Any) -> list[Series]:
    """Horizontal bars: their lengths at their places."""
    found = []
    for container in axes.containers:
        if type(container).__name__ != "BarContainer":
            continue
        lengths = np.asarray([bar.get_width() for bar in container], dtype=np.float64)
        places = np.asarray([bar.get_y() + bar.get_height() / 2 for bar in container], dtype=np.float64)
        found.append(Series(_label(container), lengths, places, None, _hex(container[0].get_facecolor()), False))
    return found


def _cells(axes: Any) -> list[Series]:
    """A matrix of numbers, row by row."""
    found = []
    for image in axes.images:
        values = image.get_array()
        if values is None or values.ndim != 2:
            continue
        filled = np.ma.filled(values.astype(np.float64), np.nan)
        names = [tick.get_text() for tick in axes.get_yticklabels()]
        for row, line in enumerate(filled):
            name = names[row] if len(names) == len(filled) else str(row + 1)
            found.append(Series(name, np.arange(len(line), dtype=np.float64), line, None, "#000000", False))
    return found


def _across(axes: Any) -> str:
    """What is across: said by the axes, or by others that share it."""
    shared = [axes, *axes.get_shared_x_axes().get_siblings(axes)]
    return str(next((one.get_xlabel() for one in shared if one.get_xlabel()), ""))


def _names(axes: Any) -> dict[float, str]:
    """Names of ticks across, where a person set them."""
    if type(axes.xaxis.get_major_locator()).__name__ != "FixedLocator":
        return {}
    texts = [tick.get_text() for tick in axes.get_xticklabels()]
    return {float(at): text for at, text in zip(axes.get_xticks(), texts, strict=False) if text}


def _xy(line: Any) -> tuple[Floats, Floats]:
    x, y = (np.ma.filled(np.ma.asarray(side, dtype=np.float64), np.nan) for side in line.get_data(orig=False))
    return x, y


def _label(artist: Any) -> str:
    text = str(artist.get_label() or "")
    return "" if text.startswith("_") else " ".join(text.split())


def _hex(color: Any) -> str:
    from matplotlib.colors import to_hex

    return to_hex(color)
