"""``landscape status``: how far a sweep or a folder of runs is, at once and without torch."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli import options
from landscape_cli.cli import sweep_options as what
from landscape_cli.cli.completion import complete_places
from landscape_cli.cli.output import Output
from landscape_cli.errors import UsageError
from landscape_cli.jobs.sweep_status import STATUSES, folder_status, look, records, summary
from landscape_cli.jobs.sweeps import expand, read_sweep
from landscape_cli.plugins import did_you_mean

NAME = "status"
HELP = """Tell how far runs are: finished, running, interrupted, diverged, missing; seconds spent, and about left.

Given a folder of runs, or a sweep file, whose runs are looked for where 'sweep' would put them. A run that says it is
running but whose process is gone was interrupted. Reads descriptions only, while the sweep goes on."""
EXAMPLES = (
    "landscape status runs/digits --summary",
    "landscape status examples/sweeps/mao2023.toml --only interrupted,missing",
    "landscape status runs/digits --only finished | landscape predict - --at all -o test.h5",
)
COLUMNS = (
    ("path", "path"), ("status", "status"), ("progress", "progress"), ("epoch", "epoch"),
    ("test_error", "test error"), ("seconds", "seconds"), ("seconds_left", "seconds left"),
    ("checkpoints", "checkpoints"), ("network", "network"), ("data", "data"),
)  # fmt: skip


def command(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|SWEEP.toml", help="Runs, or a sweep.", show_default=False, autocompletion=complete_places
        ),
    ],
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="STATUS,…", help=f"These alone: {', '.join(STATUSES)}."),
    ] = None,
    short: Annotated[bool, typer.Option("--summary", "-s", help="The counts alone, as one record.")] = False,
    out: what.Out = None,
    changes: what.Changes = None,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> None:
    """Parse, look, emit."""
    wanted = None if only is None else [word.strip() for word in only.split(",")]
    for word in wanted or ():
        if word not in STATUSES:
            raise UsageError(f"--only {word}: there is no such status", did_you_mean(word, STATUSES))
    if place.suffix.lower() == ".toml":
        sweep = read_sweep(place, changes or ())
        folder = what.folder(place, sweep.out, out)
        found = [look(folder / run.name, run.settings) for run in expand(sweep)]
    else:
        if out is not None or changes:
            raise UsageError("--out and --set go with a sweep file", f"{place} is taken as a folder of runs")
        found = folder_status(place)
    output = Output(format, quiet, False, COLUMNS)
    whole = {**summary(found), "path": str(place)}
    if short:
        output.details(whole)
        return
    for record in records(found):
        if wanted is None or record["status"] in wanted:
            output.emit(record)
    counts = ", ".join(f"{whole[status]} {status}" for status in STATUSES if whole[status])
    left, running = whole["seconds_left"], whole["running"]
    rest = "" if not left else f"; about {what.duration(left / max(1, running))} left"
    rest += f" with the {running} at work" if rest and running > 1 else " for one process" if rest else ""
    output.note(f"{whole['runs']} runs: {counts}; {what.duration(whole['seconds'])} spent{rest}")
    output.finish()
