"""Linearised training from times of a run, and beside it ordinary training at the same low learning rate."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from landscape_cli.compute.choices import KeepResume, Precision
from landscape_cli.compute.tangent.linearized import Order
from landscape_cli.compute.training.schedules import total_steps
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import UsageError
from landscape_cli.jobs.lineage import beginning_of
from landscape_cli.jobs.linearizations import LinearizedSpec
from landscape_cli.jobs.spawning import SpawnPlan, child_jobs, with_origin
from landscape_cli.jobs.subjects import load_data
from landscape_cli.jobs.training import TrainJob, plan_training
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.runs import Run, is_run
from landscape_cli.times import Time

Kind = Literal["linearized", "low-lr"]

FORWARD_PASSES = {1: 5, 2: 10}  # of a linearised step, in ordinary forward passes; an ordinary step takes three


@dataclass(frozen=True)
class LinearizePlan:
    """Linearised training from times of a run.

    All children train by SGD with momentum at a constant learning rate, without weight decay, from a fresh optimiser.

    Args:
        parent: The run.
        network: Its network (given by the person where it is code).
        data: Its data.
        at: The times t̃.
        order: Of the Taylor polynomial.
        lr: Learning rate.
        momentum: Momentum.
        epochs: Length.
        batch_size: Samples a step; None for the parent's.
        augment: Augmentation; None for the parent's.
        repeats: Children at each time, each with a data order of its own.
        low_lr: Train the network itself beside each: same start, protocol and data order.
        seed: Of the children's streams, beside parent, time and number.
        folder: Where the children go; None for beside the parent.
        name: Pattern of their names: ``{parent}``, ``{at}``, ``{step}``, ``{kind}``, ``{child}``, ``{letter}``.
        record: When children record. Their first step is always among it: it holds w̃.
        keep_resume: See TrainJob.
        device: See TrainJob.
        precision: None for the parent's.
        threads: See TrainJob.
        evaluate: Training samples in the metrics; None for the parent's number.
        command: The command line, for the record.
        force: Discard runs that are in the way.
    """

    parent: Run
    network: NetworkSpec
    data: DataSpec
    at: Sequence[Time]
    order: Order = 1
    lr: float = 1e-3
    momentum: float = 0.9
    epochs: float = 200.0
    batch_size: int | None = None
    augment: str | None = None
    repeats: int = 1
    low_lr: bool = False
    seed: int = 0
    folder: Path | None = None
    name: str = "{parent}-at-{at}-{kind}-{child}"
    record: str = "auto"
    keep_resume: KeepResume = "last"
    device: str = "auto"
    precision: Precision | None = None
    threads: int | None = None
    evaluate: int | None = None
    command: str = ""
    force: bool = False


@dataclass(frozen=True)
class LinearizeWork:
    """One child.

    Args:
        time: The time it starts from.
        kind: Whether it is linearised, or ordinary training beside that.
        job: Its training; the weights it starts from may still have to be made (:func:`prepared`).
        plan: What it is part of.
        spawn: How its start is made.
    """

    time: Time
    kind: Kind
    job: TrainJob
    plan: LinearizePlan
    spawn: SpawnPlan


def linearize_work(plan: LinearizePlan) -> list[LinearizeWork]:
    """The children of a plan, in order of time and repeat; a linearised one before the ordinary one beside it.

    Raises:
        UsageError: If a time lies beyond the parent's end, a batch is larger than the data, or two children would have
            one name.
        CheckpointError: If the parent is no training run of this toolkit.
    """
    kinds: list[Kind] = ["linearized", "low-lr"] if plan.low_lr else ["linearized"]
    if len(kinds) > 1 and "{kind}" not in plan.name:
        raise UsageError("the children beside linearised ones would have their names", "put {kind} into --name")
    found: list[list[LinearizeWork]] = []
    for kind in kinds:
        spawn = _spawn_plan(plan, f"order{plan.order}" if kind == "linearized" else kind)
        times = [time for time in plan.at for _ in range(plan.repeats)]
        jobs = zip(times, child_jobs(spawn), strict=True)
        found.append([LinearizeWork(time, kind, _job(plan, kind, job), plan, spawn) for time, job in jobs])
    return [work for beside in zip(*found, strict=True) for work in beside]


def _spawn_plan(plan: LinearizePlan, kind: str) -> SpawnPlan:
    changes: dict[str, Any] = {
        "optimizer": "sgd",
        "lr": plan.lr,
        "momentum": plan.momentum,
        "weight_decay": 0.0,
        "schedule": "constant",
        "milestones": (),
        "warmup": 0.0,
        "epochs": plan.epochs,
    }
    return SpawnPlan(
        parent=plan.parent,
        network=plan.network,
        data=plan.data,
        at=plan.at,
        children=plan.repeats,
        until=f"+{plan.epochs}ep",
        changes=changes if plan.augment is None else {**changes, "augment": plan.augment},
        fresh_optimizer=True,
        seed=plan.seed,
        folder=plan.folder,
        name=plan.name.replace("{kind}", kind),
        record=plan.record,
        keep_resume=plan.keep_resume,
        device=plan.device,
        precision=plan.precision,
        threads=plan.threads,
        evaluate=plan.evaluate,
        command=plan.command,
        force=plan.force,
    )


def _job(plan: LinearizePlan, kind: Kind, job: TrainJob) -> TrainJob:
    """A child's job in batches of its own size; a linearised one begins its record with w̃."""
    assert job.lineage is not None
    first = int(job.lineage["step"])
    if plan.batch_size not in (None, job.protocol.batch_size):
        protocol = replace(job.protocol, batch_size=plan.batch_size)
        own = protocol.steps_per_epoch(len(load_data(plan.data).train))
        first = round(job.lineage["epoch"] * own)
        lineage = {**job.lineage, "first_step": first}
        job = replace(job, protocol=protocol, end=first + total_steps(protocol, own), lineage=lineage)
    if kind == "linearized":
        lineage = {**(job.lineage or {}), "linearized": {"order": plan.order, "hash": None}}
        record = f"step:{first}+last" if job.record == "last" else job.record
        job = replace(job, lineage=lineage, record=record)
    return job


