"""Many records of one kind, summed up: means, spreads, counts."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

READINGS = ("sup", "mid", "chord")


def barriers_by_spawn_time(records: Iterable[dict[str, Any]], *, split: str = "test") -> list[dict[str, Any]]:
    """Barriers between siblings, averaged over the pairs of each spawn time.

    The spread is the sample standard deviation over pairs (None for one pair). A NaN among them makes all NaN, an
    infinity, as of a loss that overflowed, the spread.

    Args:
        records: Records of kind ``barrier``; those of other splits, of single layers, or of pairs that are no siblings,
            are left out.
        split: Which split.

    Returns:
        One record a spawn time, in order of time.
    """
    groups: dict[float, list[dict[str, Any]]] = {}
    for record in records:
        whole = record.get("kind") == "barrier" and "layer" not in record
        if whole and record["split"] == split and record.get("spawn_epoch") is not None:
            groups.setdefault(record["spawn_epoch"], []).append(record)
    return [
        {"kind": "barrier-summary", "spawn_epoch": epoch, "split": split, "pairs": len(group)}
        | {
            f"{risk}_{reading}_{name}": value
            for risk in ("error", "loss")
            for reading in READINGS
            for name, value in _spread([record[f"{risk}_{reading}"] for record in group]).items()
        }
        | {"error_ends": statistics.fmean(v for r in group for v in (r["error_a"], r["error_b"]))}
        for epoch, group in sorted(groups.items())
    ]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    if any(math.isnan(value) for value in values):
        return dict.fromkeys(("mean", "std", "min", "max"), math.nan)
    finite = all(map(math.isfinite, values))
    return {
        "mean": statistics.fmean(values),
        "std": (statistics.stdev(values) if finite else math.nan) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
    }
