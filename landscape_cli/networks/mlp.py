"""Fully connected networks."""

import math
from collections import OrderedDict
from typing import Literal

from torch import nn

from landscape_cli.errors import NetworkError
from landscape_cli.networks.scaling import scaled

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def build(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    widths: tuple[int, ...] = (512, 512),
    width: float = 1.0,
    bias: bool = True,
    batch_norm: bool = False,
    activation: Literal["relu", "tanh", "gelu"] = "relu",
) -> nn.Sequential:
    """Linear layers of the given widths with an activation after each, and a linear read-out.

    Weights and biases as torch draws them. With batch norm, it follows the activation, as in Mao et al. 2023.

    Args:
        input_shape: Of one input; images are flattened.
        classes: Outputs.
        widths: Hidden widths.
        width: Multiplies all of them.
        bias: Whether linear layers have biases.
        batch_norm: Whether a batch norm without affine parameters follows each activation.
        activation: ``relu``, ``tanh`` or ``gelu``.

    Raises:
        NetworkError: If a width is below one.
    """
    if any(w < 1 for w in widths):
        raise NetworkError(f"an mlp cannot have widths {widths}", "widths are numbers of units, as in widths=512,512")
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    before = math.prod(input_shape)
    for number, hidden in enumerate((scaled(w, width) for w in widths), start=1):
        layers[f"linear{number}"] = nn.Linear(before, hidden, bias=bias)
        layers[f"{activation}{number}"] = ACTIVATIONS[activation]()
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm1d(hidden, affine=False)
        before = hidden
    layers["head"] = nn.Linear(before, classes, bias=bias)
    return nn.Sequential(OrderedDict(layers))


def build_mao2023(input_shape: tuple[int, ...], classes: int, *, width: float = 1.0) -> nn.Sequential:
    """The fully connected network of Mao et al. 2023: widths 1024, 512, 256, 128, batch norm after each rectifier.

    3,837,066 parameters for 3×32×32 inputs and 10 classes; batch norm has none. See :func:`build`.
    """
    return build(input_shape, classes, widths=(1024, 512, 256, 128), width=width, batch_norm=True)
