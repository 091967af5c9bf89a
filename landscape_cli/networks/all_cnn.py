"""AllCNN (Springenberg et al. 2015) in the small form of Mao et al. 2023."""

from collections import OrderedDict

from torch import nn

from landscape_cli.networks.scaling import image_shape, scaled

CHANNELS = (96, 96, 144, 144)
STRIDES = (1, 2, 1, 2)


def build(input_shape: tuple[int, ...], classes: int, *, width: float = 1.0) -> nn.Sequential:
    """Four 3×3 convolutions, every second of stride 2, a 1×1 convolution to the classes, a global average.

    After each convolution, the last one too, a rectifier and then batch norm: logits are averages of normalised
    numbers, and there is no linear layer. Biases everywhere; weights as torch draws them. 399,486 parameters for RGB
    images and 10 classes.

    Args:
        input_shape: ``(channel, height, width)``.
        classes: Outputs.
        width: Multiplies the channels 96, 96, 144, 144.

    Raises:
        NetworkError: If inputs are no images, or a layer is empty.
    """
    before, _, _ = image_shape(input_shape, "allcnn")
    shapes = [(scaled(c, width), 3, stride) for c, stride in zip(CHANNELS, STRIDES, strict=True)]
    layers: dict[str, nn.Module] = {}
    for number, (after, kernel, stride) in enumerate([*shapes, (classes, 1, 1)], start=1):
        layers[f"conv{number}"] = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"norm{number}"] = nn.BatchNorm2d(after)
        before = after
    layers |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(layers))
