"""Predictions made elsewhere: told apart (probabilities, logits, log-probabilities), checked, and made exact."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError

Values = Literal["auto", "probabilities", "logits", "log-probabilities"]

TOLERANCE = 1e-3  # by how much probabilities of a sample may miss 1: half precision and rounded text stay below it

SAY = "say what they are: --values " + ", ".join(name for name in get_args(Values) if name != "auto")


def recognize(values: NDArray[np.float64], who: str) -> Values:
    """Tell what predictions are from their numbers.

    Probabilities lie in [0, 1] and sum to one; log-probabilities are not above 0 and their exponentials sum to one
    (each within :data:`TOLERANCE`); logits show by a number above 1, or by numbers of both signs.

    Args:
        values: ``(sample, class)`` of one model.
        who: Its name, for the message.

    Raises:
        DataError: If they may be two things, or hold NaN.
    """
    refuse_nan(values, who)
    with np.errstate(over="ignore"):
        if (values >= 0).all() and (np.abs(values.sum(axis=1) - 1) <= TOLERANCE).all():
            return "probabilities"
        if (values <= TOLERANCE).all() and (np.abs(np.exp(values).sum(axis=1) - 1) <= TOLERANCE).all():
            return "log-probabilities"
    if (values > 1).any() or ((values < 0).any() and (values > 0).any()):
        return "logits"
    if (values >= 0).all():
        raise DataError(
            f"{who}: its numbers lie between 0 and 1 but do not sum to one: broken probabilities, or logits?", SAY
        )
    raise DataError(
        f"{who}: none of its numbers is above 0, but their exponentials do not sum to one: broken log-probabilities, "
        "or logits?",
        SAY,
    )


def to_log_probabilities(values: NDArray[np.float64], kind: Values, who: str) -> NDArray[np.float64]:
    """Exact log-probabilities in nats: ``log Σ_c p(c) = 0`` to the precision of float64.

    A probability of exactly zero becomes ``−inf``.

    Args:
        values: ``(sample, class)`` of one model.
        kind: What they are; not ``auto``.
        who: The model's name, for the message.

    Raises:
        DataError: If they are not what they are said to be: NaN, below zero, not summing to one within
            :data:`TOLERANCE`; model and sample are named.
    """
    refuse_nan(values, who)
    if kind == "probabilities":
        if len(at := np.flatnonzero((values < 0).any(axis=1))):
            raise DataError(f"{who}: sample {at[0]} has the probability {values[at[0]].min():.3g}, below zero")
        sums = values.sum(axis=1, keepdims=True)
        _refuse_sums(sums[:, 0], who)
        with np.errstate(divide="ignore"):
            logs: NDArray[np.float64] = np.log(values) - np.log(sums)
        return logs
    top = values.max(axis=1, keepdims=True)
    if len(at := np.flatnonzero(~np.isfinite(top[:, 0]))):
        raise DataError(f"{who}: the largest number of sample {at[0]} is {top[at[0], 0]}")
    log_sums = top + np.log(np.exp(values - top).sum(axis=1, keepdims=True))
    if kind == "log-probabilities":
        with np.errstate(over="ignore"):
            _refuse_sums(np.exp(log_sums[:, 0]), who)
    exact: NDArray[np.float64] = values - log_sums
    return exact


def _refuse_sums(sums: NDArray[np.float64], who: str) -> None:
    wrong = np.flatnonzero(~(np.abs(sums - 1) <= TOLERANCE))
    if len(wrong):
        raise DataError(
            f"{who}: the probabilities of sample {wrong[0]} sum to {sums[wrong[0]]:.6g}, not to one "
            f"(within {TOLERANCE:g}); so do those of {len(wrong) - 1} more",
            "if they are logits, say --values logits",
        )


def refuse_nan(values: NDArray[np.float64], who: str) -> None:
    """Make sure that no number is NaN.

    Raises:
        DataError: If one is; model, sample and class are named.
    """
    if len(at := np.argwhere(np.isnan(values))):
        raise DataError(f"{who}: the prediction for sample {at[0][0]} is NaN (class {at[0][1]})")
