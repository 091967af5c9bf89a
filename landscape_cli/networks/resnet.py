"""ResNet20 for small images (He et al. 2016, section 4.2), with and without batch norm."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from landscape_cli.networks.scaling import image_shape, scaled

STAGES = (16, 32, 64)
BLOCKS = 3


class Shortcut(nn.Module):
    """The parameter-free shortcut of He et al. (option A): every second pixel, new channels zero."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra = after - before

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad with half the new channels on each side."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))


class Block(nn.Module):
    """Two 3×3 convolutions around which the input is added."""

    def __init__(self, before: int, after: int, stride: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after) if batch_norm else nn.Identity()
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else Shortcut(before, after, stride)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Convolutions, then the sum, then the activation."""
        y: Tensor = self.relu1(self.norm1(self.conv1(x)))
        z: Tensor = self.relu2(self.norm2(self.conv2(y)) + self.shortcut(x))
        return z


def build_resnet20(input_shape: tuple[int, ...], classes: int, *, width: float = 1.0) -> nn.Sequential:
    """ResNet20: a 3×3 convolution, three stages of three blocks with 16, 32, 64 channels, average, read-out.

    Shortcuts are the zero-padded ones of the paper; Kaiming-normal weights (fan-out). 269,722 parameters for RGB
    images and 10 classes.

    Args:
        input_shape: ``(channel, height, width)``.
        classes: Outputs.
        width: Multiplies the channels.

    Raises:
        NetworkError: If inputs are no images.
    """
    return _build(input_shape, classes, width, batch_norm=True)


def build_resnet20_nobn(input_shape: tuple[int, ...], classes: int, *, width: float = 1.0) -> nn.Sequential:
    """ResNet20 with batch norm left out, as Fort et al. 2020 train it with Adam; see :func:`build_resnet20`."""
    return _build(input_shape, classes, width, batch_norm=False)


def _build(input_shape: tuple[int, ...], classes: int, width: float, *, batch_norm: bool) -> nn.Sequential:
    channels, _, _ = image_shape(input_shape, "resnet20")
    stages = [scaled(c, width) for c in STAGES]
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(channels, stages[0], 3, padding=1, bias=False),
        "norm": nn.BatchNorm2d(stages[0]) if batch_norm else nn.Identity(),
        "relu": nn.ReLU(),
    }
    before = stages[0]
    for stage, after in enumerate(stages, start=1):
        blocks = []
        for block in range(BLOCKS):
            blocks.append(Block(before, after, 2 if stage > 1 and not block else 1, batch_norm=batch_norm))
            before = after
        layers[f"stage{stage}"] = nn.Sequential(*blocks)
    layers |= {
        "average": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": nn.Linear(before, classes),
    }
    network = nn.Sequential(OrderedDict(layers))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
