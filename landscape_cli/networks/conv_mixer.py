"""ConvMixer (Trockman and Kolter 2022), as Mao et al. 2023 train it."""

from collections import OrderedDict

from torch import Tensor, nn

from landscape_cli.errors import NetworkError
from landscape_cli.networks.scaling import image_shape, scaled


class Block(nn.Module):
    """A depthwise convolution with its input added, then a 1×1 convolution; GELU and batch norm after both."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.gelu1 = nn.GELU()
        self.norm1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.gelu2 = nn.GELU()
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix places, then channels."""
        x = x + self.norm1(self.gelu1(self.depthwise(x)))
        y: Tensor = self.norm2(self.gelu2(self.pointwise(x)))
        return y


def build(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    width: float = 1.0,
    dim: int = 256,
    depth: int = 8,
    kernel: int = 5,
    patch: int = 2,
) -> nn.Sequential:
    """Patches by a strided convolution, ``depth`` blocks at one resolution, a global average, a read-out.

    Weights as torch draws them. 594,186 parameters for RGB images and 10 classes.

    Args:
        input_shape: ``(channel, height, width)``; rows and columns beyond a whole number of patches are left out.
        classes: Outputs.
        width: Multiplies the channels.
        dim: Channels.
        depth: Blocks.
        kernel: Side of the depthwise convolutions, odd.
        patch: Side of a patch.

    Raises:
        NetworkError: If inputs are no images or smaller than a patch, or a size does not work.
    """
    before, height, breadth = image_shape(input_shape, "convmixer")
    if min(dim, depth, kernel, patch) < 1 or kernel % 2 == 0:
        raise NetworkError(
            f"a convmixer has no dim {dim}, depth {depth}, kernel {kernel}, patch {patch}",
            "all are at least 1, and kernel is odd",
        )
    if min(height, breadth) < patch:
        raise NetworkError(f"images of {height}×{breadth} hold no patch of {patch}×{patch}", "set -N patch=1")
    channels = scaled(dim, width)
    layers: dict[str, nn.Module] = {
        "patch": nn.Conv2d(before, channels, patch, stride=patch),
        "gelu": nn.GELU(),
        "norm": nn.BatchNorm2d(channels),
        "blocks": nn.Sequential(*(Block(channels, kernel) for _ in range(depth))),
        "average": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": nn.Linear(channels, classes),
    }
    return nn.Sequential(OrderedDict(layers))
