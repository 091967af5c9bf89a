"""``landscape spawn``: children of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli.output import Output, print_error
from landscape_cli.cli.train import COLUMNS as TRAIN_COLUMNS
from landscape_cli.cli.train import parse_milestones
from landscape_cli.compute.choices import KeepResume, Precision
from landscape_cli.compute.training.protocol import ScheduleName
from landscape_cli.errors import BatchError, LandscapeError
from landscape_cli.times import parse_times

NAME = "spawn"
HELP = """Spawn children from a run: copy its full state at given times and train on with another data order.

Weights, buffers, optimiser state and schedule position are copied; data order, augmentation and dropout come from
streams of the child's own. A time without a checkpoint is replayed from the one before it, bit for bit."""
EPILOG = """Examples:\n
  landscape spawn runs/parent --at 0ep,2ep,8ep --children 2\n
  landscape spawn runs/parent --at 0.5ep --children 4 --until +10ep --out runs/equal-length\n
  landscape spawn runs/parent --at 2ep,10ep --lr 0.001 --schedule constant --until +100ep | landscape barrier -"""
COLUMNS = (("path", "run"), ("spawn_epoch", "spawned at epoch"), ("child", "child"), *TRAIN_COLUMNS[1:])

CHILDREN = "Children"
CHANGES = "What the children do differently"


def command(
    parents: Annotated[list[str], typer.Argument(metavar="PARENT...", help="Runs, or - for a pipe of them.")],
    at: Annotated[str, typer.Option(help="Spawn times, as in 0ep,0.5ep,step:390.", rich_help_panel=CHILDREN)],
    children: Annotated[int, typer.Option(min=1, help="Children at each time.", rich_help_panel=CHILDREN)] = 2,
    first_child: Annotated[
        int,
        typer.Option(min=0, help="Number of the first child, to add more later.", rich_help_panel=CHILDREN),
    ] = 0,
    until: Annotated[
        str,
        typer.Option(
            help="end (of the parent's protocol), 20ep, or +10ep after the spawn time.",
            rich_help_panel=CHILDREN,
        ),
    ] = "end",
    fresh_optimizer: Annotated[
        bool, typer.Option(help="Start with zero momentum, as published tools do.", rich_help_panel=CHILDREN)
    ] = False,
    same_stream: Annotated[
        bool,
        typer.Option(
            help="Give the children the parent's own streams: a check, they repeat it.",
            rich_help_panel=CHILDREN,
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the children (default: the parent's).", rich_help_panel=CHILDREN),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Pattern of their names.", rich_help_panel=CHILDREN)
    ] = "{parent}-at-{at}-child{child}",
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Children at once (default: one a core).", rich_help_panel=CHILDREN),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=CHANGES)] = None,
    schedule: Annotated[ScheduleName | None, typer.Option(help="Schedule.", rich_help_panel=CHANGES)] = None,
    milestones: Annotated[str | None, typer.Option(help="Epochs of its steps.", rich_help_panel=CHANGES)] = None,
    factor: Annotated[float | None, typer.Option(help="Factor of each step.", rich_help_panel=CHANGES)] = None,
    epochs: Annotated[float | None, typer.Option(help="Length of the schedule.", rich_help_panel=CHANGES)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.", rich_help_panel=CHANGES)] = None,
    augment: Annotated[str | None, typer.Option(help="Augmentation.", rich_help_panel=CHANGES)] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(help="When to record (default: the parent's schedule).", rich_help_panel=CHILDREN),
    ] = None,
    resume_states: Annotated[
        KeepResume, typer.Option(help="Optimiser states to keep.", rich_help_panel=CHILDREN)
    ] = "last",
    network: options.Network = None,
    network_option: options.NetworkOption = None,
    data: options.Data = None,
    data_option: options.DataOption = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: Annotated[
        Precision | None, typer.Option(help="Default: the parent's.", rich_help_panel=options.COMMON)
    ] = None,
    threads: options.Threads = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, spawn, emit."""
    times = parse_times(at)
    changes: dict[str, Any] = {
        "lr": lr, "schedule": schedule, "factor": factor, "epochs": epochs, "weight_decay": weight_decay, "augment": augment,
    }  # fmt: skip
    changes = {key: value for key, value in changes.items() if value is not None}
    if milestones is not None or schedule not in (None, "step"):
        changes["milestones"] = parse_milestones(milestones)
    asked_network = inputs.network_spec(network, network_option)
    asked_data = inputs.data_spec(data, data_option)
    found = inputs.runs(parents)
    output = Output(format, quiet, not no_progress, COLUMNS)

    from landscape_cli.jobs.spawning import SpawnPlan, child_jobs, with_origin
    from landscape_cli.jobs.subjects import chosen_data, recorded_network
    from landscape_cli.jobs.training import plan_training, run_training
    from landscape_cli.scale.executors import processes_for, run_all, threads_for

    plans = [
        SpawnPlan(
            parent=run,
            network=asked_network or recorded_network(run),
            data=chosen_data(run, asked_data),
            at=times,
            children=children,
            first_child=first_child,
            until=until,
            changes=changes,
            fresh_optimizer=fresh_optimizer,
            same_stream=same_stream,
            seed=seed,
            folder=out,
            name=name,
            record=checkpoints,
            keep_resume=resume_states,
            device=device,
            precision=precision,
            command=options.command_line(),
            force=force,
        )
        for run in found
    ]
    work = [(plan, job) for plan in plans for job in child_jobs(plan)]
    processes = processes_for(len(work), jobs, device)
    ready = []
    for plan, job in work:
        own = threads or (plan.parent.threads if same_stream else threads_for(processes))
        ready.append((plan, replace(job, threads=own)))
    if dry_run:
        for _, job in ready:
            output.emit(plan_training(job))
        output.finish()
        return
    started = [with_origin(plan, job) for plan, job in ready]
    failed = 0
    with output.batch(len(started), "children") as show:
        for _, result in run_all(run_training, started, processes=processes, progress=show):
            if isinstance(result, LandscapeError):
                failed += 1
                print_error(result)
            else:
                output.emit(result)
    output.finish()
    if failed:
        raise BatchError(failed, len(started), "children")
