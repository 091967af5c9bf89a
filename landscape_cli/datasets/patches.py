"""Patch-augmented images: each has its content, or a small patch that tells its class, or both (Li, Wei and Ma 2019).

Source: Y. Li, C. Wei, T. Ma, Towards Explaining the Regularization Effect of Initial Large Learning Rate in Training
Neural Networks, NeurIPS 2019 (arXiv:1907.04595), §5.1 and the authors' published code; the experiment of Vetrov's
lecture. The patch of class c is ``z ± v_c``: one pattern ``z ~ 1.25·N(0, 1)`` for all classes, a faint
``v_c ~ U(−0.1, 0.1)`` of the class, and a sign drawn for each image; 7×7 pixels in the middle of 32×32. Both signs mean
the same class, so that the two patches of every class have one mean, ``z``: a linear classifier can be right about both
signs of one class only. It is without noise, and so easy to generalise; it is hard to fit, because the network has to
undo the sign.

- Values are in units of normalised inputs (mean 0 and deviation 1 in each channel of the original training images).
- An image with the patch alone is the mean image around ``z ± u·1.75·v_c``, ``u ~ U(0, 1)`` drawn for each image.
- Groups are drawn once, with exact counts: by default the lecture's 20 % image only, 20 % patch only, 60 % both. The
  published code leaves 20 % alone and draws group, sign and u of the others anew whenever an image is read, 20 % of
  them patch only: in the mean 20 %, 16 %, 64 % (``patch_shares=0.2,0.16,0.64``).
- The test part is made alike, so that it is what training sees. Two more parts are measured apart: ``clean``, the
  original test images, and ``patch``, the patch alone for the class of each of them.
"""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.dataset import DataSet, Normalization, Split
from landscape_cli.errors import DataError, UsageError
from landscape_cli.plugins import did_you_mean

IMAGE, PATCH, BOTH = range(3)  # the groups
PAPER_SIZE, PAPER_SIDE = 7, 32
OPTIONS = (
    "patch_size", "patch_scale", "patch_strength", "patch_alone", "patch_shares", "patch_position", "patch_seed",
)  # fmt: skip
LEAST = 3  # pixels: a smaller patch has too few numbers for ten classes


def load(
    argument: str | None,
    *,
    patch_size: int | None = None,
    patch_scale: float = 1.25,
    patch_strength: float = 0.1,
    patch_alone: float = 1.75,
    patch_shares: tuple[float, ...] = (0.2, 0.2, 0.6),
    patch_position: Literal["center", "corner"] = "center",
    patch_seed: int = 0,
    **options: Any,
) -> DataSet:
    """Another data set's images with patches; the same options give the same data everywhere.

    Inputs become float32, four times the bytes of byte images.

    Args:
        argument: The other data set: ``digits``, ``cifar10:DIR``, ….
        patch_size: Its side in pixels; None for 7/32 of the image's shorter side, 3 at least.
        patch_scale: Standard deviation of ``z``.
        patch_strength: Largest entry of ``v``.
        patch_alone: Largest factor of ``v`` where the patch stands alone.
        patch_shares: Image only, patch only, both.
        patch_position: In the middle, or in the first corner.
        patch_seed: Of patterns, groups, signs and factors.
        options: Of the other data set.

    Raises:
        UsageError: If no data set is named, or an option does not fit.
        DataError: If its inputs are no images, or a patch is larger than they are.
    """
    from landscape_cli.datasets.registry import load_source

    if not argument:
        raise UsageError("patches go over another data set", "write patches:digits or patches:cifar10:DIR")
    if unknown := [name for name in options if name.startswith("patch_")]:
        raise UsageError(f"patches have no option '{unknown[0]}'", did_you_mean(unknown[0], OPTIONS))
    base = load_source(argument, options)
    if base.probes:
        raise UsageError(f"patches cannot go over {base.name}, which has parts of its own", "name a plain data set")
    if len(base.input_shape) != 3:
        raise DataError(f"{base.name} has no images: patches have no place in inputs of shape {base.input_shape}")
    shares = _shares(patch_shares)
    if min(patch_scale, patch_strength, patch_alone) < 0 or patch_seed < 0:
        raise UsageError("scale, strength and seed of a patch are not below zero")
    side = min(base.input_shape[1:])
    size = max(LEAST, round(PAPER_SIZE * side / PAPER_SIDE)) if patch_size is None else patch_size
    if not 1 <= size <= side:
        raise DataError(f"a patch of {size}×{size} pixels does not fit into {base.name}'s images of {side} pixels")
    painter = _Painter(base, size, patch_scale, patch_strength, patch_alone, patch_position, patch_seed)
    return replace(
        base,
        name=f"patches:{base.name}",
        train=painter.grouped(base.train, shares, "train"),
        test=painter.grouped(base.test, shares, "test"),
        probes={"clean": base.test, "patch": painter.alone(base.test)},
    )


