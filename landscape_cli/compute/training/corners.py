"""Initial weights near the corners of prediction space (Mao et al. 2023, App. E)."""

import torch
from torch import nn

from landscape_cli.compute.streams import stream
from landscape_cli.errors import NetworkError


def move_to_corner(network: nn.Module, seed: int) -> None:
    """Draw the weights of all linear layers from ``N(0, 1)``, in place; biases and other layers stay.

    Without the usual factor of about ``1/√fan-in`` the logits are so large that one class has nearly all probability:
    the network begins near a corner of prediction space, which one is the seed's.

    Source: Mao et al. 2023, App. E.

    Args:
        network: On the CPU.
        seed: Of the stream ``corners``; the layers draw in the order of ``modules()``.

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
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=random))
