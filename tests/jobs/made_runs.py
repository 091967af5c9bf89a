"""A small made sweep of runs, as predictions: architectures that differ much, optimisers little, seeds hardly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landscape_cli.store.predictions import Predictions
from tests.jobs.made_predictions import write_predictions


def write_sweep(
    path: Path,
    *,
    networks: Sequence[str] = ("mlp", "cnn"),
    optimizers: Sequence[str] = ("sgd", "adam"),
    seeds: int = 2,
    checkpoints: int = 5,
    samples: int = 40,
    classes: int = 4,
    dtype: str = "float64",
    columns: dict[str, Any] | None = None,
) -> Predictions:
    """Runs from near ignorance towards the truth, with columns run, step, epoch, network, optimizer, seed."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, samples)
    own = {name: draw.normal(size=(samples, classes)) for name in (*networks, *optimizers)}
    logits, rows = [], []
    for network in networks:
        for optimizer in optimizers:
            for seed in range(seeds):
                way = 3 * own[network] + own[optimizer] + 0.3 * draw.normal(size=(samples, classes))
                for k in range(checkpoints):
                    far = (0.8 + 0.05 * seed) * k / (checkpoints - 1)
                    logits.append(7 * far * np.eye(classes)[labels] + np.sin(np.pi * far) * way)
                    rows.append((f"runs/{network}-{optimizer}-{seed}", 10 * k, k / 2, network, optimizer, seed))
    logs = np.stack(logits) + 0.1 * draw.normal(size=(len(logits), samples, classes))
    top = logs.max(-1, keepdims=True)
    logs = logs - top - np.log(np.exp(logs - top).sum(-1, keepdims=True))
    names = ("run", "step", "epoch", "network", "optimizer", "seed")
    table = {name: [row[k] for row in rows] for k, name in enumerate(names)}
    return write_predictions(path, logs, labels=labels, dtype=dtype, columns=table | (columns or {}))
