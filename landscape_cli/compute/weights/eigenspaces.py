"""How far two spaces of directions in weight space agree."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.errors import NetworkError


@dataclass(frozen=True)
class Overlap:
    """Of a space with another, in R^P.

    Args:
        share: ``‖U Vᵀ‖²_F / min(dim U, dim V)`` for orthonormal bases: 1 if the smaller space lies in the larger, 0 if
            they are orthogonal; the mean squared cosine of the principal angles.
        cosines: Of the principal angles, the largest first.
        each: For each vector of U, in its order, the share of its square that lies in V.
        expected: What a random space would have: ``max(dim U, dim V) / P``.
        dimensions: ``(dim U, dim V)``.
    """

    share: float
    cosines: list[float]
    each: list[float]
    expected: float
    dimensions: tuple[int, int]


def overlap(directions: Float[Tensor, "pair parameter"], others: Float[Tensor, "other parameter"]) -> Overlap:
    """The overlap of the span of eigenvectors with the span of other vectors (Gur-Ari et al. 2018; Fort et al. B.2).

    Args:
        directions: U, orthonormal rows: eigenvectors.
        others: Vectors whose span is V, of any length and angle: logit-gradient centroids. Dependent ones count once.

    Cost: ``(u + v) v P`` operations.

    Raises:
        NetworkError: If all of the other vectors are zero.
    """
    gram = _products(others, others)
    values, vectors = torch.linalg.eigh(gram)
    # A Gram matrix squares lengths: directions below 1e-5 of the longest in float32 are its rounding.
    kept = values > max(float(values.max()) * 1e-10, 0.0)
    if not bool(kept.any()):
        raise NetworkError("every logit-gradient centroid is zero: they span nothing")
    basis = vectors[:, kept] / values[kept].sqrt()
    between: Float64[Tensor, "pair rank"] = _products(directions, others) @ basis
    cosines = torch.linalg.svdvals(between).clamp(max=1.0)
    dimensions = (len(directions), int(kept.sum()))
    return Overlap(
        float((cosines**2).sum()) / min(dimensions),
        cosines.tolist(),
        (between**2).sum(1).clamp(max=1.0).tolist(),
        max(dimensions) / directions.shape[1],
        dimensions,
    )


def _products(one: Tensor, other: Tensor) -> Float64[Tensor, "one other"]:
    """All scalar products, summed in float64 by blocks."""
    exact = torch.float32 if one.device.type == "mps" else torch.float64
    total = torch.zeros(len(one), len(other), dtype=exact, device=one.device)
    for a, b in zip(torch.split(one, 1 << 20, dim=1), torch.split(other, 1 << 20, dim=1), strict=True):
        total += a.to(exact) @ b.to(exact).T
    return total.cpu().double()