def prepared(work: LinearizeWork) -> TrainJob:
    """The job of a child, ready to be trained; the parent's weights at its time are made where they are missing.

    Raises:
        CheckpointError: If they cannot be made.
        ConflictError: If replaying the parent does not reproduce it.
    """
    job = with_origin(work.spawn, work.job)
    assert job.lineage is not None
    if work.kind == "low-lr":
        return job
    digest, step = str(job.lineage["hash"]), int(job.lineage["step"])
    order = work.plan.order
    network = LinearizedSpec(
        job.network.name,
        job.network.options,
        order=order,
        base=digest,
        places=(work.plan.parent.checkpoint(step).path.absolute(),),
    )
    return replace(
        job,
        network=network,
        lineage={**job.lineage, "linearized": {"order": order, "step": step, "hash": digest}},
    )


def planned(work: LinearizeWork) -> dict[str, Any]:
    """What a child would cost, without training it; see :func:`landscape_cli.jobs.training.plan_training`."""
    record = plan_training(work.job)
    passes = FORWARD_PASSES[work.plan.order] if work.kind == "linearized" else 3
    return {**record, "operations": record["operations"] * passes // 3, "step_cost": passes / 3}


class Comparisons:
    """Brings the runs of each time together as they finish.

    Args:
        work: All children, in the order of their numbers.

    Attributes:
        notes: What a user should know of the comparisons made.
    """

    def __init__(self, work: Sequence[LinearizeWork]) -> None:
        self.work = work
        self.notes: list[str] = []
        self._done: dict[int, Mapping[str, Any]] = {}

    def add(self, number: int, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take a finished run; returns the summary of its time if that was its last."""
        own = self.work[number]
        self._done[number] = record
        mine = [k for k, one in enumerate(self.work) if one.plan is own.plan and one.time == own.time]
        if any(k not in self._done for k in mine):
            return None
        sides: dict[Kind, list[Mapping[str, Any]]] = {"linearized": [], "low-lr": []}
        for k in mine:
            sides[self.work[k].kind].append(self._done[k])
        found = summary(own.plan, own.time, sides["linearized"], sides["low-lr"])
        if found.get("end_point") is False:
            self.notes.append(
                f"{found['path']}: what is trained from the end of a run should keep its test error, "
                f"{found['parent_test_error']:.4g} within {found['tolerance']:.2g}; it has "
                f"{found['test_error']:.4g} linearised and {found['low_lr_test_error']:.4g} at the low rate"
            )
        return found


def summary(
    plan: LinearizePlan,
    time: Time,
    linearized: Sequence[Mapping[str, Any]],
    low_lr: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What linearised training reaches from a time t̃, beside the parent and the low-learning-rate children.

    The nonlinear advantage is ``error(linearised) − error(low lr)`` on the test set, mean and standard deviation over
    repeats, which are paired: both have the same start and data order. At the parent's end T both must meet the
    parent's own error (the reviewers' check): a difference of at most two standard errors of two error rates,
    ``2 √(2 p (1 − p)/n)``, p the parent's error and at least 1/n.

    Args:
        plan: What was trained.
        time: The time t̃.
        linearized: Records of the finished linearised runs.
        low_lr: Records of the runs beside them, in the same order; empty if there were none.
    """
    parent, first = plan.parent, linearized[0]
    end = end_metrics(parent)
    step, last = int(first["spawn_step"]), int(parent.document["config"]["end"])
    config = Run.open(Path(first["path"])).document["config"]
    record: dict[str, Any] = {
        "kind": "linearization",
        "path": f"{parent.path}@{time}",
        "parent": str(parent.path),
        "at": str(time),
        "spawn_step": step,
        "spawn_epoch": first["spawn_epoch"],
        "order": plan.order,
        "repeats": len(linearized),
        "lr": plan.lr,
        "momentum": plan.momentum,
        "epochs": plan.epochs,
        "batch_size": config["protocol"]["batch_size"],
        "augment": config["protocol"]["augment"],
    }
    for split in ("test", "train"):
        for quantity in ("error", "loss"):
            name = f"{split}_{quantity}"
            record[f"parent_{name}"] = end.get(name)
            record |= _spread(name, [run[name] for run in linearized])
            if low_lr:
                record |= _spread(f"low_lr_{name}", [run[name] for run in low_lr])
    if low_lr:
        pairs = zip(linearized, low_lr, strict=True)
        record |= _spread("advantage", [one["test_error"] - two["test_error"] for one, two in pairs])
    if step == last and record["parent_test_error"] is not None:
        record |= _end_point(record, int(parent.document["data"]["test_samples"]))
    return record | {
        "linearized_runs": [run["path"] for run in linearized],
        "low_lr_runs": [run["path"] for run in low_lr] or None,
        "network": first["network"],
        "data": first["data"],
        "precision": config["precision"],
    }


def summaries_of(linearized: Sequence[Run], low_rate: Sequence[Run]) -> list[dict[str, Any]]:
    """The records of linearised runs that are there, as ``linearize`` gave them when it made them; by time.

    Runs of one parent, time, order and protocol are repeats. A partner at the low rate counts where every repeat has
    one. Runs that are not finished, or whose parent is gone, are left out.
    """
    groups: dict[str, list[Run]] = {}
    for run in linearized:
        lineage, config = run.lineage or {}, run.document["config"]
        if run.status == "finished" and run.parent is not None and is_run(run.parent):
            order = lineage["linearized"]["order"]
            key = [str(run.parent.resolve()), int(lineage["step"]), order, config["protocol"]]
            groups.setdefault(json.dumps(key), []).append(run)
    partners = {beginning_of(run): run for run in low_rate if run.status == "finished"}
    found = []
    for runs in groups.values():
        assert runs[0].parent is not None
        parent, config, lineage = Run.open(runs[0].parent), runs[0].document["config"], runs[0].lineage or {}
        protocol = config["protocol"]
        plan = LinearizePlan(
            parent=parent, network=NetworkSpec.from_json(config["network"]), data=DataSpec.from_json(config["data"]),
            at=(), order=lineage["linearized"]["order"], lr=protocol["lr"], momentum=protocol["momentum"],
            epochs=protocol["epochs"],
        )  # fmt: skip
        beside = [partners[beginning_of(run)] for run in runs if beginning_of(run) in partners]
        low = [run.record() for run in beside] if len(beside) == len(runs) else []
        time = Time("step", Fraction(int(lineage["step"])))
        found.append(summary(plan, time, [run.record() for run in runs], low))
    return sorted(found, key=lambda record: (record["parent"], record["spawn_step"]))


def end_metrics(run: Run) -> Mapping[str, Any]:
    """Losses and errors of a run at its end, or where it is now."""
    rows = read_metrics(run.path)
    return run.document.get("result") or (rows[-1] if rows else {})


def _spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard deviation, the latter None for one value."""
    return {
        name: statistics.fmean(values),
        f"{name}_sd": statistics.stdev(values) if len(values) > 1 else None,
    }


def _end_point(record: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Whether what starts at the parent's end stays at the parent's error."""
    own = record["parent_test_error"]
    p = min(max(own, 1 / samples), 1 - 1 / samples)
    tolerance = 2 * math.sqrt(2 * p * (1 - p) / samples)
    found = [record[name] for name in ("test_error", "low_lr_test_error") if name in record]
    return {"end_point": all(abs(error - own) <= tolerance for error in found), "tolerance": tolerance}
