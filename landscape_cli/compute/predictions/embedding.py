"""InPCA: models as points of a Minkowski space whose intervals are their distances (Mao et al. 2023, Eqs. 6–8, C.3).

The same centring serves IsKL (symmetrised Kullback–Leibler distances), the geodesic embedding (geodesic distances) and
PCA (squared Euclidean distances of the probabilities): only D differs.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.predictions.choices import SolverName
from landscape_cli.compute.predictions.explained import explained_pairwise
from landscape_cli.compute.predictions.operators import Centred, DenseRows, RowBlocks
from landscape_cli.compute.predictions.spectrum import BASIS, EPSILON, Spectrum, by_magnitude, leading_pairs
from landscape_cli.errors import DataError

DENSE_MODELS = 1_500  # up to here a dense eigendecomposition is quicker than the iterative one
TOLERANCE = 1e-8
MAX_PASSES = 30
SYMMETRIC = 1e-3  # of Σ|u|³: below this a dimension has no heavier side
Array = Float64[np.ndarray, "..."]


@dataclass(frozen=True, eq=False)
class Embedding:
    """An InPCA embedding: M models in the k dimensions of largest |eigenvalue|.

    Args:
        coordinates: ``X = U √|Σ|``, ``(model, dim)``.
        eigenvalues: Σ with its signs, by descending magnitude; exactly 0 where it is rounding.
        signature: +1, −1, or 0 where the eigenvalue is 0.
        explained_stress: ``χ_m = 1 − √(1 − Σ_{k≤m} Σ_k² / ‖W‖_F²)`` for m = 1 … k; the whole spectrum is the measure.
        explained_l1: ``1 − Σ|D − D^m| / ΣD`` for each m (Eq. 12 with sums of magnitudes); None if not asked for.
        explained_l2: ``1 − √(Σ(D − D^m)² / ΣD²)`` for each m (Eq. 12); None if not asked for.
        norm: ``‖W‖_F``.
        trace: ``tr W``.
        row_means: Mean distance of each model to all, ``μ``.
        mean: Their mean, ``m̄``.
        weights: Multiplicities, 1 where none were given; models of weight 0 were added by Eq. 9.
        residuals: ``‖W u − λ u‖ / |λ_1|`` of each dimension.
        converged: Whether they are all within the tolerance.
        passes: How often D was read.
        solver: ``dense`` or ``krylov``.
    """

    coordinates: Float64[np.ndarray, "model dim"]
    eigenvalues: Float64[np.ndarray, " dim"]
    signature: Float64[np.ndarray, " dim"]
    explained_stress: Float64[np.ndarray, " dim"]
    explained_l1: Float64[np.ndarray, " dim"] | None
    explained_l2: Float64[np.ndarray, " dim"] | None
    norm: float
    trace: float
    row_means: Float64[np.ndarray, " model"]
    mean: float
    weights: Float64[np.ndarray, " model"]
    residuals: Float64[np.ndarray, " dim"]
    converged: bool
    passes: int
    solver: str


def inpca(
    distances: "Float[Tensor, 'model model'] | RowBlocks",
    dims: int | None = None,
    *,
    weights: Float64[Tensor, " model"] | None = None,
    solver: SolverName = "auto",
    tolerance: float = TOLERANCE,
    max_passes: int = MAX_PASSES,
    pairwise: bool = True,
    basis: int = BASIS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Embedding:
    """Embed models by their distances: ``W = −½ L D L = U Σ Uᵀ``, ``X = U √|Σ|`` (Mao et al. 2023, Eq. 6).

    With all dimensions the embedding is isometric: ``Σ_k sign_k (X_ik − X_jk)² = D_ij`` (Eq. 7). With weights m, W is
    centred about the weighted mean, ``m^½ W m^½ = V Σ Vᵀ`` and ``X = m^{-½} V √|Σ|`` (appendix C.3): the same numbers,
    eigenvalues included, as if model i were there m_i times. A model of weight 0 shapes nothing and gets the
    coordinates that Eq. 9 gives it.

    The sign of a dimension is free; here ``Σ_i m_i u_i³ > 0``, the longer tail is on the positive side. Where a
    dimension has no heavier side, its first entry of largest magnitude is positive.

    Args:
        distances: D, symmetric with a zero diagonal: a tensor on any device, or what gives blocks of its rows.
        dims: How many dimensions k, at most the number of models of positive weight; None for all (dense only).
        weights: Multiplicities of the models; by default all 1.
        solver: ``dense`` (an eigendecomposition of W), ``krylov`` (products with D only), ``auto`` chooses.
        tolerance: Largest residual ``‖W u − λ u‖`` relative to the largest eigenvalue (krylov).
        max_passes: How often D is read at most (krylov); then the best so far is returned with a warning.
        pairwise: Whether to measure explained pairwise distances: one pass more.
        basis: Blocks of vectors that the iterative solver keeps at most.
        seed: Of the iterative solver's start.
        progress: Told how many passes are done, and of how many at most.

    Cost: dense ``10 M³`` operations and memory of ``3 M²`` doubles; krylov ``2 M² w`` operations a pass, w = max(2k,
    k + 22), and memory of ``16 M w`` bytes a pass, up to ``16 M w basis``, beside a block of D.

    Raises:
        DataError: If there are fewer than two models, D holds what is no finite number or is not symmetric, or
            weights are not usable.

    >>> two = inpca(torch.tensor([[0.0, 4.0], [4.0, 0.0]]), 1)  # at an interval of 4 = (1 − (−1))²
    >>> two.coordinates.round(12).tolist(), two.explained_stress.tolist()
    ([[1.0], [-1.0]], [1.0])
    """
    source = DenseRows(distances) if isinstance(distances, Tensor) else distances
    if source.size < 2:
        raise DataError(f"an embedding needs two models at least, not {source.size}")
    if isinstance(distances, Tensor) and distances.shape[0] != distances.shape[1]:
        raise DataError(f"the distances are no square matrix: {tuple(distances.shape)}")
    if dims is not None and dims < 1:
        raise DataError(f"an embedding has one dimension at least, not {dims}")
    centred = Centred(source, weights)
    count = min(dims or source.size, int((centred.root > 0).sum()))
    dense = solver == "dense" or (solver == "auto" and (source.size <= DENSE_MODELS or dims is None))
    if dense:
        spectrum, tails = _dense(centred, count, tolerance)
    else:
        products = max(max_passes - int(pairwise), 1)
        spectrum = leading_pairs(
            centred.product, centred.root, count,
            tolerance=tolerance, max_products=products, basis=basis, seed=seed, progress=progress,
        )  # fmt: skip
        tails = None
        if not spectrum.converged:
            worst = float(spectrum.residuals.max()) / spectrum.norm
            warnings.warn(
                f"not converged after {centred.passes} passes: the largest residual is {worst:.1e} of the largest "
                f"eigenvalue (asked: {tolerance:.1e}); allow more passes, or a larger tolerance",
                RuntimeWarning,
                stacklevel=2,
            )
    moments = centred.moments
    values = torch.where(spectrum.values.abs() > source.size * EPSILON * spectrum.norm, spectrum.values, 0.0)
    # X = m^{-½} V √|Σ|, which is also W m^½ V Σ⁻¹ √|Σ|: the second form has rows of weight zero as well.
    signs = _orientation(spectrum.vectors, centred.root)
    scale = torch.where(values != 0, signs * values.sign() / values.abs().sqrt().clamp(min=1e-300), 0.0)
    added = spectrum.images * scale
    own = spectrum.vectors * (signs * values.abs().sqrt()) / centred.root.clamp(min=1e-300)[:, None]
    coordinates = torch.where((centred.root > 0)[:, None], own, added)
    signature = values.sign()
    explained = None
    passes = centred.passes
    if pairwise:
        m = None if weights is None else centred.weights
        explained = explained_pairwise(source, coordinates, signature, m)
        passes += 1
    return Embedding(
        coordinates=_array(coordinates),
        eigenvalues=_array(values),
        signature=_array(signature),
        explained_stress=_explained_stress(values, moments.norm, tails),
        explained_l1=_array(explained[0]) if explained else None,
        explained_l2=_array(explained[1]) if explained else None,
        norm=moments.norm,
        trace=moments.trace,
        row_means=_array(moments.row_means),
        mean=moments.mean,
        weights=_array(centred.weights),
        residuals=_array(spectrum.residuals / spectrum.norm if spectrum.norm else spectrum.residuals),
        converged=spectrum.converged,
        passes=passes,
        solver="dense" if dense else "krylov",
    )


def _dense(centred: Centred, count: int, tolerance: float) -> tuple[Spectrum, Float64[Tensor, " dim"]]:
    """All eigenpairs by one decomposition; the leading ones, and for each m what the others hold of ``‖W‖_F²``."""
    root = centred.root
    # A product with the unit vectors is W m^½ itself, after the same checks.
    whole = centred.product(torch.eye(centred.source.size, dtype=torch.float64, device=root.device))
    symmetric = root[:, None] * whole
    values, vectors = torch.linalg.eigh((symmetric + symmetric.T) / 2)
    order = by_magnitude(values)
    values, vectors = values[order], vectors[:, order]
    squares = values.square()
    tails = torch.cat((squares.flip(0).cumsum(0).flip(0)[1:], squares.new_zeros(1)))
    chosen, leading = vectors[:, :count], values[:count]
    images = whole @ chosen
    residuals = torch.linalg.vector_norm(root[:, None] * images - chosen * leading, dim=0)
    norm = float(values[0].abs())
    converged = bool((residuals <= max(tolerance, 1e-10) * norm).all())
    return Spectrum(leading, chosen, images, residuals, norm, converged), tails[:count]


def _orientation(vectors: Float64[Tensor, "model dim"], root: Float64[Tensor, " model"]) -> Float64[Tensor, " dim"]:
    """+1 or −1 a dimension, so that its longer tail is on the positive side."""
    entries = vectors / torch.where(root > 0, root, math.inf)[:, None]  # as the entries of repeated models
    cubes = root.square()[:, None] * entries**3
    skew, size = cubes.sum(dim=0), cubes.abs().sum(dim=0)
    magnitude = entries.abs()
    # The first entry within rounding of the largest: which of two equal ones is larger is chance.
    first = (magnitude >= (1 - 1e-6) * magnitude.amax(dim=0)).to(torch.int8).argmax(dim=0)
    largest = entries.gather(0, first[None])[0]
    return torch.where(skew.abs() > SYMMETRIC * size, skew, largest).sign()


def _explained_stress(
    values: Float64[Tensor, " dim"], norm: float, tails: Float64[Tensor, " dim"] | None
) -> Float64[np.ndarray, " dim"]:
    """``χ_m`` against the whole ``‖W‖_F``; 1 where all distances are zero, as nothing is left to explain."""
    if norm == 0 or float(values[0]) == 0:
        return np.ones(len(values))
    if tails is None:
        tails = (norm * norm - values.square().cumsum(0)).clamp(min=0)
        return _array(1 - (tails / (norm * norm)).sqrt())
    whole = tails[0] + values[0].square()
    return _array(1 - (tails / whole).sqrt())


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
