"""``landscape sweep``: many runs from a file of axes."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli import batches, options
from landscape_cli.cli import sweep_options as what
from landscape_cli.cli.completion import complete_sweeps
from landscape_cli.cli.distances import parse_shard
from landscape_cli.cli.output import Output
from landscape_cli.jobs.sweeps import expand, read_sweep, shard

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


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SWEEP.toml", help="The sweep file.", show_default=False, autocompletion=complete_sweeps
        ),
    ],
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
    output = Output(format, quiet, not no_progress, batches.COLUMNS)

    from landscape_cli.jobs.sweep_jobs import train_job
    from landscape_cli.jobs.sweep_status import record_sweep

    threads = threads or what.threads_of_each(device)
    command = options.command_line()
    work = [train_job(r, folder, device=device, threads=threads, command=command, force=force) for r in runs]
    batch = batches.survey_batch(work, jobs, device)
    if dry_run:
        batches.plan(output, batch)
        return
    batches.refuse(batch)
    record_sweep(folder, str(file), every)
    batches.train(output, batch, f"sweep {file.stem}", diverged=diverged)
