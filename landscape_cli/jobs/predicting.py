"""Predictions of checkpoints on disk: one tensor of log-probabilities a split, model by model."""

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from landscape_cli.compute.choices import SplitName
from landscape_cli.compute.device import Placement, math_mode
from landscape_cli.compute.evaluation import forward_operations, log_probabilities
from landscape_cli.compute.samples import BATCH
from landscape_cli.datasets import DataSet, DataSpec
from landscape_cli.errors import (
    CheckpointError,
    ConflictError,
    InterruptedRunError,
    LandscapeError,
    NetworkError,
    StorageError,
    UsageError,
)
from landscape_cli.jobs.bench import Bench, Sampling, Setup, trained_on
from landscape_cli.jobs.model_columns import Called, ModelColumns, join_metadata, model_key
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.sample_choice import SampleChoice
from landscape_cli.jobs.subjects import chosen_data, load_data, load_state
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.prediction_format import Compression, DType, load
from landscape_cli.store.prediction_growth import PredictionSet, check_same
from landscape_cli.store.prediction_writer import PredictionWriter, writing
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

Progress = Callable[[int, int], None]

GPU_BATCH = 1000


@dataclass(frozen=True)
class PredictionJob:
    """What to predict, and where to write it.

    Args:
        outs: The file of each split.
        samples: Which samples.
        dtype: The type on disk.
        compression: How the finished file is compressed; None for as it is.
        metadata: A table of the person's own columns.
        batch: Samples a forward pass; None for what suits the device.
        force: Discard what the files hold.
    """

    outs: Mapping[SplitName, Path]
    samples: SampleChoice = field(default_factory=SampleChoice)
    dtype: DType = "float32"
    compression: Compression | None = None
    metadata: Path | None = None
    batch: int | None = None
    force: bool = False


@dataclass(frozen=True)
class _Model:
    """A checkpoint that can be predicted with."""

    subject: Subject
    key: str
    row: dict[str, Any]


