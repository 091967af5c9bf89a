"""How far models are from the geodesic between ignorance and truth, in the Bhattacharyya distance.

On the way from ignorance to truth, angle θ, the point ``√P^λ = [sin((1−λ)θ) s₀ + sin(λθ) s*] / sin θ`` has the affinity

    g_n(λ) = a_n cos λθ + b̃_n sin λθ,   b̃_n = (b_n − a_n cos θ) / sin θ,

to a model that has the affinity ``a_n`` to ignorance and ``b_n`` to the truth: those two numbers a sample are all that
is needed of it. ``−(1/N) Σ log g_n`` is convex in λ (log sin is concave), so it has one minimum.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

ROUNDS = 60  # bisection alone ends there; Newton's steps take about six
SETTLED = 1e-13
AT_A_TIME = 1 << 20  # affinities


@dataclass(frozen=True, eq=False)
class Deviation:
    """The distance of models from the geodesic.

    Args:
        nearest: ``min_λ d_B(P, P^λ)``; NaN where an affinity is.
        place: The λ where it lies.
        equal: ``d_B(P, P^λ)`` at the λ asked for.
    """

    nearest: Float64[Tensor, " model"]
    place: Float64[Tensor, " model"]
    equal: Float64[Tensor, " model"]


def truth_affinity(
    label: Float64[Tensor, "*model sample"], ignorance: Float64[Tensor, "*model sample"], classes: int, smoothing: float
) -> Float64[Tensor, "*model sample"]:
    """Affinity to a truth with 1−ε on the label and the rest spread, from ``√p(y)`` and the affinity to ignorance."""
    if smoothing == 0:
        return label
    spread = math.sqrt(smoothing / (classes - 1))
    return (math.sqrt(1 - smoothing) - spread) * label + spread * math.sqrt(classes) * ignorance


def deviation(
    ignorance: Float64[Tensor, "model sample"],
    truth: Float64[Tensor, "model sample"],
    at: Float64[Tensor, " model"],
    *,
    classes: int,
    smoothing: float = 0.0,
) -> Deviation:
    """Distances of models to the geodesic: to its nearest point, and to the point at a given λ.

    Args:
        ignorance: Affinities to ignorance.
        truth: Affinities to the truth, with the same label smoothing.
        at: The λ of :attr:`Deviation.equal`.
        classes: C.
        smoothing: ε of the truth.

    Returns:
        Float64, λ to 1e-12. Cost: about eight passes over the affinities.
    """
    spread = math.sqrt(smoothing / (classes - 1))
    cosine = (math.sqrt(1 - smoothing) + (classes - 1) * spread) / math.sqrt(classes)
    angle = math.acos(min(cosine, 1.0))
    rows = max(1, AT_A_TIME // max(1, ignorance.shape[-1]))
    found = []
    for start in range(0, len(at), rows):
        a, b, t = (given[start : start + rows] for given in (ignorance, truth, at))
        found.append(_deviation(a, (b - a * cosine) / math.sin(angle), t, angle))
    nearest, place, equal = (torch.cat(parts) for parts in zip(*found, strict=True)) if found else (at, at, at)
    return Deviation(nearest, place, equal)


def _deviation(
    first: Float64[Tensor, "model sample"],
    second: Float64[Tensor, "model sample"],
    at: Float64[Tensor, " model"],
    angle: float,
) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.zeros_like(at), torch.ones_like(at)
    # A minimum at an end is told there: the slope points outwards.
    low = torch.where(_slopes(first, second, high, angle)[0] <= 0, high, low)
    high = torch.where(_slopes(first, second, torch.zeros_like(at), angle)[0] >= 0, torch.zeros_like(at), high)
    place = torch.minimum(torch.maximum(torch.nan_to_num(at, nan=0.5), low), high)
    for _ in range(ROUNDS):
        slope, bend = _slopes(first, second, place, angle)
        low, high = torch.where(slope < 0, place, low), torch.where(slope > 0, place, high)
        newton = place - slope / bend
        inside = (newton > low) & (newton < high)
        moved = torch.where(inside, newton, (low + high) / 2)
        moved = torch.where((slope == 0) | (low >= high), place, moved)
        step, place = (moved - place).abs(), moved
        if not bool((step > SETTLED).any()):
            break
    found = tuple(_distance(first, second, where, angle) for where in (place, at))
    return found[0], torch.where(found[0].isnan(), math.nan, place), found[1]


def _affinity(
    first: Float64[Tensor, "model sample"],
    second: Float64[Tensor, "model sample"],
    place: Float64[Tensor, " model"],
    angle: float,
) -> Float64[Tensor, "model sample"]:
    turned = (place * angle)[:, None]
    return first * turned.cos() + second * turned.sin()


def _distance(
    first: Float64[Tensor, "model sample"],
    second: Float64[Tensor, "model sample"],
    place: Float64[Tensor, " model"],
    angle: float,
) -> Float64[Tensor, " model"]:
    # Rounding may leave an affinity of 0, to a sure wrong guess, a little below.
    return (-_affinity(first, second, place, angle).clamp(min=0).log().mean(dim=-1)).clamp(min=0)


def _slopes(
    first: Float64[Tensor, "model sample"],
    second: Float64[Tensor, "model sample"],
    place: Float64[Tensor, " model"],
    angle: float,
) -> tuple[Float64[Tensor, " model"], Float64[Tensor, " model"]]:
    """First and second derivative of ``−mean log g``: ``−θ mean q`` and ``θ² mean(1 + q²)``, ``q = g'/(θ g)``."""
    turned = (place * angle)[:, None]
    cosine, sine = turned.cos(), turned.sin()
    ratio = (second * cosine - first * sine) / (first * cosine + second * sine).clamp(min=0)
    return -angle * ratio.mean(dim=-1), angle**2 * (1 + ratio.square().mean(dim=-1))
