"""What is clustered: models, trajectories, or groups of them, with the distances between all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.clustering import group_means
from landscape_cli.compute.predictions.distances import distance_sums, working_memory
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.model_rows import ModelRows
from landscape_cli.store.matrices import REFERENCE, Matrix
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

COPIES = 6  # of a matrix in float64 that are in memory while it is clustered


@dataclass(frozen=True, eq=False)
class Items:
    """What is clustered.

    Args:
        distances: Between all of them.
        table: One row an item.
        distance: What the distances are.
    """

    distances: NDArray[np.float64]
    table: Table
    distance: str


def read_items(
    given: Predictions | Matrix,
    *,
    where: str | None = None,
    references: bool = True,
    distance: DistanceName = "bhattacharyya",
    memory: int = 2_000_000_000,
) -> Items:
    """Distances and rows of the items of a file.

    Args:
        given: Distances, or predictions whose distances are then computed.
        where: Condition on items.
        references: Whether reference models stay.
        distance: Between models of predictions.
        memory: Bytes to work in.

    Raises:
        UsageError: If nothing is left, the matrix is between two sets, or the memory is too little.
    """
    if isinstance(given, Predictions):
        return _models(given.where(where), distance, memory)
    if not given.symmetric:
        raise UsageError(
            f"{given.path} is between two sets of models and has no tree", "cluster the distances within one set"
        )
    chosen = given.where(where)
    if not references:
        chosen = chosen.select(np.flatnonzero(chosen.rows.column(REFERENCE) == ""))
    _fits(len(chosen.rows), given.path, memory)
    return Items(chosen.read(), chosen.rows, chosen.distance)


def _models(predictions: Predictions, kind: DistanceName, memory: int) -> Items:
    """Models of a predictions file with the distances between them, computed here."""
    count = len(predictions)
    _fits(count, predictions.path, memory)
    rows = ModelRows(predictions)
    step = predictions.samples
    left = memory - COPIES * 8 * count * count
    while step > 1 and _needed(count, step, rows, kind) > left:
        step = -(-step // 2)
    total = np.zeros((count, count))
    for start in range(0, predictions.samples, step):
        block = rows.read(slice(0, count), slice(start, min(start + step, predictions.samples)))
        total += distance_sums(block, None, kind=kind).numpy()
    return Items(total / predictions.samples, rows.table(), kind)


def _needed(count: int, samples: int, rows: ModelRows, kind: DistanceName) -> int:
    own = count * samples * rows.classes * rows.dtype.itemsize
    return own + working_memory(count, 0, samples, rows.classes, kind)


def _fits(count: int, path: Path, memory: int) -> None:
    needed = COPIES * 8 * count * count
    if needed > memory:
        raise UsageError(
            f"{path}: a tree of {count} items takes {needed // 1_000_000}MB, --memory allows {memory // 1_000_000}MB",
            "take fewer with --where, average with --group-by after 'landscape trajectories', or give more --memory",
        )


def grouped(items: Items, group_by: Sequence[str]) -> Items:
    """Groups of items with mean distances between them; reference models stay by themselves."""
    if not group_by:
        return items
    reference = items.table.columns.get(REFERENCE, np.full(len(items.table), "", dtype=object))
    groups: list[NDArray[np.int64]] = []
    rows: list[dict[str, Any]] = []
    for values, members in items.table.group(group_by):
        own = members[reference[members] == ""]
        if len(own):
            groups.append(own)
            name = ", ".join("" if value is None else str(value) for value in values.values())
            rows.append({"name": name, REFERENCE: "", **values, "runs": len(own)})
    for place in np.flatnonzero(reference != ""):
        groups.append(np.array([place]))
        rows.append({"name": str(items.table.column("name")[place]), REFERENCE: str(reference[place]), "runs": 1})
    distances, within = group_means(items.distances, groups)
    return Items(distances, Table({**Table.from_rows(rows).columns, "within": within}), items.distance)


def check(items: Items, path: Path) -> None:
    """See that items can be clustered.

    Raises:
        DataError: If there are fewer than two, or two are infinitely far apart; they are named.
    """
    if len(items.table) < 2:
        raise DataError(f"{path}: {len(items.table)} item is left, and a tree takes two", "check --where, --group-by")
    bad = np.argwhere(~np.isfinite(items.distances))
    if len(bad):
        names = items.table.column("name")
        one, two = bad[0].tolist()
        raise DataError(
            f"{path}: the distance between {names[one]} and {names[two]} is {items.distances[one, two]}",
            "cap it where it is computed ('landscape distances --cap X'), leave references out (--no-references), or "
            "models with --where",
        )
