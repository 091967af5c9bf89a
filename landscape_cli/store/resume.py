"""Resume states: what a checkpoint lacks to continue or spawn from it bit for bit.

A state is a safetensors file of the optimiser's tensors, named ``optimizer/<parameter>/<slot>``; the rolling state
of an interrupted run holds the network's tensors as well, named ``network/<name>``. Random streams need no state:
each is a function of its purpose, seed and position.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from landscape_cli.errors import CheckpointError
from landscape_cli.store.checkpoints import read_header, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

OPTIMIZER = "optimizer/"
NETWORK = "network/"


def write_state(
    path: Path, *, step: int, optimizer: Mapping[str, "Tensor"], network: Mapping[str, "Tensor"] | None = None
) -> None:
    """Write a resume state atomically.

    Raises:
        StorageError: If the disk is full or the place cannot be written.
    """
    tensors = {OPTIMIZER + name: tensor for name, tensor in optimizer.items()}
    tensors |= {NETWORK + name: tensor for name, tensor in (network or {}).items()}
    write_tensors(path, tensors, {"kind": "resume", "step": step})


def state_step(path: Path) -> int:
    """The step a resume state was taken at, from its header.

    Raises:
        CheckpointError: If it is missing, damaged, or no resume state.
    """
    step = read_header(path).landscape.get("step")
    if not isinstance(step, int):
        raise CheckpointError(f"{path} is no resume state")
    return step


def read_state(path: Path) -> tuple[dict[str, "Tensor"], dict[str, "Tensor"]]:
    """Read a resume state: the optimiser's tensors and, of a rolling state, the network's.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    tensors = read_tensors([path])
    parts: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for name, tensor in tensors.items():
        for part, prefix in zip(parts, (OPTIMIZER, NETWORK), strict=True):
            if name.startswith(prefix):
                part[name.removeprefix(prefix)] = tensor
    return parts
