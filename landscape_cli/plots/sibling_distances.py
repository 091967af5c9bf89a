"""Distances between siblings against each other, and through training (Fort et al. 2020, Fig. 6 and 10)."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape_cli.errors import UsageError
from landscape_cli.plots.curves import range_across
from landscape_cli.plots.legends import narrow_height
from landscape_cli.plots.pair_distances import CALLED, MEASURES, only
from landscape_cli.plots.style import NARROW, figure, headline

Records = Sequence[dict[str, Any]]


def scatter_figure(
    records: Records,
    *,
    x: str = "error_barrier",
    y: str = "function_distance",
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """Two measures of each pair of siblings against each other, coloured by the time they were spawned.

    Args:
        records: Of kind ``comparison``; those without a spawn time are left out.
        x: A measure, across.
        y: A measure, upwards.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If no record has a spawn time and both measures, or there is no such measure.
    """
    for name in (x, y):
        if name not in MEASURES:
            raise UsageError(f"there is no measure '{name}' of pairs", f"there is {', '.join(MEASURES)}")
    known = [r for r in records if r.get("spawn_epoch") is not None and None not in (r.get(x), r.get(y))]
    if not known:
        raise UsageError(
            f"no pair of siblings has both {x} and {y}", "landscape compare --pairs siblings measures them"
        )
    epochs = sorted({float(r["spawn_epoch"]) for r in known})
    width = width or 4.8
    with figure(width, height or narrow_height(width, 0.72, 2)) as (drawn, axes):
        for epoch, (color, mark) in shades(epochs).items():
            pairs = [r for r in known if float(r["spawn_epoch"]) == epoch]
            axes.scatter(
                [MEASURES[x][1] * r[x] for r in pairs], [MEASURES[y][1] * r[y] for r in pairs],
                s=26, color=color, marker=mark, linewidths=0, alpha=0.9, label=f"{epoch:.4g}", zorder=3,
            )  # fmt: skip
        axes.set(xlabel=MEASURES[x][0], ylabel=MEASURES[y][0])
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        legend_of_epochs(drawn, axes)
        headline(axes, title or "Children at the end of training", f"{len(known)} pairs of siblings")
    return drawn


def through_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """A distance between siblings against the epoch, a line for each spawn time: mean and spread over its pairs.

    Args:
        records: Of one kind of distance, at equal times of both; others are left out.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the records are of several kinds, or none is of siblings at one time.
    """
    called = CALLED[only(records, "kind", "distances")]
    lines: dict[float, dict[float, list[float]]] = {}
    for record in records:
        if record.get("spawn_epoch") is None or record.get("step_a") != record.get("step_b"):
            continue
        if record.get("epoch_a") is not None and np.isfinite(record["distance"]):
            of_time = lines.setdefault(float(record["spawn_epoch"]), {})
            of_time.setdefault(float(record["epoch_a"]), []).append(float(record["distance"]))
    if not lines:
        raise UsageError(
            "none of these pairs is of siblings at one time", "measure them: --pairs siblings --at 4ep,8ep,last"
        )
    width = width or 5.0
    with figure(width, height or narrow_height(width, 0.68, 2)) as (drawn, axes):
        for epoch, (color, mark) in shades(sorted(lines)).items():
            times = sorted(lines[epoch])
            means = np.asarray([statistics.fmean(lines[epoch][t]) for t in times])
            spread = np.asarray([statistics.stdev(lines[epoch][t]) if len(lines[epoch][t]) > 1 else 0.0 for t in times])
            axes.plot(times, means, color=color, marker=mark, markersize=4, label=f"{epoch:.4g}", zorder=3)
            if spread.any():
                axes.fill_between(times, means - spread, means + spread, color=color, alpha=0.15, linewidth=0)
        range_across(axes, np.asarray([t for times in lines.values() for t in times]))
        axes.set(xlabel="epoch", ylabel=called)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        legend_of_epochs(drawn, axes)
        pairs = max(len(values) for times in lines.values() for values in times.values())
        told = f"mean and standard deviation of {pairs} pairs" if pairs > 1 else "one pair of each spawn time"
        headline(axes, title or "Siblings through training", told)
    return drawn


def shades(epochs: Sequence[float]) -> Mapping[float, tuple[Any, str]]:
    """Colour and marker of each spawn time, in order."""
    import matplotlib as mpl

    marks = ("o", "^", "s", "D", "v", "P", "X")
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(epochs)))
    return {e: (color, marks[n % len(marks)]) for n, (e, color) in enumerate(zip(epochs, colors, strict=True))}


def legend_of_epochs(drawn: Any, axes: Any) -> None:
    """Spawn times beside the axes, or below them where these are narrow."""
    handles, labels = axes.get_legend_handles_labels()
    if drawn.get_figwidth() < NARROW:
        place: dict[str, Any] = {
            "loc": "outside lower center",
            "ncols": min(6, len(labels)),
            "handlelength": 1,
            "columnspacing": 0.8,
        }
    else:
        place = {"loc": "outside right center"}
    drawn.legend(handles, labels, title="spawned\nat epoch" if "right" in place["loc"] else "spawned at epoch", **place)
