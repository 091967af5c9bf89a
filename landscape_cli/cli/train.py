"""``landscape train``: a run from its initial weights, or from where it stopped."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli.output import Output, print_text
from landscape_cli.compute.choices import KeepResume
from landscape_cli.compute.training.presets import PRESETS, Preset, preset
from landscape_cli.compute.training.protocol import OptimizerName, Protocol, ScheduleName, Seeds
from landscape_cli.errors import UsageError

NAME = "train"
HELP = """Train a network into a run directory; the same command continues a run that was stopped.

Checkpoints, optimiser states and metrics are written at the times of --checkpoints. A run continued is bit for bit
the run that never stopped (same device and threads). A finished run with the same configuration is left alone."""
EPILOG = """Examples:\n
  landscape train --data digits --network simple-cnn --width 0.5 --lr 0.05 --batch-size 32 --epochs 15 --out runs/parent\n
  landscape train --preset fort2020-resnet20-cifar10 --data cifar10:data --out runs/resnet20\n
  landscape train --data npz:mine.npz --network nets.py:build --optimizer adam --lr 1e-3 --checkpoints log:40 --out runs/mine"""
COLUMNS = (
    ("path", "run"), ("status", "status"), ("epoch", "epoch"), ("train_loss", "train loss"),
    ("train_error", "train error"), ("test_loss", "test loss"), ("test_error", "test error"),
    ("checkpoints", "checkpoints"), ("seconds", "seconds"), ("skipped", "was there"),
)  # fmt: skip

PROTOCOL = "Protocol"
RECORDING = "Recording"


def _list_presets(value: bool) -> None:
    if value:
        for name, entry in PRESETS.items():
            print_text(f"{name:34} {entry.network:14} {entry.data:9} {entry.source}")
        raise typer.Exit


def command(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run directory to make or continue.")] = None,
    network: options.Network = None,
    network_option: options.NetworkOption = None,
    width: options.Width = None,
    data: options.Data = None,
    data_option: options.DataOption = None,
    train_size: options.TrainSize = None,
    label_noise: options.LabelNoise = 0.0,
    data_seed: options.DataSeed = 0,
    preset_name: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="A published protocol; the flags below change it.",
            autocompletion=options.complete_presets,
            rich_help_panel=PROTOCOL,
        ),
    ] = None,
    list_presets: Annotated[
        bool,
        typer.Option(
            "--list-presets",
            help="List them.",
            callback=_list_presets,
            is_eager=True,
            rich_help_panel=PROTOCOL,
        ),
    ] = False,
    optimizer: Annotated[OptimizerName, typer.Option(help="Optimiser.", rich_help_panel=PROTOCOL)] = "sgd",
    lr: Annotated[float, typer.Option(help="Peak learning rate.", rich_help_panel=PROTOCOL)] = 0.1,
    momentum: Annotated[float, typer.Option(help="Of SGD, or β₁ of Adam.", rich_help_panel=PROTOCOL)] = 0.9,
    beta2: Annotated[float, typer.Option(help="β₂ of Adam.", rich_help_panel=PROTOCOL)] = 0.999,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.", rich_help_panel=PROTOCOL)] = 0.0,
    decay_norm_bias: Annotated[
        bool, typer.Option(help="Decay normalisation parameters and biases too.", rich_help_panel=PROTOCOL)
    ] = True,
    schedule: Annotated[
        ScheduleName, typer.Option(help="Learning-rate schedule.", rich_help_panel=PROTOCOL)
    ] = "constant",
    milestones: Annotated[
        str | None, typer.Option(help="Epochs of the steps, as in 80,120.", rich_help_panel=PROTOCOL)
    ] = None,
    factor: Annotated[float, typer.Option(help="Factor of each step.", rich_help_panel=PROTOCOL)] = 0.1,
    warmup: Annotated[float, typer.Option(help="Epochs of linear warm-up.", rich_help_panel=PROTOCOL)] = 0.0,
    epochs: Annotated[float, typer.Option(help="Length.", rich_help_panel=PROTOCOL)] = 20.0,
    batch_size: Annotated[int, typer.Option(help="Samples a step.", rich_help_panel=PROTOCOL)] = 128,
    keep_last_batch: Annotated[
        bool, typer.Option(help="Train on the incomplete last batch too.", rich_help_panel=PROTOCOL)
    ] = False,
    label_smoothing: Annotated[float, typer.Option(help="Label smoothing.", rich_help_panel=PROTOCOL)] = 0.0,
    augment: Annotated[
        str, typer.Option(help="none, crop, flip, crop+flip, crop:2+flip.", rich_help_panel=PROTOCOL)
    ] = "none",
    prime_bn: Annotated[
        int,
        typer.Option(help="Batches that set batch-norm statistics before step 0.", rich_help_panel=PROTOCOL),
    ] = 0,
    init_seed: Annotated[
        int | None, typer.Option(help="Initial weights (default --seed).", rich_help_panel=PROTOCOL)
    ] = None,
    order_seed: Annotated[
        int | None, typer.Option(help="Data order (default --seed).", rich_help_panel=PROTOCOL)
    ] = None,
    augment_seed: Annotated[
        int | None, typer.Option(help="Augmentation (default --seed).", rich_help_panel=PROTOCOL)
    ] = None,
    dropout_seed: Annotated[
        int | None, typer.Option(help="Dropout (default --seed).", rich_help_panel=PROTOCOL)
    ] = None,
    checkpoints: Annotated[
        str,
        typer.Option(
            help="auto, every:1ep, every:step:100, log:40, mao2023, last, a list 0ep,0.5ep,2ep; join with +.",
            rich_help_panel=RECORDING,
        ),
    ] = "auto",
    resume_states: Annotated[
        KeepResume,
        typer.Option(help="Optimiser states to keep: of all checkpoints, the last, none.", rich_help_panel=RECORDING),
    ] = "all",
    eval_train: Annotated[
        int | None,
        typer.Option(min=1, help="Training samples in the metrics (default 10,000 or all).", rich_help_panel=RECORDING),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOption = "float32",
    threads: options.Threads = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, train, emit."""
    chosen = preset(preset_name) if preset_name else None
    settings: dict[str, Any] = {
        "optimizer": optimizer, "lr": lr, "momentum": momentum, "beta2": beta2, "weight_decay": weight_decay,
        "decay_norm_bias": decay_norm_bias, "schedule": schedule, "milestones": parse_milestones(milestones),
        "factor": factor, "warmup": warmup, "epochs": epochs, "batch_size": batch_size,
        "keep_last_batch": keep_last_batch, "label_smoothing": label_smoothing, "augment": augment, "prime_bn": prime_bn,
    }  # fmt: skip
    if chosen is not None:
        settings = {k: v for k, v in settings.items() if given(context, k)}
        if "schedule" in settings and settings["schedule"] != "step":
            settings.setdefault("milestones", ())
        settings = {**chosen.settings, **settings}
        network = network or chosen.network
    if network is None or data is None or out is None:
        missing = "--network" if network is None else "--data" if data is None else "--out"
        raise UsageError(f"{missing} is missing", "see 'landscape train --help' for examples")
    protocol = Protocol(**settings)
    network_spec = inputs.network_spec(network, network_option, width)
    data_spec = inputs.data_spec(data, data_option, train_size=train_size, label_noise=label_noise, seed=data_seed)
    assert network_spec is not None
    assert data_spec is not None
    seeds = [seed if own is None else own for own in (init_seed, order_seed, augment_seed, dropout_seed)]
    output = Output(format, quiet, not no_progress, COLUMNS)

    from landscape_cli.jobs.training import TrainJob, plan_training, run_training

    job = TrainJob(
        out=out,
        network=network_spec,
        data=data_spec,
        protocol=protocol,
        seeds=Seeds(*seeds),
        record=checkpoints,
        keep_resume=resume_states,
        device=device,
        precision=precision,
        threads=threads,
        evaluate=eval_train,
        command=options.command_line(),
        force=force,
    )
    if chosen is not None:
        _check_preset(preset_name or "", chosen, job)
    if dry_run:
        output.details(plan_training(job))
        return
    with output.bar(1, f"train {out.name}") as progress:
        record = run_training(job, progress)
    if record["skipped"]:
        output.note(f"{out} is finished already: nothing to do")
    output.emit(record)
    output.finish()


def given(context: typer.Context, name: str) -> bool:
    """Whether the user gave an option (on the command line, in the environment or in a file)."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def parse_milestones(text: str | None) -> tuple[float, ...]:
    """Read a comma-separated list of epochs.

    Raises:
        UsageError: If an item is no number.
    """
    try:
        return tuple(float(part.removesuffix("ep")) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"'{text}' is no list of epochs", "as in --milestones 80,120") from None


def _check_preset(name: str, chosen: Preset, job: Any) -> None:
    """Refuse a preset on data with another number of classes."""
    from landscape_cli.jobs.subjects import load_data

    data = load_data(job.data)
    if data.classes != chosen.classes:
        raise UsageError(
            f"preset {name} is for {chosen.data} with {chosen.classes} classes, but {data.name} has {data.classes}",
            "give the protocol without --preset",
        )
