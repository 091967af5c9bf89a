"""Making, extending and rewriting predictions files; see :mod:`landscape_cli.store.prediction_writer` for why.

All of it makes a new file and puts it in the place of the old one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import ConflictError, DataError
from landscape_cli.store.atomic import replacing
from landscape_cli.store.hdf5 import copy_bytes, creating, write_bytes
from landscape_cli.store.prediction_format import (
    MEASURED,
    ROUNDING,
    Compression,
    DType,
    Stored,
    StoredRows,
    lay_out,
    load,
)
from landscape_cli.store.tables import Table


@dataclass(frozen=True, eq=False)
class PredictionSet:
    """What all models of one file have in common.

    Args:
        split: ``train`` or ``test``.
        data: The name of the data set.
        fingerprint: A hash of the samples of the whole split.
        classes: The number of classes.
        labels: ``(sample,)`` the true classes.
        sample_ids: ``(sample,)`` the position of each sample in its split.
        dtype: The type on disk.
        precision: The precision that networks were evaluated in; empty for predictions made elsewhere.
        sampling: How the samples were chosen, for the reader.
    """

    split: str
    data: str
    fingerprint: str
    classes: int
    labels: NDArray[np.int64]
    sample_ids: NDArray[np.int64]
    dtype: DType = "float32"
    precision: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)

    def description(self, compression: str) -> dict[str, Any]:
        """The file's attribute ``description``."""
        names = ("split", "data", "fingerprint", "classes", "dtype", "precision", "sampling")
        return {name: getattr(self, name) for name in names} | {"compression": compression}

    def row_bytes(self) -> int:
        """Bytes of one model on disk, uncompressed."""
        return len(self.labels) * self.classes * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Plan:
    """What a file is to hold.

    Args:
        table: One row a model.
        finished: Which of them the file holds already.
        sources: The row of each in the file as it is; -1 for new ones.
        rows: The row of each model asked for.
    """

    table: Table
    finished: NDArray[np.bool_]
    sources: NDArray[np.int64]
    rows: list[int]


def check_same(before: Stored, what: PredictionSet) -> None:
    """Make sure that a file holds predictions of the samples, data and type that are asked for.

    Raises:
        ConflictError: If not; the difference is named.
    """
    there = before.description
    asked = what.description("none")
    difference = None
    for name in ("split", "dtype", "classes", "precision"):
        if there.get(name) != asked[name]:
            difference = f"{name} is {there.get(name)!r} there, {asked[name]!r} was asked for"
            break
    else:
        if there["fingerprint"] != what.fingerprint:
            difference = f"its data ({there['data']}) is not the data asked for ({what.data}), sample by sample"
        elif len(before.labels) != len(what.labels):
            difference = f"{len(before.labels)} samples are there, {len(what.labels)} were asked for"
        elif len(at := np.flatnonzero(before.sample_ids != what.sample_ids)):
            old, new = before.sample_ids[at[0]], what.sample_ids[at[0]]
            difference = f"its samples are others: number {old} of the split is there, number {new} was asked for"
        elif len(at := np.flatnonzero(before.labels != what.labels)):
            difference = f"the label of sample {what.sample_ids[at[0]]} is another"
    if difference is not None:
        raise ConflictError(
            f"{before.path} holds other predictions: {difference}",
            "choose another --out, or --force to discard them",
        )


