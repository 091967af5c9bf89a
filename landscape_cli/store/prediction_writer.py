"""Writing predictions: model by model, safe against a kill at any moment, and continued by doing the same again.

The file is made at once, with room for all models that were asked for, and takes its name only when it is whole. From
then on nothing of HDF5's own structures is touched: the predictions of a model are plain bytes in their place, and
after they are on the disk one byte says that the model is finished. A reader looks at finished models only.

More models need more room: then the file is made anew, the finished models copied, and the new file takes the old one's
place. Cost: one copy of the old file, by the system (on file systems that share blocks, no copy at all), and the disk
holds both until then. Compression is one rewrite at the end, for the same reasons.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError
from landscape_cli.store.atomic import remove_leftovers_of, storage_error
from landscape_cli.store.hdf5 import write_bytes
from landscape_cli.store.locks import exclusive_file
from landscape_cli.store.prediction_format import (
    HALF_LOWEST,
    MEASURED,
    ROUNDING,
    Compression,
    Stored,
    load,
)
from landscape_cli.store.prediction_growth import PredictionSet, check_same, make, plan_file, recompress
from landscape_cli.store.tables import Table

COMMIT_SECONDS = 0.5  # at most this much finished work is lost to a kill


class PredictionWriter:
    """Writes the models that a file does not hold yet; made by :func:`writing`.

    Args:
        stored: The file, with room for all of them.
        rows: For each model asked for, its row in the file.
    """

    def __init__(self, stored: Stored, rows: Sequence[int]) -> None:
        self.stored = stored
        self.pending = [number for number, row in enumerate(rows) if not stored.finished[row]]
        self.written = 0
        self._rows = rows
        self._partial: dict[int, _Partial] = {}
        self._uncommitted: list[int] = []
        self._committed = time.monotonic()
        self._descriptor = os.open(stored.path, os.O_RDWR) if self.pending else None

    def write(self, model: int, log_probs: NDArray[Any], start: int = 0) -> None:
        """Write the log-probabilities of a block of samples; blocks of a model come in order, the first at 0.

        Args:
            model: Which, as a position among those asked for.
            log_probs: ``(sample, class)``, normalised, in nats.
            start: The first sample of the block.

        Raises:
            DataError: If one is NaN or infinite upwards; model and sample are named.
            StorageError: If the disk is full.
        """
        stored = self.stored
        values = np.asarray(log_probs, dtype=np.float64)
        if not start:
            self._partial[model] = _Partial()
        partial = self._partial[model]
        samples, classes = stored.shape[1:]
        if values.shape[1:] != (classes,) or partial.samples != start or start + len(values) > samples:
            raise DataError(
                f"{self.name(model)}: predictions of shape {values.shape} at sample {start} do not fit "
                f"{samples} samples of {classes} classes"
            )
        if (bad := np.flatnonzero(~(values < np.inf).all(axis=1))).size:
            number = stored.sample_ids[start + bad[0]]
            raise DataError(f"{self.name(model)}: its prediction for sample {number} is NaN or infinite")
        kept = np.maximum(values, HALF_LOWEST) if stored.dtype == np.float16 else values
        kept = np.ascontiguousarray(kept.astype(stored.dtype))
        partial.add(values, kept, stored.labels[start : start + len(values)])
        assert stored.placement is not None
        offset = stored.placement.offset(self._rows[model]) + start * classes * stored.dtype.itemsize
        self._put(kept.tobytes(), offset)

    def finish(self, model: int) -> None:
        """Call a model finished: its samples are all written.

        Loss (mean cross-entropy in nats) and error of what was written go into the table. To a reader it is there
        half a second later at most, or when the writer is closed.

        Raises:
            StorageError: If the disk is full.
        """
        partial = self._partial.pop(model)
        row, samples = self._rows[model], self.stored.shape[1]
        if partial.samples != samples:
            raise DataError(f"{self.name(model)}: {partial.samples} of {samples} samples were written")
        results = {"loss": partial.loss / samples, "error": partial.wrong / samples}
        for name in MEASURED:
            self._put(np.float64(results[name]).tobytes(), self.stored.offsets[name] + 8 * row)
        if "rounding" in self.stored.offsets:
            width = 8 * len(ROUNDING)
            self._put(np.asarray(partial.rounding).tobytes(), self.stored.offsets["rounding"] + width * row)
        self._uncommitted.append(row)
        self.written += 1
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make finished models durable: their predictions first, then the bytes that say they are there.

        Raises:
            StorageError: If the disk is full.
        """
        if not self._uncommitted:
            return
        self._flush()
        for row in self._uncommitted:
            self._put(b"\1", self.stored.offsets["finished"] + row)
        self._uncommitted.clear()
        self._committed = time.monotonic()

    def close(self) -> None:
        """Commit, and let the file go."""
        if self._descriptor is None:
            return
        try:
            self.commit()
            self._flush()
        finally:
            os.close(self._descriptor)
            self._descriptor = None

    def name(self, model: int) -> str:
        """What a model is called in messages."""
        table = self.stored.table
        return str(table.columns.get("name", table.column("key"))[self._rows[model]])

    def _flush(self) -> None:
        assert self._descriptor is not None
        try:
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
        except OSError as error:
            raise storage_error(error, self.stored.path) from error

    def _put(self, data: bytes, offset: int) -> None:
        assert self._descriptor is not None
        try:
            write_bytes(self._descriptor, data, offset)
        except OSError as error:
            raise storage_error(error, self.stored.path) from error


