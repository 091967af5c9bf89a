"""Distances between tangent kernels, their velocity, and how they lie to the labels (Fort et al. 2020, section 2)."""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from landscape_cli.compute.tangent.choices import KernelForm
from landscape_cli.errors import NetworkError

BLOCK = 1 << 22  # entries that are in float64 at a time

Square = Float[Tensor, "row row"]


def norm(kernel: Square) -> float:
    """Frobenius norm, summed in float64."""
    return math.sqrt(sum(float(part.double().square().sum()) for part in _blocks(kernel)))


def kernel_distance(first: Square, second: Float[Tensor, "other other"]) -> float:
    """``S(w, w') = 1 − Tr(K K'ᵀ) / (‖K‖_F ‖K'‖_F)``, from 0 (equal up to scale) to 1 for kernels of networks.

    Computed as ``½ ‖K/‖K‖ − K'/‖K'‖‖²`` in float64, which does not cancel for nearly equal kernels and is exactly 0
    for equal ones. Cost: two passes over both; memory: a block of a few million entries.

    Source: Fort et al. 2020, section 2. The forms of a kernel (full, trace, pseudo) give different distances.

    Raises:
        NetworkError: If the two are of different size, or one is zero.

    >>> kernel_distance(torch.eye(2), torch.diag(torch.tensor([1.0, 0.0])))
    0.2928932188134524
    """
    scales = [_scale(kernel) for kernel in (first, second)]
    if first.shape != second.shape:
        raise NetworkError(
            f"kernels of {len(first)} and {len(second)} rows cannot be compared",
            "both must be of one form, on the same samples and classes",
        )
    total = 0.0
    for one, other in zip(_blocks(first), _blocks(second), strict=True):
        total += float((one.double() * scales[0] - other.double() * scales[1]).square().sum())
    return 0.5 * total


def distance_matrix(kernels: Sequence[Square]) -> Float64[Tensor, "kernel kernel"]:
    """Kernel distances between all pairs, symmetric to the bit with a zero diagonal.

    Cost: one pass over all kernels a pair; each is made once, never once a pair.

    Raises:
        NetworkError: See :func:`kernel_distance`.
    """
    out = torch.zeros(len(kernels), len(kernels), dtype=torch.float64)
    for i in range(len(kernels)):
        for j in range(i):
            out[i, j] = out[j, i] = kernel_distance(kernels[i], kernels[j])
    return out


def velocity(distance: float, interval: float) -> float:
    """``v(t) = S(w_t, w_{t+Δt}) / Δt``, with Δt in epochs (Fort et al. 2020; they use 0.4)."""
    return distance / interval


def centered(kernel: Square, *, form: KernelForm, classes: int) -> Square:
    """``H K H`` with ``H = I − 11ᵀ/n`` over the samples; in the full kernel within each pair of classes."""
    parts = classes if form == "full" else 1
    samples = len(kernel) // parts
    blocks = kernel.double().reshape(samples, parts, samples, parts)
    rows, columns = blocks.mean(0, keepdim=True), blocks.mean(2, keepdim=True)
    return (blocks - rows - columns + rows.mean(2, keepdim=True)).reshape(kernel.shape)


def centered_alignment(first: Square, second: Square, *, form: KernelForm, classes: int) -> float:
    """Centred kernel alignment (CKA): ``⟨HKH, HK'H⟩ / (‖HKH‖ ‖HK'H‖)``, 1 for equal kernels (Kornblith et al. 2019).

    Raises:
        NetworkError: See :func:`kernel_distance`; also if a kernel is constant over samples.
    """
    return 1 - kernel_distance(*(centered(kernel, form=form, classes=classes) for kernel in (first, second)))


def target_alignment(kernel: Square, labels: Int64[Tensor, " sample"], *, form: KernelForm, classes: int) -> float:
    """Kernel–target alignment ``⟨K, T⟩ / (‖K‖ ‖T‖)`` (Cristianini et al. 2001).

    With one-hot labels ``Y (n, C)``: ``T = Y Yᵀ`` for the n×n forms, ``T = vec(Y) vec(Y)ᵀ`` for the full kernel. Not
    centred.

    Raises:
        NetworkError: If the kernel is zero.
    """
    scale = _scale(kernel)
    targets = torch.nn.functional.one_hot(labels, classes).double().to(kernel.device)
    if form == "full":
        y = targets.reshape(-1, 1)
        return float((y.T @ _times(kernel, y)).item()) * scale / float(y.square().sum())
    product = float((targets * _times(kernel, targets)).sum())
    return product * scale / float((targets.T @ targets).norm())


def eigenvalues(kernel: Square) -> Float64[Tensor, " row"]:
    """All eigenvalues, falling, in float64. Cost: cubic in the rows, and one copy in float64."""
    values: Tensor = torch.linalg.eigvalsh(kernel.double())
    return values.flip(0)


def effective_rank(spectrum: Float64[Tensor, " row"]) -> float:
    """``exp(−Σ q log q)`` with ``q = λ/Σλ``: the number of directions that carry the kernel (Roy and Vetterli 2007).

    Eigenvalues below zero are rounding of a positive semidefinite matrix and count as zero.

    >>> round(effective_rank(torch.ones(4, dtype=torch.float64)), 12)
    4.0
    """
    shares = spectrum.clamp(min=0)
    shares = shares[shares > 0] / shares.sum()
    return float((-(shares * shares.log()).sum()).exp())


def participation(kernel: Square) -> float:
    """``(tr K)² / ‖K‖_F²``: the participation ratio of the eigenvalues, without computing them."""
    return float(kernel.diagonal().double().sum()) ** 2 * _scale(kernel) ** 2


def _scale(kernel: Tensor) -> float:
    size = norm(kernel)
    if not size > 0 or not math.isfinite(size):
        raise NetworkError(
            "a tangent kernel is zero: no parameter moves any output"
            if size == 0
            else "a tangent kernel is not finite or too large for float64",
            "look at the checkpoint: dead units, zero weights, or diverged",
        )
    return 1 / size


def _times(kernel: Tensor, vectors: Tensor) -> Tensor:
    return torch.cat([part.double() @ vectors for part in _blocks(kernel)])


def _blocks(kernel: Tensor) -> Iterator[Tensor]:
    step = max(1, BLOCK // max(1, kernel.shape[1]))
    for start in range(0, len(kernel), step):
        yield kernel[start : start + step]
