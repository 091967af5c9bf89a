"""How far along the geodesic from ignorance to truth a model is (Mao et al. 2023, Eq. 4 and section C.2).

In a sample, ignorance ``s₀`` and truth ``s*`` are unit vectors an angle d apart, the same in all samples, and the
geodesic runs through the plane they span. A model s meets that plane only through ``a = ⟨s, s₀⟩`` and
``b = ⟨s, s*⟩``: with ``u = a`` and ``v = (b − a cos d)/sin d`` its angle to the geodesic's point at θ = λd is
``g(θ) = arccos h``, ``h = u cos θ + v sin θ``. Progress minimises ``Σ_n g_n``, and the search for it is global because
the sum is *convex*: ``g'' = h (1 − u² − v²) / (1 − h²)^{3/2}`` is nowhere negative, for ``u² + v² ≤ 1``, and h ≥ 0 as
square roots of probabilities are not negative (a sphere's distance from a point is convex within a quarter turn of
it). So the slope ``Σ g'`` grows with θ, and the only question is where it passes 0. It is computed as
``−h' / √(1 − u² − v² + h'²)``, which loses no digits where h is near 1.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.compute.predictions.dense_distances import normalised
from landscape_cli.compute.predictions.references import check_labels, check_smoothing
from landscape_cli.errors import DataError, UsageError

EDGE = 1e-7
HALVINGS = 60
TORCH_NUMBERS = 4_000_000  # numbers of models that the search without compiled loops holds at once


@dataclass(frozen=True)
class Progress:
    """What one pass over predictions tells of each model: float64 arrays, one entry a model.

    Args:
        progress: λ in [0, 1] of the nearest point of the geodesic.
        distance_to_geodesic: Mean angle ``d_G`` to that point, in radians.
        truth: Mean Bhattacharyya distance to truth; without label smoothing half the loss.
        ignorance: Mean Bhattacharyya distance to ignorance.
        error: Share of samples whose largest probability is not the label's; of several largest, the first counts.
        loss: Mean cross-entropy in nats.
    """

    progress: NDArray[np.float64]
    distance_to_geodesic: NDArray[np.float64]
    truth: NDArray[np.float64]
    ignorance: NDArray[np.float64]
    error: NDArray[np.float64]
    loss: NDArray[np.float64]


def progress(
    log_probs: Float[Tensor, "model sample class"], labels: Int64[Tensor, " sample"], *, smoothing: float = 0.0
) -> Progress:
    """Progress, distance to the geodesic, to truth and to ignorance, error and loss of every model.

    Exactly 0 for ignorance and exactly 1 for truth; a model nearer to an end than 1e-7 radians is at it, since there
    rounding decides. On the geodesic it is λ to 1e-7. Where several points are equally near, one of them. Models are
    independent: blocks of models give the same numbers as all at once.

    Args:
        log_probs: Log-probabilities of whole models, float32 or float64 (half precision is read as float32).
        labels: The true classes.
        smoothing: Label smoothing ε of the truth.

    Cost: M·N·C exponentials and some ten evaluations of M·N slopes. Memory: a few numbers a sample and thread.

    Raises:
        DataError: If a label lies outside the classes, a sample is no distribution, or there are no samples.
        UsageError: If ε leaves no truth apart from ignorance.
    """
    whole, label_weight, other_weight = _geometry(log_probs.shape[2], smoothing)
    _check(log_probs, labels)
    kernels = compiled_kernels()
    if kernels is None or log_probs.device.type == "cuda":
        step = _models_at_once(log_probs)
        parts = [_with_torch(log_probs[m : m + step], labels, smoothing) for m in range(0, len(log_probs), step)]
        table = np.concatenate([np.zeros((0, 6)), *parts])
    else:
        array, table = _array(log_probs), np.zeros((len(log_probs), 6))
        weights = (whole, label_weight, other_weight)
        found = _on_threads(kernels.models_progress, len(array), array, labels.cpu().numpy(), *weights, tail=(table,))
        _refuse(found, log_probs.shape[1])
    return Progress(*(np.ascontiguousarray(table[:, k]) for k in (0, 1, 4, 5, 2, 3)))


def overlaps(
    log_probs: Float[Tensor, "model sample class"], labels: Int64[Tensor, " sample"], *, smoothing: float = 0.0
) -> tuple[Float64[Tensor, "model sample"], Float64[Tensor, "model sample"]]:
    """``a = ⟨s, s₀⟩`` and ``b = ⟨s, s*⟩`` of each sample: all that progress needs to know, for blocks of samples.

    Raises:
        DataError: As :func:`progress`.
        UsageError: As :func:`progress`.
    """
    _, label_weight, other_weight = _geometry(log_probs.shape[2], smoothing)
    _check(log_probs, labels)
    kernels = compiled_kernels()
    if kernels is None or log_probs.device.type == "cuda":
        return _overlaps_with_torch(log_probs, labels, smoothing)
    array = _array(log_probs)
    a, b = np.empty(array.shape[:2]), np.empty(array.shape[:2])
    weights = (label_weight, other_weight)
    found = _on_threads(kernels.models_overlaps, len(array), array, labels.cpu().numpy(), *weights, tail=(a, b))
    _refuse(found, log_probs.shape[1])
    return torch.from_numpy(a), torch.from_numpy(b)


def progress_from_overlaps(
    a: Float64[Tensor, "model sample"], b: Float64[Tensor, "model sample"], classes: int, *, smoothing: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Progress and distance to the geodesic from :func:`overlaps`, whose blocks of samples go beside each other.

    Raises:
        UsageError: As :func:`progress`.
    """
    whole, _, _ = _geometry(classes, smoothing)
    kernels = compiled_kernels()
    if kernels is None or a.device.type == "cuda":
        found = _nearest_with_torch(a, b, whole)
        return found[0].cpu().numpy(), found[1].cpu().numpy()
    table = np.zeros((len(a), 2))
    sides = [side.contiguous().numpy() for side in (a, b)]
    _on_threads(kernels.overlaps_progress, len(a), *sides, whole, tail=(table,))
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])


