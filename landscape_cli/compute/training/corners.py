"""Initial weights near the corners of prediction space (Mao et al. 2023, App. E)."""

import torch
from torch import nn

from landscape_cli.compute.streams import stream
from landscape_cli.errors import NetworkError


def move_to_corner(network: nn.Module, seed: int, *, add: bool = False) -> None:
    """Draw the weights of all linear layers from ``N(0, 1)``, in place; biases and other layers stay.

    Without the usual factor of about ``1/√fan-in`` the logits are so large that one class has nearly all probability:
    the network begins near a corner of prediction space, which one is the seed's.

    Source: Mao et al. 2023, App. E. For 50 models near each of 10 corners they combine a corner with 50 usual
    initialisations; they do not say how. Here the two are added.

    Args:
        network: On the CPU.
        seed: Of the stream ``corners``; the layers draw in the order of ``modules()``.
        add: Whether the draws are added to the weights that are there, rather than put in their place.

    Raises:
        NetworkError: If it has no linear layer.
    """
    random = stream("corners", seed)
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise NetworkError(
            "corners are drawn from the weights of linear layers, and this network has none", "leave --init out"
        )
    with torch.no_grad():
        for layer in layers:
            drawn = torch.randn(layer.weight.shape, generator=random)
            layer.weight.copy_(layer.weight + drawn if add else drawn)
