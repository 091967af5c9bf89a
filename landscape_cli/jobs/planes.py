"""Measuring planes of weight space between checkpoints on disk."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landscape_cli.compute.choices import BatchNormMode
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import forward_operations
from landscape_cli.compute.weights.plane import Place, extents
from landscape_cli.compute.weights.plane_choices import Corner, Directions
from landscape_cli.compute.weights.plane_grid import LEVELS, POINTS, TOLERANCE, Node, adaptive, axis, regular
from landscape_cli.compute.weights.plane_walk import (
    PlaneValues,
    PlaneWalk,
    corner_references,
    linear_field,
    values,
)
from landscape_cli.errors import UsageError
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.existing import existing, other_result
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.plane_results import Axis, Found, arrays, corner_rows, mask, seen_from, summary
from landscape_cli.jobs.plane_spans import ROLES, Spanned, Track, check_directions, span, track_of
from landscape_cli.store.cache import PointCache
from landscape_cli.store.planes import StoredPlane
from landscape_cli.store.tables import Table

VERSION = 1  # of the measurement: raised when its numbers change, so that kept points are not mixed

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PlaneSettings:
    """Which part of which plane, and how finely.

    Args:
        directions: What spans it beside one or two networks.
        grid: Columns and rows of the grid.
        adaptive: Divide cells where the values change.
        budget: Points in all then; None for twice the grid's.
        levels: How often a cell can be divided.
        tolerance: The change, as a share of a value's range, below which a cell is left.
        margin: Room around the networks, as a share of their extent; around one network in units of the directions.
        x: The range of x, in place of that.
        y: The range of y.
        reference: The corner that function distance is measured to.
        linearize: The corner whose linearised network is measured too.
        batch_norm: What happens to batch-norm statistics on the plane.
        fresh: Measure again what is already known, and overwrite.
    """

    directions: Directions | None = None
    grid: tuple[int, int] = (POINTS, POINTS)
    adaptive: bool = False
    budget: int | None = None
    levels: int = LEVELS
    tolerance: float = TOLERANCE
    margin: float | None = None
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None
    reference: Corner = "A"
    linearize: Corner | None = None
    batch_norm: BatchNormMode = "recompute"
    fresh: bool = False

    @property
    def points(self) -> int:
        """Points of the plane at most."""
        columns, rows = self.grid
        if not self.adaptive:
            return columns * rows
        return max(columns * rows, self.budget or 2 * columns * rows)

    def identity(self) -> dict[str, Any]:
        """The settings that a result depends on."""
        own = asdict(self)
        unused = {"fresh"} | (set() if self.adaptive else {"budget", "levels", "tolerance"})
        return {name: list(v) if isinstance(v, tuple) else v for name, v in own.items() if name not in unused}


@dataclass(frozen=True, eq=False)
class PlaneJob:
    """One plane to measure.

    Args:
        bench: Networks and samples.
        subjects: One, two or three checkpoints.
        trajectories: Runs to be seen from the plane.
        settings: Which part of which plane.
        out: The file that gets it.
        command: The command line, for the record.
        note: Told what a user should know.
    """

    bench: Bench
    subjects: Sequence[Subject]
    trajectories: Sequence[Path]
    settings: PlaneSettings
    out: Path
    command: str = ""
    note: Callable[[str], None] = lambda text: None

    def corner(self, role: Corner | None, option: str) -> int:
        """The number of a corner that an option names.

        Raises:
            UsageError: If there is no such network.
        """
        number = ROLES.index(role or "A")
        if number >= len(self.subjects):
            raise UsageError(f"{option} {role}: there are {len(self.subjects)} networks", f"say {option} A")
        return number

    def tracks(self) -> list[Track]:
        """The trajectories; for the principal plane of a run's own trajectory that one."""
        paths = list(self.trajectories)
        run = self.subjects[0].run
        if self.settings.directions == "pca" and not paths and run is not None:
            paths = [run.path]
        return [track_of(path) for path in paths]


