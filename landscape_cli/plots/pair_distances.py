"""Distances between checkpoints: all pairs as a matrix, siblings against spawn time (Fort et al. 2020, Fig. 2–4)."""

import math
import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.plots.style import COLORS, MISSING, NARROW, figure, headline

MANY = 24  # checkpoints of a matrix above which not each is named

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


def matrix_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Distances between all checkpoints, in order of run and time, as a matrix of colours.

    Args:
        records: Of one kind of distance (kernels: of one form). Pairs that were not measured stay grey.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the records are of several kinds or forms, which are different quantities.
    """
    called = CALLED[only(records, "kind", "distances")]
    if "form" in records[0]:
        called += f", {only(records, 'form', 'kernel forms')} kernel"
    items = {r[side]: (_run_of(r[side]), r.get(f"epoch_{side}")) for r in records for side in ("a", "b")}
    names = sorted(items, key=lambda name: (items[name][0], items[name][1] is None, items[name][1] or 0.0, name))
    place = {name: number for number, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(values, 0.0)
    for record in records:
        i, j = place[record["a"]], place[record["b"]]
        values[i, j] = values[j, i] = record["distance"]
    runs = [items[name][0] for name in names]
    width = width or 4.8
    with figure(width, height or 0.86 * width) as (drawn, axes):
        shown = axes.imshow(np.ma.masked_invalid(values), cmap="viridis", vmin=0.0, interpolation="nearest")
        axes.set_facecolor(MISSING)
        axes.grid(False)
        bar = drawn.colorbar(shown, ax=axes, label=called, shrink=0.85)
        bar.outline.set_visible(False)
        ticks, labels = _ticks(names, items)
        axes.set_xticks(
            ticks, labels, rotation=90 if any(len(label) > 4 for label in labels) or len("  ".join(labels)) > 60 else 0
        )
        axes.set_yticks(ticks, labels)
        for edge in range(1, len(runs)):
            if runs[edge] != runs[edge - 1]:
                axes.axhline(edge - 0.5, color="white", linewidth=1)
                axes.axvline(edge - 0.5, color="white", linewidth=1)
        if all(items[name][1] is not None for name in names):
            axes.set(xlabel="epoch", ylabel="epoch")
        who = runs[0] if len(set(runs)) == 1 else f"{len(set(runs))} runs"
        headline(axes, title or f"{called.partition(',')[0]}", f"{who}, {len(names)} checkpoints")
    return drawn


def spawn_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Distances between siblings against the time they were spawned: a panel a measure, each pair and their mean.

    Args:
        records: Of kind ``comparison``, or of one kind of distance; those without a spawn time are left out.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If no record has a spawn time.
    """
    siblings = [record for record in records if record.get("spawn_epoch") is not None]
    if not siblings:
        raise UsageError(
            "these pairs have no spawn time to be drawn against", "compare children: --pairs siblings; see also --kind"
        )
    panels = _panels(siblings)
    epochs = sorted({float(record["spawn_epoch"]) for record in siblings})
    narrow = width is not None and width < NARROW
    columns = min(2 if narrow else 3, len(panels))
    rows = -(-len(panels) // columns)
    size = (
        width or (4.2, 6.4, 7.2)[columns - 1],
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
        shown = title or f"Children at the end of training, {told} pair{'s' * (told != '1')} at each spawn time"
        wrapped = textwrap.fill(shown, max(20, int(11.5 * drawn.get_figwidth())))
        drawn.suptitle(wrapped, fontsize=9, fontweight="bold", x=0.02, ha="left")
    return drawn


def _panels(records: Records) -> list[tuple[str, dict[float, list[float]]]]:
    """The name of each measure, and its values by spawn time."""
    panels: dict[str, dict[float, list[float]]] = {}
    for record in records:
        found = (
            [(called, factor * record[name]) for name, (called, factor) in MEASURES.items() if name in record]
            if record["kind"] == "comparison"
            else [(CALLED[record["kind"]], record["distance"])]
        )
        for called, value in found:
            panels.setdefault(called, {}).setdefault(float(record["spawn_epoch"]), []).append(float(value))
    return list(panels.items())


def _against_time(axes: Any, epochs: Sequence[float], values: dict[float, list[float]], label: str) -> None:
    """Each pair, mean and standard deviation; spawn times at equal steps, as early ones lie close together."""
    ticks = [epochs.index(epoch) for epoch in values]
    order = np.argsort(ticks)
    means = np.asarray([statistics.fmean(values[e]) for e in values])[order]
    spread = np.asarray([_spread(values[e]) for e in values])[order]
    axes.errorbar(
        np.asarray(ticks)[order], means, yerr=[np.minimum(spread, means), spread] if spread.any() else None,
        color=COLORS[0], marker="o", markersize=4, capsize=3, zorder=3,
        label="mean ± s.d." if spread.any() else None,
    )  # fmt: skip
    if any(len(several) > 1 for several in values.values()):
        spots = [(epochs.index(epoch), value) for epoch, several in values.items() for value in several]
        axes.scatter(*zip(*spots, strict=True), s=10, color=COLORS[1], linewidths=0, zorder=4, label="each pair")
    step = -(-len(epochs) // (4 if axes.get_figure().get_figwidth() < NARROW else 8))
    shown = range(0, len(epochs), step)
    axes.set_xticks(list(shown), [f"{epochs[k]:.4g}" for k in shown])
    small = axes.get_figure().get_figwidth() < NARROW
    axes.set_title(textwrap.fill(label, 22) if small else label, fontsize=7 if small else 8)
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
    found = sorted({str(record[name]) for record in records})
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


def _run_of(name: str) -> str:
    return name.rpartition("@")[0] or name


def _ticks(names: Sequence[str], items: dict[str, tuple[str, float | None]]) -> tuple[NDArray[np.int64], list[str]]:
    """Which checkpoints are named beside the matrix: by epoch where that is known, of many only some."""
    step = -(-len(names) // MANY)
    places = np.arange(0, len(names), step)
    shown = [names[k] for k in places.tolist()]
    epochs = [items[name][1] for name in shown]
    return places, [short(name) if e is None else f"{e:.4g}" for name, e in zip(shown, epochs, strict=True)]