@cache
def compiled_kernels() -> ModuleType | None:
    """The compiled loops, or None where numba cannot be imported."""
    try:
        from landscape_cli.compute.predictions import progress_kernels
    except ImportError:
        return None
    return progress_kernels


def _geometry(classes: int, smoothing: float) -> tuple[float, float, float]:
    """The angle from ignorance to truth, and the weights of ``√p(y)`` and of the other ``√p`` in ``⟨s, s*⟩``."""
    check_smoothing(smoothing, classes)
    label = math.sqrt(1 - smoothing)
    other = math.sqrt(smoothing / (classes - 1)) if smoothing > 0 else 0.0
    whole = math.acos(min(1.0, (label + (classes - 1) * other) / math.sqrt(classes)))
    if whole < 1e-3:
        raise UsageError(
            f"with {classes} classes and label smoothing {smoothing}, truth is ignorance: there is no way between them",
            "progress needs at least two classes and a smaller smoothing",
        )
    return whole, label, other


def _check(log_probs: Tensor, labels: Tensor) -> None:
    if log_probs.shape[1] == 0:
        raise DataError("there are no samples to measure progress on")
    if len(labels) != log_probs.shape[1]:
        raise DataError(f"there are {len(labels)} labels for predictions of {log_probs.shape[1]} samples")
    check_labels(labels, log_probs.shape[2])


def _array(log_probs: Tensor) -> NDArray[Any]:
    readable = log_probs.detach().cpu()
    if readable.dtype not in (torch.float32, torch.float64):
        readable = readable.float()
    return readable.contiguous().numpy()


