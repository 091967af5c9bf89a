"""Means of models of a predictions file, written as models of a predictions file of their own."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from landscape_cli.compute.device import set_threads
from landscape_cli.compute.predictions.centroids import centroid
from landscape_cli.compute.predictions.choices import CentroidName
from landscape_cli.errors import DataError, InterruptedRunError, UsageError
from landscape_cli.jobs.model_rows import ModelRows, check_labels
from landscape_cli.jobs.predicting import record
from landscape_cli.jobs.progress import measure_progress
from landscape_cli.jobs.stopping import watching
from landscape_cli.store.prediction_growth import PredictionSet
from landscape_cli.store.prediction_writer import writing
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

VERSION = 1  # of the numbers: raised when they change
KINDS: tuple[CentroidName, ...] = get_args(CentroidName)
COPIES = 8  # of a block of samples in float64 that are in memory while it is averaged
FIXED_BYTES = 40_000_000
MOST_SAMPLES = 1 << 12  # at a time
OF_MODELS = frozenset(
    {"key", "name", "run", "loss", "error", "centroid", "models"}
)  # columns that a mean has its own of
TIMES = frozenset({"step", "epoch"})

Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CentroidJob:
    """Means to make.

    Args:
        predictions: The models.
        out: The file that gets them; means that it holds already are not made again.
        kinds: Which means.
        group_by: Columns; a mean of each group of equal values. None for one mean of all models.
        weights: A column of weights; None for equal ones.
        memory: Bytes to work in, beside what the program itself takes.
        threads: CPU threads; None for all.
        force: Make the file anew.
        note: Told what a user should know.
    """

    predictions: Predictions
    out: Path
    kinds: tuple[CentroidName, ...] = KINDS
    group_by: tuple[str, ...] = ()
    weights: str | None = None
    memory: int = 2_000_000_000
    threads: int | None = None
    force: bool = False
    note: Callable[[str], None] = field(default=lambda text: None)


def default_out(file: Path) -> Path:
    """Where means go by default: beside the predictions.

    >>> default_out(Path("a/test.h5")).as_posix()
    'a/test-centroids.h5'
    """
    return file.with_name(f"{file.stem}-centroids.h5")


def run_centroids(job: CentroidJob, report: Report = lambda done, of: None) -> dict[str, Any]:
    """Average models.

    Returns:
        The record of the file, with ``centroids``: name, kind, number of models, progress, error and loss of each.

    Raises:
        UsageError: If a column is missing or holds no numbers, the file is its own input, or the memory is too little.
        DataError: If a weight is missing, negative or no number, or a mean does not exist.
        ConflictError: If the file holds predictions of other samples.
        StorageError: If the disk is full; finished means are kept.
        InterruptedRunError: If a signal asked to stop; finished means are kept.
    """
    predictions = job.predictions
    if job.out.exists() and job.out.samefile(predictions.path):
        raise UsageError(f"{job.out} is the file that is averaged", "choose another --out")
    set_threads(job.threads)
    check_labels(predictions)
    weights = _weights(job)
    groups = predictions.table.group(job.group_by)
    rows = [_row(job, kind, values, members, weights) for values, members in groups for kind in job.kinds]
    description = predictions.description
    what = PredictionSet(
        split=predictions.split,
        data=predictions.data,
        fingerprint=predictions.fingerprint,
        classes=predictions.classes,
        labels=predictions.labels,
        sample_ids=predictions.sample_ids,
        dtype="float64" if predictions.dtype == "float64" else "float32",
        precision=str(description.get("precision", "")),
        sampling=dict(description.get("sampling") or {}),
    )
    done = 0
    with writing(job.out, what, Table.from_rows(rows), force=job.force) as writer, watching() as stop:
        pending = set(writer.pending)
        if not pending:
            job.note(f"{job.out} is finished already: nothing to do")
        for number, (_, members) in enumerate(groups):
            own = {kind: number * len(job.kinds) + k for k, kind in enumerate(job.kinds)}
            wanted: dict[CentroidName, int] = {kind: model for kind, model in own.items() if model in pending}
            if not wanted:
                continue
            source = predictions.select(members)
            shares = None if weights is None else torch.from_numpy(weights[members])
            for start, log_probs in _blocks(source, job.memory):
                for kind, model in wanted.items():
                    try:
                        mean = centroid(log_probs, kind, weights=shares)
                    except DataError as error:
                        raise DataError(f"{writer.name(model)}: {error.message}", error.hint) from None
                    writer.write(model, mean.numpy(), start)
                if stop.requested:
                    raise InterruptedRunError("stopped; finished means are kept", "the same command continues")
            for model in wanted.values():
                writer.finish(model)
                done += 1
                report(done, len(pending))
    made = Predictions.open(job.out)
    place = {key: number for number, key in enumerate(made.table.column("key").tolist())}
    asked = made.select(np.array([place[row["key"]] for row in rows], dtype=np.int64))
    found = record(made, added=len(pending), skipped=len(rows) - len(pending))
    return found | {"centroids": _measured(asked, job)}


def _measured(asked: Predictions, job: CentroidJob) -> list[dict[str, Any]]:
    columns = ["centroid", "models", *job.group_by]
    found = measure_progress(asked, columns=columns, memory=job.memory, threads=job.threads)
    return [{key: value for key, value in row.items() if key not in ("kind", "path", "run")} for row in found]


def _weights(job: CentroidJob) -> NDArray[np.float64] | None:
    if job.weights is None:
        return None
    column = job.predictions.table.column(job.weights)
    if column.dtype == object:
        raise UsageError(f"the column '{job.weights}' holds texts, no weights")
    weights = column.astype(np.float64)
    if len(bad := np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))):
        name = job.predictions.table.columns.get("name", job.predictions.table.column("key"))[bad[0]]
        raise DataError(
            f"{job.predictions.path}: the weight of {name} in column '{job.weights}' is {weights[bad[0]]:g}",
            "weights are numbers not below 0; leave models out with --where",
        )
    return weights


def _blocks(source: Predictions, memory: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Log-probabilities of all models of a group, some samples at a time."""
    each = COPIES * 8 * len(source) * source.classes
    if memory < FIXED_BYTES + each:
        raise UsageError(
            f"--memory {memory // 1_000_000}MB is too little for a mean of {len(source)} models",
            f"the least that works is --memory {-(-(FIXED_BYTES + each) // 1_000_000)}MB",
        )
    rows, step = ModelRows(source), min(MOST_SAMPLES, (memory - FIXED_BYTES) // each)
    for start in range(0, source.samples, step):
        yield start, rows.read(slice(0, len(source)), slice(start, min(start + step, source.samples)))


def _row(
    job: CentroidJob,
    kind: CentroidName,
    values: dict[str, Any],
    members: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
) -> dict[str, Any]:
    """The columns of a mean: what its models have in common, and a run that means of one kind at other steps share."""
    table = job.predictions.table
    own = None if weights is None else weights[members].tolist()
    identity = [
        VERSION,
        kind,
        sorted(zip(table.column("key")[members].tolist(), own or [1] * len(members), strict=True)),
    ]
    common = {
        name: column[members[0]].item() if isinstance(column[members[0]], np.generic) else column[members[0]]
        for name, column in table.columns.items()
        if name not in OF_MODELS and len(set(map(str, column[members].tolist()))) == 1
    }
    of = ", ".join(str(value) for value in values.values()) or "all models"
    path = ", ".join(str(value) for name, value in values.items() if name not in TIMES) or "all models"
    return {
        "key": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32],
        "name": f"{kind} mean of {of}",
        "run": f"{kind} mean of {path}",
        **common,
        **values,
        "centroid": kind,
        "models": len(members),
    }
