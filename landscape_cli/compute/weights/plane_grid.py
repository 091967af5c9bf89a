"""The places of a plane that are measured: a regular grid, or one that is finer where the values change."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Node = tuple[int, int]  # column and row
Numbers = Mapping[str, float]

POINTS = 21
LEVELS = 3
TOLERANCE = 0.02


def axis(low: float, high: float, cells: int) -> NDArray[np.float64]:
    """``cells + 1`` evenly spaced values; where a finer axis has the same value it is the same number.

    >>> axis(-1.0, 1.0, 4).tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    along = np.arange(cells + 1) / cells
    return np.asarray(low * (1 - along) + high * along)


def regular(columns: int, rows: int) -> Iterator[Node]:
    """All nodes of a grid, row by row."""
    for row in range(rows):
        for column in range(columns):
            yield column, row


def adaptive(
    measure: Callable[[Node], Numbers],
    columns: int,
    rows: int,
    *,
    budget: int,
    levels: int = LEVELS,
    tolerance: float = TOLERANCE,
) -> Iterator[tuple[Node, Numbers]]:
    """Measure a grid, then divide cells into four where the values change most; yield each node once.

    Nodes are counted on the finest lattice, ``(columns − 1)·2^levels + 1`` wide. The change of a cell is the largest
    range of a value over its four corners, as a share of the value's range over the first grid (of its logarithm for
    losses: far out they grow by powers); where a corner is finite and another is not, it is 1. Cells are divided in
    the order of their change, until none changes by more than ``tolerance`` or the budget is spent. A cell of equal
    corners is never divided: what is smaller than the first grid's cells can be missed.

    Args:
        measure: Gives the values of a node.
        columns: Of the first grid.
        rows: Of the first grid.
        budget: Nodes in all; the first grid is measured whatever it is.
        levels: How many times a cell can be divided.
        tolerance: Share of a value's range.
    """
    stride = 2**levels
    done: dict[Node, Numbers] = {}

    def visit(nodes: Sequence[Node]) -> Iterator[tuple[Node, Numbers]]:
        for node in nodes:
            if node not in done:
                done[node] = measure(node)
                yield node, done[node]

    yield from visit([(column * stride, row * stride) for column, row in regular(columns, rows)])
    ranges = _ranges(done.values())
    queue = [
        (-_change(done, (column * stride, row * stride), stride, ranges), row * stride, column * stride, stride)
        for column, row in regular(columns - 1, rows - 1)
    ]
    heapq.heapify(queue)
    while queue:
        change, row, column, size = heapq.heappop(queue)
        if -change <= tolerance or size == 1:
            continue
        half = size // 2
        nodes = [(column + i * half, row + j * half) for j in range(3) for i in range(3)]
        if len(done) + sum(node not in done for node in nodes) > budget:
            return
        yield from visit(nodes)
        for j in range(2):
            for i in range(2):
                corner = (column + i * half, row + j * half)
                heapq.heappush(queue, (-_change(done, corner, half, ranges), corner[1], corner[0], half))


def _scaled(name: str, value: float) -> float:
    """A value on the scale on which its change is judged."""
    if name.endswith("loss"):
        return math.log(value + 1e-3) if value > -1e-3 else math.nan
    return value


def _ranges(found: Iterable[Numbers]) -> dict[str, float]:
    """The range of each value over the nodes where it is finite."""
    known: dict[str, list[float]] = {}
    for numbers in found:
        for name, value in numbers.items():
            if math.isfinite(scaled := _scaled(name, value)):
                known.setdefault(name, []).append(scaled)
    return {name: max(some) - min(some) for name, some in known.items()}


def _change(done: Mapping[Node, Numbers], corner: Node, size: int, ranges: Mapping[str, float]) -> float:
    """How much the values change over a cell."""
    column, row = corner
    corners = [done[column + i * size, row + j * size] for j in range(2) for i in range(2)]
    largest = 0.0
    for name, span in ranges.items():
        some = [_scaled(name, numbers[name]) for numbers in corners]
        finite = [value for value in some if math.isfinite(value)]
        if 0 < len(finite) < 4:
            return 1.0
        if finite and span > 0:
            largest = max(largest, (max(finite) - min(finite)) / span)
    return largest
