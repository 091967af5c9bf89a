"""The tangent kernel through training, and what training in a tangent space reaches (Fort et al. 2020, Fig. 6–9)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from landscape_cli.errors import UsageError
from landscape_cli.plots.curves import range_across
from landscape_cli.plots.legends import narrow_height, own_legend
from landscape_cli.plots.pair_distances import only, short
from landscape_cli.plots.style import COLORS, MARKERS, figure, headline

Records = Sequence[dict[str, Any]]


def velocity_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Kernel velocity against epoch, and the error barrier of children spawned there on an axis of its own.

    Args:
        records: Of kind ``kernel-velocity`` and one form.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the records are of several forms.
    """
    form = only(records, "form", "kernel forms")
    lines: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        lines.setdefault(str(record["path"]), []).append(record)
    width = width or 5.0
    named = {path: f", {short(path)}" if len(lines) > 1 else "" for path in lines}
    with figure(width, height or narrow_height(width, 0.64, 2 * len(lines))) as (drawn, axes):
        for number, (path, line) in enumerate(lines.items()):
            line = sorted(line, key=lambda r: float(r["epoch"]))
            axes.plot(
                [r["epoch"] for r in line], [r["velocity"] for r in line], label=f"kernel velocity{named[path]}",
                color=COLORS[2 * number % len(COLORS)], marker=MARKERS[number % len(MARKERS)], markersize=4,
            )  # fmt: skip
        _from_zero(axes)
        axes.set(xlabel="epoch t", ylabel=f"velocity of the {form} kernel (1/epoch)")
        range_across(axes, np.asarray([r["epoch"] for r in records], dtype=np.float64))
        known = [r for r in records if r.get("error_barrier") is not None]
        handles = axes.get_legend_handles_labels()[0]
        if known:
            beside = axes.twinx()
            for number, (path, line) in enumerate(lines.items()):
                mine = sorted((r for r in line if r in known), key=lambda r: float(r["epoch"]))
                means = 100 * np.asarray([r["error_barrier"] for r in mine])
                spread = 100 * np.asarray([r.get("error_barrier_sd") or 0.0 for r in mine])
                beside.errorbar(
                    [r["epoch"] for r in mine], means, linestyle="--", capsize=3,
                    yerr=[np.minimum(spread, np.maximum(means, 0)), spread] if spread.any() else None,
                    color=COLORS[(2 * number + 1) % len(COLORS)], marker="s", markersize=4,
                    label=f"error barrier of children spawned at t{named[path]}",
                )  # fmt: skip
            _from_zero(beside)
            beside.set_ylabel("error barrier (points of %)")
            beside.spines["right"].set_visible(True)
            beside.grid(False)
            handles = handles + beside.get_legend_handles_labels()[0]
        if len(handles) > 1:  # the axis says what a single line is
            own_legend(drawn, axes, handles, loc="best" if not known else "upper right")
        spans = sorted({round(float(r["dt"]), 3) for r in records})
        told = f"Δt {spans[0]:g} epochs" if len(spans) == 1 else f"Δt {spans[0]:g} to {spans[-1]:g} epochs"
        headline(axes, title or "How fast the tangent kernel moves", f"{told}, {records[0]['samples']} samples")
    return drawn


