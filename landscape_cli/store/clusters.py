"""Clusterings on disk: the tree, the order of its leaves, their cut, and the importance of factors.

An HDF5 file of kind ``clusters`` with ``linkage (merge, 4)`` as scipy has it, ``order (item)``, the table ``rows`` (one
row an item: its name, its configuration, and its ``cluster`` where the tree was cut), the table ``importance`` (one row
a factor, empty where it was not measured), and attributes.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError
from landscape_cli.store.hdf5 import creating, open_hdf5
from landscape_cli.store.tables import Table

KIND = "clusters"
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Clusters:
    """A clustering as it is stored.

    Args:
        linkage: One row a merge: the two clusters (items first, then merges), their distance, their number of items.
        order: The items as they stand below the tree.
        rows: One row an item, with ``name``.
        importance: One row a factor: ``factor``, ``importance``, ``std``.
        method: The linkage rule.
        distance: What the heights are.
        cophenetic: Correlation of heights and distances.
        settings: All that the numbers depend on, as JSON can hold it.
        explained: R² of the forests on held-out pairs, one a repeat.
        attributes: What else the file says of itself.
        path: The file; None before it is written.
    """

    linkage: NDArray[np.float64]
    order: NDArray[np.int64]
    rows: Table
    importance: Table
    method: str
    distance: str
    cophenetic: float
    settings: dict[str, Any] = field(default_factory=dict)
    explained: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    attributes: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def labels(self) -> list[str]:
        """The names of the items."""
        return [str(name) for name in self.rows.column("name")]

    @classmethod
    def open(cls, path: Path) -> "Clusters":
        """Read a clustering.

        Raises:
            DataError: If the file is missing, no HDF5 file, of another kind or a later version, or damaged.
        """
        path = Path(path)
        with open_hdf5(path, KIND, SCHEMA) as file:
            try:
                found = json.loads(file.attrs["description"])
                read = cls(
                    linkage=np.asarray(file["linkage"][()], dtype=np.float64),
                    order=np.asarray(file["order"][()], dtype=np.int64),
                    rows=Table.read(file["rows"]),
                    importance=Table.read(file["importance"]),
                    method=str(found.pop("method")),
                    distance=str(found.pop("distance")),
                    cophenetic=float(file.attrs["cophenetic"]),
                    settings=found.pop("settings"),
                    explained=np.asarray(file["explained"][()], dtype=np.float64),
                    attributes=found,
                    path=path,
                )
            except (KeyError, ValueError, OSError) as error:
                raise DataError(f"{path} is damaged: {error}") from error
        if len(read.rows) != len(read.order) or read.linkage.shape != (len(read.order) - 1, 4):
            raise DataError(f"{path} is damaged: its parts are of different sizes")
        return read

    def write(self, path: Path) -> None:
        """Write it, atomically.

        Raises:
            StorageError: If the disk is full or the place cannot be written; the old file is whole.
        """
        described = {"method": self.method, "distance": self.distance, "settings": self.settings, **self.attributes}
        with creating(path) as file:
            for name, values in (("linkage", self.linkage), ("order", self.order), ("explained", self.explained)):
                file.create_dataset(name, data=values, track_times=False)
            self.rows.write(file.create_group("rows"))
            self.importance.write(file.create_group("importance"))
            file.attrs.update({"kind": KIND, "schema": SCHEMA, "cophenetic": self.cophenetic})
            file.attrs["description"] = json.dumps(described, sort_keys=True)
