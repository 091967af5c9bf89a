"""``landscape report``: a folder of runs as one figure a paper and one page."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli import sweep_options as words
from landscape_cli.cli.output import Output
from landscape_cli.cli.report_steps import Ledger, Made, make
from landscape_cli.errors import UsageError
from landscape_cli.jobs.report_cast import Cast, cast_of
from landscape_cli.jobs.report_plan import Plan, Settings, Step, plan_report
from landscape_cli.plugins import did_you_mean

NAME = "report"
HELP = """Turn a folder of runs into the figures of both papers and one page with every panel, the runs and the numbers.

Parents, children and linearised runs are told apart by their lineage. What is not measured yet is measured, after it
was said what that costs; what was measured before is found again, so that an interrupted report goes on. Checkpoints of
other tools (with --network and --data) get what can be measured on them, and the page says what cannot."""
EXAMPLES = (
    "landscape report runs",
    "landscape report runs/digits --dry-run",
    "landscape report runs --out study --samples 1000 --without clusters,velocity",
    "landscape report runs --only-existing",
    "landscape report theirs --network simple-cnn --width 0.5 --data digits",
)
COLUMNS = (
    ("name", "step"), ("title", "measures"), ("state", "state"), ("passes", "forward passes"), ("seconds", "about (s)"),
    ("command", "command"), ("path", "page"), ("panels", "panels"), ("runs", "runs"),
)  # fmt: skip
STEPS = ("barriers", "compare", "kernels", "velocity", "predict", "distances", "embedding", "progress", "trajectories",
         "clusters")  # fmt: skip


def command(
    places: Annotated[list[str], typer.Argument(metavar="FOLDER...", help="Runs, folders of runs, or checkpoints.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report; default report, in the first FOLDER.")
    ] = None,
    only_existing: Annotated[
        bool, typer.Option("--only-existing", help="Measure nothing: show what there is.")
    ] = False,
    without: Annotated[
        str | None, typer.Option("--without", metavar="STEP,…", help=f"Leave out: {', '.join(STEPS)}.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Whose images: test or train.")] = "test",
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Images of barriers, distances and predictions; default all.")
    ] = None,
    kernel_samples: Annotated[int, typer.Option("--kernel-samples", min=1, help="Images of tangent kernels.")] = 100,
    title: Annotated[str | None, typer.Option("--title", help="Of the page.")] = None,
    network: options.Network = None,
    network_option: options.NetworkOption = None,
    width: options.Width = None,
    data: options.Data = None,
    data_option: options.DataOption = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, plan, measure, draw, emit."""
    if split not in ("test", "train"):
        raise UsageError(f"--split {split}: a report has one split", "it is test or train")
    inputs.network_spec(network, network_option, width)
    inputs.data_spec(data, data_option)
    paths = [Path(place) for place in places]
    folder = out or (paths[0] if paths[0].is_dir() else paths[0].parent) / "report"
    settings = Settings(
        split=split,
        samples=samples,
        kernel_samples=kernel_samples,
        common=_common(network, network_option, width, data, data_option, device, threads),
        without=_left_out(without),
    )
    output = Output(format, quiet, not no_progress, COLUMNS)
    cast = cast_of(paths)
    if cast.foreign and (network is None or data is None):
        missing = "--network" if network is None else "--data"
        raise UsageError(f"{cast.foreign[0]} does not say what it holds: {missing} is missing", "give both")
    plan = plan_report(cast, folder, settings)
    ledger = Ledger(folder, forget=force)
    if dry_run:
        _tell_plan(output, plan, ledger, cast, settings)
        return
    begun = time.monotonic()
    waiting = ledger.waiting(plan.steps)
    if waiting and not only_existing:
        each = _seconds_per_pass(cast, settings)
        told = "" if each is None else f", about {words.duration(each * sum(step.passes for step in waiting))} here"
        output.note(f"{len(cast.runs)} runs; to be measured: {', '.join(step.name for step in waiting)}{told}")
    record = make_report(
        output, folder, cast, plan, settings, ledger, title=title, command=options.command_line(),
        only_existing=only_existing,
    )  # fmt: skip
    output.note(f"{time.monotonic() - begun:.0f} s; open {record['path']} in a browser")
    output.emit(record)
    output.finish()


