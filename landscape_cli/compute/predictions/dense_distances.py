"""Bhattacharyya and geodesic distances with torch alone: for CUDA devices, and where numba is not to be had."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ROWS, COLUMNS = 128, 512
"""Pairs of models worked on at once, for as many samples as ``ENTRIES`` allows."""
ENTRIES = 4_000_000
"""Affinities held at once."""
SMALLEST = 2.0**-960
"""Affinities under this are taken from logarithms: roots of probabilities underflow at 2^-1074."""


def normalised(log_probs: Float[Tensor, "model sample class"]) -> Float64[Tensor, "model sample class"]:
    """Log-probabilities in float64 whose exponentials sum to 1; NaN where a sample is no distribution."""
    exact = log_probs.double()
    return exact - exact.logsumexp(2, keepdim=True)


def dense_sums(
    first: Float[Tensor, "model sample class"],
    second: Float[Tensor, "other sample class"] | None,
    *,
    angles: bool,
) -> Float64[Tensor, "model other"]:
    """Sum over the samples of ``−log⟨s_i, s_j⟩``, or of the angles ``arccos⟨s_i, s_j⟩``, in float64 throughout.

    Affinities below the range of float64 are done again from log-probabilities. Cost: M·M'·N·C multiplications and
    M·M'·N logarithms or square roots; memory for a few times ``ENTRIES`` numbers and for the inputs in float64, a
    block of samples at a time.
    """
    other = first if second is None else second
    total = torch.zeros(len(first), len(other), dtype=torch.float64, device=first.device)
    for rows, cols, part in _blocks(len(first), len(other), first.shape[1]):
        if second is None and cols.stop <= rows.start:
            continue
        logs = [normalised(x[span, part]).transpose(0, 1) for x, span in ((first, rows), (other, cols))]
        if angles:
            one, two = ((log / 2).exp() for log in logs)
            chords = torch.cdist(one, two, compute_mode="donot_use_mm_for_euclid_dist")
            total[rows, cols] += (2 * torch.asin((chords / 2).clamp(max=math.sqrt(0.5)))).sum(0)
        else:
            total[rows, cols] += _negative_logs(*logs).sum(0)
    if second is None:
        total = total.triu(1)
        total = total + total.T
    return total.clamp_(min=0)


def _negative_logs(
    first: Float64[Tensor, "sample model class"], second: Float64[Tensor, "sample other class"]
) -> Float64[Tensor, "sample model other"]:
    roots = [(log / 2).exp() for log in (first, second)]
    affinities = roots[0] @ roots[1].transpose(1, 2)
    # Rounding moved the vectors' lengths from 1: taken out, nearly equal models lose no digits to it.
    corrections = [(root * root).sum(2).log() / 2 for root in roots]
    result = corrections[0][:, :, None] + corrections[1][:, None, :] - affinities.log()
    n, i, j = (affinities < SMALLEST).nonzero(as_tuple=True)
    if len(n):
        result[n, i, j] = -((first[n, i] + second[n, j]) / 2).logsumexp(1)
    return result


def _blocks(models: int, others: int, samples: int) -> Iterator[tuple[slice, slice, slice]]:
    step = max(1, ENTRIES // (min(models, ROWS) * min(others, COLUMNS)))
    for i in range(0, models, ROWS):
        for j in range(0, others, COLUMNS):
            for n in range(0, samples, step):
                yield (
                    slice(i, min(i + ROWS, models)),
                    slice(j, min(j + COLUMNS, others)),
                    slice(n, min(n + step, samples)),
                )


def dense_memory(models: int, others: int, samples: int, classes: int) -> int:
    """The most bytes :func:`dense_sums` holds beside its arguments, its result and one copy of it."""
    rows, columns = min(models, ROWS), min(others, COLUMNS)
    step = min(samples, max(1, ENTRIES // (rows * columns)))
    return 8 * step * (4 * rows * columns + 6 * (rows + columns) * classes) + 16 * models * others
