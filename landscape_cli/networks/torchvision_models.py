"""Networks of the package torchvision, when it is installed."""

import difflib
from typing import Any

from torch import nn

from landscape_cli.errors import NetworkError, UsageError
from landscape_cli.networks.scaling import image_shape, refuse_width


def build(name: str, input_shape: tuple[int, ...], classes: int, **options: Any) -> nn.Module:
    """``torchvision.models.get_model(name)`` with fresh weights, for these classes.

    Args:
        name: A classification network that torchvision knows.
        input_shape: ``(3, height, width)``; a vision transformer is built for this very size.
        classes: Outputs.
        options: Further arguments of torchvision's builder (text is read as a number where it is one).

    Raises:
        UsageError: If torchvision is missing or does not know the name, or a width multiplier is asked for.
        NetworkError: If inputs are no RGB images of a size it takes, or pretrained weights are asked for.
    """
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # a torchvision made for another torch fails in its own way
        raise UsageError(
            f"'torchvision:{name}' needs the package torchvision ({error})", "pip install 'landscape-cli[torchvision]'"
        ) from None
    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise UsageError(f"torchvision has no network '{name}'", f"near are {', '.join(near)}" if near else None)
    refuse_width(f"torchvision:{name}", options, "resnets have -N width_per_group=…, mobilenets -N width_mult=…")
    if options.get("weights") or options.get("pretrained"):
        raise NetworkError(
            "pretrained weights are not downloaded while training",
            "save them as a .safetensors file and use 'landscape import'",
        )
    channels, height, width = image_shape(input_shape, f"torchvision:{name}")
    if channels != 3:
        raise NetworkError(
            f"torchvision:{name} takes images of 3 channels, but the data has {channels}",
            f"timm:{name}, if there is one, adapts to the channels",
        )
    options = {"weights": None, "num_classes": classes, **options}
    if name.startswith("vit_"):
        if height != width:
            raise NetworkError(f"torchvision:{name} takes square images, not {height}×{width}", "try --network vit")
        options.setdefault("image_size", height)
    if name in ("googlenet", "inception_v3"):  # their second outputs in training are no logits
        options = {"aux_logits": False, "init_weights": True, **options}
    network: nn.Module = models.get_model(name, **options)
    return network
