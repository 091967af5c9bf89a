"""From a matrix of distances to a dendrogram, its cut into clusters, and what tells the items apart."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.compute.device import set_threads
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.clustering import TREES, dendrogram, factor_importance
from landscape_cli.errors import UsageError
from landscape_cli.jobs.cluster_items import Items, check, grouped, read_items
from landscape_cli.jobs.existing import existing, other_result
from landscape_cli.jobs.model_columns import MODEL_METRICS
from landscape_cli.jobs.trajectory_tables import RESULTS
from landscape_cli.store.clusters import Clusters
from landscape_cli.store.hdf5 import open_hdf5
from landscape_cli.store.matrices import REFERENCE, Matrix
from landscape_cli.store.matrix_writing import identity_hash
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table

VERSION = 1  # of the numbers: raised when they change
NO_FACTORS = frozenset(
    {"key", "name", "run", "step", "epoch", "cluster", "runs", "within", REFERENCE, *RESULTS, *MODEL_METRICS}
)

Report = Callable[[int, int], None]
Unit = Literal["model", "configuration"]


@dataclass(frozen=True)
class ClusterSettings:
    """What to do with the distances.

    Args:
        where: Condition on items.
        references: Whether reference models stay.
        group_by: Columns; distances are averaged over all pairs of two groups. None for single items.
        clusters: Cut the tree into so many; None not to cut it.
        factors: Columns whose importance is measured; None for all that vary, empty for no measurement.
        covariates: Numbers that the forest is given too, beside the factors.
        hold_out: What is held out together: single items, or all of one configuration (equal factors).
        repeats: Splits and forests.
        trees: Trees of a forest.
        seed: Of splits, forests and shuffles.
        distance: For predictions: which distance between models.
    """

    where: str | None = None
    references: bool = True
    group_by: tuple[str, ...] = ()
    clusters: int | None = None
    factors: tuple[str, ...] | None = ()
    covariates: tuple[str, ...] = ()
    hold_out: Unit = "model"
    repeats: int = 10
    trees: int = TREES
    seed: int = 0
    distance: DistanceName = "bhattacharyya"


@dataclass(frozen=True, eq=False)
class ClusterJob:
    """A clustering to make.

    Args:
        file: Distances, trajectories or predictions.
        out: The file of the clustering.
        settings: What to do.
        memory: Bytes to work in, beside what the program itself takes.
        threads: CPU threads; None for all.
        force: Overwrite another clustering.
        command: The command line, for the record.
        note: Told what a user should know.
    """

    file: Path
    out: Path
    settings: ClusterSettings = ClusterSettings()
    memory: int = 2_000_000_000
    threads: int | None = None
    force: bool = False
    command: str = ""
    note: Callable[[str], None] = field(default=lambda text: None)


def default_out(file: Path) -> Path:
    """Where a clustering goes by default: beside its input.

    >>> default_out(Path("a/test-trajectories.h5")).as_posix()
    'a/test-trajectories-clusters.h5'
    """
    return file.with_name(f"{file.stem}-clusters.h5")


def run_clusters(job: ClusterJob, report: Report = lambda done, of: None) -> dict[str, Any]:
    """Cluster items; what is there already is not made again.

    Returns:
        The record of the clustering.

    Raises:
        ConflictError: If something else is in the way.
        DataError: If a distance is infinite or no number (the pair is named), all are equal and an importance is
            asked for, or there are too few items.
        UsageError: If a column is missing, a factor does not vary, or the memory is too little.
        StorageError: If the disk is full or the place cannot be written.
    """
    began = time.perf_counter()
    settings = job.settings
    set_threads(job.threads)
    with open_hdf5(job.file) as file:
        kind = str(file.attrs.get("kind", ""))
    given: Predictions | Matrix = Predictions.open(job.file) if kind == "predictions" else Matrix.open(job.file)
    source = given.identity() if isinstance(given, Predictions) else given.attributes["identity"]
    identity = {"version": VERSION, "source": source, **asdict(settings)}
    identity |= {name: _listed(getattr(settings, name)) for name in ("group_by", "factors", "covariates")}
    if (there := _finished(job, identity)) is not None:
        job.note(f"{job.out} is finished already: nothing to do")
        return _record(there, began)
    items = grouped(
        read_items(
            given,
            where=settings.where,
            references=settings.references,
            distance=settings.distance,
            memory=job.memory,
        ),
        settings.group_by,
    )
    check(items, job.file)
    tree = dendrogram(items.distances)
    rows = items.table
    if settings.clusters is not None:
        rows = Table({**rows.columns, "cluster": tree.cut(settings.clusters)})
    importance, explained = Table({}), np.empty(0)
    about: dict[str, Any] = {}
    if settings.factors is None or settings.factors:
        importance, explained, about = _importance(items, job, report)
    made = Clusters(
        linkage=tree.linkage,
        order=tree.order,
        rows=rows,
        importance=importance,
        method="complete",
        distance=items.distance,
        cophenetic=tree.cophenetic,
        settings=identity,
        explained=explained,
        attributes={"identity": identity_hash(identity), "command": job.command, **about},
        path=job.out,
    )
    made.write(job.out)
    return _record(made, began)


def _listed(value: Sequence[str] | None) -> list[str] | None:
    return None if value is None else list(value)


def _finished(job: ClusterJob, identity: dict[str, Any]) -> Clusters | None:
    there = None if job.force else existing(job.out, Clusters.open)
    if there is not None and there.attributes.get("identity") != identity_hash(identity):
        raise other_result(job.out, "another clustering", there.settings, identity)
    return there


def _importance(items: Items, job: ClusterJob, report: Report) -> tuple[Table, NDArray[np.float64], dict[str, Any]]:
    settings = job.settings
    own = np.flatnonzero(items.table.columns.get(REFERENCE, np.full(len(items.table), "", dtype=object)) == "")
    table, distances = items.table.take(own), items.distances[np.ix_(own, own)]
    names = list(settings.factors) if settings.factors is not None else varying(table)
    if not names:
        raise UsageError(f"{job.file}: no column tells the items apart", "name columns with --factors")
    factors = {name: table.column(name) for name in [*names, *settings.covariates]}
    units = None
    if settings.hold_out == "configuration":
        units = np.empty(len(table), dtype=np.int64)
        for number, (_, members) in enumerate(table.group(names)):
            units[members] = number
    found = factor_importance(
        distances,
        factors,
        units=units,
        repeats=settings.repeats,
        trees=settings.trees,
        seed=settings.seed,
        told=report,
    )
    rows = [
        {"factor": name, "importance": mean, "std": spread, "levels": len(set(map(str, factors[name].tolist())))}
        for name, mean, spread in zip(found.factors, found.mean.tolist(), found.std.tolist(), strict=True)
    ]
    if found.explained.mean() < 0.5:
        job.note(
            f"the factors explain little of the distances of held-out pairs (R² {found.explained.mean():.2f}): their "
            "importances say little"
        )
    about = {"pairs_trained": found.trained, "pairs_tested": found.tested, "explained_trained": found.seen.tolist()}
    return Table.from_rows(rows), found.explained, about


def varying(table: Table) -> list[str]:
    """The columns that may be factors: those with several values, no name tags (a text of its own each), no results."""
    found = []
    for name, column in table.columns.items():
        levels = {value for value in column.tolist() if value == value}
        tags = column.dtype == object and len(levels) == len(table) > 2
        if name not in NO_FACTORS and len(levels) > 1 and not tags:
            found.append(name)
    return found


def _record(made: Clusters, began: float) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": "clusters",
        "path": str(made.path),
        "items": len(made.order),
        "distance": made.distance,
        "cophenetic": made.cophenetic,
        "height": float(made.linkage[-1, 2]),
    }
    if "cluster" in made.rows:
        sizes = np.bincount(made.rows.column("cluster"))[1:]
        record |= {"clusters": len(sizes), "sizes": sizes.tolist()}
    if len(made.importance):
        factors = made.importance.rows()
        record |= {
            "explained": float(made.explained.mean()),
            "explained_std": float(made.explained.std(ddof=1)) if len(made.explained) > 1 else math.nan,
            "importance": {row["factor"]: row["importance"] for row in factors},
            "importance_std": {row["factor"]: row.get("std", math.nan) for row in factors},
        }
    return record | {"seconds": round(time.perf_counter() - began, 3)}


def members(made: Clusters) -> list[dict[str, Any]]:
    """The items as records, in the order of the tree's leaves: what each is, and its cluster."""
    rows = made.rows.rows()
    return [
        {"kind": "cluster-member", "path": str(made.path), "position": position, **rows[item]}
        for position, item in enumerate(made.order.tolist())
    ]
