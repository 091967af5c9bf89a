"""Options of planes of weight space."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli.completion import complete_runs
from landscape_cli.compute.weights.plane_choices import Corner, Directions
from landscape_cli.errors import UsageError

PLANE = "Plane"
GRID = "Grid"

Out = Annotated[Path, typer.Option("--out", "-o", help="HDF5 file for the plane.")]
DirectionsOption = Annotated[
    Directions | None,
    typer.Option(
        "--directions",
        help="What spans the plane beside one or two networks: random or gradient (filter-normalised), or pca, the "
        "principal components of a trajectory.",
        rich_help_panel=PLANE,
    ),
]
Trajectory = Annotated[
    list[Path] | None,
    typer.Option(
        "--trajectory", metavar="RUN", help="Where its checkpoints stand above the plane; repeatable.",
        autocompletion=complete_runs,
        rich_help_panel=PLANE,
    ),
]  # fmt: skip
To = Annotated[
    Corner, typer.Option("--to", help="The corner that function distance is measured to.", rich_help_panel=PLANE)
]
Linearize = Annotated[
    Corner | None,
    typer.Option("--linearize", help="Measure the network linearised at this corner too.", rich_help_panel=PLANE),
]
Grid = Annotated[str, typer.Option("--grid", metavar="N|NX,NY", help="Points along each side.", rich_help_panel=GRID)]
Adaptive = Annotated[
    bool, typer.Option("--adaptive", help="Divide cells where the values change.", rich_help_panel=GRID)
]
Budget = Annotated[
    int | None,
    typer.Option("--budget", min=4, help="Points in all, adaptive; default twice the grid's.", rich_help_panel=GRID),
]
Levels = Annotated[
    int, typer.Option("--levels", min=1, max=6, help="How often a cell can be divided.", rich_help_panel=GRID)
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance", min=0, max=1, help="Change, as a share of a value's range, that leaves a cell whole.",
        rich_help_panel=GRID,
    ),
]  # fmt: skip
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        min=0,
        help="Room around the networks, as a share of their extent [default: 0.25]; around one network in units of "
        "the directions [1].",
        rich_help_panel=GRID,
    ),
]
XRange = Annotated[
    str | None, typer.Option("--x", metavar="LOW,HIGH", help="Range of x, in place of --margin.", rich_help_panel=GRID)
]
YRange = Annotated[
    str | None, typer.Option("--y", metavar="LOW,HIGH", help="Range of y, in place of --margin.", rich_help_panel=GRID)
]


def parse_grid(text: str) -> tuple[int, int]:
    """Points along x and y.

    >>> parse_grid("21"), parse_grid("31,11")
    ((21, 21), (31, 11))

    Raises:
        UsageError: If they are no whole numbers of at least 2.
    """
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 2) or min(sizes) < 2:
        raise UsageError(f"--grid {text}: a grid has two points or more along each side", "as in --grid 21 or 31,21")
    return sizes[0], sizes[-1]


def parse_range(text: str | None, option: str) -> tuple[float, float] | None:
    """A range as a person writes it.

    >>> parse_range("-1, 2.5", "--x")
    (-1.0, 2.5)

    Raises:
        UsageError: If it is none.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not -float("inf") < low < high < float("inf"):
        raise UsageError(f"{option} {text} is no range", f"as in {option} -1,2")
    return low, high
