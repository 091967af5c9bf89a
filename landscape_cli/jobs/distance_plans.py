"""How a matrix of distances is cut so that the work obeys a budget of memory and reads its file seldom.

A tile of t×t distances needs 8 t² bytes of float64 sums and, for s samples at a time, two blocks of t·s·C
log-probabilities. All samples stream past a tile once, so the file is read about M/t times in all: tiles are made as
large as the budget allows, up to what is worth losing to a kill. What the budget has left over holds whole rows of
tiles, which are then read once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from landscape_cli.errors import UsageError
from landscape_cli.store.tiles import STRIP_BYTES, Grid

PANES = (1024, 512, 256, 128, 64)  # models a side that go through the kernel at once on a CPU
CALL_NUMBERS = 1024  # of each model that go through it at once, at least, before panes become smaller
KERNEL_SHARE = 2  # the part of a budget that is the kernel's own
DEVICE_PANE = 8192
DEVICE_SHARE = 0.8  # of the memory free on a device that may be used
FIXED_BYTES = 28_000_000  # strips written, and what the allocator keeps
BLOCK_BYTES = 1 << 27  # of one side's samples at a time; more would not be faster
TILE_OPERATIONS = 1e12  # of a tile on a CPU, about a minute's work: what a kill may cost
CPU_TILES = (512, 4096)  # bounds of a tile's side on a CPU
DEVICE_TILE = 32768
SMALLEST = 8  # models a side of a tile, unless asked for less
ROW_BYTES = 1 << 14  # of a model's samples at a time, at least, before tiles grow
SHARE = 4  # tiles a shard, at least


Span = tuple[Literal["rows", "cols"], int]  # a row or column of tiles: the models it is made of


@dataclass(frozen=True)
class Shape:
    """The size of a task.

    Args:
        rows: Rows of the matrix.
        cols: Columns.
        symmetric: Whether both are the same.
        samples: Samples to sum over.
        classes: Classes of a row as the kernel sees it.
        item: Bytes of a log-probability.
        stored: Bytes of a stored distance.
    """

    rows: int
    cols: int
    symmetric: bool
    samples: int
    classes: int
    item: int
    stored: int

    def row_bytes(self, samples: int) -> int:
        """Bytes of so many samples of one model."""
        return samples * self.classes * self.item

    @property
    def pairs(self) -> int:
        """Distances to compute."""
        return self.rows * (self.rows - 1) // 2 if self.symmetric else self.rows * self.cols

    @property
    def operations(self) -> int:
        """Multiplications: ``pairs · samples · classes``."""
        return self.pairs * self.samples * self.classes


@dataclass(frozen=True)
class Plan:
    """How the work is cut.

    Args:
        grid: The tiles.
        block: Samples at a time.
        resident: Rows of tiles that are kept in memory whole.
        pane: Models a side that go through the kernel at once.
        step: Samples that go through the kernel at once.
        memory: Bytes that this needs at most.
        bytes_read: Bytes of log-probabilities that are read, for all tiles.
        bytes_stored: Bytes of distances on disk.
    """

    grid: Grid
    block: int
    resident: int
    pane: int
    step: int
    memory: int
    bytes_read: int
    bytes_stored: int


@dataclass(frozen=True)
class Room:
    """The memory that there is, and what the kernel takes of it.

    Args:
        memory: Bytes to work in.
        kernel: Bytes that the kernel takes for so many models, both sides together, and so many samples.
        device: Bytes free on the device that does the work; None for the CPU. Sums and blocks lie there then, and the
            budget is for what passes through the host.
        other: Bytes that the tables of the models take, and reading them.
    """

    memory: int
    kernel: Callable[[int, int], int]
    device: int | None = None
    other: int = 0

    def call(self, shape: Shape) -> tuple[int, int]:
        """Models a side, and samples, that go through the kernel at once: as many as leave the rest its room."""
        if self.device is not None:
            return DEVICE_PANE, shape.samples
        share, few = self.memory // KERNEL_SHARE, max(1, CALL_NUMBERS // shape.classes)
        pane = next((p for p in PANES if self.kernel(2 * p, few) <= share), PANES[-1])
        return pane, _largest(shape.samples, lambda s: self.kernel(2 * pane, s) <= share)

    def host(self, shape: Shape, tile: int, block: int) -> int:
        """Bytes of the host for a tile of a side with ``block`` samples at a time."""
        fixed = FIXED_BYTES + self.other
        if self.device is None:
            return fixed + self._work(shape, tile, block, copies=1)
        # One block is read while the other is worked with.
        return fixed + 2 * _models(shape, tile) * shape.row_bytes(block) + 3 * STRIP_BYTES

    def fits(self, shape: Shape, tile: int, block: int) -> bool:
        """Whether a tile of a side with ``block`` samples at a time is within the budget and the device."""
        there = self.device is None or self._work(shape, tile, block, copies=2) <= DEVICE_SHARE * self.device
        return there and self.host(shape, tile, block) <= self.memory

    def left(self, shape: Shape, tile: int, block: int) -> int:
        """Bytes for rows of tiles that stay where the work is done."""
        if self.device is None:
            return self.memory - self.host(shape, tile, block)
        return int(DEVICE_SHARE * self.device) - self._work(shape, tile, block, copies=2)

    def _work(self, shape: Shape, tile: int, block: int, *, copies: int) -> int:
        rows, cols, (pane, samples) = min(tile, shape.rows), min(tile, shape.cols), self.call(shape)
        inner = (min(pane, rows), min(pane, cols))
        kernel = self.kernel(sum(inner), min(block, samples)) + 8 * inner[0] * inner[1]
        blocks = copies * _models(shape, tile) * shape.row_bytes(block)
        return 8 * rows * cols + blocks + max(kernel, 3 * STRIP_BYTES)


def cut(shape: Shape, room: Room, *, tile: int | None = None, shards: int = 1) -> Plan:
    """Cut the work.

    Args:
        shape: The size of the task.
        room: The memory to do it in.
        tile: Side of a tile; None for what fits best.
        shards: Into how many parts the tiles must go.

    Raises:
        UsageError: If the budget is too small for a single tile; the hint is the least that works.
    """
    side = max(shape.rows, shape.cols)
    smallest = min(tile or SMALLEST, side)
    if not room.fits(shape, smallest, 1):
        other = "" if tile is None else ", or a smaller --tile"
        raise UsageError(
            f"--memory {room.memory // 1_000_000}MB is too little for tiles of {smallest} models, a sample at a time",
            f"the least that works is --memory {_least(shape, room, smallest)}MB{other}",
        )
    tile = min(tile or _tile(shape, room, shards), side)
    grid = Grid(shape.rows, shape.cols, tile, shape.symmetric)
    block = _largest(shape.samples, lambda s: room.fits(shape, tile, s))
    block = min(block, max(few_samples(shape), BLOCK_BYTES // (tile * shape.row_bytes(1))))
    block = -(-shape.samples // -(-shape.samples // block))
    pane, step = room.call(shape)
    whole = tile * shape.row_bytes(shape.samples)
    distinct = grid.down if shape.symmetric else grid.down + grid.across
    resident = min(room.left(shape, tile, block) // whole, distinct) if grid.count > 1 else 0
    return Plan(
        grid=grid,
        block=block,
        resident=resident,
        pane=min(pane, tile),
        step=min(step, block),
        memory=room.host(shape, tile, block) + (resident * whole if room.device is None else 0),
        bytes_read=spans_read(grid, resident) * whole,
        bytes_stored=shape.rows * shape.cols * shape.stored,
    )


def few_samples(shape: Shape) -> int:
    """So many samples at a time that reading and the kernel work well; tiles do not grow at their cost."""
    return min(shape.samples, max(1, ROW_BYTES // shape.row_bytes(1)))


def _models(shape: Shape, tile: int) -> int:
    """Models whose samples are in memory at a time."""
    alone = shape.symmetric and tile >= shape.rows
    return shape.rows if alone else min(tile, shape.rows) + min(tile, shape.cols)


def _least(shape: Shape, room: Room, tile: int) -> int:
    """The smallest budget, in whole MB, that a tile of a side fits in."""
    budget = -(-room.host(shape, tile, 1) // 1_000_000)
    while room.device is None and not replace(room, memory=budget * 1_000_000).fits(shape, tile, 1):
        budget += 1  # the panes grow with the budget
    return budget


def _tile(shape: Shape, room: Room, shards: int) -> int:
    """The side of tiles: as large as is useful and fits, and so that all are about as large."""
    side = max(shape.rows, shape.cols)
    useful = DEVICE_TILE
    if room.device is None:
        wanted = math.isqrt(int(TILE_OPERATIONS / (shape.samples * shape.classes)))
        useful = min(max(wanted, CPU_TILES[0]), CPU_TILES[1])
    few = few_samples(shape)
    fitting = max(_largest(min(useful, side), lambda t: room.fits(shape, t, few)), min(SMALLEST, side))
    count = -(-side // fitting)
    while shards > 1 and count < side and _tiles(shape, -(-side // count)) < SHARE * shards:
        count += 1
    even = -(-side // count)
    return even if count == 1 else min(-(-even // SMALLEST) * SMALLEST, fitting)


def _tiles(shape: Shape, tile: int) -> int:
    return Grid(shape.rows, shape.cols, tile, shape.symmetric).count


def _largest(bound: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to ``bound`` that fits; 1 if none does."""
    low, high = 1, bound
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


