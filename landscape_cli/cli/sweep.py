"""``landscape sweep``: many runs from a file of axes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape_cli.cli import options
from landscape_cli.cli import sweep_options as what
from landscape_cli.cli.distances import parse_shard
from landscape_cli.cli.output import Output
from landscape_cli.cli.train import COLUMNS as TRAIN_COLUMNS
from landscape_cli.errors import BatchError, LandscapeError, UsageError
from landscape_cli.jobs.sweeps import expand, read_sweep, shard

if TYPE_CHECKING:
    from landscape_cli.jobs.sweep_jobs import Outline
    from landscape_cli.jobs.training import TrainJob

NAME = "sweep"
HELP = """Train the runs that a TOML file of axes means: a grid, cases, rules and filters over the options of 'train'.

Finished runs are left alone and stopped ones go on, so the same command continues a sweep; a run that fails is named
and the others are trained. Runs that diverge are kept as such, and counted. docs/sweeps.md describes the file."""
EXAMPLES = (
    "landscape sweep examples/sweeps/digits.toml --dry-run",
    "landscape sweep examples/sweeps/digits.toml --out runs/digits | landscape predict - --at all -o test.h5",
    "landscape sweep examples/sweeps/mao2023.toml --set data=cifar10:data --shard 3/16",
    "landscape sweep examples/sweeps/fort2020-table1.toml --set data=cifar10:data --set seed=0..4 --jobs 2",
)
COLUMNS = (
    *TRAIN_COLUMNS[:1], ("problem", "problem"), *TRAIN_COLUMNS[1:], ("parameters", "parameters"), ("bytes", "bytes"),
    ("operations", "operations"),
)  # fmt: skip


def command(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The sweep file.", show_default=False)],
    out: what.Out = None,
    changes: what.Changes = None,
    shard_text: what.Shard = None,
    jobs: what.Jobs = None,
    diverged: what.Diverged = True,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, train, emit."""
    sweep = read_sweep(file, changes or ())
    every = expand(sweep)
    runs = shard(every, parse_shard(shard_text))
    folder = what.folder(file, sweep.out, out)
    output = Output(format, quiet, not no_progress, COLUMNS)

    from landscape_cli.jobs.sweep_jobs import run_one, survey, train_job
    from landscape_cli.jobs.sweep_status import record_sweep
    from landscape_cli.scale.executors import processes_for, run_all

    threads = threads or what.threads_of_each(device)
    command = options.command_line()
    work = [train_job(r, folder, device=device, threads=threads, command=command, force=force) for r in runs]
    outlines = survey(work)
    processes = processes_for(len(work), jobs, device)
    if dry_run:
        _plan(output, work, outlines, processes)
        return
    if wrong := [(j, o) for j, o in zip(work, outlines, strict=True) if isinstance(o, UsageError)]:
        job, error = wrong[0]
        raise UsageError(f"{job.out.name}: {error.message} ({len(wrong)} of {len(work)} runs)", error.hint)
    record_sweep(folder, str(file), every)
    todo = [n for n, outline in enumerate(outlines) if not isinstance(outline, LandscapeError) and not outline.settled]
    with output.batch(max(1, len(todo)), f"sweep {file.stem}") as show:
        results = run_all(run_one, [work[n] for n in todo], processes=processes, progress=show)
        done = ((todo[n], result) for n, result in results)
        counts = _emit(output, work, outlines, done, diverged=diverged)
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    output.note(f"{len(work)} runs: {told}")
    output.finish(len(work), "runs")


def _emit(
    output: Output,
    work: "Sequence[TrainJob]",
    outlines: "Sequence[Outline | LandscapeError]",
    done: "Iterable[tuple[int, dict[str, Any] | LandscapeError]]",
    *,
    diverged: bool,
) -> dict[str, int]:
    """Print what was there before and what is made, in the order of the sweep; count how it went."""
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
        output.take(result, len(work))

    waiting: list[tuple[int, dict[str, Any] | LandscapeError]] = []
    for number, (job, outline) in enumerate(zip(work, outlines, strict=True)):
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


def _plan(
    output: Output, work: "Sequence[TrainJob]", outlines: "Sequence[Outline | LandscapeError]", processes: int
) -> None:
    from landscape_cli.jobs.sweep_plans import plan_runs, totals

    plans = []
    with output.bar(len(work), "planning") as show:
        for plan in plan_runs(work, outlines):
            plans.append(plan)
            output.emit(plan)
            show(len(plans), len(work))
    whole = totals(plans)
    time = "" if whole["seconds"] is None else f", about {what.duration(whole['seconds'] / max(1, processes))}"
    output.note(
        f"{whole['runs']} runs: {whole['settled']} done, {whole['problems']} that cannot be made; left are "
        f"{what.amount(whole['bytes'])}B, {whole['operations']:.3g} operations{time} with {processes} at once"
    )
    output.finish()
    problems: dict[str, list[dict[str, Any]]] = {}
    for plan in plans:
        if "problem" in plan:
            problems.setdefault(plan["problem"], []).append(plan)
    for problem, those in problems.items():
        first, more = Path(those[0]["path"]).name, f" and {len(those) - 1} more runs" if len(those) > 1 else ""
        output.warn(LandscapeError(f"{first}{more}: {problem}", those[0]["hint"]))
    if problems:
        raise BatchError(f"{whole['problems']} of {len(plans)} runs cannot be made (named above)")
