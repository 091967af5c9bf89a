"""Eigenpairs of an operator by Lanczos' method with full reorthogonalisation and thick restarts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.streams import stream
from landscape_cli.compute.weights.curvature_operators import Operator
from landscape_cli.compute.weights.second_derivatives import asymmetric
from landscape_cli.errors import UsageError

TOLERANCE = 1e-3
PRODUCTS = 300
ASYMMETRY = 5e-3  # of the largest eigenvalue; rounding in float32 stays a hundred times below
FLOOR = 0.01  # eigenvalues below this share of the largest are resolved relative to that share

Vector = Float[Tensor, " parameter"]


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues at the ends of a spectrum, with their eigenvectors.

    Args:
        values: Eigenvalues, the largest first; then, if asked for, the smallest, the most negative last.
        vectors: Unit eigenvectors, in that order.
        residuals: ``‖A q − θ q‖`` of each: an eigenvalue lies within it of θ. Never below
            the rounding met on the way.
        products: Products with the operator that it took.
        converged: Whether every residual is inside the tolerance.
        asymmetry: The largest ``|q_iᵀ A q_j − q_jᵀ A q_i|`` that was met, as a share of the largest eigenvalue.
    """

    values: Float64[Tensor, " pair"]
    vectors: Float[Tensor, "pair parameter"]
    residuals: Float64[Tensor, " pair"]
    products: int
    converged: bool
    asymmetry: float

    @property
    def relative(self) -> list[float]:
        """The residuals as a share of their eigenvalues; infinite for an eigenvalue of zero with a residual."""
        return [
            0.0 if r == 0 else r / abs(v) if v else float("inf")
            for v, r in zip(self.values.tolist(), self.residuals.tolist(), strict=True)
        ]


class Krylov:
    """An orthonormal basis that grows by one product at a time, and the operator projected onto it.

    Each new vector is orthogonalised against all others, twice (Parlett's "twice is enough"), so that the basis stays
    orthonormal to rounding and no eigenvalue appears as a ghost of another. Vectors have the operator's type; the
    recurrence and everything made of it is float64.

    Args:
        operator: The matrix A.
        start: The first direction, of any length.
        capacity: Most vectors held.
        generator: Draws a new direction where the space is invariant.

    Cost: a product, and 4 k P operations for the k-th vector; memory of ``capacity + 1`` vectors.
    """

    def __init__(self, operator: Operator, start: Vector, capacity: int, generator: torch.Generator) -> None:
        self.operator = operator
        self.capacity = min(capacity, operator.size)
        self.basis = torch.empty(self.capacity + 1, operator.size, dtype=start.dtype, device=start.device)
        self.projected = torch.zeros(self.capacity, self.capacity, dtype=torch.float64)
        self.count = 0
        self.rest = 0.0  # length of what the next vector was before it became a unit vector
        self.asymmetry = 0.0
        self._generator = generator
        self._rounding = 50 * torch.finfo(start.dtype).eps
        self.basis[0] = start / _norm(start)

    def grow(self) -> None:
        """Multiply by the newest vector and add the next."""
        k = self.count
        image = self.operator.apply(self.basis[k])
        length = _norm(image)
        taken = self._orthogonalise(image, k + 1)
        expected = self.projected[:k, k]
        if k:
            scale = max(float(self.projected[:k, :k].diagonal().abs().max()), float(taken[k].abs()), length)
            if scale > 0:
                self.asymmetry = max(self.asymmetry, float((taken[:k] - expected).abs().max()) / scale)
        self.projected[k, k] = taken[k]
        self.count = k + 1
        self.rest = _norm(image)
        if self.rest <= self._rounding * max(length, float(self.projected.abs().max())):
            self.rest = 0.0
            if self.count < self.operator.size:
                self._fresh(image)
        else:
            image /= self.rest
        if self.count < self.operator.size:
            self.basis[self.count] = image
        if self.count < self.capacity:
            self.projected[k, k + 1] = self.projected[k + 1, k] = self.rest

    def ritz(self) -> tuple[Float64[Tensor, " ritz"], Float64[Tensor, "basis ritz"], Float64[Tensor, " ritz"]]:
        """Ritz values in ascending order, their coordinates in the basis, and their residuals."""
        values, coordinates = torch.linalg.eigh(self.projected[: self.count, : self.count])
        return values, coordinates, (self.rest * coordinates[-1]).abs()

    def vectors(self, coordinates: Float64[Tensor, "basis ritz"]) -> Float[Tensor, "ritz parameter"]:
        """Combinations of the basis."""
        return coordinates.T.to(self.basis) @ self.basis[: self.count]

    def restart(self, keep: Tensor) -> None:
        """Go on from some Ritz vectors and the newest vector (Wu and Simon 2000)."""
        values, coordinates, _ = self.ritz()
        kept, number = coordinates[:, keep], len(keep)
        for part in torch.split(self.basis, 1 << 20, dim=1):  # blocks of columns: no second basis is held
            part[:number] = kept.T.to(part) @ part[: self.count]
            part[number] = part[self.count]
        self.projected.zero_()
        self.projected[range(number), range(number)] = values[keep]
        self.projected[:number, number] = self.projected[number, :number] = self.rest * kept[-1]
        self.count = number

    def _orthogonalise(self, vector: Vector, number: int) -> Float64[Tensor, " basis"]:
        """Take from a vector, in place, its parts along the first so many of the basis; return them."""
        total = torch.zeros(number, dtype=torch.float64)
        for _ in range(2):
            found = self.basis[:number] @ vector
            vector.addmv_(self.basis[:number].T, found, alpha=-1)
            total += found.cpu().double()
        return total

    def _fresh(self, vector: Vector) -> None:
        """A random unit vector orthogonal to the basis, in place."""
        while True:
            vector.copy_(_random(self.operator, self._generator))
            before = _norm(vector)
            self._orthogonalise(vector, self.count)
            if (length := _norm(vector)) > self._rounding * before:
                vector /= length
                self._orthogonalise(vector, self.count)
                vector /= _norm(vector)
                return


