"""Predictions made elsewhere, checked and written as a predictions file."""

import contextlib
import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.compute.choices import SplitName
from landscape_cli.errors import DataError, InterruptedRunError, UsageError
from landscape_cli.jobs.model_columns import Called, join_metadata, own_table
from landscape_cli.jobs.predicting import Progress, record
from landscape_cli.jobs.prediction_values import Values, recognize, to_log_probabilities
from landscape_cli.jobs.sample_choice import SampleChoice, read_whole_numbers, whole_numbers
from landscape_cli.plugins import did_you_mean
from landscape_cli.store.prediction_format import Compression, DType, load
from landscape_cli.store.prediction_growth import PredictionSet, check_same
from landscape_cli.store.prediction_writer import writing
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

if TYPE_CHECKING:
    import h5py

USUAL_NAMES = ("log_probs", "log_probabilities", "probs", "probabilities", "logits", "predictions")
LABELS, NAMES, IDS = "labels", "names", "sample_ids"  # arrays that may stand beside the predictions


@dataclass(frozen=True)
class ForeignJob:
    """Which predictions to take, and where to write them.

    Args:
        source: An ``.npz``, ``.npy`` or HDF5 file with an array ``(model, sample, class)``, or ``(sample, class)`` for
            one model.
        out: The predictions file.
        array: The name of the array; None for the only one, or the one of a usual name.
        values: What its numbers are.
        labels: A file with the label of each sample, if the source has no array ``labels``.
        split: The split they are of.
        samples: Which of the samples to take.
        dtype: The type on disk.
        compression: How the finished file is compressed; None for as it is.
        metadata: A table of the person's own columns: joined on a column ``name`` with the source's array ``names``,
            else one row a model in their order.
        force: Discard what the file holds.
    """

    source: Path
    out: Path
    array: str | None = None
    values: Values = "auto"
    labels: Path | None = None
    split: SplitName = "test"
    samples: SampleChoice = field(default_factory=SampleChoice)
    dtype: DType = "float32"
    compression: Compression | None = None
    metadata: Path | None = None
    force: bool = False


@dataclass(frozen=True, eq=False)
class _Source:
    """An open file of predictions.

    Args:
        data: ``(model, sample, class)``, read model by model.
        labels: One a sample.
        sample_ids: The position of each sample in its split.
        names: What the models are called; None if the file does not say.
    """

    data: Any
    labels: NDArray[np.int64]
    sample_ids: NDArray[np.int64]
    names: list[str] | None

    def model(self, number: int) -> NDArray[np.float64]:
        return np.asarray(self.data[number], dtype=np.float64)


