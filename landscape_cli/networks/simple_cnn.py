"""SimpleCNN of Fort et al. 2020 (appendix D.1)."""

from collections import OrderedDict

from torch import nn

from landscape_cli.errors import NetworkError
from landscape_cli.networks.scaling import image_shape, scaled

CHANNELS = (32, 32, 64, 64, 128, 128)


def build(input_shape: tuple[int, ...], classes: int, *, width: float = 1.0) -> nn.Sequential:
    """Six 3×3 convolutions with biases, max-pooling after the second, fourth and sixth, a global average, a read-out.

    Kaiming-normal weights (fan-in), biases zero. 288,298 parameters for 3×32×32 inputs and 10 classes.

    Args:
        input_shape: ``(channel, height, width)``, at least 8×8.
        classes: Outputs.
        width: Multiplies the channels 32, 32, 64, 64, 128, 128.

    Raises:
        NetworkError: If inputs are no images, or are too small for three poolings.
    """
    before, height, breadth = image_shape(input_shape, "simple-cnn")
    if min(height, breadth) < 8:
        raise NetworkError(f"simple-cnn pools three times: it takes images of 8×8 or more, not {height}×{breadth}")
    layers: dict[str, nn.Module] = {}
    for number, channels in enumerate((scaled(c, width) for c in CHANNELS), start=1):
        layers[f"conv{number}"] = nn.Conv2d(before, channels, 3, padding=1)
        layers[f"relu{number}"] = nn.ReLU()
        if number % 2 == 0:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        before = channels
    layers |= {
        "average": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": nn.Linear(before, classes),
    }
    network = nn.Sequential(OrderedDict(layers))
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            nn.init.zeros_(parameter)
    return network
