"""Writing matrices: from finished tiles, or from memory."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError
from landscape_cli.store.hdf5 import creating, open_hdf5
from landscape_cli.store.matrices import KIND, SCHEMA, VALUES
from landscape_cli.store.tables import Table
from landscape_cli.store.tiles import BLOCK, TRANSPOSED, Grid, StoredType, Tally, TileFolder, TileSums, strips

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class MatrixHead:
    """What a matrix says of itself.

    Args:
        distance: What its entries are.
        rows: Its rows.
        cols: Its columns.
        symmetric: Whether rows and columns are the same and the matrix equals its transpose.
        samples: Samples that the entries are means over.
        classes: Classes of the predictions.
        cap: Larger entries were stored as this; None for no cap.
        split: Part of the data set that the samples are of.
        data: The data set.
        fingerprint: Of the data set.
        identity: All that the values depend on, as JSON can hold it.
        command: The command that makes the matrix.
        notes: Further attributes, as numbers and texts.
    """

    distance: str
    rows: Table
    cols: Table
    symmetric: bool
    samples: int
    classes: int
    cap: float | None = None
    split: str = ""
    data: str = ""
    fingerprint: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


def assemble(path: Path, head: MatrixHead, identity: str, grid: Grid, dtype: StoredType, *, merge_bytes: int) -> None:
    """Make the file of a matrix from its finished tiles: with their values if it is small, else over the tiles.

    Row means, mean, Frobenius norm and trace come from sums that were stored with each tile.

    Args:
        path: The file.
        head: What it says of itself.
        identity: The hash that its tiles carry.
        grid: How it is cut.
        dtype: How values are stored.
        merge_bytes: Up to this size the values are copied and the tiles deleted.

    Raises:
        DataError: If a tile is missing or damaged; it is named.
        StorageError: If the disk is full or the place cannot be written; the tiles are kept.
    """
    folder = TileFolder(path)
    shape = (grid.rows, grid.cols)
    merged = grid.rows * grid.cols * np.dtype(dtype).itemsize <= merge_bytes
    totals = _Totals(grid)
    with creating(path) as file:
        if merged:
            values = file.create_dataset(VALUES, shape, dtype=dtype, track_times=False)
            for i, j in grid.tiles():
                rows, cols = grid.row_span(i), grid.col_span(j)
                totals.add(i, j, folder.sums(i, j, identity, grid))
                with folder.opened(i, j, identity, grid) as tile:
                    _copy(tile[BLOCK], values, rows, cols)
                    if TRANSPOSED in tile:
                        _copy(tile[TRANSPOSED], values, cols, rows)
        else:
            for i, j in grid.tiles():
                totals.add(i, j, folder.sums(i, j, identity, grid))
            _write_virtual(file, folder, grid, dtype)
            file.attrs.update({"tiles": folder.path.name, "tile": grid.tile})
        _write_head(file, head, identity, totals)
    if merged:
        folder.remove()


def _copy(source: "h5py.Dataset", target: "h5py.Dataset", rows: slice, cols: slice) -> None:
    for start, stop in strips(*source.shape):
        target[rows.start + start : rows.start + stop, cols] = source[start:stop]


def _write_virtual(file: "h5py.File", folder: TileFolder, grid: Grid, dtype: StoredType) -> None:
    import h5py

    layout = h5py.VirtualLayout((grid.rows, grid.cols), dtype=dtype)
    for i, j in grid.tiles():
        rows, cols, shape = grid.row_span(i), grid.col_span(j), grid.shape(i, j)
        name = f"{folder.path.name}/{folder.file(i, j).name}"
        layout[rows, cols] = h5py.VirtualSource(name, BLOCK, shape, dtype=dtype)
        if grid.symmetric and i != j:
            layout[cols, rows] = h5py.VirtualSource(name, TRANSPOSED, shape[::-1], dtype=dtype)
    file.create_virtual_dataset(VALUES, layout, fillvalue=np.nan)


def write_matrix(
    path: Path,
    values: NDArray[Any],
    head: MatrixHead,
    *,
    dtype: StoredType = "float64",
    also: Callable[["h5py.File"], None] = lambda file: None,
) -> None:
    """Write a matrix that is in memory, atomically. Infinite entries are counted; ``head.cap`` is applied.

    Args:
        path: The file.
        values: The matrix.
        head: What it says of itself.
        dtype: How values are stored.
        also: Writes what else the file holds; called last.

    Raises:
        DataError: If its shape is not that of the tables, or it is not as symmetric as it should be.
        StorageError: If the disk is full or the place cannot be written; the old file is whole.
    """
    if values.shape != (len(head.rows), len(head.cols)):
        raise DataError(f"a matrix of {values.shape} has {len(head.rows)} rows and {len(head.cols)} columns")
    if head.symmetric and not np.array_equal(values, values.T):
        raise DataError("the matrix does not equal its transpose")
    grid = Grid(*values.shape, max(values.shape), head.symmetric)
    totals = _Totals(grid)
    tally = Tally(*values.shape, (0, 0), diagonal=head.symmetric)
    with creating(path) as file:
        dataset = file.create_dataset(VALUES, values.shape, dtype=dtype, track_times=False)
        for start, stop in strips(*values.shape):
            dataset[start:stop] = tally.add(start, values[start:stop].astype(np.float64), dtype, head.cap)
        totals.add(0, 0, tally.sums())
        _write_head(file, head, identity_hash(head.identity), totals)
        also(file)


def rename(path: Path, rows: Table, cols: Table | None) -> None:
    """Give a matrix other tables of the same rows and columns; its values are copied.

    Args:
        path: The file.
        rows: Its rows.
        cols: Its columns; None for a symmetric one.

    Raises:
        DataError: If it is no matrix.
        StorageError: If the disk is full; the old file is whole.
    """
    with open_hdf5(path, KIND, SCHEMA) as old, creating(path) as new:
        new.attrs.update(old.attrs)
        for name in old:
            if name not in ("rows", "cols"):
                old.copy(name, new)
        _write_tables(new, rows, cols)


def identity_hash(document: dict[str, Any]) -> str:
    """The hash of an identity.

    >>> identity_hash({"a": 1, "b": 2}) == identity_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()


