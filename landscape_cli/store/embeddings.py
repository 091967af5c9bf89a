"""Embeddings on disk: coordinates of models, how much of the distances they explain, and what adding models needs.

An HDF5 file with ``coordinates (model, dim)``, ``eigenvalues``, ``signature``, ``explained_stress`` and the like
``(dim)``, ``row_means`` and ``weights (model)``, the table ``rows``, and attributes. Distances are not kept. The column
``placed`` of the table says how a model came by its coordinates: ``embedded`` (it shaped the embedding), ``added`` (it
was put into it afterwards, by its distances to those), ``test`` (likewise, by distances on other samples).
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError
from landscape_cli.store.hdf5 import creating, open_hdf5
from landscape_cli.store.tables import Table

if TYPE_CHECKING:
    import h5py

KIND = "embedding"
SCHEMA = 1
EMBEDDED, ADDED, TEST = "embedded", "added", "test"
PLACED = "placed"

Array = NDArray[np.float64]

_ARRAYS = ("coordinates", "eigenvalues", "signature", "explained_stress", "residuals", "row_means", "weights")
_OPTIONAL = ("explained_l1", "explained_l2", "frame_coordinates", "test_explained_l1", "test_explained_l2")
_NUMBERS = {"norm": float, "trace": float, "mean": float, "samples": int, "classes": int, "passes": int}
_TEXTS = ("method", "distance", "solver", "command")
_DOCUMENTS = ("source", "settings")


@dataclass(frozen=True, eq=False)
class Overlay:
    """Coordinates laid over another embedding.

    Args:
        onto: What they were laid over.
        coordinates: Of all models, moved; as many dimensions as were compared.
        rmsd: Root mean square deviation over the models of both.
        models: How many models are in both.
        rotation: Orthogonal matrix.
        translation: Vector.
        scale: Factor; 1 unless a change of size was allowed.
    """

    onto: str
    coordinates: Array
    rmsd: float
    models: int
    rotation: Array
    translation: Array
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class ThreeCoordinates:
    """The embedding of ignorance, truth and two means, with all models added to it, laid over the full one.

    Args:
        overlay: Their coordinates over the full embedding, with the RMSD.
        own_coordinates: The same before they were laid over it.
        eigenvalues: Of the embedding of the four, with their signs.
        near: Progress values of the two means.
        sigma: Width of the two means.
        models_near: Effective number of models in each mean, ``1 / Σ a_w²``.
        explained_l1: Explained pairwise distances of the models in these coordinates, a value for each dimension.
        explained_l2: Likewise.
    """

    overlay: Overlay
    own_coordinates: Array
    eigenvalues: Array
    near: tuple[float, float]
    sigma: float
    models_near: tuple[float, float]
    explained_l1: Array
    explained_l2: Array

    def extended(self, rows: int) -> "ThreeCoordinates":
        """The same with rows for models that came later and have no coordinates in it."""
        new = rows - len(self.own_coordinates)
        own, moved = (
            np.pad(a, ((0, new), (0, 0)), constant_values=np.nan)
            for a in (self.own_coordinates, self.overlay.coordinates)
        )
        return replace(self, own_coordinates=own, overlay=replace(self.overlay, coordinates=moved))


@dataclass(frozen=True, eq=False)
class Embedding:
    """An embedding, as it is stored.

    Args:
        method: ``inpca``, ``iskl``, ``geodesic`` or ``pca``; or ``tsne``, which has no eigenvalues: what is of them or
            of W is NaN, and the settings hold its measures.
        distance: What it embeds.
        rows: The models, with ``key``, ``name``, ``reference`` and ``placed``.
        coordinates: ``(model, dim)``.
        eigenvalues: With their signs, by descending magnitude.
        signature: Their signs, 0 for a dimension without extent.
        explained_stress: In the first m dimensions, m = 1 … dim.
        residuals: ``‖W u − λ u‖ / |λ_1|`` of each dimension.
        row_means: Mean distance of each model to those that shaped the embedding.
        weights: Multiplicities; 0 for models that were added.
        norm: ``‖W‖_F``.
        trace: ``tr W``.
        mean: Mean of the row means.
        samples: Samples that the distances are means over.
        classes: Classes of the predictions.
        passes: How often the distances were read.
        converged: Whether the residuals are within the tolerance.
        solver: ``dense`` or ``krylov``.
        cap: What larger distances were taken as; None for no cap.
        explained_l1: Explained pairwise distances, L1, in the first m dimensions.
        explained_l2: Likewise, L2.
        frame_coordinates: Of the models that shaped the embedding, where they are shown elsewhere: by distances on more
            samples than it was fitted on.
        test_explained_l1: Explained pairwise distances of the test models among each other, L1, where there are any.
        test_explained_l2: Likewise, L2.
        source: Where the distances came from: path, kind, identity, selection, files of predictions.
        settings: All choices that the numbers depend on.
        command: The command that made it.
        overlay: The coordinates laid over another embedding.
        reading: The three-coordinate reading.
        path: The file, once it is one.
    """

    method: str
    distance: str
    rows: Table
    coordinates: Array
    eigenvalues: Array
    signature: Array
    explained_stress: Array
    residuals: Array
    row_means: Array
    weights: Array
    norm: float
    trace: float
    mean: float
    samples: int
    classes: int
    passes: int
    converged: bool
    solver: str
    cap: float | None = None
    explained_l1: Array | None = None
    explained_l2: Array | None = None
    frame_coordinates: Array | None = None
    test_explained_l1: Array | None = None
    test_explained_l2: Array | None = None
    source: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    overlay: Overlay | None = None
    reading: ThreeCoordinates | None = None
    path: Path | None = None

    @property
    def dims(self) -> int:
        """The number of dimensions."""
        return len(self.eigenvalues)

    @property
    def shaping(self) -> NDArray[np.int64]:
        """The rows of the models that shaped the embedding."""
        return np.flatnonzero(self.weights > 0)

    @property
    def models(self) -> NDArray[np.int64]:
        """The rows that are models, not references."""
        return np.flatnonzero(self.rows.column("reference") == "")

    @classmethod
    def open(cls, path: Path) -> "Embedding":
        """Read an embedding, all of it: it is small.

        Raises:
            DataError: If the file is missing, no HDF5 file, of another kind, of a later version of this program, or
                damaged.
        """
        path = Path(path)
        with open_hdf5(path, KIND, SCHEMA) as file:
            try:
                found: dict[str, Any] = {name: _array(file[name]) for name in _ARRAYS}
                found |= {name: _array(file[name]) for name in _OPTIONAL if name in file}
                found |= {name: kind(file.attrs[name]) for name, kind in _NUMBERS.items()}
                found |= {name: str(file.attrs[name]) for name in _TEXTS}
                found |= {name: json.loads(file.attrs[name]) for name in _DOCUMENTS}
                found |= {"rows": Table.read(file["rows"]), "converged": bool(file.attrs["converged"]), "path": path}
                found["cap"] = float(file.attrs["cap"]) if "cap" in file.attrs else None
                found["overlay"] = _read_overlay(file["overlay"]) if "overlay" in file else None
                found["reading"] = _read_reading(file["reading"]) if "reading" in file else None
            except (KeyError, OSError, ValueError, TypeError) as error:
                raise DataError(f"{path} is damaged: {error}", "make the embedding again") from error
        models, dims = found["coordinates"].shape
        if len(found["rows"]) != models or len(found["weights"]) != models or len(found["eigenvalues"]) != dims:
            raise DataError(f"{path} is damaged: its parts are of different sizes", "make the embedding again")
        return cls(**found)

    def write(self, path: Path) -> None:
        """Write the embedding, atomically.

        Raises:
            StorageError: If the disk is full or the place cannot be written; the old file is whole.
        """
        with creating(path) as file:
            file.attrs.update({"kind": KIND, "schema": SCHEMA, "converged": self.converged})
            for name in (*_ARRAYS, *_OPTIONAL):
                if (values := getattr(self, name)) is not None:
                    file.create_dataset(name, data=values, track_times=False)
            for name in (*_NUMBERS, *_TEXTS):
                file.attrs[name] = getattr(self, name)
            for name in _DOCUMENTS:
                file.attrs[name] = json.dumps(getattr(self, name), sort_keys=True)
            if self.cap is not None:
                file.attrs["cap"] = self.cap
            self.rows.write(file.create_group("rows"))
            if self.overlay is not None:
                _write_overlay(file.create_group("overlay"), self.overlay)
            if self.reading is not None:
                _write_reading(file.create_group("reading"), self.reading)


def _array(dataset: "h5py.Dataset") -> Array:
    return np.asarray(dataset[()], dtype=np.float64)


def _write_overlay(group: "h5py.Group", overlay: Overlay) -> None:
    for name in ("coordinates", "rotation", "translation"):
        group.create_dataset(name, data=getattr(overlay, name), track_times=False)
    for name in ("onto", "rmsd", "models", "scale"):
        group.attrs[name] = getattr(overlay, name)


def _read_overlay(group: "h5py.Group") -> Overlay:
    return Overlay(
        onto=str(group.attrs["onto"]),
        coordinates=_array(group["coordinates"]),
        rmsd=float(group.attrs["rmsd"]),
        models=int(group.attrs["models"]),
        rotation=_array(group["rotation"]),
        translation=_array(group["translation"]),
        scale=float(group.attrs["scale"]),
    )


def _write_reading(group: "h5py.Group", reading: ThreeCoordinates) -> None:
    _write_overlay(group.create_group("overlay"), reading.overlay)
    for name in ("own_coordinates", "eigenvalues", "explained_l1", "explained_l2"):
        group.create_dataset(name, data=getattr(reading, name), track_times=False)
    for name in ("near", "sigma", "models_near"):
        group.attrs[name] = getattr(reading, name)


def _read_reading(group: "h5py.Group") -> ThreeCoordinates:
    near, models_near = (tuple(map(float, group.attrs[name])) for name in ("near", "models_near"))
    return ThreeCoordinates(
        overlay=_read_overlay(group["overlay"]),
        own_coordinates=_array(group["own_coordinates"]),
        eigenvalues=_array(group["eigenvalues"]),
        near=(near[0], near[1]),
        sigma=float(group.attrs["sigma"]),
        models_near=(models_near[0], models_near[1]),
        explained_l1=_array(group["explained_l1"]),
        explained_l2=_array(group["explained_l2"]),
    )
