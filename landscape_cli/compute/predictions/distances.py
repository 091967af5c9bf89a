"""Distances between models as probability distributions over the labels of many samples (Mao et al. 2023).

Every function takes log-probabilities and renormalises them in float64, so that rounded ones (float32, or read from
float16) lose nothing to their sum being 1 only nearly. Nothing is added to probabilities: a pair without overlap is
+∞ apart.
"""

from functools import cache
from types import ModuleType
from typing import cast, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.dense_distances import dense_memory, dense_sums
from landscape_cli.compute.predictions.product_distances import ProductKind, product_memory, product_sums
from landscape_cli.errors import DataError, UsageError


def distance_sums(
    first: Float[Tensor, "model sample class"],
    second: Float[Tensor, "other sample class"] | None = None,
    *,
    kind: DistanceName,
) -> Float64[Tensor, "model other"]:
    """The SUM over the samples of a distance, for all pairs: of blocks of samples, these add up.

    ============== ==================================== =====================================
    kind           per sample                           against a model without overlap
    ============== ==================================== =====================================
    bhattacharyya  ``−log Σ_c √(p q)``                  +∞
    skl            ``Σ_c (p − q) log(p/q)``             +∞ if either is 0 where the other is not
    geodesic       ``arccos Σ_c √(p q)``                π/2
    hellinger      ``Σ_c (√p − √q)²``                   2
    euclidean      ``Σ_c (p − q)²``                     2 at most
    ============== ==================================== =====================================

    Natural logarithms. Exact to about 1e-15 of a sample's distance or, for nearly equal models, to 1e-16 absolutely
    (the angles of ``geodesic`` and, from 32 classes on, distant pairs of ``bhattacharyya``, whose products are then
    taken in float32: to a few 1e-7 of the distance, never more than 1e-5). Affinities below the range of float64
    come from log-sum-exp. The same on any device, but for the order of summation.

    Args:
        first: Log-probabilities; float16 and bfloat16 are read as float32.
        second: The other side of the pairs. None: the pairs of ``first`` among themselves, symmetric to the bit,
            with a diagonal of exact zeros.
        kind: The distance.

    Returns:
        On the CPU, or on the inputs' CUDA device.

    Cost: M·M'·N·C multiplications, half of them when ``second`` is None, on as many threads as torch uses; a
    logarithm a pair for some 2,500 of them. Memory: :func:`working_memory`.

    Raises:
        DataError: If a sample is no distribution (NaN, +∞, or −∞ for all classes), which is named, or the two sides
            differ in samples or classes.
        UsageError: If there is no such distance.
    """
    if kind not in get_args(DistanceName):
        raise UsageError(f"there is no distance '{kind}'", "it is " + ", ".join(get_args(DistanceName)))
    if second is not None and first.shape[1:] != second.shape[1:]:
        shapes = " and ".join(f"{side.shape[1]} samples × {side.shape[2]} classes" for side in (first, second))
        raise DataError(f"predictions of {shapes} cannot be compared", "take both over the same samples")
    first, second = _readable(first), None if second is None else _readable(second)
    if 0 in first.shape or (second is not None and len(second) == 0):
        return torch.zeros(len(first), len(first) if second is None else len(second), dtype=torch.float64)
    if kind in get_args(ProductKind):
        return _checked(product_sums(first, second, kind=cast(ProductKind, kind)), first, second)
    angles = kind == "geodesic"
    if first.device.type == "cuda":
        fused = None if angles else triton_kernels(first.device)
        if fused is not None:
            return _checked(fused.bhattacharyya_sums(first, second), first, second)
    compiled = cpu_kernels() if first.device.type == "cpu" else None
    if compiled is None:
        return _checked(dense_sums(first, second, angles=angles), first, second)
    arrays = [None if side is None else side.contiguous().numpy() for side in (first, second)]
    try:
        sums = compiled.pair_sums(*arrays, angles=angles, threads=torch.get_num_threads())
    except compiled.NotADistributionError as error:
        raise _no_distribution(*error.args) from None
    return torch.from_numpy(sums)


def pairwise(
    first: Float[Tensor, "model sample class"],
    second: Float[Tensor, "other sample class"] | None = None,
    *,
    kind: DistanceName = "bhattacharyya",
    block_samples: int | None = None,
) -> Float64[Tensor, "model other"]:
    """The MEAN over the samples of a distance, for all pairs; see :func:`distance_sums`.

    Args:
        first: Log-probabilities, in memory as a whole.
        second: The other side, or None.
        kind: The distance.
        block_samples: Samples worked on at a time; it matters only to the last digits.

    Raises:
        DataError: As :func:`distance_sums`, and if there are no samples.
    """
    samples = first.shape[1]
    if samples == 0:
        raise DataError("there are no samples to take a mean distance over")
    step = block_samples or samples
    total: Tensor | None = None
    for n in range(0, samples, step):
        part = slice(n, n + step)
        sums = distance_sums(first[:, part], None if second is None else second[:, part], kind=kind)
        total = sums if total is None else total.add_(sums)
    assert total is not None
    return total.div_(samples)


def working_memory(models: int, others: int, samples: int, classes: int, kind: DistanceName) -> int:
    """The most bytes that :func:`distance_sums` holds on a CPU beside its arguments and its result.

    Args:
        models: Models of ``first``.
        others: Models of ``second``; 0 when it is None.
        samples: Samples a call.
        classes: Classes.
        kind: The distance.

    About 41 kB a model, or 20 MB where that is more, for the compiled kernels (``bhattacharyya``, ``geodesic``),
    however many samples there are; with more than 2,560 classes 16 bytes a class and model. For the others 220 MB, or
    56 bytes a class and model where that is more, and six times the result. Inputs that are not contiguous are copied
    on top of it.
    """
    if kind in get_args(ProductKind):
        return product_memory(models, others, samples, classes)
    compiled = cpu_kernels()
    if compiled is None:
        return dense_memory(models, others or models, samples, classes)
    memory: int = compiled.pair_memory(models + others, samples, classes, torch.get_num_threads())
    return memory


@cache
def cpu_kernels() -> ModuleType | None:
    """The compiled kernels, or None where numba cannot be imported."""
    try:
        from landscape_cli.compute.predictions import cpu_distances
    except ImportError:
        return None
    return cpu_distances


@cache
def triton_kernels(device: torch.device) -> ModuleType | None:
    """The fused CUDA kernels, or None where triton cannot be imported or they do not stand their trial."""
    try:
        from landscape_cli.compute.predictions import triton_kernels as kernels
    except ImportError:
        return None
    return kernels if kernels.agree(device) else None


def _readable(log_probs: Tensor) -> Tensor:
    """At least float32, on a device that knows float64."""
    if log_probs.device.type not in ("cpu", "cuda"):
        log_probs = log_probs.cpu()
    return log_probs.detach() if log_probs.dtype in (torch.float32, torch.float64) else log_probs.detach().float()


def _checked(sums: Tensor, first: Tensor, second: Tensor | None) -> Tensor:
    """The sums, unless a NaN among them shows that a sample is no distribution."""
    if sums.isnan().any():
        for side, log_probs in enumerate((first, second)):
            if log_probs is not None:
                broken = ~log_probs.double().logsumexp(2).isfinite()
                if broken.any():
                    raise _no_distribution(side, *(int(i) for i in broken.nonzero()[0]))
    return sums


def _no_distribution(side: int, model: int, sample: int) -> DataError:
    where = " on the second side" if side else ""
    return DataError(
        f"model {model}{where} gives sample {sample} no distribution: NaN, +inf, or -inf for every class",
        "check the network's outputs, and that these are log-probabilities",
    )
