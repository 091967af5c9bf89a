"""Every distance between a few networks that have no parent in common: a matrix a measure, its numbers in its cells."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import shortened
from landscape_cli.plots.pair_distances import BROAD, MEASURES
from landscape_cli.plots.style import MISSING, figure, room, suptitle

MOST = 12  # networks of a matrix whose numbers can be read

Records = Sequence[dict[str, Any]]


def comparison_matrices_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Each measure between all of a few networks.

    Args:
        records: Of kind ``comparison``. Pairs that were not measured stay grey.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If there is one pair, whose numbers the message tells, or more networks than can be read.
    """
    measures = [name for name in MEASURES if any(record.get(name) is not None for record in records)]
    if len(records) == 1 or not measures:
        told = (f"{MEASURES[name][0]} {MEASURES[name][1] * records[0][name]:.3g}" for name in measures)
        raise UsageError(f"one pair is a few numbers and no figure: {', '.join(told)}")
    names = list(dict.fromkeys(str(record[side]) for record in records for side in ("a", "b")))
    if len(names) > MOST:
        raise UsageError(
            f"{len(names)} networks are too many for the numbers of their pairs", "leave some out with --where"
        )
    labels = shortened(names)
    columns = min(4 if room(width or BROAD) >= BROAD else 2, len(measures))
    rows = -(-len(measures) // columns)
    size = (width or 2.6 * columns + 0.4, height or 0.6 + 2.7 * rows)
    with figure(*size, nrows=rows, ncols=columns, squeeze=False) as (drawn, axes):
        for place in axes.flat[len(measures) :]:
            place.set_visible(False)
        for number, (place, name) in enumerate(zip(axes.flat, measures, strict=False)):
            called, factor = MEASURES[name]
            values = np.full((len(names), len(names)), np.nan)
            for record in records:
                i, j = names.index(str(record["a"])), names.index(str(record["b"]))
                values[i, j] = values[j, i] = math.nan if record.get(name) is None else factor * record[name]
            _matrix(place, values, labels, named=number % columns == 0)
            place.set_title(called, fontsize=8)
        suptitle(drawn, title or f"{len(names)} networks, each with each")
    return drawn


def _matrix(axes: Any, values: Any, labels: Sequence[str], *, named: bool) -> None:
    """One measure: pale where near, so that the numbers can be read."""
    known = values[np.isfinite(values)]
    top = float(known.max(initial=0.0)) or 1.0
    axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0.0, vmax=1.6 * top, interpolation="nearest")
    axes.set_facecolor("#ffffff")
    axes.grid(False)
    small = 8 if len(labels) <= 6 else 6
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if math.isfinite(value):
                axes.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=small)
            elif i != j:
                axes.text(j, i, "–", ha="center", va="center", fontsize=small, color=MISSING)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=90 if max(map(len, labels)) > 3 else 0, fontsize=7)
    axes.set_yticks(places, labels if named else [""] * len(labels), fontsize=7)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
