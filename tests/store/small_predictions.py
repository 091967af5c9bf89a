"""Small predictions to write and read in tests; imports little, for processes that are killed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.store.prediction_growth import PredictionSet
from landscape_cli.store.tables import Table


def log_probs(models: int, samples: int, classes: int, *, scale: float = 3.0, seed: int = 0) -> NDArray[np.float64]:
    logits = np.random.default_rng(seed).normal(size=(models, samples, classes)) * scale
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def what(samples: int = 40, classes: int = 5, **changes: Any) -> PredictionSet:
    settings: dict[str, Any] = {
        "split": "test",
        "data": "digits",
        "fingerprint": "f" * 32,
        "classes": classes,
        "labels": np.arange(samples) % classes,
        "sample_ids": np.arange(samples) * 2,
    }
    return PredictionSet(**(settings | changes))


def models(count: int, first: int = 0) -> Table:
    rows = range(first, first + count)
    return Table.from_rows([{"key": f"k{i}", "name": f"runs/{i}@2ep", "lr": 0.1 * i, "opt": "ab"[i % 2]} for i in rows])
