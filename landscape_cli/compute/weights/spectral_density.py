"""The spectral density of an operator by stochastic Lanczos quadrature."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from landscape_cli.compute.streams import stream
from landscape_cli.compute.weights.curvature_operators import Operator
from landscape_cli.compute.weights.lanczos import Krylov, mean_and_error
from landscape_cli.errors import UsageError

SMOOTHING = 0.01  # of the range of the spectrum
REACH = 6.0  # standard deviations beyond the outermost nodes at which a grid ends


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """A spectrum as a quadrature: ``φ(t) ≈ (1/n_v) Σ_v Σ_k ω_vk δ(t − θ_vk)``, each probe's weights adding up to 1.

    Args:
        nodes: Ritz values θ of each probe.
        weights: ω, the squares of the first entries of the eigenvectors of the tridiagonal matrix.
        size: Rows of the operator.
        products: Products with it that it took.
    """

    nodes: Float64[Tensor, "probe step"]
    weights: Float64[Tensor, "probe step"]
    size: int
    products: int

    def moment(self, power: int) -> tuple[float, float]:
        """``(1/P) tr A^power`` and its standard error over probes."""
        return mean_and_error((self.weights * self.nodes**power).sum(1).tolist())

    def share_below(self, value: float = 0.0) -> tuple[float, float]:
        """The share of eigenvalues below a value, and its standard error over probes."""
        return mean_and_error((self.weights * (self.nodes < value)).sum(1).tolist())

    def width(self, smoothing: float = SMOOTHING) -> float:
        """The standard deviation of the Gaussians that a share of the spectrum's range means; never zero."""
        low, high = float(self.nodes.min()), float(self.nodes.max())
        return smoothing * ((high - low) or abs(high) or 1.0)

    def grid(self, points: int = 512, smoothing: float = SMOOTHING) -> Float64[Tensor, " point"]:
        """Evenly spaced values over the whole spectrum, as far as its Gaussians reach."""
        margin = REACH * self.width(smoothing)
        return torch.linspace(
            float(self.nodes.min()) - margin, float(self.nodes.max()) + margin, points, dtype=torch.float64
        )

    def smooth(
        self, grid: Float64[Tensor, " point"], smoothing: float = SMOOTHING
    ) -> tuple[Float64[Tensor, " point"], Float64[Tensor, " point"]]:
        """The density with each node widened to a Gaussian, and its standard error over probes; it integrates to 1."""
        width = self.width(smoothing)
        away = (grid[:, None, None] - self.nodes) / width
        each = (self.weights * torch.exp(-0.5 * away**2)).sum(2) / (width * math.sqrt(2 * math.pi))
        probes = each.shape[1]
        error = each.std(1) / math.sqrt(probes) if probes > 1 else torch.full_like(grid, math.nan)
        return each.mean(1), error


def spectral_density(
    operator: Operator,
    *,
    probes: int = 4,
    steps: int = 40,
    seed: int = 0,
    on_product: Callable[[int], None] = lambda done: None,
) -> SpectralDensity:
    """Stochastic Lanczos quadrature (Lin, Saad and Yang 2016; for networks Ghorbani, Krishnan and Xiao 2019).

    From each random unit vector v, ``steps`` steps of Lanczos' method with full reorthogonalisation give the Gauss
    quadrature of the measure ``Σ_i (vᵀq_i)² δ(t − λ_i)``, whose mean over v is the density. Its first 2·steps − 1
    moments are exact for each v; what is random is v.

    Args:
        operator: The matrix.
        probes: Vectors v.
        steps: Of Lanczos' method from each.
        seed: Of the vectors.
        on_product: Told how many products are done.

    Cost: ``probes · steps`` products; memory of ``steps`` vectors.

    Raises:
        UsageError: If there are no probes or steps.
    """
    if probes < 1 or steps < 1:
        raise UsageError(f"a density from {probes} probes of {steps} steps", "give at least one of each")
    steps = min(steps, operator.size)
    generator = stream("density", seed)
    nodes, weights = torch.zeros(2, probes, steps, dtype=torch.float64)
    done = 0
    for probe in range(probes):
        start = torch.randn(operator.size, generator=generator, dtype=torch.float32).to(operator.like)
        space = Krylov(operator, start, steps, generator)
        for _ in range(steps):
            space.grow()
            done += 1
            on_product(done)
            if space.rest == 0.0:  # the space is invariant: the quadrature is exact
                break
        values, coordinates, _ = space.ritz()
        count = len(values)
        nodes[probe, :count] = values
        nodes[probe, count:] = values[-1]  # with no weight
        weights[probe, :count] = coordinates[0] ** 2
    return SpectralDensity(nodes, weights, operator.size, done)
