"""Making an embedding: which models shape it, which are added to it, and within which memory."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from landscape_cli.compute.predictions.choices import METHOD_DISTANCES, DistanceName, MethodName, SolverName
from landscape_cli.compute.predictions.embedding import DENSE_MODELS, MAX_PASSES, TOLERANCE, inpca
from landscape_cli.compute.predictions.embedding import Embedding as Found
from landscape_cli.compute.predictions.explained import explained_pairwise
from landscape_cli.compute.predictions.operators import BLOCK_BYTES
from landscape_cli.compute.predictions.projection import Frame, frame, project
from landscape_cli.compute.predictions.spectrum import block_width
from landscape_cli.compute.streams import stream
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.matrix_rows import MatrixRows
from landscape_cli.store.embeddings import ADDED, EMBEDDED, PLACED, Embedding
from landscape_cli.store.matrices import REFERENCE, Matrix
from landscape_cli.store.tables import Table

ReferenceRole = Literal["added", "embedded"]
Index = NDArray[np.int64]

BASIS = (4, 24)  # blocks of the iterative solver's basis: the least that works, and what is enough
FIXED_BYTES = 40_000_000  # strips of tiles while they are read, tables, and what the allocator keeps
COPIES = 4  # of a block of rows: as read, in float64, and what a product makes of it
DENSE_COPIES = 6  # of the matrix, in a dense decomposition


@dataclass(frozen=True)
class EmbeddingSettings:
    """What to embed and how.

    Args:
        dims: How many dimensions.
        method: The kind of embedding; None for that of the distances.
        weights: The column of the table that holds multiplicities; None for 1 each.
        fit_on: Which models shape the embedding, the others being added to it: a condition on the table, or a number
            of models drawn at random; None for all.
        references: Whether ignorance, geodesic and truth shape the embedding or are added to it.
        solver: ``dense``, ``krylov``, or ``auto``.
        tolerance: Of the iterative solver.
        max_passes: Of the iterative solver.
        seed: Of the draw of models, and of the solver's start.
    """

    dims: int = 10
    method: MethodName | None = None
    weights: str | None = None
    fit_on: str | None = None
    references: ReferenceRole = "added"
    solver: SolverName = "auto"
    tolerance: float = TOLERANCE
    max_passes: int = MAX_PASSES
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Resources:
    """What an embedding may use.

    Args:
        memory: Bytes, beside what the program itself takes.
        device: Where products with the distances are computed.
        progress: Told how many passes over the distances are done, and of how many at most.
        note: Told what a user should know.
    """

    memory: int = 2_000_000_000
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Callable[[int, int], None] | None = None
    note: Callable[[str], None] = lambda text: None

    @property
    def block_bytes(self) -> int:
        """Size of a block of rows."""
        return max(1, min(BLOCK_BYTES, (self.memory - FIXED_BYTES) // (4 * COPIES)))


@dataclass(frozen=True, eq=False)
class Base:
    """An embedding that was just made, with the distances it came from.

    Args:
        embedding: The embedding.
        source: Distances of all its models to those that shaped it (or to all).
        columns: Which of its models are the columns of ``source``.
        multiplicity: Of all models, 0 for references that were added.
    """

    embedding: Embedding
    source: MatrixRows
    columns: Index
    multiplicity: NDArray[np.float64]

    def explained(
        self, coordinates: NDArray[np.float64], signature: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Explained pairwise distances, L1 and L2, of its models at any coordinates. Cost: one pass."""
        there = np.asarray(np.isfinite(coordinates).all(axis=1))
        x = torch.from_numpy(np.where(there[:, None], coordinates, 0.0))
        m = torch.from_numpy(np.where(there, self.multiplicity, 0.0))
        l1, l2 = explained_pairwise(
            self.source, x, torch.from_numpy(signature), m,
            columns=x[self.columns], column_weights=m[self.columns],
        )  # fmt: skip
        return l1.numpy(), l2.numpy()


def method_of(distance: str) -> MethodName:
    """What an embedding of a distance is called."""
    return next((name for name, own in METHOD_DISTANCES.items() if own == distance), "inpca")


def check_method(method: MethodName | None, distance: str, path: Path) -> MethodName:
    """The method of an embedding of the distances in a file.

    Raises:
        UsageError: If a person asked for one that is of other distances.
    """
    found = method_of(distance)
    if method is None or method == found:
        return found
    raise UsageError(
        f"{path} holds distances of the kind {distance}; --method {method} is of {METHOD_DISTANCES[method]}",
        f"landscape distances PREDICTIONS --distance {METHOD_DISTANCES[method]}",
    )


