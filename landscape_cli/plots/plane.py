"""Planes of weight space from above: contours, the networks that span them, trajectories (Fort et al. 2020, Fig. 5)."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_cli.plots.plane_mesh import Shown, axis_labels, chosen, mesh
from landscape_cli.plots.style import COLORS, MUTED, figure
from landscape_cli.store.planes import StoredPlane

LEVELS = 16
POWERS = 1e3  # ratio from which on a logarithmic scale is labelled by powers of ten


def plane_figure(
    plane: StoredPlane,
    *,
    color: Sequence[str] | None = None,
    log: bool | None = None,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """Filled contours of what was measured on a plane, a panel a value.

    Where a value is no number (or a function distance has none) the node is crossed, and no colour reaches it.

    Args:
        plane: The plane.
        color: Which values, as in ``error`` or ``train_loss``; by default error, loss, function distance, and the
            error of the linearised network, as far as they were measured.
        log: Losses on a logarithmic scale; None if they span a power of ten.
        title: Above all panels.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If a value was not measured.
    """
    panels = chosen(plane, color, log)
    count = len(panels)
    columns = min(count, 2 if count in (2, 4) else 3)
    rows = -(-count // columns)
    ratio = min(1.6, max(0.45, float(np.ptp(plane.y) / np.ptp(plane.x))))
    width = width or (4.4 if count == 1 else 7.6)
    each = (width / columns - 0.95) * ratio
    size = (width, height or rows * (each + 0.5) + 1.0)
    with figure(*size, nrows=rows, ncols=columns, squeeze=False, sharex=True, sharey=True) as (drawn, axes):
        for place in axes.flat[count:]:
            place.set_visible(False)
        across, up = axis_labels(plane)
        for number, (shown, place) in enumerate(zip(panels, axes.flat, strict=False)):
            _panel(drawn, place, plane, shown)
            if number + columns >= count:
                place.set_xlabel(textwrap.fill(across, 34))
                place.tick_params(labelbottom=True)
            if number % columns == 0:
                place.set_ylabel(textwrap.fill(up, max(18, min(34, int(13 * each)))))
        handles, labels = axes.flat[0].get_legend_handles_labels()
        if handles:
            drawn.legend(handles, labels, loc="outside lower center", ncols=min(4, len(handles)))
        _head(drawn, plane, title)
    return drawn


def _panel(drawn: Any, axes: Any, plane: StoredPlane, shown: Shown) -> None:
    import matplotlib as mpl
    from matplotlib import ticker

    triangles = mesh(plane)
    values = triangles.values(shown.of(plane), log=shown.log)
    drawable = np.isfinite(values)
    axes.set_facecolor("#f2f2f2")
    axes.grid(False)
    axes.set_aspect("equal" if plane.attributes.get("units") == "weights" else "auto")
    axes.set_title(shown.title)
    if drawable.any():
        low, high = float(values[drawable].min()), float(values[drawable].max())
        if high <= low:
            low, high = (low * 0.999, low * 1.001) if shown.log else (low - 0.5, low + 0.5)
        levels = np.geomspace(low, high, LEVELS) if shown.log else np.linspace(low, high, LEVELS)
        levels[-1] = np.nextafter(levels[-1], np.inf)
        levels[0] = np.nextafter(levels[0], -np.inf)
        norm = mpl.colors.LogNorm(low, high) if shown.log else mpl.colors.Normalize(low, high)
        shape = mpl.tri.Triangulation(triangles.x, triangles.y, triangles.triangles)
        whole = drawable[triangles.triangles].all(1)
        shape.set_mask(~whole)
        safe = np.where(drawable, values, low)
        if whole.any():
            filled = axes.tricontourf(shape, safe, levels=levels, cmap="viridis", norm=norm)
            axes.tricontour(shape, safe, levels=levels, colors="white", linewidths=0.3, alpha=0.5, norm=norm)
            powers = shown.log and high > POWERS * low
            few = ticker.LogLocator(subs=(1.0,) if powers else (1.0, 2.0, 5.0), numticks=9)
            ticks = few if shown.log and high > 4 * low else ticker.MaxNLocator(5)
            bar = drawn.colorbar(filled, ax=axes, ticks=ticks, shrink=0.9)
            bar.outline.set_visible(False)
            bar.ax.minorticks_off()
            if not powers:
                bar.formatter = ticker.FormatStrFormatter("%g")
                bar.update_ticks()
    rows, columns = np.nonzero(plane.measured & ~np.isfinite(shown.of(plane)))
    if len(rows):
        axes.scatter(
            plane.x[columns], plane.y[rows], marker="x", s=9, color=MUTED, linewidths=0.7, label="no finite value"
        )
    _tracks(axes, plane)
    for row in plane.corners.rows():
        axes.plot(row["x"], row["y"], "o", color="black", markersize=5, markeredgecolor="white", zorder=5)
        axes.annotate(
            row["role"], (row["x"], row["y"]), (4, 4), textcoords="offset points", fontweight="bold", zorder=6,
            path_effects=[_halo()],
        )  # fmt: skip
    axes.set(xlim=(plane.x[0], plane.x[-1]), ylim=(plane.y[0], plane.y[-1]))


def _halo() -> Any:
    from matplotlib import patheffects

    return patheffects.withStroke(linewidth=2.2, foreground="white")


def _tracks(axes: Any, plane: StoredPlane) -> None:
    """Trajectories as they are seen from above the plane, in order of training."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for row in plane.trajectories.rows():
        runs.setdefault(str(row["run"]), []).append(row)
    for number, (run, rows) in enumerate(runs.items()):
        x, y = [row["x"] for row in rows], [row["y"] for row in rows]
        shade = COLORS[(1 + number) % len(COLORS)]
        axes.plot(x, y, color=shade, linewidth=1.2, zorder=4, path_effects=[_halo()])
        axes.plot(
            x, y, "o", color=shade, markersize=3.6, markeredgecolor="white", markeredgewidth=0.5, zorder=4.5,
            label=textwrap.shorten(run, 48),
        )  # fmt: skip


def _head(drawn: Any, plane: StoredPlane, title: str | None) -> None:
    """What the plane is, and which networks stand where."""
    who = ", ".join(f"{row['role']} {row['name']}" for row in plane.corners.rows())
    off = [row["off"] for row in plane.trajectories.rows()]
    told = [str(plane.attributes.get("data", "")), who]
    if off:
        told.append(f"trajectories stand up to {max(off):.3g} off the plane")
    heading = title or {
        "networks": "The plane through three networks",
        "pca": "The plane of a trajectory's principal components",
    }.get(str(plane.attributes.get("directions", "networks")), "A plane of weight space")
    text = textwrap.fill("; ".join(part for part in told if part), int(drawn.get_figwidth() * 15))
    # Empty lines under the heading keep the place of the smaller text.
    drawn.suptitle(heading + "\n" * (1 + text.count("\n")), fontsize=10, fontweight="bold", x=0.01, ha="left")
    top = 1 - (0.04 + 0.19) / drawn.get_figheight()
    drawn.text(0.01, top, text, fontsize=7.5, color=MUTED, va="top", in_layout=False)
