"""Bhattacharyya distances on CUDA: product, logarithm and sum in one kernel, never M × M × N affinities in memory.

Run so far only in Triton's interpreter (``TRITON_INTERPRET=1``), against the float64 results: no GPU was at hand, so
tile sizes are chosen by counting registers and bytes, and no time has been measured. That is why :func:`agree` tries
them on each device before they are trusted with anything.

Roots of probabilities are kept in float32 and multiplied on tensor cores as three tf32 products each (``tf32x3``: a
number is split into two of eleven bits, and only the product of the two lower parts is left out), which errs by about
2⁻²². Renormalising what rounding did to the vectors' lengths leaves nothing else to lose. Affinities are multiplied up
in float32; every second time the binary exponent moves to an integer, so there is no logarithm in the loop: per
affinity one multiplication and one and a half integer operations.

Imports triton.
"""

import math
import warnings
from functools import cache
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.predictions.dense_distances import dense_sums, normalised

TILE = 128
"""Models along the side of a tile: 64 affinities, products and exponents a thread at eight warps."""
WARPS = 8
CLOSE = 0.02
"""Mean distance under which float32 products cannot promise five digits, as on the CPU."""
NUMBERS = 50_000_000
"""Numbers of all models together that are held at once."""


@triton.jit
@no_type_check
def multiply_up(
    rows, cols, out, spoilt, samples, models, others,
    triangle: tl.constexpr, width: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Add ``−Σ_n log⟨s_i, s_j⟩`` of a tile of pairs to ``out``; too small an affinity is told in ``spoilt``."""
    across, down = tl.program_id(0), tl.program_id(1)
    if triangle:  # noqa: SIM102 - a constant of the compiler and a number of the device do not mix
        if across < down:
            return
    i, j, k = down * tile + tl.arange(0, tile), across * tile + tl.arange(0, tile), tl.arange(0, width)
    row_at, col_at = rows + i[:, None] * width + k[None, :], cols + j[:, None] * width + k[None, :]
    row_there, col_there = i[:, None] < models, j[:, None] < others
    inside = (i[:, None] < models) & (j[None, :] < others)
    factor = tl.full((tile, tile), 1.0, tl.float32)
    exponent = tl.zeros((tile, tile), tl.int32)
    least = tl.full((tile, tile), 1.0, tl.float32)
    for _ in range(0, samples, 2):
        for _ in tl.static_range(2):
            row = tl.load(row_at, mask=row_there, other=0.0)
            col = tl.load(col_at, mask=col_there, other=0.0)
            affinity = tl.dot(row, tl.trans(col), input_precision="tf32x3")
            factor *= tl.where(inside, affinity, 1.0)
            row_at += models * width
            col_at += others * width
        least = tl.minimum(least, factor)
        bits = factor.to(tl.int32, bitcast=True)
        exponent += (bits >> 23) - 127
        factor = ((bits & 0x7FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
    tl.store(spoilt + down * tl.num_programs(0) + across, (tl.min(least) < 7.9e-31).to(tl.int32))
    place = out + i[:, None].to(tl.int64) * others + j[None, :]
    logs = tl.log2(factor.to(tl.float64)) + exponent.to(tl.float64)
    tl.store(place, tl.load(place, mask=inside, other=0.0) - 0.6931471805599453 * logs, mask=inside)


def bhattacharyya_sums(
    first: Float[Tensor, "model sample class"],
    second: Float[Tensor, "other sample class"] | None,
    *,
    tile: int = TILE,
) -> Float64[Tensor, "model other"]:
    """Sum over the samples of ``−log⟨s_i, s_j⟩`` of all pairs, on the inputs' device.

    Tiles of pairs with a mean under ``CLOSE``, or with two affinities whose product is under 2⁻¹⁰⁰ (the
    lower parts of smaller ones are out of float32's range), are done again in float64.

    Args:
        first: Log-probabilities, on a CUDA device (or anywhere in the interpreter).
        second: The other side, or None for the pairs of ``first``: symmetric, with a zero diagonal.
        tile: Models along the side of a tile, a power of two from 16.

    Cost: three tf32 products for each of the classes, rounded up to a power of two from 16, of every pair and sample;
    half the pairs when ``second`` is None.
    """
    sides = [first] if second is None else [first, second]
    models, others = len(sides[0]), len(sides[-1])
    samples, classes = first.shape[1:]
    total = torch.zeros(models, others, dtype=torch.float64, device=first.device)
    lengths = [torch.zeros(len(side), dtype=torch.float64, device=first.device) for side in sides]
    grid = (-(-others // tile), -(-models // tile))
    spoilt = torch.zeros(grid[1], grid[0], dtype=torch.bool, device=first.device)
    step = max(2, NUMBERS // (classes * (models + others)))
    for n in range(0, samples, step):
        parts = [_roots(side[:, n : n + step], lengths[index]) for index, side in enumerate(sides)]
        rows, cols = parts[0], parts[-1]
        now = torch.zeros(grid[1], grid[0], dtype=torch.int32, device=first.device)
        options: dict[str, Any] = {"num_warps": WARPS}
        multiply_up[grid](
            rows, cols, total, now, len(rows), models, others,
            triangle=second is None, width=rows.shape[2], tile=tile, **options,
        )  # fmt: skip
        spoilt |= now.bool()
    total += (lengths[0][:, None] + lengths[-1][None, :]) / 2
    far = total.fill_diagonal_(math.inf) if second is None else total
    far = torch.nn.functional.pad(far, (0, -others % tile, 0, -models % tile), value=math.inf)
    spoilt |= (far < CLOSE * samples).view(grid[1], tile, grid[0], tile).any(3).any(1)
    for down, across in spoilt.nonzero().tolist():
        if second is None and across < down:
            continue
        i, j = slice(down * tile, (down + 1) * tile), slice(across * tile, (across + 1) * tile)
        same = second is None and down == across
        total[i, j] = dense_sums(sides[0][i], None if same else sides[-1][j], angles=False)
    if second is None:
        total = total.triu(1)
        total = total + total.T
    return total.clamp_(min=0)


@cache
def agree(device: torch.device) -> bool:
    """Whether the kernel compiles for a device and gives there what float64 gives, to 1e-5, on a few made-up models."""
    stream = torch.Generator().manual_seed(0)
    log_probs = torch.log_softmax(2 * torch.randn(TILE + 3, 5, 10, generator=stream), 2).to(device)
    try:
        found = bhattacharyya_sums(log_probs, None)
    except Exception as error:  # whatever a compiler may raise, the dense way is there
        warnings.warn(f"the fused CUDA kernel does not run here, the slower way is taken: {error}", stacklevel=2)
        return False
    exact = dense_sums(log_probs, None, angles=False)
    if torch.allclose(found, exact, rtol=1e-5, atol=0):
        return True
    warnings.warn("the fused CUDA kernel gives wrong distances here, the slower way is taken", stacklevel=2)
    return False


def _roots(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """``√p`` in float32, ``(sample, model, class)``; ``lengths`` grows by ``Σ log⟨s, s⟩``.

    Classes are filled up with zeros, and the number of samples is made even by one on which all models agree.
    """
    root = (normalised(log_probs) / 2).exp().transpose(0, 1).float()
    lengths += root.double().square().sum(2).log().sum(0)
    width = max(16, 1 << (root.shape[2] - 1).bit_length())
    padded = root.new_zeros(len(root) + len(root) % 2, root.shape[1], width)
    padded[: len(root), :, : root.shape[2]] = root
    padded[len(root) :, :, 0] = 1
    return padded
