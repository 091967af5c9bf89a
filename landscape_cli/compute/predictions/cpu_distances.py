"""Blocks, threads and the choice of precision around the compiled CPU kernels: arrays in, arrays out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.compute.predictions import cpu_kernels as kernels
from landscape_cli.compute.predictions.vector_code import ALIGNMENT, ROWS, WIDTH

QUICK_CLASSES = 32
"""From so many classes on, float32 products pay: below, multiplying the affinities up costs as much as they do."""
CLOSE = 0.02
"""Mean distance under which float32 products cannot promise five digits: the error of an affinity is about 5e-8 (at
100 classes, rounded products added 32 at a time), and if all samples erred alike by 4 of those, 2e-7 / 0.02 = 1e-5."""
TILE = 128
"""Models along the side of a tile: its products and panels stay in the second-level cache."""
NUMBERS = 1_000_000
"""Numbers that are packed at a time, where that is more than one segment of each model."""

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Sweep = Literal["exact", "quick", "angle"]
Span = tuple[int, int]


class NotADistributionError(Exception):
    """A sample whose log-probabilities are NaN, +∞, or all −∞: ``(side, model, sample)``."""


class _Work:
    """Tasks on threads: submitted as they come, awaited together, the first error raised."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self.threads = threads
        self._pool = pool
        self._running: list[Future[Any]] = []

    def add(self, task: Callable[..., Any], *arguments: Any) -> None:
        self._running.append(self._pool.submit(_run, task, arguments))

    def finish(self) -> list[Any]:
        """Wait for all tasks; their results in the order of submission."""
        wait(self._running, return_when=FIRST_EXCEPTION)
        results = [task.result() for task in self._running]
        self._running.clear()
        return results


