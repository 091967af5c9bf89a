"""Many runs in one process, taking turns step by step: how a GPU is filled by networks that are too small for it.

Each run has a stream of the device to itself, so that what several have launched runs side by side; the host launches
one step of each in turn (a recorded step is one launch, :mod:`landscape_cli.compute.training.capture`). Nothing is
stacked: the kernels are those of each run alone, and so are its bits. Data sets are held once.
"""

import contextlib
import gc
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from landscape_cli.compute.device import math_mode
from landscape_cli.errors import InterruptedRunError, LandscapeError, UnforeseenError
from landscape_cli.jobs.stopping import Stop, watching
from landscape_cli.jobs.training import Shared, TrainJob, training, weights_placement
from landscape_cli.jobs.training_loop import Progress

Outcome = dict[str, Any] | LandscapeError

SETTLED = 8  # steps after which a run holds all the memory that it will: its step is recorded by then


@dataclass
class _Run:
    """A run that takes its turns."""

    number: int
    job: TrainJob
    steps: Generator[None, None, dict[str, Any]]
    stream: Any = None
    turns: int = 0

    def turn(self) -> Outcome | None:
        """Take one step; returns how the run came out if that was its last turn."""
        context = contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)
        try:
            with context:
                next(self.steps)
        except StopIteration as end:
            record: dict[str, Any] = end.value
            return record
        except LandscapeError as error:
            return error.bare()
        except Exception as error:
            return UnforeseenError.of(error)
        self.turns += 1
        return None


@dataclass
class _Table:
    """The runs that take turns now, all of one precision: the math mode is the process's."""

    stop: Stop
    at_once: int
    progress: Any
    shared: Shared = field(default_factory=dict)
    live: list[_Run] = field(default_factory=list)
    mode: tuple[Any, ...] | None = None
    modes: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def has_room(self, job: TrainJob) -> bool:
        """Whether another run can begin now."""
        if not self.live:
            return True
        if len(self.live) >= self.at_once or self.mode != _mode(job):
            return False
        where = weights_placement(job)
        if where.device.type != "cuda":
            return True
        # What a run needs is known once its step is recorded; half of that again is left for measuring.
        if self.live[-1].turns < SETTLED:
            return False
        free, _ = torch.cuda.mem_get_info(where.device)
        return free > 1.5 * torch.cuda.memory_reserved(where.device) / len(self.live)

    def begin(self, number: int, job: TrainJob) -> None:
        """Let a run take part."""
        where = weights_placement(job)
        if not self.live:
            self.modes.close()
            self.modes.enter_context(math_mode(where, deterministic=job.deterministic))
            self.mode = _mode(job)

        def told(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(number, done, total)

        report: Progress = told
        run = _Run(number, job, training(job, stop=self.stop, progress=report, shared=self.shared))
        if where.device.type == "cuda":
            torch.cuda.synchronize(where.device)  # data that another run has put there is there
            run.stream = torch.cuda.Stream(where.device)  # type: ignore[no-untyped-call]
        self.live.append(run)

    def end(self, run: _Run) -> None:
        """Take a run out, and give its memory back: what torch keeps of it serves no other stream."""
        self.live.remove(run)
        if run.stream is not None:
            gc.collect()
            torch.cuda.empty_cache()


def _mode(job: TrainJob) -> tuple[Any, ...]:
    where = weights_placement(job)
    return where.device, where.precision, job.deterministic


def train_in_turns(
    jobs: Sequence[TrainJob], *, at_once: int, progress: Any = None
) -> Iterator[tuple[int, dict[str, Any] | LandscapeError]]:
    """Train runs in this process, so many at once; yield records and failures in the order of the jobs.

    A run that diverges or fails stops, and the others go on. One more begins when one has ended, and on a CUDA device
    only where as much memory is free as a run has needed so far, and half of that again.

    Args:
        jobs: The runs.
        at_once: How many take turns at most.
        progress: Called with a job's number, steps done and steps in all.

    Raises:
        InterruptedRunError: If a signal asked to stop; each run has saved its state, and the same jobs continue.
    """
    waiting = deque(enumerate(jobs))
    outcomes: dict[int, Outcome] = {}
    next_out = 0
    interrupted: InterruptedRunError | None = None
    with watching() as stop:
        table = _Table(stop, at_once, progress)
        try:
            while table.live or (waiting and interrupted is None):
                while waiting and interrupted is None and not stop.requested and _begin_next(table, waiting, outcomes):
                    pass
                if stop.requested and not table.live:
                    interrupted = interrupted or InterruptedRunError("stopped", "the same command continues")
                for run in list(table.live):
                    outcome = run.turn()
                    if outcome is None:
                        continue
                    table.end(run)
                    if isinstance(outcome, InterruptedRunError):
                        interrupted = interrupted or outcome
                    else:
                        outcomes[run.number] = outcome
                while next_out in outcomes:
                    yield next_out, outcomes.pop(next_out)
                    next_out += 1
        finally:
            for run in table.live:
                run.steps.close()
            table.modes.close()
    if interrupted is not None:
        raise interrupted


def _begin_next(table: _Table, waiting: "deque[tuple[int, TrainJob]]", outcomes: dict[int, Outcome]) -> bool:
    """Begin the next run if there is room for it; whether to ask again."""
    number, job = waiting[0]
    try:
        if not table.has_room(job):
            return False
        waiting.popleft()
        table.begin(number, job)
    except LandscapeError as error:  # its device is not there
        if waiting and waiting[0][0] == number:
            waiting.popleft()
        outcomes[number] = error
    return True
