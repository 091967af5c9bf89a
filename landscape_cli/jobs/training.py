"""A training run, from nothing or from where it stopped, into its directory."""

import contextlib
import json
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from landscape_cli.compute.choices import Compile, KeepResume, Precision
from landscape_cli.compute.device import Placement, math_mode, place, placement, set_threads, threads_given_back
from landscape_cli.compute.evaluation import forward_operations
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.recording import recorded_steps
from landscape_cli.compute.training.schedules import total_steps
from landscape_cli.datasets import DataSet, DataSpec
from landscape_cli.errors import CheckpointError, ConflictError, DataError, DeviceError, DivergedError
from landscape_cli.jobs.beginnings import beginning_entries, initial_network, without_places
from landscape_cli.jobs.environment import environment
from landscape_cli.jobs.stopping import Stop, watching
from landscape_cli.jobs.subjects import check_network, load_data, samples_of, subset
from landscape_cli.jobs.training_loop import AUTOCAST, Progress, Session, now, training_steps
from landscape_cli.networks.registry import NetworkSpec, resolve
from landscape_cli.store.locks import exclusive
from landscape_cli.store.runs import Run, clear, first_difference, first_step, is_run, refuse_other_things

Shared = dict[str, tuple[Samples, dict[str, Samples]]]

EVALUATED = 10_000  # training samples in the recorded metrics, unless the test part is larger


@dataclass(frozen=True)
class TrainJob:
    """One training run.

    Args:
        out: The run directory.
        network: Which network.
        data: Which data.
        protocol: How to train.
        seeds: Seeds of the streams.
        init: How initial weights are drawn: ``default``, ``corners`` or ``corners:SEED``.
        init_from: Begin with the weights and buffers of this checkpoint: ``RUN``, ``RUN@TIME`` or a file.
        record: When to record; see :func:`landscape_cli.compute.training.recording.recorded_steps`.
        keep_resume: Optimiser states to keep: beside every checkpoint, of the last one, or none once finished.
        end: The last step; None for the protocol's length.
        lineage: What the run is spawned from: ``parent`` (relative to ``out``), ``parent_name``, ``step``, ``epoch``,
            ``child``, ``hash`` of the weights it starts from, ``fresh_optimizer``, ``same_stream``; None for its own.
        device: ``auto``, ``cpu``, ``cuda``, …
        precision: ``float32``, ``float64``, ``tf32``, or ``bf16`` and ``fp16`` (products only).
        compile: How steps are made; see :class:`landscape_cli.compute.training.trainer.Trainer`.
        deterministic: Only kernels that give the same bits each time; else the fastest on trial, on a CUDA device.
        threads: Of the CPU; None for those that a run began with which is continued, else torch's choice.
        evaluate: Training samples in the metrics; None for the default.
        classes: The number of classes the data must have (a preset's); None for any.
        command: The command line, for the record.
        force: Discard a run that is in the way.
        together: How many runs it is trained with, and how, for the record; None for alone.
    """

    out: Path
    network: NetworkSpec
    data: DataSpec
    protocol: Protocol
    seeds: Seeds = field(default_factory=Seeds)
    init: str = "default"
    init_from: str | None = None
    record: str = "auto"
    keep_resume: KeepResume = "all"
    end: int | None = None
    lineage: dict[str, Any] | None = None
    device: str = "auto"
    precision: Precision = "float32"
    compile: Compile = "auto"
    deterministic: bool = True
    threads: int | None = None
    evaluate: int | None = None
    classes: int | None = None
    command: str = ""
    force: bool = False
    together: dict[str, Any] | None = None


def run_training(job: TrainJob, progress: Progress | None = None) -> dict[str, Any]:
    """Train a run into its directory, or continue it, or find it finished.

    Returns:
        The run's record; ``skipped`` says whether it was there already.

    Raises:
        ConflictError: If the directory holds a run of another configuration, or another process writes it.
        DivergedError: If the loss is no number, now or when the run was made.
        InterruptedRunError: If a signal asked to stop; the same job continues later.
        LandscapeError: For data, networks, devices and storage that do not work; see those rooms.
    """
    where = weights_placement(job)
    with watching() as stop, math_mode(where, deterministic=job.deterministic), threads_given_back():
        steps = training(job, stop=stop, progress=progress)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                record: dict[str, Any] = end.value
                return record


