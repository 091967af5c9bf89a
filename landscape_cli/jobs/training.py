"""A training run, from nothing or from where it stopped, into its directory."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape_cli.compute.choices import InitName, KeepResume, Precision
from landscape_cli.compute.device import Placement, math_mode, place, placement, set_threads
from landscape_cli.compute.evaluation import evaluate, forward_operations
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.recording import recorded_steps
from landscape_cli.compute.training.schedules import total_steps
from landscape_cli.compute.training.trainer import TrainingState, train
from landscape_cli.datasets import DataSet, DataSpec
from landscape_cli.errors import ConflictError, DataError, DeviceError, DivergedError, InterruptedRunError
from landscape_cli.jobs.beginnings import beginning_entries, initial_network, put_other_weights, without_places
from landscape_cli.jobs.environment import environment
from landscape_cli.jobs.states import origin_state, resume_point
from landscape_cli.jobs.stopping import Stop, watching
from landscape_cli.jobs.subjects import load_data, load_state, samples_of, subset
from landscape_cli.networks.registry import NetworkSpec, resolve
from landscape_cli.store.checkpoints import write_tensors
from landscape_cli.store.locks import exclusive
from landscape_cli.store.metrics import append_metrics, forget_after, read_metrics
from landscape_cli.store.resume import write_state
from landscape_cli.store.runs import CHECKPOINTS, RESUME, Run, clear, first_difference, first_step, is_run, step_name

Progress = Callable[[int, int], None]

SAVE_SECONDS = 300.0  # at most this much work is lost to a kill between two checkpoints
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
        init: How initial weights are drawn.
        init_from: Begin with the weights and buffers of this checkpoint: ``RUN``, ``RUN@TIME`` or a file.
        record: When to record; see :func:`landscape_cli.compute.training.recording.recorded_steps`.
        keep_resume: Optimiser states to keep: beside every checkpoint, of the last one, or none once finished.
        end: The last step; None for the protocol's length.
        lineage: What the run is spawned from: ``parent`` (relative to ``out``), ``parent_name``, ``step``, ``epoch``,
            ``child``, ``hash`` of the weights it starts from, ``fresh_optimizer``, ``same_stream``; None for its own.
        device: ``auto``, ``cpu``, ``cuda``, …
        precision: ``float32``, ``float64``, ``tf32``, or ``bf16`` (products only).
        threads: Of the CPU; None for torch's choice.
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
    init: InitName = "default"
    init_from: str | None = None
    record: str = "auto"
    keep_resume: KeepResume = "all"
    end: int | None = None
    lineage: dict[str, Any] | None = None
    device: str = "auto"
    precision: Precision = "float32"
    threads: int | None = None
    evaluate: int | None = None
    classes: int | None = None
    command: str = ""
    force: bool = False
    together: dict[str, Any] | None = None


@dataclass
class _Session:
    """A training job with everything loaded."""

    job: TrainJob
    where: Placement
    data: DataSet
    network: nn.Module
    train: Samples
    measured: dict[str, Samples]
    steps_per_epoch: int
    start: int
    end: int
    config: dict[str, Any]
    records: set[int]
    stop: Stop = field(default_factory=Stop)
    saved: float = field(default_factory=time.monotonic)


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
    set_threads(job.threads)
    session = _load(job)
    with exclusive(job.out), watching() as stop, math_mode(session.where):
        session.stop = stop
        if job.force:
            clear(job.out)
        existing = _existing(session)
        if existing is not None and existing.status == "finished":
            return existing.record(skipped=True)
        run = existing or _create(session)
        return _train(session, run, progress, resumed=existing is not None)


def _load(job: TrainJob) -> _Session:
    where = placement(job.device, job.precision)
    if job.precision == "fp16":
        raise DeviceError("training in fp16 is not offered", "use --precision bf16: it needs no loss scaling")
    exact = Placement(where.device, "float32" if job.precision == "bf16" else job.precision)
    data = load_data(job.data)
    if job.classes not in (None, data.classes):
        raise DataError(
            f"the preset is for {job.classes} classes, but {data.name} has {data.classes}",
            "give the protocol without --preset",
        )
    steps_per_epoch = job.protocol.steps_per_epoch(len(data.train))
    start = first_step(job.lineage)
    end = total_steps(job.protocol, steps_per_epoch) if job.end is None else job.end
    network = place(initial_network(resolve(job.network), data, seed=job.seeds.init, init=job.init), exact)
    train_samples = samples_of(data.train, data.normalization, exact)
    count = min(len(data.train), job.evaluate or max(EVALUATED, len(data.test)))
    part = subset(data.train, count, data.classes, 0)
    measured = train_samples if part is data.train else samples_of(part, data.normalization, exact)
    return _Session(
        job=job,
        where=exact,
        data=data,
        network=network,
        train=train_samples,
        measured={"train": measured}
        | {name: samples_of(data.split(name), data.normalization, exact) for name in ("test", *data.probes)},
        steps_per_epoch=steps_per_epoch,
        start=start,
        end=end,
        config=configuration(job, data, end, count),
        records=set(
            recorded_steps(
                job.record,
                steps_per_epoch=steps_per_epoch,
                start=start,
                end=end,
                clip=job.lineage is not None,
            )
        ),
    )


def plan_training(job: TrainJob) -> dict[str, Any]:
    """What a job would do and cost, without doing it.

    Returns:
        Steps, recorded checkpoints, bytes on disk (checkpoints and kept resume states), and floating-point operations
        (three forward passes a step, counted by torch on one input; evaluations not counted).
    """
    session = _load(job)
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
    return {
        "network": resolve(job.network).to_json(),
        "data": job.data.absolute().to_json(),
        "protocol": job.protocol.to_json(),
        "seeds": asdict(job.seeds),
        "record": job.record,
        "end": end,
        "precision": job.precision,
        "evaluated": evaluated,
        **beginning_entries(job.init, job.init_from, job.out),
    }


def _existing(session: _Session) -> Run | None:
    """The run that is already in the directory, if it is the one asked for."""
    job = session.job
    if not is_run(job.out):
        clear(job.out)  # refuses a directory of other things
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


def _create(session: _Session) -> Run:
    job, data = session.job, session.data
    job.out.mkdir(parents=True, exist_ok=True)
    return Run.write(
        job.out,
        {
            "kind": "run",
            "status": "running",
            "command": job.command,
            "created": _now(),
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _train(session: _Session, run: Run, progress: Progress | None, *, resumed: bool) -> dict[str, Any]:
    job = session.job
    begun = time.monotonic()
    before = float(run.document.get("seconds") or 0.0)
    start, optimizer = session.start, None
    point = resume_point(run) if resumed else None
    if point is not None:
        start, weights, optimizer = point
        load_state(session.network, weights, f"the resume state of {run.path}")
        run = run.update(status="running")
    elif job.lineage is not None:
        weights, optimizer = origin_state(run)
        load_state(session.network, weights, f"the parent {run.parent}")
    else:
        put_other_weights(session.network, session.config, job.out, job.init_from)
    forget_after(run.path, start if point else -1)
    if progress is not None:
        progress(start - session.start, session.end - session.start)

    def wanted(step: int) -> bool:
        late = time.monotonic() - session.saved > SAVE_SECONDS
        return step in session.records or late or session.stop.requested

    def on_step(step: int) -> None:
        if progress is not None:
            progress(step - session.start, session.end - session.start)

    states = train(
        session.network,
        session.train,
        job.protocol,
        job.seeds,
        start=start,
        end=session.end,
        optimizer=optimizer,
        autocast=torch.bfloat16 if job.precision == "bf16" else None,
        prime=point is None and job.lineage is None,
        wanted=wanted,
        on_step=on_step,
    )
    try:
        for state in states:
            again = point is not None and state.step == start
            if state.step in session.records and not again:
                _record(session, run, state)
            elif not again:
                _save_rolling(run, state)
            session.saved = time.monotonic()
            if session.stop.requested and state.step < session.end:
                run.update(status="interrupted", seconds=before + time.monotonic() - begun)
                raise InterruptedRunError(
                    f"stopped at step {state.step} of {session.end}; {run.path} is kept",
                    "the same command continues it",
                )
    except DivergedError as error:
        run.update(status="diverged", result={"diverged_at": error.step}, seconds=before + time.monotonic() - begun)
        raise DivergedError(f"{run.path}: {error.message}", error.hint) from None
    return _finish(session, run, before + time.monotonic() - begun)


def _record(session: _Session, run: Run, state: TrainingState) -> None:
    """Write a checkpoint, its metrics, and last the optimiser's state: whoever resumes trusts what that one names."""
    epoch = state.step / session.steps_per_epoch
    weights = state.network.state_dict()
    row: dict[str, Any] = {"step": state.step, "epoch": epoch, "lr": state.lr}
    for name, samples in session.measured.items():
        result = evaluate(state.network, samples)
        row |= {f"{name}_loss": result.loss, f"{name}_error": result.error}
    trainable = [p.detach() for p in state.network.parameters() if p.requires_grad]
    row["weight_norm"] = float(torch.nn.utils.get_total_norm(trainable))
    row |= {"batch_loss": state.batch_loss, "gradient_norm": state.gradient_norm}
    write_tensors(
        run.path / CHECKPOINTS / step_name(state.step),
        weights,
        {"step": state.step, "epoch": epoch, "kind": "weights"},
    )
    append_metrics(run.path, row)
    write_state(run.resume_file(state.step), step=state.step, optimizer=state.optimizer)
    if session.job.keep_resume != "all":
        _forget_states(run, keep=state.step)
    run.rolling_file.unlink(missing_ok=True)


def _save_rolling(run: Run, state: TrainingState) -> None:
    write_state(run.rolling_file, step=state.step, optimizer=state.optimizer, network=state.network.state_dict())


def _forget_states(run: Run, *, keep: int | None) -> None:
    for step in run.steps(RESUME):
        if step != keep:
            run.resume_file(step).unlink(missing_ok=True)


def _finish(session: _Session, run: Run, seconds: float) -> dict[str, Any]:
    run.rolling_file.unlink(missing_ok=True)
    if session.job.keep_resume == "none":
        _forget_states(run, keep=None)
        with contextlib.suppress(OSError):  # not empty: something of somebody else's is in it
            (run.path / RESUME).rmdir()
    last = read_metrics(run.path)[-1]
    run = run.update(
        status="finished",
        finished=_now(),
        seconds=round(seconds, 3),
        result={k: last[k] for k in ("step", "epoch", "train_loss", "train_error", "test_loss", "test_error")},
    )
    return run.record(skipped=False)
