"""Learning rates."""

import math

from landscape_cli.compute.training.protocol import Protocol


def learning_rate(protocol: Protocol, step: int, *, steps_per_epoch: int) -> float:
    """The learning rate of the step from ``step`` to ``step + 1``.

    With T the length of the protocol in steps and W the warm-up: linear growth ``lr (step+1)/W`` while ``step < W``;
    then, with ``s = (step − W)/(T − W)``: constant ``lr``; step ``lr · factor^k`` after k milestones (in epochs of the
    whole run); cosine ``lr (1 + cos πs)/2``; linear ``lr (1 − s)``. Beyond T the last value holds.

    >>> learning_rate(Protocol(lr=0.1, schedule="step", milestones=(2,)), 20, steps_per_epoch=10)
    0.010000000000000002
    """
    total = total_steps(protocol, steps_per_epoch)
    warm = round(protocol.warmup * steps_per_epoch)
    if step < warm:
        return protocol.lr * (step + 1) / warm
    if protocol.schedule == "step":
        passed = sum(step >= round(epoch * steps_per_epoch) for epoch in protocol.milestones)
        return protocol.lr * protocol.factor**passed
    share = min(1.0, (step - warm) / max(1, total - warm))
    if protocol.schedule == "cosine":
        return protocol.lr * (1 + math.cos(math.pi * share)) / 2
    if protocol.schedule == "linear":
        return protocol.lr * (1 - share)
    return protocol.lr


def total_steps(protocol: Protocol, steps_per_epoch: int) -> int:
    """The length of a protocol in steps, at least one."""
    return max(1, int(protocol.epochs * steps_per_epoch + 0.5))
