"""Prediction space in a notebook: predictions, their distances, progress and embeddings (Mao et al. 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from landscape_cli.api.data import Data, check_batch_size, check_outputs, samples_on
from landscape_cli.api.networks import Net, architecture, state_of, walker, where_of
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import log_probabilities
from landscape_cli.compute.function_distance import FunctionDistance
from landscape_cli.compute.function_distance import function_distance as distance_of
from landscape_cli.compute.predictions.choices import METHOD_DISTANCES, DistanceName, MethodName, SolverName
from landscape_cli.compute.predictions.distances import pairwise
from landscape_cli.compute.predictions.embedding import MAX_PASSES, TOLERANCE, Embedding
from landscape_cli.compute.predictions.embedding import inpca as embed
from landscape_cli.compute.predictions.progress import Progress
from landscape_cli.compute.predictions.progress import progress as progress_of
from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.weights.interpolation import check_state
from landscape_cli.errors import DataError, NetworkError, UsageError

Predicted = Float[Tensor, "model sample class"]
DTypeName = Literal["float16", "float32", "float64"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What several models say of the same samples.

    Args:
        log_probs: Log-probabilities, ``(model, sample, class)``, natural logarithm.
        labels: The true classes, ``(sample,)``.
    """

    log_probs: Predicted
    labels: Int64[Tensor, " sample"]

    def __len__(self) -> int:
        return len(self.log_probs)


def predict(
    networks: Net | Sequence[Net],
    data: Data,
    *,
    network: nn.Module | None = None,
    batch_size: int = BATCH,
    dtype: DTypeName = "float32",
    device: str | None = None,
    precision: Precision | None = None,
) -> Predictions:
    """Log-probabilities ``log p_c = z_c − log Σ_k exp z_k`` of networks on the same samples.

    Args:
        networks: One network or several; modules (of any architectures) or state dicts.
        data: Anything that yields ``(inputs, labels)``.
        network: The architecture of state dicts, if no network in the list is a module of it.
        batch_size: Samples a forward pass.
        dtype: What they are rounded to, from float64; the command ``predict`` stores float32.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where each network is.
        precision: Of the networks; None for their own.

    Returns:
        On the CPU, whatever the device.

    Cost: one forward pass of each network over the data; memory of ``model · sample · class`` numbers.

    Raises:
        CheckpointError: If a state does not fit the architecture, or a network holds NaN.
        DataError: If there are no samples, or a label is no class.
        NetworkError: If a network gives no logits or NaN, or networks differ in their classes.
        UsageError: If there is no network, or no module for a state dict.
    """
    nets: list[Net] = list(networks) if isinstance(networks, list | tuple) else [networks]  # type: ignore[list-item]
    if not nets:
        raise UsageError("there is no network to predict with")
    check_batch_size(batch_size)
    made: list[Tensor] = []
    labels: Tensor | None = None
    held = None
    for number, one in enumerate(nets):
        who = f"network {number}" if len(nets) > 1 else "the network"
        module = architecture(None, one) if isinstance(one, nn.Module) else architecture(network, *nets)
        where = where_of(module, device, precision)
        copied = walker(module, where)
        state = state_of(one, who)
        check_state(copied.state_dict(), state, who)
        copied.load_state_dict(state)
        # A loader is read once: a second reading might shuffle or augment otherwise.
        held = samples_on(data if held is None else held, where)
        classes = check_outputs(copied, held, who=who)
        if made and made[0].shape[1] != classes:
            raise NetworkError(f"{who} gives {classes} classes, the first {made[0].shape[1]}")
        with math_mode(where):
            found = torch.cat(list(log_probabilities(copied, held, batch=batch_size)))
        if bool((broken := found.isnan().any(1)).any()):
            raise NetworkError(f"{who} gives NaN for sample {int(broken.nonzero()[0])}")
        made.append(found.to(getattr(torch, dtype)))
        labels = held.labels.cpu()
    assert labels is not None
    return Predictions(torch.stack(made), labels)


