"""Options of ``sweep`` and ``status``, and how they say amounts."""

from pathlib import Path
from typing import Annotated

import typer

SWEEP = "Sweep"

Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Folder of the runs; default the file's 'out', else runs/NAME.", rich_help_panel=SWEEP
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-S",
        metavar="KEY=VALUE",
        help="A setting over the file's: data=cifar10:data, seed=0..2, lr=[0.1,0.2]; repeatable.",
        rich_help_panel=SWEEP,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Train the I-th of N parts of the runs, as on the I-th of N machines.",
        rich_help_panel=SWEEP,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Runs at once; default one a core.", rich_help_panel=SWEEP),
]
Diverged = Annotated[
    bool,
    typer.Option("--diverged/--no-diverged", help="Print records of diverged runs too.", rich_help_panel=SWEEP),
]


def folder(file: Path, own: str | None, asked: Path | None) -> Path:
    """Where the runs of a sweep file go."""
    return asked or Path(own or Path("runs") / file.stem)


def threads_of_each(device: str) -> int | None:
    """CPU threads of each run of a sweep: one on a CPU, however many run at once, so that a run's bits stay its own."""
    from landscape_cli.compute.device import placement

    return 1 if placement(device).device.type == "cpu" else None


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(42), duration(600), duration(9000), duration(500_000), duration(2e8)
    ('42 s', '10 min', '2.5 h', '5.79 days', '2,315 days')
    """
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / length:.3g} {unit}"
    days = seconds / 86_400
    return f"{days:.3g} days" if days < 1000 else f"{days:,.0f} days"


def amount(number: float) -> str:
    """A large number with a prefix.

    >>> amount(1_500_000), amount(3e18), amount(0)
    ('1.5 M', '3 E', '0 ')
    """
    for prefix in ("", "k", "M", "G", "T", "P", "E", "Z"):
        if number < 1000:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:.3g} Y"
