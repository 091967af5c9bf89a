"""A plane of weight space as a surface: one page to turn, self-contained, and a picture of it (Li et al. 2018)."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_cli.plots.pages import VIRIDIS, as_base64, whole_page
from landscape_cli.plots.plane_mesh import Shown, axis_labels, chosen, height, mesh, names_of
from landscape_cli.plots.style import COLORS, figure, headline
from landscape_cli.store.planes import StoredPlane

_PANEL = """<fieldset><legend>Height</legend>
<label><span>value</span><select id="measure"></select></label>
<label><input type="checkbox" id="log"> logarithmic</label>
<label><span>cut off at</span><input type="range" id="cap" min="5" max="100" step="1" value="100"></label>
<div id="bar"></div><div id="ends"><span id="low"></span><span id="high"></span></div>
<p class="note" id="broken"></p>
</fieldset>
<fieldset><legend>Networks</legend>
<div id="networks"></div>
<label><input type="checkbox" id="tracks" checked> trajectories</label>
<label><input type="checkbox" id="mesh" checked> mesh</label>
</fieldset>
"""


def surface_page(
    plane: StoredPlane, *, color: Sequence[str] | None = None, log: bool | None = None, title: str | None = None
) -> str:
    """One HTML page with everything that was measured on a plane, as surfaces to turn with the mouse or the keys.

    Args:
        plane: The plane.
        color: The values on the page, the first of them shown at first; by default all of them.
        log: Losses on a logarithmic scale at first; None if they span a power of ten.
        title: By default what is shown.

    Cost: about 45 bytes a node and 6 more a value.

    Raises:
        UsageError: If a value was not measured.
    """
    shown = chosen(plane, color or names_of(plane), log)
    triangles = mesh(plane)
    seen = plane.trajectories.rows()
    runs = list(dict.fromkeys(str(row["run"]) for row in seen))
    across, up = axis_labels(plane)
    data = {
        "x": as_base64(triangles.x, "f4"),
        "y": as_base64(triangles.y, "f4"),
        "triangles": as_base64(triangles.triangles, "i4"),
        "centres": as_base64(triangles.centres, "i4"),
        "range": [[float(axis[0]), float(axis[-1])] for axis in (plane.x, plane.y)],
        "equal": plane.attributes.get("units") == "weights",
        "axes": [across, up],
        "measures": [
            {
                "name": one.column,
                "title": one.title,
                "values": as_base64(one.of(plane)[triangles.nodes], "f4"),
                "log": one.log,
                "loggable": one.plain == "loss",
                "broken": int((~np.isfinite(one.of(plane)) & plane.measured).sum()),
            }
            for one in shown
        ],
        "corners": [
            {"role": row["role"], "name": row["name"], "x": row["x"], "y": row["y"], "z": _own_heights(shown, row)}
            for row in plane.corners.rows()
        ],
        "tracks": [
            {
                "name": run,
                "points": [
                    {
                        "name": row["name"], "x": row["x"], "y": row["y"], "off": row["off"],
                        "z": _heights(plane, shown, row["x"], row["y"]),
                    }
                    for row in seen
                    if str(row["run"]) == run
                ],
            }
            for run in runs
        ],
        "colors": COLORS,
        "viridis": VIRIDIS,
    }  # fmt: skip
    return whole_page(
        title=title or f"{plane.attributes.get('network', '')}: a plane of weight space".lstrip(": "),
        caption=_caption(plane) + ("; trajectories are drawn under where they stand" if runs else ""),
        role="surface", thing="network", panel=_PANEL, scripts=["surface.js"], data=data,
    )  # fmt: skip


def _own_heights(shown: Sequence[Shown], row: dict[str, Any]) -> dict[str, float | None]:
    """The values of a corner itself."""
    made = {one.column: float(one.scaled(np.asarray(row.get(one.column, math.nan)))) for one in shown}
    return {name: value if math.isfinite(value) else None for name, value in made.items()}


def _heights(plane: StoredPlane, shown: Sequence[Shown], x: float, y: float) -> dict[str, float | None]:
    """The surface under a checkpoint that stands off the plane; a corner's own values where it stands at one."""
    for row in plane.corners.rows():
        if math.hypot(row["x"] - x, row["y"] - y) <= 1e-6 * float(np.ptp(plane.x)):
            return _own_heights(shown, row)
    made = {one.column: height(plane, one.of(plane), x, y) for one in shown}
    return {name: value if math.isfinite(value) else None for name, value in made.items()}


def _caption(plane: StoredPlane) -> str:
    who = ", ".join(f"{row['role']} {row['name']}" for row in plane.corners.rows())
    points = int(plane.measured.sum())
    told = [str(plane.attributes.get("data", "")), who, f"{points} points"]
    return "; ".join(part for part in told if part)


def surface_figure(
    plane: StoredPlane,
    *,
    color: Sequence[str] | None = None,
    log: bool | None = None,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """One value of a plane as a surface.

    Args:
        plane: The plane.
        color: Which value; by default the loss.
        log: On a logarithmic scale; None if the losses span a power of ten.
        title: In place of its own.
        width: Inches.
        height: Inches.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the value was not measured, or no number is.
    """
    (shown, *_) = chosen(plane, color or ["loss"], log)
    triangles = mesh(plane)
    values = triangles.values(shown.of(plane), log=shown.log)
    values = np.log10(values) if shown.log else values
    low = float(np.min(values, where=np.isfinite(values), initial=np.inf))
    whole = np.isfinite(values)[triangles.triangles].all(1)
    width = width or 5.2
    with figure(width, height or 0.85 * width, subplot_kw={"projection": "3d"}) as (drawn, axes):
        if whole.any():
            axes.plot_trisurf(
                triangles.x, triangles.y, np.where(np.isfinite(values), values, 0.0),
                triangles=triangles.triangles[whole], cmap="viridis", linewidth=0.05, edgecolor=(1, 1, 1, 0.25),
                antialiased=True,
            )  # fmt: skip
        for row in plane.corners.rows():
            z = float(shown.scaled(np.asarray(row.get(shown.column, math.nan))))
            z = (math.log10(z) if z > 0 else low) if shown.log else z
            if math.isfinite(z):
                axes.plot([row["x"]], [row["y"]], [z], "o", color="black", markeredgecolor="white", zorder=10)
                axes.text(row["x"], row["y"], z, f"  {row['role']}", fontweight="bold", zorder=11)
        across, up = axis_labels(plane)
        axes.set_xlabel(textwrap.fill(across, 26), fontsize=8)
        axes.set_ylabel(textwrap.fill(up, 26), fontsize=8, labelpad=10)
        if shown.log:
            axes.zaxis.set_major_locator(_whole_powers())
            axes.zaxis.set_major_formatter(lambda z, _: f"$10^{{{z:g}}}$")
        axes.view_init(elev=32, azim=-60)
        axes.set_box_aspect(None, zoom=0.82)
        headline(axes, title or shown.title, _caption(plane))
    return drawn


def _whole_powers() -> Any:
    from matplotlib import ticker

    return ticker.MaxNLocator(5, integer=True)