def function_distance(
    a: Net | Float[Tensor, "sample class"],
    b: Net | Float[Tensor, "sample class"],
    data: Data | Int64[Tensor, " sample"],
    *,
    network: nn.Module | None = None,
    batch_size: int = BATCH,
    device: str | None = None,
    precision: Precision | None = None,
) -> FunctionDistance:
    """How differently two networks answer: disagreement over that of independent errors (Fort et al. 2020, section 3).

    ``normalized = disagreement / z`` with ``z = e₁(1−e₂) + e₂(1−e₁) + e₁e₂(C−2)/(C−1)``: 0 for the same answers, 1 for
    independent errors, NaN where neither errs. Beside it the Jensen–Shannon divergence in nats, and a correlation.

    Args:
        a: A network (module or state dict), of any architecture; or its log-probabilities ``(sample, class)``.
        b: The other, of the same kind.
        data: Anything that yields ``(inputs, labels)``; with log-probabilities, the labels ``(sample,)``.
        network: The architecture of state dicts.
        batch_size: Samples a forward pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where each network is.
        precision: None for the networks' own.

    Cost: a forward pass of each.

    Raises:
        DataError: If there are no samples, they do not fit the predictions, or a prediction is NaN.
        LandscapeError: As :func:`predict`.
    """
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if not isinstance(data, Tensor):
            raise DataError("predictions are compared beside the labels", "give function_distance(a, b, LABELS)")
        if a.ndim != 2 or a.shape != b.shape or len(a) != len(data):
            raise DataError(
                f"predictions of shapes {tuple(a.shape)} and {tuple(b.shape)} with {len(data)} labels",
                "all are of the same samples: (sample, class) twice, and (sample,)",
            )
        return distance_of(a.cpu(), b.cpu(), data.cpu())
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        raise UsageError("one side is a tensor and the other a network", "give two of a kind")
    if isinstance(data, Tensor):
        raise DataError("labels alone are given", "networks need inputs too: a loader, or (inputs, labels)")
    found = predict(
        [a, b], data, network=network, batch_size=batch_size, dtype="float64", device=device, precision=precision
    )
    return distance_of(found.log_probs[0], found.log_probs[1], found.labels)


def prediction_distances(
    predictions: Predictions | Predicted,
    others: Predictions | Predicted | None = None,
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
    if (
        isinstance(predictions, Predictions)
        and isinstance(others, Predictions)
        and not torch.equal(predictions.labels, others.labels)
    ):
        raise DataError("the two sides are predictions of different samples: their labels differ")
    return pairwise(_log_probs(predictions), None if others is None else _log_probs(others), kind=distance)


def progress(
    predictions: Predictions | Predicted,
    labels: Int64[Tensor, " sample"] | None = None,
    *,
    label_smoothing: float = 0.0,
) -> Progress:
    """How far each model is on the geodesic from ignorance to truth, and how far off it (Mao et al. 2023, Eq. 4).

    Args:
        predictions: What :func:`predict` gave, or log-probabilities ``(model, sample, class)``.
        labels: The true classes, for a tensor.
        label_smoothing: The truth puts 1−ε on the label and spreads the rest.

    Returns:
        Arrays, one entry a model: ``progress`` λ in [0, 1], ``distance_to_geodesic`` (radians, mean over samples),
        Bhattacharyya distances ``truth`` and ``ignorance`` (nats), ``error``, ``loss`` (nats).

    Cost: M·N·C exponentials and some ten evaluations of M·N slopes.

    Raises:
        DataError: If labels are missing or no classes, a sample is no distribution, or there are none.
        UsageError: If ε leaves no truth apart from ignorance.
    """
    log_probs = _log_probs(predictions)
    if labels is None and isinstance(predictions, Predictions):
        labels = predictions.labels
    if labels is None:
        raise DataError("progress is towards the labels", "give them: progress(log_probs, LABELS)")
    if len(labels) != log_probs.shape[1]:
        raise DataError(f"{len(labels)} labels for {log_probs.shape[1]} samples")
    return progress_of(log_probs, torch.as_tensor(labels).to(torch.int64), smoothing=label_smoothing)


def inpca(
    predictions: Predictions | Predicted | Float[Tensor, "model model"],
    *,
    dims: int | None = 3,
    method: MethodName = "inpca",
    weights: Float64[Tensor, " model"] | None = None,
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
        weights: Multiplicities of the models; a model of weight 0 shapes nothing and is added by Eq. 9.
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
    if method not in METHOD_DISTANCES:
        raise UsageError(f"there is no method '{method}'", "it is " + ", ".join(METHOD_DISTANCES))
    if isinstance(predictions, Tensor) and predictions.ndim == 2:
        matrix = predictions.double()
    else:
        matrix = pairwise(_log_probs(predictions), kind=METHOD_DISTANCES[method])
    return embed(
        matrix, dims, weights=weights, solver=solver, tolerance=tolerance, max_passes=max_passes, seed=seed
    )  # fmt: skip


def _log_probs(predictions: Predictions | Tensor) -> Tensor:
    """The log-probabilities of models.

    Raises:
        DataError: If they have other axes, or are probabilities or logits.
    """
    found = predictions.log_probs if isinstance(predictions, Predictions) else predictions
    if not isinstance(found, Tensor) or found.ndim != 3 or not found.is_floating_point():
        shape = tuple(getattr(found, "shape", ())) or type(found).__name__
        raise DataError(f"predictions are log-probabilities (model, sample, class), not {shape}")
    if found.numel() and bool((found.double().logsumexp(2).abs() > 0.05).any()):  # float16 is off by 2^-11 an entry
        raise DataError(
            "the predictions are no log-probabilities: those of a sample do not add up to 1",
            "take log_softmax of logits, or the logarithm of probabilities",
        )
    return found