def _on_threads(kernel: Any, models: int, *arguments: Any, tail: tuple[Any, ...]) -> list[int]:
    """Call ``kernel(*arguments, begin, end, *tail)`` on spans of models, and collect its answers."""
    threads = torch.get_num_threads()
    step = max(1, -(-models // (4 * threads)))
    spans = [(begin, min(models, begin + step)) for begin in range(0, models, step)]

    def call(span: tuple[int, int]) -> int:
        try:
            return int(kernel(*arguments, *span, *tail) or 0)
        except OSError:
            # Keeping fresh machine code failed (a full disk); the kernel is compiled all the same.
            return int(kernel(*arguments, *span, *tail) or 0)

    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(call, spans))
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse(found: list[int], samples: int) -> None:
    wrong = [place for place in found if place >= 0]
    if wrong:
        model, sample = divmod(wrong[0], samples)
        raise _no_distribution(model, sample)


def _no_distribution(model: int, sample: int) -> DataError:
    return DataError(
        f"model {model} gives sample {sample} no distribution: NaN, +inf, or -inf for every class",
        "check the network's outputs, and that these are log-probabilities",
    )


def _models_at_once(log_probs: Tensor) -> int:
    return max(1, TORCH_NUMBERS // (log_probs.shape[1] * log_probs.shape[2]))


def _overlaps_with_torch(log_probs: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    _, label_weight, other_weight = _geometry(log_probs.shape[2], smoothing)
    logs = normalised(log_probs)
    broken = logs.isnan().any(2)
    if broken.any():
        raise _no_distribution(*(int(i) for i in broken.nonzero()[0]))
    roots = (logs / 2).exp()
    own = roots.gather(2, labels.to(roots.device).expand(len(roots), -1)[:, :, None])[:, :, 0]
    total = roots.sum(2)
    return total / math.sqrt(log_probs.shape[2]), label_weight * own + other_weight * (total - own)


def _with_torch(log_probs: Tensor, labels: Tensor, smoothing: float) -> NDArray[np.float64]:
    """The six columns of the compiled loop, in its order."""
    whole, _, _ = _geometry(log_probs.shape[2], smoothing)
    a, b = _overlaps_with_torch(log_probs, labels, smoothing)
    angles = _nearest_with_torch(a, b, whole)
    labels = labels.to(log_probs.device)
    own = normalised(log_probs).gather(2, labels.expand(len(log_probs), -1)[:, :, None])[:, :, 0]
    loss = -own.mean(1)
    error = (log_probs.argmax(2) != labels).double().mean(1)
    to_truth = -b.log().mean(1) if smoothing > 0 else loss / 2
    columns = [*angles, error, loss, to_truth, -a.log().mean(1)]
    return torch.stack(columns, 1).clamp(min=0).cpu().numpy()


def _nearest_with_torch(a: Tensor, b: Tensor, whole: float) -> tuple[Tensor, Tensor]:
    """Progress and distance to the geodesic by bisection of the slope."""
    u, v = a, (b - a * math.cos(whole)) / math.sin(whole)
    q = (1 - u * u - v * v).clamp(min=0)

    def at(angle: Tensor) -> tuple[Tensor, Tensor]:
        cosine, sine = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
        return u * cosine + v * sine, v * cosine - u * sine

    def slope(angle: Tensor) -> Tensor:
        change = at(angle)[1]
        return -(change / (q + change * change + 1e-300).sqrt()).sum(1)

    low = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    high = torch.full_like(low, whole)
    before, after = slope(low) >= 0, slope(high) <= 0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        left = slope(middle) > 0
        low, high = torch.where(left, low, middle), torch.where(left, middle, high)
    angle = (low + high) / 2
    angle = torch.where(after | (whole - angle < EDGE), whole, angle)
    angle = torch.where(before | (angle < EDGE), 0.0, angle)
    height, change = at(angle)
    return angle / whole, torch.atan2((q + change * change).sqrt(), height).mean(1)
