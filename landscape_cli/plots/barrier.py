"""Barriers: the error along paths, and the barrier against the time of spawning (Fort et al. 2020, Fig. 2B)."""

from collections.abc import Sequence
from typing import Any

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import shortened
from landscape_cli.plots.legends import outer_legend
from landscape_cli.plots.style import COLORS, NARROW, figure, headline, suptitle

MANY = 7  # paths above which pairs are not named in the legend

Records = Sequence[dict[str, Any]]


def barrier_figure(
    points: Records,
    barriers: Records,
    summary: Records,
    *,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """Error along the line between two networks, and error barrier against spawn time: what the records hold of both.

    Args:
        points: Records of kind ``path-point``; empty for none.
        barriers: Records of kind ``barrier`` of one split.
        summary: Records of kind ``barrier-summary`` of the same split, of the barriers between siblings; empty for
            none.
        title: In place of the panels' own.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure; :func:`landscape_cli.plots.style.save` writes it.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If there is neither a path nor a spawn time.
    """
    if not points and not summary:
        raise UsageError(
            "these barriers have no spawn time to be drawn against, and there are no paths",
            "landscape barrier --curve-out paths.jsonl keeps the paths: draw these",
        )
    split = str((summary or barriers or points)[0]["split"])
    panels = [panel for panel, there in ((_paths, points), (_against_time, summary)) if there]
    narrow = width is not None and width < NARROW
    shape: dict[str, Any] = {"ncols": len(panels)}
    if len(panels) == 2:
        ratios = {"height_ratios": [1, 1]} if narrow else {"width_ratios": [1.15, 1]}
        shape = {"nrows" if narrow else "ncols": 2, "gridspec_kw": ratios}
    size = (width or (7.2 if len(panels) == 2 else 4.2), height or (6.0 if narrow and len(panels) == 2 else 3.3))
    with figure(*size, squeeze=False, **shape) as (drawn, axes):
        for panel, place in zip(panels, axes.flat, strict=True):
            panel(drawn, place, split, points, barriers, summary)
            if title is not None:
                place.set_title("")
        if title is not None:
            suptitle(drawn, title)
    return drawn


def layers_figure(
    barriers: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Error barrier of each layer moved alone, in the network's order; the mean over pairs, and each pair.

    Args:
        barriers: Records of kind ``barrier`` with a layer, of one split.
        title: In place of its own.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If no record is of a single layer.
    """
    layers: dict[str, list[float]] = {}
    for record in barriers:
        if record.get("layer") is not None:
            layers.setdefault(str(record["layer"]), []).append(100 * float(record["error_sup"]))
    if not layers:
        raise UsageError("none of these barriers is of a single layer", "landscape barrier --layerwise measures them")
    split, pairs = barriers[0]["split"], max(map(len, layers.values()))
    with figure(width or 4.2, height or max(2.0, 0.8 + 0.17 * len(layers))) as (drawn, axes):
        rows = range(len(layers))
        axes.barh(rows, [sum(v) / len(v) for v in layers.values()], height=0.7, color=COLORS[0], zorder=2)
        if pairs > 1:
            spots = [(value, row) for row, values in zip(rows, layers.values(), strict=True) for value in values]
            axes.scatter(*zip(*spots, strict=True), s=10, color=COLORS[1], linewidths=0, zorder=3, label="each pair")
            axes.legend()
        axes.set_yticks(list(rows), list(layers), fontsize=7 if len(layers) < 30 else 5)
        axes.invert_yaxis()
        axes.set(xlabel=f"{split} error barrier (points of %)", xlim=(0, None))
        told = "of one pair" if pairs == 1 else f"mean of {pairs} pairs"
        headline(axes, title or "Barrier of each layer moved alone", told)
    return drawn


def curve_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Error barrier along trained curves beside that of the straight line between the same networks.

    Args:
        records: Of kind ``curve``.
        title: In place of its own.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
    """
    names = shortened([str(record["path"]) for record in records])
    places = list(range(len(records)))
    with figure(width or 4.8, height or 1.4 + 0.5 * len(records)) as (drawn, axes):
        for offset, key, label, color in (
            (-0.18, "line_error_sup", "along the straight line", COLORS[1]),
            (0.18, "error_sup", "along the curve", COLORS[0]),
        ):
            lengths = [100 * float(record[key]) for record in records]
            axes.barh([p + offset for p in places], lengths, height=0.34, color=color, label=label, zorder=2)
        axes.set_yticks(places, [f"{name}, {r['split']}" for name, r in zip(names, records, strict=True)])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="error barrier (points of %)")
        outer_legend(drawn, axes.get_legend_handles_labels()[0], below=True)
        headline(axes, title or "Barrier along the curve and the straight line")
    return drawn


def _paths(drawn: Any, axes: Any, split: str, points: Records, barriers: Records, summary: Records) -> None:
    """Error along the paths: of siblings coloured by spawn time, of others by the pair."""
    import matplotlib as mpl

    curves: dict[tuple[str, str, str | None], list[dict[str, Any]]] = {}
    for point in points:
        if point["split"] == split and "layer" not in point:
            curves.setdefault((point["a"], point["b"], point.get("along")), []).append(point)
    epochs = [row["spawn_epoch"] for row in summary]
    times = {(r["a"], r["b"]): r["spawn_epoch"] for r in barriers if r.get("spawn_epoch") in epochs}
    shades = mpl.colormaps["viridis"]([0.9 * i / max(1, len(epochs) - 1) for i in range(len(epochs))])
    shown: set[str] = set()
    shown_paths = {key: line for key, line in curves.items() if not times or key[:2] in times}
    if not shown_paths:
        raise UsageError(f"there is no path of the {split} split to draw", "choose another with --where, as in split")
    ends = list(dict.fromkeys(name for a, b, _ in shown_paths for name in (a, b)))
    called = dict(zip(ends, shortened(ends), strict=True))
    several = len(shown_paths) <= MANY
    for number, ((a, b, along), line) in enumerate(shown_paths.items()):
        if times:
            color, label = shades[epochs.index(times[a, b])], f"{times[a, b]:.4g}"
        else:
            color = COLORS[number % len(COLORS) if several else 0]
            label = f"{called[b]} → {called[a]}" if several else f"each of {len(shown_paths)} pairs"
            if several and along is not None:
                label = f"along {along}"
            elif several and len({key[:2] for key in shown_paths}) == 1 < len(shown_paths):
                label = "along the straight line"  # between the ends of a curve
        line = sorted(line, key=lambda point: float(point["alpha"]))
        axes.plot(
            [p["alpha"] for p in line],
            [100 * p["error"] for p in line],
            color=color,
            linewidth=1.1,
            label=None if label in shown else label,
        )
        shown.add(label)
    first = "α, weight of the first child" if times else "α, weight of the first network"
    reach = [float(p["alpha"]) for line in shown_paths.values() for p in line]
    axes.set(xlabel=first, ylabel=f"{split} error (%)", ylim=(0, None))
    axes.set_xlim(*((min(reach), max(reach)) if max(reach) > min(reach) else (0, 1)))
    for end in {0, 1} if min(reach) < 0 or max(reach) > 1 else ():
        axes.axvline(end, color="#999999", linewidth=0.7, linestyle=":")
    axes.set_title("Error between two children" if times else "Error along the path")
    handles, labels = axes.get_legend_handles_labels()
    if times:  # in order of time, whatever the order of the records
        order = sorted(range(len(labels)), key=lambda i: float(labels[i]))
        handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    width = drawn.get_figwidth() / (1 if drawn.get_figwidth() < NARROW or not summary else 2)
    fitting = int(15 * width) - 4
    axes.legend(
        handles, [label if len(label) <= fitting else label.replace(" → ", "\n→ ") for label in labels],
        title="children spawned at epoch" if times else None,
        ncols=max(1, min(len(epochs), int(width / 0.55))) if times else 1, loc="upper center",
        bbox_to_anchor=(0.5, -0.2), handlelength=1, columnspacing=0.9,
    )  # fmt: skip


def _against_time(drawn: Any, axes: Any, split: str, points: Records, barriers: Records, summary: Records) -> None:
    """The error barrier of each pair, its mean and spread, against the time of spawning."""
    epochs = [row["spawn_epoch"] for row in summary]
    ticks = range(len(epochs))
    means = [100 * row["error_sup_mean"] for row in summary]
    spreads = [100 * (row["error_sup_std"] or 0) for row in summary]
    counts = sorted({int(row["pairs"]) for row in summary})
    told = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    axes.errorbar(
        ticks,
        means,
        # A barrier is not below zero, so neither is the drawn spread.
        yerr=[[min(s, max(m, 0.0)) for s, m in zip(spreads, means, strict=True)], spreads] if any(spreads) else None,
        color=COLORS[0],
        marker="o",
        markersize=4,
        capsize=3,
        zorder=3,
        label="one pair" if counts == [1] else f"mean ± s.d. of {told} pairs",
    )
    pairs = [record for record in barriers if record.get("spawn_epoch") in epochs]
    if counts == [1]:
        pairs = []
    axes.scatter(
        [epochs.index(r["spawn_epoch"]) for r in pairs],
        [100 * r["error_sup"] for r in pairs],
        s=12,
        color=COLORS[1],
        alpha=0.8,
        linewidths=0,
        zorder=4,
        label="each pair" if pairs else None,
    )
    axes.plot(
        ticks,
        [100 * row["error_ends"] for row in summary],
        color="#777777",
        linestyle=":",
        label="children's own error",
    )
    axes.set_xticks(list(ticks), [f"{epoch:.4g}" for epoch in epochs])
    axes.set(xlabel="epoch at which the children were spawned", ylabel=f"{split} error barrier (points of %)")
    axes.set_title("Barrier against spawn time")
    axes.legend()
    top = axes.get_ylim()[1]
    axes.set_ylim(bottom=min([0.0, *(m for m in means if m < 0)]) - 0.02 * top)