class _Partial:
    """What is known of a model while its samples are written."""

    def __init__(self) -> None:
        self.samples = 0
        self.loss = 0.0
        self.wrong = 0
        self.rounding = [0.0, 0.0, 0.0]

    def add(self, exact: NDArray[np.float64], kept: NDArray[Any], labels: NDArray[np.int64]) -> None:
        self.samples += len(labels)
        self.loss -= float(exact[np.arange(len(labels)), labels].sum())
        self.wrong += int((exact.argmax(axis=1) != labels).sum())
        if kept.dtype == np.float16:
            rounded = kept.astype(np.float64)
            clipped = exact < HALF_LOWEST
            log_error = np.abs(np.subtract(rounded, exact, where=~clipped, out=np.zeros_like(exact)))
            error = np.abs(np.exp(rounded) - np.exp(exact))
            log_prob, probability, count = self.rounding
            self.rounding = [
                max(log_prob, float(log_error.max(initial=0.0))),
                max(probability, float(error.max(initial=0.0))),
                count + float(clipped.sum()),
            ]


@contextlib.contextmanager
def writing(
    path: Path,
    what: PredictionSet,
    table: Table,
    *,
    compression: Compression | None = None,
    own: Sequence[str] = (),
    force: bool = False,
) -> Iterator[PredictionWriter]:
    """Open a predictions file for some models: made if it is not there, continued or extended if it is.

    Args:
        path: The file.
        what: What its models have in common.
        table: One row a model: a unique ``key``, a ``name``, and what else is known. What the file knows already of a
            model stays, but for the columns in ``own``. ``loss`` and ``error`` come from what is written.
        compression: What the file shall have when all is done; None for what it has, or none.
        own: Columns of the person's own.
        force: Make the file anew.

    Yields:
        A writer, whose ``pending`` are the models that the file does not hold.

    Raises:
        ConflictError: If the file holds predictions of other samples, data or type, or another process writes it.
        DataError: If it is no predictions file, or a key comes twice.
        StorageError: If the disk is full; finished models are kept.
    """
    path = Path(path)
    with exclusive_file(path):
        remove_leftovers_of(path)
        before = None if force or not path.exists() else load(path)
        if before is not None:
            check_same(before, what)
        compression = compression or ("none" if before is None else before.description.get("compression", "none"))
        plan = plan_file(before, table, own)
        stored = before
        pending = not all(plan.finished[plan.rows])
        if before is None or not before.table.equals(plan.table) or (pending and before.placement is None):
            make(path, what, before, plan, compression)
            stored = load(path)
        assert stored is not None
        writer = PredictionWriter(stored, plan.rows)
        try:
            yield writer
        finally:
            writer.close()
            if not plan.finished.any() and not writer.written:
                path.unlink(missing_ok=True)  # nothing is lost: it holds no model
        if path.exists():
            recompress(path, compression)


def create_predictions(
    path: Path, what: PredictionSet, table: Table, log_probs: Iterable[NDArray[Any]], *, force: bool = False
) -> None:
    """Write predictions that are at hand as a file, or add them to one; see :func:`writing`.

    Args:
        path: The file.
        what: What its models have in common.
        table: One row a model: a unique ``key``, a ``name``, and what else is known.
        log_probs: For each of them in turn, ``(sample, class)`` in nats.
        force: Make the file anew.

    Raises:
        ConflictError: If the file holds predictions of other samples, data or type, or another process writes it.
        DataError: If a prediction is NaN, or does not fit.
        StorageError: If the disk is full.
    """
    with writing(path, what, table, force=force) as writer:
        pending = set(writer.pending)
        for model, values in enumerate(log_probs):
            if model in pending:
                writer.write(model, values)
                writer.finish(model)