class PredictionRun:
    """Predictions of checkpoints, of one network or many, on one data set.

    Every network is evaluated in evaluation mode under its own batch-norm statistics, its inputs normalised as in its
    own training. Log-probabilities are computed in float64 from its logits and rounded to the type on disk.

    Args:
        subjects: The checkpoints.
        job: What to predict, and where to write it.
        where: Device and precision.
        network: The network, if a person names it; else what each run recorded.
        data: The data, if a person names it; else what the runs were trained on.
        note: Told what a user should know.
        failed: Given the error of a checkpoint that cannot be used; the others go on.

    Raises:
        UsageError: If it is not known what network or data a checkpoint belongs to, or they disagree on the data.
        DataError: If the data cannot be loaded, or the samples or the metadata do not fit it.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        job: PredictionJob,
        where: Placement,
        *,
        network: NetworkSpec | None = None,
        data: DataSpec | None = None,
        note: Callable[[str], None] = lambda text: None,
        failed: Callable[[LandscapeError], None],
    ) -> None:
        self.job = job
        self.where = where
        self.note = note
        self.failed = failed
        self.batch = job.batch or (BATCH if where.device.type == "cpu" else GPU_BATCH)
        self.bench = Bench(
            Sampling(splits=tuple(job.outs), batch=self.batch), where, network=network, statistics=False, note=note
        )
        self._asked_data = data
        self._operations: dict[str, int] = {}
        whole = _one_data_set(subjects, data)
        self.index = {split: job.samples.index(whole.split(split).labels, whole.classes) for split in job.outs}
        parts = whole.parts
        if job.samples.samples is not None or job.samples.ids is not None:  # all of them need no copy
            parts |= {split: whole.split(split).take(index) for split, index in self.index.items()}
        probes = {name: parts[name] for name in whole.probes}
        self.data = replace(whole, train=parts["train"], test=parts["test"], probes=probes)
        self.sets = {split: self._set(whole, split) for split in job.outs}
        self.models = self._models(subjects, whole)
        self.own: list[str] = []
        if job.metadata is not None and self.models:
            called = [_called(model) for model in self.models]
            self.own = join_metadata([model.row for model in self.models], called, job.metadata)
        self.table = Table.from_rows([{"key": model.key, **model.row} for model in self.models])

    def _set(self, whole: DataSet, split: SplitName) -> PredictionSet:
        return PredictionSet(
            split=split,
            data=whole.name,
            fingerprint=whole.fingerprint[split],
            classes=whole.classes,
            labels=self.data.split(split).labels,
            sample_ids=self.index[split],
            dtype=self.job.dtype,
            precision=self.where.precision,
            sampling=self.job.samples.describe(len(self.index[split]), len(whole.split(split))),
        )

    def _same_data(self, subject: Subject, whole: DataSet) -> None:
        """Tell of a model that was trained on other data; without a word of the person that is an error.

        Raises:
            UsageError: If the person named no data.
        """
        run = subject.run
        if run is None or all(trained_on(run, s) in (None, whole.fingerprint[s]) for s in self.job.outs):
            return
        if self._asked_data is None:
            raise UsageError(
                f"{run.path} was trained on other data than the models before it ({whole.name})",
                "say what to predict on: --data NAME, or write one file for each data set",
            )
        self.bench.tell(f"{run.path} was trained on other data than the {whole.name} it predicts here")

    def _setup(self, subject: Subject) -> Setup:
        return self.bench.setup([subject], data=self.data)

    def _models(self, subjects: Sequence[Subject], whole: DataSet) -> list[_Model]:
        """The checkpoints that can be read, each once."""
        columns = ModelColumns()
        models: dict[str, _Model] = {}
        for subject in subjects:
            self._same_data(subject, whole)
            try:
                setup = self._setup(subject)
                network = setup.spec.to_json()
                normalization = None if setup.normalization is None else setup.normalization.to_json()
                key = model_key(subject, network, normalization)
                if key in models:
                    self.note(f"{subject.checkpoint.label} is given twice: it is taken once")
                models.setdefault(key, _Model(subject, key, columns.row(subject, network)))
            except (CheckpointError, NetworkError) as error:
                self.failed(error)
        return list(models.values())

    def plan(self) -> list[dict[str, Any]]:
        """What would be done and what it costs, one record a file; nothing is written.

        Raises:
            ConflictError: If a file holds other predictions.
        """
        records = []
        for split, path in self.job.outs.items():
            what = self.sets[split]
            there: set[str] = set()
            if path.exists() and not self.job.force:
                stored = load(path)
                check_same(stored, what)
                there = set(stored.table.column("key")[stored.finished])
            new = [model for model in self.models if model.key not in there]
            passes = sum(self._forward(self._setup(model.subject), split) for model in new)
            records.append(
                {
                    "kind": "plan",
                    "path": str(path),
                    "split": split,
                    "models": len(new),
                    "skipped": len(self.models) - len(new),
                    "samples": len(what.labels),
                    "classes": what.classes,
                    "data": what.data,
                    "bytes": len(new) * what.row_bytes(),
                    "images": len(new) * len(what.labels),
                    "operations": passes * len(what.labels),
                }
            )
        return records

    def _forward(self, setup: Setup, split: SplitName) -> int:
        """Operations of one forward pass of one sample, counted once a network."""
        key = str(setup.spec.to_json())
        if key not in self._operations:
            self._operations[key] = forward_operations(setup.network, setup.splits[split])
        return self._operations[key]

    def run(self, progress: Progress | None = None) -> list[dict[str, Any]]:
        """Predict with every model that the files do not hold yet.

        Memory does not grow with the number of models: rows are written batch by batch.

        Returns:
            One record a file that holds a model.

        Raises:
            ConflictError: If a file holds other predictions, or another process writes it.
            StorageError: If the disk is full; finished models are kept.
            InterruptedRunError: On Ctrl-C; likewise.
        """
        if not self.models:
            return []
        self._tell_room()
        job = self.job
        with contextlib.ExitStack() as stack:
            writers = {
                split: stack.enter_context(
                    writing(
                        path,
                        self.sets[split],
                        self.table,
                        compression=job.compression,
                        own=self.own,
                        force=job.force,
                    )
                )
                for split, path in job.outs.items()
            }
            pending = {split: set(writer.pending) for split, writer in writers.items()}
            todo = sorted(set().union(*pending.values()))
            for done, number in enumerate(todo):
                if progress is not None:
                    progress(done, len(todo))
                missing = {split: writer for split, writer in writers.items() if number in pending[split]}
                try:
                    self._predict(number, missing)
                except KeyboardInterrupt:
                    raise InterruptedRunError(
                        f"stopped at model {done + 1} of {len(todo)}; finished models are kept",
                        "the same command continues",
                    ) from None
                except (StorageError, ConflictError, UsageError):
                    raise
                except LandscapeError as error:
                    self.failed(error)
            if progress is not None:
                progress(len(todo), len(todo))
        return [
            self._record(split, writers[split], len(pending[split])) for split in job.outs if job.outs[split].exists()
        ]

    def _predict(self, number: int, writers: Mapping[SplitName, PredictionWriter]) -> None:
        """Write the predictions of one model."""
        subject = self.models[number].subject
        setup = self._setup(subject)
        load_state(setup.network, subject.checkpoint.tensors(), subject.checkpoint.label)
        with math_mode(self.where):
            for split, writer in writers.items():
                start = 0
                for found in log_probabilities(setup.network, setup.splits[split], batch=self.batch):
                    if found.shape[1] != self.data.classes:
                        raise NetworkError(
                            f"{subject.checkpoint.label} tells {found.shape[1]} classes apart, {self.data.name} has "
                            f"{self.data.classes}"
                        )
                    writer.write(number, found.numpy(), start)
                    start += len(found)
                writer.finish(number)

    def _tell_room(self) -> None:
        """Say so if the disk has less room than all of it would take; it may be enough, where much is there."""
        for split, path in self.job.outs.items():
            folder = next(p for p in (path.absolute().parent, *path.absolute().parents) if p.is_dir())
            need, free = len(self.models) * self.sets[split].row_bytes(), shutil.disk_usage(folder).free
            if need > free and not path.exists():
                self.note(f"{path} may grow to {need:,} bytes, but the disk has {free:,} left")

    def _record(self, split: SplitName, writer: PredictionWriter, pending: int) -> dict[str, Any]:
        path, skipped = self.job.outs[split], len(self.models) - pending
        if not pending:
            self.note(f"{path} holds {'this model' if skipped == 1 else f'all {skipped} models'} already")
        return record(Predictions.open(path), added=writer.written, skipped=skipped)


def record(predictions: Predictions, **counts: int) -> dict[str, Any]:
    """A predictions file as a record for the pipe."""
    found = {
        "kind": "predictions",
        "path": str(predictions.path),
        "split": predictions.split,
        "models": len(predictions),
        "samples": predictions.samples,
        "classes": predictions.classes,
        "data": predictions.data,
        "fingerprint": predictions.fingerprint,
        "dtype": predictions.dtype,
        **counts,
        "bytes": predictions.path.stat().st_size,
    }
    if predictions.float16_error is not None:
        found["float16_error"] = predictions.float16_error
    return found


def _called(model: _Model) -> Called:
    """What may stand for a model in a person's own table."""
    checkpoint, run = model.subject.checkpoint, model.subject.run
    names = [str(model.row["name"]), checkpoint.label, str(checkpoint.path), *map(str, checkpoint.files)]
    return Called(names, () if run is None else (str(run.path), run.name))


def _one_data_set(subjects: Sequence[Subject], asked: DataSpec | None) -> DataSet:
    """The data that all are to be predicted on.

    Raises:
        UsageError: If it is not known.
    """
    for subject in subjects:
        if (run := subject.run) is not None:
            return load_data(chosen_data(run, asked))
    if asked is None:
        raise UsageError(
            f"{subjects[0].checkpoint.label} does not say what data it belongs to",
            "add --network NAME --data DATA, or make it a run with 'landscape import'",
        )
    return load_data(asked)
