"""The steps of a run, and what is written of them."""

import contextlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from landscape_cli.compute.device import Placement
from landscape_cli.compute.evaluation import evaluate
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.training.trainer import Trainer, TrainingState
from landscape_cli.datasets import DataSet
from landscape_cli.errors import DivergedError, InterruptedRunError
from landscape_cli.jobs.beginnings import put_other_weights
from landscape_cli.jobs.saving import Saver, Snapshot
from landscape_cli.jobs.states import origin_state, resume_point
from landscape_cli.jobs.stopping import Stop
from landscape_cli.jobs.subjects import load_state
from landscape_cli.store.checkpoints import write_tensors
from landscape_cli.store.metrics import append_metrics, forget_after, read_metrics
from landscape_cli.store.resume import write_state
from landscape_cli.store.runs import CHECKPOINTS, RESUME, Run, step_name

if TYPE_CHECKING:
    from landscape_cli.jobs.training import TrainJob

Progress = Callable[[int, int], None]

SAVE_SECONDS = 300.0  # at most this much work is lost to a kill between two checkpoints
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}  # precisions of products only
EVALUATION_BATCH = {"cuda": 1000}  # samples a pass; elsewhere what the caches of a CPU like


@dataclass(frozen=True)
class Session:
    """A training job with everything loaded.

    Args:
        job: The job.
        where: Device, and the precision of weights.
        data: The data set.
        network: The network, as the run begins.
        train: The training set on the device.
        measured: What each recorded point is measured on, by name.
        steps_per_epoch: Steps an epoch.
        start: The first step.
        end: The last.
        config: What decides the result.
        records: Steps to record.
    """

    job: "TrainJob"
    where: Placement
    data: DataSet
    network: nn.Module
    train: Samples
    measured: dict[str, Samples]
    steps_per_epoch: int
    start: int
    end: int
    config: dict[str, Any]
    records: frozenset[int]


def training_steps(
    session: Session, run: Run, *, stop: Stop, progress: Progress | None, resumed: bool
) -> Generator[None, None, dict[str, Any]]:
    """Train a run from where it is to its end, giving way after each step.

    Args:
        session: The job.
        run: Its directory, made or continued.
        stop: Asked after each step.
        progress: Told the steps done and in all.
        resumed: Whether the run was there before.

    Returns:
        The run's record.

    Raises:
        DivergedError: If a loss is no number; the run says so from now on.
        InterruptedRunError: If a stop was asked for; all that was done is on the disk.
        StorageError: If something could not be written.
    """
    job = session.job
    begun = time.monotonic()
    before = float(run.document.get("seconds") or 0.0)
    start, optimizer = session.start, None
    point = resume_point(run) if resumed else None
    if point is not None:
        start, weights, optimizer = point
        load_state(session.network, weights, f"the resume state of {run.path}")
    elif job.lineage is not None:
        weights, optimizer = origin_state(run)
        load_state(session.network, weights, f"the parent {run.parent}")
    else:
        put_other_weights(session.network, session.config, job.out, job.init_from)
    if resumed:
        run = run.update(status="running")
    forget_after(run.path, start if point else -1)
    if progress is not None:
        progress(start - session.start, session.end - session.start)
    trainer = Trainer(
        session.network,
        session.train,
        job.protocol,
        job.seeds,
        start=start,
        optimizer=optimizer,
        autocast=AUTOCAST.get(job.precision),
        prime=point is None and job.lineage is None,
        compile=job.compile,
    )

    def seconds() -> float:
        return before + time.monotonic() - begun

    try:
        with Saver() as saver:
            yield from _walk(session, run, trainer, saver, stop, progress, recorded=point is not None)
            saver.flush()
    except DivergedError as error:
        run.update(status="diverged", result={"diverged_at": error.step}, seconds=seconds(), **_made(run, trainer))
        raise DivergedError(f"{run.path}: {error.message}", error.hint) from None
    except InterruptedRunError:
        run.update(status="interrupted", seconds=seconds(), **_made(run, trainer))
        raise
    return _finish(session, run.update(**_made(run, trainer)), seconds())


