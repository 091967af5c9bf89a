"""Distances between siblings against the time they were spawned (Fort et al. 2020, Fig. 2–4)."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_cli.errors import UsageError
from landscape_cli.plots.style import COLORS, NARROW, figure, room, suptitle

BROAD = 9.0  # inches from which on four panels stand side by side

Records = Sequence[dict[str, Any]]

# What the ``distance`` of each kind of record is called on an axis.
CALLED = {
    "kernel-distance": "kernel distance S",
    "relu-distance": "ReLU distance",
    "function-distance": "function distance",
    "gradient-distance": "1 − alignment of logit gradients",
    "weight-distance": "weight distance ‖w − w′‖",
}
# The entries of a comparison that are drawn, with their factor.
MEASURES = {
    "error_barrier": ("error barrier (points of %)", 100.0),
    "function_distance": ("function distance", 1.0),
    "relu_distance": ("ReLU distance", 1.0),
    "kernel_distance": ("kernel distance S", 1.0),
    "gradient_distance": ("1 − alignment of logit gradients", 1.0),
    "weight_distance": ("weight distance ‖w − w′‖", 1.0),
}


def spawn_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Distances between siblings against the time they were spawned: a panel a measure, each pair and their mean.

    Args:
        records: Of kind ``comparison``, or of one kind of distance; those that are not of siblings at one time are
            left out, and of a pair at several times all but the last.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If no record has a spawn time.
    """
    siblings = at_their_last(records)
    if not siblings:
        raise UsageError(
            "these pairs have no spawn time to be drawn against", "compare children: --pairs siblings; see also --kind"
        )
    panels = _panels(siblings)
    epochs = sorted({float(record["spawn_epoch"]) for record in siblings})
    narrow = width is not None and width < NARROW
    four = 4 if room(width or 0.0) >= BROAD else 2  # in one row or in two whole ones
    columns = four if len(panels) == 4 else min(2 if narrow else 3, len(panels))
    rows = -(-len(panels) // columns)
    size = (
        width or (4.2, 6.4, 7.2, 9.6)[columns - 1],
        height or (3.1 if columns == 1 else 0.5 + (1.7 if narrow else 2.2) * rows),
    )
    with figure(*size, nrows=rows, ncols=columns, squeeze=False, sharex=True) as (drawn, axes):
        for number, place in enumerate(axes.flat):
            if number >= len(panels):
                place.set_visible(False)
                continue
            label, values = panels[number]
            _against_time(place, epochs, values, label)
            if number >= len(panels) - columns:
                place.tick_params(labelbottom=True)
                place.set_xlabel("spawned at epoch")
        pairs = sorted({len(values[epoch]) for _, values in panels for epoch in values})
        told = f"{pairs[0]}" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
        if axes.flat[0].get_legend_handles_labels()[0]:
            axes.flat[0].legend()
        told = f"{told} pair{'s' * (told != '1')} at each spawn time"
        suptitle(drawn, title or f"{told_time(siblings)}, {told}")
    return drawn


def at_their_last(records: Records) -> list[dict[str, Any]]:
    """The pairs of siblings at one time of both; of a pair that was measured at several times, the last.

    Two times of one child have a spawn time in common too: they are no siblings.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, record in enumerate(records):
        a, b = (run_of(str(record.get(side, number))) for side in "ab")
        same_time = record.get("step_a") == record.get("step_b") and record.get("step", 0) is not None
        if record.get("spawn_epoch") is None or not same_time or (a == b and "a" in record):
            continue
        names = ("kind", "spawn_epoch", "split", "layer", "form")
        key = (a, b, *(record.get(name) for name in names))
        if key not in found or _time(record) >= _time(found[key]):
            found[key] = record
    return list(found.values())


def _time(record: dict[str, Any]) -> float:
    """When a pair was measured."""
    known = (record.get(name) for name in ("step", "step_a", "epoch", "epoch_a"))
    return float(next((time for time in known if time is not None), 0.0))


def told_time(siblings: Records) -> str:
    """Whom a figure of siblings is of, and at what time of theirs."""
    epochs = {record.get("epoch", record.get("epoch_a")) for record in siblings}
    (epoch, *others) = epochs
    return f"Children at epoch {epoch:.4g}" if epoch is not None and not others else "Children at their last epoch"


def _panels(records: Records) -> list[tuple[str, dict[float, list[float]]]]:
    """The name of each measure, and its values by spawn time."""
    panels: dict[str, dict[float, list[float]]] = {}
    for record in records:
        found = (
            [
                (called, factor * record[name])
                for name, (called, factor) in MEASURES.items()
                if record.get(name) is not None
            ]
            if record["kind"] == "comparison"
            else [(CALLED[record["kind"]], record["distance"])]
        )
        for called, value in found:
            panels.setdefault(called, {}).setdefault(float(record["spawn_epoch"]), []).append(float(value))
    return list(panels.items())


def _has(record: dict[str, Any], name: str) -> bool:
    return record.get(name) is not None


def _against_time(axes: Any, epochs: Sequence[float], values: dict[float, list[float]], label: str) -> None:
    """Each pair, mean and standard deviation; spawn times at equal steps, as early ones lie close together."""
    ticks = [epochs.index(epoch) for epoch in values]
    order = np.argsort(ticks)
    means = np.asarray([statistics.fmean(values[e]) for e in values])[order]
    spread = np.asarray([_spread(values[e]) for e in values])[order]
    below = np.minimum(spread, np.maximum(means, 0))
    axes.errorbar(
        np.asarray(ticks)[order], means, yerr=[below, spread] if spread.any() else None,
        color=COLORS[0], marker="o", markersize=4, capsize=3, zorder=3,
        label="mean ± s.d." if spread.any() else None,
    )  # fmt: skip
    if any(len(several) > 1 for several in values.values()):
        spots = [(epochs.index(epoch), value) for epoch, several in values.items() for value in several]
        axes.scatter(*zip(*spots, strict=True), s=10, color=COLORS[1], linewidths=0, zorder=4, label="each pair")
    step = -(-len(epochs) // (4 if axes.get_figure().get_figwidth() < NARROW else 8))
    shown = range(0, len(epochs), step)
    axes.set_xticks(list(shown), [f"{epochs[k]:.4g}" for k in shown])
    axes.set_title(label, fontsize=7 if axes.get_figure().get_figwidth() < NARROW else 8)
    top = axes.get_ylim()[1]
    axes.set_ylim(means[np.isfinite(means)].min(initial=0.0) - 0.03 * top, top)


def _spread(values: Sequence[float]) -> float:
    """The standard deviation of several values; NaN where one of them is no number, 0 of a single one."""
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) if len(values) > 1 else 0.0


def only(records: Records, name: str, shown: str) -> str:
    """The one value of an entry in all records.

    Raises:
        UsageError: If there are several.
    """
    found = sorted({str(record.get(name)) for record in records})
    if len(found) > 1:
        raise UsageError(
            f"the records are of several {shown}: {', '.join(found)}",
            f"choose one, as in --where \"{name} == '{found[0]}'\"",
        )
    return found[0]


def short(path: str) -> str:
    """The last part of a path.

    >>> short("runs/parent/")
    'parent'
    """
    return path.rstrip("/").rpartition("/")[2]


def run_of(name: str) -> str:
    """The run of a checkpoint.

    >>> run_of("runs/a@2ep"), run_of("runs/a")
    ('runs/a', 'runs/a')
    """
    return name.rpartition("@")[0] or name
