"""Distance matrices read by blocks of rows, and InPCA's centred matrix as products with them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.errors import DataError

BLOCK_BYTES = 1 << 25  # of float64 rows at a time
SYMMETRY = 1e-5  # of the largest row mean: rows and columns of a symmetric matrix have equal sums


@runtime_checkable
class RowBlocks(Protocol):
    """A matrix of distances that gives blocks of whole rows, in order; symmetric where it is to be embedded."""

    @property
    def size(self) -> int:
        """The number of rows."""

    @property
    def device(self) -> torch.device:
        """Where the blocks lie, and where products with them are computed."""

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Read the matrix once: the number of a block's first row, and its rows, whole."""


class DenseRows:
    """A matrix in memory as blocks of its rows.

    Args:
        distances: The matrix.
        rows: Rows of a block; by default as many as 32 MiB hold.
    """

    def __init__(self, distances: Float[Tensor, "model column"], rows: int | None = None) -> None:
        self.distances = distances
        self.rows = rows or block_rows(distances.shape[1])

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.distances)

    @property
    def device(self) -> torch.device:
        """Where the matrix lies."""
        return self.distances.device

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The rows, block by block."""
        for start in range(0, self.size, self.rows):
            yield start, self.distances[start : start + self.rows]


def block_rows(columns: int, size: int = BLOCK_BYTES) -> int:
    """How many rows of float64 a block of ``size`` bytes holds; one at least.

    >>> block_rows(1 << 20), block_rows(1 << 30)
    (4, 1)
    """
    return max(1, size // (8 * max(columns, 1)))


@dataclass(frozen=True, eq=False)
class Moments:
    """What one pass over D gives beside a product. With weights m_i, ``p = m / Σm``.

    Args:
        row_means: ``μ = D p``.
        mean: ``m̄ = pᵀ D p``.
        norm: ``‖W‖_F``, for weights ``‖m^½ W m^½‖_F``.
        trace: ``tr W``, for weights ``Σ m_i W_ii``.
    """

    row_means: Float64[Tensor, " model"]
    mean: float
    norm: float
    trace: float


class Centred:
    """``W = −½ L D Lᵀ`` with ``L = I − 1pᵀ`` as a product with vectors; W itself is never formed.

    ``W x = −½ (D x − μ (1·x) − 1 (μ·x) + m̄ 1 (1·x))`` (Mao et al. 2023, Eq. 6; weighted: appendix C.3). The first
    product finds the moments as well, so that nothing needs a pass of its own:
    ``‖m^½ W m^½‖_F² = ¼ (Σm)² (pᵀ D∘D p − 2 Σ p_i μ_i² + m̄²)`` and ``tr = ½ Σm (m̄ − Σ p_i D_ii)``.

    Args:
        source: The distances D.
        weights: The multiplicities m, none negative; a model of weight zero takes no part in W but has its row.

    Raises:
        DataError: If weights are negative, not finite or all zero. A product raises it if D holds what is no finite
            number (the first such pair is named), is not symmetric, or lacks rows.
    """

    def __init__(self, source: RowBlocks, weights: Float64[Tensor, " model"] | None = None) -> None:
        self.source = source
        given = torch.ones(source.size, dtype=torch.float64) if weights is None else weights
        if not bool(torch.isfinite(given).all()) or bool((given < 0).any()) or not float(given.sum()) > 0:
            raise DataError("weights must be finite, none below zero, and not all zero")
        self.weights = given.to(source.device)
        self.root = self.weights.sqrt()
        self.total = float(self.weights.sum())
        self.passes = 0
        self._moments: Moments | None = None

    @property
    def moments(self) -> Moments:
        """Row means, mean, norm and trace; there after the first product."""
        if self._moments is None:
            raise ValueError("the moments are known after the first product")
        return self._moments

    def product(self, vectors: Float64[Tensor, "model column"]) -> Float64[Tensor, "model column"]:
        """``W m^½ X`` for the columns X.

        Multiplied by ``m^½`` from the left it is the symmetric form ``m^½ W m^½ X``; without, it has a value for models
        of weight zero too. Cost: one pass over D, ``2 M² columns`` operations.
        """
        scaled = self.root[:, None] * vectors
        out = torch.empty_like(scaled)
        gathered = _Gathering(self) if self._moments is None else None
        done = 0
        for start, block in self.source.blocks():
            if start != done or block.shape[1] != self.source.size:
                raise DataError(f"the distance matrix lacks rows from {done} on", "compute the distances again")
            rows = block.to(self.source.device, torch.float64)
            done += len(rows)
            torch.matmul(rows, scaled, out=out[start:done])
            if gathered is not None:
                gathered.add(start, rows)
        if done != self.source.size:
            raise DataError(f"the distance matrix ends at row {done} of {self.source.size}", "compute it again")
        self.passes += 1
        if gathered is not None:
            self._moments = gathered.moments()
        sums, along = scaled.sum(dim=0), self.moments.row_means @ scaled
        out -= self.moments.row_means[:, None] * sums
        out += self.moments.mean * sums - along
        return out.mul_(-0.5)


class _Gathering:
    """Sums over D, gathered while its blocks pass."""

    def __init__(self, owner: Centred) -> None:
        self.total = owner.total
        self.share = owner.weights / owner.total
        self.rows = torch.zeros_like(self.share)
        self.columns = torch.zeros_like(self.share)
        self.squares = 0.0
        self.diagonal = 0.0

    def add(self, start: int, rows: Float64[Tensor, "row model"]) -> None:
        stop = start + len(rows)
        share = self.share[start:stop]
        self.rows[start:stop] = rows @ self.share
        self.columns += share @ rows
        self.squares += float(share @ (rows.square() @ self.share))
        self.diagonal += float(share @ rows[:, start:stop].diagonal())
        if not (math.isfinite(self.squares) and bool(torch.isfinite(self.rows[start:stop]).all())):
            _name_bad_pair(start, rows)

    def moments(self) -> Moments:
        level = float(self.rows.abs().max())
        if float((self.rows - self.columns).abs().max()) > SYMMETRY * level:
            raise DataError("the distance matrix is not symmetric", "InPCA needs the distances of one set of models")
        mean = float(self.share @ self.rows)
        square = self.squares - 2 * float(self.share @ self.rows.square()) + mean * mean
        return Moments(
            row_means=self.rows,
            mean=mean,
            norm=0.5 * self.total * math.sqrt(max(square, 0.0)),
            trace=0.5 * self.total * (mean - self.diagonal),
        )


def _name_bad_pair(start: int, rows: Float64[Tensor, "row model"]) -> None:
    bad = (~torch.isfinite(rows)).nonzero()
    if len(bad) == 0:
        raise DataError("the distances are too large to be squared", "they are beyond 1e150")
    row, column = bad[0].tolist()
    raise DataError(
        f"the distance of models {start + row} and {column} (counted from 0) is {float(rows[row, column])}",
        "leave one of them out, or cap the distances",
    )
