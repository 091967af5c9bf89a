"""Distances and progress between predictions, written plainly: one pair, one sample at a time, numpy in float64."""

import math

import numpy as np

Array = np.ndarray


def renormalised(log_probs: Array) -> Array:
    exact = np.asarray(log_probs, dtype=np.float64)
    top = exact.max(-1, keepdims=True)
    return exact - top - np.log(np.exp(exact - top).sum(-1, keepdims=True))


def sample_distance(p: Array, q: Array, kind: str) -> float:
    """Between two log-probability vectors; small distances from differences, large ones from logarithms."""
    s, t = np.exp(p / 2), np.exp(q / 2)
    apart = float(((s - t) ** 2).sum())
    if kind == "bhattacharyya":
        if apart < 1:
            return -math.log1p(-apart / 2)
        both = (p + q) / 2
        top = both.max()
        return math.inf if top == -math.inf else -float(top + np.log(np.exp(both - top).sum()))
    if kind == "geodesic":
        return 2 * math.asin(min(1.0, math.sqrt(apart) / 2))
    if kind == "hellinger":
        return apart
    if kind == "euclidean":
        return float(((np.exp(p) - np.exp(q)) ** 2).sum())
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if (a == -math.inf) != (b == -math.inf):
            return math.inf
        if a > -math.inf:
            total += (math.exp(a) - math.exp(b)) * (a - b)
    return total


def distances(first: Array, second: Array, kind: str) -> Array:
    """Means over the samples."""
    one, two = renormalised(first), renormalised(second)
    return np.array(
        [[np.mean([sample_distance(p, q, kind) for p, q in zip(a, b, strict=True)]) for b in two] for a in one]
    )


def on_geodesic(first: Array, last: Array, time: float) -> Array:
    """Square roots of probabilities, ``(sample, class)``, from square roots."""
    angle = np.arccos(np.clip((first * last).sum(-1, keepdims=True), -1, 1))
    return (np.sin((1 - time) * angle) * first + np.sin(time * angle) * last) / np.sin(angle)


def mean_angle(roots: Array, truth: Array, time: float) -> float:
    """``d_G`` of a model, as square roots, to the geodesic from ignorance to truth."""
    ignorance = np.full_like(truth, 1 / math.sqrt(truth.shape[1]))
    return float(np.arccos(np.clip((roots * on_geodesic(ignorance, truth, time)).sum(-1), -1, 1)).mean())