def import_predictions(
    job: ForeignJob,
    *,
    note: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Check predictions made elsewhere, all of them before anything is written, and write them.

    Memory does not grow with the number of models (but an ``.npz`` file is read as a whole). Cost: two reads.

    Args:
        job: Which predictions, and where to.
        note: Told what a user should know.
        progress: Told how many models are done.
        dry_run: Only check, and say what would be written.

    Raises:
        DataError: If there are no labels, shapes do not fit, or a number is not what it should be; model and sample
            are named.
        UsageError: If it cannot be told which array is meant.
        ConflictError: If the file holds other predictions.
        StorageError: If the disk is full; finished models are kept.
    """
    with _open(job) as source:
        models, _, classes = source.data.shape
        index = job.samples.index(source.labels, classes)
        labels = source.labels[index]
        digest = hashlib.sha256(source.labels.astype("<i8").tobytes() + source.sample_ids.astype("<i8").tobytes())
        what = PredictionSet(
            split=job.split,
            data=job.source.stem,
            fingerprint=f"labels:{digest.hexdigest()[:32]}",
            classes=classes,
            labels=labels,
            sample_ids=source.sample_ids[index],
            dtype=job.dtype,
            sampling=job.samples.describe(len(index), len(source.labels)),
        )
        rows, own = _rows(job, source, models)
        kind = recognize(source.model(0), str(rows[0]["name"])) if job.values == "auto" else job.values
        zeros = 0
        for number, row in enumerate(rows):
            found = to_log_probabilities(source.model(number), kind, str(row["name"]))
            zeros += int(np.isneginf(found).sum())
            text = hashlib.sha256(f"{row['name']}\0".encode() + found.tobytes())
            row["key"] = text.hexdigest()[:32]
        if job.values == "auto":
            note(f"{job.source}: its numbers are {kind}")
        if zeros:
            note(f"{job.source}: {zeros} probabilities are exactly zero; distances between such models may be infinite")
        if len({row["key"] for row in rows}) < models:
            note(f"{job.source}: some models are the same, under the same name; each is taken once")
        numbers = list({row["key"]: number for number, row in reversed(list(enumerate(rows)))}.values())[::-1]
        table = Table.from_rows([rows[number] for number in numbers])
        if dry_run:
            return _plan(job, what, table)
        with writing(job.out, what, table, compression=job.compression, own=own, force=job.force) as writer:
            for done, place in enumerate(writer.pending):
                if progress is not None:
                    progress(done, len(writer.pending))
                try:
                    values = to_log_probabilities(source.model(numbers[place]), kind, writer.name(place))
                    writer.write(place, values[index])
                    writer.finish(place)
                except KeyboardInterrupt:
                    raise InterruptedRunError(
                        f"stopped at model {done + 1} of {len(writer.pending)}; finished models are kept",
                        "the same command continues",
                    ) from None
    skipped = len(table) - len(writer.pending)
    if not writer.pending:
        note(f"{job.out} holds {'this model' if skipped == 1 else f'all {skipped} models'} already")
    return record(Predictions.open(job.out), added=writer.written, skipped=skipped)


def _plan(job: ForeignJob, what: PredictionSet, table: Table) -> dict[str, Any]:
    there: set[str] = set()
    if job.out.exists() and not job.force:
        stored = load(job.out)
        check_same(stored, what)
        there = set(stored.table.column("key")[stored.finished])
    new = [key for key in table.column("key") if key not in there]
    return {
        "kind": "plan",
        "path": str(job.out),
        "split": what.split,
        "models": len(new),
        "skipped": len(table) - len(new),
        "samples": len(what.labels),
        "classes": what.classes,
        "data": what.data,
        "bytes": len(new) * what.row_bytes(),
    }


def _rows(job: ForeignJob, source: _Source, models: int) -> tuple[list[dict[str, Any]], list[str]]:
    """One row a model, and which columns are the person's own."""
    stem = job.source.stem
    names = source.names or ([stem] if models == 1 else [f"{stem}:{number}" for number in range(models)])
    rows: list[dict[str, Any]] = [{"name": name, "source": str(job.source)} for name in names]
    if job.metadata is None:
        return rows, []
    if source.names is not None:
        return rows, join_metadata(rows, [Called([name]) for name in names], job.metadata)
    table = own_table(job.metadata)
    if len(table) != models:
        raise DataError(
            f"{job.metadata} has {len(table)} rows for the {models} models of {job.source}",
            "one row a model in their order, or an array 'names' beside the predictions to join on",
        )
    for row, own in zip(rows, table.rows(), strict=True):
        row.update(own)
        row["name"] = str(row["name"])
    return rows, [name for name in table.columns if name != "name"]


@contextlib.contextmanager
def _open(job: ForeignJob) -> Iterator[_Source]:
    """Open the source, find its arrays and check that they fit each other."""
    path = job.source
    with _arrays(path) as arrays:
        name = _choose(path, arrays, job.array)
        data = arrays[name]
        if data.ndim == 2:
            data = data[()][None]
        if data.ndim != 3 or 0 in data.shape:
            raise DataError(
                f"{path}: array '{name}' has shape {data.shape}", "(model, sample, class) is needed, or (sample, class)"
            )
        if data.dtype.kind not in "fiu":
            raise DataError(f"{path}: array '{name}' holds {data.dtype}, no numbers")
        _, samples, classes = data.shape
        labels = _labels(job, arrays)
        if len(labels) != samples:
            raise DataError(f"{path}: {samples} samples but {len(labels)} labels")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise DataError(f"{path}: labels run from {low} to {high}, which does not fit {classes} classes")
        ids = np.arange(samples, dtype=np.int64)
        if IDS in arrays and name != IDS:
            ids = whole_numbers(arrays[IDS][()], f"{path}: array '{IDS}'")
            if len(ids) != samples:
                raise DataError(f"{path}: {samples} samples but {len(ids)} sample ids")
        names = None
        if NAMES in arrays:
            names = [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(arrays[NAMES][()]).tolist()]
            if len(names) != len(data):
                raise DataError(f"{path}: {len(data)} models but {len(names)} names")
        yield _Source(data, labels, ids, names)


def _labels(job: ForeignJob, arrays: Mapping[str, Any]) -> NDArray[np.int64]:
    if job.labels is not None:
        return read_whole_numbers(job.labels)
    if LABELS not in arrays:
        raise DataError(
            f"{job.source} has no array '{LABELS}'", "give the true class of each sample: --labels FILE.npy"
        )
    return whole_numbers(arrays[LABELS][()], f"{job.source}: array '{LABELS}'")


def _choose(path: Path, arrays: Mapping[str, Any], asked: str | None) -> str:
    """The name of the array that holds the predictions.

    Raises:
        UsageError: If it cannot be told.
    """
    if asked is not None:
        if asked not in arrays:
            raise UsageError(f"{path} has no array '{asked}'", did_you_mean(asked, arrays))
        return asked
    found = [n for n, a in arrays.items() if n not in (LABELS, NAMES, IDS) and a.ndim in (2, 3) and a.dtype.kind == "f"]
    usual = [name for name in USUAL_NAMES if name in found]
    if len(found) == 1 or usual:
        return usual[0] if usual else found[0]
    if len(arrays) == 1:
        return next(iter(arrays))
    shown = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    raise UsageError(f"{path}: which array holds the predictions? It has {shown}", "say it: --array NAME")


@contextlib.contextmanager
def _arrays(path: Path) -> Iterator[Mapping[str, Any]]:
    """The arrays of a file by name, read as late as the format allows."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    kind = path.suffix.lower()
    try:
        if kind == ".npy":
            yield {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        elif kind == ".npz":
            with np.load(path, allow_pickle=False) as file:
                yield {name: file[name] for name in file.files}
        elif kind in (".h5", ".hdf5", ".he5", ".nc"):
            import h5py

            with h5py.File(path, "r", locking=False) as file:
                yield _datasets(file)
        else:
            raise UsageError(f"{path} is no .npz, .npy or .h5 file")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _datasets(file: "h5py.File") -> dict[str, "h5py.Dataset"]:
    import h5py

    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found