def measure_plane(job: PlaneJob, progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """Measure a plane and write it; points that were measured before are not measured again.

    Returns:
        A record of kind ``plane``.

    Raises:
        CheckpointError: If a checkpoint is damaged, or they are not of one network.
        ConflictError: If the file holds something else.
        DataError: If the data does not fit the network.
        NetworkError: If the network cannot be linearised, or has no gradient.
        UsageError: If the networks span no plane, or the options do not go together.
    """
    bench, settings = job.bench, job.settings
    directions = check_directions(job.subjects, settings.directions, len(job.trajectories))
    reference = job.corner(settings.reference, "--to")
    base = None if settings.linearize is None else job.corner(settings.linearize, "--linearize")
    there = None if settings.fresh else existing(job.out, StoredPlane.open)
    setup = bench.setup(job.subjects)
    tracks = job.tracks()
    asked: dict[str, Any] = {
        "version": VERSION,
        "corners": [subject.checkpoint.hash() for subject in job.subjects],
        "trajectories": [[checkpoint.hash() for checkpoint in track.checkpoints] for track in tracks],
        **bench.identity(setup, settings.batch_norm),
        "settings": settings.identity(),
    }
    if there is not None:
        if there.attributes.get("identity") == json.loads(json.dumps(asked)):
            return {**there.attributes["record"], "path": str(job.out), "skipped": True}
        raise other_result(job.out, "another plane", there.attributes.get("identity") or {}, asked)
    with math_mode(bench.where):
        spanned = span(bench, setup, job.subjects, directions, tracks, settings.margin)
        walk = PlaneWalk(
            setup.network,
            spanned.plane,
            batch_norm=settings.batch_norm,
            statistics=setup.statistics,
            batch=bench.sampling.batch,
        )
        meter = _Meter(job, setup, spanned, walk, reference)
        total = settings.points + len(spanned.corners)
        corners = [meter.measure(place) for place in spanned.plane.places[: len(spanned.corners)]]
        x, y, nodes = _measured(meter, settings, spanned, len(corners), total, progress)
        linear, linear_corners = _linearized(meter, base, x, y, nodes)
    seen = [row for track in tracks for row in seen_from(spanned.plane, track)]
    _tell_outside(job, seen, x, y)
    stored = StoredPlane(
        x, y, mask(x, y, nodes), arrays(x, y, nodes, linear),
        Table.from_rows(corner_rows(spanned, corners, linear_corners)), Table.from_rows(seen),
        2**settings.levels if settings.adaptive else 1,
    )  # fmt: skip
    record = _record(job, setup, spanned, stored, seen, meter)
    attributes = {
        "identity": asked, "record": record, "units": spanned.units, "metric": np.asarray(spanned.plane.metric),
        "reference": settings.reference, "linearized": settings.linearize or "", "explained":
        np.asarray(spanned.explained), "directions": directions or "networks", "network": setup.spec.name,
        "data": setup.data.name, "command": job.command, "batch_norm": walk.mode or "",
    }  # fmt: skip
    StoredPlane(**{**vars(stored), "attributes": attributes}).write(job.out)
    return record


class _Meter:
    """Measures places of a plane, each once, and keeps what it found."""

    def __init__(self, job: PlaneJob, setup: Setup, spanned: Spanned, walk: PlaneWalk, reference: int) -> None:
        bench, settings = job.bench, job.settings
        self.walk, self.setup, self.batch = walk, setup, bench.sampling.batch
        self.splits = bench.sampling.splits
        identity = {
            "version": VERSION,
            "corners": [subject.checkpoint.hash() for subject in spanned.corners],
            **spanned.origin,
            **bench.identity(setup, settings.batch_norm),
            "reference": reference,
        }
        self._cache = PointCache("plane", identity, fresh=settings.fresh)
        self.known: dict[Place, Found] = {}
        for document in self._cache.read():
            found: Found = {name: PlaneValues(**document["results"][name]) for name in self.splits}
            self.known[document["x"], document["y"]] = found
        self._kept = frozenset(self.known)
        self.reused = 0
        self._place = spanned.plane.places[reference]
        self._references: dict[str, Any] | None = None

    @property
    def references(self) -> dict[str, Any]:
        """Log-probabilities at the reference, made when they are first needed."""
        if self._references is None:
            self._references = corner_references(self.walk, self._place, self.setup.splits, batch=self.batch)
        return self._references

    def measure(self, place: Place) -> Found:
        """What the network does at a place, on every split."""
        if place in self.known:
            self.reused += place in self._kept
            return self.known[place]
        references = self.references
        network = self.walk.go(*place)
        found = {
            name: values(network, samples, references[name], batch=self.batch)
            for name, samples in self.setup.splits.items()
        }
        self.known[place] = found
        self._cache.add({"x": place[0], "y": place[1], "results": {name: asdict(v) for name, v in found.items()}})
        return found


def _measured(
    meter: _Meter, settings: PlaneSettings, spanned: Spanned, before: int, total: int, progress: Progress
) -> tuple[Axis, Axis, dict[Node, Found]]:
    """The axes of the lattice, and what was found at its nodes."""
    x_range, y_range = extents(spanned.places, spanned.margin)
    (left, right), (low, high) = settings.x or x_range, settings.y or y_range
    columns, rows = settings.grid
    fine = 2**settings.levels if settings.adaptive else 1
    x, y = axis(left, right, (columns - 1) * fine), axis(low, high, (rows - 1) * fine)
    nodes: dict[Node, Found] = {}

    def visit(node: Node) -> Mapping[str, float]:
        nodes[node] = meter.measure((float(x[node[0]]), float(y[node[1]])))
        return {f"{split}_{m}": getattr(found, m) for split, found in nodes[node].items() for m in ("error", "loss")}

    def walked() -> Iterator[object]:
        if not settings.adaptive:
            return (visit(node) for node in regular(columns, rows))
        return adaptive(
            visit, columns, rows, budget=settings.points, levels=settings.levels, tolerance=settings.tolerance
        )

    for done, _ in enumerate(walked(), start=1):
        progress(before + done, total)
    return x, y, nodes


def _linearized(
    meter: _Meter, base: int | None, x: Axis, y: Axis, nodes: Mapping[Node, Found]
) -> tuple[dict[Node, Found], list[Found]]:
    """The network linearised at a corner, at the same nodes and at the corners: arithmetic on three sets of logits."""
    plane, walk = meter.walk.plane, meter.walk
    found: dict[Node, Found] = {node: {} for node in nodes}
    corners: list[Found] = [{} for _ in plane.places]
    if base is None:
        return {}, []
    references = meter.references
    for split, samples in meter.setup.splits.items():
        field = linear_field(walk, plane.places[base], samples, batch=meter.batch)

        def at(place: Place, field=field, samples=samples, reference=references[split]) -> PlaneValues:  # type: ignore[no-untyped-def]
            made: PlaneValues = field.values(plane.shares(*place), samples, reference, batch=meter.batch)
            return made

        for column, row in nodes:
            found[column, row][split] = at((float(x[column]), float(y[row])))
        for number, place in enumerate(plane.places):
            corners[number][split] = at(place)
    return found, corners


def _tell_outside(job: PlaneJob, seen: Sequence[Mapping[str, Any]], x: Axis, y: Axis) -> None:
    outside = sum(not (x[0] <= row["x"] <= x[-1] and y[0] <= row["y"] <= y[-1]) for row in seen)
    if outside:
        job.note(
            f"{outside} of {len(seen)} checkpoints of the trajectories stand beyond the grid: --margin makes it larger"
        )


def _record(
    job: PlaneJob, setup: Setup, spanned: Spanned, stored: StoredPlane, seen: Sequence[dict[str, Any]], meter: _Meter
) -> dict[str, Any]:
    settings, mode = job.settings, meter.walk.mode
    record: dict[str, Any] = {"kind": "plane", "path": str(job.out)}
    record |= {ROLES[n].lower(): model_name(subject) for n, subject in enumerate(spanned.corners)}
    record |= summary(spanned, stored, seen)
    recomputed = mode == "recompute" and setup.statistics is not None
    record |= {
        "grid": list(settings.grid),
        "adaptive": settings.adaptive,
        "reused": meter.reused,
        "to": settings.reference,
        "linearized_at": settings.linearize,
        "splits": stored.splits,
        "samples": len(setup.splits[record["split"]]),
        "batch_norm": mode,
        "bn_samples": len(setup.statistics) if recomputed and setup.statistics is not None else None,
        **job.bench.context(setup),
    }
    shared = {k: v for k, v in job.subjects[0].extra.items() if all(s.extra.get(k) == v for s in job.subjects)}
    return record | {key: value for key, value in shared.items() if key not in record}


def plan_plane(job: PlaneJob) -> dict[str, Any]:
    """What measuring a plane would cost at most: points, images through the network, operations."""
    directions = check_directions(job.subjects, job.settings.directions, len(job.trajectories))
    setup = job.bench.setup(job.subjects)
    points = job.settings.points + len(job.subjects)
    images = sum(map(len, setup.splits.values()))
    if setup.statistics is not None and job.settings.batch_norm == "recompute":
        images += len(setup.statistics)
    each = forward_operations(setup.network, next(iter(setup.splits.values())))
    return {
        "kind": "plan",
        "path": str(job.out),
        **{ROLES[n].lower(): model_name(subject) for n, subject in enumerate(job.subjects)},
        "directions": directions or "networks",
        "network": setup.spec.name,
        "data": setup.data.name,
        "points": points,
        "images": points * images,
        "operations": points * images * each,
    }
