"""Runs as the rows of a table: found in folders, with every column of their configuration, chosen and sorted."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landscape_cli.jobs.model_columns import run_columns
from landscape_cli.store.runs import RECORD_KEYS, Run, is_run
from landscape_cli.store.tables import Table

ALL = "all"  # asks for every column

Row = dict[str, Any]


def runs_in(folder: Path) -> list[Run]:
    """The runs of a folder, by name; if it holds none itself, those of its sub-folders at any depth.

    What lies inside a run is not searched, nor is what a link or a hidden folder leads to.

    Raises:
        CheckpointError: If the description of one is damaged.
    """
    own = sorted(child for child in folder.iterdir() if is_run(child))
    if not own:
        for place, folders, _ in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = [Path(place) / name for name in folders if is_run(Path(place) / name)]
            own += inside
            folders[:] = [name for name in folders if Path(place) / name not in inside]
        own.sort()
    return [Run.open(path) for path in own]


def run_row(run: Run) -> Row:
    """A run's record and its configuration: learning rate, batch size, optimiser, seeds, sizes, as flat columns."""
    record = run.record()
    config, data = run.document.get("config") or {}, run.document.get("data") or {}
    own = {
        "name": run.name,
        **run_columns(run),
        "network_options": (config.get("network") or {}).get("options") or None,
        "parameters": (run.document.get("network") or {}).get("parameters"),
        "train_samples": data.get("train_samples"),
        "test_samples": data.get("test_samples"),
    }
    return record | {key: value for key, value in own.items() if key not in record}


def choose(rows: Sequence[Row], *, where: str | None, sort: str | None, columns: Sequence[str]) -> list[Row]:
    """The rows that fulfil a condition, sorted by a column, with some of their columns.

    Args:
        rows: What there is.
        where: A condition on the columns, as ``test_error < 0.05 and network == 'simple-cnn'``.
        sort: A column; with ``-`` before it descending. What is missing goes last, either way.
        columns: Columns beside ``kind`` and ``path``; ``all`` for all, none for those of a run's record.

    Raises:
        UsageError: If there is no such column, or no such condition.
    """
    table = Table.from_rows(rows)
    found = list(range(len(rows)))
    if where is not None:
        found = np.flatnonzero(table.where(where)).tolist()
    if sort is not None:
        name = sort.removeprefix("-")
        values = table.column(name).tolist()
        there = [number for number in found if not _missing(values[number])]
        there.sort(key=lambda number: values[number], reverse=sort.startswith("-"))
        found = there + [number for number in found if _missing(values[number])]
    for name in columns:
        if name != ALL:
            table.column(name)
    if ALL in columns:
        return [rows[number] for number in found]
    if not columns:
        return [{name: value for name, value in rows[number].items() if name in RECORD_KEYS} for number in found]
    wanted = dict.fromkeys(("kind", "path", *columns))
    return [{name: rows[number].get(name) for name in wanted} for number in found]


def _missing(value: Any) -> bool:
    return value == "" or (isinstance(value, float) and math.isnan(value))
