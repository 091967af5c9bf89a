"""Pairwise Bhattacharyya distances, and progress, against plain re-statements of the published algorithms.

python benchmarks/distances_speed.py [--quick]

The distances as published (Mao et al. 2023): chunk after chunk of the samples, a batched product of the square roots of all
models, logarithms of all of it, clipping, a look for NaN, sum; the chunk is 20 samples at 1,000 models. Progress as published: a
bounded scalar minimisation for each model. Compilation is apart: the first call is not timed.
"""

import math
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from landscape_cli.compute.predictions.distances import pairwise
from landscape_cli.compute.predictions.progress import progress


def plain_distances(log_probs: Tensor, samples: int) -> Tensor:
    probs = log_probs[:, :samples].exp().transpose(0, 1)
    total = torch.zeros(len(log_probs), len(log_probs), dtype=torch.float64)
    for part in probs.split(max(1, 20_000_000 // len(log_probs) ** 2)):
        apart = -torch.log(torch.bmm(part.sqrt(), part.sqrt().transpose(1, 2)))
        apart[apart == torch.inf] = 100
        apart[apart < 0] = 0
        assert apart.isnan().sum() == 0
        total += apart.sum(0)
    return total / samples


def plain_progress(log_probs: Tensor, labels: Tensor, models: int) -> Tensor:
    roots = (0.5 * log_probs[:models].double()).exp().numpy()
    to_start = roots.sum(-1) / math.sqrt(roots.shape[2])
    to_truth = roots[:, np.arange(len(labels)), labels.numpy()]
    angle = np.full(len(labels), math.acos(1 / math.sqrt(roots.shape[2])))

    def apart(t: float, first: NDArray[np.float64], last: NDArray[np.float64]) -> float:
        cosine = first * np.sin((1 - t) * angle) / np.sin(angle) + last * np.sin(t * angle) / np.sin(angle)
        return float(np.arccos(np.clip(cosine, 0, 1)).sum())

    return torch.tensor(
        [
            minimize_scalar(apart, bounds=(0, 1), method="bounded", args=sides).x
            for sides in zip(to_start, to_truth, strict=True)
        ]
    )


def best_of(times: int, function: Callable[[], Tensor]) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        function()
        found.append(time.perf_counter() - begun)
    return min(found)


def made(models: int, samples: int, classes: int, *, close: bool = False) -> Tensor:
    random = torch.Generator().manual_seed(0)
    base = torch.randn(1, samples, classes, generator=random)
    step = torch.randn(models, samples, classes, generator=random)
    return torch.log_softmax(base + 1e-3 * step if close else 3 * step, -1)


def main() -> None:
    quick = "--quick" in sys.argv
    cases = [
        ("M 1,000  N 1,000  C 10", (1000, 1000, 10), False),
        ("the same, all models close", (1000, 1000, 10), True),
    ]
    if quick:
        cases = [("M 300  N 300  C 10", (300, 300, 10), False)]
    else:
        cases += [
            ("M 1,000  N 1,000  C 100", (1000, 1000, 100), False),
            ("M 4,000  N 2,000  C 10", (4000, 2000, 10), False),
        ]
    begun = time.perf_counter()
    for classes in (10, 100):
        pairwise(made(64, 8, classes))
    progress(made(4, 8, 10), torch.zeros(8, dtype=torch.int64))
    print(f"first calls, compilation or its cache included: {time.perf_counter() - begun:.1f} s")
    for name, shape, close in cases:
        log_probs = made(*shape, close=close)
        own = best_of(3, lambda x=log_probs: pairwise(x))
        samples = min(shape[1], 200)  # the plain loop takes the same time for every sample
        plain = best_of(3, lambda x=log_probs, n=samples: plain_distances(x, n)) * shape[1] / samples
        print(f"distances, {name}: {own:.3f} s; plain loop {plain:.2f} s; {plain / own:.0f} ×")
    models = 300 if quick else 1000
    log_probs, labels = made(models, 1000, 10), torch.arange(1000) % 10
    own = best_of(3, lambda: torch.from_numpy(progress(log_probs, labels).progress))
    plain = best_of(3, lambda: plain_progress(log_probs, labels, 200)) * models / 200
    print(f"progress, {models} models, 1,000 samples: {own:.3f} s; plain search {plain:.2f} s; {plain / own:.0f} ×")


if __name__ == "__main__":
    main()
