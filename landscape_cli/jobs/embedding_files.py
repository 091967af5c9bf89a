"""From files of predictions, distances or embeddings to a file with an embedding."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape_cli.compute.device import placement, set_threads
from landscape_cli.compute.predictions.spectrum import block_width
from landscape_cli.compute.streams import stream
from landscape_cli.errors import ConflictError, DataError, DeviceError, UsageError
from landscape_cli.jobs.distances import DistanceJob, DistanceSettings, run_distances
from landscape_cli.jobs.embedding import (
    Base,
    EmbeddingSettings,
    Resources,
    check_method,
    distance_of,
    embed_matrix,
    embed_rest,
    fit,
    landmarks,
    method_of,
    multiplicities,
    solver_for,
)
from landscape_cli.jobs.embedding_additions import add_models, add_test_models, overlay, shaping_columns
from landscape_cli.jobs.embedding_reading import ReadingSettings, read_three
from landscape_cli.jobs.embedding_sources import (
    Given,
    described,
    distance_settings,
    identity_of,
    kind_of,
    moved,
    opened,
    predictions_of,
    same_subset,
)
from landscape_cli.jobs.matrix_rows import MatrixRows
from landscape_cli.jobs.mixing import other_data
from landscape_cli.jobs.model_rows import ModelRows, References, open_models
from landscape_cli.store.atomic import TEMPORARY_PREFIX
from landscape_cli.store.embeddings import ADDED, PLACED, TEST, Embedding
from landscape_cli.store.matrices import REFERENCE, Matrix
from landscape_cli.store.predictions import Predictions

VERSION = 1  # of the numbers: raised when they change

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class EmbeddingJob:
    """An embedding to make.

    Args:
        file: Predictions, or their distances, to embed; or an embedding that something is done with.
        out: The file of the embedding.
        settings: What to embed and how.
        distances: Which distances, for predictions; the distance itself follows from ``settings.method``, unless it is
            given in ``distance``.
        distance: See there; None for the method's own, or for that of the matrix.
        where: Condition on models; reference models stay.
        samples: A random subset of so many samples; None for all.
        fit_samples: Fit the embedding on a random subset of so many samples, and place all models by all samples.
        project: Predictions or distances of further models to add.
        project_test: Predictions or distances on test samples of the models that shaped the embedding, to add.
        predictions: Where the predictions of the embedded models are, if the file does not say.
        align: An embedding to lay this one over.
        align_dims: How many dimensions are compared then.
        reading: The three-coordinate reading; None for none.
        memory: Bytes to work in, beside what the program itself takes.
        device: See :func:`landscape_cli.compute.device.placement`.
        threads: CPU threads; None for all.
        force: Overwrite another embedding.
        command: The command line, for the record.
        note: Told what a user should know.
    """

    file: Path
    out: Path
    settings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    distances: DistanceSettings = field(default_factory=DistanceSettings)
    distance: str | None = None
    where: str | None = None
    samples: int | None = None
    fit_samples: int | None = None
    project: Path | None = None
    project_test: Path | None = None
    predictions: Path | None = None
    align: Path | None = None
    align_dims: int = 3
    reading: ReadingSettings | None = None
    memory: int = 2_000_000_000
    device: str = "auto"
    threads: int | None = None
    force: bool = False
    command: str = ""
    note: Callable[[str], None] = field(default=lambda text: None)


def default_out(file: Path, distance: str, changes: str = "") -> Path:
    """Where an embedding goes by default: beside its input.

    Args:
        file: Predictions, distances, or an embedding.
        distance: The distance, if the file is predictions.
        changes: What is done with it, if the file is an embedding.
    """
    kind = kind_of(file)
    if kind == "distances":
        distance = Matrix.open(file).distance
    added = changes or "changed" if kind == "embedding" else method_of(distance)
    return file.with_name(f"{file.stem}-{added}.h5")


def run_embedding(job: EmbeddingJob, progress: Progress | None = None) -> dict[str, Any]:
    """Make an embedding, or add to one; what is there already is not made again.

    Returns:
        Its record.

    Raises:
        ConflictError: If another embedding is in the way.
        DataError: If a file is damaged or does not fit, or a distance is infinite.
        UsageError: If what is asked for does not go together, or the memory is too little.
        StorageError: If the disk is full or the place cannot be written.
        InterruptedRunError: If a signal asked to stop while distances were computed.
    """
    began = time.perf_counter()
    set_threads(job.threads)
    work = _Work(job, progress)
    if (there := work.finished()) is not None:
        job.note(f"{job.out} is finished already: nothing to do")
        return summary(there, began)
    with work:
        embedding = work.made()
    embedding.write(job.out)
    return summary(replace(embedding, path=job.out), began)


def plan_embedding(job: EmbeddingJob) -> dict[str, Any]:
    """What an embedding of a file would cost: passes, bytes, operations. Nothing is written.

    Raises:
        DataError: See :func:`run_embedding`.
        UsageError: Likewise.
    """
    work = _Work(job, None)
    given = work.given
    if isinstance(given, Embedding):
        raise UsageError(f"{job.file} is an embedding already: to add to it costs two passes over the new distances")
    rows = len(given.rows) if isinstance(given, Matrix) else len(given) + len(job.distances.references)
    dense = work.settled(rows) == "dense"
    passes, width = (2, rows) if dense else (job.settings.max_passes, block_width(job.settings.dims, rows))
    record = {
        "kind": "plan",
        "path": str(job.out),
        "models": rows,
        "samples": given.samples,
        "solver": "dense" if dense else "krylov",
        "passes": passes,
        "bytes": rows * rows * 4,
        "operations": 2 * rows * rows * width * passes,
    }
    if isinstance(given, Predictions):
        record["distance_operations"] = rows * (rows - 1) // 2 * given.samples * given.classes
    return record


def summary(embedding: Embedding, began: float) -> dict[str, Any]:
    """The record of an embedding."""
    placed, kinds = embedding.rows.column(PLACED), embedding.rows.column(REFERENCE)
    record: dict[str, Any] = {
        "kind": "embedding",
        "path": str(embedding.path),
        "method": embedding.method,
        "distance": embedding.distance,
        "models": int(((kinds == "") & (placed != TEST)).sum()),
        "embedded": len(embedding.shaping),
        "added": int(((kinds == "") & (placed == ADDED)).sum()),
        "references": int((kinds != "").sum()),
        "samples": embedding.samples,
        "classes": embedding.classes,
        "dims": embedding.dims,
        "eigenvalues": embedding.eigenvalues.tolist(),
        "explained_stress": embedding.explained_stress.tolist(),
        "explained_pairwise": _listed(embedding.explained_l2),
        "explained_pairwise_l1": _listed(embedding.explained_l1),
        "norm": embedding.norm,
        "trace": embedding.trace,
        "solver": embedding.solver,
        "passes": embedding.passes,
        "residual": float(embedding.residuals.max()),
        "converged": embedding.converged,
        "cap": embedding.cap,
    }
    if count := int((placed == TEST).sum()):
        record |= {"test": count, "test_explained_pairwise": _listed(embedding.test_explained_l2)}
    if (over := embedding.overlay) is not None:
        record |= {"aligned_to": over.onto, "rmsd": over.rmsd, "aligned_models": over.models}
    if (reading := embedding.reading) is not None:
        record |= {
            "reading_near": list(reading.near),
            "reading_models": [round(count, 1) for count in reading.models_near],
            "reading_rmsd": reading.overlay.rmsd,
            "reading_explained_pairwise": _listed(reading.explained_l2),
        }
    return record | {"seconds": round(time.perf_counter() - began, 3)}


def _device(name: str) -> torch.device:
    device = placement(name).device
    if device.type == "mps" and name != "auto":
        raise DeviceError("embeddings are computed in float64, which an Apple GPU lacks", "use --device cpu")
    return torch.device("cpu") if device.type == "mps" else device


def _listed(values: "np.ndarray | None") -> list[float] | None:
    return None if values is None else [float(value) for value in values]


class _Work:
    """A job with its inputs open, and a place for distances that are computed on the way."""

    def __init__(self, job: EmbeddingJob, progress: Progress | None) -> None:
        self.job, self.progress = job, progress
        self.kind = kind_of(job.file)
        _check_asked(job, self.kind)
        self.resources = Resources(job.memory, _device(job.device), progress, job.note)
        self.given: Given
        if self.kind == "predictions":
            self.given = open_models(job.file, where=job.where, samples=job.samples, seed=job.settings.seed)
        elif self.kind == "distances":
            self.given = Matrix.open(job.file)
        else:
            self.given = Embedding.open(job.file)
            if self.given.method == "tsne":
                raise UsageError(f"{job.file} is a t-SNE map, to which no model can be added", "make it again with all")
        self._stack = ExitStack()
        self._folder: Path | None = None
        self.identity = self._identity()

    def __enter__(self) -> "_Work":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _identity(self) -> dict[str, Any]:
        """All that the numbers depend on, as JSON."""
        job = self.job
        document: dict[str, Any] = {"version": VERSION, "input": identity_of(self.given), "where": job.where}
        if self.kind != "embedding":
            document |= asdict(job.settings)
        if self.kind == "predictions":
            document |= {"distances": asdict(self._settings()), "fit_samples": job.fit_samples}
        for name in ("project", "project_test", "align"):
            if (path := getattr(job, name)) is not None:
                document[name] = identity_of(opened(path))
        if job.align is not None:
            document["align_dims"] = job.align_dims
        if job.reading is not None:
            document["reading"] = asdict(job.reading) | {"near": list(job.reading.near)}
        return document

    def settled(self, rows: int) -> str:
        """The solver for so many models."""
        return solver_for(rows, self.job.settings, self.resources)

    def finished(self) -> Embedding | None:
        """The embedding, if it is there and need not be made again.

        Raises:
            ConflictError: If something else is there.
        """
        out = self.job.out
        if not out.exists() or self.job.force:
            return None
        try:
            there = Embedding.open(out)
        except DataError:
            raise ConflictError(f"{out} exists and is no embedding", "choose another --out, or --force") from None
        if there.settings == self.identity:
            return there
        raise ConflictError(
            f"{out} is another embedding: {_difference(there.settings, self.identity)}",
            "choose another --out, or --force to overwrite it",
        )

    def made(self) -> Embedding:
        """Everything that was asked for."""
        job = self.job
        embedding, base = self._base()
        if job.reading is not None:
            assert base is not None
            if distance_settings(embedding).project_classes is not None:
                raise UsageError("the reading is of all classes, the distances are of projected ones")
            models = predictions_of(embedding, embedding.models, job.out, job.predictions)
            three = read_three(base, models, job.reading, self.resources)
            embedding = replace(embedding, reading=three)
        reading = embedding.reading
        if job.project is not None:
            embedding = self._projected(embedding, job.project)
        if job.project_test is not None:
            embedding = self._projected_test(embedding, job.project_test)
        if job.align is not None:
            other = Embedding.open(job.align)
            embedding = replace(embedding, overlay=overlay(embedding, other, job.align_dims))
        if reading is not None:
            embedding = replace(embedding, reading=reading.extended(len(embedding.rows)))
        return replace(embedding, settings=self.identity, command=job.command, path=None)

    def _base(self) -> tuple[Embedding, Base | None]:
        if isinstance(self.given, Embedding):
            return moved(self.given, self.job.out), None
        job = self.job
        if isinstance(self.given, Matrix):
            check_method(job.settings.method, self.given.distance, job.file)
            if job.distance not in (None, self.given.distance):
                raise UsageError(f"{job.file} holds {self.given.distance} distances, not {job.distance}")
            base = embed_matrix(self.given.where(job.where), job.settings, self.resources)
        else:
            base = self._from_predictions(self.given)
        source = described(
            self.given, job.out, settings=self._settings(), seed=job.settings.seed, predictions=job.predictions
        )
        return replace(base.embedding, source=source), base

    def _settings(self) -> DistanceSettings:
        """The distances to compute from predictions."""
        job = self.job
        return replace(job.distances, distance=distance_of(job.settings.method, job.distance))

    def _from_predictions(self, models: Predictions) -> Base:
        job = self.job
        if job.fit_samples is None and job.settings.fit_on is None:
            return embed_matrix(self._matrix("all", models, references=True), job.settings, self.resources)
        rows = ModelRows(models, job.distances.references).table()
        counts, chosen = multiplicities(rows, job.settings), landmarks(rows, job.settings)
        shaping = (counts > 0) if chosen is None else chosen & (counts > 0)
        columns = np.flatnonzero(shaping)
        few = models.select(columns)
        fitted = few
        if job.fit_samples is not None:
            if job.fit_samples > models.samples:
                raise UsageError(f"--fit-samples {job.fit_samples}: {job.file} has {models.samples} samples")
            drawn = torch.randperm(models.samples, generator=stream("fit-samples", job.settings.seed))
            fitted = few.select_samples(np.sort(drawn[: job.fit_samples].numpy()))
        how: dict[str, Any] = {"device": self.resources.device, "block_bytes": self.resources.block_bytes}
        own = MatrixRows(self._matrix("fitted", fitted), **how)
        found = fit(own, counts[columns], job.settings, self.resources, pairwise=False)
        wide = self._matrix("added", models, few, references=True)
        source = MatrixRows(wide, None, np.arange(len(columns)), **how)
        return embed_rest(found, source, columns, counts, job.settings, keep=job.fit_samples is None)

    def _projected(self, embedding: Embedding, path: Path) -> Embedding:
        given = opened(path)
        if isinstance(given, Matrix):
            return add_models(embedding, given, self.resources)
        if isinstance(given, Embedding):
            raise UsageError(f"{path} is an embedding", "--project takes predictions or distances of new models")
        there = predictions_of(embedding, embedding.shaping, self.job.out, self.job.predictions)
        new = same_subset(given, embedding)
        matrix = self._matrix("project", new, there, embedding=embedding)
        return add_models(embedding, matrix, self.resources, np.arange(len(there)))

    def _projected_test(self, embedding: Embedding, path: Path) -> Embedding:
        given = opened(path)
        if isinstance(given, Embedding):
            raise UsageError(f"{path} is an embedding", "--project-test takes predictions or distances on test samples")
        if isinstance(given, Matrix):
            return add_test_models(embedding, given, self.resources)
        columns = shaping_columns(embedding, given.table, by_name=True)
        matrix = self._matrix("test", given, given.select(columns), embedding=embedding)
        if matrix.symmetric:
            return add_test_models(embedding, matrix, self.resources, columns)
        return add_test_models(embedding, matrix, self.resources, np.arange(len(columns)))

    def _matrix(
        self,
        name: str,
        first: Predictions,
        second: Predictions | None = None,
        *,
        references: bool = False,
        embedding: Embedding | None = None,
    ) -> Matrix:
        """Distances that are needed on the way, in a folder beside the result that goes at the end."""
        job = self.job
        if self._folder is None:
            job.out.parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=job.out.parent)
            self._folder = Path(self._stack.enter_context(made))
        settings = self._settings() if embedding is None else distance_settings(embedding)
        if not references:
            settings = replace(settings, references=References())
        out = self._folder / f"{name}.h5"
        if second is not None and (told := other_data(first, second)) is not None:
            job.note(told)
        task = DistanceJob(
            first, out, settings, second=second, memory=job.memory, device=job.device, threads=job.threads,
            command=job.command, note=lambda text: None,
        )  # fmt: skip
        run_distances(task, self.progress)
        return Matrix.open(out)


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first difference between two identities, in words."""
    for key in {**here, **there}:
        one, two = there.get(key), here.get(key)
        if one != two:
            nested = isinstance(one, dict) or isinstance(two, dict)
            return f"its {key} is another" if nested else f"its {key} is {one}, not {two}"
    return "it is of another version"


