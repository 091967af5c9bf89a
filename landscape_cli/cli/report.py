"""``landscape report``: a folder of runs as one figure a paper and one page."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import options
from landscape_cli.cli.completion import complete_runs
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.cli.output import Output
from landscape_cli.cli.report_cost import about, tell_plan, who
from landscape_cli.cli.report_steps import Ledger, Made, make
from landscape_cli.datasets import load
from landscape_cli.errors import StorageError, UsageError
from landscape_cli.jobs.report_cast import Cast, cast_of
from landscape_cli.jobs.report_plan import plan_report
from landscape_cli.jobs.report_step import Plan, Settings, Step
from landscape_cli.plugins import did_you_mean
from landscape_cli.store.atomic import remove_leftovers
from landscape_cli.store.locks import exclusive

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


@grouped
def command(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER...", help="Runs, folders of runs, or checkpoints.", autocompletion=complete_runs
        ),
    ],
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
        int | None,
        typer.Option(
            "--samples", min=1, help="Images of barriers, of their batch norm, distances and predictions; default all."
        ),
    ] = None,
    kernel_samples: Annotated[int, typer.Option("--kernel-samples", min=1, help="Images of tangent kernels.")] = 100,
    title: Annotated[str | None, typer.Option("--title", help="Of the page.")] = None,
    *,
    described: NetworkAndData,
    computing: Computing,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, plan, measure, draw, emit."""
    if split not in ("test", "train"):
        raise UsageError(f"--split {split}: a report has one split", "it is test or train")
    network, data = described.specs()
    left_out = _left_out(without)
    paths = [Path(place) for place in places]
    folder = out or (paths[0] if paths[0].is_dir() else paths[0].parent) / "report"
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder}: the report cannot go there: it is a file", "choose another place with --out")
    output = showing.output(COLUMNS)
    cast = cast_of(paths)
    if cast.foreign and (network is None or data is None):
        missing = "--network" if network is None else "--data"
        raise UsageError(f"{cast.foreign[0]} does not say what it holds: {missing} is missing", "give both")
    settings = Settings(
        split=split,
        samples=samples,
        kernel_samples=kernel_samples,
        common=_common(described, computing),
        precision=() if computing.precision == "float32" else ("--precision", computing.precision),
        without=left_out,
        images=None if cast.networks or data is None else len(load(data).split(split)),
    )
    plan = plan_report(cast, folder, settings)
    ledger = Ledger(folder, forget=showing.force)
    measuring = not only_existing and bool(ledger.waiting(plan.steps))
    each = None
    if dry_run or measuring:
        from landscape_cli.jobs.report_timing import seconds_per_pass

        each = seconds_per_pass(cast, device=computing.device, threads=computing.threads, network=network, data=data)
    if dry_run:
        tell_plan(output, plan, ledger, cast, each)
        return
    begun = time.monotonic()
    if measuring:
        names = ", ".join(step.name for step in ledger.waiting(plan.steps))
        output.note(f"{who(cast)}; to be measured: {names}{about(plan, ledger, cast, each)}")
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
        ConflictError: If another report is being written there.
        LandscapeError: If it cannot be drawn or written.
    """
    made: list[Made] = []
    with exclusive(folder):
        with output.bar(len(plan.steps), "report") as show:
            for step in plan.steps:
                made.append(_result(step, ledger, made, only_existing=only_existing, output=output))
                show(len(made), len(plan.steps))

        from landscape_cli.cli.report_panels import write_report

        output.note("pictures and the page")
        record, drawn = write_report(folder, cast, plan, made, settings, title=title, command=command)
        ledger.draw(drawn)
        remove_leftovers(folder)
    return record


def _result(step: Step, ledger: Ledger, made: list[Made], *, only_existing: bool, output: Output) -> Made:
    """Make a step, unless it is not to be made or what it reads is not there."""
    there = {one.step.name for one in made if one.result is not None}
    if absent := [name for name in step.after if name not in there]:
        why = next((one.problem for one in made if one.step.name == absent[0]), None)
        return Made(step, None, why or f"there is no {absent[0]}")
    if only_existing and not ledger.has(step):
        why = (
            "measured of other checkpoints, or as it is not asked for now" if ledger.knows(step) else "not measured yet"
        )
        return Made(step, None, f"{why}: the same command without --only-existing measures it")
    if not ledger.has(step):
        output.note(f"{step.name}: {step.title}")
    done = make(step, ledger, quiet=output.quiet, progress=output.progress)
    earlier = next((one.problem for one in made if one.step.name in step.after and one.problem), None)
    return done if done.problem else replace(done, problem=earlier)


def _common(described: NetworkAndData, computing: Computing) -> tuple[str, ...]:
    """The words that every measuring command gets."""
    found = [] if computing.device == "auto" else ["--device", computing.device]
    found += [] if computing.threads is None else ["--threads", str(computing.threads)]
    found += [] if computing.seed == 0 else ["--seed", str(computing.seed)]
    found += [] if described.network is None else ["--network", described.network]
    for option in described.network_option or ():
        found += ["--network-option", option]
    found += [] if described.width is None else ["--network-option", f"width={described.width!r}"]
    found += [] if described.data is None else ["--data", described.data]
    for option in described.data_option or ():
        found += ["--data-option", option]
    return tuple(found)


def _left_out(text: str | None) -> frozenset[str]:
    names = frozenset(part.strip() for part in text.split(",")) if text else frozenset()
    for name in names:
        if name not in STEPS:
            raise UsageError(f"--without {name}: there is no such step", did_you_mean(name, STEPS))
    return names
