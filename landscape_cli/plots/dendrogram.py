"""Clusterings: the tree over strips of colour for its leaves, and what tells the leaves apart (Mao et al. 2023)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError, UsageError
from landscape_cli.plots.coloring import Coloring, categories, coloring, shortened
from landscape_cli.plots.curves import distance_label
from landscape_cli.plots.legends import fits_beside, handles, heading, height_below, outer_legend
from landscape_cli.plots.style import COLORS, MISSING, figure, headline
from landscape_cli.store.clusters import Clusters
from landscape_cli.store.tables import Table

LABELLED = 60  # leaves up to which each has its name
STRIP = 0.17  # inches
LEAST, MOST = 2, 7  # different values of a column that becomes a strip without being asked for
STRIPS = 6  # of them at most
# Columns that are no configuration.
RESULTS = (
    "name", "key", "run", "checkpoints", "backwards", "index_first", "index_largest", "progress", "error", "loss",
    "train_error", "train_loss", "test_error", "test_loss", "weight_norm",
)  # fmt: skip


def branches(clusters: Clusters) -> NDArray[np.float64]:
    """The tree's lines, ``(join, 4, 2)``: up from the one cluster, across, down to the other; leaf i lies at x = i.

    Raises:
        DataError: If linkage and order do not fit.
    """
    leaves = len(clusters.order)
    if clusters.linkage.shape != (leaves - 1, 4) or sorted(clusters.order.tolist()) != list(range(leaves)):
        raise DataError(f"the clustering is damaged: {leaves} leaves in order, linkage {clusters.linkage.shape}")
    place, height = np.zeros(2 * leaves - 1), np.zeros(2 * leaves - 1)
    place[clusters.order] = np.arange(leaves)
    lines = np.empty((leaves - 1, 4, 2))
    for number, (one, two, far, _) in enumerate(clusters.linkage):
        a, b = sorted((int(one), int(two)), key=lambda cluster: place[cluster])
        lines[number] = [(place[a], height[a]), (place[a], far), (place[b], far), (place[b], height[b])]
        place[leaves + number], height[leaves + number] = (place[a] + place[b]) / 2, far
    return lines


def dendrogram_figure(
    clusters: Clusters,
    *,
    columns: Sequence[str] | None = None,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """The tree above its leaves, and under it a strip of colour for each column of their configuration.

    Args:
        clusters: What to draw.
        columns: Columns of its rows for strips; by default those of few different values, at least two.
        title: By default what is clustered.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If a column is not there, or has more texts than colours tell apart.
        DataError: If linkage and order do not fit.
    """
    if len(clusters.order) < 2:
        raise UsageError("a tree needs two leaves at least")
    lines = branches(clusters)
    strips = [_strip(clusters, name) for name in (columns if columns is not None else _telling(clusters.rows))]
    labelled = len(clusters.order) <= LABELLED
    width = width or 7.2
    texts = [text for strip in strips for text in (strip.called, *(strip.labels or ("least", "most")))]
    aside = fits_beside(width, texts)
    size = _leaf_size(width, len(clusters.order))
    names = shortened(clusters.labels)
    longest = max(map(len, names), default=0) if labelled else 0
    below = STRIP * len(strips) + longest * size * 0.6 / 72 + 0.1
    height = height or 2.6 + below + (0 if aside else height_below(width, texts))
    shares = {"height_ratios": [max(1.0, height - below - 0.4), max(0.01, STRIP * len(strips))], "hspace": 0.02}
    with figure(width, height, nrows=2, sharex=True, gridspec_kw=shares) as (drawn, (tree, under)):
        from matplotlib.collections import LineCollection

        drawn.get_layout_engine().set(hspace=0.01, h_pad=0.04)
        tree.add_collection(LineCollection(list(lines), colors="#333333", linewidths=1.0))
        tree.set_xlim(-0.5, len(clusters.order) - 0.5)
        tree.set_ylim(0, 1.04 * float(lines[:, :, 1].max()) or 1)
        tree.set_ylabel(distance_label(clusters.distance))
        tree.grid(axis="x", visible=False)
        tree.tick_params(axis="x", length=0, labelbottom=False)
        tree.spines["bottom"].set_visible(False)
        _draw_strips(under, clusters, strips)
        under.set_xticks(range(len(clusters.order)) if labelled else [])
        if labelled:
            shown = [names[leaf] for leaf in clusters.order]
            under.set_xticklabels(shown, rotation=90, fontsize=size)
        told = f"{clusters.method} linkage"
        if np.isfinite(clusters.cophenetic):
            told += f", cophenetic correlation {clusters.cophenetic:.2f}"
        _legend(drawn, strips, below=not aside)
        headline(tree, title or f"Clusters of {len(clusters.order):,}", told)
    return drawn


def importance_figure(
    clusters: Clusters, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """How much each factor of the configuration tells about the distances: its permutation importance.

    Args:
        clusters: What to draw.
        title: By default what is shown.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If no importance was measured.
    """
    measured = clusters.importance
    if not len(measured):
        raise UsageError(
            f"{clusters.path or 'the clustering'} holds no importance of factors", "landscape cluster --factors has it"
        )
    order = np.argsort(measured.column("importance"), kind="stable")
    values, spread = (measured.column(name)[order].astype(np.float64) for name in ("importance", "std"))
    places = np.arange(len(order))
    with figure(width or 4.2, height or 0.9 + 0.28 * len(order)) as (drawn, axes):
        axes.barh(places, values, xerr=spread, height=0.62, color=COLORS[0], error_kw={"capsize": 2.5, "linewidth": 1})
        axes.set_yticks(places, shortened([str(name) for name in measured.column("factor")[order]]))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("permutation importance")
        known = clusters.explained[np.isfinite(clusters.explained)]
        told = f"random forest, R² on held-out pairs {known.mean():.2f}" if len(known) else None
        headline(axes, title or "What tells them apart", told)
    return drawn


def _telling(table: Table) -> list[str]:
    """The columns of the configuration that tell leaves apart and can be read as colours.

    One that is different for each leaf groups none; of several that group the leaves alike, the first is enough.
    """
    found: dict[tuple[int, ...], str] = {}
    for name, values in table.columns.items():
        codes = categories(np.asarray(["" if value != value else value for value in values.tolist()], dtype=object))[1]
        different = len(set(codes.tolist()) - {-1})
        if name not in RESULTS and LEAST <= different <= min(MOST, len(table) - 1):
            found.setdefault(tuple(codes.tolist()), name)
    return list(found.values())[:STRIPS]


def _strip(clusters: Clusters, name: str) -> Coloring:
    """A column as colours; few different numbers are told apart like texts."""
    values = clusters.rows.column(name)
    if values.dtype != object and len(np.unique(values[np.isfinite(values)])) <= MOST:
        order = [f"{value:g}" for value in np.unique(values[np.isfinite(values)])]
        texts = np.asarray([f"{value:g}" if np.isfinite(value) else "" for value in values], dtype=object)
        codes = np.asarray([order.index(text) if text else -1 for text in texts], dtype=np.int64)
        return Coloring(name, tuple(order), codes, np.empty(0))
    return coloring(name, values, most=len(COLORS))


def _draw_strips(axes: Any, clusters: Clusters, strips: Sequence[Coloring]) -> None:
    from matplotlib.colors import to_rgba

    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    if not strips:
        axes.set_yticks([])
        return
    cells = np.stack([strip.colors()[clusters.order] for strip in strips])
    # A thin white line between strips.
    axes.imshow(cells, aspect="auto", interpolation="nearest", extent=(-0.5, len(clusters.order) - 0.5, len(strips), 0))
    for edge in range(1, len(strips)):
        axes.axhline(edge, color=to_rgba("white"), linewidth=1.5)
    axes.set_yticks(np.arange(len(strips)) + 0.5, [strip.called for strip in strips], fontsize=8)
    axes.set_ylim(len(strips), 0)


def _legend(drawn: Any, strips: Sequence[Coloring], *, below: bool) -> None:
    entries: list[Any] = []
    for strip in strips:
        if strip.numeric:
            low, high = strip.limits()
            ends = strip.mappable().to_rgba([low, high])
            shown = [(f"{low:.3g}", ends[0], "s"), (f"{high:.3g}", ends[1], "s")]
            shown += [(strip.absent, MISSING, "s")] if strip.missing.any() else []
        else:
            shown = [(name, color, "s") for name, color, _ in strip.entries()]
        entries += [heading(strip.called), *handles(shown)]
    outer_legend(drawn, entries, below=below)


def _leaf_size(width: float, leaves: int) -> float:
    """Points: as large as leaves standing side by side allow."""
    return float(np.clip(0.75 * width * 72 / leaves / 1.3, 4.5, 8))
