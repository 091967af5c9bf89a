"""Data as a notebook has it: anything that yields inputs and labels, read once and held where it is measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from landscape_cli.api.values import is_array, tensor_of
from landscape_cli.compute.device import Placement
from landscape_cli.compute.probing import logits_of
from landscape_cli.compute.samples import Samples
from landscape_cli.errors import DataError, UsageError

Data = Samples | Sequence[Tensor] | Sequence[NDArray[Any]] | Dataset[Any] | Iterable[Sequence[Tensor]]

SAME = {torch.float64: 1e-8, torch.float32: 1e-3}  # of the largest logit, between two modules of one function
HALF = 0.1


def samples_on(data: Data, where: Placement, name: str = "data") -> Samples:
    """Data on a device: a ``DataLoader``, a data set, a list of batches, one pair of tensors, or :class:`Samples`.

    A loader is read once, to its end, and held in memory; what it shuffles or augments is as it came then. What a batch
    holds beside inputs and labels is left out.

    Args:
        data: Yields ``(inputs, labels)``, batches or single samples; inputs as the network takes them (normalised
            floats), labels the numbers of the classes.
        where: The device and precision.
        name: Of the argument, for messages.

    Raises:
        DataError: If it is empty, yields something else, or an input is NaN or infinite (it is named).
    """
    try:
        return _held(data, where)
    except DataError as error:
        raise DataError(f"{name}: {error.message}", error.hint) from error.__cause__


def _held(data: Data, where: Placement) -> Samples:
    if isinstance(data, Samples):
        found = data if data.where == where else data.to(where)
        if not len(found):
            raise DataError("there are no samples")
        return found
    inputs, labels = _whole(data)
    if not inputs.is_floating_point():
        raise DataError(
            f"the inputs are {_called(inputs)}",
            "give them as the network takes them: normalised floating-point numbers",
        )
    if labels.is_floating_point() or labels.ndim != 1 or labels.dtype == torch.bool:
        flat = ", as LABELS.squeeze(1) has it" if labels.ndim == 2 and labels.shape[1] == 1 else ""
        raise DataError(
            f"the labels are {_called(labels)} of shape {tuple(labels.shape)}",
            f"give the number of its class for each sample, (n,){flat}",
        )
    if len(inputs) != len(labels):
        raise DataError(f"{len(inputs)} inputs but {len(labels)} labels")
    finite = inputs.flatten(1).isfinite().all(1) if inputs.ndim > 1 else inputs.isfinite()
    if not bool(finite.all()):
        raise DataError(f"the input of sample {int((~finite).nonzero()[0])} holds NaN or infinite values")
    return Samples(inputs, labels, where)


def _called(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _whole(data: Any) -> tuple[Tensor, Tensor]:
    """All inputs and all labels."""
    if is_array(data):
        raise DataError("inputs alone are given", "give them with their labels: (inputs, labels)")
    if isinstance(data, tuple | list) and data and is_array(data[0]):
        if len(data) != 2:
            raise DataError(f"{len(data)} arrays are given, not (inputs, labels)")
        inputs, labels = _tensor(data[0], "the inputs"), _tensor(data[1], "the labels")
        if not inputs.ndim or not labels.ndim or not len(labels):
            raise DataError("there are no samples: the tensors are empty")
        return inputs, labels
    parts = [_batch(batch, number) for number, batch in enumerate(_batches(data))]
    if not parts:
        raise DataError("the loader is empty: it yields no batch", "a generator that was used up before gives none")
    shapes = {tuple(x.shape[1:]) for x, _ in parts}
    if len(shapes) > 1:
        raise DataError(f"the batches have inputs of different shapes: {', '.join(map(str, sorted(shapes)))}")
    inputs, labels = (torch.cat(side) for side in zip(*parts, strict=True))
    return inputs, labels


def _batches(data: Any) -> Iterator[Any]:
    """What data yields; a data set is read by its length, as not every one says where it ends."""
    if isinstance(data, str | Mapping):
        raise DataError(f"a {type(data).__name__} yields no batches", "give (inputs, labels) or a DataLoader")
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset) and hasattr(data, "__len__"):
        return (data[number] for number in range(len(data)))
    try:
        return iter(data)
    except TypeError as error:
        raise DataError(f"{type(data).__name__} yields no batches: {error}", "give a DataLoader") from error


def _batch(batch: Any, number: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of one batch; a single sample becomes a batch of one."""
    if isinstance(batch, Mapping):
        names = ", ".join(map(repr, batch))
        raise DataError(
            f"batch {number} is a {type(batch).__name__} of {names}, not (inputs, labels)",
            "give pairs: [(batch[INPUTS], batch[LABELS]) for batch in LOADER]",
        )
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise DataError(
            f"batch {number} is a {type(batch).__name__}, not (inputs, labels)",
            "where labels play no part (kernels, ReLUs), pair the inputs with zeros",
        )
    inputs, labels = batch[0], batch[1]
    if not is_array(inputs):
        raise DataError(f"the inputs of batch {number} are a {type(inputs).__name__}, not a tensor")
    inputs, labels = _tensor(inputs, f"the inputs of batch {number}"), _tensor(labels, f"the labels of batch {number}")
    if not labels.ndim:
        inputs, labels = inputs[None], labels[None]
    return inputs, labels


def _tensor(value: Any, what: str) -> Tensor:
    """An array, a number, or a list of numbers.

    Raises:
        DataError: If it is something else.
    """
    try:
        return tensor_of(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} are a {type(value).__name__}, no numbers: {error}") from error


def check_same_function(carrier: nn.Module, own: nn.Module, samples: Samples, who: str) -> None:
    """Refuse a module whose weights mean something else in the module that is to carry them.

    Names and shapes of weights do not tell a ReLU from a tanh.

    Args:
        carrier: With the weights of the other in place.
        own: A copy of the other.
        samples: Two of which both are tried on.
        who: What to call the other.

    Raises:
        UsageError: If the two give different logits.
    """
    one, two = logits_of(carrier, samples, who), logits_of(own, samples, who)
    scale = max(1e-6, float(two.abs().max()))
    if float((one - two).abs().max()) > SAME.get(two.dtype, HALF) * scale and torch.equal(
        two, logits_of(own, samples, who)
    ):
        raise UsageError(
            f"{who} gives other logits than its weights do in the first: the two are not of one architecture",
            "a path needs networks that differ in their weights alone",
        )
