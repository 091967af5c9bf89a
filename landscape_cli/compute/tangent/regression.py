"""Kernel regression on the tangent kernel at w̃: where linearised training with squared loss ends, in closed form.

``f(x) = f₀(x) + K(x, X) (K + λI)⁻¹ (Y − f₀(X))`` (Jacot et al. 2018; Lee et al. 2019, eq. 11), with f₀ the network at
w̃ and ``K = K(X, X)``. With the full kernel and λ → 0 this is gradient flow on the linearised network from w̃ to its end.
A network that was trained with cross-entropy has logits far from one-hot, and most of what is regressed then is how to
shrink them; without f₀, ``f(x) = K(x, X) (K + λI)⁻¹ Y`` says what the kernel alone knows of the classes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.tangent.choices import MEMORY, KernelMethod, KernelPrecision
from landscape_cli.compute.tangent.kernels import tangent_kernel
from landscape_cli.compute.tangent.linearized import LinearizedNetwork
from landscape_cli.errors import DataError, UsageError

SolvedForm = Literal["full", "trace"]


@dataclass(frozen=True)
class Fit:
    """Outputs of a solution.

    Args:
        train: On the training samples.
        test: On the others.
    """

    train: Float64[Tensor, "sample class"]
    test: Float64[Tensor, "other class"]


@dataclass(frozen=True)
class Regression:
    """Two kernel regressions with one kernel.

    Args:
        network: From the network's own logits f₀.
        zero: From the zero function, the kernel alone.
        rank: Eigenvalues of the kernel that were inverted; all of them with a ridge.
        rows: Rows of the kernel.
    """

    network: Fit
    zero: Fit
    rank: int
    rows: int


def centred_targets(labels: Int64[Tensor, " sample"], classes: int) -> Float64[Tensor, "sample class"]:
    """One-hot labels less ``1/C``, as Lee et al. 2019 have them: they sum to zero, as logits may.

    >>> centred_targets(torch.tensor([1]), 2).tolist()
    [[-0.5, 0.5]]
    """
    return F.one_hot(labels, classes).double() - 1 / classes


def solve(
    kernel: Float[Tensor, "row row"], residual: Float[Tensor, "row column"], *, ridge: float = 0.0
) -> tuple[Float64[Tensor, "row column"], int]:
    """``α = (K + λI)⁻¹ R`` in float64; for λ = 0 its limit, the pseudo-inverse.

    Eigenvalues below ``N ε λ_max``, with ε that of the kernel's type, are rounding and count as zero.

    Cost: a Cholesky factorisation, N³/3 operations; without a ridge all eigenvectors, about 9 N³. Memory 3 (5) N².

    Args:
        kernel: K, symmetric.
        residual: R.
        ridge: λ, in the units of K.

    Returns:
        α, and how many eigenvalues were inverted.

    Raises:
        UsageError: If the ridge is below zero.
        DataError: If the kernel is zero or not finite.
    """
    if not ridge >= 0:
        raise UsageError(f"a ridge is not below zero, as {ridge} is")
    exact, target = kernel.double(), residual.double()
    if not bool(exact.isfinite().all()) or not bool(exact.diagonal().any()):
        raise DataError("the tangent kernel is zero or not finite: there is nothing to regress on")
    rows = len(exact)
    if ridge > 0:
        factor, info = torch.linalg.cholesky_ex(exact + ridge * torch.eye(rows, dtype=exact.dtype, device=exact.device))
        if not int(info):
            return torch.cholesky_solve(target, factor), rows
    values, vectors = torch.linalg.eigh(exact)
    floor = rows * torch.finfo(kernel.dtype).eps * float(values[-1])
    kept = values > floor if ridge == 0 else torch.ones_like(values, dtype=torch.bool)
    inverse = torch.where(kept, 1 / (values.clamp_min(0) + ridge), 0.0)
    return vectors @ (inverse[:, None] * (vectors.mT @ target)), int(kept.sum())


def regression_memory(samples: int, classes: int, form: SolvedForm) -> int:
    """Bytes that :func:`kernel_regression` holds at its peak beside networks and inputs, about."""
    rows = samples * classes if form == "full" else 2 * samples
    return 6 * 8 * rows**2


def kernel_regression(
    network: nn.Module,
    inputs: Float[Tensor, "sample ..."],
    labels: Int64[Tensor, " sample"],
    others: Float[Tensor, "other ..."],
    *,
    form: SolvedForm = "full",
    ridge: float = 0.0,
    precision: KernelPrecision = "float64",
    memory: int = MEMORY,
    method: KernelMethod = "auto",
    batch: int = BATCH,
) -> Regression:
    """Regress centred one-hot labels on the tangent kernel of a network at its own weights.

    With the ``full`` kernel the solution is a point of the tangent space, ``δ = J(X)ᵀ α``, and what it does to other
    samples is ``J(x) δ``: no kernel between them and the training samples is needed. The class ``trace``
    treats all classes alike, ``f_k(x) = f₀_k(x) + Σ_i Θ(x, x_i) α_ik``.

    Cost: the kernel's (:func:`landscape_cli.compute.tangent.kernels.tangent_kernel`), the solution's
    (:func:`solve`, N = nC or n), and for ``trace`` the kernel of 2n samples for every n of the others.

    Args:
        network: Gives logits; in evaluation mode throughout, and taken over. Float64 where the limit λ → 0 is meant.
        inputs: Training samples X, as the network takes them.
        labels: Their classes.
        others: Samples to predict.
        form: Which kernel.
        ridge: λ, in the units of the kernel.
        precision: Of the kernel.
        memory: Work space of the kernel, in bytes.
        method: See :func:`landscape_cli.compute.tangent.kernels.tangent_kernel`.
        batch: Samples a forward pass.

    Raises:
        NetworkError: If the network has no tangent kernel.
        DataError: If the kernel is zero or not finite.
        UsageError: If the ridge is below zero.
    """
    network.eval()

    def kernel(of: Tensor) -> Tensor:
        return tangent_kernel(network, of, form=form, precision=precision, memory=memory, method=method).values

    own, elsewhere = (_outputs(network, x, batch).double() for x in (inputs, others))
    count, classes = own.shape
    targets = centred_targets(labels, classes)
    both = torch.cat([targets - own, targets], dim=1)  # what each of the two regressions has to reach
    square = kernel(inputs)
    if form == "full":
        sides = [part.reshape(-1, 1) for part in both.tensor_split(2, dim=1)]
        alpha, rank = solve(square, torch.cat(sides, dim=1), ridge=ridge)
        moved = (square.double() @ alpha).view(count, classes, 2)
        cotangents = alpha.view(count, classes, 2)
        ways = [_pull_back(network, inputs, cotangents[..., side], batch) for side in range(2)]
        tangent = LinearizedNetwork(network)
        steps = [torch.cat([_pushed(tangent, x, way) for x in torch.split(others, batch)]) for way in ways]
        fits = [Fit(moved[..., side].contiguous(), steps[side]) for side in range(2)]
    else:
        alpha, rank = solve(square, both, ridge=ridge)
        found = torch.zeros(len(others), 2 * classes, dtype=torch.float64, device=own.device)
        for start in range(0, len(others), count):
            part = others[start : start + count]
            found[start : start + count] = kernel(torch.cat([inputs, part]))[count:, :count].double() @ alpha
        own_sides = (square.double() @ alpha).tensor_split(2, dim=1)
        fits = [Fit(one, two) for one, two in zip(own_sides, found.tensor_split(2, dim=1), strict=True)]
    return Regression(Fit(own + fits[0].train, elsewhere + fits[0].test), fits[1], rank, len(square))


@torch.no_grad()
def _outputs(network: nn.Module, inputs: Tensor, batch: int) -> Tensor:
    return torch.cat([network(x) for x in torch.split(inputs, batch)])


def _pull_back(network: nn.Module, inputs: Tensor, cotangents: Tensor, batch: int) -> dict[str, Tensor]:
    """``J(X)ᵀ α``, by the names of the trainable parameters."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    found = {name: torch.zeros_like(p) for name, p in trained.items()}
    for x, cotangent in zip(torch.split(inputs, batch), torch.split(cotangents, batch), strict=True):
        logits = network(x)
        parts = torch.autograd.grad(logits, list(trained.values()), cotangent.to(logits.dtype), allow_unused=True)
        for name, part in zip(trained, parts, strict=True):
            if part is not None:
                found[name] += part
    return found


@torch.no_grad()
def _pushed(tangent: LinearizedNetwork, x: Tensor, direction: dict[str, Tensor]) -> Tensor:
    """``J(x) δ``."""
    value, first, _ = tangent.coefficients(x, direction)
    return (torch.zeros_like(value) if first is None else first).double()
