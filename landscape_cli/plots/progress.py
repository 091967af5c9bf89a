"""Numbers of models through training: progress and its kin against epoch, run by run or a group's mean and spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import GUESSES, Coloring, categories, coloring, guess
from landscape_cli.plots.curves import (
    LABELS,
    Curve,
    draw_curves,
    draw_legend,
    draw_points,
    group_name,
    legend_height,
    legend_texts,
    numbers,
    range_across,
    range_up,
    told_curves,
)
from landscape_cli.plots.embedded import AUTO, NONE
from landscape_cli.plots.style import figure, headline
from landscape_cli.store.tables import Table

TIMES = ("epoch", "step")
RUN = "run"
# Progress measures arcs of the geodesic; distances to its ends are Bhattacharyya's.
UNITS_OF = {
    "distance_to_geodesic": "rad",
    "truth": "nats",
    "ignorance": "nats",
    "loss": "nats",
    "error": "share of samples",
}


def progress_figure(
    table: Table,
    *,
    x: str | None = None,
    y: str = "progress",
    group_by: Sequence[str] = (),
    color: str | None = AUTO,
    line: str = RUN,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """A number of each model against its time of training, a curve for each run or group of runs.

    Groups are shown by mean and standard deviation over their runs at equal times; where their runs share no times,
    by their runs, in one colour.

    Args:
        table: One row a model: records of ``landscape progress``.
        x: A column of numbers; by default ``epoch``, else ``step``.
        y: A column of numbers.
        group_by: Columns that make the groups; none draws every run.
        color: A column that colours the runs, if they are not grouped; ``auto`` takes network, optimizer or run,
            whichever tells them apart by colours alone; None takes none.
        line: The column whose equal values are one run; ``none`` draws models as points that nothing joins.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If a column is not there or holds no numbers.
    """
    x = x or next((name for name in TIMES if name in table), None)
    if x is None:
        raise UsageError("the records have neither epoch nor step", "name a column of numbers with --x")
    across, up = numbers(table, x), numbers(table, y)
    table = table.take(np.flatnonzero(np.isfinite(across) & np.isfinite(up)))
    if not len(table):
        raise UsageError(f"no record has both {x} and {y}")
    groups = table.group(list(group_by)) if group_by else [({}, np.arange(len(table)))]
    runs = [_curves(table, rows, x, y, line) for _, rows in groups]
    means = [_averaged(of_group) for of_group in runs] if group_by else [None]
    curves = [mean for mean in means if mean is not None]
    if len(curves) < len(groups):
        curves = [run for of_group in runs for run in of_group]
    shades = _shades(table, groups, color, list(group_by))
    if line == NONE:
        curves = []
    width = width or 5.4
    texts = legend_texts(shades, curves)
    below = legend_height(width, shades, texts)
    height = height or (width * 0.7 + below if below else max(width * 0.62, 0.14 * len(texts) + 0.6))
    with figure(width, height) as (drawn, axes):
        if line == NONE:
            draw_points(axes, numbers(table, x), numbers(table, y), shades)
        else:
            draw_curves(axes, curves, shades)
        if x in TIMES:
            range_across(axes, numbers(table, x))
        range_up(axes, y, numbers(table, y), UNITS_OF.get(y))
        axes.set_xlabel(LABELS.get(x, x) + (f" ({UNITS_OF[x]})" if x in UNITS_OF else ""))
        draw_legend(drawn, axes, shades, texts, curves)
        count = f"{len(table):,} model{'s' * (len(table) != 1)}"
        told = f"each of {count}" if line == NONE else told_curves(curves)
        headline(axes, title or f"{LABELS.get(y, y).capitalize()} of {count}", told)
    return drawn


def _curves(table: Table, rows: NDArray[np.int64], x: str, y: str, line: str) -> list[Curve]:
    """The runs of a group, each in order of training."""
    if line in table or line not in (RUN, NONE):  # records of other tools have no runs; other columns are asked for
        names, codes = categories(table.column(line)[rows])
        runs = [rows[codes == code] for code in range(-1, len(names)) if (codes == code).any()]
    else:
        runs = [rows]
    across, up = numbers(table, x), numbers(table, y)
    order = next((numbers(table, name) for name in ("step", "epoch") if name in table), across)
    found = []
    for run in runs:
        run = run[np.lexsort((across[run], order[run]))]
        ones = np.ones(len(run), np.int64)
        found.append(Curve(across[run], up[run], np.zeros(len(run)), ones, int(run[0])))
    return found


def _averaged(runs: Sequence[Curve]) -> Curve | None:
    """Mean and standard deviation over runs at equal times.

    None where there are no such times: most are one run's alone, or a run has several values at one.
    """
    across = np.concatenate([run.x for run in runs])
    up = np.concatenate([run.y for run in runs])
    times, place, counts = np.unique(across, return_inverse=True, return_counts=True)
    repeated = any(len(np.unique(run.x)) < len(run.x) for run in runs)
    if repeated or (len(runs) > 1 and np.median(counts) < 2):
        return None
    mean = np.bincount(place, up) / counts
    square = np.bincount(place, (up - mean[place]) ** 2) / np.maximum(counts - 1, 1)
    return Curve(times, mean, np.sqrt(square), counts.astype(np.int64), runs[0].row, averaged=True)


def _shades(
    table: Table,
    groups: Sequence[tuple[dict[str, Any], NDArray[np.int64]]],
    color: str | None,
    group_by: Sequence[str],
) -> Coloring | None:
    """What colours the curves: the group, or the column asked for."""
    if group_by:
        names = np.empty(len(table), dtype=object)
        for values, rows in groups:
            names[rows] = group_name(values)
        return coloring(", ".join(group_by), names)
    if color == AUTO:
        color = guess({name: table.columns[name] for name in GUESSES if name in table})
    return None if color in (None, NONE) else coloring(str(color), table.column(str(color)))
