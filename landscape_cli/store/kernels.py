"""Tangent kernels on disk: one checkpoint's while a job is at work, or all of a job's in one file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from landscape_cli.errors import DataError
from landscape_cli.store.hdf5 import creating, open_hdf5
from landscape_cli.store.tables import Table

KIND = "kernels"
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class StoredKernel:
    """A kernel and the parts of its layers.

    Args:
        values: ``(row, row)``.
        layers: By name; empty if they were not kept.
    """

    values: NDArray[Any]
    layers: dict[str, NDArray[Any]]


def write_kernel(path: Path, kernel: StoredKernel, identity: Mapping[str, Any]) -> None:
    """Keep one kernel, atomically.

    Raises:
        StorageError: If the disk is full or the place cannot be written.
    """
    with creating(path) as file:
        file.attrs.update({"kind": "kernel", "schema": SCHEMA, "identity": json.dumps(identity, sort_keys=True)})
        file.create_dataset("values", data=kernel.values, track_times=False)
        for number, (name, part) in enumerate(kernel.layers.items()):
            dataset = file.create_dataset(f"layers/{number:04d}", data=part, track_times=False)
            dataset.attrs["name"] = name


def read_kernel(path: Path, identity: Mapping[str, Any]) -> StoredKernel | None:
    """A kept kernel; None if it is not there, damaged, or of something else."""
    try:
        with open_hdf5(path, "kernel", SCHEMA) as file:
            if file.attrs["identity"] != json.dumps(identity, sort_keys=True):
                return None
            layers = file.get("layers", {})
            return StoredKernel(
                file["values"][()], {str(part.attrs["name"]): part[()] for part in (layers[key] for key in layers)}
            )
    except (DataError, OSError, KeyError):
        return None


def save_kernels(path: Path, rows: Table, kernels: Iterator[StoredKernel], attributes: Mapping[str, Any]) -> None:
    """Write the kernels of several checkpoints into one file, one after another, atomically.

    ``values (checkpoint, row, row)``, the table ``rows``, and ``layers/<number> (checkpoint, row, row)`` with the
    attribute ``name`` where all checkpoints have the same layers.

    Raises:
        StorageError: If the disk is full or the place cannot be written.
    """
    with creating(path) as file:
        file.attrs.update({"kind": KIND, "schema": SCHEMA, **attributes})
        rows.write(file.create_group("rows"))
        names: list[str] | None = None
        for number, kernel in enumerate(kernels):
            if names is None:
                names = list(kernel.layers)
                shape = (len(rows), *kernel.values.shape)
                places = ["values", *(f"layers/{n:04d}" for n in range(len(names)))]
                for place in places:
                    file.create_dataset(place, shape, dtype=kernel.values.dtype, track_times=False)
                for place, name in zip(places[1:], names, strict=True):
                    file[place].attrs["name"] = name
            if names and names != list(kernel.layers):
                del file["layers"]
                names = []
            file["values"][number] = kernel.values
            for n, name in enumerate(names):
                file[f"layers/{n:04d}"][number] = kernel.layers[name]
