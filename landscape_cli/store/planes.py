"""Planes of weight space on disk: values on a lattice, the networks that span it, trajectories that cross it.

A plane is a set of arrays over one lattice, so it is one HDF5 file: ``x`` and ``y`` (dimension scales), ``measured
(row, column)``, ``values/<split>/<measure> (row, column)`` with NaN where nothing was measured, and the tables
``corners`` and ``trajectories``. Adaptive grids are sparse in the same arrays; NaN or infinite values where
``measured`` is true are what the network gave.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError
from landscape_cli.store.hdf5 import creating, open_hdf5
from landscape_cli.store.tables import Table

KIND = "plane"
SCHEMA = 1
JSON = ("identity", "record")  # attributes that are documents

Values = dict[str, dict[str, NDArray[np.float64]]]


@dataclass(frozen=True, eq=False)
class StoredPlane:
    """A measured plane.

    Args:
        x: Coordinates of the columns.
        y: Coordinates of the rows.
        measured: Which nodes were measured.
        values: ``(row, column)`` by split and measure: ``error``, ``loss``, ``disagreement``, ``distance``, and each
            with ``linearized_`` before it for the linearised network.
        corners: One row a network that spans the plane: ``role`` (A, B, C), ``name``, ``x``, ``y``, and its values as
            ``<split>_<measure>``.
        trajectories: One row a checkpoint: ``run``, ``name``, ``step``, ``epoch``, ``x``, ``y``, and ``off``, its
            distance off the plane.
        stride: Nodes of the lattice from one node of the first grid to the next.
        attributes: Everything else: ``units``, ``metric``, what the plane was measured with.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    measured: NDArray[np.bool_]
    values: Values
    corners: Table
    trajectories: Table
    stride: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        """The parts of the data it was measured on, train first."""
        return sorted(self.values, reverse=True)

    @classmethod
    def open(cls, path: Path) -> "StoredPlane":
        """Read a plane.

        Raises:
            DataError: If the file is missing, no HDF5 file, of another kind or a later version, or damaged.
        """
        with open_hdf5(path, KIND, SCHEMA) as file:
            try:
                attributes = {
                    name: json.loads(value) if name in JSON else value
                    for name, value in file.attrs.items()
                    if name not in ("kind", "schema", "stride")
                }
                return cls(
                    file["x"][()],
                    file["y"][()],
                    file["measured"][()].astype(bool),
                    {s: {m: part[m][()] for m in part} for s, part in file["values"].items()},
                    Table.read(file["corners"]),
                    Table.read(file["trajectories"]),
                    int(file.attrs["stride"]),
                    attributes,
                )
            except (KeyError, OSError, ValueError) as error:
                raise DataError(f"{path} is damaged: {error}", "make it again with 'landscape plane'") from error

    def write(self, path: Path) -> None:
        """Write the plane, atomically; the same plane is the same file.

        Raises:
            StorageError: If the disk is full or the place cannot be written.
        """
        with creating(path) as file:
            documents = {n: json.dumps(v, sort_keys=True) if n in JSON else v for n, v in self.attributes.items()}
            file.attrs.update({"kind": KIND, "schema": SCHEMA, "stride": self.stride, **documents})
            for name, axis in (("x", self.x), ("y", self.y)):
                file.create_dataset(name, data=axis, track_times=False).make_scale(name)
            arrays: dict[str, NDArray[Any]] = {"measured": self.measured}
            arrays |= {f"values/{s}/{m}": array for s, part in self.values.items() for m, array in part.items()}
            for name, array in arrays.items():
                dataset = file.create_dataset(name, data=array, track_times=False, compression="gzip")
                dataset.dims[0].attach_scale(file["y"])
                dataset.dims[1].attach_scale(file["x"])
            self.corners.write(file.create_group("corners"))
            self.trajectories.write(file.create_group("trajectories"))