def groups(count: int, shares: tuple[float, ...], random: np.random.Generator) -> NDArray[np.int64]:
    """The group of each of ``count`` images, in random order; the counts are the shares' largest remainders."""
    exact = np.array(shares) * count
    counts = np.floor(exact + 1e-9).astype(np.int64)
    counts[np.argsort(-(exact - counts), kind="stable")[: count - counts.sum()]] += 1
    return random.permutation(np.repeat(np.arange(len(shares)), counts))


def _shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    if len(shares) != 3 or min(shares) < 0 or not 0.999 < sum(shares) < 1.001:
        raise UsageError(
            f"patch_shares are three shares that make one, not {shares}", "as in -D patch_shares=0.2,0.2,0.6"
        )
    return tuple(share / sum(shares) for share in shares)


class _Painter:
    """The patterns of one data set, and how they are put on its images."""

    def __init__(
        self, base: DataSet, size: int, scale: float, strength: float, alone: float, position: str, seed: int
    ) -> None:
        channels, height, width = base.input_shape
        own = base.normalization or Normalization((0.0,) * channels, (1.0,) * channels)
        shape = (channels, 1, 1)
        self.mean = np.array(own.mean).reshape(shape)
        self.std = np.array(own.std).reshape(shape)
        self.seed, self.strongest = seed, alone
        middle = position == "center"
        top, left = ((height - size) // 2, (width - size) // 2) if middle else (0, 0)
        self.place = (slice(None), slice(top, top + size), slice(left, left + size))
        random = self._random(5)
        self.common = scale * random.standard_normal((channels, size, size))
        self.faint = random.uniform(-strength, strength, (base.classes, channels, size, size))

    def grouped(self, part: Split, shares: tuple[float, ...], name: str) -> Split:
        """A part with its images in three groups."""
        random = self._random(6 if name == "train" else 7)
        group = groups(len(part), shares, random)
        factors = random.choice([-1.0, 1.0], len(part))
        factors[group == PATCH] *= self.strongest * random.random(len(part))[group == PATCH]
        images = part.inputs.astype(np.float32)
        if part.inputs.dtype == np.uint8:
            images /= np.float32(255)
        images[group == PATCH] = self.mean
        self._paint(images, part.labels, factors, np.flatnonzero(group != IMAGE))
        return Split(images, part.labels)

    def alone(self, part: Split) -> Split:
        """The patch alone for the class of each image of a part."""
        random = self._random(8)
        factors = random.choice([-1.0, 1.0], len(part)) * self.strongest * random.random(len(part))
        images = np.empty(part.inputs.shape, dtype=np.float32)
        images[:] = self.mean
        self._paint(images, part.labels, factors, np.arange(len(part)))
        return Split(images, part.labels)

    def _paint(
        self, images: NDArray[np.float32], labels: NDArray[np.int64], factors: NDArray[np.float64], where: Any
    ) -> None:
        for index in where:
            patch = self.common + factors[index] * self.faint[labels[index]]
            images[index][self.place] = self.mean + self.std * patch

    def _random(self, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, purpose]))
