"""From a predictions file to trajectories: their distances, and what is measured along each of them."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.compute.device import set_threads
from landscape_cli.compute.predictions.choices import DistanceName, IndexName
from landscape_cli.compute.predictions.trajectories import (
    POINTS,
    Reindexing,
    distances_of,
    reindex,
    uniform_grid,
)
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs import trajectory_tables as tables
from landscape_cli.jobs.existing import existing, other_result
from landscape_cli.jobs.model_rows import check_labels
from landscape_cli.jobs.progress import measure_progress
from landscape_cli.jobs.runs_of_models import Runs, find_runs
from landscape_cli.jobs.stopping import watching
from landscape_cli.jobs.trajectory_walk import Walked, walk
from landscape_cli.store.matrix_writing import MatrixHead, identity_hash
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table
from landscape_cli.store.trajectories import Trajectories, write_trajectories

VERSION = 1  # of the numbers: raised when they change

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class TrajectorySettings:
    """What to compute.

    Args:
        by: Columns that name a run.
        order: The column that tells the order of training; None for ``step``, else ``epoch``.
        index: What trajectories are compared at equal values of: ``progress``, or ``error`` (as 1 − error).
        points: Values of the index.
        mean: Distances are means over the index that two runs share, not integrals.
        distance: Between two models.
        group_by: Columns of a configuration, for tube widths and averages; none for one group of all runs without
            tube widths.
        geodesic: Add the geodesic from ignorance to truth as a trajectory.
        smoothing: Label smoothing of the truth.
    """

    by: tuple[str, ...] = ("run",)
    order: str | None = None
    index: IndexName = "progress"
    points: int = POINTS
    mean: bool = False
    distance: DistanceName = "bhattacharyya"
    group_by: tuple[str, ...] = ()
    geodesic: bool = False
    smoothing: float = 0.0


@dataclass(frozen=True, eq=False)
class TrajectoryJob:
    """Trajectories to make.

    Args:
        predictions: The models.
        out: The file.
        settings: What to compute.
        memory: Bytes to work in, beside what the program itself takes.
        threads: CPU threads; None for all.
        force: Overwrite another file.
        command: The command line, for the record.
        note: Told what a user should know.
    """

    predictions: Predictions
    out: Path
    settings: TrajectorySettings = TrajectorySettings()
    memory: int = 2_000_000_000
    threads: int | None = None
    force: bool = False
    command: str = ""
    note: Callable[[str], None] = field(default=lambda text: None)


def default_out(file: Path) -> Path:
    """Where trajectories go by default: beside the predictions.

    >>> default_out(Path("a/test.h5")).as_posix()
    'a/test-trajectories.h5'
    """
    return file.with_name(f"{file.stem}-trajectories.h5")


def run_trajectories(job: TrajectoryJob, report: Report = lambda done, of: None) -> dict[str, Any]:
    """Make trajectories; what is there already is not made again.

    Returns:
        Their record.

    Raises:
        ConflictError: If something else is in the way.
        DataError: If a run has a single checkpoint, two runs share no part of the index, or the file is damaged.
        UsageError: If a column is missing, there are fewer than two runs, or the memory is too little.
        StorageError: If the disk is full or the place cannot be written.
        InterruptedRunError: If a signal asked to stop.
    """
    began = time.perf_counter()
    settings, predictions = job.settings, job.predictions
    if settings.geodesic and (settings.index != "progress" or settings.distance != "bhattacharyya"):
        raise UsageError("--geodesic needs the index progress and the distance bhattacharyya", "leave it out")
    set_threads(job.threads)
    check_labels(predictions)
    runs = find_runs(predictions, settings.by, settings.order)
    groups = [index for _, index in runs.table.group(settings.group_by)] if settings.group_by else None
    # What went through JSON compares equal to what was read back from it.
    identity = {"version": VERSION, "predictions": predictions.identity(), **asdict(settings)}
    identity |= {name: list(getattr(settings, name)) for name in ("by", "group_by")}
    if (there := _finished(job, identity)) is not None:
        job.note(f"{job.out} is finished already: nothing to do")
        return _record(job, there, began)
    models = len(predictions)
    measured = Table.from_rows(
        list(
            measure_progress(
                predictions,
                smoothing=settings.smoothing,
                memory=job.memory,
                threads=job.threads,
                report=lambda done, of: report(done, 2 * of),
            )
        )
    )
    index = measured.column("progress") if settings.index == "progress" else 1 - measured.column("error")
    reindexing = reindex(index.astype(np.float64), runs.members, uniform_grid(settings.points))
    _check_shared(reindexing, runs, settings)
    _tell(job, reindexing, runs)
    with watching() as stop:
        walked = walk(
            predictions,
            reindexing,
            groups,
            stop,
            index=settings.index,
            distance=settings.distance,
            smoothing=settings.smoothing,
            memory=job.memory,
            told=lambda done: report(models + round(models * done), 2 * models),
        )
    rows = tables.run_columns(runs, reindexing, walked, measured, index, predictions)
    distances = distances_of(walked.sums, reindexing, predictions.samples, mean=settings.mean)
    if settings.geodesic:
        distances, rows = _with_geodesic(distances, reindexing, walked, settings), tables.with_geodesic(rows)
    head = MatrixHead(
        distance=settings.distance,
        rows=rows,
        cols=rows,
        symmetric=True,
        samples=predictions.samples,
        classes=predictions.classes,
        split=predictions.split,
        data=predictions.data,
        fingerprint=predictions.fingerprint,
        identity=identity,
        command=job.command,
        notes={
            "index": settings.index,
            "points": settings.points,
            "treatment": _treatment(settings),
            "trajectories_of": os.path.relpath(predictions.path.absolute(), job.out.absolute().parent),
            "label_smoothing": settings.smoothing,
            "backwards": int(reindexing.backwards.sum()),
            "shared_least": float(_shared(reindexing).min()) * reindexing.spacing,
            "shared_most": float(_shared(reindexing).max()) * reindexing.spacing,
        },
    )
    write_trajectories(
        job.out,
        distances,
        head,
        points=tables.points(runs, reindexing, walked, predictions),
        averages=tables.averages(runs, reindexing, walked, settings.group_by, predictions),
    )
    made = Trajectories.open(job.out)
    if (pair := made.matrix.infinite_pair()) is not None:
        job.note(f"{made.matrix.infinite} pairs are infinitely far apart, the first {pair[0]} and {pair[1]}")
    return _record(job, made, began)


def _finished(job: TrajectoryJob, identity: dict[str, Any]) -> Trajectories | None:
    """The trajectories, if they are there and need not be made again.

    Raises:
        ConflictError: If something else is there.
    """
    there = None if job.force else existing(job.out, Trajectories.open)
    if there is not None and there.attributes["identity"] != identity_hash(identity):
        raise other_result(job.out, "other trajectories", there.matrix.identity, identity)
    return there


def _shared(reindexing: Reindexing) -> NDArray[np.int64]:
    """How many steps of the grid each pair of different runs shares."""
    shared = np.minimum.outer(reindexing.last, reindexing.last) - np.maximum.outer(reindexing.first, reindexing.first)
    return np.asarray(shared[np.triu_indices(len(shared), k=1)])


def _check_shared(reindexing: Reindexing, runs: Runs, settings: TrajectorySettings) -> None:
    """Make sure that every pair of runs shares some of the index.

    Raises:
        DataError: If not; the first pair is named with what each has.
    """
    bad = np.flatnonzero(_shared(reindexing) < 1)
    if not len(bad):
        return
    pair = [int(side[bad[0]]) for side in np.triu_indices(len(runs.members), k=1)]
    name = "progress" if settings.index == "progress" else "1 − error"
    told = []
    for run in pair:
        ends = reindexing.first[run], reindexing.last[run]
        span = f"{reindexing.grid[ends[0]]:.3g} to {reindexing.grid[ends[1]]:.3g}" if ends[1] >= ends[0] else "none"
        told.append(f"{runs.names[run]} ({span})")
    raise DataError(
        f"{len(bad)} pairs of runs share no range of {name} on a grid of {settings.points}, the first {told[0]} and "
        f"{told[1]}",
        "leave runs that went nowhere out with --where, or give more --points",
    )


def _tell(job: TrajectoryJob, reindexing: Reindexing, runs: Runs) -> None:
    """Say what a user should know of the runs before he trusts their distances."""
    back = reindexing.backwards
    if back.any():
        total = sum(len(own) for own in runs.members)
        job.note(
            f"{int(back.sum())} of {total} checkpoints, in {int((back > 0).sum())} of {len(back)} runs, lie below an "
            "earlier one; the first crossing of a value counts"
        )
    shared = _shared(reindexing)
    if shared.min() < shared.max():
        spacing = reindexing.spacing
        job.note(
            f"pairs of runs share between {shared.min() * spacing:.3g} and {shared.max() * spacing:.3g} of the index; "
            f"their distance is the {_treatment(job.settings)}"
        )


def _treatment(settings: TrajectorySettings) -> str:
    return "mean over what both have" if settings.mean else "integral over what both have"


def _with_geodesic(
    distances: NDArray[np.float64], reindexing: Reindexing, walked: Walked, settings: TrajectorySettings
) -> NDArray[np.float64]:
    """The matrix with the geodesic as the last row: at each progress its own point, over what each run has."""
    apart = walked.quantities["distance_at_equal_progress"]
    own = np.zeros(len(distances))
    for run, (first, last) in enumerate(zip(reindexing.first, reindexing.last, strict=True)):
        values = apart[run, first : last + 1]
        # The trapezoid rule; written out, because the numbers may be infinite.
        area = float(values[1:-1].sum() + (values[0] + values[-1]) / 2) if len(values) > 1 else 0.0
        own[run] = area / max(int(last - first), 1) if settings.mean else area * reindexing.spacing
    grown = np.zeros((len(own) + 1, len(own) + 1))
    grown[:-1, :-1] = distances
    grown[-1, :-1] = grown[:-1, -1] = own
    return grown


def _record(job: TrajectoryJob, made: Trajectories, began: float) -> dict[str, Any]:
    found, rows = made.attributes, made.matrix.rows
    return {
        "kind": "trajectories",
        "path": str(job.out),
        "runs": len(rows) - int(job.settings.geodesic),
        "checkpoints": int(np.nansum(rows.column("checkpoints"))),
        "samples": made.matrix.samples,
        "classes": made.matrix.classes,
        "distance": made.matrix.distance,
        "index": found["index"],
        "points": found["points"],
        "treatment": found["treatment"],
        "backwards": found["backwards"],
        "shared_least": found["shared_least"],
        "shared_most": found["shared_most"],
        "infinite": made.matrix.infinite,
        "mean": found["finite_mean"],
        "max": found["maximum"],
        "seconds": round(time.perf_counter() - began, 3),
    }


def along(made: Trajectories) -> list[dict[str, Any]]:
    """What was measured along trajectories, as records: every point of every run, then the averages."""
    kinds = (("trajectory-point", made.points), ("trajectory-average", made.averages))
    return [{"kind": kind, "path": str(made.path), **row} for kind, table in kinds for row in table.rows()]
