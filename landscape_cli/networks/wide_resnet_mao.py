"""The wide residual networks of Mao et al. 2023: another shortcut and first width, batch norm without parameters."""

from collections import OrderedDict

from torch import Tensor, nn

from landscape_cli.networks.scaling import image_shape, scaled
from landscape_cli.networks.wide_resnet import check_size


class Block(nn.Module):
    """Two pre-activated 3×3 convolutions, the second with the stride; a 1×1 convolution of the block's raw input.

    Unlike Zagoruyko and Komodakis', the shortcut sees the input before norm and activation, and has a bias.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before, affine=False)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after, affine=False)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, stride=stride, padding=1, bias=False)
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways."""
        kept = self.shortcut(x)
        y: Tensor = kept + self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))
        return y


def build(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 10,
    widen: int = 4,
    channels: int = 8,
    width: float = 1.0,
) -> nn.Sequential:
    """A wide residual network of ``depth`` layers whose stages have c·k, 2c·k and 4c·k channels after c in the first.

    Weights as torch draws them. For RGB images and 10 classes, wrn-10-4-8 has 300,226 parameters and wrn-16-4-64 has
    43,890,122 (the paper's text gives other widths; the counts decide).

    Args:
        input_shape: ``(channel, height, width)``.
        classes: Outputs.
        depth: Layers, 6n + 4.
        widen: The widening factor k.
        channels: Channels c of the first convolution.
        width: Multiplies all channels further.

    Raises:
        NetworkError: If inputs are no images, ``depth`` is not 6n + 4, or a layer is empty.
    """
    before, _, _ = image_shape(input_shape, "wrn")
    check_size(depth, widen, f"wrn-{depth}-{widen}-{channels}")
    first = scaled(channels, width)
    layers: dict[str, nn.Module] = {"conv": nn.Conv2d(before, first, 3, padding=1, bias=False)}
    before = first
    for stage in (1, 2, 3):
        after = scaled(2 ** (stage - 1) * channels * widen, width)
        blocks = []
        for block in range((depth - 4) // 6):
            blocks.append(Block(before, after, 2 if stage > 1 and not block else 1))
            before = after
        layers[f"stage{stage}"] = nn.Sequential(*blocks)
    layers |= {"norm": nn.BatchNorm2d(before, affine=False), "relu": nn.ReLU(), "average": nn.AdaptiveAvgPool2d(1)}
    layers |= {"flatten": nn.Flatten(), "head": nn.Linear(before, classes)}
    return nn.Sequential(OrderedDict(layers))