def _run(task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return task(*arguments)
    except OSError:
        # Keeping fresh machine code failed (a full disk); the kernel is compiled all the same, and has not run yet.
        return task(*arguments)


@contextmanager
def _threads(count: int) -> Iterator[_Work]:
    pool = ThreadPoolExecutor(count)
    try:
        yield _Work(pool, count)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Blocks:
    """How samples are cut: ``size`` packed at a time into one of ``buffers`` sets of panels, a log every ``step``."""

    step: int
    size: int
    buffers: int
    padded: int

    @classmethod
    def of(cls, models: int, samples: int, classes: int, *, quick: bool = False) -> "_Blocks":
        step = max(1, (2 if quick else 1) * kernels.SEGMENT // classes)
        size = min(step * max(1, NUMBERS // (models * step * classes)), samples)
        return cls(step, size, 2 if size < samples else 1, classes + classes % 2)

    @property
    def segments(self) -> int:
        return -(-self.size // self.step)


def pair_sums(first: Array, second: Array | None, *, angles: bool, threads: int) -> Doubles:
    """Sum over the samples of ``−log⟨s_i, s_j⟩``, or of the angles ``arccos⟨s_i, s_j⟩``, for all pairs.

    Args:
        first: Log-probabilities ``(model, sample, class)``, float32 or float64, C order.
        second: The other side; None for the pairs of ``first`` among themselves.
        angles: Angles in place of negative logarithms.
        threads: Threads to work on it.

    Raises:
        NotADistributionError: With the side, model and sample.
    """
    sides = [first] if second is None else [first, second]
    out = np.zeros((len(sides[0]), len(sides[-1])))
    nothing = np.zeros((0, 0), np.bool_)
    with _threads(threads) as work:
        if angles:
            _sweep(work, "angle", sides, nothing, out)
        elif first.shape[2] < QUICK_CLASSES:
            _sweep(work, "exact", sides, nothing, out)
        else:
            wanted = np.zeros((-(-out.shape[0] // ROWS) + 2 * WIDTH // ROWS, -(-out.shape[1] // (2 * WIDTH))), np.bool_)
            _sweep(work, "quick", sides, wanted, out)
            work.add(kernels.mark_close, out, 2 * WIDTH, second is None, CLOSE * first.shape[1], wanted)
            work.finish()
            if wanted.any():
                _sweep(work, "exact", sides, wanted, out)
        if second is not None:
            np.maximum(out, 0.0, out=out)
            return out
        spans = [(i, min(i + TILE, len(out))) for i in range(0, len(out), TILE)]
        for index, rows in enumerate(spans):
            for cols in spans[index:]:
                work.add(kernels.mirror, out, *rows, *cols)
        work.finish()
    return out


def _sweep(work: _Work, kind: Sweep, sides: Sequence[Array], wanted: NDArray[np.bool_], out: Doubles) -> None:
    """Go through the samples once: pack a block, then all tiles of it while the next is packed."""
    samples, classes = sides[0].shape[1:]
    single = kind == "quick"
    width = 2 * WIDTH if single else WIDTH
    blocks = _Blocks.of(sum(len(side) for side in sides), samples, classes, quick=single)
    counts = [-(-len(side) // width) for side in sides]
    shape = (blocks.size, blocks.padded, width)
    panels = [
        [_aligned((count, *shape), np.float32 if single else np.float64) for count in counts]
        for _ in range(blocks.buffers)
    ]
    norms = [[np.zeros(len(side)) for side in sides] for _ in range(blocks.buffers)]
    terms = [[np.zeros((blocks.segments, len(side))) for side in sides] for _ in range(blocks.buffers)]
    tiles = [(rows, cols) for rows, cols in _tiles(counts, width, len(sides) == 1, work.threads)]
    if kind == "exact" and wanted.size:
        split = WIDTH // ROWS
        tiles = [
            (rows, cols)
            for rows, cols in tiles
            if wanted[rows[0] * split : rows[1] * split, cols[0] // 2 : -(-cols[1] // 2)].any()
        ]
    for turn, begin in enumerate(range(0, samples, blocks.size)):
        now = turn % blocks.buffers
        count = min(blocks.size, samples - begin)
        for side, log_probs in enumerate(sides):
            norms[now][side][:] = 0.0
            for panel in range(counts[side]):
                arrays = panels[now][side], norms[now][side], terms[now][side]
                work.add(_pack, log_probs, side, panel, begin, count, blocks.step if kind == "exact" else 0, *arrays)
        work.finish()  # the tiles of the block before, and this block's panels
        for rows, cols in tiles:
            where = (panels[now][0], panels[now][-1], *rows, *cols, count, len(sides) == 1)
            if kind == "quick":
                work.add(kernels.quick_tile, *where, wanted, classes, norms[now][0], norms[now][-1], out)
            elif kind == "exact":
                logs = (sides[0], sides[-1], begin, terms[now][0], terms[now][-1])
                work.add(kernels.exact_tile, *where, wanted, *logs, out)
            else:
                work.add(kernels.angle_tile, *where, out)
    work.finish()


def _aligned(shape: tuple[int, ...], dtype: type) -> Array:
    """An uninitialised array that begins where vector registers like to read; numpy promises 16 bytes only."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + ALIGNMENT, np.uint8)
    skip = -room.ctypes.data % ALIGNMENT
    return room[skip : skip + size].view(dtype).reshape(shape)


def _pack(
    log_probs: Array, side: int, panel: int, begin: int, count: int, step: int, panels: Array, norms: Doubles,
    terms: Doubles,
) -> None:  # fmt: skip
    wrong = kernels.pack(log_probs, panel, begin, count, panels, norms)
    if wrong >= 0:
        raise NotADistributionError(side, *divmod(int(wrong), log_probs.shape[1]))
    if step:
        kernels.self_terms(panels, panel, count, step, terms)


def _tiles(counts: Sequence[int], width: int, triangle: bool, threads: int) -> list[tuple[Span, Span]]:
    """The tiles as spans of panels, smaller where there would be too few of them to keep the threads busy."""
    side = TILE // width
    while True:
        spans = [[(p, min(p + side, count)) for p in range(0, count, side)] for count in counts]
        found = [(r, c) for r in spans[0] for c in spans[-1] if not (triangle and r > c)]
        if side == 1 or len(found) >= 4 * threads:
            return found
        side //= 2


def pair_memory(models: int, samples: int, classes: int, threads: int) -> int:
    """The most bytes :func:`pair_sums` holds beside its arguments and its result; ``models`` on both sides together."""
    blocks = _Blocks.of(models, samples, classes)
    panels = blocks.buffers * blocks.size * blocks.padded * (models + 4 * WIDTH) * 8
    lists = blocks.buffers * (blocks.segments + 1) * models * 8
    tiles = threads * TILE * TILE * 3 * 8
    wanted = -(-models // ROWS) * -(-models // (2 * WIDTH)) if classes >= QUICK_CLASSES else 0
    return panels + lists + tiles + wanted
