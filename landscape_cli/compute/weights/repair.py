"""REPAIR: units of an interpolated network get the statistics that lie between those of the ends.

Jordan, Sedghi, Saukh, Entezari and Neyshabur 2023 (REPAIR: REnormalizing Permuted Activations for Interpolation
Repair). Between two aligned networks without batch norm the variance of hidden units collapses, layer by layer. With
``μ`` and ``σ`` the mean and standard deviation of a unit's pre-activation over samples, the unit of the network at α is
rescaled so that ``μ = α μ_A + (1 − α) μ_B`` and ``σ = α σ_A + (1 − α) σ_B``. Networks with batch norm need none of
this: to recompute its statistics does the same.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from landscape_cli.compute.batchnorm import batch_norms
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.weights.interpolation import LinearPath, Prepared
from landscape_cli.errors import NetworkError

Statistic = Float[Tensor, " unit"]
Hook = Callable[[nn.Module, Any, Tensor], Any]


@dataclass(frozen=True)
class UnitStatistics:
    """Mean and standard deviation of each unit of a layer's output, over samples and places, in float64."""

    mean: Statistic
    std: Statistic


class Repair:
    """Corrects the hidden layers of a module that walks between two networks.

    The layers are its linear and convolutional modules but the one that runs last, which is the read-out. Each of them
    then gives ``(y − m)/s · σ + μ`` in place of y, unit by unit, with m and s the statistics of its own output; at an
    end nothing is changed.

    Args:
        network: The module that walks.
        samples: What statistics are taken from: training samples, un-augmented.
        batch: Samples a forward pass. While m and s are found, a layer sees its inputs corrected by the statistics of
            their batch, as batch norm in training does.

    Raises:
        NetworkError: If the network has batch norm, or no hidden layer.
    """

    def __init__(self, network: nn.Module, samples: Samples, *, batch: int = BATCH) -> None:
        if batch_norms(network):
            raise NetworkError(
                "REPAIR is for networks without batch norm: recomputing its statistics does the same",
                "leave --repair out; --bn recompute is the default",
            )
        self.network = network
        self.samples = samples
        self.batch = batch
        self.layers = _hidden_layers(network, samples)
        self._ends: list[dict[nn.Module, UnitStatistics]] = []

    def learn(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
        """Take the statistics of the ends: A's (α = 1), then B's. Cost: a forward pass of each over the samples."""
        self._ends = []
        for state in (first, second):
            self.network.load_state_dict(dict(state))
            self._ends.append(self._measure(None))

    def targets(self, alpha: float) -> dict[nn.Module, UnitStatistics]:
        """What the statistics are to be at α."""
        first, second = self._ends
        return {
            layer: UnitStatistics(
                alpha * first[layer].mean + (1 - alpha) * second[layer].mean,
                (alpha * first[layer].std + (1 - alpha) * second[layer].std).clamp_min(0),  # α may lie beyond the ends
            )
            for layer in self.layers
        }

    def at(self, alpha: float) -> nn.Module:
        """The network, which stands at α and must stay there, with its units corrected.

        Cost: a forward pass over the samples.
        """
        if alpha in (0.0, 1.0):
            return self.network
        targets = self.targets(alpha)
        found = self._measure(targets)
        return Repaired(
            self.network,
            {layer: _correcting(found[layer], targets[layer], _unit_axis(layer)) for layer in self.layers},
        )

    def _measure(self, targets: Mapping[nn.Module, UnitStatistics] | None) -> dict[nn.Module, UnitStatistics]:
        """The statistics of each layer's output; with targets, each batch is corrected before the next layer."""
        pools = {layer: _Pool(_unit_axis(layer)) for layer in self.layers}
        hooks = {layer: _pooling(pool, None if targets is None else targets[layer]) for layer, pool in pools.items()}
        with _hooked(hooks), _evaluating(self.network), torch.inference_mode():
            for x, _ in self.samples.batches(self.batch):
                self.network(x)
        return {layer: pool.statistics() for layer, pool in pools.items()}


class Repaired(nn.Module):
    """A network in evaluation mode with corrections of its layers' outputs, which it itself does not have.

    Args:
        network: The network.
        corrections: A forward hook for each corrected layer.
    """

    def __init__(self, network: nn.Module, corrections: Mapping[nn.Module, Hook]) -> None:
        super().__init__()
        self._network = (network,)  # not among its own modules: its mode is not this one's
        self._corrections = corrections

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits with its layers corrected."""
        (network,) = self._network
        with _hooked(self._corrections), _evaluating(network):
            logits: Tensor = network(x)
        return logits


class RepairedPath(LinearPath):
    """A straight line on which each network between the ends is repaired; see :class:`Repair`.

    Args:
        network: The module that walks; without batch norm.
        first: State of the network at α = 1.
        second: State of the network at α = 0.
        samples: What statistics are taken from.
        batch: Samples a forward pass.

    Raises:
        CheckpointError: If the ends do not fit the network; the message names the tensor.
        NetworkError: If the network has batch norm, or no hidden layer.
    """

    def __init__(
        self, network: nn.Module, first: Prepared, second: Prepared, samples: Samples, *, batch: int = BATCH
    ) -> None:
        super().__init__(network, first, second, statistics=samples, batch=batch)
        self.repair = Repair(network, samples, batch=batch)
        self.repair.learn(first.tensors, second.tensors)

    def go(self, at: float) -> nn.Module:
        """Put the module at α and return it repaired. Cost: a forward pass over the samples, beside the line's own."""
        super().go(at)
        return self.repair.at(at)


class _Pool:
    """Counts, means and sums of squares of one layer's outputs, in float64."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None

    def add(self, output: Tensor) -> UnitStatistics:
        """Take in a batch; returns its own statistics."""
        exact = torch.float32 if output.device.type == "mps" else torch.float64
        rows = output.movedim(self.axis, 0).reshape(output.shape[self.axis], -1).to(exact)
        n, mean = rows.shape[1], rows.mean(1)
        squares = ((rows - mean[:, None]) ** 2).sum(1)
        own = UnitStatistics(mean, (squares / n).sqrt())
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = n, mean, squares
            return own
        step, total = mean - self.mean, self.count + n
        self.squares = self.squares + squares + step**2 * (self.count * n / total)
        self.mean = self.mean + step * (n / total)
        self.count = total
        return own

    def statistics(self) -> UnitStatistics:
        """Of all batches together."""
        assert self.mean is not None
        assert self.squares is not None
        return UnitStatistics(self.mean, (self.squares / self.count).sqrt())


def corrected(output: Tensor, own: UnitStatistics, wanted: UnitStatistics, axis: int) -> Tensor:
    """``(y − m)/s · σ + μ`` along an axis of units; a unit that never changes (s = 0) is only shifted."""
    shape = [-1 if a == axis % output.ndim else 1 for a in range(output.ndim)]
    scale = torch.where(own.std > 0, wanted.std / own.std.clamp_min(torch.finfo(own.std.dtype).tiny), 1.0)
    shift = wanted.mean - own.mean * scale
    return output * scale.to(output.dtype).reshape(shape) + shift.to(output.dtype).reshape(shape)


def _pooling(pool: _Pool, wanted: UnitStatistics | None) -> Hook:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        own = pool.add(output)
        return None if wanted is None else corrected(output, own, wanted, pool.axis)

    return hook


def _correcting(own: UnitStatistics, wanted: UnitStatistics, axis: int) -> Hook:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return corrected(output, own, wanted, axis)

    return hook


def _unit_axis(layer: nn.Module) -> int:
    return 1 if isinstance(layer, _ConvNd) else -1


def _hidden_layers(network: nn.Module, samples: Samples) -> list[nn.Module]:
    """Linear and convolutional modules in the order in which they run, without the last."""
    ran: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if module in ran:
            ran.remove(module)
        ran.append(module)

    layers: dict[nn.Module, Hook] = {m: note for m in network.modules() if isinstance(m, nn.Linear | _ConvNd)}
    with _hooked(layers), _evaluating(network), torch.inference_mode():
        network(samples.normalized(samples.inputs[:2]))
    if len(ran) < 2:
        raise NetworkError("REPAIR finds no hidden linear or convolutional layer in this network")
    return ran[:-1]


@contextmanager
def _hooked(hooks: Mapping[nn.Module, Hook]) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook) for layer, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)
