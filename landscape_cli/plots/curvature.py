"""Curvature through training: λ_max along a run, spectral densities, escape thresholds (Fort et al. 2020, C.1)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import shortened
from landscape_cli.plots.curves import range_across
from landscape_cli.plots.legends import handles, narrow_height, outer_legend, own_legend
from landscape_cli.plots.style import COLORS, MARKERS, MUTED, NARROW, figure, headline

Records = Sequence[dict[str, Any]]

NAMES = {"hessian": "Hessian", "gauss-newton": "Gauss–Newton matrix", "empirical-fisher": "empirical Fisher matrix"}
LOG_RANGE = 20.0  # largest over smallest value above which an axis is logarithmic


def sharpness_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """λ_max along training, its spread over parts of the sample, further eigenvalues, and the trace beside it.

    Args:
        records: Of kind ``hessian`` and one curvature.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the records are of several curvatures, or their times are unknown.
    """
    name = _one(records)
    lines = _lines(records)
    traced = any(r.get("trace") is not None for r in records)
    width = width or (7.0 if traced else 4.8)
    stacked = traced and width < NARROW
    shape = {"nrows" if stacked else "ncols": 1 + traced, "squeeze": False}
    tall = 1.4 if stacked else 0.42 if traced else 0.66
    with figure(width, height or tall * width, **shape) as (drawn, places):
        grid = places.ravel()
        panels = [("lambda_max", "lambda_max_sd", "λ_max", grid[0])]
        panels += [("trace", "trace_error", "trace", grid[1])] if traced else []
        for key, error, label, axes in panels:
            values = []
            for number, line in enumerate(lines.values()):
                told = [r for r in line if r.get(key) is not None]
                x, y, spread = (_column(told, column) for column in ("epoch", key, error))
                values += y.tolist()
                axes.errorbar(
                    x, y, yerr=np.nan_to_num(spread) if np.isfinite(spread).any() else None, capsize=3, markersize=4,
                    color=COLORS[number % len(COLORS)], marker=MARKERS[number % len(MARKERS)],
                    zorder=3,
                )  # fmt: skip
                if key == "lambda_max":
                    _others(axes, told, COLORS[number % len(COLORS)])
            _log(axes, values)
            axes.set(xlabel="epoch", ylabel=f"{label} of the {name}")
            range_across(axes, _column(records, "epoch"))
        if len(lines) > 1:
            outer_legend(drawn, _entries(lines), below=True)
        shown = "λ_max with the standard deviation over parts of the sample"
        shown += "; dots: further eigenvalues" if any(len(r.get("eigenvalues") or ()) > 1 for r in records) else ""
        shown += ", trace with its standard error" if traced else ""
        headline(grid[0], title or "How sharp the loss is", f"{shown}; {_sample(records)}")
    return drawn


def density_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Spectral densities, on a logarithmic axis that ends a decade below the height of a single eigenvalue.

    Args:
        records: Of kind ``hessian`` and one curvature, those with a density.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If none has a density, or they are of several curvatures.
    """
    found = sorted((r for r in records if r.get("density")), key=lambda r: (r["path"], _epoch(r)))
    if not found:
        raise UsageError("no record holds a spectral density", "measure it: landscape hessian --density 4")
    name = _one(found)
    width = width or 5.2
    with figure(width, height or narrow_height(width, 0.66, (len(found) + 1) // 2)) as (drawn, axes):
        import matplotlib as mpl

        shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(found)))
        floor, top = math.inf, 0.0
        for record, shade in zip(found, shades, strict=True):
            density = record["density"]
            x, y, error = (np.asarray(density[key], dtype=np.float64) for key in ("grid", "values", "error"))
            single = 1 / (record["parameters"] * density["width"] * math.sqrt(2 * math.pi))
            floor, top = min(floor, 0.1 * single), max(top, float(y.max()))
            color = shade if len(found) > 1 else COLORS[0]
            axes.plot(x, np.maximum(y, 1e-300), color=color, label=_when(record, found))
            if np.isfinite(error).any():
                axes.fill_between(
                    x, np.maximum(y - error, 1e-300), np.maximum(y + error, 1e-300), color=color, alpha=0.2, linewidth=0
                )
            axes.axvline(record["lambda_max"], color=color, linestyle=":", linewidth=0.9)
        axes.set_yscale("log")
        axes.set_ylim(floor, 5 * top)
        axes.set(xlabel="eigenvalue", ylabel=f"density of the {name}'s spectrum")
        if len(found) > 1:
            own_legend(drawn, axes, ncols=1 + (len(found) > 8))
        probes = len(found[0]["density"]["nodes"])
        told = f"{probes} random vectors, {len(found[0]['density']['nodes'][0])} steps; shaded: standard error; "
        headline(axes, title or "Spectral density", f"{told}dotted: λ_max; {_sample(found)}")
    return drawn