def distance_of(method: MethodName | None, distance: str | None) -> DistanceName:
    """The distance to compute for a method.

    Raises:
        UsageError: If both are given and differ.
    """
    own = METHOD_DISTANCES[method or "inpca"]
    if distance is None:
        return own
    if method is not None and method != method_of(distance):
        raise UsageError(f"--method {method} is of the distance {own}, not {distance}", "give one of the two")
    assert distance in get_args(DistanceName)
    return cast(DistanceName, distance)


def kinds_of(rows: Table) -> NDArray[Any]:
    """What each row is: "" for a model, else truth, ignorance or geodesic."""
    return rows.columns.get(REFERENCE, np.full(len(rows), "", dtype=object))


def multiplicities(rows: Table, settings: EmbeddingSettings) -> NDArray[np.float64]:
    """How often each row counts: by the column of weights, else once; references count once or not at all.

    Raises:
        UsageError: If there is no such column of numbers.
        DataError: If a weight is missing or below zero; the first is named.
    """
    models = kinds_of(rows) == ""
    found = np.ones(len(rows))
    if settings.weights is not None:
        column = rows.column(settings.weights)
        if column.dtype == object:
            raise UsageError(f"--weights {settings.weights}: the column holds texts, not numbers")
        found = np.where(models, column.astype(np.float64), 1.0)
        if len(bad := np.flatnonzero(~(np.isfinite(found) & (found >= 0)))):
            name = rows.column("name")[bad[0]]
            raise DataError(f"the weight '{settings.weights}' of {name} is {found[bad[0]]}", "weights are 0 or more")
    return np.where(models | (settings.references == "embedded"), found, 0.0)


def landmarks(rows: Table, settings: EmbeddingSettings) -> NDArray[np.bool_] | None:
    """Which rows shape the embedding by ``fit_on``; None for all.

    Raises:
        UsageError: If no model does, there are fewer models, or it is no condition.
    """
    if settings.fit_on is None:
        return None
    models = np.flatnonzero(kinds_of(rows) == "")
    chosen = np.zeros(len(rows), dtype=bool)
    if settings.fit_on.strip().isdecimal():
        count = int(settings.fit_on)
        if not 2 <= count <= len(models):
            raise UsageError(f"--fit-on {count}: there are {len(models)} models, and an embedding needs 2 at least")
        drawn = torch.randperm(len(models), generator=stream("landmark-models", settings.seed))[:count]
        chosen[models[np.sort(drawn.numpy())]] = True
    else:
        chosen[models] = rows.where(settings.fit_on)[models]
        if not chosen.any():
            raise UsageError(
                f"no model fulfils --fit-on: {settings.fit_on}", "its columns are " + ", ".join(rows.columns)
            )
    if settings.references == "embedded":
        chosen[kinds_of(rows) != ""] = True
    return chosen


def embed_matrix(matrix: Matrix, settings: EmbeddingSettings, resources: Resources) -> Base:
    """Embed the models of a symmetric matrix; models outside ``fit_on`` and references are added.

    Raises:
        UsageError: If the matrix is not symmetric, or the settings do not fit it.
        DataError: If a distance is infinite, fewer than two models are left, or all are the same.
    """
    if not matrix.symmetric:
        raise UsageError(
            f"{matrix.path} is between two sets of models",
            "an embedding needs the distances of one: give it to --project",
        )
    counts = multiplicities(matrix.rows, settings)
    chosen = landmarks(matrix.rows, settings)
    if chosen is None:
        source = MatrixRows(matrix, device=resources.device, block_bytes=resources.block_bytes)
        found = fit(source, counts, settings, resources)
        return Base(_described(found, matrix, settings), source, np.arange(len(matrix.rows)), counts)
    columns = np.flatnonzero(chosen & (counts > 0))
    how: dict[str, Any] = {"device": resources.device, "block_bytes": resources.block_bytes}
    found = fit(MatrixRows(matrix.select(columns), **how), counts[columns], settings, resources, pairwise=False)
    return embed_rest(found, MatrixRows(matrix, None, columns, **how), columns, counts, settings)


def embed_rest(
    found: Found,
    source: MatrixRows,
    columns: Index,
    counts: NDArray[np.float64],
    settings: EmbeddingSettings,
    *,
    keep: bool = True,
) -> Base:
    """Add all rows of a matrix to an embedding of some of them.

    Args:
        found: The embedding.
        source: Distances of all models to those that shaped it.
        columns: Which rows of ``source`` those are.
        counts: Multiplicities of all rows.
        settings: How it was made.
        keep: Whether they stay where the embedding has them. Where the distances to add by are means over more samples
            than those that it was fitted on, they go where those put them.
    """
    own = frame(found)
    coordinates, means = place_rows(own, source)
    if keep:
        coordinates[columns] = found.coordinates
    means[columns] = found.row_means
    weights = np.zeros(len(counts))
    weights[columns] = found.weights
    made = _described(
        found, source.matrix, settings, coordinates=coordinates, row_means=means, weights=weights,
        frame_coordinates=None if keep else own.coordinates,
    )  # fmt: skip
    base = Base(made, source, columns, counts)
    l1, l2 = base.explained(coordinates, found.signature)
    return Base(replace(made, explained_l1=l1, explained_l2=l2, passes=made.passes + 2), source, columns, counts)


