"""Whether steps of an optimiser stay inside the quadratic basin they are in (Fort et al. 2020, B.3)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from landscape_cli.compute.weights.curvature_operators import Operator
from landscape_cli.compute.weights.lanczos import dot, mean_and_error


@dataclass(frozen=True)
class Escape:
    """The escape threshold at a point, over the steps of several minibatches.

    For ``w ← w − η u`` the second-order change of the loss is ``E = ½ η² uᵀHu − η gᵀu``; negative: the loss descends
    inside its quadratic basin, positive: the step leaves it.

    Args:
        raw: Mean E over minibatches, in units of the loss.
        raw_error: Its standard error.
        raw_spread: The standard deviation of E over minibatches.
        scale_free: ``½ η ⟨uᵀHu⟩ / ⟨gᵀu⟩ − 1``, the means taken before the ratio, which single steps at a right angle to
            g would dominate; infinite if the steps do not descend even to first order.
        scale_free_error: Its standard error, by the jackknife.
        gradient_descent: ``η λ_max / 2 − 1``, the bound for plain gradient descent.
        curvature: Mean ``uᵀHu``.
        slope: Mean ``gᵀu``.
        step_norm: Mean ``‖u‖``.
        uphill: Minibatches whose step does not descend even to first order, ``gᵀu ≤ 0``.
        each: E of each minibatch.
    """

    raw: float
    raw_error: float
    raw_spread: float
    scale_free: float
    scale_free_error: float
    gradient_descent: float
    curvature: float
    slope: float
    step_norm: float
    uphill: int
    each: list[float]


def escape_threshold(
    operator: Operator,
    gradient: Float[Tensor, " parameter"],
    directions: Sequence[Float[Tensor, " parameter"]],
    *,
    lr: float,
    sharpness: float,
    on_product: Callable[[int], None] = lambda done: None,
) -> Escape:
    """All forms of the escape threshold.

    Args:
        operator: The Hessian H of the loss.
        gradient: Its full gradient g.
        directions: The update direction u of each minibatch.
        lr: η.
        sharpness: λ_max of H.
        on_product: Told how many products are done.

    Cost: a product for each direction.
    """
    curvatures, slopes, lengths = [], [], []
    for done, u in enumerate(directions, start=1):
        curvatures.append(dot(u, operator.apply(u)))
        slopes.append(dot(gradient, u))
        lengths.append(math.sqrt(dot(u, u)))
        on_product(done)
    each = [0.5 * lr**2 * c - lr * s for c, s in zip(curvatures, slopes, strict=True)]
    raw, error = mean_and_error(each)

    def ratio(parts: Sequence[tuple[float, float]]) -> float:
        top, bottom = (sum(column) for column in zip(*parts, strict=True))
        return 0.5 * lr * top / bottom - 1 if bottom > 0 else math.inf

    value, ratio_error = jackknife(ratio, list(zip(curvatures, slopes, strict=True)))
    return Escape(
        raw, error, error * math.sqrt(len(each)), value, ratio_error, 0.5 * lr * sharpness - 1,
        math.fsum(curvatures) / len(each), math.fsum(slopes) / len(each), math.fsum(lengths) / len(each),
        sum(s <= 0 for s in slopes), each,
    )  # fmt: skip


def jackknife(
    statistic: Callable[[Sequence[tuple[float, float]]], float], parts: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """A statistic of independent parts, and its standard error from leaving each out in turn; NaN from one part.

    >>> jackknife(lambda parts: sum(a for a, _ in parts) / len(parts), [(1.0, 0.0), (3.0, 0.0)])
    (2.0, 1.0)
    """
    value, count = statistic(parts), len(parts)
    if count < 2:
        return value, math.nan
    without = [statistic([*parts[:k], *parts[k + 1 :]]) for k in range(count)]
    return value, jackknife_error(without)


def jackknife_error(without: Sequence[float]) -> float:
    """The standard error of a statistic from its values with each part left out; NaN if one is no number."""
    count = len(without)
    if not all(map(math.isfinite, without)):
        return math.nan
    mean = math.fsum(without) / count
    return math.sqrt((count - 1) / count * math.fsum((w - mean) ** 2 for w in without))
