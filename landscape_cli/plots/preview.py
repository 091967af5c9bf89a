"""Figures of lines in a terminal, drawn with the dots of Braille characters: two by four a character."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.plots.drawn_data import Panel, Series

BRAILLE = 0x2800
# The bit of each dot of a character, by row and column.
BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
# ANSI colours that stay readable on light and dark, in the order of series; then the marks that tell series apart
# where there are no colours.
ANSI = (34, 31, 32, 35, 33, 36)
MOST = 12  # series that are named
LEAST_WIDTH = 24


def preview(shown: Sequence[Panel], *, width: int = 80, height: int = 12, colored: bool = False) -> str:
    """The lines of a figure as text.

    Args:
        shown: Its panels.
        width: Characters of the terminal.
        height: Lines of each panel, without its axes.
        colored: Whether ANSI colours tell series apart.
    """
    parts = [_panel(panel, max(width, LEAST_WIDTH), height, colored) for panel in shown if panel.series]
    return "\n\n".join(parts)


def _panel(panel: Panel, width: int, height: int, colored: bool) -> str:
    scale_x, scale_y = panel.axes.xaxis.get_transform(), panel.axes.yaxis.get_transform()
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not above zero has no place on a logarithmic axis
        series = [(one, scale_x.transform(one.x), scale_y.transform(one.y)) for one in panel.series]
    xs = np.concatenate([x for _, x, _ in series])
    ys = np.concatenate([y for _, _, y in series])
    known = np.isfinite(xs) & np.isfinite(ys)
    head, up, along = (" ".join(text.split()) for text in (panel.title, panel.ylabel, panel.xlabel))
    title = up if head in ("", up) else f"{head}: {up}"
    if not known.any():
        return f"{title}\n(no finite value)"
    low_x, high_x = _range(xs[known])
    low_y, high_y = _range(ys[known])
    ends = [_shown(scale_y, v) for v in (high_y, low_y)]
    margin = max(map(len, ends))
    across = width - margin - 2
    dots = np.zeros((4 * height, 2 * across), dtype=np.uint8)  # number of the series + 1
    for number, (one, x, y) in enumerate(series):
        there = np.isfinite(x) & np.isfinite(y)
        columns = (x - low_x) / (high_x - low_x) * (dots.shape[1] - 1)
        rows = (high_y - y) / (high_y - low_y) * (dots.shape[0] - 1)
        _draw(dots, columns, rows, there, one.joined, 1 + number % 250)
    lines = [title]
    for row in range(height):
        label = ends[0] if row == 0 else ends[1] if row == height - 1 else ""
        lines.append(f"{label:>{margin}} ┤{_row(dots[4 * row : 4 * row + 4], colored)}".rstrip())
    left, right = (panel.xticks.get(v) or _shown(scale_x, v) for v in (low_x, high_x))
    axis = along[: max(0, across - len(left) - len(right) - 2)]
    gap = across - len(left) - len(right) - len(axis)
    lines.append(f"{'':>{margin}} └{'─' * across}")
    lines.append(f"{'':>{margin}}  {left}{' ' * (gap // 2)}{axis}{' ' * (gap - gap // 2)}{right}".rstrip())
    if names := _legend(panel.series, colored):
        lines += [f"{'':>{margin}}  {name}" for name in names]
    return "\n".join(lines)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw(
    dots: NDArray[np.uint8], columns: Any, rows: Any, there: NDArray[np.bool_], joined: bool, number: int
) -> None:
    """Dots of a series, and those between one point and the next."""
    last: tuple[int, int] | None = None
    for column, row, known in zip(columns, rows, there, strict=True):
        if not known:
            last = None
            continue
        here = round(float(row)), round(float(column))
        if joined and last is not None:
            steps = max(abs(here[0] - last[0]), abs(here[1] - last[1]), 1)
            for k in range(steps):
                dots[
                    round(last[0] + (here[0] - last[0]) * k / steps), round(last[1] + (here[1] - last[1]) * k / steps)
                ] = number
        dots[here] = number
        last = here


def _row(block: NDArray[np.uint8], colored: bool) -> str:
    """A line of characters from four rows of dots; a character has one colour, that of its last series."""
    text = ""
    for column in range(0, block.shape[1], 2):
        cell = block[:, column : column + 2]
        if not cell.any():
            text += " "
            continue
        bits = sum(BITS[r][c] for r in range(4) for c in range(2) if cell[r, c])
        text += _painted(chr(BRAILLE + bits), int(cell.max()) - 1, colored)
    return text


def _painted(text: str, number: int, colored: bool) -> str:
    return f"\x1b[{ANSI[number % len(ANSI)]}m{text}\x1b[0m" if colored else text


def _legend(series: Sequence[Series], colored: bool) -> list[str]:
    names = [(number, one) for number, one in enumerate(series) if one.label]
    found = [
        f"{_painted('──' if one.joined else '··', number, colored)} {one.label}{'' if colored else _ends(one)}"
        for number, one in names[:MOST]
    ]
    return found + ([f"and {len(names) - MOST} more"] if len(names) > MOST else [])


def _ends(one: Series) -> str:
    """Without colours, the first and last value say which line is whose."""
    known = one.y[np.isfinite(one.y)]
    return f" ({known[0]:.3g} … {known[-1]:.3g})" if len(known) else ""


def _shown(scale: Any, place: float) -> str:
    """The number at a place of an axis."""
    value = float(scale.inverted().transform(place))
    return "0" if abs(value) < 1e-12 else f"{value:.3g}"
