"""Trajectories on disk: the matrix of their distances, and what was measured along each of them.

A file of trajectories is a matrix file (see :mod:`landscape_cli.store.matrices`) whose rows are runs, with the kind
``trajectories`` and two more tables: ``points``, one row for every run and value of the index that it has, and
``averages``, one row for every group of runs and value of the index.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError
from landscape_cli.store.hdf5 import open_hdf5
from landscape_cli.store.matrices import TRAJECTORIES, Matrix
from landscape_cli.store.matrix_writing import MatrixHead, write_matrix
from landscape_cli.store.tables import Table

if TYPE_CHECKING:
    import h5py

KIND = TRAJECTORIES
SCHEMA = 1
TABLES = ("points", "averages")


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Trajectories as they are stored.

    Args:
        path: The file.
        matrix: Their distances; its ``rows`` say what each run is and how far it got.
        points: One row a run and value of the index.
        averages: One row a group and value of the index, with the number of runs it is an average over.
    """

    path: Path
    matrix: Matrix
    points: Table
    averages: Table

    @classmethod
    def open(cls, path: Path) -> "Trajectories":
        """Read all but the distances.

        Raises:
            DataError: If the file is missing, no HDF5 file, of another kind or a later version, or damaged.
        """
        path = Path(path)
        with open_hdf5(path, KIND, SCHEMA) as file:
            try:
                points, averages = (Table.read(file[name]) for name in TABLES)
            except KeyError as error:
                raise DataError(f"{path} is damaged: {error}") from error
        return cls(path, Matrix.open(path), points, averages)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file says of itself."""
        return self.matrix.attributes


def write_trajectories(
    path: Path, distances: NDArray[np.float64], head: MatrixHead, *, points: Table, averages: Table
) -> None:
    """Write trajectories, atomically.

    Raises:
        StorageError: If the disk is full or the place cannot be written; the old file is whole.
    """
    also: Callable[[h5py.File], None] = lambda file: _write_tables(file, {"points": points, "averages": averages})  # noqa: E731
    write_matrix(path, distances, head, also=also)


def _write_tables(file: "h5py.File", tables: dict[str, Table]) -> None:
    for name, table in tables.items():
        table.write(file.create_group(name))
    file.attrs.update({"kind": KIND, "schema": SCHEMA})
