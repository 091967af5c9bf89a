"""Three coordinates that explain the embedding: ignorance, truth, and two means (Mao et al. 2023, Eqs. 11, 12)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.predictions.alignment import Alignment, align
from landscape_cli.compute.predictions.embedding import Embedding, inpca
from landscape_cli.compute.predictions.projection import frame, project
from landscape_cli.errors import DataError, UsageError

NEAR = (0.3, 0.7)
SIGMA = 0.05
REACH = 2.0  # models farther from the truth lie off the manifold (the paper's choice)
DIMS = 3
LEAST = 1e-12  # a mean of models this many σ away (7.4) says nothing about its progress


@dataclass(frozen=True, eq=False)
class Reading:
    """An embedding made of four models only, and how it compares with that of all.

    Args:
        embedding: InPCA of ignorance, truth and the two means, in that order.
        coordinates: All models, added to it by Eq. 9.
        alignment: How those lie over the first three dimensions of the full embedding, with the RMSD.
    """

    embedding: Embedding
    coordinates: Float64[np.ndarray, "model 3"]
    alignment: Alignment


def progress_weights(
    progress: Float64[np.ndarray, " model"],
    truth: Float64[np.ndarray, " model"],
    near: float,
    *,
    sigma: float = SIGMA,
    reach: float = REACH,
) -> Float64[np.ndarray, " model"]:
    """Weights of a mean model: ``∝ exp(−(t_w − s)²/2σ²)`` over models within ``reach`` of the truth, 0 beyond (Eq. 11).

    Args:
        progress: t_w of each model.
        truth: Bhattacharyya distance of each model to the truth.
        near: s.
        sigma: σ.
        reach: Models at this distance or farther are left out.

    Raises:
        UsageError: If σ is not above zero.
        DataError: If no model lies near enough to ``near`` to speak for it.
    """
    if not sigma > 0:
        raise UsageError(f"the width of a mean must be above 0, not {sigma}")
    weights = np.where(truth < reach, np.exp(-((progress - near) ** 2) / (2 * sigma**2)), 0.0)
    if not weights.max(initial=0.0) > LEAST:
        within = progress[truth < reach]
        there = f"progress {within.min():.3f} to {within.max():.3f}" if len(within) else "none"
        raise DataError(
            f"no model has progress near {near}: those within {reach} of the truth have {there}",
            "choose other points, or a larger width",
        )
    return np.asarray(weights / weights.sum())


def weighted_sums(
    log_probs: Float[Tensor, "model sample class"], weights: Float64[Tensor, "mean model"]
) -> Float64[Tensor, "mean sample class"]:
    """Weighted sums of probabilities ``Σ_w a_w p_w``, for several rows of weights at once: the arithmetic means.

    Neither models nor samples mix: a block of the ones and of the others at a time is enough, sums over blocks of
    models being added. Cost: ``mean · model · sample · class``.
    """
    mean, model = weights.shape
    probabilities = log_probs.to(torch.float64).exp_().view(model, -1)
    return (weights @ probabilities).view(mean, *log_probs.shape[1:])


def read_coordinates(
    among: Float64[np.ndarray, "four four"],
    to_four: Float64[np.ndarray, "model four"],
    full: Float64[np.ndarray, "model dim"],
) -> Reading:
    """Embed the four, add all models, and lay the result over the full embedding.

    Args:
        among: Distances of ignorance, truth and the two means.
        to_four: Distances of all models to them.
        full: Coordinates of the models in the full embedding.

    Raises:
        UsageError: If the full embedding has less than three dimensions.
        DataError: If a distance is infinite.
    """
    if full.shape[1] < DIMS:
        raise UsageError(f"the reading compares {DIMS} dimensions; the embedding has {full.shape[1]}", "ask for -k 3")
    embedding = inpca(torch.from_numpy(among), DIMS)
    coordinates = project(frame(embedding), to_four)
    return Reading(embedding, coordinates, align(coordinates, full[:, :DIMS]))