def eigenpairs(
    operator: Operator,
    *,
    top: int = 1,
    bottom: int = 0,
    tolerance: float = TOLERANCE,
    products: int = PRODUCTS,
    basis: int | None = None,
    start: Vector | None = None,
    seed: int = 0,
    on_product: Callable[[int], None] = lambda done: None,
) -> Eigenpairs:
    """The largest and smallest eigenvalues of a symmetric operator and their eigenvectors.

    Lanczos' method stops when for each wanted pair the Ritz residual ``‖A q − θ q‖`` is at most ``tolerance · |θ|``
    (of eigenvalues below a hundredth of the largest in size: of that hundredth). The residual bounds the error of the
    eigenvalue; far from others the error is nearer to its square.

    Args:
        operator: The matrix.
        top: How many of the algebraically largest.
        bottom: How many of the algebraically smallest.
        tolerance: Relative residual.
        products: Most products; beyond it the best so far is returned, not converged.
        basis: Vectors held before a restart; None for 30 or twice what is wanted.
        start: Where to begin; None for a random direction. Some randomness is always mixed in, else an eigenvector
            orthogonal to it would not be seen.
        seed: Of that direction.
        on_product: Told how many products are done.

    Cost: the products; memory of ``basis`` vectors.

    Raises:
        UsageError: If none or more pairs are wanted than there are.
        NetworkError: If the products are not those of a symmetric matrix.
    """
    wanted = top + bottom
    if wanted < 1 or wanted > operator.size:
        raise UsageError(f"{wanted} eigenpairs of a matrix of {operator.size} rows", "ask for fewer")
    generator = stream("lanczos", seed)
    first = _random(operator, generator)
    if start is not None:
        first = start / _norm(start) + 0.1 * first / _norm(first)
    capacity = max(basis or 30, 2 * wanted + 4)
    space = Krylov(operator, first, capacity, generator)
    done = 0
    while True:
        space.grow()
        done += 1
        on_product(done)
        if space.asymmetry > ASYMMETRY:
            raise asymmetric(getattr(operator, "suspects", ()), space.asymmetry)
        whole = space.count == operator.size
        if space.count < wanted and not (done >= products):
            continue
        values, coordinates, residuals = space.ritz()
        chosen = _ends(len(values), top, bottom)
        size = values[chosen].abs().clamp(min=FLOOR * float(values.abs().max()))
        converged = len(chosen) == wanted and (whole or bool((residuals[chosen] <= tolerance * size).all()))
        if converged or done >= products:
            break
        if space.count == space.capacity:
            space.restart(_retained(len(values), top, bottom, space.capacity))
    if whole:
        residuals = torch.zeros_like(residuals)
    # The recurrence's own estimate goes on shrinking where rounding in the products no longer lets the residual.
    residuals = residuals.clamp(min=space.asymmetry * float(values.abs().max()))
    return Eigenpairs(
        values[chosen], space.vectors(coordinates[:, chosen]), residuals[chosen], done, converged, space.asymmetry
    )


def _ends(count: int, top: int, bottom: int) -> list[int]:
    """Which of ascending values: the largest first, then the smallest, the very smallest last.

    >>> _ends(5, 2, 1)
    [4, 3, 0]
    """
    largest = list(range(count - 1, max(-1, count - 1 - top), -1))
    return largest + [k for k in range(min(bottom, count) - 1, -1, -1) if k not in largest]


def _retained(count: int, top: int, bottom: int, capacity: int) -> Tensor:
    """The Ritz vectors that a restart keeps: those wanted, and neighbours of theirs up to half the basis."""
    more = max(0, capacity // 2 - top - bottom)
    at_top = top + (more if not bottom else more * top // (top + bottom))
    at_bottom = bottom + (more * bottom // (top + bottom) if bottom else 0)
    return torch.tensor(sorted(_ends(count, at_top, at_bottom)))


def _random(operator: Operator, generator: torch.Generator) -> Vector:
    return torch.randn(operator.size, generator=generator, dtype=torch.float32).to(operator.like)


def _norm(vector: Vector) -> float:
    """The Euclidean norm, summed in float64."""
    exact = torch.float32 if vector.device.type == "mps" else torch.float64
    return float(torch.linalg.vector_norm(vector, dtype=exact))


def dot(one: Tensor, other: Tensor) -> float:
    """A scalar product, summed in float64."""
    exact = torch.float32 if one.device.type == "mps" else torch.float64
    return float((one.to(exact) * other.to(exact)).sum())


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of independent estimates and its standard error; NaN from a single one.

    >>> mean_and_error([1.0, 3.0])
    (2.0, 1.0)
    """
    found = torch.tensor(values, dtype=torch.float64)
    if len(values) < 2:
        return float(found.mean()), float("nan")
    return float(found.mean()), float(found.std()) / len(values) ** 0.5
