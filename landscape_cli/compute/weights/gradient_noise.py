"""How much the gradients of minibatches scatter, and whether they scatter where the loss is curved."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from landscape_cli.compute.weights.curvature_operators import Operator
from landscape_cli.compute.weights.escape import jackknife, jackknife_error
from landscape_cli.compute.weights.lanczos import dot
from landscape_cli.errors import DataError


@dataclass(frozen=True)
class GradientNoise:
    """The scatter of the gradients g_B of K disjoint minibatches of B samples.

    Args:
        trace: ``tr Cov(g_B)``, unbiased.
        trace_error: Its standard error (jackknife over minibatches).
        per_sample: ``tr Σ = B tr Cov(g_B)``, Σ the covariance of the gradients of single samples.
        gradient: ``|G|² = |ḡ|² − tr Cov(g_B)/K``, unbiased, G the gradient over all data; with few minibatches it may
            fall below zero.
        scale: The simple noise scale ``tr Σ / |G|²`` (McCandlish et al. 2018), in samples: the batch size at which
            noise and gradient are equally large. Infinite where |G|² is not above zero.
        scale_error: Its standard error (jackknife); NaN where a part of the minibatches has no scale.
        minibatches: K.
    """

    trace: float
    trace_error: float
    per_sample: float
    gradient: float
    scale: float
    scale_error: float
    minibatches: int


def gradient_noise(parts: Sequence[tuple[float, float]], mean_square: float, batch_size: int) -> GradientNoise:
    """Noise from what each minibatch's gradient is against the mean of all, ``ε_k = g_k − ḡ``.

    Args:
        parts: ``(‖ε_k‖², ḡᵀε_k)`` of each minibatch.
        mean_square: ``‖ḡ‖²``.
        batch_size: B.

    Raises:
        DataError: If there are fewer than two minibatches.
    """
    total = len(parts)
    if total < 2:
        raise DataError("gradient noise needs two minibatches", "give more --samples, or a smaller --batch-size")

    squares = math.fsum(square for square, _ in parts)
    trace, gradient = _estimates(squares, mean_square, total)
    without = []
    for square, along in parts:
        # Without minibatch k the mean moves by −ε_k/(K−1), and the squares around it shrink by K/(K−1) ‖ε_k‖².
        moved = mean_square - 2 * along / (total - 1) + square / (total - 1) ** 2
        without.append(_estimates(squares - square * total / (total - 1), moved, total - 1))
    return GradientNoise(
        trace,
        jackknife_error([t for t, _ in without]),
        batch_size * trace,
        gradient,
        batch_size * trace / gradient if gradient > 0 else math.inf,
        jackknife_error([batch_size * t / g if g > 0 else math.nan for t, g in without]),
        total,
    )


def _estimates(squares: float, mean_square: float, count: int) -> tuple[float, float]:
    """``tr Cov(g_B)`` and ``|G|²`` of so many minibatches; NaN from a single one."""
    if count < 2:
        return math.nan, math.nan
    trace = squares / (count - 1)
    return trace, mean_square - trace / count


def noise_curvature(operator: Operator, noises: Sequence[Float[Tensor, " parameter"]]) -> tuple[float, float]:
    """``Σ_k ε_kᵀ H ε_k / Σ_k ‖ε_k‖²``, the mean curvature along the noise, and its standard error.

    It is tr(HΣ)/tr Σ: λ_max if all noise lies along the top eigenvector, tr H/P if it is isotropic.

    Args:
        operator: H.
        noises: ε_k of some minibatches.

    Cost: a product for each.
    """
    parts = [(dot(e, operator.apply(e)), dot(e, e)) for e in noises]

    def ratio(left: Sequence[tuple[float, float]]) -> float:
        top, bottom = (math.fsum(column) for column in zip(*left, strict=True))
        return top / bottom if bottom > 0 else math.nan

    return jackknife(ratio, parts)
