"""Training a curve between two checkpoints, writing the networks along it, and walking it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape_cli.compute.device import math_mode
from landscape_cli.compute.streams import stream_seed
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.weights.curve_choices import CurveForm
from landscape_cli.compute.weights.curves import CurvePath, curve_length
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import NetworkError, UsageError
from landscape_cli.jobs.alignment import Aligner, AlignSettings
from landscape_cli.jobs.barriers import Barriers, BarrierSettings, path_points, same_network
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.curve_runs import Curve, open_curve
from landscape_cli.jobs.curve_specs import controls_of, curve_spec, form_of
from landscape_cli.jobs.linearizations import LinearizedSpec
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.subjects import chosen_data
from landscape_cli.jobs.training import TrainJob, plan_training, run_training
from landscape_cli.store.checkpoints import write_tensors
from landscape_cli.store.curves import point_file
from landscape_cli.store.runs import Run

POINTS = 11  # networks written along a curve
FOREIGN = Protocol(lr=0.05, epochs=30.0)  # where the first end does not say how it was trained


@dataclass(frozen=True)
class CurvePlan:
    """A curve to be trained.

    Args:
        out: The curve's run directory.
        first: The network at t = 1.
        second: The network at t = 0.
        form: ``bezier`` or ``chain``.
        bends: Control points between the ends.
        points: Networks written along it, evenly spaced in t.
        changes: Entries of the protocol that are not the first end's; the schedule is a cosine unless given.
        symmetry: The second end is a copy whose hidden units are permuted at random; it computes the same function.
        seed: Of order, augmentation and t.
        data: The data, if a person names it.
        device: See TrainJob.
        threads: See TrainJob.
        evaluate: Training samples in the metrics.
        command: The command line, for the record.
        force: Discard a run that is in the way.
    """

    out: Path
    first: Subject
    second: Subject
    form: CurveForm = "bezier"
    bends: int = 1
    points: int = POINTS
    changes: Mapping[str, Any] = field(default_factory=dict)
    symmetry: bool = False
    seed: int = 0
    data: DataSpec | None = None
    device: str = "auto"
    threads: int | None = None
    evaluate: int | None = None
    command: str = ""
    force: bool = False


def curve_job(plan: CurvePlan, bench: Bench) -> TrainJob:
    """The training of a curve: the first end's own protocol, where it says, with the changes.

    Raises:
        CheckpointError: If the ends are not of one network, or damaged.
        NetworkError: If they are linearised networks.
        UsageError: If it is not known what network or data they are of, a change is none of a protocol's, or the two
            are one network.
    """
    same_network(plan.first.checkpoint, plan.second.checkpoint)
    setup = bench.setup((plan.first, plan.second))
    if isinstance(setup.spec, LinearizedSpec):
        raise NetworkError(
            "a curve is trained through networks, and these are linearised ones",
            "'landscape barrier' walks the line between them",
        )
    ends = (plan.first.checkpoint.tensors(), plan.second.checkpoint.tensors())
    if plan.symmetry:
        graph = Aligner(bench, AlignSettings()).graph(setup)
        draw = np.random.default_rng(stream_seed("symmetry", plan.seed))
        ends = (ends[0], graph.apply(ends[1], graph.shuffled(draw)))
    run = plan.first.run
    recorded = ((run.document.get("config") or {}).get("protocol")) if run is not None else None
    protocol = FOREIGN if recorded is None else Protocol.from_json(recorded)
    usual = {"schedule": "cosine", "milestones": (), "warmup": 0.0, "prime_bn": 0}
    protocol = replace(protocol, **{**usual, **plan.changes})
    spec = curve_spec(setup.spec, ends, plan.form, plan.bends, protocol.weight_decay)
    if spec.first == spec.second:
        raise UsageError(
            f"{plan.first.checkpoint.label} and {plan.second.checkpoint.label} are the same network",
            "a curve joins two; to a permuted copy of one: --symmetry",
        )
    data = chosen_data(run, plan.data) if run is not None else plan.data
    assert data is not None  # the bench has refused checkpoints without data
    seed = plan.seed
    return TrainJob(
        out=plan.out,
        network=spec,
        data=data,
        protocol=replace(protocol, weight_decay=0.0),  # on the points, not on the bends
        seeds=Seeds(seed, seed, seed, seed),
        record="last",
        keep_resume="none",
        device=plan.device,
        threads=plan.threads,
        evaluate=plan.evaluate,
        command=plan.command,
        force=plan.force,
    )


def plan_curve(plan: CurvePlan, bench: Bench) -> dict[str, Any]:
    """What training a curve would cost; see :func:`landscape_cli.jobs.training.plan_training`."""
    return plan_training(curve_job(plan, bench))


def train_curve(
    plan: CurvePlan, bench: Bench, progress: Callable[[int, int], None] | None = None
) -> tuple[Curve, dict[str, Any]]:
    """Train a curve, continue it, or find it finished; then write the networks along it.

    Returns:
        The curve, and the record of its run.

    Raises:
        LandscapeError: As :func:`curve_job` and :func:`landscape_cli.jobs.training.run_training`.
    """
    job = curve_job(plan, bench)
    record = run_training(job, progress)
    run = Run.open(plan.out)
    names = [plan.first.checkpoint.label, plan.second.checkpoint.label + (" permuted" if plan.symmetry else "")]
    if run.document.get("ends") != names:
        run = run.update(ends=names)
    setup = bench.setup((plan.first, plan.second))
    _write_points(run, bench, setup, plan.points)
    curve = open_curve(plan.out)
    trained = [name for name, p in setup.network.named_parameters() if p.requires_grad]
    return curve, record | {"length": curve_length(curve.controls, trained, curve.form)}


def _write_points(run: Run, bench: Bench, setup: Setup, points: int) -> None:
    """The networks at evenly spaced t, their batch norm recomputed; the ends are the ends, to the last bit."""
    form, bends = form_of(run)
    held = run.checkpoint(run.steps()[-1])
    times = [k / (points - 1) for k in range(points)]
    missing = [t for t in times if not point_file(run, t).exists()]
    if not missing:
        return
    controls = controls_of(held.tensors(), bends)
    with math_mode(bench.where):
        path = CurvePath(setup.network, controls, form, statistics=setup.statistics, batch=bench.sampling.batch)
        for t in missing:
            if t in (0.0, 1.0):
                state = controls[0 if t else -1]
            else:
                state = {name: tensor.detach().cpu() for name, tensor in path.go(t).state_dict().items()}
            write_tensors(point_file(run, t), state, {"kind": "weights", "t": t, "curve": held.hash()})


@dataclass(frozen=True)
class MeasuredCurve:
    """A curve beside the line between its ends.

    Args:
        records: One a split.
        points: The path along the curve, then the line, a record a point and split.
    """

    records: list[dict[str, Any]]
    points: list[dict[str, Any]]


def measure_curve(
    bench: Bench,
    curve: Curve,
    run: Mapping[str, Any],
    *,
    points: int,
    fresh: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> MeasuredCurve:
    """The barrier along a curve, and that of the straight line between its ends.

    Args:
        bench: Networks and samples.
        curve: The curve.
        run: The record of its run.
        points: Of the grid.
        fresh: Measure again what is already known.
        progress: Told how many points are done, and of how many.
    """
    barriers = Barriers(bench, BarrierSettings(points, fresh=fresh))
    walked = barriers.along(curve, lambda done, of: progress(done, 2 * of))
    line = barriers.line(curve.first, curve.second, lambda done, of: progress(of + done, 2 * of))
    names, records = curve.run.document["ends"], []
    for along, straight in zip(walked.records, line.records, strict=True):
        told = {f"line_{name}": straight[name] for name in ("error_sup", "loss_sup", "error_mid", "loss_mid")}
        own = {name: run[name] for name in ("path", "length", "seconds", "skipped")}
        bends = len(curve.controls) - 2
        named = dict(zip("ab", names, strict=True))
        records.append({**along, "kind": "curve", **named, **own, "form": curve.form, "bends": bends, **told})
    ends = curve.first.checkpoint, curve.second.checkpoint
    named = dict(zip("ab", names, strict=True))
    return MeasuredCurve(records, [point | named for path in (walked, line) for point in path_points(path, *ends)])
