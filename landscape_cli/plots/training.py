"""Training curves of runs, from what they recorded (Fort et al. 2020, Fig. 2–4, A; Li, Wei and Ma 2019, Fig. 2)."""

import itertools
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.plots.pair_distances import short
from landscape_cli.plots.style import COLORS, MUTED, NARROW, figure
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.runs import Run

MANY = 6  # runs, or groups of repeats, above which not each is named
SPLITS: tuple[tuple[str, Any], ...] = (("test", "-"), ("train", "--"))
PROBES = (("clean", "error on clean images (%)"), ("patch", "error on the patch alone (%)"))

Rows = Sequence[Mapping[str, Any]]


def training_figure(
    runs: Sequence[Path],
    *,
    apart: bool = False,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Any:
    """Error and loss on train and test against the epoch, as each run recorded them.

    Runs that differ in nothing but their seeds are repeats: their mean is drawn, and the standard deviation as a band.
    Where runs recorded their error on clean images and on the patch alone (``--data patches:NAME``), two panels more.

    Args:
        runs: Run directories.
        apart: Draw every run, repeats too.
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
    groups = {run: [run] for run in recorded} if apart else repeats(recorded)
    names = {name for rows in recorded.values() for row in rows for name in row}
    probes = [(split, label) for split, label in PROBES if f"{split}_error" in names]
    narrow = width is not None and width < NARROW
    panels = 2 + len(probes)
    nrows, ncols = (panels, 1) if narrow else (-(-panels // 2), 2)
    size = (width or 7.0, height or (2.7 if narrow else 2.9) * nrows)
    with figure(*size, nrows=nrows, ncols=ncols) as (drawn, axes):
        from matplotlib.lines import Line2D

        places = axes.ravel()
        for place, quantity, factor, label in (
            (places[0], "error", 100.0, "error (%)"),
            (places[1], "loss", 1.0, "cross-entropy (nats)"),
        ):
            for split, style in SPLITS:
                _curves(place, recorded, groups, f"{split}_{quantity}", factor, style)
            place.set(xlabel="epoch", ylabel=label)
        for place, (split, label) in zip(places[2:], probes, strict=False):
            _curves(place, recorded, groups, f"{split}_error", 100.0, "-")
            place.set(xlabel="epoch", ylabel=label)
            place.set_ylim(bottom=0)
        for place in places:
            place.set_xlim(left=0)
        places[0].set_ylim(bottom=0)
        if all(row[f"{split}_loss"] > 0 for rows in recorded.values() for row in rows for split, _ in SPLITS):
            places[1].set_yscale("log")
        entries: list[Any] = [Line2D([], [], color=MUTED, linestyle=style, label=split) for split, style in SPLITS]
        if 1 < len(groups) <= MANY:
            for number, (name, members) in enumerate(groups.items()):
                count = f" ({len(members)} runs)" if len(members) > 1 else ""
                entries.append(Line2D([], [], color=COLORS[number], label=short(name) + count))
        places[0].legend(handles=entries)
        who = short(next(iter(groups))) if len(groups) == 1 else f"{len(recorded)} runs"
        most = max(map(len, groups.values()))
        told = f": mean and standard deviation of {most} repeats" if most > 1 else ""
        wrapped = textwrap.fill(title or f"Training of {who}{told}", max(20, int(11.5 * size[0])))
        drawn.suptitle(wrapped, fontsize=9, fontweight="bold", x=0.02, ha="left")
    return drawn


def repeats(runs: Sequence[str] | Mapping[str, Any]) -> dict[str, list[str]]:
    """Runs that differ in nothing but their seeds, under the name that they share; others alone under their own.

    Children of one parent and one time are repeats of each other.
    """
    alike: dict[str, list[str]] = {}
    for run in runs:
        try:
            document = Run.open(Path(run)).document
        except CheckpointError:
            alike[run] = [run]
            continue
        config = {name: value for name, value in (document.get("config") or {"run": run}).items() if name != "seeds"}
        lineage = document.get("lineage") or {}
        # Where a run began and to whom it belongs; not which child it is.
        origin = [lineage.get("parent"), lineage.get("step")]
        alike.setdefault(json.dumps([config, origin], sort_keys=True, default=str), []).append(run)
    found: dict[str, list[str]] = {}
    for members in alike.values():
        name = members[0]
        if len(members) > 1:
            letters = zip(*map(short, members), strict=False)
            shared = "".join(one[0] for one in itertools.takewhile(lambda several: len(set(several)) == 1, letters))
            name = re.sub(r"[-_. ]*(seed|child|run|s)?[-_. ]*$", "", shared) or "runs"
            name = name if name not in found else members[0]
        found[name] = members
    return found


def _curves(
    place: Any, recorded: Mapping[str, Rows], groups: Mapping[str, Sequence[str]], name: str, factor: float, style: str
) -> None:
    few = len(groups) <= MANY
    for number, (group, members) in enumerate(groups.items()):
        epochs, values = _table([recorded[member] for member in members], name)
        if not len(epochs):
            continue
        mean = factor * values.mean(axis=0)
        color = COLORS[number % len(COLORS)] if few else COLORS[0]
        split = name.partition("_")[0]
        called = split if len(groups) == 1 else f"{short(group)} {split}"
        place.plot(
            epochs, mean, color=color, linestyle=style, marker="o" if len(epochs) <= 40 else None, markersize=2.5,
            alpha=1.0 if few else 0.35, linewidth=1.1, label=called,
        )  # fmt: skip
        if len(values) > 1:
            spread = factor * values.std(axis=0, ddof=1)
            # Neither an error nor a loss is below zero; a logarithmic axis has no zero.
            low = np.maximum(mean - spread, 0.05 * mean)
            place.fill_between(epochs, low, mean + spread, color=color, alpha=0.18 if few else 0.08, linewidth=0)


def _table(runs: Sequence[Rows], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The epochs at which all runs recorded a number, and the numbers, ``(run, epoch)``."""
    columns = [{float(row["epoch"]): float(row[name]) for row in rows if name in row} for rows in runs]
    shared = sorted(set.intersection(*(set(column) for column in columns)))
    return np.asarray(shared), np.asarray([[column[epoch] for epoch in shared] for column in columns])