class Residency:
    """Which rows (or columns) of tiles stay in memory while tiles are made row by row.

    Args:
        capacity: How many may.
        symmetric: Whether rows and columns of tiles are the same.
    """

    def __init__(self, capacity: int, symmetric: bool) -> None:
        self.capacity = capacity
        self.symmetric = symmetric
        self.held: set[Span] = set()

    def wanted(self, i: int, j: int) -> tuple[Span, ...]:
        """What the tile in row i and column j is made of; one span if they are the same."""
        rows: Span = ("rows", i)
        cols: Span = ("rows" if self.symmetric else "cols", j)
        return (rows,) if rows == cols else (rows, cols)

    def admit(self, span: Span, row: int) -> bool:
        """Whether a span stays in memory, now that tiles of ``row`` are made; the rows before are let go."""
        self.held = {(side, k) for side, k in self.held if side == "cols" or k >= row}
        if span not in self.held and len(self.held) < self.capacity:
            self.held.add(span)
        return span in self.held


def spans_read(grid: Grid, capacity: int) -> int:
    """How often a row or column of tiles is read, over all tiles, if so many stay in memory.

    >>> spans_read(Grid(3, 3, 1, symmetric=True), 0), spans_read(Grid(3, 3, 1, symmetric=True), 3)
    (9, 3)
    """
    down, across = grid.down, grid.across
    if grid.symmetric:
        left = max(down - capacity, 0)
        return down * down if not capacity else down + left * (left + 1) // 2
    return 2 * down * across if not capacity else down + across + (down - 1) * max(across - capacity + 1, 0)
