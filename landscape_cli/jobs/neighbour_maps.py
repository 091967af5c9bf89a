"""From a file of predictions or distances to a file with a t-SNE map of its models."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from landscape_cli.compute.device import set_threads
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.neighbours import tsne
from landscape_cli.errors import ConflictError, DataError, UsageError
from landscape_cli.jobs.distances import DistanceJob, DistanceSettings, run_distances
from landscape_cli.jobs.embedding import EmbeddingSettings, Resources, fit, kinds_of
from landscape_cli.jobs.embedding_sources import described, identity_of, opened
from landscape_cli.jobs.matrix_rows import MatrixRows
from landscape_cli.jobs.model_rows import open_models
from landscape_cli.store.atomic import TEMPORARY_PREFIX
from landscape_cli.store.embeddings import EMBEDDED, PLACED, Embedding
from landscape_cli.store.matrices import REFERENCE, Matrix
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

VERSION = 1  # of the numbers: raised when they change
METHOD = "tsne"
COPIES = 6  # of the matrix, in float64
LENGTHS = ("weight", "geodesic")  # distances that are lengths; others stand in the place of squares of them


@dataclass(frozen=True)
class NeighbourSettings:
    """How to lay models out.

    Args:
        dims: Of the map.
        perplexity: About how many neighbours count; None for 30, or a third of the models if these are few.
        iterations: Steps of gradient descent.
        start: ``inpca`` for the leading dimensions of the same distances, or ``random``.
        seed: Of a random start, and of the draw of samples.
    """

    dims: int = 2
    perplexity: float | None = None
    iterations: int = 1000
    start: Literal["inpca", "random"] = "inpca"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class NeighbourJob:
    """A map to make.

    Args:
        file: Predictions, or a symmetric matrix of distances.
        out: The file of the map.
        settings: How to lay models out.
        distance: Which distance, for predictions; None for ``euclidean``, as Fort et al. have it.
        where: Condition on models.
        samples: A random subset of so many samples; None for all.
        memory: Bytes to work in, beside what the program itself takes.
        threads: CPU threads; None for all.
        force: Overwrite another map.
        command: The command line, for the record.
        note: Told what a user should know.
    """

    file: Path
    out: Path
    settings: NeighbourSettings = field(default_factory=NeighbourSettings)
    distance: DistanceName | None = None
    where: str | None = None
    samples: int | None = None
    memory: int = 2_000_000_000
    threads: int | None = None
    force: bool = False
    command: str = ""
    note: Callable[[str], None] = field(default=lambda text: None)


def default_out(file: Path) -> Path:
    """Where a map goes by default: beside its input."""
    return file.with_name(f"{file.stem}-{METHOD}.h5")


def run_neighbours(job: NeighbourJob) -> dict[str, Any]:
    """Make a map; one that is there already is not made again.

    Returns:
        Its record.

    Raises:
        ConflictError: If another file is in the way.
        DataError: If a file is damaged, a distance is infinite, or all models are the same.
        UsageError: If the file holds no distances of one set of models, or the memory is too little.
        StorageError: If the disk is full or the place cannot be written.
        InterruptedRunError: If a signal asked to stop while distances were computed.
    """
    began = time.perf_counter()
    set_threads(job.threads)
    given = opened(job.file)
    if isinstance(given, Embedding):
        raise UsageError(f"{job.file} is an embedding already", "give the predictions or distances that it is of")
    if isinstance(given, Matrix) and (job.samples is not None or job.distance is not None):
        raise UsageError(f"--samples and --distance are for predictions; {job.file} holds distances", "leave them out")
    if isinstance(given, Predictions):
        given = open_models(job.file, where=job.where, samples=job.samples, seed=job.settings.seed)
    distances = DistanceSettings(distance=job.distance or "euclidean")
    identity = {
        "version": VERSION, "input": identity_of(given), "where": job.where, **asdict(job.settings),
        "distance": distances.distance if isinstance(given, Predictions) else given.distance,
    }  # fmt: skip
    if (there := _finished(job, identity)) is not None:
        job.note(f"{job.out} is finished already: nothing to do")
        return summary(there, began)
    job.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=job.out.parent) as folder:
        matrix = given if isinstance(given, Matrix) else _computed(job, given, distances, Path(folder))
        made = _mapped(job, matrix.where(job.where) if isinstance(given, Matrix) else matrix)
    source = described(given, job.out, settings=distances, seed=job.settings.seed, predictions=None)
    made = replace(made, settings={**made.settings, **identity}, source=source, command=job.command)
    made.write(job.out)
    return summary(replace(made, path=job.out), began)


def summary(made: Embedding, began: float) -> dict[str, Any]:
    """The record of a map."""
    names = ("perplexity", "divergence", "trustworthiness", "iterations", "start", "seed")
    return {
        "kind": "embedding", "path": str(made.path), "method": METHOD, "distance": made.distance,
        "models": len(made.models), "samples": made.samples, "dims": made.dims,
        **{name: made.settings[f"used_{name}" if name == "perplexity" else name] for name in names},
        "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip


def _computed(job: NeighbourJob, models: Predictions, settings: DistanceSettings, folder: Path) -> Matrix:
    out = folder / "distances.h5"
    run_distances(DistanceJob(models, out, settings, memory=job.memory, threads=job.threads, command=job.command))
    return Matrix.open(out)


def _mapped(job: NeighbourJob, matrix: Matrix) -> Embedding:
    if not matrix.symmetric:
        raise UsageError(f"{matrix.path} is between two sets of models", "a map needs the distances of one")
    matrix = matrix.select(np.flatnonzero(kinds_of(matrix.rows) == ""))
    models = len(matrix.rows)
    if models < 4:
        raise DataError(f"{job.file}: {models} models make no map", "take four at least")
    if (needed := 8 * COPIES * models**2) > job.memory:
        raise UsageError(
            f"--memory {job.memory} bytes is too little for a map of {models} models",
            f"the least that works is --memory {-(-needed // 1_000_000)}MB, or fewer models with --where",
        )
    if (pair := matrix.infinite_pair()) is not None:
        raise DataError(
            f"{pair[0]} and {pair[1]} are infinitely far apart", "landscape distances --cap X stores X instead"
        )
    values = matrix.read()
    squared = values**2 if matrix.distance in LENGTHS else values
    if not squared.any():
        raise DataError(f"{job.file}: all {models} models predict the same, so that there is nothing to map")
    settings = job.settings
    perplexity = settings.perplexity or min(30.0, max(1.0, (models - 1) / 3))
    start = _start(matrix, settings) if settings.start == "inpca" else None
    found = tsne(
        squared, dims=settings.dims, perplexity=perplexity, iterations=settings.iterations, start=start,
        seed=settings.seed,
    )  # fmt: skip
    nothing = np.full(settings.dims, np.nan)
    told = {REFERENCE: kinds_of(matrix.rows), PLACED: np.full(models, EMBEDDED, dtype=object)}
    return Embedding(
        method=METHOD, distance=matrix.distance, rows=Table({**matrix.rows.columns, **told}),
        coordinates=found.coordinates, eigenvalues=nothing, signature=nothing, explained_stress=nothing,
        residuals=nothing, row_means=squared.mean(axis=1), weights=np.ones(models), norm=float("nan"),
        trace=float("nan"), mean=float(squared.mean()), samples=matrix.samples, classes=matrix.classes, passes=1,
        converged=True, solver=METHOD, cap=matrix.cap,
        settings={
            "used_perplexity": perplexity, "divergence": found.divergence, "trustworthiness": found.trustworthiness,
        },
    )  # fmt: skip


def _start(matrix: Matrix, settings: NeighbourSettings) -> NDArray[np.float64]:
    """The leading dimensions of the same distances, as many as the map has."""
    rows = MatrixRows(matrix, device=torch.device("cpu"), block_bytes=1 << 26)
    found = fit(rows, np.ones(len(matrix.rows)), EmbeddingSettings(settings.dims), Resources(), pairwise=False)
    coordinates = np.zeros((len(matrix.rows), settings.dims))
    coordinates[:, : found.coordinates.shape[1]] = found.coordinates
    return coordinates


def _finished(job: NeighbourJob, identity: dict[str, Any]) -> Embedding | None:
    """The map, if it is there and need not be made again.

    Raises:
        ConflictError: If something else is there.
    """
    if not job.out.exists() or job.force:
        return None
    try:
        there = Embedding.open(job.out)
    except DataError:
        raise ConflictError(f"{job.out} exists and is no embedding", "choose another --out, or --force") from None
    if {name: there.settings.get(name) for name in identity} == identity and there.method == METHOD:
        return there
    raise ConflictError(f"{job.out} is another embedding", "choose another --out, or --force to overwrite it")
