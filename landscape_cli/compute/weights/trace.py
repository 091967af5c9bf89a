"""The trace of an operator from products with random vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape_cli.compute.streams import stream
from landscape_cli.compute.weights.curvature_choices import TraceMethod
from landscape_cli.compute.weights.curvature_operators import Operator
from landscape_cli.compute.weights.lanczos import dot, mean_and_error
from landscape_cli.errors import UsageError


@dataclass(frozen=True)
class TraceEstimate:
    """A trace.

    Args:
        value: The estimate.
        standard_error: Of the estimate; 0 where the trace is exact, NaN from a single probe.
        products: Products with the operator that it took.
        method: How it was made.
    """

    value: float
    standard_error: float
    products: int
    method: TraceMethod


def trace(
    operator: Operator,
    *,
    products: int = 30,
    method: TraceMethod = "hutch++",
    seed: int = 0,
    on_product: Callable[[int], None] = lambda done: None,
) -> TraceEstimate:
    """``tr A``, without bias.

    ``hutchinson``: the mean of ``zᵀ A z`` over vectors of random signs (Hutchinson 1990), whose variance is
    ``2 Σ_{i≠j} A_ij²``. ``hutch++`` (Meyer, Musco, Musco and Woodruff 2021, algorithm 1): a third of the products finds
    a space Q where A is large, a third takes the trace there exactly, and the rest estimates what is left,
    ``tr QᵀAQ + (1/g) Σ zᵀ (1 − QQᵀ) A (1 − QQᵀ) z``. The standard error is that of the random part, given Q.

    Args:
        operator: The matrix.
        products: How many products; of Hutch++ a multiple of three is used.
        method: Which of the two.
        seed: Of the probes.
        on_product: Told how many products are done.

    Cost: the products; Hutch++ holds ``products / 3`` vectors.

    Raises:
        UsageError: If there are too few products for the method.
    """
    if products < (6 if method == "hutch++" else 2):
        raise UsageError(f"{products} products are too few for a trace by {method}", "give 6 or more")
    generator = stream("trace", seed)
    done = 0

    def apply(vector: Tensor) -> Tensor:
        nonlocal done
        found = operator.apply(vector)
        done += 1
        on_product(done)
        return found

    if method == "hutchinson":
        values = [dot(z, apply(z)) for z in (_signs(operator, generator) for _ in range(products))]
        return TraceEstimate(*mean_and_error(values), done, method)
    sketches = min(products // 3, operator.size)
    image = torch.stack([apply(_signs(operator, generator)) for _ in range(sketches)], dim=1)
    space: Tensor = torch.linalg.qr(image).Q
    exact = sum(dot(q, apply(q)) for q in space.T)
    if space.shape[1] == operator.size:
        return TraceEstimate(exact, 0.0, done, method)
    values = []
    for _ in range(products // 3):
        z = _signs(operator, generator)
        for _ in range(2):
            z = z - space @ (space.T @ z)
        values.append(dot(z, apply(z)))
    mean, error = mean_and_error(values)
    return TraceEstimate(exact + mean, error, done, method)


def _signs(operator: Operator, generator: torch.Generator) -> Tensor:
    coins: Tensor = torch.randint(2, (operator.size,), generator=generator, dtype=torch.int8)
    return torch.where(coins > 0, 1.0, -1.0).to(operator.like)
