"""Children of a run: from its full state at a time, with their own data order and augmentation."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape_cli.compute.choices import Compile, KeepResume, Precision
from landscape_cli.compute.streams import stream_seed
from landscape_cli.compute.training.protocol import Protocol, Seeds, parse_until
from landscape_cli.compute.training.schedules import total_steps
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.jobs.replaying import materialize
from landscape_cli.jobs.training import TrainJob
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.runs import Run
from landscape_cli.times import Time


@dataclass(frozen=True)
class SpawnPlan:
    """Children to make of one parent.

    Args:
        parent: The parent run.
        network: Its network (given by the person where it is code).
        data: Its data.
        at: Spawn times.
        children: Children at each.
        first_child: The number of the first child, to add more later.
        until: ``end`` of the parent's protocol, ``20ep``, or ``+10ep`` after the spawn time.
        changes: Entries of the protocol that differ from the parent's (lr, schedule, …).
        fresh_optimizer: Start with an empty optimiser state.
        same_stream: Give the children the parent's own streams: they repeat it bit for bit.
        seed: Of the children's streams, beside parent, time and number.
        folder: Where the children go.
        name: Pattern of their names: ``{parent}``, ``{at}``, ``{step}``, ``{child}``, ``{letter}``.
        record: When children record; None for the parent's schedule.
        keep_resume: See TrainJob.
        device: See TrainJob.
        precision: None for the parent's.
        compile: How steps are made; None for the parent's way.
        deterministic: See TrainJob; None for the parent's choice.
        threads: See TrainJob.
        evaluate: Training samples in the metrics; None for the parent's number.
        command: The command line, for the record.
        force: Discard runs that are in the way.
    """

    parent: Run
    network: NetworkSpec
    data: DataSpec
    at: Sequence[Time]
    children: int = 2
    first_child: int = 0
    until: str = "end"
    changes: dict[str, Any] | None = None
    fresh_optimizer: bool = False
    same_stream: bool = False
    seed: int = 0
    folder: Path | None = None
    name: str = "{parent}-at-{at}-child{child}"
    record: str | None = None
    keep_resume: KeepResume = "last"
    device: str = "auto"
    precision: Precision | None = None
    compile: Compile | None = None
    deterministic: bool | None = None
    threads: int | None = None
    evaluate: int | None = None
    command: str = ""
    force: bool = False


def child_jobs(plan: SpawnPlan) -> list[TrainJob]:
    """The training jobs of a plan, in order of spawn time and child.

    Raises:
        UsageError: If a time lies beyond the parent's end, two times are one step, an end is not after its spawn time,
            or a name is taken twice.
        CheckpointError: If the parent is no training run of this toolkit.
    """
    parent = plan.parent
    config = parent.document.get("config") or {}
    if "protocol" not in config or parent.steps_per_epoch is None:
        raise CheckpointError(
            f"{parent.path} was not trained here: its protocol is unknown",
            "train a parent with 'landscape train'",
        )
    if (parent.lineage or {}).get("linearized"):
        raise CheckpointError(
            f"{parent.path} is a linearised run: no network stands behind its steps to be trained on",
            f"spawn from the run it was linearised from, {parent.parent}",
        )
    own = Protocol.from_json(config["protocol"])
    protocol = replace(own, **(plan.changes or {}))
    if protocol.batch_size != own.batch_size or protocol.keep_last_batch != own.keep_last_batch:
        raise UsageError("children keep their parent's batch size: their epochs would not be its epochs")
    jobs: list[TrainJob] = []
    at: dict[int, Time] = {}
    for time in plan.at:
        step = time.step(steps_per_epoch=parent.steps_per_epoch, last=int(config["end"]))
        if step > int(config["end"]):
            raise UsageError(
                f"--at {time} (step {step}) lies beyond the end of {parent.path} (step {config['end']}, "
                f"{config['end'] / parent.steps_per_epoch:.4g}ep)",
                "spawn at or before its end",
            )
        if at.setdefault(step, time) != time:
            # They would have one seed, and so be the same run under two names.
            raise UsageError(f"--at {at[step]} and --at {time} are one step, {step}", "leave one of the two out")
        end = _end(plan.until, step, protocol, parent)
        numbers = range(plan.first_child, plan.first_child + plan.children)
        jobs.extend(_job(plan, protocol, time, step, end, child) for child in numbers)
    refuse_shared_places(jobs)
    return jobs


def refuse_shared_places(jobs: Iterable[TrainJob]) -> None:
    """Make sure that each child has a directory of its own, those of several parents too.

    Raises:
        UsageError: If two have one.
    """
    taken: set[Path] = set()
    for job in jobs:
        place = job.out.resolve()
        if place in taken:
            raise UsageError(
                f"two children would be called {job.out.name}",
                "put {at} and {child} into --name; parents of one name need an --out each",
            )
        taken.add(place)


def _end(until: str, step: int, protocol: Protocol, parent: Run) -> int:
    assert parent.steps_per_epoch is not None
    relative, time = parse_until(until)
    natural = total_steps(protocol, parent.steps_per_epoch)
    end = time.step(steps_per_epoch=parent.steps_per_epoch, last=natural) + (step if relative else 0)
    if time.unit == "last":
        end = natural
    if end < step:
        raise UsageError(f"--until {until} (step {end}) lies before the spawn step {step}")
    if end > natural and protocol.schedule in ("cosine", "linear"):
        raise UsageError(
            f"--until {until} goes beyond the {protocol.schedule} schedule, which is zero after "
            f"{protocol.epochs:g} epochs",
            "give the children another one: --schedule constant --lr …",
        )
    return end


def _job(plan: SpawnPlan, protocol: Protocol, time: Time, step: int, end: int, child: int) -> TrainJob:
    parent = plan.parent
    config = parent.document["config"]
    seeds = Seeds(**config["seeds"])
    if not plan.same_stream:
        # By step and number, so that children of different times share no epoch's order either.
        own = stream_seed("child", plan.seed, seeds.order, seeds.augment, seeds.dropout, step, child)
        seeds = Seeds(init=seeds.init, order=own, augment=own, dropout=own)
    folder = plan.folder or parent.path.parent
    try:
        name = plan.name.format(
            parent=parent.name, at=str(time).replace(":", ""), step=step, child=child, letter=chr(ord("a") + child)
        )
    except (KeyError, IndexError, ValueError):
        raise UsageError(
            f"--name '{plan.name}' is no pattern", "it may hold {parent}, {at}, {step}, {child} and {letter}"
        ) from None
    return TrainJob(
        out=folder / name,
        network=plan.network,
        data=plan.data,
        protocol=protocol,
        seeds=seeds,
        record=plan.record or config["record"],
        keep_resume=plan.keep_resume,
        end=end,
        lineage={
            # Relative, so that a folder of runs can be moved.
            "parent": os.path.relpath(parent.path, folder / name),
            "parent_name": parent.name,
            "step": step,
            "epoch": step / (parent.steps_per_epoch or 1),
            "child": child,
            "hash": None,
            "fresh_optimizer": plan.fresh_optimizer,
            "same_stream": plan.same_stream,
        },
        device=plan.device,
        precision=plan.precision or config["precision"],
        compile=plan.compile or config.get("compile", "auto"),
        deterministic=config.get("deterministic", True) if plan.deterministic is None else plan.deterministic,
        threads=plan.threads,
        evaluate=plan.evaluate or config["evaluated"],
        command=plan.command,
        force=plan.force,
    )


def with_origin(plan: SpawnPlan, job: TrainJob) -> TrainJob:
    """The job with the hash of the weights it starts from; the parent's state is made where it is missing.

    Raises:
        CheckpointError: If it cannot be made.
        ConflictError: If the parent's data have changed since, or replaying it does not reproduce it.
    """
    assert job.lineage is not None
    return replace(job, lineage={**job.lineage, "hash": materialize(plan, int(job.lineage["step"]))})
