"""What is kept of each layer, and in how many sweeps over the samples, so that memory stays within a bound.

A sweep runs the network forward and its cotangents backward for every sample, and keeps for each of its units either
rows of the Jacobian or their two factors (inputs and cotangents), whichever is smaller. Then each unit's Jacobian is
formed a panel at a time and multiplied with itself. Nothing holds the Jacobian of all samples and parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from landscape_cli.compute.tangent.layers import Layer
from landscape_cli.compute.tangent.spatial import is_cheaper

UnitKind = Literal["rows", "bias", "scale", "factors", "positions", "outer", "general"]


@dataclass(frozen=True)
class Unit:
    """A part of the parameters whose Jacobian is handled at once.

    Args:
        name: The layer's name in results.
        kind: ``rows``: a product's weights, Jacobian kept; ``bias``, ``scale``: likewise; ``factors``: a product's
            weights, inputs and cotangents kept; ``positions``: likewise, multiplied by pairs of positions; ``outer``:
            a linear layer at one position; ``general``: ``parameters`` by the general path, Jacobian kept.
        each: Numbers kept for each sample and direction.
        fixed: Numbers kept for each sample.
        layer: The layer; None on the general path.
        start: First output (group, if it has several) of a part of a product.
        stop: Behind the last.
        parameters: Their full names, on the general path.
    """

    name: str
    kind: UnitKind
    each: int
    fixed: int = 0
    layer: Layer | None = None
    start: int = 0
    stop: int = 0
    parameters: tuple[str, ...] = ()

    @property
    def is_rows(self) -> bool:
        """Whether rows of the Jacobian are kept."""
        return self.kind in ("rows", "bias", "scale", "general")


@dataclass(frozen=True)
class Sweep:
    """One pass over all samples: which units, for which directions."""

    units: tuple[Unit, ...]
    first: int
    last: int


def units_of(layer: Layer, *, samples: int, directions: int, parts: int, room: int, half: bool) -> list[Unit]:
    """Cut a known layer into units whose Jacobian is at most a quarter of ``room`` numbers (at least one output each).

    Args:
        layer: The layer.
        samples: How many.
        directions: Cotangents a sample.
        parts: Rows a sample has in the kernel.
        room: Numbers that all work space may hold.
        half: Whether products are in bfloat16.
    """
    if not layer.is_product:
        return [Unit(layer.name, "scale", layer.width, layer=layer)]
    weight, bias = ("weight" in layer.parameters), ("bias" in layer.parameters)
    if layer.positions == 1 and layer.groups == 1:
        return [Unit(layer.name, "outer", layer.outputs, layer.columns * weight, layer)]
    units = [Unit(layer.name, "bias", layer.groups * layer.outputs, layer=layer)] if bias else []
    if not weight:
        return units
    if is_cheaper(layer, samples=samples, directions=directions, parts=parts, half=half):
        step = max(1, room // 2 // (samples * directions * layer.positions))
        return units + [
            Unit(layer.name, "positions", (stop - start) * layer.positions, layer.stored, layer, start, stop)
            for start, stop in _ranges(layer.outputs, step)
        ]
    pieces = layer.groups if layer.groups > 1 else layer.outputs
    width = layer.columns * (layer.outputs if layer.groups > 1 else 1)
    cotangent = layer.positions * (layer.outputs if layer.groups > 1 else 1)
    whole_rows = pieces * width * directions
    whole_factors = layer.stored + pieces * cotangent * directions
    for start, stop in _ranges(pieces, max(1, room // 4 // (samples * directions * width))):
        if whole_rows <= whole_factors:
            units.append(Unit(layer.name, "rows", (stop - start) * width, 0, layer, start, stop))
        else:
            units.append(Unit(layer.name, "factors", (stop - start) * cotangent, layer.stored, layer, start, stop))
    return units


def _ranges(total: int, step: int) -> list[tuple[int, int]]:
    """``0 … total`` in steps of nearly equal length, none above ``step``."""
    count = -(-total // step)
    return [(total * i // count, total * (i + 1) // count) for i in range(count)]


def sweeps(units: Sequence[Unit], *, samples: int, directions: int, room: int, separable: bool) -> list[Sweep]:
    """Pack units into sweeps that keep at most ``room`` numbers each (a single unit may exceed it).

    Late layers come first: a sweep's cotangents go back only as far as its earliest layer.

    Args:
        units: In the order of the network.
        samples: How many.
        directions: Cotangents a sample.
        room: Numbers that may be kept at a time.
        separable: Whether directions are summed over (trace), so that a sweep may take some of them: then cotangents
            are never computed twice.
    """
    count = directions
    if separable:
        fixed = sum(size for size in {unit.name: unit.fixed for unit in units}.values())
        each = sum(unit.each for unit in units)
        count = max(1, min(directions, (room // samples - fixed) // max(1, each)))
    packs: list[list[Unit]] = [[]]
    held, inputs_of = 0, ""
    for unit in reversed(units):
        size = samples * (unit.each * count + (unit.fixed if unit.name != inputs_of else 0))
        if packs[-1] and held + size > room:
            packs.append([])
            held, size = 0, samples * (unit.each * count + unit.fixed)
        packs[-1].append(unit)
        held += size
        inputs_of = unit.name if unit.fixed else inputs_of
    return [
        Sweep(tuple(reversed(pack)), first, min(first + count, directions))
        for pack in packs
        for first in range(0, directions, count)
    ]
