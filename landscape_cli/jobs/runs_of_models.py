"""Which models of a predictions file are checkpoints of one run, in which order, and what a run is called."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError, UsageError
from landscape_cli.plugins import did_you_mean
from landscape_cli.store.matrices import REFERENCE
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

ORDERS = ("step", "epoch")  # columns that tell the order of training, the first that is there
OWN = frozenset({"key", "name", "step", "epoch", "loss", "error", REFERENCE})  # of a model, never of a run


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a predictions file.

    Args:
        members: The models of each, in the order of training, as positions in the file.
        table: One row a run: ``key``, ``name``, and every column that is the same for all its models.
        order: The column that tells the order.
    """

    members: list[NDArray[np.int64]]
    table: Table
    order: str

    @property
    def names(self) -> list[str]:
        """What the runs are called."""
        return [str(name) for name in self.table.column("name")]


def find_runs(predictions: Predictions, by: Sequence[str], order: str | None = None) -> Runs:
    """Sort the models of a file into runs.

    Args:
        predictions: The models.
        by: Columns whose values name a run.
        order: The column that tells the order of training; None for ``step``, else ``epoch``.

    Raises:
        UsageError: If a column is missing, or there are fewer than two runs.
        DataError: If a model belongs to no run, a run has a single checkpoint, or two of one step.
    """
    path, table = predictions.path, predictions.table
    for name in by:
        if name not in table:
            raise UsageError(
                f"{path} has no column '{name}' to tell runs by",
                "name others with --by; " + did_you_mean(name, table.columns),
            )
    if order is None:
        order = next((name for name in ORDERS if name in table), None)
        if order is None:
            raise UsageError(f"{path} has no column 'step' that tells the order of training", "name one with --order")
    when = table.column(order)
    if when.dtype == object:
        raise UsageError(f"{path}: the column '{order}' holds texts and tells no order")
    found = table.group(by)
    members, rows = [], []
    for values, index in found:
        if missing := [name for name, value in values.items() if value is None]:
            raise DataError(
                f"{path}: {_name(predictions, int(index[0]))} has no value in column '{missing[0]}' and so no run",
                f"leave such models out: --where \"{missing[0]} != ''\"",
            )
        name = ", ".join(str(value) for value in values.values())
        at = when[index].astype(np.float64)
        if np.isnan(at).any():
            model = _name(predictions, int(index[np.flatnonzero(np.isnan(at))[0]]))
            raise DataError(f"{path}: {model} has no value in column '{order}'", "leave it out with --where")
        own = index[np.argsort(at, kind="stable")]
        if len(own) < 2:
            raise DataError(
                f"{path}: run {name} has a single checkpoint, and a trajectory takes two",
                f'leave it out: --where "{by[0]} != {next(iter(values.values()))!r}"',
            )
        if (np.diff(np.sort(at)) == 0).any():
            twice = np.sort(at)[np.flatnonzero(np.diff(np.sort(at)) == 0)[0]]
            raise DataError(
                f"{path}: run {name} has two checkpoints at {order} {twice:g}",
                "name with --by all columns that tell runs apart",
            )
        members.append(own)
        rows.append({"name": name, "key": _key(table, own)})
    if len(members) < 2:
        raise UsageError(
            f"{path} holds one run, {rows[0]['name']}: a distance takes two", "predict several runs into one file"
        )
    shared = {name: column[[own[0] for own in members]] for name, column in table.columns.items() if name not in OWN}
    same = {name: column for name, column in shared.items() if _constant(table.column(name), members)}
    blank = np.full(len(members), "", dtype=object)
    return Runs(members, Table({**Table.from_rows(rows).columns, REFERENCE: blank, **same}), order)


def _name(predictions: Predictions, model: int) -> str:
    table = predictions.table
    return f"model {table.column('name')[model]}" if "name" in table else f"model {model}"


def _key(table: Table, members: NDArray[np.int64]) -> str:
    return hashlib.sha256("\0".join(table.column("key")[members]).encode()).hexdigest()[:32]


def _constant(column: NDArray[Any], members: Sequence[NDArray[np.int64]]) -> bool:
    """Whether a column has one value in each run."""
    for own in members:
        values = column[own].tolist()
        first = values[0]
        if any(value != first and not (_is_nan(value) and _is_nan(first)) for value in values):
            return False
    return True


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