def make_report(
    output: Output,
    folder: Path,
    cast: Cast,
    plan: Plan,
    settings: Settings,
    ledger: Ledger,
    *,
    title: str | None,
    command: str,
    only_existing: bool = False,
) -> dict[str, Any]:
    """Measure what is to be measured and is not there, then draw and write all; returns the report's record.

    Args:
        output: Where its progress is told.
        folder: Where it goes.
        cast: The runs.
        plan: What it consists of.
        settings: What the plan was made with.
        ledger: What was made before.
        title: Of the page.
        command: What a person types for it.
        only_existing: Measure nothing.

    Raises:
        InterruptedRunError: If it was interrupted: the same report goes on.
        LandscapeError: If it cannot be drawn or written.
    """
    made: list[Made] = []
    with output.bar(len(plan.steps), "report") as show:
        for step in plan.steps:
            made.append(_result(step, ledger, made, only_existing=only_existing, output=output))
            show(len(made), len(plan.steps))

    from landscape_cli.cli.report_panels import write_report

    return write_report(folder, cast, plan, made, settings, title=title, command=command)


def _result(step: Step, ledger: Ledger, made: list[Made], *, only_existing: bool, output: Output) -> Made:
    """Make a step, unless it is not to be made or what it reads is not there."""
    there = {one.step.name for one in made if one.result is not None}
    if absent := [name for name in step.after if name not in there]:
        why = next((one.problem for one in made if one.step.name == absent[0]), None)
        return Made(step, None, why or f"there is no {absent[0]}")
    if only_existing and not ledger.has(step):
        return Made(step, None, "not measured yet: the same command without --only-existing does")
    if not ledger.has(step):
        output.note(f"{step.name}: {step.title}")
    done = make(step, ledger, quiet=output.quiet)
    earlier = next((one.problem for one in made if one.step.name in step.after and one.problem), None)
    return done if done.problem else replace(done, problem=earlier)


def _common(
    network: str | None, network_option: list[str] | None, width: float | None, data: str | None,
    data_option: list[str] | None, device: str, threads: int | None,
) -> tuple[str, ...]:  # fmt: skip
    """The words that every measuring command gets."""
    found = [] if device == "auto" else ["--device", device]
    found += [] if threads is None else ["--threads", str(threads)]
    found += [] if network is None else ["--network", network]
    for option in network_option or ():
        found += ["--network-option", option]
    found += [] if width is None else ["--network-option", f"width={width:g}"]
    found += [] if data is None else ["--data", data]
    for option in data_option or ():
        found += ["--data-option", option]
    return tuple(found)


def _left_out(text: str | None) -> frozenset[str]:
    names = frozenset(part.strip() for part in text.split(",")) if text else frozenset()
    for name in names:
        if name not in STEPS:
            raise UsageError(f"--without {name}: there is no such step", did_you_mean(name, STEPS))
    return names


def _tell_plan(output: Output, plan: Plan, ledger: Ledger, cast: Cast, settings: Settings) -> None:
    each = _seconds_per_pass(cast, settings)
    waiting = ledger.waiting(plan.steps)
    for step in plan.steps:
        kept = step not in waiting
        record: dict[str, Any] = {
            "kind": "plan", "name": step.name, "title": step.title, "state": "there" if kept else "to do",
            "passes": 0 if kept else round(step.passes), "command": step.line,
        }  # fmt: skip
        if not kept and each is not None:
            record["seconds"] = step.passes * each
        output.emit(record)
    for what, need in plan.missing:
        output.note(f"not possible: {what}: needs {need}")
    output.finish()


def _seconds_per_pass(cast: Cast, settings: Settings) -> float | None:
    """About how long a forward pass takes here, from a trial of the first network; None where it cannot be tried."""
    from landscape_cli.jobs.report_timing import seconds_per_pass

    return seconds_per_pass(cast, settings.common)
