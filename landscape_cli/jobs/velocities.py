"""Kernel velocity along runs, with the error barrier of children beside it."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from landscape_cli.compute.tangent.distances import velocity
from landscape_cli.errors import LandscapeError, UsageError
from landscape_cli.jobs.barriers import Barriers
from landscape_cli.jobs.kernels import Kernels, kernel_pair
from landscape_cli.jobs.lineage import children_of
from landscape_cli.jobs.pairs import Subject, pair
from landscape_cli.store.runs import Run
from landscape_cli.times import Time


@dataclass(frozen=True)
class Interval:
    """Two checkpoints of a run, Δt apart.

    Args:
        run: The run.
        start: The step at t.
        end: The step at t + Δt.
    """

    run: Run
    start: int
    end: int

    @property
    def epochs(self) -> float:
        """Δt in epochs, as the steps have it."""
        assert self.run.steps_per_epoch is not None
        return (self.end - self.start) / self.run.steps_per_epoch


def intervals(run: Run, dt: Time, at: Sequence[Time] | None) -> tuple[list[Interval], list[int]]:
    """The intervals of a run whose two checkpoints are there, and the steps that are missing for others.

    Args:
        run: The run.
        dt: Δt.
        at: Times t; None for every checkpoint that has one Δt later.

    Raises:
        UsageError: If the run does not say how long an epoch is, or Δt is no step of it.
    """
    if run.steps_per_epoch is None:
        raise UsageError(f"{run.path} does not say how many steps an epoch has", "import it with --steps-per-epoch N")
    there = run.steps()
    last = max(there, default=0)
    width = dt.step(steps_per_epoch=run.steps_per_epoch, last=last)
    if width < 1:
        raise UsageError(f"--dt {dt} is less than a step of {run.path}", f"an epoch has {run.steps_per_epoch} steps")
    starts = there if at is None else [run.step_of(time) for time in at]
    found = [Interval(run, step, step + width) for step in starts if {step, step + width} <= set(there)]
    missing = {step for start in starts for step in (start, start + width) if step not in there and step <= last}
    return found, sorted(missing)


def missing_hint(run: Run, dt: Time, missing: Sequence[int]) -> str:
    """What is missing, and the option that makes it."""
    shown = ", ".join(f"{run.epoch(step):g}" for step in missing[:6]) + (" …" if len(missing) > 6 else "")
    return (
        f"{run.path} has no checkpoints at epochs {shown}; a run trained with --checkpoints every:{dt} "
        "(for chosen times a list such as 1ep,1.4ep) has them"
    )


def measure_velocities(
    kernels: Kernels,
    found: Sequence[Interval],
    *,
    barriers: Barriers | None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[dict[str, Any]]:
    """``v(t) = S(w_t, w_{t+Δt})/Δt`` of each interval, one record each.

    Args:
        kernels: What measures kernels; each checkpoint's is computed once.
        found: The intervals.
        barriers: What measures siblings that were spawned at t; None leaves barriers out.
        progress: Told how many intervals are done.
        note: Told of children that could not be measured.

    Raises:
        LandscapeError: If a checkpoint cannot be measured.
    """
    for number, interval in enumerate(found):
        run = interval.run
        ends = [kernels.measure(Subject(run.checkpoint(step))) for step in (interval.start, interval.end)]
        pair_record = kernel_pair(kernels, *ends)
        record: dict[str, Any] = {
            "kind": "kernel-velocity",
            "path": str(run.path),
            "step": interval.start,
            "epoch": run.epoch(interval.start),
            "dt": interval.epochs,
            "velocity": velocity(pair_record["distance"], interval.epochs),
            "distance": pair_record["distance"],
        }
        if barriers is not None:
            record |= _barrier(barriers, run, interval.start, note)
        same = ("alignment_a", "participation_a", "effective_rank_a")
        record |= {name.removesuffix("_a"): pair_record[name] for name in same if name in pair_record}
        if "layers" in pair_record:
            layers = {
                name: None if s is None else velocity(s, interval.epochs) for name, s in pair_record["layers"].items()
            }
            record["layers"] = layers
        progress(number + 1, len(found))
        yield record | ends[0].context


def _barrier(barriers: Barriers, run: Run, step: int, note: Callable[[str], None]) -> dict[str, Any]:
    """The error barrier between siblings spawned from a run at a step, mean and deviation; None without two of them."""
    children = [child for child in children_of(run) if (child.lineage or {}).get("step") == step and child.steps()]
    values = []
    if len(children) > 1:
        subjects = [Subject(child.checkpoint(child.steps()[-1])) for child in children]
        for first, second in pair(subjects, "siblings"):
            try:
                values += [record["error_sup"] for record in barriers.line(first, second).records]
            except LandscapeError as error:
                note(f"no barrier at step {step}: {error.message}")
    return {
        "error_barrier": sum(values) / len(values) if values else None,
        "error_barrier_sd": statistics.stdev(values) if len(values) > 1 else None,
        "pairs": len(values),
    }
