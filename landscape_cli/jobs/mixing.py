"""Whether the records of one result are of one data set and one sample, so that their numbers can be compared."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape_cli.store.predictions import Predictions

MEANT = frozenset({"run", "checkpoint", "predictions", "plan"})  # of as many data sets as there are
SHOWN = 3

Record = Mapping[str, Any]


def mixtures(records: Iterable[Record]) -> list[str]:
    """What of one result is of different data or samples, one line a kind of record and split; empty if nothing is.

    Records are alike in their data if the fingerprints of their split are, and in their sample if its size and seed
    are. A pair whose sides were measured on different data has no fingerprint, and is named.

    >>> mixtures([{"kind": "barrier", "data": "digits", "fingerprint": "a"}] * 2)
    []
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        kind, split = str(record.get("kind")), str(record.get("split") or "")
        if kind not in MEANT and "fingerprint" in record:
            groups.setdefault((kind, split), []).append(record)
    found = []
    for (kind, split), group in groups.items():
        what = f"{kind} records" + (f" of the {split} split" if split else "")
        if broken := [r for r in group if r["fingerprint"] is None and "a" in r]:
            pairs = [f"{r['a']} and {r.get('b')}" for r in broken[:SHOWN]]
            more = f" and {len(broken) - SHOWN} more pairs" if len(broken) > SHOWN else ""
            found.append(f"measured on different data on each side: {', '.join(pairs)}{more}")
        known = [r for r in group if r["fingerprint"] is not None]
        data = _counted((_data(r, split), str(r.get("data") or "data without a name")) for r in known)
        samples = _counted((_sample(r), _sample(r)) for r in known)
        if len(data) > 1:
            found.append(f"the {what} mix data sets, whose numbers are not comparable: {_told(data)}")
        elif len(samples) > 1:
            found.append(f"the {what} mix samples, whose numbers differ by chance: {_told(samples)}")
    return found


def about(predictions: "Predictions") -> dict[str, Any]:
    """What :func:`mixtures` wants to know of a file of predictions."""
    return {
        "kind": "prediction",
        "split": predictions.split,
        "data": predictions.data,
        "fingerprint": predictions.fingerprint,
        "samples": predictions.samples,
    }


def other_data(one: "Predictions", other: "Predictions") -> str | None:
    """What to tell of two files whose samples have the same labels and are not the same; None if they may be.

    Predictions made elsewhere are known by their labels alone.
    """
    known = [side.fingerprint for side in (one, other) if not side.fingerprint.startswith("labels:")]
    if len(set(known)) < 2:
        return None
    return f"warning: {one.path} ({one.data}) and {other.path} ({other.data}) are predictions of different data"


def _data(record: Record, split: str) -> str:
    """The fingerprint of the data that a record is of."""
    fingerprint = record["fingerprint"]
    if isinstance(fingerprint, Mapping):
        fingerprint = fingerprint.get(split, fingerprint)
    return fingerprint if isinstance(fingerprint, str) else json.dumps(fingerprint, sort_keys=True)


def _sample(record: Record) -> str:
    count = record.get("samples")
    if not isinstance(count, int):
        return ""
    seed = record.get("sample_seed")
    return f"{count:,} samples" + (f" by seed {seed}" if seed else "")


def _counted(found: Iterable[tuple[str, str]]) -> dict[str, tuple[str, int]]:
    """How often each comes, by what it is, with what to call it."""
    counts: dict[str, tuple[str, int]] = {}
    for key, name in found:
        counts[key] = (name, counts.get(key, (name, 0))[1] + 1)
    return counts


def _told(counts: Mapping[str, tuple[str, int]]) -> str:
    """Names and counts; two of one name are told apart by what they are."""
    names = [name for name, _ in counts.values()]
    called = {key: name if names.count(name) == 1 else f"{name} [{key[:8]}]" for key, (name, _) in counts.items()}
    return ", ".join(f"{called[key]} ({count})" for key, (_, count) in counts.items())
