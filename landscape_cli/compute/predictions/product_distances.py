"""Distances that are sums over samples *and* classes: matrix products over flattened blocks, in float64.

Subtracting the same vector from every model changes none of these distances, and subtracting their mean leaves small
numbers to multiply where models are close: no digits are lost to cancellation that float64 cannot spare.
"""

from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.predictions.dense_distances import normalised

NUMBERS = 2_000_000
"""Numbers of all models together that are worked on at once, where that is more than one sample."""

ProductKind = Literal["skl", "hellinger", "euclidean"]


def product_sums(
    first: Float[Tensor, "model sample class"],
    second: Float[Tensor, "other sample class"] | None,
    *,
    kind: ProductKind,
) -> Float64[Tensor, "model other"]:
    """Sum over the samples of the squared Hellinger or Euclidean distance, or the symmetrised divergence, of all pairs.

    ``Σ_c (a_i − a_j)(b_i − b_j)`` with ``a = b = √p`` (Hellinger), ``a = b = p`` (Euclidean), ``a = p, b = log p``
    (sKL). Where one model gives a class no probability and the other some, sKL is +∞; where both give none, that
    class adds nothing. Cost: one matrix product of M·M'·N·C multiplications, two for sKL between two sets.
    """
    sides = [first] if second is None else [first, second]
    models = sum(len(side) for side in sides)
    total = torch.zeros(len(sides[0]), len(sides[-1]), dtype=torch.float64, device=first.device)
    step = max(1, NUMBERS // max(1, models * first.shape[2]))
    for n in range(0, first.shape[1], step):
        logs = torch.cat([side[:, n : n + step] for side in sides])
        total += _block(normalised(logs).flatten(1), len(first), second is not None, kind)
    if second is None:
        total.fill_diagonal_(0)
    return total.clamp_(min=0)


def _block(
    logs: Float64[Tensor, "model entry"], split: int, two_sides: bool, kind: ProductKind
) -> Float64[Tensor, "row col"]:
    rows, cols = (slice(0, split), slice(split, None)) if two_sides else (slice(None), slice(None))
    values = (logs / 2).exp() if kind == "hellinger" else logs.exp()
    values -= values.mean(0)
    if kind != "skl":
        lengths = values.square().sum(1)
        products = values[rows] @ values[cols].T
        return (lengths[rows, None] + lengths[None, cols]) - (products + (products if two_sides else products.T))
    none = logs == -torch.inf
    present = torch.where(none, 0, logs)
    centred = torch.where(none, 0, logs - present.sum(0) / (~none).sum(0).clamp(min=1))
    own = (values * centred).sum(1)
    products = values[rows] @ centred[cols].T
    back = centred[rows] @ values[cols].T if two_sides else products.T
    sums = (own[rows, None] + own[None, cols]) - (products + back)
    mixed = none.any(0) & ~none.all(0)
    if mixed.any():
        zero = none[:, mixed].double()
        apart = zero[rows] @ (1 - zero[cols]).T + (1 - zero[rows]) @ zero[cols].T
        sums[apart > 0.5] = torch.inf
    return sums


def product_memory(models: int, others: int, samples: int, classes: int) -> int:
    """The most bytes :func:`product_sums` holds beside its arguments and its result; 0 others: models alone."""
    entries = min(samples, max(1, NUMBERS // max(1, (models + others) * classes))) * classes
    return 8 * (7 * (models + others) * entries + 6 * models * (others or models))
