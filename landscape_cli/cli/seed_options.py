"""``train --seeds``: one run a seed, as one job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape_cli.cli import batches
from landscape_cli.cli.output import Output
from landscape_cli.errors import LandscapeError, UsageError
from landscape_cli.jobs.sweep_settings import SETTINGS, axis

if TYPE_CHECKING:
    from landscape_cli.jobs.training import TrainJob

MANY = "Many runs"
PLACE = "{seed}"

Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="0..9|1,2,5",
        help="One run a seed: --out runs/a makes runs/a-seed0, …; {seed} in --out says where the number stands.",
        rich_help_panel=MANY,
    ),
]
RunsAtOnce = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="With --seeds: runs at once; default one a core.", rich_help_panel=MANY),
]


def parse_seeds(context: typer.Context, text: str | None, own: tuple[int | None, ...]) -> list[int] | None:
    """The seeds of ``--seeds``, None without it.

    Args:
        context: Of the command, to see whether ``--seed`` was typed too.
        text: A range with both its ends, or a list of numbers and ranges.
        own: The seeds that single streams were given.

    Raises:
        UsageError: If it is no such list, a seed comes twice, there is ``--seed`` beside it, or no stream is left.
    """
    if text is None:
        return None
    source = context.get_parameter_source("seed")
    if source is not None and source.name == "COMMANDLINE":
        raise UsageError("--seed and --seeds are two answers to one question", "leave one of the two out")
    if None not in own:
        raise UsageError("--seeds has no stream left: each was given a seed of its own", "leave one of these out")
    parts = [part.strip() for part in text.split(",")]
    return axis(SETTINGS["seed"], [int(part) if part.isdecimal() else part for part in parts], "--seeds")


def place_of(out: Path, seed: int) -> Path:
    """Where the run of a seed goes.

    >>> place_of(Path("runs/a"), 3).as_posix(), place_of(Path("runs/{seed}/a"), 3).as_posix()
    ('runs/a-seed3', 'runs/3/a')
    """
    text = str(out)
    return Path(text.replace(PLACE, str(seed))) if PLACE in text else out.with_name(f"{out.name}-seed{seed}")


def train_each(
    output: Output, job: "TrainJob", seeds: list[int], own: tuple[int | None, ...], *, jobs: int | None, dry_run: bool
) -> None:
    """Train a job once for each seed, or say what that would take.

    Args:
        output: Where to.
        job: The job; its place is the pattern of all.
        seeds: The seeds.
        own: Seeds of single streams, which stay as they are.
        jobs: How many at once; None for one a core.
        dry_run: Plan only.

    Raises:
        LandscapeError: If none can start: what is wrong with one seed's data is wrong with all.
        BatchError: If some failed; each was named, and the others are done.
    """
    from dataclasses import replace

    from landscape_cli.compute.training.protocol import Seeds as Streams

    work = [
        replace(job, out=place_of(job.out, n), seeds=Streams(*(n if seed is None else seed for seed in own)))
        for n in seeds
    ]
    batch = batches.survey_batch(work, jobs, job.device)
    if dry_run:
        batches.plan(output, batch)
        return
    batches.refuse(batch)
    if isinstance(problem := batch.outlines[0], LandscapeError):
        raise problem
    batches.train(output, batch, f"train {job.out.name}")
