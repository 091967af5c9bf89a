"""Widths: one rule for every family."""

import math
from collections.abc import Mapping
from typing import Any

from landscape_cli.errors import NetworkError, UsageError


def scaled(channels: int, width: float) -> int:
    """A number of channels times a width multiplier, rounded.

    Raises:
        NetworkError: If that leaves a layer empty, or the width is no finite number.

    >>> scaled(32, 0.5)
    16
    """
    if not math.isfinite(width):
        raise NetworkError(f"width {width} is no multiplier", "as in --width 0.5")
    result = round(channels * width)
    if result < 1:
        raise NetworkError(f"width {width} leaves a layer of {channels} channels empty", "choose a larger width")
    return result


def image_shape(input_shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """Check that inputs are images.

    Raises:
        NetworkError: If they are not ``(channel, height, width)``.
    """
    if len(input_shape) != 3:
        raise NetworkError(f"{name} takes images, but the data has inputs of shape {input_shape}", "try --network mlp")
    channels, height, width = input_shape
    return channels, height, width


def refuse_width(name: str, options: Mapping[str, Any], hint: str) -> None:
    """Say so where a family has no width multiplier.

    Raises:
        UsageError: If one is asked for.
    """
    if "width" in options:
        raise UsageError(f"{name} has no width multiplier", hint)
