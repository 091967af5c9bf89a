"""Small prediction files for tests."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape_cli.store.prediction_growth import PredictionSet
from landscape_cli.store.prediction_writer import create_predictions
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table


def random_log_probs(models: int, samples: int, classes: int, *, seed: int = 0, sharp: float = 3.0) -> np.ndarray:
    """Log-probabilities of random logits, in float64."""
    logits = np.random.default_rng(seed).normal(size=(models, samples, classes)) * sharp
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def write_predictions(
    path: Path,
    log_probs: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    dtype: str = "float64",
    split: str = "test",
    columns: Mapping[str, Any] | None = None,
    name: str = "model",
) -> Predictions:
    """A predictions file of given log-probabilities ``(model, sample, class)``; labels count up by default."""
    models, samples, classes = log_probs.shape
    labels = np.arange(samples) % classes if labels is None else labels
    what = PredictionSet(
        split, "made", "print", classes, labels.astype(np.int64), np.arange(samples), dtype=dtype  # type: ignore[arg-type]
    )  # fmt: skip
    rows = [
        {"key": f"{name}-{i}", "name": f"{name} {i}", "seed": i, **{k: v[i] for k, v in (columns or {}).items()}}
        for i in range(models)
    ]
    create_predictions(path, what, Table.from_rows(rows), log_probs)
    return Predictions.open(path)


def plain_distances(first: np.ndarray, second: np.ndarray, kind: str) -> np.ndarray:
    """The distances of METHODS, written plainly, in float64: means over samples."""
    out = np.empty((len(first), len(second)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, a in enumerate(first.astype(np.float64)):
            for j, b in enumerate(second.astype(np.float64)):
                p, q = np.exp(a), np.exp(b)
                affinity = np.exp((a + b) / 2).sum(-1)
                each = {
                    "bhattacharyya": lambda a=affinity: -np.log(a),
                    "skl": lambda p=p, q=q, a=a, b=b: np.where(p == q, 0, (p - q) * (a - b)).sum(-1),
                    "geodesic": lambda a=affinity: np.arccos(np.minimum(a, 1)),
                    "hellinger": lambda p=p, q=q: ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(-1),
                    "euclidean": lambda p=p, q=q: ((p - q) ** 2).sum(-1),
                }[kind]()
                out[i, j] = 0 if np.array_equal(a, b) else each.mean()
    return out


def plain_references(labels: np.ndarray, classes: int, *, times: list[float], smoothing: float = 0.0) -> np.ndarray:
    """Ignorance, the geodesic at ``times``, and the truth: log-probabilities, written plainly."""
    start = np.full((len(labels), classes), 1 / classes)
    rest = smoothing / (classes - 1)
    end = np.full((len(labels), classes), rest)
    end[np.arange(len(labels)), labels] = 1 - smoothing
    angle = math.acos(float((np.sqrt(start) * np.sqrt(end)).sum(-1)[0]))
    between = [
        ((math.sin((1 - t) * angle) * np.sqrt(start) + math.sin(t * angle) * np.sqrt(end)) / math.sin(angle)) ** 2
        for t in times
    ]
    with np.errstate(divide="ignore"):
        return np.log(np.stack([start, *between, end]))
