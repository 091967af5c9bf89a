"""Barriers: the error along paths, and the barrier against the time of spawning (Fort et al. 2020, Fig. 2B)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape_cli.plots.style import COLORS, figure, save


def barrier_figure(
    path: Path,
    points: Sequence[dict[str, Any]],
    barriers: Sequence[dict[str, Any]],
    summary: Sequence[dict[str, Any]],
) -> None:
    """Two panels: error along the line between siblings, and error barrier against spawn time.

    Args:
        path: Where to write it.
        points: Records of kind ``path-point``.
        barriers: Records of kind ``barrier`` of one split, all between siblings.
        summary: Records of kind ``barrier-summary`` of the same split.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the suffix is unknown.
        StorageError: If it cannot be written.
    """
    split = summary[0]["split"]
    epochs = [row["spawn_epoch"] for row in summary]
    with figure(7.2, 3.3, ncols=2, gridspec_kw={"width_ratios": [1.15, 1]}) as (drawn, (left, right)):
        import matplotlib as mpl

        colors = mpl.colormaps["viridis"]([0.9 * i / max(1, len(epochs) - 1) for i in range(len(epochs))])
        curves: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for point in points:
            if point["split"] == split:
                curves.setdefault((point["a"], point["b"]), []).append(point)
        shown: set[float] = set()
        for record in barriers:
            line = curves.get((record["a"], record["b"]), [])
            epoch = record["spawn_epoch"]
            left.plot(
                [p["alpha"] for p in line],
                [100 * p["error"] for p in line],
                color=colors[epochs.index(epoch)],
                linewidth=1.1,
                label=None if epoch in shown else f"{epoch:g}",
            )
            shown.add(epoch)
        left.set(xlabel="α, weight of the first child", ylabel=f"{split} error (%)", xlim=(0, 1), ylim=(0, None))
        left.set_title("Error between two children")
        left.legend(
            title="children spawned at epoch", ncols=len(epochs), loc="upper center", bbox_to_anchor=(0.5, -0.2),
            handlelength=1, columnspacing=0.9,
        )  # fmt: skip

        ticks = range(len(epochs))
        means = [100 * row["error_sup_mean"] for row in summary]
        spreads = [100 * (row["error_sup_std"] or 0) for row in summary]
        right.errorbar(
            ticks,
            means,
            # A barrier is not below zero, so neither is the drawn spread.
            yerr=[[min(s, m) for s, m in zip(spreads, means, strict=True)], spreads],
            color=COLORS[0],
            marker="o",
            markersize=4,
            capsize=3,
            zorder=3,
            label=f"mean ± s.d. of {summary[0]['pairs']} pairs",
        )
        right.scatter(
            [epochs.index(r["spawn_epoch"]) for r in barriers],
            [100 * r["error_sup"] for r in barriers],
            s=12,
            color=COLORS[1],
            alpha=0.8,
            linewidths=0,
            zorder=4,
            label="each pair",
        )
        right.plot(
            ticks,
            [100 * row["error_ends"] for row in summary],
            color="#777777",
            linestyle=":",
            label="children's own error",
        )
        right.set_xticks(list(ticks), [f"{epoch:g}" for epoch in epochs])
        right.set(xlabel="epoch at which the children were spawned", ylabel=f"{split} error barrier (points of %)")
        right.set_title("Barrier against spawn time")
        right.legend()
        right.set_ylim(bottom=-0.02 * right.get_ylim()[1])
        save(drawn, path)
