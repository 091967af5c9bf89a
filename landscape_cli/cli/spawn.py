"""``landscape spawn``: children of a run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli import protocol_options as how
from landscape_cli.cli.batches import RUN_COLUMNS
from landscape_cli.cli.completion import complete_runs
from landscape_cli.cli.output import Output
from landscape_cli.compute.choices import Precision
from landscape_cli.times import parse_times

NAME = "spawn"
HELP = """Spawn children from a run: copy its full state at given times and train on with another data order.

Weights, buffers, optimiser state and schedule position are copied; data order, augmentation and dropout come from
streams of the child's own. A time without a checkpoint is replayed from the one before it, bit for bit."""
EXAMPLES = (
    "landscape spawn runs/parent --at 0ep,2ep,8ep --children 2",
    "landscape spawn runs/parent --at 0.5ep --children 4 --until +10ep --out runs/equal-length",
    "landscape spawn runs/parent --at 2ep,10ep --lr 0.001 --schedule constant --until +100ep | landscape barrier -",
)
COLUMNS = (("path", "run"), ("spawn_epoch", "spawned at epoch"), ("child", "child"), *RUN_COLUMNS[1:])


def command(
    parents: Annotated[
        list[str],
        typer.Argument(metavar="PARENT...", help="Runs, or - for a pipe of them.", autocompletion=complete_runs),
    ],
    at: how.SpawnTimes,
    children: how.Children = 2,
    first_child: how.FirstChild = 0,
    until: how.Until = "end",
    fresh_optimizer: how.FreshOptimizer = False,
    same_stream: how.SameStream = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Their folder; default the parent's.", rich_help_panel=how.CHILDREN),
    ] = None,
    name: how.NamePattern = "{parent}-at-{at}-child{child}",
    jobs: how.Jobs = None,
    checkpoints: how.ChildCheckpoints = None,
    resume_states: how.ResumeStates = "last",
    eval_train: how.EvalTrain = None,
    lr: how.NewLr = None,
    schedule: how.NewSchedule = None,
    milestones: how.NewMilestones = None,
    factor: how.NewFactor = None,
    epochs: how.NewEpochs = None,
    weight_decay: how.NewWeightDecay = None,
    augment: how.NewAugment = None,
    network: options.Network = None,
    network_option: options.NetworkOption = None,
    data: options.Data = None,
    data_option: options.DataOption = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: Annotated[
        Precision | None, typer.Option(help="Default: the parent's.", rich_help_panel=options.COMMON)
    ] = None,
    compile: how.NewCompile = None,
    deterministic: how.NewDeterministic = None,
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
    given: dict[str, Any] = {"lr": lr, "schedule": schedule, "factor": factor, "epochs": epochs}
    given |= {"weight_decay": weight_decay, "augment": augment}
    changes = {key: value for key, value in given.items() if value is not None}
    if milestones is not None or schedule not in (None, "step"):
        changes["milestones"] = how.parse_milestones(milestones)
    asked_network = inputs.network_spec(network, network_option)
    asked_data = inputs.data_spec(data, data_option)
    found = inputs.runs(parents)
    output = Output(format, quiet, not no_progress, COLUMNS)

    from landscape_cli.jobs.spawning import SpawnPlan, child_jobs, refuse_shared_places, with_origin
    from landscape_cli.jobs.subjects import chosen_data, chosen_network
    from landscape_cli.jobs.training import plan_training
    from landscape_cli.scale.executors import at_once
    from landscape_cli.scale.together import train_all

    work = []
    for run in found:
        plan = SpawnPlan(
            parent=run,
            network=chosen_network(run, asked_network),
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
            compile=compile,
            deterministic=deterministic,
            # A child that is to repeat its parent bit for bit needs its parent's number of threads.
            threads=threads or (run.threads if same_stream else None),
            evaluate=eval_train,
            command=options.command_line(),
            force=force,
        )
        work += [(plan, job) for job in child_jobs(plan)]
    refuse_shared_places(job for _, job in work)
    if dry_run:
        for _, job in work:
            output.emit(plan_training(job))
        output.finish()
        return
    ready = [with_origin(plan, job) for plan, job in work]
    with output.batch(len(ready), "children") as show:
        for _, result in train_all(ready, at_once=at_once(len(ready), jobs, device), progress=show):
            output.take(result, len(ready))
    output.finish(len(ready), "children")
