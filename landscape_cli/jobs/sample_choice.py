"""Which samples of a split are predicted: all, a seeded subset, or the ones a person lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.transforms import balanced_index
from landscape_cli.errors import DataError


@dataclass(frozen=True)
class SampleChoice:
    """Which samples of a split.

    Args:
        samples: So many, with the split's class proportions; None for all.
        seed: Of the choice.
        ids: A file of positions in the split, one a line, or ``.npy``; instead of ``samples``.
    """

    samples: int | None = None
    seed: int = 0
    ids: Path | None = None

    def index(self, labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
        """The positions of the samples in their split: ascending, or as the file has them.

        Raises:
            DataError: If more are asked for than there are, or the file is damaged or does not fit.
        """
        if self.ids is not None:
            return read_ids(self.ids, len(labels))
        if self.samples is None or self.samples == len(labels):
            return np.arange(len(labels), dtype=np.int64)
        return balanced_index(labels, self.samples, classes, self.seed).astype(np.int64)

    def describe(self, chosen: int, of: int) -> dict[str, Any]:
        """How the samples were chosen, as it stands in the file."""
        how: dict[str, Any] = {"samples": chosen, "of": of}
        if self.ids is not None:
            return how | {"how": "listed"}
        return how | ({"how": "all"} if chosen == of else {"how": "balanced subset", "seed": self.seed})


def read_ids(path: Path, count: int) -> NDArray[np.int64]:
    """Positions of samples from a file.

    Args:
        path: One whole number a line (empty lines are skipped), or an ``.npy`` array.
        count: The number of samples in the split.

    Raises:
        DataError: If the file is missing or damaged, or a number is no sample or comes twice.
    """
    ids = read_whole_numbers(path)
    if not len(ids):
        raise DataError(f"{path} names no sample")
    for wrong, why in ((ids < 0, "is below zero"), (ids >= count, f"is no sample: the split has {count}")):
        if wrong.any():
            raise DataError(f"{path}: {ids[wrong][0]} {why}")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{path}: sample {values[counts > 1][0]} comes twice")
    return ids


def read_whole_numbers(path: Path) -> NDArray[np.int64]:
    """One column of whole numbers: an ``.npy`` array, or text with one a line.

    Raises:
        DataError: If the file is missing or damaged, or holds anything else; the line is named.
    """
    try:
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
            return whole_numbers(array, str(path))
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    numbers = []
    for number, line in enumerate(lines, start=1):
        if text := line.strip():
            try:
                numbers.append(int(text))
            except ValueError:
                raise DataError(f"{path}: line {number} is no whole number: '{text}'") from None
    return np.asarray(numbers, dtype=np.int64)


def whole_numbers(array: NDArray[Any], what: str) -> NDArray[np.int64]:
    """An array of one axis as int64.

    Raises:
        DataError: If it has other axes, or holds anything but whole numbers.
    """
    array = np.asarray(array)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{what} has shape {array.shape}: one number a sample is needed")
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        raise DataError(f"{what} holds numbers that are not whole")
    if array.dtype.kind not in "iuf":
        raise DataError(f"{what} holds {array.dtype}, no whole numbers")
    return array.astype(np.int64)
