"""Sums of ``X Xᵀ`` over many blocks ``X``: upper tiles only, work space allocated once."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from landscape_cli.compute.tangent.choices import KernelPrecision

STRIP = 256  # rows of a tile: above it the half saved by symmetry shrinks, below it products slow down (measured)


def product_dtype(precision: KernelPrecision) -> torch.dtype:
    """The type in which factors of products are held."""
    return {"float32": torch.float32, "float64": torch.float64, "bf16": torch.bfloat16}[precision]


def result_dtype(precision: KernelPrecision) -> torch.dtype:
    """The type in which kernels are summed and returned."""
    return torch.float64 if precision == "float64" else torch.float32


class Workspace:
    """Named blocks of memory, each allocated at its first use and again only to grow.

    Fresh pages cost more than many of the products that fill them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._blocks: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor of unset values; it is the former one of that name, overwritten."""
        size = math.prod(shape) * dtype.itemsize
        block = self._blocks.get(name)
        if block is None or block.numel() < size:
            self._blocks.pop(name, None)
            block = None  # freed before the larger one is allocated
            block = self._blocks[name] = torch.empty(max(size, 1), dtype=torch.uint8, device=self.device)
        return block[:size].view(dtype).view(shape)


class Gram:
    """A symmetric sum of products, of which only the upper tiles are computed.

    Args:
        rows: Its size.
        precision: Of the products; ``bf16`` products are summed in float32.
        work: Where intermediate tiles live.
    """

    def __init__(self, rows: int, precision: KernelPrecision, work: Workspace) -> None:
        self.values: Float[Tensor, "row row"] = torch.zeros(
            rows, rows, dtype=result_dtype(precision), device=work.device
        )
        self._work = work

    def strips(self) -> Iterator[tuple[int, int]]:
        """Row ranges; a strip covers the columns from its own first row on."""
        rows = len(self.values)
        for start in range(0, rows, STRIP):
            yield start, min(start + STRIP, rows)

    def add(self, x: Float[Tensor, "row column"]) -> None:
        """Add ``x xᵀ``. Cost: about ``row² · column`` operations, half of the plain product."""
        for start, stop in self.strips():
            target = self.values[start:stop, start:]
            self._add_product(target, x[start:stop], x[start:].T)

    def _add_product(self, target: Tensor, one: Tensor, two: Tensor) -> None:
        if one.dtype == target.dtype:
            target.addmm_(one, two)
            return
        if target.is_cuda:
            target.add_(torch.mm(one, two, out_dtype=target.dtype))
            return
        product = self._work.take("tile", (len(target), target.shape[1]), one.dtype)
        target.add_(torch.mm(one, two, out=product))

    def add_outer(
        self, a: Float[Tensor, "sample feature"] | None, b: Float[Tensor, "sample part column"], *, one: bool
    ) -> None:
        """Add ``(a aᵀ + 1) ∘ (b bᵀ)``, the kernel of a linear layer at one position; rows are ``(sample, part)``.

        Cost: ``sample² · feature + row² · column`` operations.

        Args:
            a: Inputs of the layer; None if its weights are no parameters here.
            b: Cotangents.
            one: Whether the layer has a bias.
        """
        samples, parts, _ = b.shape
        exact = self.values.dtype
        rows = b.reshape(samples * parts, -1).to(exact)
        inner = None if a is None else a.to(exact)
        step = max(1, STRIP // parts)
        for start in range(0, samples, step):
            stop = min(start + step, samples)
            shape = ((stop - start) * parts, (samples - start) * parts)
            tile = self._work.take("outer", shape, exact)
            torch.mm(rows[start * parts : stop * parts], rows[start * parts :].T, out=tile)
            if inner is not None:
                factor = inner[start:stop] @ inner[start:].T
                if one:
                    factor += 1
                tile.view(stop - start, parts, samples - start, parts).mul_(factor[:, None, :, None])
            self.values[start * parts : stop * parts, start * parts :].add_(tile)

    def finish(self, scale: float) -> Float[Tensor, "row row"]:
        """The whole matrix, times ``scale``, symmetric to the last bit."""
        if scale != 1:
            self.values.mul_(scale)
        for start, stop in self.strips():
            self.values[stop:, start:stop] = self.values[start:stop, stop:].T
            block = self.values[start:stop, start:stop]
            block.copy_(block.triu() + block.triu(1).T)
        return self.values
