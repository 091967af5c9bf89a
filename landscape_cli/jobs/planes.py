"""Measuring planes of weight space between checkpoints on disk."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import forward_operations
from landscape_cli.compute.weights.plane_walk import PlaneWalk
from landscape_cli.jobs.bench import Setup
from landscape_cli.jobs.existing import existing, other_result
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.plane_points import VERSION, Meter, Progress, linearized, measured
from landscape_cli.jobs.plane_results import Axis, arrays, corner_rows, mask, seen_from, summary
from landscape_cli.jobs.plane_settings import PlaneJob
from landscape_cli.jobs.plane_spans import ROLES, Spanned, gradient_size, span
from landscape_cli.store.planes import StoredPlane
from landscape_cli.store.tables import Table


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
    directions = job.chosen_directions()
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
        "gradient_samples": gradient_size(bench, setup) if directions == "gradient" else None,
        "settings": settings.identity(),
    }
    if there is not None:
        if there.attributes.get("identity") == json.loads(json.dumps(asked)):
            kept = {**there.attributes["record"], "path": str(job.out), "skipped": True}
            return {"kind": kept.pop("kind"), **kept}
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
        meter = Meter(job, setup, spanned, walk, reference)
        total = settings.points + len(spanned.corners)
        corners = [meter.measure(place) for place in spanned.plane.places[: len(spanned.corners)]]
        # Before the grid: a damaged checkpoint, or a network that cannot be linearised, is told of at once.
        seen = [row for track in tracks for row in seen_from(spanned.plane, track)]
        fields = {} if base is None else meter.linearized_at(base)
        x, y, nodes = measured(meter, settings, spanned, len(corners), total, progress)
        linear, linear_corners = linearized(meter, fields, x, y, nodes)
    _tell_outside(job, seen, x, y)
    stored = StoredPlane(
        x, y, mask(x, y, nodes), arrays(x, y, nodes, linear),
        Table.from_rows(corner_rows(spanned, corners, linear_corners)), Table.from_rows(seen),
        2**settings.levels if settings.adaptive else 1,
    )  # fmt: skip
    record = _record(job, setup, spanned, stored, seen, meter)
    attributes = {
        "identity": asked,
        "record": {**record, "reused": None},  # the same plane is the same file, however it was come by
        "units": spanned.units,
        "metric": np.asarray(spanned.plane.metric),
        "reference": settings.reference,
        "linearized": settings.linearize or "",
        "explained": np.asarray(spanned.explained),
        "directions": directions or "networks",
        "network": setup.spec.name,
        "data": setup.data.name,
        "batch_norm": walk.mode or "",
        "command": job.command,
    }
    StoredPlane(**{**vars(stored), "attributes": attributes}).write(job.out)
    return record


def _tell_outside(job: PlaneJob, seen: Sequence[Mapping[str, Any]], x: Axis, y: Axis) -> None:
    outside = sum(not (x[0] <= row["x"] <= x[-1] and y[0] <= row["y"] <= y[-1]) for row in seen)
    if outside:
        job.note(
            f"{outside} of {len(seen)} checkpoints of the trajectories stand beyond the grid: --margin makes it larger"
        )


def _record(
    job: PlaneJob, setup: Setup, spanned: Spanned, stored: StoredPlane, seen: Sequence[dict[str, Any]], meter: Meter
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
    directions = job.chosen_directions()
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
