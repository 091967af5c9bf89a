"""Models added to an embedding that is there already, and one embedding laid over another."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landscape_cli.compute.predictions.alignment import align
from landscape_cli.compute.predictions.explained import explained_pairwise
from landscape_cli.compute.predictions.projection import Frame
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.embedding import Resources, kinds_of, place_rows
from landscape_cli.jobs.matrix_rows import MatrixRows
from landscape_cli.store.embeddings import ADDED, PLACED, TEST, Embedding, Overlay
from landscape_cli.store.matrices import REFERENCE, Matrix
from landscape_cli.store.tables import Table

SHOWN = 3  # names in an error


def frame_of(embedding: Embedding) -> Frame:
    """What is needed to add models to a stored embedding."""
    shaping = embedding.shaping
    own = embedding.frame_coordinates
    return Frame(
        coordinates=embedding.coordinates[shaping] if own is None else own,
        eigenvalues=embedding.eigenvalues,
        weights=embedding.weights[shaping],
        row_means=embedding.row_means[shaping],
        mean=embedding.mean,
    )


def add_models(
    embedding: Embedding, matrix: Matrix, resources: Resources, columns: NDArray[np.int64] | None = None
) -> Embedding:
    """Add those rows of a matrix that an embedding does not hold, by their distances to what shaped it (Eq. 9).

    Args:
        embedding: It stays as it is; the new rows come after its own.
        matrix: Distances of new models (rows) to all models that shaped the embedding (among its columns).
        resources: What may be used.
        columns: Which columns those are, in the embedding's order; by default they are found by their keys.

    Raises:
        DataError: If the distances are of another kind or lack a model, or one is infinite.
        UsageError: If no row is new.
    """
    check_distance(embedding, matrix)
    columns = shaping_columns(embedding, matrix.cols, matrix) if columns is None else columns
    there = set(embedding.rows.column("key"))
    new = np.flatnonzero([key not in there for key in matrix.rows.column("key")])
    if not len(new):
        raise UsageError(f"{matrix.path}: the embedding holds all of its models already")
    if len(new) < len(matrix.rows):
        resources.note(f"{len(matrix.rows) - len(new)} models are in the embedding already; {len(new)} are added")
    return _appended(embedding, matrix, new, columns, ADDED, resources)[0]


def add_test_models(
    embedding: Embedding, matrix: Matrix, resources: Resources, columns: NDArray[np.int64] | None = None
) -> Embedding:
    """Add models by their predictions on test samples to an embedding of predictions on training samples (Eq. 10).

    What the coordinates explain of the test distances is measured too.

    Args:
        embedding: It stays as it is; the new rows come after its own.
        matrix: Test distances of models (rows) to those same models that shaped the embedding (among its columns).
        resources: What may be used.
        columns: Which columns those are, in the embedding's order; by default they are found by their keys or names.

    Raises:
        DataError: If the distances are of another kind or lack a model, or one is infinite.
    """
    check_distance(embedding, matrix)
    columns = shaping_columns(embedding, matrix.cols, matrix, by_name=True) if columns is None else columns
    rows = np.flatnonzero(kinds_of(matrix.rows) == "")
    added, source = _appended(embedding, matrix, rows, columns, TEST, resources)
    where = {key: number for number, key in enumerate(matrix.rows.take(rows).column("key"))}
    own = [where.get(key, -1) for key in matrix.cols.take(columns).column("key")]
    if -1 in own:
        return added  # the columns have no coordinates of their own, so their distances cannot be compared
    x = torch.from_numpy(added.coordinates[-len(rows) :])
    l1, l2 = explained_pairwise(source, x, torch.from_numpy(embedding.signature), columns=x[own])
    return replace(added, test_explained_l1=l1.numpy(), test_explained_l2=l2.numpy())


def check_distance(embedding: Embedding, matrix: Matrix) -> None:
    """See that a matrix holds the distances that an embedding is of.

    Raises:
        DataError: If not.
    """
    if matrix.distance != embedding.distance:
        raise DataError(
            f"{matrix.path} holds {matrix.distance} distances, the embedding is of {embedding.distance}",
            f"landscape distances … --distance {embedding.distance}",
        )
    if matrix.classes != embedding.classes:
        raise DataError(f"{matrix.path} is of {matrix.classes} classes, the embedding of {embedding.classes}")


def shaping_columns(
    embedding: Embedding, table: Table, matrix: Matrix | None = None, *, by_name: bool = False
) -> NDArray[np.int64]:
    """Where the models that shaped an embedding are in a table, in the embedding's order.

    Args:
        embedding: The embedding.
        table: Models with ``key`` and ``name``.
        matrix: The matrix whose columns they are, for the error.
        by_name: Whether a model may be known by its name where no key fits: predictions that were made elsewhere have
            other keys on other samples.

    Raises:
        DataError: If a model is not there; the first are named.
    """
    shaping = embedding.rows.take(embedding.shaping)
    for name in ("key", "name") if by_name else ("key",):
        where = {value: number for number, value in enumerate(table.column(name))}
        missing = [number for number, value in enumerate(shaping.column(name)) if value not in where]
        if not missing:
            return np.asarray([where[value] for value in shaping.column(name)], dtype=np.int64)
    names = ", ".join(shaping.column("name")[number] for number in missing[:SHOWN])
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    if matrix is None:
        raise DataError(f"the predictions lack models that shaped the embedding: {names}{more}", "predict them too")
    rows = set(matrix.rows.column("key"))
    turned = all(key in rows for key in shaping.column("key"))
    raise DataError(
        f"{matrix.path} lacks distances to models that shaped the embedding: {names}{more}",
        "they are its rows: give 'landscape distances' the new models first, the embedded ones second"
        if turned
        else "landscape distances NEW EMBEDDED makes the matrix between two prediction files",
    )


def _appended(
    embedding: Embedding,
    matrix: Matrix,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    placed: str,
    resources: Resources,
) -> tuple[Embedding, MatrixRows]:
    source = MatrixRows(matrix, rows, columns, device=resources.device, block_bytes=resources.block_bytes)
    coordinates, means = place_rows(frame_of(embedding), source)
    taken = matrix.rows.take(rows)
    told = {REFERENCE: kinds_of(taken), PLACED: np.full(len(rows), placed, dtype=object)}
    table = Table({**taken.columns, **told})
    appended = replace(
        embedding,
        rows=Table.stacked([embedding.rows, table]),
        coordinates=np.concatenate([embedding.coordinates, coordinates]),
        row_means=np.concatenate([embedding.row_means, means]),
        weights=np.concatenate([embedding.weights, np.zeros(len(rows))]),
        overlay=None,
        reading=None,
        path=None,
    )
    return appended, source


def overlay(embedding: Embedding, other: Embedding, dims: int, *, scale: bool = False) -> Overlay:
    """Lay an embedding over another by the models of both: Kabsch–Umeyama, mirror images allowed.

    Args:
        embedding: What is moved.
        other: What it is laid over.
        dims: How many leading dimensions are compared; fewer if one has fewer.
        scale: Whether the size may change.

    Raises:
        DataError: If they have no two models in common.
    """
    dims = min(dims, embedding.dims, other.dims)
    ours, theirs = (_by_key(each) for each in (embedding, other))
    common = [key for key in ours if key in theirs]
    if len(common) < 2:
        raise DataError(
            f"the embedding and {other.path} have {len(common)} models in common",
            "two at least are needed to align them",
        )
    moving = embedding.coordinates[[ours[key] for key in common], :dims]
    found = align(moving, other.coordinates[[theirs[key] for key in common], :dims], scale=scale)
    return Overlay(
        onto=str(other.path),
        coordinates=found.apply(embedding.coordinates[:, :dims]),
        rmsd=found.rmsd,
        models=len(common),
        rotation=found.rotation,
        translation=found.translation,
        scale=found.scale,
    )


def _by_key(embedding: Embedding) -> dict[Any, int]:
    """Rows of models (no references, no test coordinates) by their key."""
    kinds, placed = embedding.rows.column("reference"), embedding.rows.column(PLACED)
    return {
        key: row
        for row, key in enumerate(embedding.rows.column("key"))
        if kinds[row] == "" and placed[row] != TEST and np.isfinite(embedding.coordinates[row]).all()
    }
