"""Models as points of an embedding, with the geodesic, truth and ignorance (Mao et al. 2023, Fig. 1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.plots.coloring import Coloring
from landscape_cli.plots.embedded import (
    AUTO,
    Embedded,
    Reference,
    caption,
    check_dims,
    extents,
    label_of,
    name_of,
    one_scale,
    reference_rows,
    told_apart,
    tracks,
    values_of,
)
from landscape_cli.plots.legends import color_bar, fits_beside, handles, heading, height_below, outer_legend
from landscape_cli.plots.style import COLORS, MARKERS, MISSING, MUTED, NARROW, figure, headline

CROWD = 3000  # points above which vector formats hold them as pixels
TRACK = "#9a9a9a"  # lines between models of several colours


def embedding_figure(
    embedded: Embedded,
    *,
    dims: Sequence[int] | None = None,
    color: str | None = AUTO,
    marker: str | None = None,
    line: str | None = AUTO,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """The models of an embedding as points in two or three of its dimensions.

    Args:
        embedded: What to draw.
        dims: Dimensions, counted from 1; by default 1, 2.
        color: A column: numbers are coloured by viridis with a bar, text by Okabe and Ito's colours with a legend.
            ``auto`` takes network, optimizer, run or epoch, whichever tells models apart; None takes none.
        marker: A column of few values, each with its own marker.
        line: The column whose equal values are joined in order of training; ``auto`` is ``run``; None joins nothing.
        title: By default the method and the number of models.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure; :func:`landscape_cli.plots.style.save` writes it.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If a column or dimension is not there, or a column has more texts than can be told apart.
    """
    dims = (1, 2) if dims is None else tuple(dims)
    check_dims(embedded, dims)
    models, finite = embedded.models, embedded.finite
    points = embedded.coordinates[:, [dim - 1 for dim in dims]]
    table = embedded.table.take(models)
    shades, shapes = told_apart(table, color, marker)
    solid = len(dims) == 3
    width = width or 5.4
    texts = [text for column in (shades, shapes) if column is not None for text in (column.called, *column.labels)]
    below = solid or not fits_beside(width, texts)  # labels of a box reach out of it, to where a legend would stand
    texts += ["ignorance"] * 3 * bool((embedded.references != "").any())
    if below:
        barred = (solid or width < NARROW) and shades is not None and shades.numeric
        height = height or width * 0.75 + height_below(width, texts) + 0.5 * barred
    else:
        height = height or max(width * 0.72, 0.14 * len(texts) + 1.0)
    with figure(width, height, subplot_kw={"projection": "3d"} if solid else {}) as (drawn, axes):
        _draw_tracks(axes, points[models], tracks(table, line), shades)
        _draw_models(axes, points[models], shades, shapes)
        entries = _draw_references(axes, embedded, points)
        _frame(axes, embedded, dims, points[finite])
        _legend(drawn, axes, shades, shapes, entries, below=below)
        told = caption(embedded, dims, points[finite])
        if solid and width < NARROW:
            told = "; ".join(filter(None, (told, values_of(embedded, dims))))
        headline(axes, title or embedded.heading, told)
    return drawn


def _draw_tracks(
    axes: Any, points: NDArray[np.float64], joined: list[NDArray[np.int64]], shades: Coloring | None
) -> None:
    if not joined:
        return
    colors: list[Any] = [TRACK] * len(joined)
    if shades is not None and not shades.numeric:
        rgba = shades.colors()
        colors = [rgba[m[0]] if len(set(shades.codes[m])) == 1 else TRACK for m in joined]
    segments = [points[members] for members in joined]
    alpha = min(0.7, max(0.15, 40 / len(segments)))
    if points.shape[1] == 3:
        from mpl_toolkits.mplot3d.art3d import Line3DCollection

        axes.add_collection3d(Line3DCollection(segments, colors=colors, linewidths=0.8, alpha=alpha))
    else:
        from matplotlib.collections import LineCollection

        axes.add_collection(LineCollection(segments, colors=colors, linewidths=0.8, alpha=alpha, zorder=2))


def _draw_models(axes: Any, points: NDArray[np.float64], shades: Coloring | None, shapes: Coloring | None) -> None:
    from matplotlib.colors import to_rgba_array

    # In a fixed random order: in the order of the file the last network would hide the first.
    rows = np.random.default_rng(0).permutation(len(points))
    colors = to_rgba_array([COLORS[0]] * len(points)) if shades is None else shades.colors()
    if shades is not None:
        rows = rows[np.argsort(~shades.missing[rows], kind="stable")]  # those without a value lie below
    marks = np.asarray([MARKERS[0]] * len(points))
    if shapes is not None:
        marks = np.asarray(MARKERS)[np.maximum(shapes.codes, 0)]
    elif shades is not None:
        marks = np.asarray(shades.markers())
    flat = {} if points.shape[1] == 2 else {"depthshade": False}
    for mark in sorted(set(marks.tolist()), key=MARKERS.index):
        chosen = rows[marks[rows] == mark]
        axes.scatter(
            *points[chosen].T, s=float(np.clip(4000 / len(rows), 3, 16)), c=colors[chosen], marker=mark,
            linewidths=0, zorder=3, alpha=0.85, rasterized=len(rows) > CROWD, **flat,
        )  # fmt: skip


def _draw_references(axes: Any, embedded: Embedded, points: NDArray[np.float64]) -> list[Any]:
    """Draw the references that there are; returns what stands in the legend for each."""
    drawn = []
    rows = reference_rows(embedded, "geodesic")
    if len(rows) > 1:
        drawn += axes.plot(*points[rows].T, color="black", linewidth=1.3, zorder=4, label="geodesic")
    marks: tuple[tuple[Reference, str, int], ...] = (("ignorance", "X", 7), ("truth", "*", 11))
    for kind, mark, size in marks:
        rows = reference_rows(embedded, kind)
        if len(rows):
            drawn += axes.plot(
                *points[rows].T, linestyle="none", marker=mark, markersize=size, color="black",
                markeredgecolor="white", markeredgewidth=0.6, zorder=5, label=kind,
            )  # fmt: skip
    return drawn


def _frame(axes: Any, embedded: Embedded, dims: Sequence[int], shown: NDArray[np.float64]) -> None:
    """Axes: their names, and one scale for all where that leaves something to see."""
    from matplotlib.ticker import MaxNLocator

    width = axes.figure.get_figwidth()
    cramped = len(dims) == 3 and width < NARROW  # the caption has the eigenvalues there
    labels = [name_of(embedded, dim) if cramped else label_of(embedded, dim) for dim in dims]
    ticked = [axes.xaxis, axes.yaxis]
    if len(dims) == 2:
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.autoscale_view()
        if one_scale(shown):
            axes.set_aspect("equal", adjustable="datalim")
    else:
        ticked.append(axes.zaxis)
        near = {"labelpad": -6.0} if cramped else {}
        axes.set_xlabel(labels[0], **near)
        axes.set_ylabel(labels[1], **near)
        axes.set_zlabel(labels[2], **near)
        axes.set_box_aspect(np.clip(extents(shown) / extents(shown).max(), 0.5, 1), zoom=0.98 if cramped else 0.84)
        axes.view_init(elev=24, azim=-58)
        for axis in ticked:
            axis.set_pane_color((1, 1, 1, 0))
            axis.label.set_fontsize(7.5)
        axes.tick_params(labelsize=6 if cramped else 7, pad=-3 if cramped else 0)
    for axis in ticked:
        axis.set_major_locator(MaxNLocator(3 if cramped else 4 if width < NARROW else 5))


def _legend(
    drawn: Any, axes: Any, shades: Coloring | None, shapes: Coloring | None, references: list[Any], *, below: bool
) -> None:
    """A bar for numbers; texts beside the axes or below; references after them."""
    listed: list[Any] = []
    if shades is not None and shades.numeric:
        # Beside a box it would stand where the name of the third axis does.
        color_bar(drawn, axes, shades, below=axes.name == "3d" or drawn.get_figwidth() < NARROW)
        if shades.missing.any():
            listed += handles([(shades.absent, MISSING, MARKERS[0])])
    elif shades is not None:
        listed += [heading(shades.called), *handles(shades.entries())]
    if shapes is not None:
        entries = [(name, MUTED, MARKERS[number]) for number, name in enumerate(shapes.labels)]
        listed += [heading(shapes.called), *handles(entries)]
    barred = shades is not None and shades.numeric
    outer_legend(drawn, listed + references, below=below or barred or not listed)
