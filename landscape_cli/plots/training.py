"""Training curves of runs, from what they recorded (Fort et al. 2020, Fig. 2–4, A)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape_cli.errors import UsageError
from landscape_cli.plots.pair_distances import short
from landscape_cli.plots.style import COLORS, MUTED, NARROW, figure
from landscape_cli.store.metrics import read_metrics

MANY = 6  # runs above which not each is named
SPLITS = (("test", "-"), ("train", "--"))


def training_figure(
    runs: Sequence[Path], *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Error and loss on train and test against the epoch, as each run recorded them.

    Args:
        runs: Run directories.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        CheckpointError: If a run's metrics are damaged.
        UsageError: If no run has recorded anything.
    """
    recorded = {str(run): rows for run in runs if (rows := read_metrics(run))}
    if not recorded:
        raise UsageError("these runs have recorded no metrics", "imported runs have none")
    narrow = width is not None and width < NARROW
    size = (width or 7.0, height or (5.4 if narrow else 2.9))
    with figure(*size, nrows=2 if narrow else 1, ncols=1 if narrow else 2) as (drawn, axes):
        for place, quantity, factor, label in (
            (axes[0], "error", 100.0, "error (%)"),
            (axes[1], "loss", 1.0, "cross-entropy (nats)"),
        ):
            for number, rows in enumerate(recorded.values()):
                for split, style in SPLITS:
                    known = [(row["epoch"], factor * row[f"{split}_{quantity}"]) for row in rows]
                    color = COLORS[number % len(COLORS)] if len(recorded) <= MANY else COLORS[0]
                    faint = 1.0 if len(recorded) <= MANY else 0.35
                    marker = "o" if len(known) <= 40 else None
                    place.plot(
                        *zip(*known, strict=True), color=color, linestyle=style, marker=marker, markersize=2.5,
                        alpha=faint, linewidth=1.1,
                    )  # fmt: skip
            place.set(xlabel="epoch", ylabel=label)
            place.set_xlim(left=0)
        axes[0].set_ylim(bottom=0)
        if all(row[f"{split}_loss"] > 0 for rows in recorded.values() for row in rows for split, _ in SPLITS):
            axes[1].set_yscale("log")
        for split, style in SPLITS:
            axes[0].plot([], [], color=MUTED, linestyle=style, label=split)
        if 1 < len(recorded) <= MANY:
            for number, run in enumerate(recorded):
                axes[0].plot([], [], color=COLORS[number], label=short(run))
        axes[0].legend()
        who = short(next(iter(recorded))) if len(recorded) == 1 else f"{len(recorded)} runs"
        drawn.suptitle(title or f"Training of {who}", fontsize=9, fontweight="bold", x=0.02, ha="left")
    return drawn
