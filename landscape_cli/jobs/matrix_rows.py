"""A distance matrix on disk as the blocks of rows that an embedding reads."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.compute.predictions.operators import BLOCK_BYTES, block_rows
from landscape_cli.errors import DataError
from landscape_cli.store.matrices import Matrix

Index = NDArray[np.int64]


class MatrixRows:
    """The rows of a matrix on disk, or some of them, on a device.

    Args:
        matrix: The matrix.
        rows: Which rows, in which order; None for all.
        cols: Which columns; None for all.
        device: Where products with it are computed.
        block_bytes: Size of a block in float64.

    Raises:
        DataError: If the matrix holds a distance that is no finite number, once it is read; the first pair is named.
    """

    def __init__(
        self,
        matrix: Matrix,
        rows: Index | None = None,
        cols: Index | None = None,
        *,
        device: torch.device | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self.matrix = matrix
        self.rows = rows
        self.cols = cols
        self._device = device or torch.device("cpu")
        self._step = block_rows(len(matrix.cols) if cols is None else len(cols), block_bytes)
        self._checked = False

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.matrix.rows) if self.rows is None else len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where the blocks lie."""
        return self._device

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The rows, block by block."""
        for start, block in self.arrays():
            yield start, torch.from_numpy(block).to(self._device)

    def arrays(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """The rows, block by block, as arrays; checked the first time."""
        for start, block in self._read():
            if not self._checked:
                self._refuse_infinite(start, block)
            yield start, block
        self._checked = True

    def _read(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        if self.rows is None and self.cols is None:
            yield from self.matrix.blocks(self._step)
            return
        for start in range(0, self.size, self._step):
            stop = min(start + self._step, self.size)
            taken = slice(start, stop) if self.rows is None else self.rows[start:stop]
            yield start, self.matrix.read(taken, self.cols)

    def _refuse_infinite(self, start: int, block: NDArray[np.float64]) -> None:
        if np.isfinite(block.sum()) or not len(bad := np.argwhere(~np.isfinite(block))):
            return
        row, column = (int(n) for n in bad[0])
        value = block[row, column]
        row += start
        matrix = self.matrix
        names = (
            matrix.rows.column("name")[row if self.rows is None else self.rows[row]],
            matrix.cols.column("name")[column if self.cols is None else self.cols[column]],
        )
        if not np.isposinf(value):
            raise DataError(
                f"{matrix.path}: the distance of {names[0]} and {names[1]} is {value}",
                "leave one of them out (--where): two trajectories that share no progress have no distance",
            )
        out = "leave the truth out (--no-truth)" if "truth" in names else "leave one of them out (--where)"
        raise DataError(
            f"{names[0]} and {names[1]} are infinitely far apart ({matrix.distance}): an embedding needs finite "
            "distances",
            f"{out}, or take larger distances as X: landscape distances … --cap X, which is recorded",
        )