def _walk(
    session: Session,
    run: Run,
    trainer: Trainer,
    saver: Saver,
    stop: Stop,
    progress: Progress | None,
    *,
    recorded: bool,
) -> Generator[None, None, None]:
    """Take the steps; ``recorded`` says that the point where they begin is on the disk."""
    saved = time.monotonic()
    if trainer.taken in session.records and not recorded:
        _record(session, run, trainer.state(), saver)
    while trainer.taken < session.end:
        trainer.advance()
        if progress is not None:
            progress(trainer.taken - session.start, session.end - session.start)
        yield
        asked = stop.requested
        if trainer.taken in session.records:
            _record(session, run, trainer.state(), saver)
        elif asked or time.monotonic() - saved > SAVE_SECONDS:
            _save_rolling(run, trainer.state(), saver)
        else:
            continue
        saved = time.monotonic()
        if asked and trainer.taken < session.end:
            saver.flush()
            raise InterruptedRunError(
                f"stopped at step {trainer.taken} of {session.end}; {run.path} is kept",
                "the same command without --force continues it"
                if session.job.force
                else "the same command continues it",
            )


def _record(session: Session, run: Run, state: TrainingState, saver: Saver) -> None:
    """Measure the network, and hand its checkpoint, metrics and optimiser state to the saver."""
    epoch = state.step / session.steps_per_epoch
    row: dict[str, Any] = {"step": state.step, "epoch": epoch, "lr": state.lr}
    weights, optimizer = Snapshot(state.network.state_dict()), Snapshot(state.optimizer)
    for name, samples in session.measured.items():
        batch = EVALUATION_BATCH.get(session.where.device.type, BATCH)
        result = evaluate(state.network, samples, batch=batch)
        row |= {f"{name}_loss": result.loss, f"{name}_error": result.error}
    trainable = [p.detach() for p in state.network.parameters() if p.requires_grad]
    row["weight_norm"] = float(torch.nn.utils.get_total_norm(trainable))
    row |= {"batch_loss": state.batch_loss, "gradient_norm": state.gradient_norm}

    def write() -> None:
        # The optimiser's state comes last: whoever resumes trusts what that one names.
        path = run.path / CHECKPOINTS / step_name(state.step)
        write_tensors(path, weights.tensors(), {"step": state.step, "epoch": epoch, "kind": "weights"})
        append_metrics(run.path, row)
        write_state(run.resume_file(state.step), step=state.step, optimizer=optimizer.tensors())
        if session.job.keep_resume != "all":
            _forget_states(run, keep=state.step)
        run.rolling_file.unlink(missing_ok=True)

    saver.save(write, weights.nbytes + optimizer.nbytes)


def _save_rolling(run: Run, state: TrainingState, saver: Saver) -> None:
    weights, optimizer = Snapshot(state.network.state_dict()), Snapshot(state.optimizer)

    def write() -> None:
        kept: dict[str, Tensor] = optimizer.tensors()
        write_state(run.rolling_file, step=state.step, optimizer=kept, network=weights.tensors())

    saver.save(write, weights.nbytes + optimizer.nbytes)


def _made(run: Run, trainer: Trainer) -> dict[str, Any]:
    """How steps were made, beside what they were made with."""
    steps = {"way": trainer.way} if trainer.reason is None else {"way": trainer.way, "reason": trainer.reason}
    return {"environment": {**(run.document.get("environment") or {}), "steps": steps}}


def _forget_states(run: Run, *, keep: int | None) -> None:
    for step in run.steps(RESUME):
        if step != keep:
            run.resume_file(step).unlink(missing_ok=True)


def _finish(session: Session, run: Run, seconds: float) -> dict[str, Any]:
    run.rolling_file.unlink(missing_ok=True)
    if session.job.keep_resume == "none":
        _forget_states(run, keep=None)
        with contextlib.suppress(OSError):  # not empty: something of somebody else's is in it
            (run.path / RESUME).rmdir()
    last = read_metrics(run.path)[-1]
    run = run.update(
        status="finished",
        finished=now(),
        seconds=round(seconds, 3),
        result={k: last[k] for k in ("step", "epoch", "train_loss", "train_error", "test_loss", "test_error")},
    )
    return run.record(skipped=False)


def now() -> str:
    """The time, as descriptions of runs have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