class _Totals:
    """Adds the sums of tiles up to those of the matrix."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.row_sums = np.zeros(grid.rows)
        self.col_sums = np.zeros(grid.cols)
        self.squares = self.trace = self.total = 0.0
        self.maximum = -np.inf
        self.infinite = 0
        self.first_infinite = (-1, -1)

    def add(self, i: int, j: int, tile: TileSums) -> None:
        rows, cols = self._grid.row_span(i), self._grid.col_span(j)
        mirrored = self._grid.symmetric and i != j
        # Pairs are counted once: a tile on the diagonal holds each of its own twice.
        share = 0.5 if self._grid.symmetric and i == j else 1.0
        self.row_sums[rows] += tile.row_sums
        self.col_sums[cols] += tile.col_sums
        if mirrored:
            self.row_sums[cols] += tile.col_sums
            self.col_sums[rows] += tile.row_sums
        self.squares += (2 if mirrored else 1) * tile.squares
        self.trace += tile.trace
        self.total += share * (tile.total - tile.trace)
        self.infinite += round(share * tile.infinite)
        self.maximum = max(self.maximum, tile.maximum)
        if tile.infinite and (self.first_infinite[0] < 0 or tile.first_infinite < self.first_infinite):
            self.first_infinite = tile.first_infinite

    def attributes(self, cap: float | None) -> dict[str, Any]:
        rows, cols = self._grid.rows, self._grid.cols
        pairs = rows * (rows - 1) // 2 if self._grid.symmetric else rows * cols
        finite = pairs - (self.infinite if cap is None else 0)
        return {
            "infinite": self.infinite,
            "first_infinite": self.first_infinite,
            "mean": float(self.row_sums.sum()) / (rows * cols),
            "frobenius": float(np.sqrt(self.squares)),
            "trace": self.trace,
            "finite_mean": self.total / finite if finite else float("nan"),
            "maximum": self.maximum if finite else float("nan"),
        }


def _write_head(file: "h5py.File", head: MatrixHead, identity: str, totals: _Totals) -> None:
    _write_tables(file, head.rows, None if head.symmetric else head.cols)
    file.create_dataset("row_means", data=totals.row_sums / len(head.cols), track_times=False)
    if not head.symmetric:
        file.create_dataset("col_means", data=totals.col_sums / len(head.rows), track_times=False)
    attributes: dict[str, Any] = {
        "kind": KIND, "schema": SCHEMA, "distance": head.distance, "symmetric": head.symmetric,
        "samples": head.samples, "classes": head.classes, "split": head.split, "data": head.data,
        "fingerprint": head.fingerprint, "identity": identity, "command": head.command, **head.notes,
        **totals.attributes(head.cap),
    }  # fmt: skip
    if head.cap is not None:
        attributes["cap"] = head.cap
    file.attrs.update(attributes)
    file.attrs["identity_document"] = json.dumps(head.identity, sort_keys=True)


def _write_tables(file: "h5py.File", rows: Table, cols: Table | None) -> None:
    rows.write(file.create_group("rows"))
    if cols is None:
        file["cols"] = file["rows"]
    else:
        cols.write(file.create_group("cols"))
