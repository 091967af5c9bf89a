"""What a data set is: two splits of inputs and labels, classes, a normalisation, a fingerprint."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError


@dataclass(frozen=True)
class Normalization:
    """``(x/unit − mean) / std`` per channel, with unit 255 for byte images and 1 otherwise.

    Args:
        mean: Per channel, on the scale 0–1 for byte images.
        std: Per channel, on the same scale.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_json(self) -> dict[str, list[float]]:
        """The form it has in ``run.json``."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Normalization":
        """Read it back from ``run.json``."""
        return cls(tuple(document["mean"]), tuple(document["std"]))


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        inputs: ``(n, channel, height, width)`` bytes or float32, or ``(n, feature)`` float32.
        labels: ``(n,)`` int64.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> "Split":
        """The samples at ``index``, in that order."""
        return Split(self.inputs[index], self.labels[index])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the inputs and labels: alike exactly for the same samples in the same order."""
        digest = hashlib.sha256()
        for array in (self.inputs, self.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class DataSet:
    """A classification data set.

    Args:
        name: What it is called in messages.
        train: The training part.
        test: The test part.
        classes: The number of classes.
        class_names: Their names, if known.
        normalization: How inputs are normalised; None leaves them as they are.
        probes: Further parts by name, never trained on: each is measured beside the test part.
    """

    name: str
    train: Split
    test: Split
    classes: int
    class_names: tuple[str, ...] | None = None
    normalization: Normalization | None = None
    probes: Mapping[str, Split] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, part in self.parts.items():
            _check(self.name, part, self.classes)
            if self.train.inputs.shape[1:] != part.inputs.shape[1:]:
                raise DataError(
                    f"{self.name}: training inputs have shape {self.train.inputs.shape[1:]}, "
                    f"{name} inputs {part.inputs.shape[1:]}"
                )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def parts(self) -> dict[str, Split]:
        """All parts by name: ``train``, ``test``, and the probes."""
        return {**self.probes, "train": self.train, "test": self.test}

    def split(self, name: str) -> Split:
        """The part called ``name``.

        Raises:
            DataError: If there is none, as most data sets have no probes.
        """
        if name not in self.parts:
            raise DataError(f"{self.name} has no part '{name}'", f"it has {', '.join(sorted(self.parts))}")
        return self.parts[name]

    @property
    def fingerprint(self) -> dict[str, str]:
        """The fingerprint of each part."""
        return {name: part.fingerprint for name, part in self.parts.items()}

    def with_train(self, train: Split) -> "DataSet":
        """The same data set with another training part; the normalisation stays."""
        return replace(self, train=train)


def _check(name: str, part: Split, classes: int) -> None:
    if part.labels.ndim != 1 or len(part.inputs) != len(part.labels):
        raise DataError(f"{name}: {len(part.inputs)} inputs but labels of shape {part.labels.shape}")
    if len(part) == 0:
        raise DataError(f"{name}: a part of it is empty")
    low, high = int(part.labels.min()), int(part.labels.max())
    if low < 0 or high >= classes:
        raise DataError(f"{name}: labels run from {low} to {high}, which does not fit {classes} classes")
    if part.inputs.dtype.kind == "f" and not np.isfinite(part.inputs).all():
        raise DataError(f"{name}: an input holds NaN or infinite values")


def channel_statistics(inputs: NDArray[Any]) -> Normalization:
    """Mean and standard deviation of each channel over samples and pixels (population form).

    Args:
        inputs: ``(n, channel, height, width)`` bytes (statistics on the scale 0–1) or floats.
    """
    channels = inputs.shape[1]
    mean, std = [], []
    for channel in range(channels):
        values = inputs[:, channel].reshape(-1)
        if inputs.dtype == np.uint8:
            counts = np.bincount(values, minlength=256).astype(np.float64)
            levels = np.arange(256) / 255
            average = float(counts @ levels / counts.sum())
            spread = float(np.sqrt(counts @ (levels - average) ** 2 / counts.sum()))
        else:
            average, spread = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
        mean.append(average)
        std.append(spread or 1.0)  # a constant channel carries nothing: it is only centred
    return Normalization(tuple(mean), tuple(std))


def make(
    name: str,
    train: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]],
    *,
    class_names: Sequence[str] | None = None,
    classes: int | None = None,
) -> DataSet:
    """Build a data set from arrays: channels first, int64 labels, images normalised per channel.

    Images may be ``(n, h, w)``, ``(n, c, h, w)`` or ``(n, h, w, c)`` (recognised by 1, 3 or 4 channels at the end).

    Raises:
        DataError: If shapes, types or labels do not fit.
    """
    first, second = (Split(_as_inputs(name, x), _as_labels(name, y)) for x, y in (train, test))
    if classes is None:
        classes = (
            len(class_names) if class_names else max(int(part.labels.max(initial=0)) for part in (first, second)) + 1
        )
    normalization = channel_statistics(first.inputs) if first.inputs.ndim == 4 else None
    return DataSet(name, first, second, classes, tuple(class_names) if class_names else None, normalization)


def _as_inputs(name: str, inputs: NDArray[Any]) -> NDArray[Any]:
    if inputs.dtype != np.uint8:
        if inputs.dtype.kind not in "fiub":
            raise DataError(f"{name}: inputs of type {inputs.dtype} are no numbers")
        inputs = inputs.astype(np.float32, copy=False)
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4 and inputs.shape[-1] in (1, 3, 4) and inputs.shape[1] not in (1, 3, 4):
        inputs = inputs.transpose(0, 3, 1, 2)
    elif inputs.ndim == 2 and inputs.dtype == np.uint8:
        inputs = inputs.astype(np.float32)
    if inputs.ndim not in (2, 4):
        raise DataError(f"{name}: inputs of shape {inputs.shape} are neither images nor vectors")
    return np.ascontiguousarray(inputs)


def _as_labels(name: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.floor(labels)):
        raise DataError(f"{name}: labels are not whole numbers")
    if labels.dtype.kind not in "fiu":
        raise DataError(f"{name}: labels of type {labels.dtype} are no class numbers")
    return labels.astype(np.int64)
