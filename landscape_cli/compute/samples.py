"""Inputs and labels on the device, normalised as batches are drawn."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from landscape_cli.compute.device import Placement
from landscape_cli.errors import DataError

BATCH = 100
PREPARED_LIMIT = 1 << 29  # bytes of normalised batches kept for the next pass


class Samples:
    """A split of a data set on a device.

    The raw inputs stay as they are (bytes for images); batches are index gathers, normalised to
    ``(x/unit − mean) / std`` and laid out channels-last. A set whose normalised batches fit into half a gibibyte keeps
    them, so that measuring many networks normalises once.

    Args:
        inputs: ``(n, …)`` bytes or floats, numpy or torch.
        labels: ``(n,)`` class numbers.
        where: Device and precision.
        mean: Per channel, None for no normalisation.
        std: Per channel.
    """

    def __init__(
        self,
        inputs: "np.ndarray | Tensor",
        labels: "np.ndarray | Tensor",
        where: Placement,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        if len(inputs) != len(labels):
            raise DataError(f"{len(inputs)} inputs but {len(labels)} labels")
        self.where = where
        self.inputs: Shaped[Tensor, "sample ..."] = torch.as_tensor(inputs).to(where.device)
        self.labels: Int64[Tensor, " sample"] = torch.as_tensor(labels).to(where.device, torch.int64)
        self._prepared: dict[int, list[Tensor]] = {}
        self._padded: dict[int, Tensor] = {}
        self._scale: Tensor | None = None
        self._shift: Tensor | None = None
        self._normalization = mean, std
        if mean is not None and std is not None:
            unit = 255.0 if self.inputs.dtype == torch.uint8 else 1.0
            shape = (1, -1, *(1,) * (self.inputs.ndim - 2))
            deviation = torch.tensor(std, dtype=torch.float64).view(shape)
            exact = torch.float64 if where.precision == "float64" else torch.float32
            self._scale = (1 / (unit * deviation)).to(where.device, exact)
            self._shift = (-torch.tensor(mean, dtype=torch.float64).view(shape) / deviation).to(where.device, exact)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Int64[Tensor, " chosen"]) -> "Samples":
        """The samples at ``index``, normalised alike."""
        index = index.to(self.where.device)
        part = Samples(self.inputs[index], self.labels[index], self.where)
        part._scale, part._shift, part._normalization = self._scale, self._shift, self._normalization
        return part

    def to(self, where: Placement) -> "Samples":
        """The same samples on another device or in another precision, normalised from the raw ones."""
        mean, std = self._normalization
        return Samples(self.inputs, self.labels, where, mean=mean, std=std)

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "batch ..."], Int64[Tensor, " batch"]]]:
        """The normalised batches of :data:`BATCH` samples, as a ``DataLoader`` gives them."""
        return self.batches()

    def padded(self, padding: int) -> Shaped[Tensor, "sample channel height width"]:
        """The raw images with so many black (zero) pixels on each side; kept, as many runs may ask for them."""
        if padding == 0:
            return self.inputs
        if padding not in self._padded:
            self._padded[padding] = F.pad(self.inputs, (padding,) * 4)
        return self._padded[padding]

    def normalized(self, raw: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Raw inputs as the network takes them."""
        x = raw.to(torch.float64 if self.where.precision == "float64" else torch.float32)
        if self._scale is not None and self._shift is not None:
            x = torch.addcmul(self._shift, x, self._scale)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x.to(self.where.dtype)

    def batches(self, size: int = BATCH) -> Iterator[tuple[Float[Tensor, "batch ..."], Int64[Tensor, " batch"]]]:
        """All samples in order, in normalised batches of ``size`` (the last may be smaller)."""
        starts = range(0, len(self), size)
        kept = self._prepared.get(size)
        if kept is None and self.inputs.numel() * self.where.dtype.itemsize <= PREPARED_LIMIT:
            kept = self._prepared[size] = [self.normalized(self.inputs[s : s + size]) for s in starts]
        for number, start in enumerate(starts):
            labels = self.labels[start : start + size]
            yield (kept[number] if kept else self.normalized(self.inputs[start : start + size])), labels