def linearized_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Test error of what was trained linearised at t̃, against t̃, beside ordinary training and the parent's end.

    Args:
        records: Of kinds ``linearization`` (trained) and ``kernel-regression`` (solved).
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
    """
    curves = _reached(records)
    width = width or 5.2
    with figure(width, height or narrow_height(width, 0.68, 1 + len(curves))) as (drawn, axes):
        for number, (label, points) in enumerate(curves.items()):
            found = [(epoch, value, spread) for epoch, (_, value, spread) in sorted(points.items())]
            x, y, spread = (np.asarray(side, dtype=np.float64) for side in zip(*found, strict=True))
            axes.errorbar(
                x, 100 * y, yerr=100 * np.stack([np.minimum(spread, y), spread]) if spread.any() else None, capsize=3,
                label=label, color=COLORS[number % len(COLORS)], marker=MARKERS[number % len(MARKERS)], markersize=4,
            )  # fmt: skip
        parents = {str(r["parent"]): r["parent_test_error"] for r in records if r.get("parent_test_error") is not None}
        for number, (path, error) in enumerate(parents.items()):
            name = "the parent's end" if len(parents) == 1 else f"the end of {short(path)}"
            axes.axhline(100 * error, color="#777777", linestyle=(":", "--", "-.")[number % 3], label=name)
        range_across(axes, np.asarray([r["spawn_epoch"] for r in records], dtype=np.float64))
        _from_zero(axes)
        axes.set(xlabel="epoch t̃ of the tangent space", ylabel="test error (%)")
        own_legend(drawn, axes)
        repeats = max(int(r.get("repeats") or 1) for r in records)
        told = f"{short(next(iter(parents), str(records[0]['parent'])))}"
        told += f", mean and standard deviation of {repeats}" if repeats > 1 else ""
        headline(axes, title or "What training in the tangent space of t̃ reaches", told)
    return drawn


def _reached(records: Records) -> dict[str, dict[float, tuple[int, float, float]]]:
    """What each kind of training reached from each t̃: repeats, test error, and its spread, by label and epoch.

    Parents and protocols that differ are lines of their own. Two records of one line and time, as of both orders beside
    the same network at the low rate, are repeats of the same runs: the one of more is drawn.
    """
    told: tuple[Callable[[dict[str, Any]], str], ...] = (
        lambda r: short(str(r["parent"])),
        lambda r: f"rate {r['lr']:g}, {r['epochs']:g} epochs" if r.get("lr") is not None else "",
    )
    several = [say for say in told if len({said for said in map(say, records) if said}) > 1]
    curves: dict[str, dict[float, tuple[int, float, float]]] = {}
    for record in records:
        if record["kind"] == "kernel-regression":
            # From zero: from the network's own logits, whose scale grows, squared loss has first of all to shrink them.
            kernel = f"regression on the {record['kernel']} kernel, n = {record['samples']}"
            lines = [(kernel, record["kernel_test_error"], 0.0)]
        else:
            order = f"linearised at t̃, order {record['order']}"
            lines = [(order, record["test_error"], record.get("test_error_sd") or 0.0)]
            if record.get("low_lr_test_error") is not None:
                own = "the network itself, from t̃ at the same low rate"
                lines.append((own, record["low_lr_test_error"], record.get("low_lr_test_error_sd") or 0.0))
        apart = "".join(f", {said}" for said in (say(record) for say in several) if said)
        for label, value, spread in lines:
            of_label = curves.setdefault(f"{label}{apart}", {})
            point = (int(record.get("repeats") or 1), value, spread)
            epoch = float(record["spawn_epoch"])
            of_label[epoch] = max(of_label.get(epoch, point), point, key=lambda found: found[0])
    return curves


def advantage_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Nonlinear advantage against t̃: test error of linearised training less that of the network itself from there.

    Args:
        records: Of kind ``linearization``, those with a run of the network itself beside them (``--low-lr``).
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If no record has an advantage.
    """
    known = [record for record in records if record.get("advantage") is not None]
    if not known:
        raise UsageError("no record holds a nonlinear advantage", "measure it: landscape linearize --low-lr")
    lines: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for record in known:
        lines.setdefault((short(str(record["parent"])), int(record["order"])), []).append(record)
    several = len({parent for parent, _ in lines}) > 1
    width = width or 5.2
    with figure(width, height or narrow_height(width, 0.68, 0)) as (drawn, axes):
        axes.axhline(0, color="black", linewidth=0.8)
        for number, ((parent, order), line) in enumerate(lines.items()):
            line = sorted(line, key=lambda r: float(r["spawn_epoch"]))
            spread = np.asarray([r.get("advantage_sd") or 0.0 for r in line])
            axes.errorbar(
                [r["spawn_epoch"] for r in line], [100 * r["advantage"] for r in line],
                yerr=100 * spread if spread.any() else None, capsize=3, markersize=4,
                label=f"order {order}" + (f", {parent}" if several else ""),
                color=COLORS[number % len(COLORS)], marker=MARKERS[number % len(MARKERS)],
            )  # fmt: skip
        range_across(axes, np.asarray([r["spawn_epoch"] for r in known], dtype=np.float64))
        axes.set(xlabel="epoch t̃ of the tangent space", ylabel="nonlinear advantage (points of %)")
        if len(lines) > 1:
            axes.legend()
        repeats = max(int(r.get("repeats") or 1) for r in known)
        told = "test error of linearised training less that of the network itself, from t̃ at the same rate"
        told += f"; mean and standard deviation of {repeats}" if repeats > 1 else ""
        headline(axes, title or "What the nonlinear network gains", told)
    return drawn


def _from_zero(axes: Any) -> None:
    """Zero at the same height on both axes, and no point cut (a barrier may be a little below zero)."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, -0.05 * top), top)