def place_rows(own: Frame, source: MatrixRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of the rows of a matrix by Eq. 9, and their mean distances. Cost: one pass."""
    coordinates = np.empty((source.size, len(own.eigenvalues)))
    means = np.empty(source.size)
    share = own.weights / own.weights.sum()
    for start, block in source.arrays():
        coordinates[start : start + len(block)] = project(own, block)
        means[start : start + len(block)] = block @ share
    return coordinates, means


def fit(
    source: MatrixRows,
    counts: NDArray[np.float64],
    settings: EmbeddingSettings,
    resources: Resources,
    *,
    pairwise: bool = True,
) -> Found:
    """The embedding of a matrix, within the memory there is.

    Raises:
        DataError: If a distance is infinite, fewer than two models are left, or all are the same.
        UsageError: If the memory is too little.
    """
    models = int((counts > 0).sum())
    if models < 2:
        raise DataError(
            f"{source.matrix.path}: {models} model{'' if models == 1 else 's'} cannot be embedded", "take two at least"
        )
    dims = min(settings.dims, models - 1)
    if dims < settings.dims:
        resources.note(f"{models} models have {dims} dimensions at most, not {settings.dims}")
    solver = solver_for(source.size, settings, resources)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RuntimeWarning)
        found = inpca(
            source, dims,
            weights=None if (counts == 1).all() else torch.from_numpy(counts),
            solver=solver,
            tolerance=settings.tolerance,
            max_passes=settings.max_passes,
            pairwise=pairwise,
            basis=_basis(source.size, dims, resources) if solver == "krylov" else BASIS[1],
            seed=settings.seed,
            progress=resources.progress,
        )  # fmt: skip
    for warning in told:
        resources.note(f"warning: {warning.message}")
    if not found.eigenvalues.any():
        raise DataError(
            f"{source.matrix.path}: all {models} models predict the same, so that there is nothing to embed",
            "take models of other runs or steps",
        )
    return found


def solver_for(models: int, settings: EmbeddingSettings, resources: Resources) -> SolverName:
    """The solver that is asked for, or fits.

    Raises:
        UsageError: If a dense one is asked for and the memory is too little.
    """
    needed = FIXED_BYTES + 8 * DENSE_COPIES * models**2
    if settings.solver == "dense" and needed > resources.memory:
        raise _too_little(resources.memory, needed, ", or --solver krylov")
    if settings.solver != "auto":
        return settings.solver
    return "dense" if models <= DENSE_MODELS and needed <= resources.memory else "krylov"


def _basis(models: int, dims: int, resources: Resources) -> int:
    """Blocks of the iterative solver's basis that the memory holds."""
    width = block_width(dims, models)
    vectors = 8 * models * (4 * width + 8 * dims)
    each = 16 * models * width
    # A quarter of what is not fixed goes to the block of rows.
    least = FIXED_BYTES + (vectors + BASIS[0] * each) * 4 // 3 + 1_000_000
    if resources.memory < least:
        raise _too_little(resources.memory, least, ", or fewer dimensions")
    left = resources.memory - FIXED_BYTES - COPIES * resources.block_bytes - vectors
    return max(BASIS[0], min(BASIS[1], left // each))


def _too_little(memory: int, least: int, other: str) -> UsageError:
    return UsageError(
        f"--memory {memory} bytes is too little for this embedding",
        f"the least that works is --memory {-(-least // 1_000_000)}MB{other}",
    )


def _described(found: Found, matrix: Matrix, settings: EmbeddingSettings, **other: Any) -> Embedding:
    """An embedding of a matrix with what the matrix says of its models."""
    weights = other.pop("weights", found.weights)
    placed = np.where(weights > 0, EMBEDDED, ADDED).astype(object)
    told = {REFERENCE: kinds_of(matrix.rows), PLACED: placed}
    return Embedding(
        method=check_method(settings.method, matrix.distance, matrix.path),
        distance=matrix.distance,
        rows=Table({**matrix.rows.columns, **told}),
        coordinates=other.pop("coordinates", found.coordinates),
        eigenvalues=found.eigenvalues,
        signature=found.signature,
        explained_stress=found.explained_stress,
        explained_l1=found.explained_l1,
        explained_l2=found.explained_l2,
        residuals=found.residuals,
        row_means=other.pop("row_means", found.row_means),
        weights=weights,
        norm=found.norm,
        trace=found.trace,
        mean=found.mean,
        samples=matrix.samples,
        classes=matrix.classes,
        passes=found.passes,
        converged=found.converged,
        solver=found.solver,
        cap=matrix.cap,
        **other,
    )
