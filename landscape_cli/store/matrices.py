"""Matrices on disk: distances between models, with the names of their rows, whole in one file or as tiles.

A matrix is an HDF5 file with the dataset ``values``, the tables ``rows`` and ``cols``, ``row_means`` (and, unless it
is symmetric, ``col_means``), and attributes that say what it holds. A large one keeps its values in tile files (see
:mod:`landscape_cli.store.tiles`); ``values`` is then a virtual dataset over them, for other HDF5 readers. The reader
here opens the tiles itself, because HDF5 reads a missing one as fill values without a word. Writing is in
:mod:`landscape_cli.store.matrix_writing`.
"""

import contextlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError, UsageError
from landscape_cli.store.hdf5 import open_hdf5
from landscape_cli.store.tables import Table
from landscape_cli.store.tiles import BLOCK, TRANSPOSED, Grid, TileFolder, plain, strips

if TYPE_CHECKING:
    import h5py

KIND = "distances"
TRAJECTORIES = "trajectories"  # a matrix too, of the distances between whole runs, and more
SCHEMA = 1
VALUES = "values"
REFERENCE = "reference"  # the column of a row's kind: "" for a model, else truth, ignorance or geodesic
BLOCK_BYTES = 1 << 26  # of float64 rows that Matrix.blocks gives at a time
OF_THE_WHOLE = ("mean", "finite_mean", "maximum", "frobenius", "trace", "first_infinite")
OPEN_TILES = 128  # files at a time

