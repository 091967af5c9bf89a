"""``landscape linearize``: what training in the tangent space of a time reaches."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli import linearize_options as linear
from landscape_cli.cli import protocol_options as how
from landscape_cli.cli.completion import complete_runs
from landscape_cli.cli.output import Output
from landscape_cli.cli.prediction_options import Memory
from landscape_cli.compute.choices import Precision
from landscape_cli.errors import UsageError
from landscape_cli.times import parse_times

NAME = "linearize"
HELP = """Train a network's Taylor polynomial around its weights w̃ at times t̃ of a run, after Fort et al. 2020.

Order 1 is f(x; w̃) + J(x; w̃)(w − w̃), order 2 adds ½ (w − w̃)ᵀ ∇²f (w − w̃). Cross-entropy, SGD with momentum at a
constant rate. Batch norm stays in evaluation mode: its statistics are those of w̃. Each result is a run that predict,
barrier and info know as linearised. The same command continues what was stopped."""
EXAMPLES = (
    "landscape linearize runs/parent --at 0ep,2ep,8ep",
    "landscape linearize runs/parent --at 0ep,2ep,8ep,last --low-lr --repeats 2 --lr 1e-3 --epochs 200",
    "landscape linearize runs/parent --at 2ep --order 2 | landscape predict - --at all --out linear.h5",
    "landscape linearize runs/parent --at 0ep,8ep --solve --kernel trace --samples 1000",
)
COLUMNS = (
    ("path", "run"), ("spawn_epoch", "linearised at epoch"), ("order", "order"), ("linearized", "order"),
    ("kernel", "kernel"), ("samples", "samples"), ("parent_test_error", "parent's end"), ("train_error", "train error"),
    ("test_error", "test error"), ("test_error_sd", "±"), ("kernel_test_error", "test error, kernel alone"),
    ("low_lr_test_error", "low lr"), ("low_lr_test_error_sd", "±"),
    ("advantage", "nonlinear advantage"), ("advantage_sd", "±"), ("end_point", "meets the parent"),
    ("epoch", "epoch"), ("rank", "rank"), ("seconds", "seconds"), ("skipped", "was there"),
)  # fmt: skip


def command(
    parents: Annotated[
        list[str],
        typer.Argument(metavar="PARENT...", help="Runs, or - for a pipe of them.", autocompletion=complete_runs),
    ],
    at: linear.At,
    order: linear.Order = 1,
    lr: linear.Lr = 1e-3,
    momentum: how.Momentum = 0.9,
    epochs: linear.Epochs = 200.0,
    batch_size: linear.BatchSize = None,
    augment: linear.Augment = None,
    repeats: linear.Repeats = 1,
    low_lr: linear.LowLr = False,
    solve: linear.Solve = False,
    kernel: linear.SolvedKernel = "full",
    ridge: linear.Ridge = 0.0,
    samples: linear.SolvedSamples = 500,
    memory: Memory = 2_000_000_000,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The runs' folder; default the parent's.", rich_help_panel=linear.LINEARIZED),
    ] = None,
    name: linear.Name = "{parent}-at-{at}-{kind}-{child}",
    jobs: how.Jobs = None,
    checkpoints: how.Checkpoints = "auto",
    resume_states: how.ResumeStates = "last",
    eval_train: how.EvalTrain = None,
    network: options.Network = None,
    network_option: options.NetworkOption = None,
    data: options.Data = None,
    data_option: options.DataOption = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: Annotated[
        Precision | None,
        typer.Option(help="Default: the parent's; float64 for --solve.", rich_help_panel=options.COMMON),
    ] = None,
    threads: options.Threads = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, linearise, emit."""
    if solve and (order > 1 or low_lr):
        raise UsageError(
            f"--solve has no {'--low-lr' if low_lr else 'order 2'}: it is the closed form of order 1",
            "leave one of the two out",
        )
    times = parse_times(at)
    asked_network = inputs.network_spec(network, network_option)
    asked_data = inputs.data_spec(data, data_option)
    found = inputs.runs(parents)
    output = Output(format, quiet, not no_progress, COLUMNS)

    from landscape_cli.compute.device import set_threads
    from landscape_cli.jobs.linearizing import Comparisons, LinearizePlan, linearize_work, planned, prepared
    from landscape_cli.jobs.regressing import RegressionPlan, plan_regressions, run_regressions
    from landscape_cli.jobs.spawning import refuse_shared_places
    from landscape_cli.jobs.subjects import chosen_data, chosen_network
    from landscape_cli.scale.executors import at_once
    from landscape_cli.scale.together import train_all

    subjects: list[dict[str, Any]] = [
        {"parent": run, "network": chosen_network(run, asked_network), "data": chosen_data(run, asked_data)}
        | {"at": times, "seed": seed, "device": device}
        for run in found
    ]
    if solve:
        set_threads(threads)
        form: dict[str, Any] = {"form": kernel, "ridge": ridge, "samples": samples, "memory": memory}
        for plan in [RegressionPlan(**one, **form, precision=precision or "float64") for one in subjects]:
            with output.bar(len(times), f"solve {plan.parent.name}") as show_times:
                for record in plan_regressions(plan) if dry_run else run_regressions(plan, show_times):
                    output.emit(record)
        output.finish()
        return
    how_to: dict[str, Any] = {"order": order, "lr": lr, "momentum": momentum, "epochs": epochs, "augment": augment}
    how_to |= {"batch_size": batch_size, "repeats": repeats, "low_lr": low_lr, "folder": out, "name": name}
    how_to |= {"record": checkpoints, "keep_resume": resume_states, "precision": precision, "evaluate": eval_train}
    how_to |= {"threads": threads, "command": options.command_line(), "force": force}
    work = [one for subject in subjects for one in linearize_work(LinearizePlan(**subject, **how_to))]
    refuse_shared_places(one.job for one in work)
    if dry_run:
        for one in work:
            output.emit(planned(one))
        output.finish()
        return
    ready = [prepared(one) for one in work]
    comparisons = Comparisons(work)
    with output.batch(len(ready), "linearised runs") as show:
        for number, result in train_all(ready, at_once=at_once(len(ready), jobs, device), progress=show):
            shown = comparisons.add(number, result) if low_lr and isinstance(result, dict) else result
            if shown is not None:
                output.take(shown, len(ready))
    for text in comparisons.notes:
        output.note(text)
    output.finish(len(ready), "runs")
