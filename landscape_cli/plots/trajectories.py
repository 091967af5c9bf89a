"""Trajectories at equal progress: distance to the geodesic and tube width, run by run or averaged (Mao et al. 2023)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import GUESSES, Coloring, coloring, guess
from landscape_cli.plots.curves import (
    LABELS,
    UNITS,
    Curve,
    draw_curves,
    draw_legend,
    group_name,
    legend_height,
    legend_texts,
    numbers,
    range_up,
    told_curves,
)
from landscape_cli.plots.embedded import AUTO, NONE
from landscape_cli.plots.style import NARROW, figure, headline
from landscape_cli.store.tables import Table
from landscape_cli.store.trajectories import Trajectories

INDEX = "index"
SHOWN = ("distance_to_geodesic", "tube_width")  # unless something else is asked for
IN_UNITS = ("distance_to_geodesic", "distance_at_equal_progress", "tube_width", "truth", "ignorance")
INDICES = {"progress": "progress", "error": "1 − error"}


def trajectories_figure(
    trajectories: Trajectories,
    *,
    y: str | None = None,
    color: str | None = None,
    where: str | None = None,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """What was measured along trajectories, against the index that they were compared at.

    The stored averages over groups are drawn; or each run, if there are none or runs are chosen or coloured.

    Args:
        trajectories: What to draw.
        y: A quantity of the points; by default the distance to the geodesic, and the tube width if there is one.
        color: A column of the runs that colours them.
        where: Which runs and points, by their columns.
        title: By default the number of trajectories.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If a column is not there, or nothing is left to draw.
    """
    points, averages = trajectories.points, trajectories.averages
    groups = list(averages.columns)[: list(averages.columns).index(INDEX)]
    if groups and color is None and where is None:
        table, shades, rows = _of_groups(averages, groups)
    else:
        table, shades, rows = _of_runs(trajectories, points, color, where)
    known = [name for name in (SHOWN if y is None else (y,)) if y or np.isfinite(numbers(table, name)).any()]
    panels = {name: _curves(table, rows, name) for name in known}
    if not all(panels.values()) or not panels:
        raise UsageError(f"{trajectories.path}: there is no value of {y or SHOWN[0]} to draw")
    count = len(panels)
    unit = UNITS.get(trajectories.matrix.distance)
    width = width or (5.4 if count == 1 else 7.2)
    stacked = count > 1 and width < NARROW + 1
    texts = legend_texts(shades, panels[known[0]])
    tall = 0.6 * width * (count if stacked else 1) / (1 if stacked or count == 1 else 1.7)
    height = height or max(tall, 0.14 * len(texts) + 0.6) + legend_height(width, shades, texts)
    shape = {"nrows" if stacked else "ncols": count, "squeeze": False, "sharex": True}
    with figure(width, height, **shape) as (drawn, grid):
        axes = list(grid.flat)
        for place, (name, curves) in zip(axes, panels.items(), strict=True):
            draw_curves(place, curves, shades)
            range_up(place, name, np.concatenate([curve.y for curve in curves]), unit if name in IN_UNITS else None)
            place.set_xlim(0, 1)
            if not stacked or place is axes[-1]:
                index = str(trajectories.attributes.get(INDEX, "progress"))
                place.set_xlabel(INDICES.get(index, LABELS.get(index, index)))
        draw_legend(drawn, axes, shades, texts, panels[known[0]])
        runs = len(np.unique(points.column("row")))
        headline(axes[0], title or f"{runs:,} trajectories", told_curves(panels[known[0]]))
    return drawn


def _of_groups(averages: Table, groups: list[str]) -> tuple[Table, Coloring | None, list[NDArray[np.int64]]]:
    """The averages, what colours them, and the rows of each group."""
    names = np.empty(len(averages), dtype=object)
    found = []
    for values, rows in averages.group(groups):
        names[rows] = group_name(values)
        found.append(rows)
    return averages, coloring(", ".join(groups), names), found


def _of_runs(
    trajectories: Trajectories, points: Table, color: str | None, where: str | None
) -> tuple[Table, Coloring | None, list[NDArray[np.int64]]]:
    """The points beside the columns of their runs, what colours them, and the rows of each run."""
    own = points.column("row")
    beside = {name: values[own] for name, values in trajectories.matrix.rows.columns.items() if name not in points}
    table = points.joined(Table(beside))
    if where is not None:
        chosen = np.flatnonzero(table.where(where))
        if not len(chosen):
            raise UsageError(f'--where "{where}": none of the {len(table)} points fulfils it')
        table = table.take(chosen)
    if color is None or color == AUTO:
        color = guess({name: table.columns[name] for name in GUESSES if name in table})
    shades = None if color in (None, NONE) else coloring(str(color), table.column(str(color)))
    # Single runs: how many of a group there are at each place says nothing of them.
    table = Table({name: values for name, values in table.columns.items() if name != "runs"})
    return table, shades, [rows for _, rows in table.group(["row"])]


def _curves(table: Table, groups: list[NDArray[np.int64]], y: str) -> list[Curve]:
    """A quantity along each group of rows, where there is one."""
    values, index = numbers(table, y), numbers(table, INDEX)
    averaged = "runs" in table
    spread = numbers(table, f"{y}_std") if f"{y}_std" in table else np.zeros(len(table))
    found = []
    for rows in groups:
        rows = rows[np.isfinite(values[rows])]
        rows = rows[np.argsort(index[rows], kind="stable")]
        if len(rows):
            runs = numbers(table, "runs")[rows].astype(np.int64) if averaged else np.ones(len(rows), np.int64)
            found.append(Curve(index[rows], values[rows], np.nan_to_num(spread[rows]), runs, int(rows[0]), averaged))
    return found
