"""Many training runs of one command: looked at first, planned or refused, trained, told in their order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape_cli.cli import sweep_options as what
from landscape_cli.cli.output import Output
from landscape_cli.errors import BatchError, LandscapeError, UsageError

if TYPE_CHECKING:
    from landscape_cli.jobs.sweep_jobs import Outline
    from landscape_cli.jobs.training import TrainJob

RUN_COLUMNS = (
    ("path", "run"), ("status", "status"), ("epoch", "epoch"), ("train_loss", "train loss"),
    ("train_error", "train error"), ("test_loss", "test loss"), ("test_error", "test error"),
    ("checkpoints", "checkpoints"), ("seconds", "seconds"), ("skipped", "was there"),
)  # fmt: skip
COLUMNS = (
    *RUN_COLUMNS[:1], ("problem", "problem"), *RUN_COLUMNS[1:], ("parameters", "parameters"), ("bytes", "bytes"),
    ("operations", "operations"),
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Runs to be made, and what is known of each before anything starts.

    Args:
        work: The runs.
        outlines: What each comes to, or why it cannot start.
        at_once: How many at once.
    """

    work: "Sequence[TrainJob]"
    outlines: "Sequence[Outline | LandscapeError]"
    at_once: int


def survey_batch(work: "Sequence[TrainJob]", jobs: int | None, device: str) -> Batch:
    """Look at runs before anything starts; ``jobs`` is how many at once, None for one a core."""
    from landscape_cli.jobs.sweep_jobs import survey
    from landscape_cli.scale.executors import at_once

    return Batch(work, survey(work), at_once(len(work), jobs, device))


def refuse(batch: Batch) -> None:
    """Begin nothing if some of the runs are words that mean nothing.

    Raises:
        UsageError: The first of them; it says how many.
    """
    wrong = [(j, o) for j, o in zip(batch.work, batch.outlines, strict=True) if isinstance(o, UsageError)]
    if wrong:
        job, error = wrong[0]
        raise UsageError(f"{job.out.name}: {error.message} ({len(wrong)} of {len(batch.work)} runs)", error.hint)


def train(output: Output, batch: Batch, title: str, *, diverged: bool = True) -> None:
    """Train what is not there yet; print all runs in their order, and last how it went.

    Args:
        output: Where to.
        batch: The runs.
        title: Of the progress bar.
        diverged: Whether records of diverged runs are printed too; they are counted, and no failures.

    Raises:
        BatchError: If some failed; each was named, and the others are done.
        InterruptedRunError: If the user stopped them; the same command continues.
    """
    from landscape_cli.scale.together import train_all

    work, outlines = batch.work, batch.outlines
    todo = [n for n, outline in enumerate(outlines) if not isinstance(outline, LandscapeError) and not outline.settled]
    with output.batch(max(1, len(todo)), title) as show:
        results = train_all([work[n] for n in todo], at_once=batch.at_once, progress=show, keep_diverged=True)
        counts = _emit(output, batch, ((todo[n], result) for n, result in results), diverged=diverged)
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    output.note(f"{len(work)} runs: {told}")
    output.finish(len(work), "runs")


def _emit(
    output: Output, batch: Batch, done: "Iterable[tuple[int, dict[str, Any] | LandscapeError]]", *, diverged: bool
) -> dict[str, int]:
    """Print what was there before and what is made, in the order of the runs; count how it went."""
    from landscape_cli.jobs.sweep_jobs import named

    counts = {"finished": 0, "finished before": 0, "diverged": 0, "failed": 0}

    def tell(result: dict[str, Any] | LandscapeError) -> None:
        if isinstance(result, LandscapeError):
            counts["failed"] += 1
        elif result["status"] == "diverged":
            counts["diverged"] += 1
            output.note(f"{result['path']} diverged: it is kept as it is, up to its last checkpoint")
            if not diverged or not result["checkpoints"]:
                return  # without a checkpoint, the next command of a pipe would have nothing to read
        else:
            counts["finished before" if result["skipped"] else "finished"] += 1
        output.take(result, len(batch.work))

    waiting: list[tuple[int, dict[str, Any] | LandscapeError]] = []
    for number, (job, outline) in enumerate(zip(batch.work, batch.outlines, strict=True)):
        if isinstance(outline, LandscapeError):
            waiting.append((number, named(outline, job)))
        elif outline.settled:
            waiting.append((number, outline.settled.record(skipped=True)))
    for number, result in done:
        while waiting and waiting[0][0] < number:
            tell(waiting.pop(0)[1])
        tell(result)
    for _, result in waiting:
        tell(result)
    return counts


def plan(output: Output, batch: Batch) -> None:
    """Print what each run would do and cost, and the sum of it.

    Raises:
        BatchError: If some cannot be made; each reason was named.
    """
    from landscape_cli.jobs.sweep_plans import plan_runs, totals

    plans = []
    with output.bar(len(batch.work), "planning") as show:
        for one in plan_runs(batch.work, batch.outlines):
            plans.append(one)
            output.emit(one)
            show(len(plans), len(batch.work))
    whole = totals(plans)
    time = "" if whole["seconds"] is None else f", about {what.duration(whole['seconds'] / max(1, batch.at_once))}"
    output.note(
        f"{whole['runs']} runs: {whole['settled']} done, {whole['problems']} that cannot be made; left are "
        f"{what.amount(whole['bytes'])}B, {whole['operations']:.3g} operations{time} with {batch.at_once} at once"
    )
    output.finish()
    problems: dict[str, list[dict[str, Any]]] = {}
    for one in plans:
        if "problem" in one:
            problems.setdefault(one["problem"], []).append(one)
    for problem, those in problems.items():
        first, more = Path(those[0]["path"]).name, f" and {len(those) - 1} more runs" if len(those) > 1 else ""
        output.warn(LandscapeError(f"{first}{more}: {problem}", those[0]["hint"]))
    if problems:
        raise BatchError(f"{whole['problems']} of {len(plans)} runs cannot be made (named above)")
