"""Random streams that need no replaying: each is a function of its purpose, its seed and a position.

Published code seeds an epoch with ``seed + epoch``, so that seeds s and s + 1 see each other's data orders one epoch
apart. Here the three are hashed: no two streams overlap, and epoch 70 can be had without the 69 before it.
"""

import hashlib

import torch


def stream_seed(purpose: str, seed: int, *position: int) -> int:
    """A 63-bit seed that depends on every argument.

    >>> stream_seed("order", 0, 1) != stream_seed("order", 1, 0)
    True
    """
    text = "/".join([purpose, str(seed), *map(str, position)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(purpose: str, seed: int, *position: int) -> torch.Generator:
    """A CPU generator at the beginning of a stream: the same numbers whatever device uses them."""
    return torch.Generator().manual_seed(stream_seed(purpose, seed, *position))


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the generator that draws on a device use (dropout, say).

    ``torch.manual_seed`` would do it too, but once a step its notes to every other kind of device cost more than a
    small network's step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
