"""Matrices of distances between models, tile by tile: resumable, in shards, within a budget of memory."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from landscape_cli.compute.device import Placement, placement, set_threads
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.class_projection import random_class_projection
from landscape_cli.compute.predictions.distances import working_memory
from landscape_cli.errors import ConflictError, DataError, DeviceError, UsageError
from landscape_cli.jobs.distance_plans import Plan, Room, Shape, cut
from landscape_cli.jobs.distance_tiles import Progress, TileWork, compute_tiles
from landscape_cli.jobs.mixing import other_data
from landscape_cli.jobs.model_rows import ModelRows, References
from landscape_cli.jobs.stopping import watching
from landscape_cli.store.atomic import remove_leftovers, remove_leftovers_of
from landscape_cli.store.matrices import Matrix
from landscape_cli.store.matrix_writing import MatrixHead, assemble, identity_hash, rename
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tiles import StoredType, TileFolder

VERSION = 1  # of the numbers: raised when they change, so that tiles of two kinds are never mixed
MERGE_BYTES = 256_000_000  # matrices up to this size end as one file


@dataclass(frozen=True)
class DistanceSettings:
    """What to compute.

    Args:
        distance: Which distance.
        references: Reference models that are rows (and columns) too.
        cap: Distances above it, +∞ among them, are stored as it; None to store what they are.
        project_classes: Number of outcomes that a random projection of the classes leaves; None for no projection.
        seed: Of that projection.
        dtype: How distances are stored; ``auto`` is float64 where predictions are, else float32 (relative error
            6e-8 at any size of a distance, less than that of float32 predictions).
    """

    distance: DistanceName = "bhattacharyya"
    references: References = field(default_factory=References)
    cap: float | None = None
    project_classes: int | None = None
    seed: int = 0
    dtype: Literal["auto", "float32", "float64"] = "auto"


@dataclass(frozen=True, eq=False)
class DistanceJob:
    """A matrix to make.

    Args:
        first: Models of the rows.
        out: The file of the matrix.
        settings: What to compute.
        second: Models of the columns; None for the rows' own, and then the matrix is symmetric.
        memory: Bytes to work in, beside what the program itself takes.
        tile: Models a side of a tile; None for what fits best.
        shard: ``(i, n)`` to compute the i-th of n parts of the tiles and nothing else.
        device: See :func:`landscape_cli.compute.device.placement`.
        threads: CPU threads; None for all.
        force: Overwrite another matrix; compute this one again.
        command: The command line, for the record.
        note: Told what a user should know.
    """

    first: Predictions
    out: Path
    settings: DistanceSettings = DistanceSettings()
    second: Predictions | None = None
    memory: int = 2_000_000_000
    tile: int | None = None
    shard: tuple[int, int] | None = None
    device: str = "auto"
    threads: int | None = None
    force: bool = False
    command: str = ""
    note: Callable[[str], None] = lambda text: None


def run_distances(job: DistanceJob, progress: Progress | None = None) -> dict[str, Any]:
    """Make a matrix; finished tiles are not computed again.

    Returns:
        The record of the matrix, or of the shard.

    Raises:
        ConflictError: If another matrix is in the way, or another process is at work on this one.
        DataError: If files are of different samples, or a prediction is no distribution.
        UsageError: If there is no pair, or the memory is too little for a single tile.
        DeviceError: If the device is not to be had.
        StorageError: If the disk is full; finished tiles are kept.
        InterruptedRunError: If a signal asked to stop; the same job continues.
    """
    began = time.perf_counter()
    work = _Work(job)
    if (done := work.finished()) is not None:
        job.note(f"{job.out} is finished already: nothing to do")
        work.tidy(done)
        return work.record(done, began)
    work.plan(work.known_tile())  # what cannot be done is told before anything is written
    folder = work.folder
    if job.shard is not None:
        with folder.shard_held(job.shard) as whole, watching() as stop:
            plan = work.begin(clear=False)
            whole.close()
            tiles = plan.grid.tiles()[job.shard[0] - 1 :: job.shard[1]]
            computed = compute_tiles(work.tile_work(plan), tiles, stop, progress)
            return work.shard_record(tiles, computed, began)
    with folder.held(), watching() as stop:
        plan = work.begin(clear=job.force)
        remove_leftovers(folder.path)
        remove_leftovers_of(job.out)
        compute_tiles(work.tile_work(plan), plan.grid.tiles(), stop, progress)
        assemble(job.out, work.head(), work.identity_hash, plan.grid, work.dtype, merge_bytes=MERGE_BYTES)
    matrix = Matrix.open(job.out)
    if (pair := matrix.infinite_pair()) is not None:
        remedy = "" if matrix.cap is not None else "; --cap X stores X instead"
        job.note(f"{matrix.infinite} pairs are infinitely far apart, the first {pair[0]} and {pair[1]}{remedy}")
    return work.record(matrix, began)


def plan_distances(job: DistanceJob) -> dict[str, Any]:
    """What making a matrix would cost: tiles, bytes, operations. Nothing is written.

    Raises:
        DataError: See :func:`run_distances`.
        UsageError: Likewise.
    """
    work = _Work(job)
    plan = work.plan(work.known_tile())
    if work.finished() is not None:
        done = plan.grid.count
    elif work.folder.plan is None:
        done = 0
    else:
        done = sum(work.folder.is_finished(i, j, work.identity_hash, plan.grid) for i, j in plan.grid.tiles())
    return {
        "kind": "plan",
        **work.about(),
        "tiles": plan.grid.count,
        "tiles_done": done,
        "tile": plan.grid.tile,
        "samples_at_a_time": plan.block,
        "memory": plan.memory,
        "bytes": plan.bytes_stored,
        "bytes_read": plan.bytes_read,
        "operations": work.shape.operations,
    }


class _Work:
    """A job with its files open: what it reads, what it makes, and what is there already."""

    def __init__(self, job: DistanceJob) -> None:
        self.job = job
        settings, second = job.settings, job.second
        if second is not None:
            job.first.same_samples(second)
            if (told := other_data(job.first, second)) is not None:
                job.note(told)
            second = None if second.identity() == job.first.identity() else second
        if settings.cap is not None and not settings.cap > 0:
            raise UsageError(f"--cap {settings.cap} is not above zero")
        set_threads(job.threads)
        self.where = _placement(job.device)
        projection = None
        if settings.project_classes is not None:
            projection = random_class_projection(job.first.classes, settings.project_classes, settings.seed)
        double = "float64" in (job.first.dtype, second.dtype if second is not None else "")
        how: dict[str, Any] = {
            "projection": projection,
            "device": self.where.device,
            "dtype": torch.float64 if double else torch.float32,
        }
        self.rows = ModelRows(job.first, settings.references, **how)
        self.cols = self.rows if second is None else ModelRows(second, settings.references, **how)
        self.symmetric = second is None
        if self.symmetric and len(self.rows) < 2:
            raise UsageError(
                f"{job.first.path}: there is one model and no pair", "take more models, or add --truth or --ignorance"
            )
        self.dtype: StoredType = "float64" if double else "float32"
        if settings.dtype != "auto":
            self.dtype = settings.dtype
        self.identity = self._identity(second)
        self.identity_hash = identity_hash(self.identity)
        self.folder = TileFolder(job.out)
        self.shape = Shape(
            rows=len(self.rows),
            cols=len(self.cols),
            symmetric=self.symmetric,
            samples=job.first.samples,
            classes=self.rows.classes,
            item=self.rows.dtype.itemsize,
            stored=np.dtype(self.dtype).itemsize,
        )

    def _identity(self, second: Predictions | None) -> dict[str, Any]:
        settings = self.job.settings
        references = asdict(settings.references)
        if not (settings.references.truth or settings.references.geodesic):
            references["smoothing"] = 0.0
        return {
            "version": VERSION,
            "rows": self.job.first.identity(),
            "columns": None if second is None else second.identity(),
            "distance": settings.distance,
            **references,
            "cap": settings.cap,
            "project_classes": settings.project_classes,
            "projection_seed": None if settings.project_classes is None else settings.seed,
            "dtype": self.dtype,
        }

    def finished(self) -> Matrix | None:
        """The matrix, if it is there and whole and need not be made again.

        Raises:
            ConflictError: If something else is there.
        """
        if not self.job.out.exists() or self.job.force:
            return None
        matrix = self._found()
        if matrix is None or matrix.attributes["identity"] != self.identity_hash:
            told = "is no matrix of this program" if matrix is None else _difference(matrix.identity, self.identity)
            raise ConflictError(f"{self.job.out} exists: {told}", "choose another --out, or --force to overwrite it")
        try:
            matrix.check()
        except DataError as error:
            self.job.note(f"{error.message}: it is computed again")
            return None
        return matrix

    def tidy(self, matrix: Matrix) -> None:
        """Bring the names of a finished matrix up to date, and delete tiles that a kill left behind.

        Columns may have been added to the models' table since; the values do not depend on them.
        """
        head = self.head()
        if not (matrix.rows.equals(head.rows) and matrix.cols.equals(head.cols)):
            rename(matrix.path, head.rows, None if self.symmetric else head.cols)
            self.job.note(f"{matrix.path}: the table of its models is brought up to date")
        if not matrix.tiled and self.folder.path.exists():
            with contextlib.suppress(ConflictError), self.folder.held():
                self.folder.remove()

    def _found(self) -> Matrix | None:
        try:
            return Matrix.open(self.job.out)
        except DataError:
            return None

    def known_tile(self) -> int | None:
        """The side of tiles that are there already, else what was asked for.

        Raises:
            ConflictError: If another side was asked for, or the tiles are of another matrix.
        """
        known = self.folder.plan
        if known is None or (self.job.force and (self.job.shard is None or known["identity"] != self.identity)):
            return self.job.tile
        there = "holds tiles of another matrix" if known["identity"] != self.identity else None
        if there is not None:
            there += ": " + _difference(known["identity"], self.identity)
        elif self.job.tile not in (None, known["tile"]):
            there = f"holds tiles of {known['tile']} models, not {self.job.tile}"
        if there is not None:
            raise ConflictError(f"{self.folder.path} {there}", "choose another --out, or --force to begin anew")
        return int(known["tile"])

    def plan(self, tile: int | None) -> Plan:
        """How the work is cut."""
        free = torch.cuda.mem_get_info(self.where.device)[0] if self.where.device.type == "cuda" else None
        shards = self.job.shard[1] if self.job.shard else 1
        other = self.rows.overhead() + (0 if self.symmetric else self.cols.overhead())
        return cut(self.shape, Room(self.job.memory, self._kernel_bytes, free, other), tile=tile, shards=shards)

    def _kernel_bytes(self, models: int, samples: int) -> int:
        """What the kernel takes for so many models, half of them on each side, and a copy of what it works on."""
        half, kind = models // 2, self.job.settings.distance
        own = working_memory(half, models - half, samples, self.shape.classes, kind)
        return own + models * self.shape.row_bytes(samples)

    def tile_work(self, plan: Plan) -> TileWork:
        """What the tiles are computed from."""
        return TileWork(
            rows=self.rows,
            cols=self.cols,
            shape=self.shape,
            plan=plan,
            folder=self.folder,
            identity=self.identity_hash,
            distance=self.job.settings.distance,
            dtype=self.dtype,
            cap=self.job.settings.cap,
            where=self.where,
        )

    def begin(self, *, clear: bool) -> Plan:
        """Make the folder of tiles ready, by whoever holds it."""
        known = self.folder.plan
        plan = self.plan(self.known_tile())
        if known is None or clear or known["identity"] != self.identity:
            if self.job.force and (old := self._found()) is not None and old.tiled:
                self.job.out.unlink()  # without its tiles it is nothing
            self.folder.clear()
            self.folder.begin(self.identity, plan.grid)
        return plan

    def head(self) -> MatrixHead:
        """What the matrix says of itself."""
        first, settings = self.job.first, self.job.settings
        rows = self.rows.table()
        notes: dict[str, Any] = {"label_smoothing": settings.references.smoothing}
        # As seen from the matrix, so that both can be moved together: an embedding may want them again.
        notes["predictions"] = os.path.relpath(first.path.absolute(), self.job.out.absolute().parent)
        if settings.project_classes is not None:
            notes |= {"project_classes": settings.project_classes, "projection_seed": settings.seed}
        return MatrixHead(
            distance=settings.distance,
            rows=rows,
            cols=rows if self.symmetric else self.cols.table(),
            symmetric=self.symmetric,
            samples=first.samples,
            classes=first.classes,
            cap=settings.cap,
            split=first.split,
            data=first.data,
            fingerprint=first.fingerprint,
            identity=self.identity,
            command=self.job.command,
            notes=notes,
        )

    def about(self) -> dict[str, Any]:
        """The entries of every record."""
        return {
            "path": str(self.job.out),
            "distance": self.job.settings.distance,
            "models": len(self.job.first),
            "references": len(self.job.settings.references),
            **({} if self.symmetric else {"columns": len(self.cols)}),
            "samples": self.shape.samples,
            "classes": self.job.first.classes,
        }

    def record(self, matrix: Matrix, began: float) -> dict[str, Any]:
        """The record of a finished matrix."""
        return {
            "kind": "distances",
            **self.about(),
            "infinite": matrix.infinite,
            "cap": matrix.cap,
            "mean": matrix.attributes["finite_mean"],
            "max": matrix.attributes["maximum"],
            "tiles": matrix.grid.count if matrix.tiled else 1,
            "bytes": matrix.size(),
            "seconds": round(time.perf_counter() - began, 3),
        }

    def shard_record(self, tiles: list[tuple[int, int]], computed: int, began: float) -> dict[str, Any]:
        """The record of a finished shard."""
        shard = self.job.shard or (1, 1)
        return {
            "kind": "distances-shard",
            **self.about(),
            "shard": f"{shard[0]}/{shard[1]}",
            "tiles": len(tiles),
            "tiles_done": len(tiles) - computed,
            "seconds": round(time.perf_counter() - began, 3),
        }


def _placement(device: str) -> Placement:
    where = placement(device)
    if where.device.type != "mps":
        return where
    if device != "auto":
        raise DeviceError("distances are summed in float64, which an Apple GPU lacks", "use --device cpu")
    return placement("cpu")


def _difference(there: dict[str, Any], asked: dict[str, Any]) -> str:
    """The first difference between two identities, in words."""
    for key in asked:
        if there.get(key) != asked[key]:
            if isinstance(asked[key], dict) and isinstance(there.get(key), dict):
                inner = _difference(there[key], asked[key])
                return f"its {key} are of other predictions ({inner})"
            return f"{key} is {there.get(key)} there and {asked[key]} here"
    return "it is of another version"
