"""``landscape import``: other people's checkpoints become a run."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli.batches import RUN_COLUMNS as COLUMNS
from landscape_cli.cli.output import Output
from landscape_cli.errors import UsageError

NAME = "import"
HELP = """Make a run directory of other people's checkpoints: safetensors, Hugging Face folders, .pt files.

Pickles are read with weights_only: one that needs code to be run is refused. Each checkpoint is checked against the
network before anything is written."""
EXAMPLES = (
    "landscape import model.pt --out runs/mine --network resnet20 --data cifar10:data",
    "landscape import out/checkpoint-500 out/checkpoint-1000 --out runs/hf --network nets.py:build --data npz:my.npz",
    "landscape import weights/ --out runs/steps --network simple-cnn --data digits --steps-per-epoch 45",
)


def command(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Files or folders of checkpoints.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run directory to make.")],
    network: options.Network = None,
    network_option: options.NetworkOption = None,
    width: options.Width = None,
    data: options.Data = None,
    data_option: options.DataOption = None,
    train_size: options.TrainSize = None,
    label_noise: options.LabelNoise = 0.0,
    labels: options.Labels = "true",
    data_seed: options.DataSeed = 0,
    steps: Annotated[
        str | None,
        typer.Option(help="The step of each checkpoint, as in 0,100,200 (default: from their names)."),
    ] = None,
    steps_per_epoch: Annotated[int | None, typer.Option(min=1, help="To give times in epochs later.")] = None,
    key: Annotated[str | None, typer.Option(help="The entry of a .pt file that holds the weights.")] = None,
    strip_prefix: Annotated[str, typer.Option(help="To take off every tensor's name.")] = "",
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> None:
    """Parse, import, emit."""
    try:
        numbers = [int(part) for part in steps.split(",")] if steps else None
    except ValueError:
        raise UsageError(f"--steps '{steps}' is no list of whole numbers", "as in --steps 0,100,200") from None
    asked_network = inputs.network_spec(network, network_option, width)
    asked_data = inputs.data_spec(
        data, data_option, train_size=train_size, label_noise=label_noise, seed=data_seed, labels=labels
    )
    if asked_network is not None and asked_data is None:
        raise UsageError("--network needs --data: input shape and classes follow from the data")
    for source in sources:
        if not source.exists():
            raise UsageError(f"{source} does not exist")
    output = Output(format, quiet, False, COLUMNS)

    from landscape_cli.jobs.importing import ImportPlan, run_import

    record = run_import(
        ImportPlan(
            sources=sources,
            out=out,
            network=asked_network,
            data=asked_data,
            steps=numbers,
            steps_per_epoch=steps_per_epoch,
            key=key,
            prefix=strip_prefix,
            command=options.command_line(),
            force=force,
        )
    )
    if asked_network is None:
        output.note("without --network and --data the tensors were not checked, and later commands need both")
    output.emit(record)
    output.finish()