def overlap_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """How much of the span of the logit-gradient centroids lies in the top eigenspace, along training.

    Args:
        records: Of kind ``hessian`` and one curvature, those with an overlap.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If none has an overlap, they are of several curvatures, or their times are unknown.
    """
    found = [record for record in records if record.get("overlap") is not None]
    if not found:
        raise UsageError("no record holds an overlap", "measure it: landscape hessian --overlap")
    name = _one(found)
    lines = _lines(found)
    width = width or 4.8
    with figure(width, height or narrow_height(width, 0.68, 2)) as (drawn, axes):
        for number, (run, line) in enumerate(lines.items()):
            suffix = f", {run}" if len(lines) > 1 else ""
            for key, label, style in (
                ("overlap", "of the centroids' span", "-"), ("gradient_overlap", "of the gradient", "--"),
            ):  # fmt: skip
                axes.plot(
                    _column(line, "epoch"), _column(line, key), linestyle=style, markersize=4, label=label + suffix,
                    color=COLORS[(2 * number + (style != "-")) % len(COLORS)], marker=MARKERS[number % len(MARKERS)],
                )  # fmt: skip
        by_chance = float(np.mean(_column(found, "overlap_expected")))
        axes.axhline(by_chance, color=MUTED, linestyle=":", label="by chance")
        range_across(axes, _column(found, "epoch"))
        axes.set(xlabel="epoch", ylabel="share in the top eigenspace", ylim=(-0.04, 1.02))
        own_legend(drawn, axes, fontsize=7)
        dims = found[0]["overlap_dimensions"]
        told = f"top {dims[0]} eigenvectors and {dims[-1]} directions of centroids; {_sample(found)}"
        headline(axes, title or f"Top eigenspace of the {name}", told)
    return drawn