def plan_file(before: Stored | None, table: Table, own: Sequence[str]) -> Plan:
    """What the file is to hold: the finished models it has, and those asked for, in that order."""
    asked = {str(row["key"]): row for row in table.rows()}
    if len(asked) < len(table):
        raise DataError("two models of one file have the same key")
    rows: list[dict[str, Any]] = []
    sources: list[int] = []
    if before is not None:
        for number, old in enumerate(before.table.rows()):
            new = asked.get(old["key"], {})
            if before.finished[number] or new:
                rows.append({**new, **old, **{name: new[name] for name in own if name in new}})
                sources.append(number)
    place = {row["key"]: number for number, row in enumerate(rows)}
    for key, row in asked.items():
        if key not in place:
            place[key] = len(rows)
            rows.append(row)
            sources.append(-1)
    old_rows = np.asarray(sources, dtype=np.int64)
    finished = np.zeros(len(rows), dtype=bool)
    if before is not None:
        finished[old_rows >= 0] = before.finished[old_rows[old_rows >= 0]]
    measured = {name: np.full(len(rows), np.nan) for name in MEASURED}
    if before is not None:
        for name, values in measured.items():
            values[finished] = before.table.column(name)[old_rows[finished]]
    # In one order of columns whatever is known when, so that the same models make the same file.
    others = Table.from_rows([{k: v for k, v in row.items() if k not in MEASURED} for row in rows]).columns
    first: dict[str, NDArray[Any]] = {name: others.pop(name) for name in ("key", "name") if name in others}
    return Plan(Table({**first, **measured, **others}), finished, old_rows, [place[key] for key in asked])


def make(path: Path, what: PredictionSet, before: Stored | None, plan: Plan, compression: Compression) -> None:
    """Make the file with room for all models of the plan, the finished ones copied, and put it in place."""
    rounding = None
    if what.dtype == "float16":
        rounding = np.full((len(plan.table), len(ROUNDING)), np.nan)
        if before is not None and before.rounding is not None:
            rounding[plan.finished] = before.rounding[plan.sources[plan.finished]]
    with replacing(path) as temporary:
        with creating(temporary) as file:
            lay_out(
                file,
                description=what.description(compression),
                labels=what.labels,
                sample_ids=what.sample_ids,
                table=plan.table,
                finished=plan.finished,
                rounding=rounding,
            )
        if before is not None and plan.finished.any():
            _copy(before, plan, load(temporary))


def _copy(before: Stored, plan: Plan, after: Stored) -> None:
    """Copy the finished models: by the system where both files are plain, else one by one."""
    assert after.placement is not None
    targets = np.flatnonzero(plan.finished)
    origins = plan.sources[targets]
    row_bytes = math.prod(after.shape[1:]) * after.dtype.itemsize
    with StoredRows(before) as source, after.path.open("r+b", buffering=0) as file:
        if before.placement is None or before.placement.stride != after.placement.stride:
            values = np.empty(after.shape[1:], dtype=after.dtype)
            for origin, target in zip(origins.tolist(), targets.tolist(), strict=True):
                source.read(origin, 0, values)
                write_bytes(file.fileno(), values.tobytes(), after.placement.offset(target))
            return
        breaks = np.flatnonzero((np.diff(origins) != 1) | (np.diff(targets) != 1)) + 1
        for some_origins, some_targets in zip(np.split(origins, breaks), np.split(targets, breaks), strict=True):
            count = (len(some_origins) - 1) * before.placement.stride + row_bytes
            start, to = before.placement.offset(int(some_origins[0])), after.placement.offset(int(some_targets[0]))
            copy_bytes(source.descriptor, file.fileno(), start, to, count)


def recompress(path: Path, compression: Compression) -> None:
    """Write a file anew, its finished models only, if it is to have another compression than it has."""
    stored = load(path)
    if stored.compression == compression or not stored.finished.any():
        return
    rows = np.flatnonzero(stored.finished)
    with creating(path) as file, StoredRows(stored) as source:
        data = lay_out(
            file,
            description=stored.description | {"compression": compression},
            labels=stored.labels,
            sample_ids=stored.sample_ids,
            table=stored.table.take(rows),
            finished=np.ones(len(rows), dtype=bool),
            rounding=None if stored.rounding is None else stored.rounding[rows],
            compression=compression,
        )
        step = data.chunks[0]
        block = np.empty((step, *stored.shape[1:]), dtype=stored.dtype)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            for number, row in enumerate(some.tolist()):
                source.read(row, 0, block[number])
            data[start : start + len(some)] = block[: len(some)]