def training(
    job: TrainJob, *, stop: Stop, progress: Progress | None = None, shared: Shared | None = None
) -> Generator[None, None, dict[str, Any]]:
    """The same as :func:`run_training`, giving way after each step, so that runs of one process can take turns.

    Args:
        job: The run.
        stop: Asked after each step.
        progress: Told the steps done and in all.
        shared: Data that runs of this process hold in common; filled as they are loaded.

    Returns:
        The run's record.

    Raises:
        LandscapeError: See :func:`run_training`.
    """
    set_threads(job.threads or threads_begun_with(job))
    try:
        session = _load(job, {} if shared is None else shared)
        refuse_other_things(job.out)  # before even a lock is left there
        with exclusive(job.out):
            if job.force or not is_run(job.out):
                clear(job.out)
            existing = _existing(session)
            if existing is not None and existing.status == "finished":
                return existing.record(skipped=True)
            run = existing or _create(session)
            return (yield from training_steps(session, run, stop=stop, progress=progress, resumed=existing is not None))
    except torch.OutOfMemoryError:
        several = (job.together or {}).get("at_once", 1) > 1
        hint = "give the same command with fewer --jobs: it continues" if several else "give another --device"
        raise DeviceError(f"{job.out}: {job.device} has no memory left for it", hint) from None


def threads_begun_with(job: TrainJob) -> int | None:
    """The CPU threads of a run that is there to be continued: another number adds up in another order."""
    if job.force or not is_run(job.out) or weights_placement(job).device.type != "cpu":
        return None
    with contextlib.suppress(CheckpointError):  # told when it is opened to be written
        return Run.open(job.out).threads
    return None


def weights_placement(job: TrainJob) -> Placement:
    """Where a run trains, and the precision of its weights: half precisions are those of products only.

    Raises:
        DeviceError: If the device is not there or cannot do the precision.
    """
    where = placement(job.device, job.precision)
    return Placement(where.device, "float32" if job.precision in AUTOCAST else job.precision)


def _load(job: TrainJob, shared: Shared) -> Session:
    where = weights_placement(job)
    data = load_data(job.data)
    if job.classes not in (None, data.classes):
        raise DataError(
            f"the preset is for {job.classes} classes, but {data.name} has {data.classes}",
            "give the protocol without --preset",
        )
    steps_per_epoch = job.protocol.steps_per_epoch(len(data.train))
    start = first_step(job.lineage)
    end = total_steps(job.protocol, steps_per_epoch) if job.end is None else job.end
    network = place(initial_network(resolve(job.network), data, seed=job.seeds.init, init=job.init), where)
    count = min(len(data.train), job.evaluate or max(EVALUATED, len(data.test)))
    key = json.dumps([job.data.to_json(), where.name, where.precision, count], sort_keys=True)
    if key not in shared:
        shared[key] = _on_device(data, where, count)
    train, measured = shared[key]
    check_network(network, train, data, job.network.name)
    points = recorded_steps(
        job.record, steps_per_epoch=steps_per_epoch, start=start, end=end, clip=job.lineage is not None
    )
    return Session(
        job=job,
        where=where,
        data=data,
        network=network,
        train=train,
        measured=measured,
        steps_per_epoch=steps_per_epoch,
        start=start,
        end=end,
        config=configuration(job, data, end, count),
        records=frozenset(points),
    )


def _on_device(data: DataSet, where: Placement, count: int) -> tuple[Samples, dict[str, Samples]]:
    """The training set, and what is measured: ``count`` of its samples, and the parts that are not trained on."""
    train = samples_of(data.train, data.normalization, where)
    part = subset(data.train, count, data.classes, 0)
    measured = {"train": train if part is data.train else samples_of(part, data.normalization, where)}
    for name in ("test", *data.probes):
        measured[name] = samples_of(data.split(name), data.normalization, where)
    return train, measured


