"""Random crops and flips on the device, as index gathers."""

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from landscape_cli.compute.samples import Samples
from landscape_cli.compute.streams import stream
from landscape_cli.compute.training.protocol import Augmentation


class Augmenter:
    """Draws the shifts and flips of a whole epoch from its stream, to be applied batch by batch.

    A crop shifts an image by up to ``padding`` pixels each way over black (zero) pixels, as cutting from the padded
    raw image does. Because an epoch's draws are made at once on the CPU, they are the same on every device, and a run
    continued in the middle of an epoch sees the same ones.

    Args:
        samples: Raw images ``(n, channel, height, width)`` on the device; kept padded beside them.
        augmentation: What to do.
        seed: Of the stream.
    """

    def __init__(self, samples: Samples, augmentation: Augmentation, seed: int) -> None:
        self.images = samples.padded(augmentation.padding)
        self.height, self.width = samples.inputs.shape[2:]
        self.augmentation = augmentation
        self.seed = seed
        self.shifts: Int64[Tensor, "position two"] = torch.empty(0, 2, dtype=torch.int64)
        self.flips: Bool[Tensor, " position"] = torch.empty(0, dtype=torch.bool)

    def begin_epoch(self, epoch: int) -> None:
        """Draw for an epoch; the draws belong to positions in the epoch's order, not to images."""
        random = stream("augment", self.seed, epoch)
        count, device = len(self.images), self.images.device
        self.shifts = torch.randint(2 * self.augmentation.padding + 1, (count, 2), generator=random).to(device)
        flips = torch.randint(2, (count,), generator=random, dtype=torch.int64).bool()
        self.flips = (flips & self.augmentation.flip).to(device)

    def draws(self, start: int, count: int) -> tuple[Int64[Tensor, "batch two"], Bool[Tensor, " batch"]]:
        """Shifts and flips of the positions from ``start`` on."""
        part = slice(start, start + count)
        return self.shifts[part], self.flips[part]

    def apply(
        self, index: Int64[Tensor, " batch"], shifts: Int64[Tensor, "batch two"], flips: Bool[Tensor, " batch"]
    ) -> Shaped[Tensor, "batch channel height width"]:
        """The images at ``index``, each shifted and flipped as drawn."""
        rows = shifts[:, :1] + torch.arange(self.height, device=index.device)
        columns = torch.arange(self.width, device=index.device).expand(len(index), -1)
        columns = torch.where(flips[:, None], self.width - 1 - columns, columns) + shifts[:, 1:]
        channels = torch.arange(self.images.shape[1], device=index.device)
        return self.images[
            index[:, None, None, None],
            channels[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None],
        ]

    def batch(self, index: Int64[Tensor, " batch"], start: int) -> Shaped[Tensor, "batch channel height width"]:
        """The images at ``index``, augmented with the draws from position ``start`` on."""
        return self.apply(index, *self.draws(start, len(index)))
