"""Random crops and flips on the device, as index gathers."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from landscape_cli.compute.streams import stream
from landscape_cli.compute.training.protocol import Augmentation


class Augmenter:
    """Draws the shifts and flips of a whole epoch from its stream and applies them batch by batch.

    A crop shifts an image by up to ``padding`` pixels each way over black (zero) pixels, as cutting from the padded
    raw image does. Because an epoch's draws are made at once on the CPU, they are the same on every device, and a run
    continued in the middle of an epoch sees the same ones.

    Args:
        inputs: All raw images ``(n, channel, height, width)`` on the device; kept padded.
        augmentation: What to do.
        seed: Of the stream.
    """

    def __init__(
        self, inputs: Shaped[Tensor, "sample channel height width"], augmentation: Augmentation, seed: int
    ) -> None:
        self.height, self.width = inputs.shape[2:]
        pad = augmentation.padding
        self.images = F.pad(inputs, (pad, pad, pad, pad)) if pad else inputs
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

    def batch(self, index: Int64[Tensor, " batch"], start: int) -> Shaped[Tensor, "batch channel height width"]:
        """The images at ``index``, augmented with the draws from position ``start`` on."""
        part = slice(start, start + len(index))
        rows = self.shifts[part, :1] + torch.arange(self.height, device=index.device)
        columns = torch.arange(self.width, device=index.device).expand(len(index), -1)
        columns = torch.where(self.flips[part, None], self.width - 1 - columns, columns) + self.shifts[part, 1:]
        channels = torch.arange(self.images.shape[1], device=index.device)
        return self.images[
            index[:, None, None, None],
            channels[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None],
        ]