def _check_asked(job: EmbeddingJob, kind: str) -> None:
    """See that what is asked for goes together.

    Raises:
        UsageError: If not.
    """
    extra = (job.project, job.project_test, job.align)
    if kind == "embedding":
        if not any(extra):
            raise UsageError(
                f"{job.file} is an embedding already", "add to it with --project or --project-test, or --align it"
            )
        fitting = {"--fit-on": job.settings.fit_on, "--fit-samples": job.fit_samples, "--reading": job.reading,
                   "--where": job.where, "--weights": job.settings.weights}  # fmt: skip
        if given := [name for name, value in fitting.items() if value is not None]:
            raise UsageError(
                f"{given[0]} is for making an embedding; {job.file} is one already", "give the predictions"
            )
    if kind != "predictions":
        only = {"--fit-samples": job.fit_samples, "--samples": job.samples}
        if given := [name for name, value in only.items() if value is not None]:
            raise UsageError(
                f"{given[0]} chooses samples of predictions; {job.file} holds {kind}", "give the predictions"
            )
    if job.settings.references == "embedded" and (job.fit_samples or (kind == "predictions" and job.settings.fit_on)):
        raise UsageError(
            "--references embedded does not go with --fit-on or --fit-samples",
            "references are added to such an embedding",
        )
