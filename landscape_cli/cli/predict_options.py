"""Options of ``landscape predict``."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli.completion import complete_checkpoints
from landscape_cli.compute.choices import SplitChoice
from landscape_cli.jobs.prediction_values import Values
from landscape_cli.store.prediction_format import Compression, DType

WHAT = "What to predict"
FILE = "The file"
ELSEWHERE = "Predictions made elsewhere"

Checkpoints = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT...",
        help="Runs, RUN@2ep, .safetensors files, folders of them; - for a pipe (the default there).",
        show_default=False,
        autocompletion=complete_checkpoints,
    ),
]
At = Annotated[
    str | None,
    typer.Option("--at", help="Times on each run, as in 0ep,2ep, or all; default its last.", rich_help_panel=WHAT),
]
Split = Annotated[
    SplitChoice, typer.Option("--split", help="Which samples; both makes two files.", rich_help_panel=WHAT)
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        min=1,
        help="A random subset of N with the class proportions of the split; default all.",
        rich_help_panel=WHAT,
    ),
]
SampleIds = Annotated[
    Path | None,
    typer.Option(
        "--sample-ids", help="File of positions in the split, one a line or .npy, instead.", rich_help_panel=WHAT
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Samples a forward pass; default 100 on a CPU, 1000 on a GPU.",
        rich_help_panel=WHAT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Default predictions-SPLIT.h5; models are added to it.", rich_help_panel=FILE),
]
DTypeOption = Annotated[
    DType,
    typer.Option(
        "--dtype",
        help="float16 halves the file; its rounding error is measured and told.",
        rich_help_panel=FILE,
    ),
]
CompressionOption = Annotated[
    Compression | None,
    typer.Option(
        "--compression",
        help="Of the finished file, which is rewritten once; default what it has, or none.",
        rich_help_panel=FILE,
        show_default=False,
    ),
]
Metadata = Annotated[
    Path | None,
    typer.Option(
        "--metadata",
        help="CSV or JSON lines: columns of your own, joined on a column name, path or run.",
        rich_help_panel=FILE,
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Take (model, sample, class) or (sample, class) from an .npz, .npy or .h5 file instead.",
        rich_help_panel=ELSEWHERE,
    ),
]
Array = Annotated[str | None, typer.Option("--array", help="Which array of that file.", rich_help_panel=ELSEWHERE)]
ValuesOption = Annotated[
    Values, typer.Option("--values", help="What its numbers are; auto looks.", rich_help_panel=ELSEWHERE)
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="The true classes, .npy or one a line, if that file has no array 'labels'.",
        rich_help_panel=ELSEWHERE,
    ),
]
