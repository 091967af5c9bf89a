"""Networks of the package timm, when it is installed."""

import difflib
from typing import Any

from torch import nn

from landscape_cli.errors import NetworkError, UsageError
from landscape_cli.networks.scaling import image_shape, refuse_width


def build(name: str, input_shape: tuple[int, ...], classes: int, **options: Any) -> nn.Module:
    """``timm.create_model(name)`` with fresh weights, for these inputs and classes.

    Args:
        name: A name timm knows.
        input_shape: ``(channel, height, width)``.
        classes: Outputs.
        options: Further arguments of ``timm.create_model`` (text is read as a number where it is one).

    Raises:
        UsageError: If timm is missing or does not know the name, or a width multiplier is asked for.
        NetworkError: If inputs are no images, or pretrained weights are asked for.
    """
    try:
        import timm
    except ImportError as error:
        raise UsageError(
            f"'timm:{name}' needs the package timm ({error})", "pip install 'landscape-cli[timm]'"
        ) from None
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise UsageError(f"timm has no network '{name}'", f"near are {', '.join(near)}" if near else None)
    refuse_width(f"timm:{name}", options, "timm has networks of several sizes, and their own options are -N KEY=VALUE")
    if options.get("pretrained"):
        raise NetworkError(
            "pretrained weights are not downloaded while training",
            "save them as a .safetensors file and use 'landscape import'",
        )
    channels, height, width = image_shape(input_shape, f"timm:{name}")
    options = {"pretrained": False, "num_classes": classes, "in_chans": channels, **options}
    if "vit" in name or "mixer" in name or "swin" in name or "deit" in name:
        options.setdefault("img_size", (height, width))
    network: nn.Module = timm.create_model(name, **options)
    return network
