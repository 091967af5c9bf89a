"""How differently two networks answer the same questions (Fort et al. 2020, section 2)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from landscape_cli.errors import DataError


@dataclass(frozen=True)
class FunctionDistance:
    """Two networks on the same n samples of C classes.

    Args:
        disagreement: ``#{ŷ ≠ ŷ'} / n``.
        expected: What independent errors would give, ``z = e₁(1 − e₂) + e₂(1 − e₁) + e₁e₂(C − 2)/(C − 1)`` for error
            rates e₁ and e₂: both wrong, they name the same wrong class by chance one time in C − 1.
        normalized: ``disagreement / z``, Fort et al.'s function distance: 0 for the same answers, 1 for independent
            errors. NaN where z is 0 (neither errs), so that there is nothing to compare.
        jensen_shannon: Mean over samples of ``½ KL(p‖m) + ½ KL(p'‖m)``, ``m = ½(p + p')``, in nats: 0 to log 2.
        correlation: Pearson's, of all n·C probabilities of the one with those of the other, ``Σ(p − 1/C)(p' − 1/C)``
            over its roots (the mean of a network's probabilities is 1/C exactly); NaN where one is uniform.
        error: e₁.
        other_error: e₂.
    """

    disagreement: float
    expected: float
    normalized: float
    jensen_shannon: float
    correlation: float
    error: float
    other_error: float


def function_distance(
    first: Float[Tensor, "sample class"], second: Float[Tensor, "sample class"], labels: Int64[Tensor, " sample"]
) -> FunctionDistance:
    """All of :class:`FunctionDistance` from log-probabilities, in float64.

    Args:
        first: Log-probabilities of the one network; −∞ is probability 0.
        second: Of the other.
        labels: The true classes.

    Cost: a few passes over the predictions; memory of four of them.

    Raises:
        DataError: If there are no samples, fewer than two classes, or a prediction is NaN.
    """
    samples, classes = first.shape
    if not samples or classes < 2:
        raise DataError(f"predictions of {samples} samples and {classes} classes cannot be compared")
    one, other = first.double(), second.double()
    if bool(one.isnan().any() | other.isnan().any()):
        raise DataError("a prediction is NaN", "look at the checkpoint: its training may have diverged")
    answers, others = one.argmax(1), other.argmax(1)
    disagreement = float((answers != others).double().mean())
    e, f = (float((side != labels).double().mean()) for side in (answers, others))
    expected = e * (1 - f) + f * (1 - e) + e * f * (classes - 2) / (classes - 1)
    p, q = one.exp(), other.exp()
    middle = torch.logaddexp(one, other) - math.log(2)
    divergence = _times(p, one - middle) + _times(q, other - middle)
    p, q = p - 1 / classes, q - 1 / classes
    norms = float(p.norm()) * float(q.norm())
    return FunctionDistance(
        disagreement,
        expected,
        disagreement / expected if expected else math.nan,
        max(0.0, float(divergence.sum()) / (2 * samples)),
        max(-1.0, min(1.0, float((p * q).sum()) / norms)) if norms else math.nan,
        e,
        f,
    )


def _times(p: Tensor, log: Tensor) -> Tensor:
    """``p log``, 0 where p is 0."""
    return torch.where(p > 0, p * log, 0.0)
