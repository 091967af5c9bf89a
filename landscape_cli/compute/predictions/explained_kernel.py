"""The compiled loop behind :func:`landscape_cli.compute.predictions.explained.explained_pairwise` on a CPU."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, no_type_check

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

CHUNK = 512  # columns at a time: they and their errors stay in the first cache


@no_type_check
def _add_errors(block, own, others, signs, own_weights, weights, errors):
    rows, models = block.shape
    left = np.empty(CHUNK)
    for i in range(rows):
        for first in range(0, models, CHUNK):
            width = min(CHUNK, models - first)
            for j in range(width):
                left[j] = block[i, first + j]
            for k in range(len(signs) + 1):
                if k > 0:
                    here, sign = own[k - 1, i], signs[k - 1]
                    for j in range(width):
                        off = here - others[k - 1, first + j]
                        left[j] -= sign * off * off
                total = 0.0
                square = 0.0
                for j in range(width):
                    weighted = weights[first + j] * abs(left[j])
                    total += weighted
                    square += weighted * abs(left[j])
                errors[0, k] += own_weights[i] * total
                errors[1, k] += own_weights[i] * square


def _compile() -> Any:
    # Sums may be taken in any order (that is what makes them vectors); NaN and infinities keep their meaning.
    how: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}, "nogil": True}
    try:
        return njit(cache=True, **how)(_add_errors)
    except RuntimeError:  # there is no directory where the machine code could be kept
        return njit(**how)(_add_errors)


_compiled = _compile()


def block_errors(
    block: NDArray[np.float64],
    own: NDArray[np.float64],
    others: NDArray[np.float64],
    signs: NDArray[np.float64],
    own_weights: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weighted sums of ``|D − D^m|`` and ``(D − D^m)²`` over a block, for m = 0 … k.

    Args:
        block: Rows of D.
        own: Coordinates of the rows, ``(dim, row)``.
        others: Coordinates of the columns, ``(dim, column)``.
        signs: +1, −1 or 0 a dimension.
        own_weights: Multiplicities of the rows.
        weights: Multiplicities of the columns.

    Returns:
        ``(2, k + 1)``.
    """
    parts = min(torch.get_num_threads(), len(block))
    found = np.zeros((parts, 2, len(signs) + 1))
    others = np.ascontiguousarray(others)

    def work(part: int) -> None:
        rows = slice(part * len(block) // parts, (part + 1) * len(block) // parts)
        inside = np.ascontiguousarray(block[rows]), np.ascontiguousarray(own[:, rows])
        arguments = (*inside, others, signs, own_weights[rows], weights, found[part])
        try:
            _compiled(*arguments)
        except OSError:  # keeping the machine code failed (a full disk), before anything was computed
            _compiled(*arguments)

    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, range(parts)))
    return np.asarray(found.sum(axis=0))
