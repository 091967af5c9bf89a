"""The eigenvalues of largest magnitude of a symmetric matrix that is known by its products alone.

Block Krylov with full reorthogonalisation, Rayleigh–Ritz and thick restart (Stewart 2002, Wu & Simon 2000, in blocks).
The spectrum of InPCA has both signs; magnitude decides, so that no shift is needed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

EPSILON = torch.finfo(torch.float64).eps
BASIS = 24  # blocks; few spectra need as many products

Matrix = Float64[Tensor, "row _"]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Leading eigenpairs of ``S = diag(r) A``.

    Args:
        values: Eigenvalues, by descending magnitude.
        vectors: Unit eigenvectors.
        images: ``A v`` of each.
        residuals: ``‖S v − λ v‖``.
        norm: The largest magnitude of an eigenvalue.
        converged: Whether all residuals are below the tolerance, relative to ``norm``.
    """

    values: Float64[Tensor, " dim"]
    vectors: Float64[Tensor, "model dim"]
    images: Float64[Tensor, "model dim"]
    residuals: Float64[Tensor, " dim"]
    norm: float
    converged: bool


def by_magnitude(values: Float64[Tensor, " value"]) -> Tensor:
    """The order of descending magnitude; of a pair ±λ the positive one comes first.

    >>> by_magnitude(torch.tensor([1.0, -3.0, 3.0], dtype=torch.float64)).tolist()
    [2, 1, 0]
    """
    positive_first = torch.argsort(values, descending=True, stable=True)
    return positive_first[torch.argsort(values[positive_first].abs(), descending=True, stable=True)]


def block_width(count: int, size: int) -> int:
    """How many vectors a product takes at once: a wide block converges in fewer passes, and a pass is what costs."""
    return min(size, max(2 * count, count + 22))


def leading_pairs(
    product: Callable[[Matrix], Matrix],
    root: Float64[Tensor, " model"],
    count: int,
    *,
    tolerance: float = 1e-8,
    max_products: int = 29,
    basis: int = BASIS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Spectrum:
    """The ``count`` eigenpairs of largest magnitude of the symmetric ``S = diag(r) A`` from products with A.

    After j products the eigenvectors are those of S within the span of ``Ω, SΩ, …, S^{j−1}Ω``, Ω a random block of
    :func:`block_width` vectors. Residuals are computed from the stored products, not from a recurrence. A basis of
    more than ``basis`` blocks is compressed to its leading vectors, and goes on.

    Args:
        product: ``X → A X``.
        root: r; rows where it is zero take no part.
        count: How many, at most the number of rows that take part.
        tolerance: Largest residual, relative to the largest eigenvalue.
        max_products: Products at most; the best found so far is returned then.
        basis: Blocks that are kept at most (3 at least).
        seed: Of the random block.
        progress: Told after each product how many are done, and of how many at most.

    Cost: ``max_products`` products at most; memory of ``16 M · width · basis`` bytes at most.
    """
    size = int((root > 0).sum())
    width = block_width(count, size)
    room = min(max(basis, 3) * width, size + width)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(root), width, generator=generator, dtype=torch.float64).to(root.device)
    block = torch.linalg.qr(start * (root > 0)[:, None]).Q
    # Pages that are not written yet take no memory.
    vectors, images = torch.empty(2, len(root), room, dtype=torch.float64, device=root.device)
    small = torch.zeros(room, room, dtype=torch.float64, device=root.device)  # Vᵀ S V
    held = done = 0
    while True:
        new = slice(held, held + block.shape[1])
        held = new.stop
        vectors[:, new], images[:, new] = block, product(block)
        reached = root[:, None] * images[:, new]
        small[:held, new] = vectors[:, :held].T @ reached
        small[new, :held] = small[:held, new].T
        done += 1
        values, mixing = torch.linalg.eigh((small[:held, :held] + small[:held, :held].T) / 2)
        order = by_magnitude(values)
        values, mixing = values[order], mixing[:, order]
        chosen, made = vectors[:, :held] @ mixing[:, :count], images[:, :held] @ mixing[:, :count]
        residuals = torch.linalg.vector_norm(root[:, None] * made - chosen * values[:count], dim=0)
        norm = float(values[0].abs())
        if progress is not None:
            progress(done, max_products)
        converged = bool((residuals <= tolerance * norm).all())
        if not (converged or done == max_products):
            block = _orthonormal_rest(reached, vectors[:, :held])
            converged = block.shape[1] == 0  # the space maps into itself: these are eigenvectors of S
        if converged or done == max_products:
            return Spectrum(values[:count], chosen, made, residuals, norm, converged)
        if held + block.shape[1] > room:
            kept = 2 * width
            for basis_or_image in (vectors, images):
                basis_or_image[:, :kept] = basis_or_image[:, :held] @ mixing[:, :kept]
            small.zero_()
            small[:kept, :kept] = torch.diag(values[:kept])
            held = kept


def _orthonormal_rest(block: Matrix, basis: Matrix) -> Matrix:
    """An orthonormal basis of the part of a block that a basis does not hold; columns of rounding alone are dropped."""
    level = float(torch.linalg.matrix_norm(block))
    for _ in range(2):  # the second time removes what rounding left of the first
        block = block - basis @ (basis.T @ block)
    left, sizes, _ = torch.linalg.svd(block, full_matrices=False)
    found = left[:, sizes > 100 * EPSILON * max(level, math.ulp(0.0))]
    found = found - basis @ (basis.T @ found)
    orthonormal: Tensor = torch.linalg.qr(found).Q
    return orthonormal
