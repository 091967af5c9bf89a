"""Networks as a notebook has them: modules or state dicts, copied to where they are measured."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from landscape_cli.compute.choices import Precision
from landscape_cli.compute.device import Placement, place, placement
from landscape_cli.errors import CheckpointError, NetworkError, UsageError
from landscape_cli.store.checkpoints import first_non_finite

State = Mapping[str, Tensor]
Net = nn.Module | State

_PRECISIONS: dict[torch.dtype, Precision] = {
    torch.float64: "float64",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


def own_module(network: nn.Module) -> nn.Module:
    """The module inside ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``."""
    while True:
        inner = getattr(network, "_orig_mod", None)
        if inner is None and type(network).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(network, "module", None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def architecture(network: nn.Module | None, *ends: Net) -> nn.Module:
    """The module that is to carry the weights: the one given, else the first of the ends that is a module.

    Raises:
        UsageError: If there is none.
    """
    for one in (network, *ends):
        if isinstance(one, nn.Module):
            return own_module(one)
    raise UsageError("state dicts alone do not say what network they are of", "give a module too: network=MODULE")


def where_of(network: nn.Module, device: str | None, precision: Precision | None) -> Placement:
    """Where to measure: as asked for, else on the network's own device and in its own type.

    Raises:
        DeviceError: If the device is not there, or cannot do the precision.
    """
    first = next((p for p in network.parameters() if p.is_floating_point()), None)
    own = "cpu" if first is None else str(first.device)
    kind = _PRECISIONS.get(first.dtype, "float32") if first is not None else "float32"
    return placement(device or own, precision or kind)


def walker(network: nn.Module, where: Placement) -> nn.Module:
    """A copy of a network, in evaluation mode, where it is measured; the network itself is left alone.

    Raises:
        NetworkError: If it cannot be copied.
    """
    try:
        copied = copy.deepcopy(own_module(network))
    except (RuntimeError, TypeError) as error:
        raise NetworkError(f"{type(network).__name__} cannot be copied: {error}") from error
    if where.precision in ("float32", "tf32"):
        copied.float()
    return place(copied, where).eval()


def state_of(network: Net, who: str) -> dict[str, Tensor]:
    """The weights and buffers of a network or state dict, by name.

    Raises:
        CheckpointError: If an entry is no tensor (a training checkpoint that holds the state dict inside), or one holds
            NaN or infinite values; it is named.
    """
    if isinstance(network, nn.Module):
        state = dict(own_module(network).state_dict())
    else:
        state = dict(network)
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise CheckpointError(
                    f"{who} is no state dict: '{name}' is a {type(value).__name__}",
                    "give the dictionary of tensors inside it, as in checkpoint['model']",
                )
    if (broken := first_non_finite(state)) is not None:
        raise CheckpointError(
            f"{who}: tensor '{broken}' holds NaN or infinite values", "it diverged; take an earlier checkpoint"
        )
    return state
