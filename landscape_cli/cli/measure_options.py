"""Options that say what to measure and where, shared by the commands that do."""

import math
from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli.completion import complete_checkpoints, complete_runs
from landscape_cli.compute.choices import BatchNormMode, Side, SplitChoice
from landscape_cli.errors import UsageError
from landscape_cli.jobs.pairs import Pairing

MEASURE = "Measurement"

Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT...", help="Runs, RUN@2ep, .safetensors files, folders of them; - for a pipe.",
        autocompletion=complete_checkpoints,
    ),
]  # fmt: skip
CheckpointsOrNone = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CHECKPOINT...]", help="Runs, RUN@2ep, .safetensors files, folders of them; - for a pipe.",
        show_default=False, autocompletion=complete_checkpoints,
    ),
]  # fmt: skip
Pairs = Annotated[
    Pairing | None,
    typer.Option(
        "--pairs",
        help="siblings (children of one parent and time), all, consecutive, or given (in twos); two are a pair.",
        rich_help_panel=MEASURE,
    ),
]
At = Annotated[str | None, typer.Option("--at", help="Times on each run; default its last.", rich_help_panel=MEASURE)]
Split = Annotated[SplitChoice, typer.Option("--split", help="Where to measure.", rich_help_panel=MEASURE)]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        min=1,
        help="Samples of each split, with its class proportions; default all.",
        rich_help_panel=MEASURE,
    ),
]
Bn = Annotated[
    BatchNormMode,
    typer.Option(
        "--bn",
        help="Batch-norm statistics between the ends: recompute on training images, lerp, or keep A's.",
        rich_help_panel=MEASURE,
    ),
]
BnSamples = Annotated[
    int | None,
    typer.Option(
        "--bn-samples", min=2, help="Training images to recompute on; default 10,000 or all.", rich_help_panel=MEASURE
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Samples a forward pass.", rich_help_panel=MEASURE)]
Points = Annotated[int, typer.Option("--points", min=3, help="Points on the line.", rich_help_panel=MEASURE)]
Refine = Annotated[
    int,
    typer.Option("--refine", min=0, help="Rounds of finer search around each maximum.", rich_help_panel=MEASURE),
]
ByLayer = Annotated[
    bool, typer.Option("--by-layer", help="Each layer's distance too, in the records.", rich_help_panel=MEASURE)
]
MatrixOut = Annotated[
    Path | None,
    typer.Option("--matrix", help="HDF5 file for the distances between all checkpoints.", rich_help_panel=MEASURE),
]
Span = Annotated[
    str,
    typer.Option(
        "--span", metavar="LOW,HIGH", help="From which α to which: the line goes on beyond the two.",
        rich_help_panel=MEASURE,
    ),
]  # fmt: skip
Layerwise = Annotated[
    bool,
    typer.Option("--layerwise", help="Move one layer at a time, a barrier for each.", rich_help_panel=MEASURE),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers", metavar="NAME,…", help="With --layerwise: only these; * stands for anything.",
        rich_help_panel=MEASURE,
    ),
]  # fmt: skip
Others = Annotated[
    Side,
    typer.Option("--others", help="With --layerwise: where the other layers stay.", rich_help_panel=MEASURE),
]
Along = Annotated[
    Path | None,
    typer.Option(
        "--along", metavar="CURVE", help="Walk this curve of 'landscape curve' in place of lines.",
        rich_help_panel=MEASURE, autocompletion=complete_runs,
    ),
]  # fmt: skip
CurveOut = Annotated[
    Path | None,
    typer.Option("--curve-out", help="File for every point of every line, as JSON lines.", rich_help_panel=MEASURE),
]
RecordsOut = Annotated[
    Path | None, typer.Option("--out", "-o", help="File that gets the records too.", rich_help_panel=MEASURE)
]


def parse_span(text: str) -> tuple[float, float]:
    """The ends of a line as a person writes them.

    >>> parse_span("-0.5,1.5")
    (-0.5, 1.5)

    Raises:
        UsageError: If they are no two numbers around 0 and 1.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--span {text}: two numbers are needed", "as in --span=-0.5,1.5") from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= 0 and high >= 1):
        raise UsageError(f"--span {text}: the line goes at least from 0 to 1", "as in --span=-0.5,1.5")
    return low, high
