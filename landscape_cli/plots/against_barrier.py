"""What falls together with the error barrier: kernel velocity and nonlinear advantage (Fort et al. 2020, Fig. 7, 9)."""

from collections.abc import Sequence
from typing import Any

from scipy.stats import spearmanr

from landscape_cli.errors import UsageError
from landscape_cli.plots.legends import narrow_height
from landscape_cli.plots.pair_distances import only
from landscape_cli.plots.sibling_distances import legend_of_epochs, shades
from landscape_cli.plots.style import figure, headline

Records = Sequence[dict[str, Any]]
Point = tuple[float, float, float, float, float]  # epoch, barrier, its spread, the other, its spread


def against_barrier_figure(
    records: Records,
    summary: Records = (),
    *,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """Kernel velocity, or nonlinear advantage, against the error barrier of children of the same epoch.

    Args:
        records: Of kind ``kernel-velocity``, those with a barrier, or ``linearization``, those with an advantage.
        summary: Beside linearisations: of kind ``barrier-summary`` and one split.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure: a point an epoch, with the standard deviations over pairs and repeats where there are some.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If there are not two epochs with both, or the records are of several parents, orders or forms.
    """
    if records and records[0]["kind"] == "kernel-velocity":
        points = _velocities(records)
        called, usual = f"velocity of the {only(records, 'form', 'kernel forms')} kernel (1/epoch)", "Kernel velocity"
    else:
        points = _advantages(records, summary)
        called, usual = "nonlinear advantage (points of %)", "Nonlinear advantage"
    if len(points) < 2:
        raise UsageError(
            f"{len(points)} epochs have both an error barrier and what is drawn against it; two are needed",
            "spawn children at those times: landscape spawn RUN --at 0ep,1ep,2ep --children 2",
        )
    width = width or 4.8
    with figure(width, height or narrow_height(width, 0.72, 2)) as (drawn, axes):
        for epoch, (color, mark) in shades([point[0] for point in points]).items():
            _, x, x_spread, y, y_spread = next(point for point in points if point[0] == epoch)
            axes.errorbar(
                [x], [y], xerr=[[min(x_spread, max(x, 0.0))], [x_spread]] if x_spread else None,
                yerr=y_spread or None, color=color, marker=mark, markersize=6, linestyle="none", capsize=2,
                label=f"{epoch:.4g}", zorder=3,
            )  # fmt: skip
        axes.set(xlabel="error barrier (points of %)", ylabel=called)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        legend_of_epochs(drawn, axes)
        told = "a point an epoch" + (", mean and standard deviation" if any(p[2] or p[4] for p in points) else "")
        if all(len({point[side] for point in points}) > 1 for side in (1, 3)):  # else there are no ranks
            ranks = spearmanr([point[1] for point in points], [point[3] for point in points]).statistic
            told += f"; rank correlation {ranks:.2f}"
        headline(axes, title or f"{usual} and error barrier", told)
    return drawn


def _velocities(records: Records) -> list[Point]:
    only(records, "path", "runs")
    return [
        (
            float(r["epoch"]), 100 * r["error_barrier"], 100 * (r.get("error_barrier_sd") or 0.0), r["velocity"], 0.0,
        )
        for r in sorted(records, key=lambda record: float(record["epoch"]))
        if r.get("error_barrier") is not None
    ]  # fmt: skip


def _advantages(records: Records, summary: Records) -> list[Point]:
    linear = [record for record in records if record.get("advantage") is not None]
    if not linear:
        raise UsageError("no record holds a nonlinear advantage", "measure it: landscape linearize --low-lr")
    if not summary:
        raise UsageError(
            "there are no error barriers of siblings to draw it against", "as in: plot linearized.jsonl barriers.jsonl"
        )
    only(linear, "parent", "parents")
    only(linear, "order", "orders")
    walls = {float(r["spawn_epoch"]): r for r in summary}
    return [
        (
            epoch, 100 * walls[epoch]["error_sup_mean"], 100 * (walls[epoch].get("error_sup_std") or 0.0),
            100 * r["advantage"], 100 * (r.get("advantage_sd") or 0.0),
        )
        for r in sorted(linear, key=lambda record: float(record["spawn_epoch"]))
        if (epoch := float(r["spawn_epoch"])) in walls
    ]  # fmt: skip
