"""Prediction space in a notebook: distances, progress, embeddings, means (Mao et al. 2023)."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.api.answers import Predicted, Predictions
from landscape_cli.api.calls import check_choice
from landscape_cli.api.values import class_numbers, is_array, log_probabilities_of, tensor_of
from landscape_cli.compute.predictions.centroids import centroid as mean_of
from landscape_cli.compute.predictions.choices import (
    METHOD_DISTANCES,
    CentroidName,
    DistanceName,
    MethodName,
    SolverName,
)
from landscape_cli.compute.predictions.distances import pairwise
from landscape_cli.compute.predictions.embedding import MAX_PASSES, TOLERANCE, Embedding
from landscape_cli.compute.predictions.embedding import inpca as embed
from landscape_cli.compute.predictions.progress import Progress
from landscape_cli.compute.predictions.progress import progress as progress_of
from landscape_cli.errors import DataError

Weights = Float[Tensor, " model"] | Sequence[float] | NDArray[Any]
Given = Predictions | Predicted | NDArray[Any]


def prediction_distances(
    predictions: Given,
    others: Given | None = None,
    *,
    distance: DistanceName = "bhattacharyya",
) -> Float64[Tensor, "model other"]:
    """Mean distances over the samples between all pairs of models (Mao et al. 2023, Eq. 1–3).

    ``bhattacharyya``: ``−log Σ_c √(p q)``; ``skl``: ``Σ_c (p − q) log(p/q)``; ``geodesic``: ``arccos Σ_c √(p q)``
    (radians); ``hellinger``: ``Σ_c (√p − √q)²``; ``euclidean``: ``Σ_c (p − q)²``. Natural logarithms.

    Args:
        predictions: What :func:`predict` gave, or log-probabilities ``(model, sample, class)``.
        others: The other side of the pairs; None for the pairs of the first among themselves (symmetric, zero
            diagonal).
        distance: Which.

    Returns:
        float64; +∞ between models without overlap.

    Cost: M·M'·N·C multiplications.

    Raises:
        DataError: If a sample is no distribution (it is named), there are none, or the sides differ in samples.
        UsageError: If there is no such distance.
    """
    check_choice("distance", distance, DistanceName)
    if (
        isinstance(predictions, Predictions)
        and isinstance(others, Predictions)
        and not torch.equal(predictions.labels, others.labels)
    ):
        raise DataError("the two sides are predictions of different samples: their labels differ")
    return pairwise(models_of(predictions), None if others is None else models_of(others), kind=distance)


def progress(
    predictions: Given,
    labels: Int64[Tensor, " sample"] | None = None,
    *,
    label_smoothing: float = 0.0,
) -> Progress:
    """How far each model is on the geodesic from ignorance to truth, and how far off it (Mao et al. 2023, Eq. 4).

    Args:
        predictions: What :func:`predict` gave, or log-probabilities ``(model, sample, class)``.
        labels: The true classes: for a tensor, or in place of those of :func:`predict`.
        label_smoothing: The truth puts 1−ε on the label and spreads the rest.

    Returns:
        Arrays, one entry a model: ``progress`` λ in [0, 1], ``distance_to_geodesic`` (radians, mean over samples),
        Bhattacharyya distances ``truth`` and ``ignorance`` (nats), ``error``, ``loss`` (nats).

    Cost: M·N·C exponentials and some ten evaluations of M·N slopes.

    Raises:
        DataError: If labels are missing or no classes, a sample is no distribution, or there are none.
        UsageError: If ε leaves no truth apart from ignorance.
    """
    log_probs = models_of(predictions)
    if labels is None and isinstance(predictions, Predictions):
        labels = predictions.labels
    if labels is None:
        raise DataError("progress is towards the labels", "give them: progress(log_probs, LABELS)")
    return progress_of(log_probs, _labels(labels, log_probs), smoothing=label_smoothing)


def inpca(
    predictions: Given | Float[Tensor, "model model"],
    *,
    dims: int | None = 3,
    method: MethodName = "inpca",
    weights: Weights | None = None,
    solver: SolverName = "auto",
    tolerance: float = TOLERANCE,
    max_passes: int = MAX_PASSES,
    seed: int = 0,
) -> Embedding:
    """Embed models by their distances: ``W = −½ L D L = U Σ Uᵀ``, ``X = U √|Σ|`` (Mao et al. 2023, Eq. 6).

    Args:
        predictions: What :func:`predict` gave, log-probabilities ``(model, sample, class)``, or a square matrix of
            distances, which is embedded as it is.
        dims: Dimensions, by |eigenvalue|; None for all.
        method: ``inpca`` (Bhattacharyya distances), ``iskl`` (symmetrised KL), ``geodesic``, or ``pca`` (squared
            Euclidean distances of the probabilities); of a matrix of distances it says nothing.
        weights: Multiplicities of the models, a number each; a model of weight 0 shapes nothing and is added by Eq. 9.
        solver: ``dense``, ``krylov`` or ``auto``.
        tolerance: Largest residual, relative to the largest eigenvalue (krylov).
        max_passes: How often the distances are read at most (krylov).
        seed: Of the iterative solver's start.

    Returns:
        ``coordinates`` ``(model, dim)``, ``eigenvalues`` with their signs, ``explained_stress`` and more, as numpy
        arrays. With all dimensions ``Σ_k sign_k (X_ik − X_jk)²`` is the distance.

    Cost: the distances, then ``10 M³`` operations (dense) or ``2 M² w`` a pass (krylov).

    Raises:
        DataError: If there are fewer than two models, or a distance is infinite or not symmetric.
        UsageError: If there is no such method.
    """
    check_choice("method", method, MethodName)
    check_choice("solver", solver, SolverName)
    if is_array(predictions) and predictions.ndim == 2:  # type: ignore[union-attr]
        matrix = tensor_of(predictions).double()
        if matrix.shape[0] != matrix.shape[1]:
            raise DataError(f"the distances are no square matrix: {tuple(matrix.shape)}")
    else:
        matrix = pairwise(models_of(predictions), kind=METHOD_DISTANCES[method])
    shares = None if weights is None else _weights(weights, len(matrix))
    return embed(
        matrix, dims, weights=shares, solver=solver, tolerance=tolerance, max_passes=max_passes, seed=seed
    )  # fmt: skip


def centroid(
    predictions: Given, kind: CentroidName = "arithmetic", *, weights: Weights | None = None
) -> Float64[Tensor, "sample class"]:
    """One mean of several models, sample by sample (Mao et al. 2023, D.4).

    Before it is normalised: ``arithmetic`` ``Σ w_i p_i``; ``sqrt`` ``(Σ w_i √p_i)²``; ``geometric``
    ``exp Σ w_i log p_i``; ``harmonic`` ``1 / Σ w_i/p_i``; ``bhattacharyya``, ``jeffreys`` and ``geodesic`` are nearest
    to all in the distance of that name.

    Args:
        predictions: What :func:`predict` gave, or log-probabilities ``(model, sample, class)``.
        kind: Which mean.
        weights: One a model, not negative; equal by default.

    Returns:
        Log-probabilities in nats, float64: ``centroid(p)[None]`` is a model that distances can be taken to.

    Cost: ``models · samples · classes``; about 30 times that for ``bhattacharyya`` and ``geodesic``.

    Raises:
        DataError: If there are no models, a weight is negative or missing, or a sample has no such mean.
        UsageError: If there is no such mean.
    """
    check_choice("kind", kind, CentroidName)
    log_probs = models_of(predictions)
    return mean_of(log_probs, kind, weights=None if weights is None else _weights(weights, len(log_probs)))


def _labels(labels: object, log_probs: Tensor) -> Tensor:
    """Labels of the samples of predictions.

    Raises:
        DataError: If they are no classes, or of other samples.
    """
    found = class_numbers(labels)
    if len(found) != log_probs.shape[1]:
        raise DataError(f"{len(found)} labels for {log_probs.shape[1]} samples")
    return found.to(log_probs.device)


def _weights(weights: object, models: int) -> Float64[Tensor, " model"]:
    """A weight a model.

    Raises:
        DataError: If they are no numbers, or not as many as models.
    """
    try:
        found = tensor_of(weights).cpu().double()
    except (TypeError, ValueError) as error:
        raise DataError(f"weights is a {type(weights).__name__}, no numbers: {error}") from error
    if found.shape != (models,):
        raise DataError(f"weights has the shape {tuple(found.shape)}, but there are {models} models")
    return found


def models_of(predictions: Given | Float[Tensor, "model model"]) -> Tensor:
    """The log-probabilities of models.

    Raises:
        DataError: If they have other axes, or are probabilities or logits.
    """
    given = predictions.log_probs if isinstance(predictions, Predictions) else predictions
    return log_probabilities_of(given, ("model", "sample", "class"))
