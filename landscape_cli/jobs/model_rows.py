"""The rows of a matrix over predictions: models of a file, then reference models; read by blocks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.compute.predictions.class_projection import project_classes
from landscape_cli.compute.predictions.geodesics import geodesic
from landscape_cli.compute.predictions.references import ignorance, truth
from landscape_cli.compute.streams import stream
from landscape_cli.errors import DataError, UsageError
from landscape_cli.store.matrices import REFERENCE, row_name
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

PIECE_BYTES = 1 << 21  # read from the file at a time
TEXT_BYTES = 80  # a text in a table
READERS = 8  # threads that read at once, at most


@dataclass(frozen=True)
class References:
    """Which reference models go with the models.

    Args:
        ignorance: Every class alike.
        geodesic: K points between ignorance and truth, at λ = 1/(K+1) … K/(K+1); None for none.
        truth: All mass on the label.
        smoothing: The truth, and the geodesic's end, put 1−ε on the label and spread ε over the other classes.
    """

    ignorance: bool = False
    geodesic: int | None = None
    truth: bool = False
    smoothing: float = 0.0

    def __len__(self) -> int:
        return self.ignorance + (self.geodesic or 0) + self.truth

    @property
    def times(self) -> list[float]:
        """The geodesic's λ."""
        count = self.geodesic or 0
        return [k / (count + 1) for k in range(1, count + 1)]

    def table(self) -> Table:
        """One row a reference model: ignorance, geodesic points, truth."""
        rows: list[dict[str, Any]] = []
        if self.ignorance:
            rows.append({"key": "reference/ignorance", "name": "ignorance", REFERENCE: "ignorance"})
        for time in self.times:
            rows.append({"key": f"reference/geodesic/{time!r}", "name": f"geodesic {time:.4g}", REFERENCE: "geodesic"})
            rows[-1]["progress"] = time
        if self.truth:
            rows.append({"key": "reference/truth", "name": "truth", REFERENCE: "truth"})
        return Table.from_rows(rows)

    def levels(self, classes: int) -> Tensor:
        """Log-probability of each reference on the label and on any other class: ``(reference, 2)``, float64."""
        label = torch.zeros(1, dtype=torch.int64)
        start, end = ignorance(1, classes), truth(label, classes, smoothing=self.smoothing)
        found = [start[None]] if self.ignorance else []
        if self.times:
            found.append(geodesic(start, end, torch.tensor(self.times, dtype=torch.float64)))
        if self.truth:
            found.append(end[None])
        return torch.cat(found)[:, 0, :2] if found else torch.empty(0, 2, dtype=torch.float64)


