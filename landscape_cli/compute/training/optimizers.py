"""Optimisers, and their state by the names of parameters."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landscape_cli.compute.device import NORMALISATION
from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.errors import CheckpointError, NetworkError

SCALER = "loss-scale/"  # begins the names of what stands beside the optimiser's own tensors in half precision


def build_optimizer(network: nn.Module, protocol: Protocol) -> torch.optim.Optimizer:
    """The torch optimiser of a protocol, in its fused form.

    Raises:
        NetworkError: If the network has nothing to train.
    """
    trainable = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if not trainable:
        raise NetworkError("the network has no trainable parameters")
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    spared = set() if protocol.decay_norm_bias else _norm_and_bias(network)
    for name, parameter in trainable:
        (free if name in spared else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": protocol.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    devices = {p.device for _, p in trainable}
    fused = all(device.type in ("cpu", "cuda") for device in devices)
    # On CUDA the rate is a tensor and Adam counts its steps there: a recorded step reads what they hold then.
    on_cuda = all(device.type == "cuda" for device in devices)
    lr: Any = torch.tensor(protocol.lr, dtype=torch.float32, device=devices.pop()) if on_cuda else protocol.lr
    if protocol.optimizer in ("adam", "adamw"):
        kind = torch.optim.Adam if protocol.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, lr=lr, betas=(protocol.momentum, protocol.beta2), fused=fused, capturable=on_cuda)
    return torch.optim.SGD(
        groups, lr=lr, momentum=protocol.momentum, nesterov=protocol.optimizer == "nesterov", fused=fused
    )


def _norm_and_bias(network: nn.Module) -> set[str]:
    """The names of biases, and of all parameters of normalisation layers."""
    names = {name for name, _ in network.named_parameters() if name.rpartition(".")[2] == "bias"}
    for prefix, module in network.named_modules():
        if isinstance(module, NORMALISATION):
            names |= {f"{prefix}.{name}" if prefix else name for name, _ in module.named_parameters(recurse=False)}
    return names


def optimizer_state(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors as ``parameter/slot``; empty before the first step."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    return {
        f"{names[parameter]}/{slot}": value
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Put tensors of :func:`optimizer_state` back, each in the layout of its parameter.

    Raises:
        CheckpointError: If the state belongs to another network or optimiser.
    """
    parameters = dict(network.named_parameters())
    for key, value in state.items():
        if key.startswith(SCALER):
            continue
        name, _, slot = key.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None or (value.shape != parameter.shape and value.ndim > 0):
            raise CheckpointError(f"the optimiser state of '{name}' does not fit the network")
        if value.ndim == 0:  # Adam's step count
            placed = value.clone() if parameter.device.type == "cpu" else value.to(parameter.device)
        else:
            placed = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        optimizer.state[parameter][slot] = placed
