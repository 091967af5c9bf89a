"""The straight line between two networks, walked in place by one module."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.choices import BatchNormMode
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.errors import CheckpointError, NetworkError

State = Mapping[str, Tensor]


class LinearPath:
    """``w_α = α w_1 + (1 − α) w_2`` for weights; batch-norm statistics as asked for.

    The module is changed in place at each step, so that memory is three networks however many points there are:
    the two ends and the walker. The ends are copied on construction and never changed. At α = 1 and α = 0 the weights
    are those of the ends to the last bit; between equal entries they stay equal.

    Args:
        network: The module that walks; its own weights do not matter.
        first: State of the network at α = 1.
        second: State of the network at α = 0.
        batch_norm: ``recompute`` the running statistics at each α, ``lerp`` them like weights, or ``keep`` those of
            the first end. Without batch norm the three agree.
        statistics: The samples to recompute them on.
        batch: Samples a forward pass when recomputing.

    Raises:
        CheckpointError: If the ends do not fit the network or each other; the message names the tensor.
        NetworkError: If statistics are to be recomputed and there are no samples for it.
    """

    def __init__(
        self,
        network: nn.Module,
        first: State,
        second: State,
        *,
        batch_norm: BatchNormMode = "recompute",
        statistics: Samples | None = None,
        batch: int = BATCH,
    ) -> None:
        own = network.state_dict(keep_vars=False)
        for name, state in (("the first network", first), ("the second network", second)):
            check_state(own, state, name)
        self.network = network
        self.has_batch_norm = bool(batch_norms(network))
        self.mode: BatchNormMode | None = batch_norm if self.has_batch_norm else None
        if self.mode == "recompute" and statistics is None:
            raise NetworkError("recomputing batch norm needs samples of the training set")
        self._statistics = statistics
        self._batch = batch
        running = set(running_statistics(network))
        exact = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
        self._floats: list[tuple[Tensor, Tensor, Tensor]] = []
        fixed: list[tuple[Tensor, Tensor]] = []
        for name, target in own.items():
            one, two = (state[name].to(target.device) for state in (first, second))
            if not target.is_floating_point() or (name in running and self.mode != "lerp"):
                fixed.append((target, one))
                continue
            # The ends are kept in the walker's own memory layout, at least in float32, apart from the caller's.
            dtype = exact.get(target.dtype, target.dtype)
            pair = [torch.empty_like(target, dtype=dtype).copy_(t) for t in (one, two)]
            self._floats.append((target, pair[0], pair[1]))
        for target, value in fixed:
            target.copy_(value)

    def go(self, alpha: float) -> nn.Module:
        """Put the module at ``alpha`` and return it.

        Cost: one pass over the weights; with ``recompute`` a forward pass over the statistics samples too.
        """
        with torch.no_grad():
            for target, one, two in self._floats:
                if target.dtype == one.dtype:
                    torch.lerp(two, one, alpha, out=target)
                else:
                    target.copy_(torch.lerp(two, one, alpha))
        if self.mode == "recompute" and self._statistics is not None:
            recompute_statistics(self.network, self._statistics, batch=self._batch)
        return self.network


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
