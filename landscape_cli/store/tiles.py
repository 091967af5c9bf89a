"""The tiles of a matrix that is too large, or takes too long, to be made in one piece.

A matrix ``OUT`` is cut into square tiles; each finished one is a file of its own in ``OUT.tiles/``, written atomically,
with the identity of the matrix it belongs to. Of a symmetric matrix only tiles on and above the diagonal are made. Each
holds its block and, off the diagonal, the transposed block too: HDF5's virtual datasets cannot transpose, and with
both any HDF5 reader sees the whole matrix. The price is that the files of a symmetric matrix take no less room than
those of another.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import ConflictError, DataError
from landscape_cli.store.atomic import remove_leftovers, write_json
from landscape_cli.store.hdf5 import creating, open_hdf5
from landscape_cli.store.locks import exclusive

if TYPE_CHECKING:
    import h5py

SCHEMA = 1
PLAN_NAME = "plan.json"
BLOCK, TRANSPOSED = "block", "transposed"
SCALARS = ("squares", "trace", "total", "maximum", "infinite")  # attributes of a tile
STRIP_BYTES = 1 << 22  # of float64 rows that are handled at a time

StoredType = Literal["float32", "float64"]
Strip = Callable[[int, int, bool], NDArray[np.float64]]


@dataclass(frozen=True)
class Grid:
    """How a matrix is cut into tiles.

    Args:
        rows: Its rows.
        cols: Its columns.
        tile: Rows and columns of a tile; those at the far edges are smaller.
        symmetric: Whether tiles below the diagonal are left out.

    >>> Grid(5, 5, 2, symmetric=True).tiles()
    [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    """

    rows: int
    cols: int
    tile: int
    symmetric: bool

    @property
    def down(self) -> int:
        """Rows of tiles."""
        return -(-self.rows // self.tile)

    @property
    def across(self) -> int:
        """Columns of tiles."""
        return -(-self.cols // self.tile)

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.down * (self.down + 1) // 2 if self.symmetric else self.down * self.across

    def tiles(self) -> list[tuple[int, int]]:
        """All tiles by their row and column of tiles, row by row."""
        return [(i, j) for i in range(self.down) for j in range(i if self.symmetric else 0, self.across)]

    def row_span(self, i: int) -> slice:
        """The rows of the i-th row of tiles."""
        return slice(i * self.tile, min((i + 1) * self.tile, self.rows))

    def col_span(self, j: int) -> slice:
        """The columns of the j-th column of tiles."""
        return slice(j * self.tile, min((j + 1) * self.tile, self.cols))

    def shape(self, i: int, j: int) -> tuple[int, int]:
        """Rows and columns of a tile."""
        rows, cols = self.row_span(i), self.col_span(j)
        return rows.stop - rows.start, cols.stop - cols.start


@dataclass(frozen=True, eq=False)
class TileSums:
    """What is known of a tile's values, as they are stored.

    Args:
        row_sums: Sums of its rows.
        col_sums: Sums of its columns.
        squares: Sum of squares.
        trace: Sum of the diagonal, of a tile on the diagonal of a symmetric matrix; else 0.
        total: Sum of the finite values.
        maximum: The largest finite value; −∞ if there is none.
        infinite: Number of values that were infinite before any cap.
        first_infinite: Row and column, in the matrix, of the first of them; −1 if there is none.
    """

    row_sums: NDArray[np.float64]
    col_sums: NDArray[np.float64]
    squares: float
    trace: float
    total: float
    maximum: float
    infinite: int
    first_infinite: tuple[int, int]


class TileFolder:
    """The tiles of one matrix on disk.

    Args:
        out: The file of the matrix.
        name: The name of the folder beside it; by default ``OUT.tiles``.
    """

    def __init__(self, out: Path, name: str | None = None) -> None:
        self.out = out
        self.path = out.with_name(name or f"{out.name}.tiles")

    @property
    def plan(self) -> dict[str, Any] | None:
        """What the tiles belong to and how they were cut; None if there are none, or the plan is damaged."""
        try:
            document = json.loads((self.path / PLAN_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) and document.get("schema") == SCHEMA else None

    def begin(self, identity: dict[str, Any], grid: Grid) -> None:
        """Write down what the tiles belong to.

        Raises:
            StorageError: If the disk is full or the place cannot be written.
        """
        write_json(self.path / PLAN_NAME, {"schema": SCHEMA, "identity": identity, "tile": grid.tile})

    def clear(self) -> None:
        """Delete the tiles and their plan; the folder's lock stays."""
        (self.path / PLAN_NAME).unlink(missing_ok=True)
        for tile in self.path.glob("tile-*.h5"):
            tile.unlink(missing_ok=True)
        remove_leftovers(self.path)

    def remove(self) -> None:
        """Delete the whole folder, by whoever holds it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, i: int, j: int) -> Path:
        """The file of a tile."""
        return self.path / f"tile-{i:05d}-{j:05d}.h5"

    def is_finished(self, i: int, j: int, identity: str, grid: Grid) -> bool:
        """Whether a tile is there, whole and of this matrix."""
        try:
            self.sums(i, j, identity, grid)
        except DataError:
            return False
        return True

    @contextlib.contextmanager
    def opened(self, i: int, j: int, identity: str, grid: Grid, hint: str | None = None) -> Iterator["h5py.File"]:
        """Open a tile for reading.

        Raises:
            DataError: If it is missing, truncated, damaged, or of another matrix; it is named.
        """
        path = self.file(i, j)
        try:
            file = open_hdf5(path)
        except DataError as error:
            raise DataError(error.message, hint) from error
        with file:
            found = (file.attrs.get("identity"), plain(file.attrs.get("tile")), tuple(file.attrs.get("position", ())))
            if found != (identity, grid.tile, (i, j)):
                raise DataError(f"{path} is a tile of another matrix than {self.out}, or another of its tiles", hint)
            if BLOCK not in file or file[BLOCK].shape != grid.shape(i, j):
                raise DataError(f"{path} is damaged: its block is missing or misshapen", hint)
            yield file

    def sums(self, i: int, j: int, identity: str, grid: Grid) -> TileSums:
        """What is known of a tile's values.

        Raises:
            DataError: See :meth:`opened`.
        """
        with self.opened(i, j, identity, grid) as file:
            try:
                values = {
                    name: plain(file.attrs[name]) for name in ("squares", "trace", "total", "maximum", "infinite")
                }
                row, col = (int(n) for n in file.attrs["first_infinite"])
                return TileSums(file["row_sums"][()], file["col_sums"][()], first_infinite=(row, col), **values)
            except (KeyError, OSError, ValueError) as error:
                raise DataError(f"{file.filename} is damaged: {error}") from error

    def write(
        self,
        i: int,
        j: int,
        identity: str,
        grid: Grid,
        strip: Strip,
        *,
        dtype: StoredType = "float32",
        cap: float | None = None,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Write a finished tile atomically, some rows at a time.

        Args:
            i: Its row of tiles.
            j: Its column of tiles.
            identity: Of the matrix.
            grid: How the matrix is cut.
            strip: Gives rows (or, asked for the transposed, columns as rows) from the first to before the last of
                the two numbers.
            dtype: How values are stored.
            cap: Values above it are stored as it.
            notes: Further attributes.

        Raises:
            StorageError: If the disk is full or the place cannot be written; earlier tiles are kept.
        """
        rows, cols = grid.shape(i, j)
        corner = (grid.row_span(i).start, grid.col_span(j).start)
        with creating(self.file(i, j)) as file:
            block = file.create_dataset(BLOCK, (rows, cols), dtype=dtype, track_times=False)
            tally = Tally(rows, cols, corner, diagonal=grid.symmetric and i == j)
            for start, stop in strips(rows, cols):
                values = strip(start, stop, False)
                block[start:stop] = tally.add(start, values, dtype, cap)
            if grid.symmetric and i != j:
                transposed = file.create_dataset(TRANSPOSED, (cols, rows), dtype=dtype, track_times=False)
                for start, stop in strips(cols, rows):
                    transposed[start:stop] = _stored(strip(start, stop, True), dtype, cap)
            known = tally.sums()
            file.create_dataset("row_sums", data=known.row_sums, track_times=False)
            file.create_dataset("col_sums", data=known.col_sums, track_times=False)
            for name in (*SCALARS, "first_infinite"):
                file.attrs[name] = getattr(known, name)
            file.attrs.update({"identity": identity, "tile": grid.tile, "position": (i, j), **(notes or {})})

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one process, no shard of it being at work.

        Raises:
            ConflictError: If another process is at work on it; it is named.
        """
        with exclusive(self.path), ExitStack() as shards:
            for folder in sorted(self.path.glob("shard-*")):
                shards.enter_context(exclusive(folder))
            yield

    @contextlib.contextmanager
    def shard_held(self, shard: tuple[int, int]) -> Iterator[ExitStack]:
        """Hold one shard of the folder, and the folder too until the stack that this yields is closed.

        Raises:
            ConflictError: If another process is at work on this shard or on all of them; it is named.
        """
        with ExitStack() as own, ExitStack() as whole:
            whole.enter_context(_waiting(self.path))
            own.enter_context(exclusive(self.path / f"shard-{shard[0]}-of-{shard[1]}"))
            yield whole


@contextlib.contextmanager
def _waiting(folder: Path, seconds: float = 10.0) -> Iterator[None]:
    """Hold a folder; shards that begin at the same moment wait for each other."""
    until = time.monotonic() + seconds
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(folder))
                break
            except ConflictError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield


class Tally:
    """Adds up what is known of a tile while its rows are written."""

    def __init__(self, rows: int, cols: int, corner: tuple[int, int], *, diagonal: bool) -> None:
        self.row_sums = np.zeros(rows)
        self.col_sums = np.zeros(cols)
        self.squares = self.trace = self.total = 0.0
        self.maximum = -np.inf
        self.infinite = 0
        self.first_infinite = (-1, -1)
        self._corner = corner
        self._diagonal = diagonal

    def add(self, start: int, values: NDArray[np.float64], dtype: StoredType, cap: float | None) -> NDArray[Any]:
        """Take rows from ``start`` on; returns them as they are stored."""
        infinite = np.isinf(values)
        if count := int(infinite.sum()):
            if not self.infinite:
                row, col = divmod(int(infinite.argmax()), values.shape[1])
                self.first_infinite = (self._corner[0] + start + row, self._corner[1] + col)
            self.infinite += count
        stored = _stored(values, dtype, cap)
        exact = stored.astype(np.float64)
        stop = start + len(exact)
        self.row_sums[start:stop] = exact.sum(axis=1)
        self.col_sums += exact.sum(axis=0)
        self.squares += float(np.square(exact).sum())
        if self._diagonal:
            self.trace += float(np.trace(exact, offset=start))
        finite = exact[np.isfinite(exact)] if count else exact
        self.total += float(finite.sum())
        self.maximum = max(self.maximum, float(finite.max(initial=-np.inf)))
        return stored

    def sums(self) -> TileSums:
        """What was added up."""
        return TileSums(
            self.row_sums, self.col_sums, self.squares, self.trace, self.total, self.maximum, self.infinite,
            self.first_infinite,
        )  # fmt: skip


def plain(value: Any) -> Any:
    """An attribute as a plain Python value; an array of several stays one."""
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def strips(rows: int, cols: int, size: int = STRIP_BYTES) -> Iterator[tuple[int, int]]:
    """Runs of rows that take about ``size`` bytes of float64 each.

    >>> list(strips(5, 2, size=32))
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, size // (8 * max(cols, 1)))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _stored(values: NDArray[np.float64], dtype: StoredType, cap: float | None) -> NDArray[Any]:
    capped = values if cap is None else np.minimum(values, cap)
    return capped.astype(dtype)
