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
from landscape_cli.errors import NetworkError

Statistic = Float[Tensor, " unit"]


@dataclass(frozen=True)
class UnitStatistics:
    """Mean and standard deviation of each unit of a layer's output, over samples and places, in float64."""

    mean: Statistic
    std: Statistic


class Repair:
    """Corrects the hidden layers of a module that walks between two networks.

    The layers are its linear and convolutional modules but the one that runs last, which is the read-out. While
    :meth:`at` holds, each of them gives ``(y − m)/s · σ + μ`` in place of y, unit by unit, with m and s the statistics
    of its own output; at an end nothing is changed.

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
                alpha * first[layer].std + (1 - alpha) * second[layer].std,
            )
            for layer in self.layers
        }

    @contextmanager
    def at(self, alpha: float) -> Iterator[nn.Module]:
        """The network, which stands at α, with its units corrected while the block runs.

        Cost: a forward pass over the samples.
        """
        if alpha in (0.0, 1.0):
            yield self.network
            return
        targets = self.targets(alpha)
        found = self._measure(targets)
        handles = [
            layer.register_forward_hook(_correcting(found[layer], targets[layer], _unit_axis(layer)))
            for layer in self.layers
        ]
        try:
            yield self.network
        finally:
            for handle in handles:
                handle.remove()

    def _measure(self, targets: Mapping[nn.Module, UnitStatistics] | None) -> dict[nn.Module, UnitStatistics]:
        """The statistics of each layer's output; with targets, each batch is corrected before the next layer."""
        pools = {layer: _Pool(_unit_axis(layer)) for layer in self.layers}
        handles = [
            layer.register_forward_hook(_pooling(pools[layer], None if targets is None else targets[layer]))
            for layer in self.layers
        ]
        mode = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                for x, _ in self.samples.batches(self.batch):
                    self.network(x)
        finally:
            self.network.train(mode)
            for handle in handles:
                handle.remove()
        return {layer: pool.statistics() for layer, pool in pools.items()}


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


def _pooling(pool: _Pool, wanted: UnitStatistics | None) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        own = pool.add(output)
        return None if wanted is None else corrected(output, own, wanted, pool.axis)

    return hook


def _correcting(own: UnitStatistics, wanted: UnitStatistics, axis: int) -> Callable[[nn.Module, Any, Tensor], Tensor]:
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

    layers = [module for module in network.modules() if isinstance(module, nn.Linear | _ConvNd)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    mode = network.training
    network.eval()
    try:
        with torch.inference_mode():
            network(samples.normalized(samples.inputs[:2]))
    finally:
        network.train(mode)
        for handle in handles:
            handle.remove()
    if len(ran) < 2:
        raise NetworkError("REPAIR finds no hidden linear or convolutional layer in this network")
    return ran[:-1]
