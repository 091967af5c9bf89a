"""How long training takes here: a few steps, timed."""

import itertools
import time

import torch
from torch import nn
from torch.nn import functional as F

from landscape_cli.compute.samples import Samples

MOST = 20  # repetitions


def seconds_per_sample(network: nn.Module, samples: Samples, batch: int, *, seconds: float = 0.5) -> float:
    """Seconds that one training sample takes: forward, mean cross-entropy, backward, over the batch.

    The first pass warms up and is not counted, unless it alone takes longer than all of them may. The step of the
    optimiser is left out: small beside the passes, for batches that are not. The network's weights and buffers may
    change; give it one that is not needed.

    Cost: about ``seconds``, and at least one pass.

    Args:
        network: On the device of the samples.
        samples: At least one; fewer than a batch are repeated.
        batch: Samples a step.
        seconds: How long to measure.
    """
    index = torch.arange(batch, device=samples.labels.device) % len(samples)
    x, labels = samples.normalized(samples.inputs[index]), samples.labels[index]
    network.train()
    spent = 0.0
    for repetition in itertools.count():
        began = time.perf_counter()
        F.cross_entropy(network(x).float(), labels).backward()  # type: ignore[no-untyped-call]
        _wait(labels.device)
        took = time.perf_counter() - began
        if repetition == 0:
            if took > seconds:
                return took / batch
            continue
        spent += took
        if spent >= seconds or repetition >= MOST:
            return spent / (repetition * batch)
    raise AssertionError


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
