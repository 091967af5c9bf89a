"""How well the coordinates of an embedding give the distances back (Mao et al. 2023, Eq. 12)."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.compute.predictions.operators import RowBlocks, block_rows

STEP_BYTES = 1 << 20  # of a block at a time: it stays in the processor's cache
COMPILED_PAIRS = 4_000_000  # from here on the compiled loop is worth the second that it takes to load


def explained_pairwise(
    source: RowBlocks,
    coordinates: Float64[Tensor, "model dim"],
    signature: Float64[Tensor, " dim"],
    weights: Float64[Tensor, " model"] | None = None,
    *,
    columns: Float64[Tensor, "column dim"] | None = None,
    column_weights: Float64[Tensor, " column"] | None = None,
) -> tuple[Float64[Tensor, " dim"], Float64[Tensor, " dim"]]:
    """Explained pairwise distances in the first m dimensions, for every m, in two norms.

    With ``D^m_ij = Σ_{k≤m} sign_k (X_ik − X_jk)²``: L1 is ``1 − Σ|D − D^m| / Σ|D|``, L2
    ``1 − √(Σ(D − D^m)² / ΣD²)`` (Eq. 12), sums over all pairs, a pair weighing ``m_i m_j``. Both are 1 where all
    distances are zero. They may be negative: a poor embedding is worse than none.

    Args:
        source: The distances D.
        coordinates: X of the rows.
        signature: +1, −1 or 0 a dimension.
        weights: Multiplicities of the rows; by default all 1.
        columns: X of the columns, where they are other models than the rows.
        column_weights: Their multiplicities; by default all 1.

    Returns:
        L1 and L2, a value for each m from 1 to the number of dimensions.

    Cost: one pass over D, about ``6 M²`` operations a dimension; for many models on a CPU in compiled code.
    """
    where = source.device
    x, m = _prepared(coordinates, weights, where)
    y, n = (x, m) if columns is None else _prepared(columns, column_weights, where)
    errors = torch.zeros(2, len(x) + 1, dtype=torch.float64, device=where)  # of m = 0 dimensions too: that is D
    many = source.size * y.shape[1] >= COMPILED_PAIRS
    compiled = _compiled() if many and where.type == "cpu" else None
    for start, block in source.blocks():
        rows = slice(start, start + len(block))
        if compiled is not None:
            parts = (block.to(torch.float64), x[:, rows], y, signature, m[rows], n)
            errors += torch.from_numpy(compiled(*(part.numpy() for part in parts)))
        else:
            _add_errors(errors, block, x[:, rows], y, signature.tolist(), m[rows], n)
    l1, l2 = errors[0].cpu(), errors[1].cpu().sqrt()
    return _share(l1), _share(l2)


def _prepared(
    coordinates: Float64[Tensor, "model dim"], weights: Float64[Tensor, " model"] | None, where: torch.device
) -> tuple[Float64[Tensor, "dim model"], Float64[Tensor, " model"]]:
    ones = torch.ones(len(coordinates), dtype=torch.float64) if weights is None else weights
    return coordinates.to(where).T.contiguous(), ones.to(where)


def _compiled() -> Callable[..., NDArray[np.float64]] | None:
    """The compiled loop; None where numba is not to be had (it follows a new Python some months later)."""
    try:
        from landscape_cli.compute.predictions.explained_kernel import block_errors
    except ImportError:
        return None
    return block_errors


def _add_errors(
    errors: Float64[Tensor, "two dims"],
    block: Float[Tensor, "row column"],
    own: Float64[Tensor, "dim row"],
    others: Float64[Tensor, "dim column"],
    signs: list[float],
    own_weights: Float64[Tensor, " row"],
    weights: Float64[Tensor, " column"],
) -> None:
    """The same for any device, as products of rank 3: ``(x_i − x_j)² = x_i² + x_j² − 2 x_i x_j``."""
    step = block_rows(len(weights), STEP_BYTES if block.is_cpu else 1 << 28)
    for first in range(0, len(block), step):
        left = block[first : first + step].to(torch.float64, copy=True)
        here = slice(first, first + len(left))
        for k in range(len(signs) + 1):
            if k:
                x, y = own[k - 1, here], others[k - 1]
                a = torch.stack((x.square(), torch.ones_like(x), x), dim=1)
                b = torch.stack((torch.ones_like(y), y.square(), -2 * y))
                left.addmm_(a, b, alpha=-signs[k - 1])
            errors[0, k] += own_weights[here] @ (left.abs() @ weights)
            errors[1, k] += own_weights[here] @ (left.square() @ weights)


def _share(errors: Float64[Tensor, " dims"]) -> Float64[Tensor, " dim"]:
    return torch.ones_like(errors[1:]) if float(errors[0]) == 0 else 1 - errors[1:] / errors[0]
