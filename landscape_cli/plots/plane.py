"""Planes of weight space from above: contours, the networks that span them, trajectories (Fort et al. 2020, Fig. 5)."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_cli.plots.plane_mesh import Shown, axis_labels, chosen, mesh
from landscape_cli.plots.style import COLORS, MUTED, NARROW, figure
from landscape_cli.store.planes import StoredPlane

LEVELS = 16
FEW, POWERS = 0.6, 3.0  # powers of ten below which a scale has round numbers, above which only powers


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
    columns = 1 if width is not None and width < NARROW else min(count, 2 if count in (2, 4) else 3)
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
    axes.set_facecolor("#f2f2f2")
    axes.grid(False)
    axes.set_aspect("equal" if plane.attributes.get("units") == "weights" else "auto")
    axes.set_title(shown.title)
    _contours(drawn, axes, plane, shown)
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


def _contours(drawn: Any, axes: Any, plane: StoredPlane, shown: Shown) -> None:
    """Colours between the nodes, of logarithms where the scale is one, and their bar."""
    from matplotlib.tri import Triangulation

    triangles = mesh(plane)
    values = triangles.values(shown.of(plane), log=shown.log)
    values = np.log10(values) if shown.log else values
    drawable = np.isfinite(values)
    whole = drawable[triangles.triangles].all(1)
    if not whole.any():
        return
    low, high = float(values[drawable].min()), float(values[drawable].max())
    if high <= low:
        low, high = low - 0.5, low + 0.5
    levels = np.linspace(low, high, LEVELS)
    levels[0], levels[-1] = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    shape = Triangulation(triangles.x, triangles.y, triangles.triangles)
    shape.set_mask(~whole)
    safe = np.where(drawable, values, low)
    filled = axes.tricontourf(shape, safe, levels=levels, cmap="viridis")
    axes.tricontour(shape, safe, levels=levels, colors="white", linewidths=0.3, linestyles="solid", alpha=0.5)
    places, names = _ticks(low, high, log=shown.log)
    # Beside the panel as it is drawn: of a plane in one scale that is less than its place.
    bar = drawn.colorbar(filled, cax=axes.inset_axes((1.04, 0, 0.05, 1)))
    bar.set_ticks(places, labels=names)
    bar.outline.set_visible(False)


def _ticks(low: float, high: float, *, log: bool) -> tuple[list[float], list[str]]:
    """Places on a bar from low to high and what stands there; of a logarithmic one the places are exponents."""
    from matplotlib import ticker

    if not log or high - low < FEW:
        shown = [10.0**v for v in (low, high)] if log else [low, high]
        found = [
            float(v)
            for v in ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(*shown)
            if shown[0] <= v <= shown[1]
        ]
        return [math.log10(v) for v in found] if log else found, [f"{v:g}" for v in found]
    if high - low > POWERS:
        step = max(1, round((high - low) / 7))
        whole = list(range(math.ceil(low), math.floor(high) + 1, step))
        return [float(v) for v in whole], [f"$10^{{{v}}}$" for v in whole]
    powers = range(math.floor(low), math.ceil(high) + 1)
    marks = [m * 10.0**k for k in powers for m in (1, 2, 5) if low <= math.log10(m) + k <= high]
    return [math.log10(v) for v in marks], [f"{v:g}" for v in marks]


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