Index = slice | NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix on disk, or a view of some of its rows and columns; reading is lazy.

    Args:
        path: Its file.
        distance: What its entries are.
        cap: What larger entries were stored as; None for no cap.
        rows: Its rows, as a table with ``name``, ``key`` and ``reference``.
        cols: Its columns.
        symmetric: Whether it equals its transpose, bit by bit.
        samples: Samples that the entries are means over.
        classes: Classes of the predictions.
        infinite: Number of infinite entries of the whole matrix before any cap, in a symmetric one each pair once.
        row_means: Means of its rows; None for a view.
        col_means: Means of its columns; None for a view.
        attributes: All that the file says. ``mean`` (of all entries), ``frobenius``, ``trace``, ``finite_mean`` and
            ``maximum`` (of the finite entries; of a symmetric matrix without its diagonal) are those of the whole
            matrix, and not there for a view.
        grid: How it is cut, if it lies in tiles.
        folder: Where those are.
        row_index: Which rows of the file these are; None for all.
        col_index: Which columns of the file these are; None for all.
    """

    path: Path
    distance: str
    cap: float | None
    rows: Table
    cols: Table
    symmetric: bool
    samples: int
    classes: int
    infinite: int
    row_means: NDArray[np.float64] | None
    col_means: NDArray[np.float64] | None
    attributes: dict[str, Any]
    grid: Grid
    folder: TileFolder
    row_index: NDArray[np.int64] | None = None
    col_index: NDArray[np.int64] | None = None

    @classmethod
    def open(cls, path: Path) -> "Matrix":
        """Read what a matrix says of itself, none of its values.

        Raises:
            DataError: If the file is missing, no HDF5 file, no matrix, damaged, or of a newer version.
        """
        path = Path(path)
        with open_hdf5(path, KIND, SCHEMA, also=(TRAJECTORIES,)) as file:
            found = {name: plain(value) for name, value in file.attrs.items()}
            try:
                symmetric, shape = bool(found["symmetric"]), file[VALUES].shape
                rows = Table.read(file["rows"])
                row_means = file["row_means"][()]
                matrix = cls(
                    path=path,
                    distance=str(found["distance"]),
                    cap=found.get("cap"),
                    rows=rows,
                    cols=rows if symmetric else Table.read(file["cols"]),
                    symmetric=symmetric,
                    samples=int(found["samples"]),
                    classes=int(found["classes"]),
                    infinite=int(found["infinite"]),
                    row_means=row_means,
                    col_means=row_means if symmetric else file["col_means"][()],
                    attributes=found,
                    grid=Grid(shape[0], shape[1], int(found.get("tile", 1)), symmetric),
                    folder=TileFolder(path, found.get("tiles")),
                )
            except (KeyError, OSError, ValueError, TypeError) as error:
                raise DataError(f"{path} is damaged: {error}") from error
        if shape != matrix.shape:
            raise DataError(f"{path} is damaged: {shape} values, but {matrix.shape} rows and columns")
        return matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.cols)

    @property
    def tiled(self) -> bool:
        """Whether the values lie in tile files."""
        return "tiles" in self.attributes

    @property
    def identity(self) -> dict[str, Any]:
        """All that the values depend on."""
        document = json.loads(self.attributes.get("identity_document", "{}"))
        return document if isinstance(document, dict) else {}

    def infinite_pair(self) -> tuple[str, str] | None:
        """The names of the first row and column that are infinitely far apart, before any cap; None if there are none.

        Cost: none for the whole matrix; for a view, a pass over it in which capped entries count as finite.
        """
        if "first_infinite" in self.attributes:
            row, col = (int(n) for n in self.attributes["first_infinite"])
            return None if row < 0 else (row_name(self.rows, row), row_name(self.cols, col))
        for start, block in self.blocks():
            found = np.argwhere(np.isinf(block))
            if len(found):
                return row_name(self.rows, start + int(found[0, 0])), row_name(self.cols, int(found[0, 1]))
        return None

    def select(self, index: NDArray[np.int64]) -> "Matrix":
        """Some rows and the same columns of a symmetric matrix, in the order given; nothing is read.

        Raises:
            UsageError: If the matrix is not symmetric, or nothing is selected.
        """
        if not self.symmetric:
            raise UsageError(f"{self.path} is between two sets of models: rows and columns are not the same")
        index = np.arange(len(self.rows))[np.asarray(index)]  # checks the bounds, counts negative ones from the end
        if not len(index):
            raise UsageError(f"no model of {self.path} is left")
        table = self.rows.take(index)
        chosen = index if self.row_index is None else self.row_index[index]
        known = {key: value for key, value in self.attributes.items() if key not in OF_THE_WHOLE}
        return replace(
            self, rows=table, cols=table, row_index=chosen, col_index=chosen, row_means=None, col_means=None,
            attributes=known,
        )  # fmt: skip

    def where(self, expression: str | None) -> "Matrix":
        """The models of a symmetric matrix that fulfil a condition on their table; reference models stay.

        Raises:
            UsageError: If no model does, or it is no condition.
        """
        if expression is None:
            return self
        models = self.rows.column(REFERENCE) == ""
        taken = self.rows.where(expression) & models
        if not taken.any():
            raise UsageError(
                f"no model of {self.path} fulfils: {expression}", "its columns are " + ", ".join(self.rows.columns)
            )
        return self.select(np.flatnonzero(taken | ~models))

    def read(self, rows: Index = None, cols: Index = None) -> NDArray[np.float64]:
        """Values of some rows and columns, by default all, in float64.

        Raises:
            DataError: If a tile is missing, truncated or damaged; it is named.
        """
        with _Values(self) as values:
            return values.read(
                _on_disk(rows, self.row_index, len(self.rows)), _on_disk(cols, self.col_index, len(self.cols))
            )

    def blocks(self, rows: int | None = None) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Whole rows, block by block in order, each with the number of its first row.

        Args:
            rows: Rows of a block; by default as many as 64 MiB of float64 hold.

        Raises:
            DataError: If a tile is missing, truncated or damaged; it is named.
        """
        step = rows or max(1, BLOCK_BYTES // (8 * len(self.cols)))
        cols = _on_disk(None, self.col_index, len(self.cols))
        with _Values(self) as values:
            for start in range(0, len(self.rows), step):
                taken = slice(start, min(start + step, len(self.rows)))
                yield start, values.read(_on_disk(taken, self.row_index, len(self.rows)), cols)

    def check(self) -> None:
        """See that every tile is there and whole, by their headers.

        Raises:
            DataError: If a tile is missing, truncated or damaged; it is named.
        """
        if self.tiled:
            for i, j in self.grid.tiles():
                with self.opened(i, j):
                    pass

    def opened(self, i: int, j: int) -> contextlib.AbstractContextManager["h5py.File"]:
        """Open a tile; see :meth:`landscape_cli.store.tiles.TileFolder.opened`."""
        command = self.attributes.get("command") or "the command that made the matrix"
        hint = f"give it again, and only what is missing is computed: {command}"
        return self.folder.opened(i, j, str(self.attributes["identity"]), self.grid, hint)

    def size(self) -> int:
        """Bytes on disk, tiles included."""
        files = [self.path, *(self.folder.path.glob("tile-*.h5") if self.tiled else ())]
        return sum(file.stat().st_size for file in files)


class _Values:
    """The values of a matrix while its files are open."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.whole: h5py.Dataset | None = None
        self._tiles: dict[tuple[int, int], tuple[h5py.File, ExitStack]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "_Values":
        if not self.matrix.tiled:
            self.whole = self._stack.enter_context(open_hdf5(self.matrix.path))[VALUES]
        return self

    def __exit__(self, *reason: object) -> None:
        for _, stack in self._tiles.values():
            stack.close()
        self._stack.close()

    def read(self, rows: slice | NDArray[np.int64], cols: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Values at rows and columns of the file; scattered ones are picked from the rectangles they lie in."""
        if isinstance(rows, slice) and isinstance(cols, slice):
            return self._rectangle(rows, cols)
        down, wide = _positions(rows), _hull(cols)
        across = _positions(cols) - wide.start
        out = np.empty((len(down), len(across)), dtype=np.float64)
        height = max(1, BLOCK_BYTES // (8 * max(wide.stop - wide.start, 1)))
        height = min(height, self.matrix.grid.tile) if self.matrix.tiled else height
        order = np.argsort(down, kind="stable")
        edges = np.flatnonzero(np.diff(down[order] // height)) + 1
        for group in np.split(order, edges):
            if len(group):
                tall = _hull(down[group])
                out[group] = self._rectangle(tall, wide)[np.ix_(down[group] - tall.start, across)]
        return out

    def _rectangle(self, rows: slice, cols: slice) -> NDArray[np.float64]:
        out = np.empty((rows.stop - rows.start, cols.stop - cols.start), dtype=np.float64)
        if not out.size:
            return out
        if self.whole is not None:
            _fill(out, self.whole, rows, cols)
            return out
        grid = self.matrix.grid
        for i in range(rows.start // grid.tile, -(-rows.stop // grid.tile)):
            down = _overlap(rows, grid.row_span(i))
            for j in range(cols.start // grid.tile, -(-cols.stop // grid.tile)):
                across = _overlap(cols, grid.col_span(j))
                mirrored = self.matrix.symmetric and i > j
                block = self._tile(j, i)[TRANSPOSED] if mirrored else self._tile(i, j)[BLOCK]
                part = out[_shifted(down, -rows.start), _shifted(across, -cols.start)]
                _fill(part, block, _shifted(down, -i * grid.tile), _shifted(across, -j * grid.tile))
        return out

    def _tile(self, i: int, j: int) -> "h5py.File":
        if (i, j) not in self._tiles:
            while len(self._tiles) >= OPEN_TILES:
                self._tiles.pop(next(iter(self._tiles)))[1].close()
            stack = ExitStack()
            self._tiles[i, j] = (stack.enter_context(self.matrix.opened(i, j)), stack)
        return self._tiles[i, j][0]


def _fill(out: NDArray[np.float64], source: "h5py.Dataset", rows: slice, cols: slice) -> None:
    """Read a rectangle, some rows at a time: what is stored in float32 lies beside it only in part."""
    for start, stop in strips(*out.shape):
        out[start:stop] = source[rows.start + start : rows.start + stop, cols]


def row_name(table: Table, row: int) -> str:
    """What a row is called."""
    return str(table.column("name")[row])


def _on_disk(asked: Index, own: NDArray[np.int64] | None, length: int) -> slice | NDArray[np.int64]:
    """Positions in the file, from those asked for and those of the view."""
    if asked is None or isinstance(asked, slice):
        start, stop, step = (asked or slice(None)).indices(length)
        if step == 1 and own is None:
            return slice(start, max(start, stop))
    chosen = np.arange(length)[slice(None) if asked is None else asked]  # checks the bounds
    return chosen if own is None else own[chosen]


def _positions(index: slice | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(index.start, index.stop) if isinstance(index, slice) else index


def _hull(index: slice | NDArray[np.int64]) -> slice:
    """The shortest run that holds all of the positions."""
    if isinstance(index, slice):
        return index
    return slice(int(index.min()), int(index.max()) + 1) if len(index) else slice(0, 0)


def _overlap(one: slice, other: slice) -> slice:
    return slice(max(one.start, other.start), min(one.stop, other.stop))


def _shifted(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)
