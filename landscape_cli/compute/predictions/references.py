"""The models every trajectory is measured against: ignorance and truth, and the distances to them in closed form."""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.distances import pairwise
from landscape_cli.errors import DataError, UsageError


def ignorance(samples: int, classes: int) -> Float64[Tensor, "sample class"]:
    """Log-probabilities of P₀, which gives every class the same probability ``1/C``.

    >>> ignorance(1, 2).exp()
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    return torch.full((samples, classes), -math.log(classes), dtype=torch.float64)


def truth(labels: Int64[Tensor, " sample"], classes: int, *, smoothing: float = 0.0) -> Float64[Tensor, "sample class"]:
    """Log-probabilities of P*: ``1 − ε`` on the label, the rest spread evenly over the other classes.

    Without smoothing they are 0 on the label and −∞ elsewhere.

    Args:
        labels: The true classes.
        classes: How many classes there are.
        smoothing: ε, at least 0 and below 1.

    Raises:
        DataError: If a label lies outside the classes; its sample is named.
        UsageError: If ε is out of range.

    >>> truth(torch.tensor([1]), 2)
    tensor([[-inf, 0.]], dtype=torch.float64)
    """
    check_labels(labels, classes)
    check_smoothing(smoothing, classes)
    off = math.log(smoothing / (classes - 1)) if smoothing > 0 else -math.inf
    result = torch.full((len(labels), classes), off, dtype=torch.float64, device=labels.device)
    return result.scatter_(1, labels[:, None], math.log1p(-smoothing) if smoothing else 0.0)


def check_labels(labels: Int64[Tensor, " sample"], classes: int) -> None:
    """Refuse labels outside ``0 … classes − 1``.

    Raises:
        DataError: The first such label and its sample are named.
    """
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        sample = int(outside.nonzero()[0])
        raise DataError(
            f"the label of sample {sample} is {int(labels[sample])}, but there are {classes} classes, from 0",
            "take labels and predictions from the same data set",
        )


def check_smoothing(smoothing: float, classes: int) -> None:
    """Refuse a label smoothing that leaves the truth no distribution.

    Raises:
        UsageError: If it is not in [0, 1), or there is no other class to spread it over.
    """
    if not 0 <= smoothing < 1 or (smoothing > 0 and classes < 2):
        raise UsageError(f"label smoothing {smoothing} does not leave a truth", "it is at least 0 and below 1")


def distances_to_truth(
    log_probs: Float[Tensor, "model sample class"],
    labels: Int64[Tensor, " sample"],
    *,
    kind: DistanceName = "bhattacharyya",
    smoothing: float = 0.0,
) -> Float64[Tensor, " model"]:
    """Mean distance of each model to the truth P*.

    For ``bhattacharyya`` without smoothing it is half the cross-entropy, at any confidence: ``−log √p(y)``. ``skl``
    is +∞ without smoothing unless a model is the truth. Cost: one pass over the predictions.

    Raises:
        DataError: If a label lies outside the classes, or a sample is no distribution.
    """
    target = truth(labels, log_probs.shape[2], smoothing=smoothing).to(log_probs.device)
    return pairwise(log_probs, target[None], kind=kind)[:, 0]


def distances_to_ignorance(
    log_probs: Float[Tensor, "model sample class"], *, kind: DistanceName = "bhattacharyya"
) -> Float64[Tensor, " model"]:
    """Mean distance of each model to ignorance P₀. Cost: one pass over the predictions.

    Raises:
        DataError: If a sample is no distribution.
    """
    target = ignorance(log_probs.shape[1], log_probs.shape[2]).to(log_probs.device)
    return pairwise(log_probs, target[None], kind=kind)[:, 0]
