"""Paths between networks, walked in place by one module: the straight line, and what every path shares."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.choices import BatchNormMode
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.errors import CheckpointError, NetworkError

State = Mapping[str, Tensor]
Place = TypeVar("Place")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A state as a walker reads it: checked, on its device, in its memory layout, at least in float32.

    Several paths may share one; none changes it.

    Args:
        tensors: By the names of the network's state.
    """

    tensors: dict[str, Tensor]

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())


def prepare(network: nn.Module, state: State, who: str) -> Prepared:
    """Copy a state into the layout of the network that is to walk through it.

    Cost: one pass over the weights.

    Args:
        network: The walker; its own weights do not matter.
        state: The weights and buffers.
        who: What to call the state in a message.

    Raises:
        CheckpointError: If it does not fit the network; the message names the tensor.
    """
    own = network.state_dict(keep_vars=False)
    check_state(own, state, who)
    exact = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
    made: dict[str, Tensor] = {}
    for name, target in own.items():
        dtype = exact.get(target.dtype, target.dtype) if target.is_floating_point() else state[name].dtype
        made[name] = torch.empty_like(target, dtype=dtype).copy_(state[name])
    return Prepared(made)


class Path(ABC, Generic[Place]):
    """A path or plane through weight space whose points are mixed from a few networks, walked in place.

    The module is changed at each step, so that memory is that of the networks it is mixed from and the walker,
    however many points there are.

    Args:
        network: The module that walks; its own weights do not matter.
        mixed: The networks that the points are mixed from; those that are not :class:`Prepared` are copied.
        batch_norm: ``recompute`` the running statistics at each point, ``lerp`` them like weights, or ``keep`` those
            of the first network. Without batch norm the three agree.
        statistics: The samples to recompute them on.
        batch: Samples a forward pass when recomputing.

    Raises:
        CheckpointError: If a state does not fit the network; the message names the tensor.
        NetworkError: If statistics are to be recomputed and there are no samples for it.
    """

    names: Sequence[str] = ()  # of the networks, for messages

    def __init__(
        self,
        network: nn.Module,
        mixed: Sequence[State | Prepared],
        *,
        batch_norm: BatchNormMode = "recompute",
        statistics: Samples | None = None,
        batch: int = BATCH,
    ) -> None:
        states = [
            (one if isinstance(one, Prepared) else prepare(network, one, name)).tensors
            for one, name in zip(mixed, self.names or [f"network {i + 1}" for i in range(len(mixed))], strict=True)
        ]
        self.network = network
        self.has_batch_norm = bool(batch_norms(network))
        self.mode: BatchNormMode | None = batch_norm if self.has_batch_norm else None
        if self.mode == "recompute" and statistics is None:
            raise NetworkError("recomputing batch norm needs samples of the training set")
        self._statistics = statistics
        self._batch = batch
        running = set(running_statistics(network))
        self._mixed: list[tuple[Tensor, list[Tensor]]] = []
        self._fixed: list[tuple[Tensor, Tensor]] = []
        for name, target in network.state_dict(keep_vars=False).items():
            if not target.is_floating_point() or (name in running and self.mode != "lerp"):
                self._fixed.append((target, states[0][name]))
            else:
                self._mixed.append((target, [state[name] for state in states]))

    @abstractmethod
    def mix(self, tensors: Sequence[Tensor], at: Place, out: Tensor | None = None) -> Tensor:
        """One tensor of the network at a point of the path, from those of the networks it is mixed from."""

    def go(self, at: Place) -> nn.Module:
        """Put the module at a point of the path and return it.

        Cost: one pass over the weights; with ``recompute`` a forward pass over the statistics samples too.
        """
        with torch.no_grad():
            for target, value in self._fixed:
                target.copy_(value)
            for target, tensors in self._mixed:
                if target.dtype == tensors[0].dtype:
                    self.mix(tensors, at, target)
                else:
                    target.copy_(self.mix(tensors, at))
        if self.mode == "recompute" and self._statistics is not None:
            recompute_statistics(self.network, self._statistics, batch=self._batch)
        return self.network


class LinearPath(Path[float]):
    """``w_α = α w_1 + (1 − α) w_2`` for weights; batch-norm statistics as asked for.

    At α = 1 and α = 0 the weights are those of the ends to the last bit; between equal entries they stay equal. α may
    lie beyond 0 and 1: the line goes on.

    Args:
        network: The module that walks; its own weights do not matter.
        first: State of the network at α = 1.
        second: State of the network at α = 0.
        batch_norm: ``recompute`` the running statistics at each α, ``lerp`` them like weights, or ``keep`` those of
            the first end. Without batch norm the three agree.
        statistics: The samples to recompute them on.
        batch: Samples a forward pass when recomputing.

    Raises:
        CheckpointError: If the ends do not fit the network; the message names the tensor.
        NetworkError: If statistics are to be recomputed and there are no samples for it.
    """

    names = ("the first network", "the second network")

    def __init__(
        self,
        network: nn.Module,
        first: State | Prepared,
        second: State | Prepared,
        *,
        batch_norm: BatchNormMode = "recompute",
        statistics: Samples | None = None,
        batch: int = BATCH,
    ) -> None:
        super().__init__(network, (first, second), batch_norm=batch_norm, statistics=statistics, batch=batch)

    def mix(self, tensors: Sequence[Tensor], at: float, out: Tensor | None = None) -> Tensor:
        """``α w_1 + (1 − α) w_2``."""
        one, two = tensors
        return torch.lerp(two, one, at) if out is None else torch.lerp(two, one, at, out=out)


def running_statistics(network: nn.Module) -> list[str]:
    """The state-dict names of all batch-norm running statistics."""
    layers = set(batch_norms(network))
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if module in layers
        for name in ("running_mean", "running_var", "num_batches_tracked")
    ]


def check_state(own: State, state: State, who: str) -> None:
    """Compare the names and shapes of a state with those of a network.

    Raises:
        CheckpointError: If a tensor is missing, extra or misshapen; the first of each is named.
    """
    missing = [name for name in own if name not in state]
    extra = [name for name in state if name not in own]
    wrong = [name for name in own if name in state and own[name].shape != state[name].shape]
    problems = []
    if wrong:
        shapes = f"has shape {tuple(state[wrong[0]].shape)}, the network needs {tuple(own[wrong[0]].shape)}"
        problems.append(f"tensor '{wrong[0]}' {shapes}" + _more(wrong))
    if missing:
        problems.append(f"tensor '{missing[0]}' is missing" + _more(missing))
    if extra:
        problems.append(f"tensor '{extra[0]}' is not one of the network's" + _more(extra))
    if problems:
        raise CheckpointError(
            f"{who} does not fit the network: " + "; ".join(problems), "check --network and its options"
        )


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