def escape_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Escape threshold against epoch; beside it the noise scale, and what batch norm makes of rate and sharpness.

    Args:
        records: Of kind ``escape``.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the times of the records are unknown.
    """
    lines = _lines(records)
    scaled = any(r.get("effective_lr") is not None for r in records)
    width = width or (9.0 if scaled else 6.6)
    stacked = width < NARROW
    shape = {"nrows" if stacked else "ncols": 2 + scaled}
    tall = 0.72 * (2 + scaled) if stacked else 0.34 if scaled else 0.45
    with figure(width, height or tall * width, **shape) as (drawn, grid):
        beside = (grid[2], grid[2].twinx()) if scaled else None
        for number, (run, line) in enumerate(lines.items()):
            marker, suffix = MARKERS[number % len(MARKERS)], f", {run}" if len(lines) > 1 else ""
            style = {"marker": marker, "markersize": 4}
            x = _column(line, "epoch")
            y, error = _column(line, "escape_scale_free"), _column(line, "escape_scale_free_error")
            y[~np.isfinite(y)] = np.nan
            grid[0].errorbar(
                x, y, yerr=np.nan_to_num(error), capsize=3, color=COLORS[0], label=f"½ηuᵀHu/gᵀu − 1{suffix}", **style
            )
            grid[0].plot(
                x, _column(line, "escape_gradient_descent"), color=COLORS[1], linestyle="--",
                label=f"ηλ_max/2 − 1{suffix}", **style,
            )  # fmt: skip
            scale = _column(line, "noise_scale")
            scale[~np.isfinite(scale)] = np.nan
            grid[1].plot(x, scale, color=COLORS[2], label=f"noise scale{suffix}", **style)
            grid[1].plot(x, _column(line, "batch_size"), color=MUTED, linestyle=":", label=f"batch size{suffix}")
            if beside is not None:
                rate, sharp = _column(line, "effective_lr"), _column(line, "effective_sharpness")
                beside[0].plot(x, rate, color=COLORS[3], label=f"η/‖w‖²{suffix}", **style)
                beside[1].plot(x, sharp, color=COLORS[4], linestyle="--", label=f"λ_max‖w‖²{suffix}", **style)
        grid[0].axhline(0, color="black", linewidth=0.8)
        low, high = grid[0].get_ylim()
        if max(abs(low), abs(high)) > LOG_RANGE:
            grid[0].set_yscale("symlog", linthresh=1.0)
        for axes in grid:
            axes.set_xlabel("epoch")
            range_across(axes, _column(records, "epoch"))
        grid[0].set_ylabel("escape threshold")
        grid[1].set_ylabel("samples")
        counts = np.concatenate([_column(records, "noise_scale"), _column(records, "batch_size")])
        _log(grid[1], counts[np.isfinite(counts)].tolist())
        grid[0].legend(fontsize=7)
        grid[1].legend(fontsize=7)
        if beside is not None:
            for axes, key, label in (
                (beside[0], "effective_lr", "effective learning rate η/‖w‖²"),
                (beside[1], "effective_sharpness", "effective sharpness λ_max‖w‖²"),
            ):
                values = _column(records, key)
                _log(axes, values[np.isfinite(values)].tolist())
                axes.set_ylabel(label)
            beside[1].spines["right"].set_visible(True)
            beside[1].grid(False)
            parts = [axes.get_legend_handles_labels() for axes in beside]
            beside[0].legend(parts[0][0] + parts[1][0], parts[0][1] + parts[1][1], fontsize=7)
        optimizers = ", ".join(dict.fromkeys(str(r["optimizer"]) for r in records))
        told = f"above 0 a step leaves its quadratic basin; {optimizers}, {records[0]['minibatches']} minibatches; "
        headline(grid[0], title or "Escape threshold", told + _sample(records))
    return drawn


def _others(axes: Any, line: Records, color: str) -> None:
    """The eigenvalues after the largest, as small dots."""
    for rank in range(1, max((len(r["eigenvalues"]) for r in line), default=0)):
        held = [r for r in line if len(r["eigenvalues"]) > rank and r["eigenvalues"][rank] > 0]
        axes.plot(
            _column(held, "epoch"), [r["eigenvalues"][rank] for r in held], linestyle="none", marker=".", markersize=3,
            color=color, alpha=0.5,
        )  # fmt: skip


def _lines(records: Records) -> dict[str, list[dict[str, Any]]]:
    """The records of each run by time."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record.get("epoch") is None:
            raise UsageError(
                f"{record.get('checkpoint')} is at no known epoch", "give checkpoints of runs, or RUN --at all"
            )
        found.setdefault(str(record["path"]).rstrip("/").rpartition("/")[2], []).append(record)
    return {run: sorted(line, key=_epoch) for run, line in found.items()}


def _entries(lines: dict[str, Any]) -> list[Any]:
    """Legend entries of runs, by colour and marker."""
    styles = zip(shortened(list(lines)), range(len(lines)), strict=True)
    return handles([(run, COLORS[n % len(COLORS)], MARKERS[n % len(MARKERS)]) for run, n in styles])


def _epoch(record: dict[str, Any]) -> float:
    return float(record["epoch"]) if record.get("epoch") is not None else math.inf


def _column(records: Records, key: str) -> NDArray[np.float64]:
    return np.asarray([math.nan if r.get(key) is None else r[key] for r in records], dtype=np.float64)


def _log(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic axis where the values spread over decades and are above zero; else from zero."""
    if values and min(values) > 0:
        if max(values) / min(values) > LOG_RANGE:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
            axes.ticklabel_format(axis="y", scilimits=(-2, 4))


def _one(records: Records) -> str:
    found = sorted({str(r["curvature"]) for r in records})
    if len(found) > 1:
        raise UsageError(
            f"the records are of several curvatures: {', '.join(found)}",
            f"choose one, as in --where \"curvature == '{found[0]}'\"",
        )
    return NAMES.get(found[0], found[0])


def _when(record: dict[str, Any], among: Records) -> str:
    run = str(record["path"]).rstrip("/").rpartition("/")[2]
    if record.get("epoch") is None:
        return run
    several = len({r["path"] for r in among}) > 1
    return f"{run}, epoch {record['epoch']:.4g}" if several else f"epoch {record['epoch']:.4g}"


def _sample(records: Records) -> str:
    counts = sorted({int(r["samples"]) for r in records})
    told = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    norms = sorted({str(r["batch_norm"]) for r in records if r.get("batch_norm")})
    return f"{told} images" + (f", batch norm: {', '.join(norms)}" if norms else "")
