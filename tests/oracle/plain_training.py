"""A training loop written plainly, with its own optimiser formulas: what the toolkit's loop is checked against.

Independent of landscape_cli's loop, optimisers and schedules; only the random streams, whose definition is the
contract, are spelled out again here.
"""

import hashlib
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def generator(purpose: str, seed: int, *position: int) -> torch.Generator:
    text = "/".join([purpose, str(seed), *map(str, position)])
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") // 2
    return torch.Generator().manual_seed(number)


def plain_training(
    network: nn.Module, x: Tensor, y: Tensor, *, steps: int, batch: int, order_seed: int, rate: Callable[[int], float],
    optimizer: str, momentum: float = 0.9, beta2: float = 0.999, decay: float = 0.0, smoothing: float = 0.0,
) -> list[float]:  # fmt: skip
    """Train in place; returns the losses."""
    parameters = list(network.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    per_epoch = len(x) // batch
    losses = []
    network.train()
    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        order = torch.randperm(len(x), generator=generator("order", order_seed, epoch))
        index = order[position * batch : (position + 1) * batch]
        logits = network(x[index])
        logs = F.log_softmax(logits, 1)
        target = F.one_hot(y[index], logits.shape[1]).to(logits) * (1 - smoothing) + smoothing / logits.shape[1]
        loss = -(target * logs).sum(1).mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, parameters)
        lr = rate(step)
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
                if optimizer == "adamw":
                    p.mul_(1 - lr * decay)
                else:
                    g = g + decay * p
                if optimizer in ("sgd", "nesterov"):
                    m.mul_(momentum).add_(g)
                    p.sub_(lr * (g + momentum * m if optimizer == "nesterov" else m))
                else:
                    m.mul_(momentum).add_((1 - momentum) * g)
                    v.mul_(beta2).add_((1 - beta2) * g * g)
                    mean = m / (1 - momentum ** (step + 1))
                    square = v / (1 - beta2 ** (step + 1))
                    p.sub_(lr * mean / (square.sqrt() + 1e-8))
    return losses


def cosine(lr: float, total: int, warm: int = 0) -> Callable[[int], float]:
    def rate(step: int) -> float:
        if step < warm:
            return lr * (step + 1) / warm
        return lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))

    return rate