class ModelRows:
    """Models of a file and reference models as rows of log-probabilities.

    Args:
        predictions: The models.
        references: The reference models after them.
        projection: A column-stochastic matrix ``(outcome, class)`` that every row is seen through; None for none.
        device: Where blocks go.
        dtype: float32 or float64; None for that of the file (float16 is read as float32).
    """

    def __init__(
        self,
        predictions: Predictions,
        references: References | None = None,
        *,
        projection: Tensor | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_labels(predictions)
        self.predictions = predictions
        self.references = references or References()
        self.projection = projection
        self.device = device or torch.device("cpu")
        self.dtype = dtype or (torch.float64 if predictions.dtype == "float64" else torch.float32)
        self.classes = predictions.classes if projection is None else len(projection)
        self._levels = self.references.levels(predictions.classes).to(self.dtype)

    def __len__(self) -> int:
        return len(self.predictions) + len(self.references)

    def table(self) -> Table:
        """One row a model, one a reference; the column ``reference`` tells them apart."""
        known = {name: column for name, column in self.predictions.table.columns.items() if name != REFERENCE}
        blank = np.full(len(self.predictions), "", dtype=object)
        models = Table({**known, REFERENCE: blank})
        return Table.stacked([models, self.references.table()]) if len(self.references) else models

    def overhead(self) -> int:
        """About the bytes that its table takes (as it was read, and with the references) and that reading takes."""
        columns = self.predictions.table.columns.values()
        table = sum(2 * c.nbytes + (TEXT_BYTES * len(c) if c.dtype == object else 0) for c in columns)
        return table + min(READERS, torch.get_num_threads()) * (2 if self.projection is None else 4) * PIECE_BYTES

    def read(self, rows: slice, samples: slice, buffer: Tensor | None = None) -> Tensor:
        """Log-probabilities of some rows on some samples: ``(row, sample, class)`` on the device.

        Args:
            rows: Which rows.
            samples: Which samples.
            buffer: A flat tensor on the CPU, of the rows' type and large enough, that the result is a view of (unless
                the device is another); None for memory of its own.

        Memory: the result, and for each of up to ``READERS`` threads about ``PIECE_BYTES`` (or one sample of one
        model) while it is filled.
        """
        count = samples.stop - samples.start
        size = (rows.stop - rows.start) * count * self.classes
        if buffer is None:
            buffer = torch.empty(size, dtype=self.dtype, pin_memory=self.device.type == "cuda")
        out = buffer[:size].view(-1, count, self.classes)
        target, last = out.numpy(), min(rows.stop, len(self.predictions))
        across = min(count, self._samples_a_piece(samples))
        down = max(1, self._samples_a_piece(samples) // across)

        def fill(start: int, first: int) -> None:
            models, part = slice(start, min(start + down, last)), slice(first, min(first + across, samples.stop))
            piece = torch.from_numpy(self.predictions.read(models, part))
            rows_there = slice(models.start - rows.start, models.stop - rows.start)
            target[rows_there, part.start - samples.start : part.stop - samples.start] = self._seen(piece)

        pieces = [(m, s) for m in range(rows.start, last, down) for s in range(samples.start, samples.stop, across)]
        threads = min(READERS, torch.get_num_threads(), len(pieces))
        if threads < 2:
            for piece in pieces:
                fill(*piece)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda piece: fill(*piece), pieces))
        for row in range(max(rows.start, len(self.predictions)), rows.stop):
            for first in range(samples.start, samples.stop, across):
                part = slice(first, min(first + across, samples.stop))
                place = slice(part.start - samples.start, part.stop - samples.start)
                target[row - rows.start, place] = self._seen(self._reference(row - len(self.predictions), part))[0]
        return out.to(self.device, non_blocking=True)

    def blame(self, block: Tensor, row: int, sample: int, error: DataError) -> None:
        """Name the model of a block that gives a sample no distribution, if one does.

        Args:
            block: Log-probabilities ``(row, sample, class)``.
            row: The row that it begins with.
            sample: The sample that it begins with.
            error: What a computation on the block said.

        Raises:
            DataError: If a model does.
        """
        broken = (~block.double().logsumexp(2).isfinite()).nonzero()
        if len(broken):
            name = row_name(self.table(), row + int(broken[0, 0]))
            number = self.predictions.sample_ids[sample + int(broken[0, 1])]
            raise DataError(
                f"{self.predictions.path}: what {name} predicts for sample {number} is no distribution: NaN, +∞, or "
                "−∞ for every class",
                error.hint,
            ) from error

    def _reference(self, number: int, samples: slice) -> Tensor:
        labels = torch.from_numpy(self.predictions.labels[samples])
        label, other = self._levels[number].tolist()
        piece = torch.full((1, len(labels), self.predictions.classes), other, dtype=self.dtype)
        return piece.scatter_(2, labels[None, :, None], label)

    def _samples_a_piece(self, samples: slice) -> int:
        """Samples of one model that fill a piece; a scattered subset is read with what lies between."""
        chosen = self.predictions.chosen
        spread = 1.0
        if chosen is not None:
            inside = chosen[samples]
            spread = (int(inside.max()) - int(inside.min()) + 1) / len(inside)
        return max(1, int(PIECE_BYTES / (self.predictions.classes * self.dtype.itemsize * spread)))

    def _seen(self, piece: Tensor) -> NDArray[Any]:
        seen: NDArray[Any] = (piece if self.projection is None else project_classes(piece, self.projection)).numpy()
        return seen


def check_labels(predictions: Predictions) -> None:
    """See that every label is one of the classes.

    Raises:
        DataError: If one is not; the first is named.
    """
    wrong = np.flatnonzero((predictions.labels < 0) | (predictions.labels >= predictions.classes))
    if len(wrong):
        raise DataError(
            f"{predictions.path}: sample {predictions.sample_ids[wrong[0]]} has label "
            f"{predictions.labels[wrong[0]]}, but the predictions are over {predictions.classes} classes"
        )


def open_models(path: Path, *, where: str | None = None, samples: int | None = None, seed: int = 0) -> Predictions:
    """Some models of a file, on all samples or on a random subset (without replacement, in the file's order).

    The subset depends on the seed and the number of samples only: files of the same samples get the same one.

    Raises:
        DataError: If the file is missing, damaged, or no predictions.
        UsageError: If no model is left, or there are fewer samples.
    """
    predictions = Predictions.open(path).where(where)
    if samples is None or samples == predictions.samples:
        return predictions
    if samples > predictions.samples:
        raise UsageError(f"{path} has {predictions.samples} samples, not {samples}", "leave --samples out for all")
    drawn = torch.randperm(predictions.samples, generator=stream("sample-subset", seed))[:samples]
    return predictions.select_samples(np.sort(drawn.numpy()))
