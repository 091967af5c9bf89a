"""The general path: per-sample Jacobian rows of any parameters, whatever the network does with them."""

import warnings
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel


def jacobian_rows(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    inputs: Float[Tensor, "sample ..."],
    directions: Float[Tensor, "direction class"],
) -> Float[Tensor, "sample direction column"]:
    """``∂⟨v, f(x)⟩/∂θ`` for each sample x and direction v, parameters side by side in the order given.

    The samples go through ``torch.func`` together; where a network cannot be traced like that (an in-place layer, a
    value read with ``.item()``), one after another through autograd. Cost: a forward pass and a backward pass a
    direction, for each sample; memory for ``sample · direction`` backward passes at once.

    Args:
        network: In evaluation mode.
        parameters: The parameters wanted, by name; the network's others are constants.
        inputs: Samples.
        directions: Cotangents.
    """
    names = list(parameters)
    try:
        rows = _traced(network, dict(parameters), inputs, directions)
    except (RuntimeError, AttributeError, TypeError, ValueError):
        rows = _one_by_one(network, dict(parameters), inputs, directions)
    shape = (len(inputs), len(directions), -1)
    return torch.cat([rows[name].reshape(shape) for name in names], dim=2)


def _traced(
    network: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, directions: Tensor
) -> Mapping[str, Tensor]:
    def outputs(theta: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, theta, (x.unsqueeze(0),))
        return directions @ logits[0]

    detached = {name: parameter.detach() for name, parameter in parameters.items()}
    # torch can batch attention over samples only where it is written out in products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        rows: dict[str, Tensor] = vmap(jacrev(outputs), in_dims=(None, 0), randomness="error")(detached, inputs)
    return rows


def _one_by_one(
    network: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, directions: Tensor
) -> Mapping[str, Tensor]:
    leaves: Sequence[Tensor] = list(parameters.values())
    found: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for x in inputs:
        logits = network(x.unsqueeze(0))
        for number, direction in enumerate(directions, start=1):
            gradients = torch.autograd.grad(
                logits, leaves, direction.unsqueeze(0), retain_graph=number < len(directions), allow_unused=True
            )
            for name, leaf, gradient in zip(parameters, leaves, gradients, strict=True):
                found[name].append(torch.zeros_like(leaf) if gradient is None else gradient)
    return {name: torch.stack(rows) for name, rows in found.items()}
