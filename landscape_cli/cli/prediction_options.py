"""Options and inputs of the commands on predictions: which models, which samples, which distance, how much memory."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli.completion import complete_columns
from landscape_cli.cli.options import COMMON
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.errors import DataError, UsageError
from landscape_cli.store.records import Item, read_items

MODELS = "Models and samples"
REFERENCES = "Reference models"
DISTANCE = "Distance"

GIGABYTE = 10**9
MEMORY = 2 * GIGABYTE  # the default budget
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_size(text: str | int) -> int:
    """Bytes of a size as a person writes it; kB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024.

    >>> parse_size("2GB"), parse_size("1.5 MiB"), parse_size("64k"), parse_size(100)
    (2000000000, 1572864, 64000, 100)

    Raises:
        UsageError: If it is no size above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?i?)b?\s*", str(text), flags=re.IGNORECASE)
    size = round(float(found[1]) * UNITS.get(found[2].lower(), 0)) if found else 0
    if size <= 0:
        raise UsageError(f"'{text}' is no size in bytes", "write it as 2GB, 500MB or 1.5GiB")
    return size


def parse_names(text: str | None) -> list[str]:
    """The names of a comma-separated list, each once, in their order.

    >>> parse_names("arch, opt,arch")
    ['arch', 'opt']
    """
    return list(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def piped(arguments: Sequence[str] | None, *, kinds: Sequence[str] = ("predictions",)) -> list[Item]:
    """The inputs of a command that reads files or a pipe: without arguments, stdin if that is no terminal.

    Raises:
        UsageError: If there is neither, or a line of the pipe is of another kind.
        DataError: If a file does not exist; nothing was loaded to find that out.
    """
    if not arguments:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no file is given", "name one, or pipe the records of another command in")
        arguments = ["-"]
    items = read_items(arguments, kinds=kinds)
    for item in items:
        if not Path(item.path).exists():
            raise DataError(f"{item.path} does not exist")
    return items


PredictionFiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE",
        help="Files of 'landscape predict', or - for its records on a pipe (the default there).",
        show_default=False,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="EXPR",
        help="Models to take, by the columns of their table: \"opt == 'sgd' and seed < 45\".",
        autocompletion=complete_columns,
        rich_help_panel=MODELS,
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="COLUMNS",
        help="Columns, as in network,optimizer.",
        autocompletion=complete_columns,
        rich_help_panel=MODELS,
    ),
]
SampleCount = Annotated[
    int | None,
    typer.Option("--samples", min=1, help="A random subset of N samples; default all.", rich_help_panel=MODELS),
]
SampleSeed = Annotated[
    int,
    typer.Option("--seed", envvar="LANDSCAPE_SEED", min=0, help="Seed of every random choice.", rich_help_panel=MODELS),
]
Memory = Annotated[
    int,
    typer.Option(
        "--memory",
        envvar="LANDSCAPE_MEMORY",
        metavar="SIZE",
        parser=parse_size,
        help="Memory that the command may use beyond what the program itself takes: 2GB, 500MB.",
        show_default="2GB",
        rich_help_panel=COMMON,
    ),
]
DistanceOption = Annotated[
    DistanceName,
    typer.Option("--distance", help="Between two models' predictions, a mean over samples.", rich_help_panel=DISTANCE),
]
Truth = Annotated[
    bool, typer.Option("--truth", help="Add the truth: all mass on the label.", rich_help_panel=REFERENCES)
]
Ignorance = Annotated[
    bool, typer.Option("--ignorance", help="Add ignorance: every class alike.", rich_help_panel=REFERENCES)
]
Geodesic = Annotated[
    int | None,
    typer.Option(
        "--geodesic",
        metavar="K",
        min=1,
        help="Add K points between the two, at λ = 1/(K+1) … K/(K+1); the ends have options of their own.",
        rich_help_panel=REFERENCES,
    ),
]
LabelSmoothing = Annotated[
    float,
    typer.Option(
        "--label-smoothing",
        metavar="ε",
        min=0,
        max=1,
        help="The truth puts 1−ε on the label and spreads the rest over the other classes.",
        rich_help_panel=REFERENCES,
    ),
]
