"""Predictions of many models on the same samples, read by model and by block of samples.

The file holds natural log-probabilities ``(model, sample, class)``; see
:mod:`landscape_cli.store.prediction_format` for how it lies on disk and
:mod:`landscape_cli.store.prediction_writer` for writing.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError, UsageError
from landscape_cli.store.prediction_format import Stored, StoredRows, load, rounding_summary
from landscape_cli.store.tables import Table

Selection = slice | NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions on disk, or a view of some of their models and samples; reading is lazy.

    Models that were not finished (a killed or running ``predict``) do not count.

    Args:
        path: The file.
        labels: ``(sample,)`` the true classes.
        sample_ids: ``(sample,)`` the position of each sample in its split.
        classes: The number of classes.
        split: ``train`` or ``test``.
        data: The name of the data set.
        fingerprint: A hash of the samples of the whole split.
        dtype: The type on disk: ``float16``, ``float32`` or ``float64``.
        table: One row a model: ``key`` (unique), ``name``, and what else is known.
        stored: The file behind it.
        models: Which of the file's rows these models are.
        chosen: Which of the file's samples these are; None for all.
    """

    path: Path
    labels: NDArray[np.int64]
    sample_ids: NDArray[np.int64]
    classes: int
    split: str
    data: str
    fingerprint: str
    dtype: str
    table: Table
    stored: Stored
    models: NDArray[np.int64]
    chosen: NDArray[np.int64] | None = None

    @classmethod
    def open(cls, path: Path) -> "Predictions":
        """Read everything but the predictions themselves. Cost: O(models + samples).

        Raises:
            DataError: If the file is missing, no HDF5, of another kind, of a newer version, damaged, or holds no
                finished model.
        """
        stored = load(Path(path))
        models = np.flatnonzero(stored.finished).astype(np.int64)
        if not len(models):
            raise DataError(f"{path} holds no finished model yet", "give the 'landscape predict' that began it again")
        what = stored.description
        return cls(
            path=Path(path),
            labels=stored.labels,
            sample_ids=stored.sample_ids,
            classes=int(what["classes"]),
            split=str(what["split"]),
            data=str(what["data"]),
            fingerprint=str(what["fingerprint"]),
            dtype=stored.dtype.name,
            table=stored.table.take(models),
            stored=stored,
            models=models,
        )

    def __len__(self) -> int:
        return len(self.models)

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.labels)

    @property
    def description(self) -> dict[str, Any]:
        """What the file says of itself: split, data, fingerprint, sampling, precision."""
        return self.stored.description

    @property
    def float16_error(self) -> dict[str, float] | None:
        """The largest errors that rounding to float16 made in these models; None for other types.

        ``log_prob`` (nats, over entries that were not clipped), ``probability``, and how many entries were
        ``clipped`` at −65504; before the renormalisation that reading does.
        """
        if self.stored.rounding is None:
            return None
        return rounding_summary(self.stored.rounding[self.models])

    def read(self, models: Selection = None, samples: Selection = None) -> NDArray[np.float32 | np.float64]:
        """Log-probabilities of some models on some samples.

        What is stored in float16 is renormalised, so that ``log Σ_c p(c) = 0`` to the precision of float32.

        Args:
            models: Which, as positions in this view; None for all.
            samples: Likewise.

        Returns:
            ``(model, sample, class)`` in nats, float32 (float64 if stored so). Cost: one read a model of the span of
            its samples; memory for the result, and for one model if the samples are no block.

        Raises:
            DataError: If the file is cut off.
            StorageError: If it was replaced since it was opened.
        """
        rows = _indices(models, len(self))
        rows = self.models[rows]
        columns = _indices(samples, self.samples)
        columns = columns if self.chosen is None else self.chosen[columns]
        kind = np.float64 if self.dtype == "float64" else np.float32
        out = np.empty((len(rows), len(columns), self.classes), dtype=kind)
        if out.size:
            self._fill(out, rows, columns)
        return out

    def _fill(self, out: NDArray[np.float32 | np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        first, last = int(columns.min()), int(columns.max())
        block = last - first + 1 == len(columns) and bool((np.diff(columns) == 1).all())
        direct = block and out.dtype == self.stored.dtype
        with StoredRows(self.stored) as source:
            for number, row in enumerate(rows.tolist()):
                if direct:
                    source.read(row, first, out[number])
                    continue
                raw = np.empty((last - first + 1, self.classes), dtype=self.stored.dtype)
                source.read(row, first, raw)
                out[number] = raw if block else raw[columns - first]
                if self.stored.dtype == np.float16:
                    _renormalize(out[number])

    def select(self, index: NDArray[np.int64]) -> "Predictions":
        """Some of the models, in the order given."""
        index = _indices(np.asarray(index), len(self))
        return replace(self, models=self.models[index], table=self.table.take(index))

    def select_samples(self, index: NDArray[np.int64]) -> "Predictions":
        """Some of the samples, in the order given."""
        index = _indices(np.asarray(index), self.samples)
        return replace(
            self,
            labels=self.labels[index],
            sample_ids=self.sample_ids[index],
            chosen=index if self.chosen is None else self.chosen[index],
        )

    def where(self, expression: str | None) -> "Predictions":
        """The models that fulfil a condition on their table; see :meth:`landscape_cli.store.tables.Table.where`.

        Raises:
            UsageError: If none does, or it is no condition.
        """
        if expression is None:
            return self
        index = np.flatnonzero(self.table.where(expression))
        if not len(index):
            raise UsageError(
                f"no model of {self.path} fulfils: {expression}",
                "its columns are " + ", ".join(self.table.columns),
            )
        return self.select(index)

    def same_samples(self, other: "Predictions") -> None:
        """Make sure that two files hold predictions on the same samples in the same order.

        Raises:
            DataError: If not; the first difference is named.
        """
        difference = None
        if self.samples != other.samples:
            difference = f"{self.samples} samples and {other.samples}"
        elif self.classes != other.classes:
            difference = f"{self.classes} classes and {other.classes}"
        elif len(at := np.flatnonzero(self.sample_ids != other.sample_ids)):
            one, two = self.sample_ids[at[0]], other.sample_ids[at[0]]
            difference = f"sample {at[0]} is number {one} of its split in one and number {two} in the other"
        elif len(at := np.flatnonzero(self.labels != other.labels)):
            difference = f"sample {at[0]} has label {self.labels[at[0]]} and {other.labels[at[0]]}"
        elif self.split != other.split:
            difference = f"one is of the {self.split} split, the other of the {other.split} split"
        if difference is not None:
            raise DataError(
                f"{self.path} and {other.path} are predictions on different samples: {difference}",
                "compare predictions on one data set, with one --split and the same --samples and --seed",
            )

    def identity(self) -> dict[str, Any]:
        """What these predictions are, as JSON: changes with the models, their order, the samples and the values."""
        keys = hashlib.sha256("\0".join(self.table.column("key")).encode()).hexdigest()[:32]
        samples = hashlib.sha256(np.stack([self.sample_ids, self.labels]).astype("<i8").tobytes()).hexdigest()[:32]
        return {
            "models": len(self),
            "keys": keys,
            "samples": self.samples,
            "sample_hash": samples,
            "classes": self.classes,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "dtype": self.dtype,
        }


def _indices(index: Selection, count: int) -> NDArray[np.int64]:
    """Positions of a selection among ``count``."""
    if index is None or isinstance(index, slice):
        return np.arange(count, dtype=np.int64)[index if index is not None else slice(None)]
    if index.dtype == bool:
        return np.flatnonzero(index).astype(np.int64)
    return np.arange(count, dtype=np.int64)[index]  # checks the bounds, and counts negative ones from the end


def _renormalize(log_probs: NDArray[Any]) -> None:
    """Subtract the log of the sum over classes, in place. Cost: one exponential an entry.

    What was a normalised prediction before rounding has a sum near one: nothing can overflow or vanish. The product
    with ones is the sum over the short last axis, several times as fast.
    """
    sums = np.exp(log_probs) @ np.ones(log_probs.shape[-1], dtype=log_probs.dtype)
    log_probs -= np.log(sums)[..., None]
