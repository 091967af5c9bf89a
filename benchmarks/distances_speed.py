"""Pairwise Bhattacharyya distances, and progress, against plain re-statements of the published algorithms.

python benchmarks/distances_speed.py [--quick]

The distances as published (Mao et al. 2023): chunk after chunk of the samples, a batched product of the square roots of all
models, logarithms of all of it, clipping, sum. The chunk is 20 samples at 1,000 models, the fastest there. Progress: every point
of a grid on the geodesic, then the nearest. Compilation is apart: the first call is not timed.
"""

import math
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from landscape_cli.compute.predictions.distances import pairwise
from landscape_cli.compute.predictions.progress import progress


def plain_distances(log_probs: Tensor, samples: int) -> Tensor:
    probs = log_probs[:, :samples].exp().transpose(0, 1)
    total = torch.zeros(len(log_probs), len(log_probs), dtype=torch.float64)
    for part in probs.split(max(1, 20_000_000 // len(log_probs) ** 2)):
        roots = part.sqrt()
        apart = -torch.log(torch.bmm(roots, roots.transpose(1, 2)))
        apart[apart == torch.inf] = 100
        apart[apart < 0] = 0
        total += apart.sum(0)
    return total / samples


def plain_progress(log_probs: Tensor, labels: Tensor, points: int = 100) -> Tensor:
    samples, classes = log_probs.shape[1:]
    roots = (0.5 * log_probs).exp()
    truth = torch.nn.functional.one_hot(labels, classes).float()
    start = torch.full((samples, classes), 1 / math.sqrt(classes))
    angle = math.acos(1 / math.sqrt(classes))
    best = []
    for t in torch.linspace(0, 1, points):
        point = (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * truth) / math.sin(angle)
        best.append(torch.acos((roots * point).sum(-1).clamp(-1, 1)).mean(-1))
    return torch.stack(best).argmin(0) / (points - 1)


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
    plain = best_of(2, lambda: plain_progress(log_probs, labels))
    print(
        f"progress, {models} models, 1,000 samples: {own:.3f} s; plain grid of 100 {plain:.2f} s; {plain / own:.0f} ×"
    )


if __name__ == "__main__":
    main()
