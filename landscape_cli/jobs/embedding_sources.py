"""Where the models of an embedding come from: their files, and the predictions behind them."""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.distances import DistanceSettings
from landscape_cli.jobs.embedding import distance_of
from landscape_cli.jobs.model_rows import open_models
from landscape_cli.store.embeddings import Embedding
from landscape_cli.store.hdf5 import open_hdf5
from landscape_cli.store.matrices import TRAJECTORIES, Matrix
from landscape_cli.store.predictions import Predictions

KINDS = ("predictions", "distances", "embedding")
MATRICES = ("distances", TRAJECTORIES)  # a file of trajectories is a matrix of their distances, and more

Given = Predictions | Matrix | Embedding


def kind_of(path: Path) -> str:
    """What an HDF5 file of this toolkit holds: predictions, distances (of models or trajectories), or an embedding.

    Raises:
        DataError: If it is missing, no HDF5 file, or none of them.
    """
    with open_hdf5(path) as file:
        kind = str(file.attrs.get("kind", ""))
    kind = "distances" if kind in MATRICES else kind
    if kind not in KINDS:
        raise DataError(f"{path} holds no predictions, distances or embedding", "landscape predict makes predictions")
    return kind


def opened(path: Path) -> Given:
    """A file of predictions, distances or an embedding, as what it is.

    Raises:
        DataError: If it is missing, damaged, or none of them.
    """
    kind = kind_of(path)
    if kind == "predictions":
        return Predictions.open(path)
    return Matrix.open(path) if kind == "distances" else Embedding.open(path)


def identity_of(given: Given) -> Any:
    """What changes, as JSON, when the numbers in a file do."""
    if isinstance(given, Predictions):
        return given.identity()
    return given.attributes["identity"] if isinstance(given, Matrix) else given.settings


def described(
    given: Predictions | Matrix, out: Path, *, settings: DistanceSettings, seed: int, predictions: Path | None
) -> dict[str, Any]:
    """Where the distances of an embedding came from, as it is stored with it; paths as seen from its own folder.

    Args:
        given: What was embedded.
        out: The file of the embedding.
        settings: The distances, where they were computed on the way.
        seed: Of the subset of samples, if there is one.
        predictions: Where a person says that the predictions behind a matrix are.
    """
    source: dict[str, Any] = {"path": relative(given.path, out), "samples": given.samples, "seed": seed}
    if isinstance(given, Predictions):
        source |= {"kind": "predictions", "predictions": relative(given.path, out)}
        return source | {"sample_hash": given.identity()["sample_hash"], "distances": asdict(settings)}
    identity = given.identity
    told = given.attributes.get("predictions")
    path = predictions or (given.path.parent / str(told) if told else None)
    return source | {
        "kind": "distances",
        "predictions": None if path is None else relative(path, out),
        "sample_hash": (identity.get("rows") or {}).get("sample_hash"),
        "distances": {key: identity.get(key) for key in ("project_classes", "projection_seed")},
    }


def moved(embedding: Embedding, out: Path) -> Embedding:
    """A stored embedding with its source as seen from where a new file will be."""
    source = dict(embedding.source)
    assert embedding.path is not None
    for name in ("path", "predictions"):
        if source.get(name):
            source[name] = relative(embedding.path.parent / str(source[name]), out)
    return replace(embedding, source=source, path=None)


def relative(path: Path, out: Path) -> str:
    """A path as seen from the folder of a file, so that both can be moved together."""
    return os.path.relpath(path.absolute(), out.absolute().parent)


def distance_settings(embedding: Embedding) -> DistanceSettings:
    """The distances that an embedding is of, without its references."""
    known = embedding.source.get("distances") or {}
    return DistanceSettings(
        distance=distance_of(None, embedding.distance),
        cap=embedding.cap,
        project_classes=known.get("project_classes"),
        seed=int(known.get("projection_seed") or known.get("seed") or 0),
    )


def predictions_of(embedding: Embedding, rows: NDArray[np.int64], out: Path, asked: Path | None = None) -> Predictions:
    """The predictions of models of an embedding, on the samples that their distances are of.

    Args:
        embedding: The embedding.
        rows: Which of its rows.
        out: The file from whose folder its source is seen.
        asked: Where a person says that they are.

    Raises:
        UsageError: If it is not known where they are.
        DataError: If one is not there, or they are of other samples.
    """
    source = embedding.source
    path = asked or (out.parent / str(source["predictions"]) if source.get("predictions") else None)
    if path is None:
        raise UsageError(
            "it is not known where the predictions of the embedded models are", "say it: --predictions FILE"
        )
    whole = Predictions.open(path)
    found = same_subset(whole, embedding)
    if source.get("sample_hash") not in (None, found.identity()["sample_hash"]):
        raise DataError(
            f"{path} holds other samples than the embedded models were compared on",
            "give the file they came from, with the --seed that its samples were drawn with",
        )
    wanted = embedding.rows.take(rows)
    where = positions(found.table.column("key"))
    for key, name in zip(wanted.column("key"), wanted.column("name"), strict=True):
        if key not in where:
            raise DataError(f"{path} lacks the predictions of {name}", "say where they are: --predictions FILE")
    return found.select(np.asarray([where[key] for key in wanted.column("key")], dtype=np.int64))


def same_subset(predictions: Predictions, embedding: Embedding) -> Predictions:
    """Predictions on the samples that an embedding's distances are of, if those were drawn from a larger set."""
    samples = int(embedding.source.get("samples", predictions.samples))
    if samples >= predictions.samples:
        return predictions
    return open_models(predictions.path, samples=samples, seed=int(embedding.source.get("seed", 0)))


def positions(values: Sequence[str] | NDArray[Any]) -> dict[str, int]:
    """Where each value is."""
    return {value: number for number, value in enumerate(values)}
