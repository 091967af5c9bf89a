"""``landscape train``: a run from its initial weights, or from where it stopped."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import batches, inputs, options
from landscape_cli.cli import protocol_options as how
from landscape_cli.cli import seed_options as every
from landscape_cli.cli.output import Output
from landscape_cli.compute.training.presets import Preset, preset
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.errors import UsageError

NAME = "train"
HELP = """Train a network into a run directory; the same command continues a run that was stopped.

Checkpoints, optimiser states and metrics are written at the times of --checkpoints. A run continued is bit for bit
the run that never stopped (same device and threads). A finished run with the same configuration is left alone."""
EXAMPLES = (
    "landscape train --data digits --network simple-cnn --epochs 15 --lr 0.05 --schedule cosine --out runs/parent",
    "landscape train --preset fort2020-resnet20-cifar10 --data cifar10:data --out runs/resnet20",
    "landscape train --data digits --network mlp --epochs 8 --seeds 0..9 --out runs/mlp",
    "landscape train --data npz:mine.npz --network nets.py:build --optimizer adam --lr 1e-3 --out runs/mine",
)


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
    labels: options.Labels = "true",
    data_seed: options.DataSeed = 0,
    preset_name: how.Preset = None,
    list_presets: how.ListPresets = False,
    optimizer: how.Optimizer = "sgd",
    lr: how.Lr = 0.1,
    momentum: how.Momentum = 0.9,
    beta2: how.Beta2 = 0.999,
    weight_decay: how.WeightDecay = 0.0,
    decay_norm_bias: how.DecayNormBias = True,
    schedule: how.Schedule = "constant",
    milestones: how.Milestones = None,
    factor: how.Factor = 0.1,
    warmup: how.Warmup = 0.0,
    epochs: how.Epochs = 20.0,
    batch_size: how.BatchSize = 128,
    keep_last_batch: how.KeepLastBatch = False,
    label_smoothing: how.LabelSmoothing = 0.0,
    augment: how.Augment = "none",
    prime_bn: how.PrimeBn = 0,
    init_seed: how.InitSeed = None,
    init: how.Init = "default",
    init_from: how.InitFrom = None,
    order_seed: how.OrderSeed = None,
    augment_seed: how.AugmentSeed = None,
    dropout_seed: how.DropoutSeed = None,
    seeds: every.Seeds = None,
    jobs: every.RunsAtOnce = None,
    checkpoints: how.Checkpoints = "auto",
    resume_states: how.ResumeStates = "all",
    eval_train: how.EvalTrain = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOption = "float32",
    compile: how.Compile = "auto",
    deterministic: how.Deterministic = True,
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
    protocol = _protocol(context, chosen)
    network = network or (chosen.network if chosen else None)
    if chosen is not None and not how.given(context, "checkpoints"):
        checkpoints = chosen.record
    network_spec = inputs.network_spec(network, network_option, width)
    data_spec = inputs.data_spec(
        data, data_option, train_size=train_size, label_noise=label_noise, seed=data_seed, labels=labels
    )
    if network_spec is None or data_spec is None or out is None:
        missing = "--network" if network_spec is None else "--data" if data_spec is None else "--out"
        raise UsageError(f"{missing} is missing", "'landscape train --help' has examples")
    own = (init_seed, order_seed, augment_seed, dropout_seed)
    each = every.parse_seeds(context, seeds, own)
    output = Output(format, quiet, not no_progress, batches.COLUMNS)

    from landscape_cli.jobs.training import TrainJob, plan_training, run_training

    job = TrainJob(
        out=out,
        network=network_spec,
        data=data_spec,
        protocol=protocol,
        seeds=Seeds(*(seed if stream is None else stream for stream in own)),
        init=init,
        init_from=init_from,
        record=checkpoints,
        keep_resume=resume_states,
        device=device,
        precision=precision,
        compile=compile,
        deterministic=deterministic,
        threads=threads,
        evaluate=eval_train,
        classes=chosen.classes if chosen else None,
        command=options.command_line(),
        force=force,
    )
    if each is not None:
        every.train_each(output, job, each, own, jobs=jobs, dry_run=dry_run)
        return
    if dry_run:
        output.details(plan_training(job))
        return
    with output.bar(1, f"train {out.name}") as progress:
        record = run_training(job, progress)
    if record["skipped"]:
        output.note(f"{out} is finished already: nothing to do")
    output.emit(record)
    output.finish()


def _protocol(context: typer.Context, chosen: Preset | None) -> Protocol:
    """The protocol of the flags, or of the preset with the flags that were given."""
    names = Protocol().to_json()
    values: dict[str, Any] = {name: context.params[name] for name in names}
    values["milestones"] = how.parse_milestones(values["milestones"])
    if chosen is not None:
        values = {name: value for name, value in values.items() if how.given(context, name)}
        if values.get("schedule", "step") != "step":
            values.setdefault("milestones", ())
        values = chosen.changed(values)
    return Protocol(**values)
