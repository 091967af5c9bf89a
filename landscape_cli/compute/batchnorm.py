"""Re-estimating batch-norm statistics."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.errors import DataError


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The batch-norm layers that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def recompute_statistics(network: nn.Module, samples: Samples, *, batch: int = BATCH) -> None:
    """Set all running statistics to those of ``samples``, in place.

    Each layer sees its inputs as in training, normalised by batch statistics before it. Over batches b of n_b
    entries the statistics are pooled: ``mean = Σ n_b m_b / n`` and ``var = Σ n_b v_b / n + Σ n_b (m_b − mean)² / n``,
    stored as the unbiased ``var · n/(n−1)``. Published tools average the v_b and drop the second term, or use a moving
    average that the last batches decide. Networks without batch norm are left alone.

    Cost: one forward pass in training mode over the samples.

    Args:
        network: The network, changed in place; its mode is restored.
        samples: The sample to estimate on, un-augmented.
        batch: Samples a batch; the batch size is part of the estimate. A last batch of a single sample is left out,
            as torch refuses it.

    Raises:
        DataError: If there is no batch of two samples: one has no spread.
    """
    layers = batch_norms(network)
    if not layers:
        return
    if min(len(samples), batch) < 2:
        raise DataError(
            f"batch norm cannot be recomputed on {len(samples)} samples in batches of {batch}",
            "one sample has no spread: give more of them, or larger batches",
        )
    pools = {layer: _Pool(layer) for layer in layers}
    with torch.inference_mode(), _in_batch_mode(network, layers), _counting(pools):
        for x, _ in samples.batches(batch):
            if len(x) > 1:
                network(x)
    for layer, pool in pools.items():
        pool.store(layer)


class _Pool:
    """Counts, means and sums of squares of one layer's inputs, in float64."""

    def __init__(self, layer: _BatchNorm) -> None:
        assert layer.running_mean is not None
        assert layer.running_var is not None
        # With momentum 1 the old value has weight 0, and 0 · NaN would keep a NaN of an earlier network for ever.
        layer.running_mean.zero_()
        layer.running_var.fill_(1)
        exact = torch.float32 if layer.running_mean.device.type == "mps" else torch.float64
        self.count = 0
        self.mean = torch.zeros_like(layer.running_mean, dtype=exact)
        self.squares = torch.zeros_like(self.mean)

    def add(self, layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        """Take in the statistics that the layer has just made of a batch (with momentum 1)."""
        assert isinstance(layer, _BatchNorm)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        n = inputs[0].numel() // inputs[0].shape[1]
        mean = layer.running_mean.to(self.mean.dtype)
        variance = layer.running_var.to(self.mean.dtype) * ((n - 1) / n)
        step = mean - self.mean
        total = self.count + n
        # Chan, Golub and LeVeque's pairwise update: no cancellation, whatever the number of batches.
        self.squares += variance * n + step**2 * (self.count * n / total)
        self.mean += step * (n / total)
        self.count = total

    def store(self, layer: _BatchNorm) -> None:
        """Write the pooled statistics into the layer."""
        if self.count < 2:
            return
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.copy_(self.mean)
        layer.running_var.copy_(self.squares / (self.count - 1))


@contextmanager
def _in_batch_mode(network: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """Batch-norm layers in training mode with momentum 1, all else in evaluation mode."""
    modes = [(module, module.training) for module in network.modules()]
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    network.eval()
    for layer in layers:
        layer.train()
        layer.momentum = 1.0
        layer.num_batches_tracked = None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, (momentum, tracked) in zip(layers, kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, tracked


@contextmanager
def _counting(pools: dict[_BatchNorm, _Pool]) -> Iterator[None]:
    handles = [layer.register_forward_hook(pool.add) for layer, pool in pools.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
