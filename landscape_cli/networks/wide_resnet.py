"""Wide residual networks (Zagoruyko and Komodakis 2016), without dropout."""

from collections import OrderedDict

from torch import Tensor, nn

from landscape_cli.errors import NetworkError
from landscape_cli.networks.scaling import image_shape, scaled

STAGES = (16, 32, 64)


class Block(nn.Module):
    """Two pre-activated 3×3 convolutions; a 1×1 convolution carries the sum where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        same = stride == 1 and before == after
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The first activation feeds the shortcut too where that has weights."""
        active = self.relu1(self.norm1(x))
        kept = x if self.shortcut is None else self.shortcut(active)
        y: Tensor = kept + self.conv2(self.relu2(self.norm2(self.conv1(active))))
        return y


def build(
    input_shape: tuple[int, ...], classes: int, *, depth: int = 16, widen: int = 4, width: float = 1.0
) -> nn.Sequential:
    """A wide residual network of ``depth`` layers with 16·widen, 32·widen, 64·widen channels.

    Kaiming-normal weights (fan-out), read-out biases zero. WRN-16-4 has 2,748,890 parameters for RGB images and 10
    classes.

    Args:
        input_shape: ``(channel, height, width)``.
        classes: Outputs.
        depth: Layers, 6k + 4.
        widen: The widening factor.
        width: Multiplies all channels further.

    Raises:
        NetworkError: If inputs are no images, or ``depth`` is not 6k + 4.
    """
    channels, _, _ = image_shape(input_shape, "wrn")
    check_size(depth, widen, f"wrn-{depth}-{widen}")
    first = scaled(STAGES[0], width)
    layers: dict[str, nn.Module] = {"conv": nn.Conv2d(channels, first, 3, padding=1, bias=False)}
    before = first
    for stage, base in enumerate(STAGES, start=1):
        after = scaled(base * widen, width)
        blocks = []
        for block in range((depth - 4) // 6):
            blocks.append(Block(before, after, 2 if stage > 1 and not block else 1))
            before = after
        layers[f"stage{stage}"] = nn.Sequential(*blocks)
    layers |= {"norm": nn.BatchNorm2d(before), "relu": nn.ReLU(), "average": nn.AdaptiveAvgPool2d(1)}
    layers |= {"flatten": nn.Flatten(), "head": nn.Linear(before, classes)}
    network = nn.Sequential(OrderedDict(layers))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


def check_size(depth: int, widen: int, name: str) -> None:
    """Make sure that three stages of whole blocks have so many layers.

    Raises:
        NetworkError: If they do not.
    """
    if depth < 10 or (depth - 4) % 6 or widen < 1:
        raise NetworkError(f"{name}: the depth of a wide resnet is 10, 16, 22, 28, …, its widening 1, 2, …")
