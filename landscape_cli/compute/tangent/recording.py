"""What passes through chosen layers in one forward pass, and a network that is left as it was found."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Args:
        inputs: Its first argument, detached.
        shape: The shape of its output.
        edge: Where the output's cotangent arrives in the autograd graph; None if nothing trainable is behind it.
        order: Its place among all recorded calls.
    """

    inputs: Tensor
    shape: torch.Size
    edge: GradientEdge | None
    order: int


class _Tap(torch.autograd.Function):
    """The identity, as a node of its own in the graph.

    The output shares the layer's memory without being a view of it: a later in-place layer (``ReLU(inplace=True)``)
    may overwrite it, and the cotangent that arrives here is still that of the layer's own output.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        """Nothing is copied."""
        alias: Tensor = y.new_empty(0).set_(y.untyped_storage(), y.storage_offset(), y.size(), y.stride())
        return alias

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        """Nothing is changed."""
        return cotangents[0]


@contextlib.contextmanager
def recording(layers: Mapping[nn.Module, str]) -> Iterator[dict[str, list[Call]]]:
    """Note every call of some layers while the context lasts.

    The layers are hooked for that time only. A user's own hooks are respected: the input is what their pre-hooks made
    of it, the output is the layer's own, before their hooks change it.

    Args:
        layers: Name by module.

    Yields:
        Calls by name, in order, filled as the network runs.
    """
    calls: dict[str, list[Call]] = {name: [] for name in layers.values()}

    count = itertools.count()

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        given = args[0] if args else next(iter(kwargs.values()), None)
        if not isinstance(given, Tensor) or not isinstance(output, Tensor):
            return None
        if not output.requires_grad:
            calls[layers[module]].append(Call(given.detach(), output.shape, None, next(count)))
            return None
        tapped: Tensor = _Tap.apply(output)  # type: ignore[no-untyped-call]
        calls[layers[module]].append(Call(given.detach(), output.shape, get_gradient_edge(tapped), next(count)))
        return tapped

    handles = [module.register_forward_hook(note, prepend=True, with_kwargs=True) for module in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, with gradients on; afterwards every mode flag and buffer is what it was.

    Cost: a copy of the buffers.
    """
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            network.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.inference_mode(False), torch.no_grad():
            for module, name, buffer, kept in buffers:
                module._buffers[name] = buffer
                if not _same(buffer, kept):
                    buffer.copy_(kept)


def _same(one: Tensor, two: Tensor) -> bool:
    """Equal to the last bit, NaN included."""
    return bool(torch.equal(one, two)) or bool(((one == two) | ((one != one) & (two != two))).all())


def arrived_or_zero(flow: Tensor | None, call: Call) -> Tensor:
    """A cotangent, or zeros where a call's output does not reach the logits."""
    return call.inputs.new_zeros(call.shape) if flow is None else flow