def plan_training(job: TrainJob) -> dict[str, Any]:
    """What a job would do and cost, without doing it.

    Returns:
        Steps, recorded checkpoints, bytes on disk (checkpoints and kept resume states), and floating-point operations
        (three forward passes a step, counted by torch on one input; evaluations not counted).
    """
    session = _load(job, {})
    weights = sum(t.nbytes for t in session.network.state_dict().values())
    slots = 2 if job.protocol.optimizer in ("adam", "adamw") else int(job.protocol.momentum > 0)
    trained = sum(p.nbytes for p in session.network.parameters() if p.requires_grad)
    count = len(session.records)
    states = {"all": count, "last": 1, "none": 0}[job.keep_resume]
    steps = session.end - session.start
    return {
        "kind": "plan",
        "path": str(job.out),
        "network": job.network.name,
        "data": session.data.name,
        "parameters": sum(p.numel() for p in session.network.parameters() if p.requires_grad),
        "first_step": session.start,
        "last_step": session.end,
        "steps_per_epoch": session.steps_per_epoch,
        "checkpoints": count,
        "bytes": count * weights + states * slots * trained,
        "operations": 3 * steps * job.protocol.batch_size * forward_operations(session.network, session.train),
    }


def configuration(job: TrainJob, data: DataSet, end: int, evaluated: int) -> dict[str, Any]:
    """What decides the result of a job: two runs with equal configurations are the same run."""
    # Replayed steps are the steps, bit for bit, and no difference; older runs have none of these entries.
    own: dict[str, Any] = {"compile": "inductor"} if job.compile == "inductor" else {}
    own |= {} if job.deterministic else {"deterministic": False}
    return {
        "network": resolve(job.network).to_json(),
        "data": job.data.absolute().to_json(),
        "protocol": job.protocol.to_json(),
        "seeds": asdict(job.seeds),
        "record": job.record,
        "end": end,
        "precision": job.precision,
        "evaluated": evaluated,
        **own,
        **beginning_entries(job.init, job.init_from, job.out),
    }


def _existing(session: Session) -> Run | None:
    """The run that is already in the directory, if it is the one asked for."""
    job = session.job
    if not is_run(job.out):
        return None
    run = Run.open(job.out)
    run.tidy()
    lineage = {k: v for k, v in (run.lineage or {}).items() if k != "parent"}
    asked = {k: v for k, v in (job.lineage or {}).items() if k != "parent"}
    recorded = {**run.document.get("config", {}), "lineage": lineage, "fingerprint": _fingerprint(run)}
    wanted = {**session.config, "lineage": asked, "fingerprint": session.data.fingerprint}
    # Through JSON and back, so that tuples and lists are the same thing.
    if difference := first_difference(without_places(recorded), _as_json(without_places(wanted))):
        name, old, new = difference
        raise ConflictError(
            f"{job.out} holds a run made otherwise: {name} is {old!r} there, {new!r} was asked for",
            "choose another --out, or --force to discard that run",
        )
    if run.status == "diverged":
        raise DivergedError(
            f"{job.out} diverged at step {run.document.get('result', {}).get('diverged_at')}",
            "lower --lr and choose another --out, or --force to train it again",
        )
    return run


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _as_json(v) for k, v in value.items()}
    return [_as_json(v) for v in value] if isinstance(value, list | tuple) else value


def _fingerprint(run: Run) -> dict[str, str] | None:
    fingerprint: dict[str, str] | None = (run.document.get("data") or {}).get("fingerprint")
    return fingerprint


def _create(session: Session) -> Run:
    job, data = session.job, session.data
    job.out.mkdir(parents=True, exist_ok=True)
    return Run.write(
        job.out,
        {
            "kind": "run",
            "status": "running",
            "command": job.command,
            "created": now(),
            "config": session.config,
            "network": {
                "parameters": sum(p.numel() for p in session.network.parameters() if p.requires_grad),
                "input_shape": list(data.input_shape),
                "classes": data.classes,
            },
            "data": describe_data(data),
            "steps_per_epoch": session.steps_per_epoch,
            "lineage": job.lineage,
            "environment": {**environment(session.where), "together": job.together},
            "keep_resume": job.keep_resume,
            "seconds": 0.0,
        },
    )


def describe_data(data: DataSet) -> dict[str, Any]:
    """What ``run.json`` keeps of a data set beside how to load it."""
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "normalization": None if data.normalization is None else data.normalization.to_json(),
        "classes": data.classes,
        "class_names": None if data.class_names is None else list(data.class_names),
        "train_samples": len(data.train),
        "test_samples": len(data.test),
    }
