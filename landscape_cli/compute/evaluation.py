"""Loss and error of a network on samples."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from landscape_cli.compute.samples import BATCH, Samples


@dataclass(frozen=True)
class Evaluation:
    """What a network does on a set of samples.

    Args:
        loss: Mean cross-entropy in nats.
        error: Share of samples whose largest logit is not that of their label; NaN if a logit is NaN.
        samples: How many samples.
    """

    loss: float
    error: float
    samples: int


def evaluate(network: nn.Module, samples: Samples, *, batch: int = BATCH) -> Evaluation:
    """Mean loss and error of a network in evaluation mode.

    Sums run in float64 over batches, so that the result depends on the batch size only through the network's own
    rounding. Cost: one forward pass over the samples.

    Args:
        network: A module that gives logits ``(batch, class)``; its mode is restored afterwards.
        samples: Where to evaluate it.
        batch: Samples a forward pass; 50–100 is fastest on a CPU.

    Raises:
        DataError: If a label lies outside the network's outputs.
    """
    mode = network.training
    network.eval()
    device = samples.where.device
    exact = torch.float32 if device.type == "mps" else torch.float64
    total = torch.zeros((), dtype=exact, device=device)
    wrong, broken = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(2))
    try:
        with torch.inference_mode():
            for x, y in samples.batches(batch):
                logits = network(x)
                total += loss_sum(logits, y).to(exact)
                wrong += (logits.argmax(1) != y).sum()
                broken += logits.isnan().any(1).sum()
    finally:
        network.train(mode)
    error = math.nan if broken.item() else int(wrong.item()) / len(samples)
    return Evaluation(loss=float(total.item()) / len(samples), error=error, samples=len(samples))


def log_probabilities(
    network: nn.Module, samples: Samples, *, batch: int = BATCH
) -> Iterator[Float64[Tensor, "batch class"]]:
    """Log-probabilities of a network in evaluation mode, batch by batch, on the CPU.

    The network's own logits (float32, or what its precision gives) are normalised in float64:
    ``log p_c = z_c − log Σ_k exp z_k``, in nats. A NaN or an infinite logit shows as NaN.

    Cost: one forward pass over the samples; memory for one batch.

    Args:
        network: A module that gives logits ``(batch, class)``; its mode is restored at the end.
        samples: Where to evaluate it.
        batch: Samples a forward pass.
    """
    mode = network.training
    network.eval()
    try:
        for x, _ in samples.batches(batch):
            with torch.inference_mode():  # left before each batch is handed out: it would reach the caller too
                logits = network(x)
                exact = logits.cpu().double() if logits.device.type == "mps" else logits.double()
                found = F.log_softmax(exact, dim=1).cpu()
            yield found
    finally:
        network.train(mode)


def forward_operations(network: nn.Module, samples: Samples) -> int:
    """Floating-point operations of a forward pass of one input, counted by torch on a real one."""
    from torch.utils.flop_counter import FlopCounterMode

    mode = network.training
    network.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(samples.normalized(samples.inputs[:1]))
    finally:
        network.train(mode)
    return int(counter.get_total_flops())


def loss_sum(logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Summed cross-entropy of a batch in nats, from half-precision logits in float32."""
    exact = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    return F.cross_entropy(exact, labels, reduction="sum")
