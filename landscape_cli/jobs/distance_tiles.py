"""Computing the tiles of a matrix of distances: samples stream past, some at a time."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.compute.device import Placement, math_mode
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.distances import distance_sums
from landscape_cli.errors import DataError, InterruptedRunError
from landscape_cli.jobs.distance_plans import Plan, Residency, Shape, Span
from landscape_cli.jobs.model_rows import ModelRows
from landscape_cli.jobs.stopping import Stop
from landscape_cli.store.tiles import StoredType, Strip, TileFolder

Progress = Callable[[int, int], None]
Tile = tuple[int, int]


@dataclass(frozen=True, eq=False)
class TileWork:
    """What tiles are computed from, and where they go.

    Args:
        rows: The rows of the matrix.
        cols: Its columns; of a symmetric one, its rows.
        shape: The size of the task.
        plan: How it is cut.
        folder: Where finished tiles go.
        identity: Of the matrix.
        distance: Which distance.
        dtype: How distances are stored.
        cap: Larger ones are stored as this.
        where: The device.
    """

    rows: ModelRows
    cols: ModelRows
    shape: Shape
    plan: Plan
    folder: TileFolder
    identity: str
    distance: DistanceName
    dtype: StoredType
    cap: float | None
    where: Placement

    def is_finished(self, i: int, j: int) -> bool:
        """Whether a tile is there."""
        return self.folder.is_finished(i, j, self.identity, self.plan.grid)


def compute_tiles(work: TileWork, tiles: list[Tile], stop: Stop, progress: Progress | None = None) -> int:
    """Compute and write the tiles that are not there yet.

    Returns:
        How many these were.

    Raises:
        DataError: If a prediction is no distribution; model and sample are named.
        StorageError: If the disk is full; the tiles before are kept.
        InterruptedRunError: If a signal asked to stop; the tiles before are kept.
    """
    grid, samples = work.plan.grid, work.shape.samples
    missing = [(i, j) for i, j in tiles if not work.is_finished(i, j)]
    sizes = [_pairs(work, i, j) * samples for i, j in missing]
    total, before = sum(sizes), 0
    # One piece of memory for the sums of every tile, as for blocks: see _Blocks.
    largest = max((math.prod(grid.shape(i, j)) for i, j in missing), default=0)
    room = torch.empty(largest, dtype=torch.float64, device=work.where.device)
    with math_mode(work.where), torch.inference_mode(), _Blocks(work, ahead=work.where.device.type != "cpu") as blocks:
        for number, (i, j) in enumerate(missing):
            rows, cols = grid.shape(i, j)
            sums, done = room[: rows * cols].view(rows, cols).zero_(), 0
            for count in _add_samples(work, blocks, i, j, sums):
                done += count
                if progress is not None:
                    progress(before + done, total)
                if stop.requested and done < sizes[number]:
                    raise _stopped(number, len(missing))
            before += done
            sums /= samples
            notes = {"device": work.where.describe()}
            work.folder.write(i, j, work.identity, grid, _strips(sums), dtype=work.dtype, cap=work.cap, notes=notes)
            if stop.requested and number + 1 < len(missing):
                raise _stopped(number + 1, len(missing))
    return len(missing)


def _stopped(number: int, of: int) -> InterruptedRunError:
    return InterruptedRunError(
        f"stopped at tile {number + 1} of {of}; finished tiles are kept", "the same command continues"
    )


def _pairs(work: TileWork, i: int, j: int) -> int:
    rows, cols = work.plan.grid.shape(i, j)
    return rows * (rows + 1) // 2 if work.shape.symmetric and i == j else rows * cols


def _add_samples(work: TileWork, blocks: "_Blocks", i: int, j: int, sums: Tensor) -> Iterator[int]:
    """Add all samples to a tile's sums, some at a time; yields how many pairs of models, times samples, were done."""
    pane, step, (rows, cols) = work.plan.pane, work.plan.step, sums.shape
    diagonal = work.shape.symmetric and i == j
    for begin, first, second in blocks.of_tile(i, j):
        count = first.shape[1]
        for a in range(0, rows, pane):
            for b in range(a if diagonal else 0, cols, pane):
                same = diagonal and a == b
                part = sums[a : a + pane, b : b + pane]
                height, width = part.shape
                for start in range(0, count, step):
                    one, two = (side[:, start : start + step] for side in (first[a : a + pane], second[b : b + pane]))
                    try:
                        part += distance_sums(one, None if same else two, kind=work.distance)
                    except DataError as error:
                        work.rows.blame(one, work.plan.grid.row_span(i).start + a, begin + start, error)
                        work.cols.blame(two, work.plan.grid.col_span(j).start + b, begin + start, error)
                        raise
                    yield (height * (height + 1) // 2 if same else height * width) * one.shape[1]
        del first, second
    if diagonal:
        for a in range(0, rows, pane):
            for b in range(a + pane, cols, pane):
                sums[b : b + pane, a : a + pane] = sums[a : a + pane, b : b + pane].T


def _strips(sums: Tensor) -> Strip:
    """Rows of a tile, or columns as rows."""

    def strip(start: int, stop: int, turned: bool) -> NDArray[np.float64]:
        part = sums[:, start:stop].T if turned else sums[start:stop]
        values: NDArray[np.float64] = part.contiguous().cpu().numpy()
        return values

    return strip


class _Blocks:
    """Log-probabilities of tiles, block of samples by block; rows of tiles that stay in memory are read once.

    Args:
        work: The tiles.
        ahead: Whether the next block is read while the last is worked with, as is well where a device does the work.
    """

    def __init__(self, work: TileWork, *, ahead: bool) -> None:
        self._work = work
        self._residency = Residency(work.plan.resident, work.shape.symmetric)
        self._held: dict[Span, Tensor] = {}
        self._reader = ThreadPoolExecutor(1) if ahead else None
        # The same two pieces of memory for every block: new ones each time would leave the heap in pieces.
        self._buffers: dict[int, Tensor] = {}

    def __enter__(self) -> "_Blocks":
        return self

    def __exit__(self, *reason: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        self._held.clear()
        self._buffers.clear()

    def of_tile(self, i: int, j: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The first sample of each block, and the block for the tile's rows and for its columns."""
        samples, step = self._work.shape.samples, self._work.plan.block
        parts = [slice(start, min(start + step, samples)) for start in range(0, samples, step)]
        if self._reader is None:
            for part in parts:
                yield self._read(i, j, part)
            return
        coming = self._reader.submit(self._read, i, j, parts[0])
        for part in parts[1:]:
            block = coming.result()
            coming = self._reader.submit(self._read, i, j, part)
            yield block
            del block
        yield coming.result()

    @torch.inference_mode()
    def _read(self, i: int, j: int, samples: slice) -> tuple[int, Tensor, Tensor]:
        wanted = self._residency.wanted(i, j)
        found = [self._span(span, samples, i, place) for place, span in enumerate(wanted)]
        return samples.start, found[0], found[-1]

    def _span(self, span: Span, samples: slice, row: int, place: int) -> Tensor:
        """Some samples of a row or column of tiles, for tiles of a row."""
        side, index = span
        grid = self._work.plan.grid
        source = self._work.rows if side == "rows" else self._work.cols
        models = grid.row_span(index) if side == "rows" else grid.col_span(index)
        keep = self._residency.admit(span, row)
        self._held = {key: value for key, value in self._held.items() if key in self._residency.held}
        if not keep:
            return source.read(models, samples, self._buffer(place))
        if span not in self._held:
            count, step = self._work.shape.samples, self._work.plan.block
            shape = (models.stop - models.start, count, source.classes)
            whole = torch.empty(shape, dtype=source.dtype, device=source.device)
            for start in range(0, count, step):
                part = slice(start, min(start + step, count))
                whole[:, part] = source.read(models, part, self._buffer(place))
            self._held[span] = whole
        return self._held[span][:, samples]

    def _buffer(self, place: int) -> Tensor | None:
        """Memory for a block of the rows or the columns; where blocks go to a device, each has its own."""
        if self._reader is not None:
            return None
        if place not in self._buffers:
            shape, plan = self._work.shape, self._work.plan
            size = min(plan.grid.tile, max(shape.rows, shape.cols)) * plan.block * shape.classes
            self._buffers[place] = torch.empty(size, dtype=self._work.rows.dtype)
        return self._buffers[place]
