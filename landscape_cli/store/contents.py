"""What an HDF5 file holds, told at once: its attributes and the shapes of its arrays, none of which is read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape_cli.store.hdf5 import open_hdf5
from landscape_cli.store.prediction_format import KIND as PREDICTIONS
from landscape_cli.store.prediction_format import rounding_summary

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".h5", ".hdf5")
KINDS = (PREDICTIONS, "distances", "embedding", "trajectories", "clusters")  # records that name such a file
LONG = 2000  # characters: longer texts are kept for programs


def describe_hdf5(path: Path) -> dict[str, Any]:
    """An HDF5 file as a record: its ``kind``, what its attributes say, its arrays' shapes, its tables' columns.

    Attributes that hold a JSON object called ``description`` count as attributes themselves. A file of other people
    has the kind ``hdf5``.

    Raises:
        DataError: If it is missing or no HDF5.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        found = {name: _plain(value) for name, value in file.attrs.items()}
        description = found.pop("description", None)
        if isinstance(description, dict):
            found |= description
        record: dict[str, Any] = {"kind": str(found.pop("kind", "hdf5")), "path": str(path)}
        if record["kind"] == PREDICTIONS:
            record |= _predictions(file)
        record |= {name: value for name, value in found.items() if value is not None and name not in record}
        record["arrays"] = {name: list(item.shape) for name, item in file.items() if hasattr(item, "shape")}
        tables = {name: item for name, item in file.items() if "order" in item.attrs}
        record |= {f"{name}_columns": [str(column) for column in item.attrs["order"]] for name, item in tables.items()}
    return record | {"bytes": path.stat().st_size}


def _predictions(file: "h5py.File") -> dict[str, Any]:
    """How many models there are; what is planned and not finished yet is told apart."""
    if not {"log_probs", "finished"} <= set(file):
        return {}
    planned, samples, classes = file["log_probs"].shape
    finished = np.asarray(file["finished"][()], dtype=bool)
    record = {"models": int(finished.sum()), "unfinished": planned - int(finished.sum()) or None}
    record |= {"samples": samples, "classes": classes, "compression": file["log_probs"].compression or "none"}
    if "rounding" in file:
        record["float16_error"] = rounding_summary(np.asarray(file["rounding"][()], dtype=np.float64)[finished])
    return record


def _plain(value: Any) -> Any:
    """An attribute as a plain value; None for what is too long to be told."""
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= LONG // 10 else None
    if isinstance(value, np.generic):
        return value.item()
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return str(text)
    if text.startswith("{"):
        try:
            return json.loads(text) if len(text) <= LONG else None
        except json.JSONDecodeError:
            return text
    return text if len(text) <= LONG else None
