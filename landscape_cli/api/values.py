"""Arrays as a notebook has them: tensors, numpy arrays, tables of an open HDF5 file."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_cli.errors import DataError

ROUNDING = 0.05  # of the logarithm of a sum that is 1: float16 is off by 2^-11 an entry


def is_array(value: object) -> bool:
    """Whether it is a tensor, or numpy can read it as an array."""
    return isinstance(value, Tensor) or (hasattr(value, "__array__") and hasattr(value, "dtype"))


def tensor_of(value: Any) -> Tensor:
    """An array as a tensor that derivatives can go through; it shares the memory where it can.

    Raises:
        TypeError: If torch has no such numbers.
        ValueError: If it is no array.
    """
    if isinstance(value, Tensor):
        found = value.detach()
        if found.is_inference():
            with torch.inference_mode(False):
                found = found.clone()
        return found
    array = np.asarray(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable or any(step < 0 for step in array.strides):
        array = array.copy()  # torch takes neither
    return torch.from_numpy(array)


def class_numbers(labels: Any) -> Tensor:
    """Labels on the CPU, ``(sample,)``, int64.

    Raises:
        DataError: If they are no whole numbers, or have other axes.
    """
    try:
        found = tensor_of(labels).cpu()
    except (TypeError, ValueError) as error:
        raise DataError(f"the labels are a {type(labels).__name__}, no numbers of classes: {error}") from error
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool or found.ndim != 1:
        raise DataError(
            f"the labels are {str(found.dtype).removeprefix('torch.')} of shape {tuple(found.shape)}",
            "give the number of its class for each sample, (n,)",
        )
    return found.to(torch.int64)


def log_probabilities_of(predictions: Any, axes: tuple[str, ...]) -> Tensor:
    """Log-probabilities as they were given, on their device.

    Args:
        predictions: A tensor, a numpy array, or a table of an open HDF5 file.
        axes: What its axes are, classes the last.

    Raises:
        DataError: If they have other axes, or are probabilities or logits.
    """
    wanted = f"predictions are log-probabilities ({', '.join(axes)})"
    if not is_array(predictions):
        raise DataError(f"{wanted}, not a {type(predictions).__name__}")
    found = tensor_of(predictions)
    if found.ndim != len(axes) or not found.is_floating_point():
        dtype = str(found.dtype).removeprefix("torch.")
        raise DataError(f"{wanted}, not {dtype} of shape {tuple(found.shape)}")
    parts = [found] if found.ndim < 3 else found  # model by model: float64 of all may not fit
    if found.numel() and any(bool((part.double().logsumexp(-1).abs() > ROUNDING).any()) for part in parts):
        raise DataError(
            "the predictions are no log-probabilities: those of a sample do not add up to 1",
            "take log_softmax of logits, or the logarithm of probabilities",
        )
    return found
