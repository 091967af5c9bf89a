"""Networks as a notebook has them: modules or state dicts, copied to where they are measured."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from landscape_cli.api.calls import check_choice
from landscape_cli.api.values import is_array, tensor_of
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.device import Placement, place, placement
from landscape_cli.compute.named_tensors import unwrapped
from landscape_cli.compute.weights.directions import trained_names
from landscape_cli.compute.weights.interpolation import check_state
from landscape_cli.errors import CheckpointError, NetworkError, UsageError
from landscape_cli.store.checkpoints import first_non_finite

State = Mapping[str, Tensor]
Net = nn.Module | State
Device = str | torch.device

_PRECISIONS: dict[torch.dtype, Precision] = {
    torch.float64: "float64",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


def own_module(network: object, name: str = "network") -> nn.Module:
    """The module inside ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``.

    Args:
        network: The module.
        name: Of the argument that it is.

    Raises:
        NetworkError: If its parameters have no shapes yet.
        UsageError: If it is no module.
    """
    if not isinstance(network, nn.Module):
        way = "load it first: load_network(PATH)"
        if isinstance(network, Mapping):
            way = "put the weights into a module: MODULE.load_state_dict(STATE)"
        raise UsageError(f"{name} is a {type(network).__name__}, not a module", way)
    found: nn.Module = network
    while True:
        inner = getattr(found, "_orig_mod", None)
        if inner is None and type(found).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(found, "module", None)
        if not isinstance(inner, nn.Module):
            break
        found = inner
    if any(is_lazy(tensor) for tensor in (*found.parameters(), *found.buffers())):
        raise NetworkError(f"{name} has lazy layers without weights yet", "call it on a batch first")
    return found


def architecture(network: nn.Module | None, *ends: Net) -> nn.Module:
    """The module that is to carry the weights: the one given, else the first of the ends that is a module.

    Raises:
        UsageError: If there is none, or an end is neither a module nor a state dict.
    """
    for one in ends:
        if not isinstance(one, nn.Module | Mapping):
            raise UsageError(
                f"a network is a {type(one).__name__}, neither a module nor a state dict",
                "load it first: load_network(PATH), load_checkpoint(PATH)",
            )
    if network is not None:
        return own_module(network)
    for one in ends:
        if isinstance(one, nn.Module):
            return own_module(one)
    raise UsageError("state dicts alone do not say what network they are of", "give a module too: network=MODULE")


def where_of(network: nn.Module, device: Device | None, precision: Precision | None) -> Placement:
    """Where to measure: as asked for, else on the network's own device and in its own type.

    Raises:
        DeviceError: If the device is not there, or cannot do the precision.
        UsageError: If there is no such precision.
    """
    first = next((p for p in network.parameters() if p.is_floating_point()), None)
    own = "cpu" if first is None else str(first.device)
    kind = _PRECISIONS.get(first.dtype, "float32") if first is not None else "float32"
    if precision is not None:
        check_choice("precision", precision, Precision)
    return placement(own if device is None else str(device), precision or kind)


def carrying(network: nn.Module) -> nn.Module:
    """A copy of a network.

    Raises:
        NetworkError: If it cannot be copied.
    """
    try:
        return copy.deepcopy(own_module(network))
    except (RuntimeError, TypeError) as error:
        text = str(error).partition("\n")[0]
        raise NetworkError(f"{type(network).__name__} cannot be copied: {text}") from error


def placed(network: nn.Module, where: Placement) -> nn.Module:
    """A network, in evaluation mode, where it is measured and in the type that is asked for."""
    if where.precision in ("float32", "tf32"):
        network.float()
    return place(network, where).eval()


def walker(network: nn.Module, where: Placement) -> nn.Module:
    """A copy of a network, in evaluation mode, where it is measured; the network itself is left alone.

    Raises:
        NetworkError: If it cannot be copied.
    """
    return placed(carrying(network), where)


def state_of(network: Net, who: str) -> dict[str, Tensor]:
    """The weights and buffers of a network or state dict, by name.

    Raises:
        CheckpointError: If an entry is no tensor (a training checkpoint that holds the state dict inside), or one holds
            NaN or infinite values; it is named.
    """
    if isinstance(network, nn.Module):
        state = dict(own_module(network, who).state_dict())
    else:
        state = {}
        for name, value in network.items():
            if not is_array(value):
                raise CheckpointError(
                    f"{who} is no state dict: '{name}' is a {type(value).__name__}",
                    "give the dictionary of tensors inside it, as in checkpoint['model']",
                )
            state[name] = tensor_of(value)
    if (broken := first_non_finite(state)) is not None:
        raise CheckpointError(
            f"{who}: tensor '{broken}' holds NaN or infinite values", "it diverged; take an earlier checkpoint"
        )
    return state


def fitting_state(module: nn.Module, network: Net, who: str) -> dict[str, Tensor]:
    """A network's tensors under the names of the module that is to carry them.

    Names that begin with ``module.`` or ``_orig_mod.``, as wrappers leave them, lose that.

    Raises:
        CheckpointError: If a tensor is missing, extra or misshapen (it is named), or as :func:`state_of`.
    """
    own, state = module.state_dict(), state_of(network, who)
    if state and not state.keys() & own.keys():
        state = unwrapped(state)
    try:
        check_state(own, state, who)
    except CheckpointError as error:
        raise CheckpointError(error.message, "the networks have to be of one architecture") from None
    return state


def trainable(module: nn.Module) -> list[str]:
    """The names of the parameters that train: what counts as weights.

    Raises:
        NetworkError: If there are none.
    """
    names = trained_names(module)
    if not names:
        raise NetworkError(
            "no parameter of the network trains: all have requires_grad=False",
            "distances and derivatives are over what trains; give a copy with requires_grad_(True)",
        )
    return names
