"""Options that commands share, declared once."""

import difflib
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli.completion import complete_data, complete_networks
from landscape_cli.cli.output import Format
from landscape_cli.compute.choices import Precision
from landscape_cli.errors import UsageError

COMMON = "Common options"
SUBJECT = "Network and data"


def command_line() -> str:
    """The command as it was typed, for the record."""
    return shlex.join(["landscape", *sys.argv[1:]])


def read_config(context: typer.Context, value: Path | None) -> Path | None:
    """Take defaults from a TOML file: its entries of the command's own table, else its top-level entries.

    Raises:
        UsageError: If the file cannot be read, or an entry is no option of the command.
    """
    if value is None or context.resilient_parsing:
        return value
    try:
        document = tomllib.loads(value.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {value}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--config {value} is no TOML file: {error}") from error
    command = context.info_name or ""
    table = document.get(command)
    entries = table if isinstance(table, dict) else {k: v for k, v in document.items() if not isinstance(v, dict)}
    # Options are found by any of their long names, so that a file says lr and network-option as the shell does.
    known: dict[str, Any] = {}
    for parameter in context.command.params:
        for name in (*parameter.opts, *parameter.secondary_opts):
            known[name.lstrip("-")] = parameter
    defaults: dict[str, Any] = {}
    for key, entry in entries.items():
        option = known.get(key.replace("_", "-"))
        if option is None or option.name == "config":
            near = difflib.get_close_matches(key, known, n=1)
            raise UsageError(
                f"--config {value}: '{key}' is no option of '{command}'",
                f"did you mean '{near[0]}'?" if near else None,
            )
        defaults[option.name] = _as_default(entry, multiple=getattr(option, "multiple", False))
    context.default_map = {**(context.default_map or {}), **defaults}
    return value


def _as_default(entry: Any, *, multiple: bool) -> Any:
    """A TOML value in the form that the command line would give."""
    if multiple:
        return [str(e) for e in entry] if isinstance(entry, list) else [str(entry)]
    if isinstance(entry, list):
        return ",".join(map(str, entry))
    return entry


Device = Annotated[
    str,
    typer.Option("--device", envvar="LANDSCAPE_DEVICE", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=COMMON),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        envvar="LANDSCAPE_PRECISION",
        help="float32, float64, tf32, bf16 (products only; normalisation and sums stay float32) or fp16.",
        rich_help_panel=COMMON,
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", envvar="LANDSCAPE_SEED", min=0, help="Seed of all random streams.", rich_help_panel=COMMON),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        envvar="LANDSCAPE_THREADS",
        min=1,
        help="CPU threads of each process.",
        rich_help_panel=COMMON,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is in the way.", rich_help_panel=COMMON)]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        envvar="LANDSCAPE_FORMAT",
        help="table on a terminal, JSON lines when piped (auto), or one of them, or CSV.",
        rich_help_panel=COMMON,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print paths only.", rich_help_panel=COMMON)]
NoProgress = Annotated[
    bool,
    typer.Option("--no-progress", envvar="LANDSCAPE_NO_PROGRESS", help="No progress bars.", rich_help_panel=COMMON),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file of defaults, under the flags; a table named like the command, or top-level entries.",
        callback=read_config,
        is_eager=True,
        rich_help_panel=COMMON,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and what it costs.", rich_help_panel=COMMON)
]

Network = Annotated[
    str | None,
    typer.Option(
        "--network",
        "-n",
        help="simple-cnn, resnet20, wrn-16-4, mlp, allcnn, convmixer, vit, fc-mao2023, wrn-10-4-8, timm:NAME, "
        "torchvision:NAME, module:function or file.py:function.",
        autocompletion=complete_networks,
        rich_help_panel=SUBJECT,
    ),
]
NetworkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--network-option",
        "-N",
        metavar="KEY=VALUE",
        help="As in widths=512,256; repeatable.",
        rich_help_panel=SUBJECT,
    ),
]
Width = Annotated[
    float | None,
    typer.Option("--width", help="Width multiplier, short for -N width=….", rich_help_panel=SUBJECT),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        help="digits, synthetic:sloppy, cifar10:DIR, fashion-mnist:DIR, npz:FILE, imagefolder:DIR, file.py:function, …",
        autocompletion=complete_data,
        rich_help_panel=SUBJECT,
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data-option",
        "-D",
        metavar="KEY=VALUE",
        help="As in size=64, mean=0.5,0.5,0.5, normalize=none; repeatable.",
        rich_help_panel=SUBJECT,
    ),
]
TrainSize = Annotated[
    int | None,
    typer.Option("--train-size", min=1, help="Train on a class-balanced subset of N.", rich_help_panel=SUBJECT),
]
LabelNoise = Annotated[
    float,
    typer.Option(
        "--label-noise",
        min=0,
        max=1,
        help="Share of training labels replaced by another class.",
        rich_help_panel=SUBJECT,
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels",
        metavar="true|random:SEED|permuted:SEED",
        help="Training labels: true, drawn at random, or shuffled among the samples; the test labels stay true.",
        rich_help_panel=SUBJECT,
    ),
]
DataSeed = Annotated[int, typer.Option("--data-seed", min=0, help="Seed of subset and noise.", rich_help_panel=SUBJECT)]
