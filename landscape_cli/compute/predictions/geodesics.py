"""Shortest paths between two models in the product of spheres (Mao et al. 2023, Eq. 3)."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.predictions.dense_distances import normalised
from landscape_cli.errors import DataError, UsageError


def geodesic(
    first: Float[Tensor, "sample class"], last: Float[Tensor, "sample class"], times: Float[Tensor, " time"]
) -> Float64[Tensor, "time sample class"]:
    """Log-probabilities of the models at ``times`` on the geodesic from ``first`` (0) to ``last`` (1).

    ``√P^λ = [sin((1−λ)d) √P + sin(λd) √Q] / sin d`` per sample, with ``d = 2 arcsin(‖√P − √Q‖/2)`` in float64, so
    that nearly equal ends lose no digits; the sum is taken over logarithms, so that no probability is too small. At
    λ = 0 and 1 the ends themselves come back. Cost and memory: T·N·C in float64.

    Args:
        first: Log-probabilities of the model at time 0.
        last: Log-probabilities of the model at time 1.
        times: λ, from 0 to 1.

    Raises:
        DataError: If a sample of an end is no distribution.
        UsageError: If a time lies outside [0, 1].

    >>> ends = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).double().log()
    >>> geodesic(ends[:1], ends[1:], torch.tensor([0.5])).exp().round(decimals=4)
    tensor([[[0.8536, 0.1464]]], dtype=torch.float64)
    """
    logs = [normalised(end[None])[0] for end in (first, last)]
    place = times.to(device=logs[0].device, dtype=torch.float64)
    if not bool(((place >= 0) & (place <= 1)).all()):
        raise UsageError("a point of a geodesic has a time from 0 (its first model) to 1 (its last)")
    for end, log in zip(("first", "last"), logs, strict=True):
        if log.isnan().any():
            sample = int(log.isnan().any(1).nonzero()[0])
            raise DataError(f"the {end} model of the geodesic gives sample {sample} no distribution")
    roots = [(log / 2).exp() for log in logs]
    angle = 2 * torch.asin(((roots[0] - roots[1]).norm(dim=1) / 2).clamp(max=math.sqrt(0.5)))
    # sin(λd)/sin d tends to λ where the ends meet.
    apart = angle > 1e-150
    sine = torch.where(apart, torch.sin(angle), 1)
    back, forth = (
        torch.where(apart, torch.sin(part[:, None] * angle) / sine, part[:, None]).log()[:, :, None] + log / 2
        for part, log in zip((1 - place, place), logs, strict=True)
    )
    result = normalised(2 * torch.logaddexp(back, forth))
    result[place == 0], result[place == 1] = logs
    return result
