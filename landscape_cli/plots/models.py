"""Models of a file of predictions: their error against the time of training, or one by one where they have no time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import shortened
from landscape_cli.plots.curves import numbers
from landscape_cli.plots.embedded import AUTO
from landscape_cli.plots.progress import TIMES, UNITS_OF, progress_figure
from landscape_cli.plots.style import COLORS, figure, headline
from landscape_cli.store.tables import Table

NAMED = 60  # models up to which each has its name


def models_figure(
    table: Table,
    *,
    x: str | None = None,
    y: str = "error",
    group_by: Sequence[str] = (),
    color: str | None = AUTO,
    line: str = "run",
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """A number of each model, as :func:`~landscape_cli.plots.progress.progress_figure` draws it; else a bar for each.

    Args:
        table: One row a model, as a file of predictions has them.
        x: A column of numbers; by default ``epoch``, else ``step``.
        y: A column of numbers.
        group_by: Columns that make groups.
        color: A column that colours the runs.
        line: The column whose equal values are one run.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If a column is not there or holds no numbers, or there is nothing to draw.
    """
    timed = [name for name in TIMES if name in table and np.isfinite(numbers(table, name)).any()]
    if x is not None or timed:
        return progress_figure(
            table, x=x or timed[0], y=y, group_by=group_by, color=color, line=line, title=title, width=width,
            height=height,
        )  # fmt: skip
    values = numbers(table, y)
    if not np.isfinite(values).any():
        raise UsageError(f"no model has a number '{y}'", "choose another column with --y")
    places = np.arange(len(values))
    named = len(values) <= NAMED
    with figure(width or 4.8, height or (0.9 + 0.2 * len(values) if named else 4.0)) as (drawn, axes):
        axes.barh(places, np.nan_to_num(values), height=0.7, color=COLORS[0], zorder=2)
        if named:
            axes.set_yticks(places, shortened([str(name) for name in table.column("name")]), fontsize=7)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=f"{y} ({UNITS_OF[y]})" if y in UNITS_OF else y, ylabel="" if named else "model")
        headline(axes, title or f"{y.capitalize()} of {len(values):,} model{'s' * (len(values) != 1)}")
    return drawn
