"""Training curves of runs, from what they recorded (Fort et al. 2020, Fig. 2–4, A; Li, Wei and Ma 2019, Fig. 2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape_cli.errors import UsageError
from landscape_cli.plots.pair_distances import short
from landscape_cli.plots.style import COLORS, MUTED, NARROW, figure
from landscape_cli.store.metrics import read_metrics

MANY = 6  # runs above which not each is named
SPLITS = (("test", "-"), ("train", "--"))
PROBES = (("clean", "error on clean images (%)"), ("patch", "error on the patch alone (%)"))

Rows = Sequence[Mapping[str, Any]]


def training_figure(
    runs: Sequence[Path], *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Error and loss on train and test against the epoch, as each run recorded them.

    Where runs recorded their error on clean images and on the patch alone (``--data patches:NAME``), two panels more.

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
    names = {name for rows in recorded.values() for row in rows for name in row}
    probes = [(split, label) for split, label in PROBES if f"{split}_error" in names]
    narrow = width is not None and width < NARROW
    panels = 2 + len(probes)
    nrows, ncols = (panels, 1) if narrow else (-(-panels // 2), 2)
    size = (width or 7.0, height or (2.7 if narrow else 2.9) * nrows)
    with figure(*size, nrows=nrows, ncols=ncols) as (drawn, axes):
        places = axes.ravel()
        for place, quantity, factor, label in (
            (places[0], "error", 100.0, "error (%)"),
            (places[1], "loss", 1.0, "cross-entropy (nats)"),
        ):
            for split, style in SPLITS:
                _curves(place, recorded, f"{split}_{quantity}", factor, style)
            place.set(xlabel="epoch", ylabel=label)
        for place, (split, label) in zip(places[2:], probes, strict=False):
            _curves(place, recorded, f"{split}_error", 100.0, "-")
            place.set(xlabel="epoch", ylabel=label)
            place.set_ylim(bottom=0)
        for place in places:
            place.set_xlim(left=0)
        places[0].set_ylim(bottom=0)
        if all(row[f"{split}_loss"] > 0 for rows in recorded.values() for row in rows for split, _ in SPLITS):
            places[1].set_yscale("log")
        for split, style in SPLITS:
            places[0].plot([], [], color=MUTED, linestyle=style, label=split)
        if 1 < len(recorded) <= MANY:
            for number, run in enumerate(recorded):
                places[0].plot([], [], color=COLORS[number], label=short(run))
        places[0].legend()
        who = short(next(iter(recorded))) if len(recorded) == 1 else f"{len(recorded)} runs"
        drawn.suptitle(title or f"Training of {who}", fontsize=9, fontweight="bold", x=0.02, ha="left")
    return drawn


def _curves(place: Any, recorded: Mapping[str, Rows], name: str, factor: float, style: str) -> None:
    few = len(recorded) <= MANY
    for number, rows in enumerate(recorded.values()):
        known = [(row["epoch"], factor * row[name]) for row in rows if name in row]
        if not known:
            continue
        place.plot(
            *zip(*known, strict=True), color=COLORS[number % len(COLORS)] if few else COLORS[0], linestyle=style,
            marker="o" if len(known) <= 40 else None, markersize=2.5, alpha=1.0 if few else 0.35, linewidth=1.1,
        )  # fmt: skip
