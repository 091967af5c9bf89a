"""Which ReLU units are on for which inputs, and in how many entries two networks differ (Fort et al. 2020, section 2).

A pattern has one bit an entry (unit and input), packed eight to a byte; networks are compared batch by batch, so that
memory is one batch's patterns whatever the number of inputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from landscape_cli.errors import NetworkError

# A unit is on where its input is above 0. Kinked units and their smooth relatives, whose two sides differ as much.
UNITS: dict[Callable[..., Any], str] = {
    function: name
    for name, functions in {
        "relu": (F.relu, torch.relu, torch.relu_, F.relu_, Tensor.relu, Tensor.relu_),
        "relu6": (F.relu6,),
        "leaky_relu": (F.leaky_relu, F.leaky_relu_),
        "prelu": (F.prelu, torch.prelu, Tensor.prelu),
        "rrelu": (F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_),
        "elu": (F.elu, F.elu_),
        "celu": (F.celu, F.celu_, torch.celu, torch.celu_),
        "selu": (F.selu, F.selu_, torch.selu, torch.selu_),
        "gelu": (F.gelu,),
        "silu": (F.silu,),
        "mish": (F.mish,),
        "hardswish": (F.hardswish,),
        "softplus": (F.softplus,),
    }.items()
    for function in functions
}
# The same from a comparison with a bound, if the bound is 0.
BOUNDED: frozenset[Callable[..., Any]] = frozenset(
    {
        F.threshold, torch.threshold, torch.threshold_, torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_,
        torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_, torch.clip, Tensor.clip,
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pattern:
    """The bits of one place in a network on one batch.

    Args:
        bits: Packed, ``uint8``; entries in the order in which the batch lies in memory.
        entries: How many bits mean something; the others are 0.
        unit: Which kind of unit.
    """

    bits: Tensor
    entries: int
    unit: str


def patterns(network: nn.Module, inputs: Tensor) -> tuple[Tensor, dict[str, Pattern]]:
    """The network's outputs on a batch, and the on/off pattern of its ReLU-like units by place.

    A place is the module in whose forward pass the unit is called, numbered where it calls several: ``relu``,
    ``stage1.0.relu1``, ``block#2``. Units are found wherever they are called, as a module or as a function.

    Args:
        network: In the mode it is to be measured in.
        inputs: ``(batch, …)``, normalised.

    Cost: a forward pass, and one more pass over the activations; memory of one bit an entry.

    Raises:
        NetworkError: If the network has no ReLU-like unit.
    """
    found: dict[str, list[Pattern]] = {}
    with torch.inference_mode(), _inside(network) as where, _Watch(where, found):
        outputs = network(inputs)
    if not found:
        raise NetworkError("the network has no ReLU-like unit", f"known are {', '.join(sorted(set(UNITS.values())))}")
    return outputs, {
        place if len(several) == 1 else f"{place}#{number}": one
        for place, several in found.items()
        for number, one in enumerate(several, 1)
    }


class _Watch(TorchFunctionMode):
    """Sees the calls of units while a network runs."""

    def __init__(self, where: list[str], found: dict[str, list[Pattern]]) -> None:
        super().__init__()
        self._where = where
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        unit = UNITS.get(func) or ("relu" if func in BOUNDED and _zero(args, kwargs) else None)
        if unit is not None:  # before the call: it may change its input in place
            inputs = args[0] if args else kwargs["input"]
            self._found.setdefault(self._where[-1], []).append(pack(inputs, unit))
        return func(*args, **kwargs)


def _zero(args: Any, kwargs: Any) -> bool:
    """Whether the lower bound of a clamp, or the threshold of a threshold, is the number 0."""
    given = [kwargs[name] for name in ("min", "threshold") if name in kwargs] or args[1:2]
    return bool(given) and isinstance(given[0], int | float) and given[0] == 0


@contextmanager
def _inside(network: nn.Module) -> Iterator[list[str]]:
    """The names of the modules whose forward pass is going on, the innermost last."""
    stack = [""]
    names = {module: name for name, module in network.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        stack.append(names[module])

    def leave(_: nn.Module, __: Any, ___: Any) -> None:
        stack.pop()

    handles = [module.register_forward_pre_hook(enter) for module in names]
    handles += [module.register_forward_hook(leave) for module in names]
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()


def pack(inputs: Tensor, unit: str = "relu") -> Pattern:
    """One bit an entry: whether it is above 0; NaN is not.

    >>> pack(torch.tensor([1.0, -1.0, 0.0, 2.0])).bits
    tensor([144], dtype=torch.uint8)
    """
    flat = inputs.as_strided((inputs.numel(),), (1,)) if _dense(inputs) else inputs.flatten()
    if flat.device.type == "cpu":
        # numpy compares several times as fast as torch; it knows no bfloat16.
        above = (flat > 0).numpy() if flat.dtype == torch.bfloat16 else flat.numpy() > 0
        return Pattern(torch.from_numpy(np.packbits(above)), flat.numel(), unit)
    on = flat > 0
    padded = F.pad(on.to(torch.uint8), (0, -on.numel() % 8)).view(-1, 8)
    places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=on.device)
    return Pattern((padded * places).sum(1, dtype=torch.uint8), on.numel(), unit)


def _dense(inputs: Tensor) -> bool:
    """Whether its entries fill a stretch of memory, in whatever order; a comparison then keeps that order."""
    return inputs.is_contiguous() or (inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last))


def count(bits: Tensor) -> int:
    """How many bits are set."""
    if bits.device.type != "cpu":
        return int(_ones(bits.device)[bits.long()].sum())
    whole = len(bits) // 8 * 8
    words = bits[:whole].numpy().view(np.uint64)
    return int(np.bitwise_count(words).sum(dtype=np.int64) + np.bitwise_count(bits[whole:].numpy()).sum(dtype=np.int64))


def differing(first: Pattern, second: Pattern) -> int:
    """In how many entries two patterns of one place differ (the Hamming distance).

    Raises:
        NetworkError: If they are of different sizes.
    """
    if first.entries != second.entries:
        raise NetworkError(f"patterns of {first.entries} and {second.entries} entries cannot be compared")
    return count(first.bits ^ second.bits)


def _ones(device: torch.device) -> Tensor:
    return torch.tensor([value.bit_count() for value in range(256)], device=device)
