"""Which weights a network's function does not feel the length of."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_cli.compute.device import NORMALISATION
from landscape_cli.compute.streams import stream
from landscape_cli.compute.weights.curvature_operators import modes
from landscape_cli.compute.weights.lanczos import dot

FACTORS = (1024.0, 1 / 1024)  # powers of two round nothing; so far from 1 that small weights show their effect
TOLERANCE = 1e-3  # of the largest output
EPSILON = 1e-30  # of normalisation layers for the look: theirs breaks the invariance, the more the smaller the weights
INPUTS = 64


@dataclass(frozen=True)
class ScaleInvariance:
    """Weights whose length alone means nothing, as those that a normalisation follows.

    Args:
        names: The parameters p with ``f(c·p) = f(p)`` for c > 0 that the outputs do depend on.
        norm: The Euclidean norm of all of them together; 0 if there are none.
        parameters: How many weights they hold.
        without_effect: Parameters that the outputs do not depend on at all, such as a bias before batch norm.
    """

    names: tuple[str, ...]
    norm: float
    parameters: int
    without_effect: tuple[str, ...]


def scale_invariance(network: nn.Module, inputs: Float[Tensor, "batch ..."]) -> ScaleInvariance:
    """Find the scale-invariant weights by scaling each tensor and looking at the outputs.

    Batch norm normalises by the batch, as in training: with running statistics nothing before it is invariant. Nothing
    is assumed of the network's layers, so that weights before layer norm, group norm or a normalisation of one's own
    are found too.

    Args:
        network: Its weights are changed for the look and put back to the bit.
        inputs: Some normalised inputs, two at least.

    Cost: up to three forward passes of the inputs for each trainable tensor.
    """
    names, dead = [], []
    square, count = 0.0, 0
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    own = [p.detach().clone() for _, p in trained]
    draw = stream("scale-invariance", 0)
    with torch.no_grad(), modes(network, batch_statistics=True), _without_epsilon(network):
        try:
            for _, parameter in trained:
                # A zero shift, as of new networks, makes the scale before it look as if it meant nothing.
                if not bool(parameter.any()):
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
            base = network(inputs)
            for (name, parameter), value in zip(trained, own, strict=True):
                kept = parameter.clone()
                if not all(_alike(network, parameter, kept * c, kept, inputs, base) for c in FACTORS):
                    continue
                if _alike(network, parameter, torch.zeros_like(kept), kept, inputs, base):
                    dead.append(name)
                else:
                    names.append(name)
                    square += dot(value, value)
                    count += value.numel()
        finally:
            for (_, parameter), value in zip(trained, own, strict=True):
                parameter.copy_(value)
    return ScaleInvariance(tuple(names), square**0.5, count, tuple(dead))


@contextlib.contextmanager
def _without_epsilon(network: nn.Module) -> Iterator[None]:
    layers = [module for module in network.modules() if isinstance(module, NORMALISATION)]
    before = [layer.eps for layer in layers]
    for layer in layers:
        layer.eps = EPSILON
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.eps = value


def _alike(network: nn.Module, parameter: Tensor, value: Tensor, kept: Tensor, inputs: Tensor, base: Tensor) -> bool:
    """Whether the outputs stay the same with another value of a parameter."""
    parameter.copy_(value)
    try:
        return float((network(inputs) - base).abs().max()) <= TOLERANCE * float(base.abs().max())
    finally:
        parameter.copy_(kept)
