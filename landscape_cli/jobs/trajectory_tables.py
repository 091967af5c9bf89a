"""The tables of a file of trajectories: what each run is, where it goes, and averages over groups of runs."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.compute.predictions.trajectories import Reindexing
from landscape_cli.jobs.model_columns import MODEL_METRICS
from landscape_cli.jobs.runs_of_models import Runs
from landscape_cli.jobs.trajectory_walk import QUANTITIES, Walked
from landscape_cli.store.matrices import REFERENCE
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

SPREAD = ("distance_to_geodesic", "tube_width")  # quantities whose standard deviation over runs is told too
TIMES = ("step", "epoch")
RESULTS = (
    "checkpoints", "backwards", "index_first", "index_largest", "progress", "error", "loss",
    "mean_distance_to_geodesic", "mean_tube_width",
)  # fmt: skip


def run_columns(
    runs: Runs,
    reindexing: Reindexing,
    walked: Walked,
    measured: Table,
    index: NDArray[Any],
    predictions: Predictions,
) -> Table:
    """One row a run: its configuration, then its results (:data:`RESULTS`).

    Results of models are of the run's last checkpoint, what training recorded there included. The means are over the
    values of the index that the run has.
    """
    last = np.array([own[-1] for own in runs.members], dtype=np.int64)
    means = {
        f"mean_{name}": nan_means(walked.quantities[name], axis=1) for name in ("distance_to_geodesic", "tube_width")
    }
    results: dict[str, NDArray[Any]] = {
        "checkpoints": np.array([len(own) for own in runs.members], dtype=np.int64),
        "backwards": reindexing.backwards,
        "index_first": np.array([index[own[0]] for own in runs.members]),
        "index_largest": np.array([index[own].max() for own in runs.members]),
        **{name: measured.column(name)[last] for name in ("progress", "error", "loss")},
        **{name: predictions.table.column(name)[last] for name in MODEL_METRICS if name in predictions.table},
        **means,
    }
    kept = {name: column for name, column in runs.table.columns.items() if name not in results}
    return Table({**kept, **results})


def with_geodesic(rows: Table) -> Table:
    """The rows with the geodesic as the last one."""
    geodesic = {"name": "geodesic", "key": "reference/geodesic", REFERENCE: "geodesic"}
    return Table.stacked([rows, Table.from_rows([{**geodesic, "index_first": 0.0, "index_largest": 1.0}])])


def points(runs: Runs, reindexing: Reindexing, walked: Walked, predictions: Predictions) -> Table:
    """One row for every run and value of the index that it has: ``row`` is the run's place in the matrix."""
    row, time = np.nonzero(reindexing.present)
    names = np.empty(len(runs.members), dtype=object)
    names[:] = runs.names
    times = {
        name: reindexing.steps(predictions.table.column(name).astype(np.float64))[row, time]
        for name in TIMES
        if name in predictions.table and predictions.table.column(name).dtype != object
    }
    return Table(
        {
            "row": row.astype(np.int64),
            "name": names[row],
            "index": reindexing.grid[time],
            **times,
            **{name: walked.quantities[name][row, time] for name in QUANTITIES},
            "runs": walked.members[row, time],
        }
    )


def averages(
    runs: Runs, reindexing: Reindexing, walked: Walked, group_by: Sequence[str], predictions: Predictions
) -> Table:
    """Means over the runs of each group at each value of the index, with how many runs have it.

    Without columns to group by, all runs are one group.
    """
    tables = []
    steps = {
        name: reindexing.steps(predictions.table.column(name).astype(np.float64))
        for name in TIMES
        if name in predictions.table and predictions.table.column(name).dtype != object
    }
    for values, members in runs.table.group(group_by):
        count = reindexing.present[members].sum(axis=0)
        there = np.flatnonzero(count)
        found: dict[str, NDArray[Any]] = {"index": reindexing.grid[there], "runs": count[there].astype(np.int64)}
        for name, quantity in (steps | walked.quantities).items():
            of_group = quantity[members][:, there]
            found[name] = nan_means(of_group, axis=0)
            if name in SPREAD:
                found[f"{name}_std"] = nan_deviations(of_group)
        own = [Table.from_rows([dict(values)] * len(there))] if group_by else []
        tables.append(own[0].joined(Table(found)) if own else Table(found))
    return Table.stacked(tables)


def nan_means(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Means of what is known; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=axis))


def nan_deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample standard deviations over the first axis of what is known; NaN where fewer than two are."""
    known = (~np.isnan(values)).sum(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = np.nanstd(values, axis=0, ddof=1)
    return np.where(known > 1, found, math.nan)
