"""The sample of images that curvature is measured on, in a recorded order."""

import hashlib
from collections.abc import Callable
from typing import Any

import torch

from landscape_cli.compute.samples import Samples
from landscape_cli.compute.streams import stream
from landscape_cli.datasets.transforms import balanced_index
from landscape_cli.jobs.bench import Setup

SAMPLES = 2000  # images below which λ_max says more of the sample than of the loss


def choose_samples(setup: Setup, split: str, count: int | None, seed: int, *, least: int = SAMPLES) -> Samples:
    """So many samples of a split with its class proportions, in a random order that follows from the seed.

    Args:
        setup: What is measured with; it holds the whole split.
        split: Which.
        count: How many; None for ``least``, or all if there are fewer.
        seed: Of the choice and the order.
        least: See ``count``.

    Raises:
        DataError: If there are not so many.
    """
    whole = setup.splits[split]
    size = min(least, len(whole)) if count is None else count
    chosen = torch.arange(len(whole))
    if size != len(whole):
        chosen = torch.as_tensor(balanced_index(whole.labels.cpu().numpy(), size, setup.data.classes, seed))
    return whole.take(chosen[torch.randperm(size, generator=stream("curvature-order", seed))])


def fingerprint(samples: Samples) -> str:
    """A hash of the samples and their order."""
    digest = hashlib.sha256(samples.labels.cpu().numpy().tobytes())
    digest.update(samples.inputs.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def few(count: int, note: Callable[[str], None]) -> None:
    """Warn of a sample too small to stand for the loss."""
    if count < SAMPLES:
        note(f"λ_max of {count:,} images depends on which they are: {SAMPLES:,} or more tell of the loss itself")


def sample_entries(samples: Samples, used: int, split: str, seed: int) -> dict[str, Any]:
    """What a record says of the sample."""
    return {
        "split": split,
        "samples": used,
        "sample_seed": seed,
        "sample_fingerprint": fingerprint(samples),
    }
