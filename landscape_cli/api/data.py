"""Data as a notebook has it: anything that yields inputs and labels, read once and held where it is measured."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape_cli.compute.device import Placement
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.errors import DataError, NetworkError, UsageError

Data = Samples | Sequence[Tensor] | Iterable[Sequence[Tensor]]

PROBED = 2  # samples that a network is tried on before the work begins


def samples_on(data: Data, where: Placement) -> Samples:
    """Data on a device: a ``DataLoader``, a data set, a list of batches, one pair of tensors, or :class:`Samples`.

    A loader is read once, to its end, and held in memory; what it shuffles or augments is as it came then.

    Args:
        data: Yields ``(inputs, labels)``, batches or single samples; inputs as the network takes them (normalised
            floats), labels the numbers of the classes.
        where: The device and precision.

    Raises:
        DataError: If it is empty, yields something else, or an input is NaN or infinite (it is named).
    """
    if isinstance(data, Samples):
        found = data if data.where == where else data.to(where)
        if not len(found):
            raise DataError("there are no samples")
        return found
    inputs, labels = _whole(data)
    if not inputs.is_floating_point():
        raise DataError(
            f"the inputs are {str(inputs.dtype).removeprefix('torch.')}",
            "give them as the network takes them: normalised floating-point numbers",
        )
    if labels.is_floating_point() or labels.ndim != 1 or labels.dtype == torch.bool:
        raise DataError(
            f"the labels are {str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape)}",
            "give the number of its class for each sample, (n,)",
        )
    if len(inputs) != len(labels):
        raise DataError(f"{len(inputs)} inputs but {len(labels)} labels")
    finite = inputs.flatten(1).isfinite().all(1) if inputs.ndim > 1 else inputs.isfinite()
    if not bool(finite.all()):
        raise DataError(f"the input of sample {int((~finite).nonzero()[0])} holds NaN or infinite values")
    return Samples(inputs, labels, where)


def _whole(data: Any) -> tuple[Tensor, Tensor]:
    """All inputs and all labels."""
    if isinstance(data, Tensor):
        raise DataError("inputs alone are given", "give them with their labels: (inputs, labels)")
    if isinstance(data, tuple | list) and len(data) == 2 and all(_is_array(part) for part in data):
        inputs, labels = (torch.as_tensor(part).detach() for part in data)
        if not len(labels.shape) or not len(labels):
            raise DataError("there are no samples: the tensors are empty")
        return inputs, labels
    parts: list[tuple[Tensor, Tensor]] = []
    try:
        for number, batch in enumerate(data):
            parts.append(_batch(batch, number))
    except TypeError as error:
        if parts:
            raise
        raise DataError(f"{type(data).__name__} yields no batches: {error}", "give a DataLoader") from error
    if not parts:
        raise DataError("the loader is empty: it yields no batch", "a generator that was used up before gives none")
    shapes = {tuple(x.shape[1:]) for x, _ in parts}
    if len(shapes) > 1:
        raise DataError(f"the batches have inputs of different shapes: {', '.join(map(str, sorted(shapes)))}")
    inputs, labels = (torch.cat(side) for side in zip(*parts, strict=True))
    return inputs, labels


def _batch(batch: Any, number: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of one batch; a single sample becomes a batch of one."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise DataError(f"batch {number} is a {type(batch).__name__}, not (inputs, labels)")
    inputs, labels = batch[0], batch[1]
    if not _is_array(inputs):
        raise DataError(f"the inputs of batch {number} are a {type(inputs).__name__}, not a tensor")
    inputs, labels = torch.as_tensor(inputs).detach(), torch.as_tensor(labels).detach()
    if not labels.ndim:
        inputs, labels = inputs[None], labels[None]
    return inputs, labels


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or (hasattr(value, "__array__") and hasattr(value, "dtype"))


def check_batch_size(batch_size: int) -> int:
    """Refuse a batch of no samples.

    Raises:
        UsageError: If it is below 1.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}: a forward pass takes one sample at least")
    return batch_size


def check_outputs(network: nn.Module, samples: Samples, *, who: str = "the network") -> int:
    """Try a network on two samples, and the labels against what it gives.

    Cost: a forward pass of two samples.

    Returns:
        The number of classes.

    Raises:
        DataError: If a label is no class of the network's.
        NetworkError: If it fails on such inputs, gives no logits ``(sample, class)``, or gives NaN.
    """
    x, _ = next(iter(samples.batches(BATCH)))
    x = x[:PROBED]
    with torch.inference_mode():
        try:
            outputs = network(x)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            text = str(error).partition("\n")[0]
            raise NetworkError(f"{who} fails on inputs of shape {tuple(x.shape[1:])}: {text}") from error
    if not isinstance(outputs, Tensor):
        raise NetworkError(
            f"{who} gives a {type(outputs).__name__}, not a tensor of logits",
            "wrap it in a module whose forward returns the logits",
        )
    if outputs.ndim != 2 or len(outputs) != len(x) or not outputs.is_floating_point():
        raise NetworkError(
            f"{who} gives {tuple(outputs.shape)} for {len(x)} samples: logits have the shape (sample, class)"
        )
    if bool(outputs.isnan().any()):
        raise NetworkError(f"{who} gives NaN", "look at its weights: its training may have diverged")
    classes = outputs.shape[1]
    outside = ((samples.labels < 0) | (samples.labels >= classes)).nonzero()
    if len(outside):
        sample = int(outside[0])
        raise DataError(
            f"the label of sample {sample} is {int(samples.labels[sample])}, but {who} gives {classes} classes, from 0"
        )
    return classes
