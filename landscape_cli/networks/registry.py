"""Networks by name: ``simple-cnn``, ``wrn-16-4``, ``timm:NAME``, ``torchvision:NAME``, or one's own function.

One's own is ``module:function`` or ``file.py:function``.

A builder is a function ``build(input_shape, classes, *, option=…) -> torch.nn.Module``; the input shape and the
number of classes follow from the data. A third package registers one in the entry-point group
``landscape.networks``, whose value names the builder.
"""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from landscape_cli import plugins
from landscape_cli.errors import LandscapeError, NetworkError, UsageError

if TYPE_CHECKING:
    from torch import nn

GROUP = "landscape.networks"

BUILDERS = {
    "mlp": "landscape_cli.networks.mlp:build",
    "simple-cnn": "landscape_cli.networks.simple_cnn:build",
    "resnet20": "landscape_cli.networks.resnet:build_resnet20",
    "resnet20-nobn": "landscape_cli.networks.resnet:build_resnet20_nobn",
    "fc-mao2023": "landscape_cli.networks.mlp:build_mao2023",
    "allcnn": "landscape_cli.networks.all_cnn:build",
    "convmixer": "landscape_cli.networks.conv_mixer:build",
    "vit": "landscape_cli.networks.vision_transformer:build",
}
WIDE_RESNET = re.compile(r"wrn-(\d+)-(\d+)(?:-(\d+))?")
PACKAGES = {
    "timm:": "landscape_cli.networks.timm_models:build",
    "torchvision:": "landscape_cli.networks.torchvision_models:build",
}
EXAMPLES = (
    *BUILDERS, "wrn-16-4", "wrn-10-4-8", "wrn-16-4-64", "wrn-DEPTH-WIDEN", "wrn-DEPTH-WIDEN-CHANNELS", "timm:NAME",
    "torchvision:NAME", "module:function", "file.py:function",
)  # fmt: skip


@dataclass(frozen=True)
class NetworkSpec:
    """A network as asked for on the command line or recorded in a run.

    Args:
        name: Its name in the registry, ``timm:NAME``, ``torchvision:NAME``, or a user's own function.
        options: The builder's options.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.options}"

    def to_json(self) -> dict[str, Any]:
        """The form it has in ``run.json``."""
        return {"name": self.name, "options": self.options}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "NetworkSpec":
        """Read it back from ``run.json``."""
        return cls(document["name"], dict(document["options"]))


def names() -> list[str]:
    """All names a network can have on the command line, this package's and registered ones."""
    return [*EXAMPLES, *plugins.extensions(GROUP)]


def check_name(name: str) -> None:
    """Make sure that a name means a network, without loading it.

    Raises:
        UsageError: If it does not.
    """
    packaged = name.startswith(tuple(PACKAGES))
    registered = name in BUILDERS or WIDE_RESNET.fullmatch(name) or packaged or plugins.is_code(name)
    if not registered and name not in plugins.extensions(GROUP):
        raise UsageError(f"there is no network '{name}'", plugins.did_you_mean(name, names()))


def resolve(spec: NetworkSpec) -> NetworkSpec:
    """The same spec with its options converted to their types, checked by the builder's signature.

    Raises:
        UsageError: If the name is unknown or an option does not fit.
    """
    return replace(spec, options=plugins.bind(_builder(spec.name), spec.options, what=f"network '{spec.name}'"))


def build(spec: NetworkSpec, input_shape: tuple[int, ...], classes: int) -> "nn.Module":
    """Build the network for a data set, its weights drawn from torch's global generator.

    Args:
        spec: Which network.
        input_shape: The shape of one input: ``(channel, height, width)`` or ``(feature,)``.
        classes: The number of outputs.

    Raises:
        UsageError: If the name is unknown or an option does not fit.
        NetworkError: If it cannot be built for this input shape, or is no module.
    """
    from torch import nn

    builder = _builder(spec.name)
    options = resolve(spec).options
    try:
        if plugins.is_code(spec.name):
            network = _call_own(builder, input_shape, classes, options)
        else:
            network = builder(input_shape, classes, **options)
    except LandscapeError:
        raise
    except Exception as error:
        raise NetworkError(
            f"network '{spec.name}' could not be built for inputs of shape {input_shape} and {classes} classes: "
            f"{type(error).__name__}: {error}",
            "LANDSCAPE_DEBUG=1 shows where",
        ) from error
    if not isinstance(network, nn.Module):
        raise NetworkError(f"{spec.name} returned {type(network).__name__}, which is no torch.nn.Module")
    return network


def _builder(name: str) -> Callable[..., Any]:
    """The function that builds a network of this name."""
    known = BUILDERS | plugins.extensions(GROUP)
    if name in known:
        return plugins.load_code(known[name], what="network")
    if match := WIDE_RESNET.fullmatch(name):
        depth, widen, channels = (None if n is None else int(n) for n in match.groups())
        if channels is None:
            wide = plugins.load_code("landscape_cli.networks.wide_resnet:build", what="network")
            return functools.partial(wide, depth=depth, widen=widen)
        wide = plugins.load_code("landscape_cli.networks.wide_resnet_mao:build", what="network")
        return functools.partial(wide, depth=depth, widen=widen, channels=channels)
    for prefix, builder in PACKAGES.items():
        if name.startswith(prefix):
            packaged = plugins.load_code(builder, what="network")
            return functools.partial(packaged, name.removeprefix(prefix))
    check_name(name)
    return plugins.load_code(name, what="network", known=names())


def _call_own(function: Callable[..., Any], input_shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> Any:
    """Call a user's own builder with as much as it takes: nothing, the classes, or the shape and the classes."""
    parameters = inspect.signature(function).parameters
    offered = {"input_shape": input_shape, "classes": classes, "num_classes": classes}
    by_name = {name: value for name, value in offered.items() if name in parameters and name not in options}
    required = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in options
    ]
    if [name for name in required if name not in by_name]:
        return function(*(input_shape, classes)[-len(required) :], **options)
    return function(**by_name, **options)
