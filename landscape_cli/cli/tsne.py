"""``landscape tsne``: a map of models that keeps who is near whom."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from landscape_cli.cli import options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.output import Output
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.errors import UsageError

NAME = "tsne"
HELP = """Lay models out by t-SNE: neighbours stay neighbours, all other distances are given up.

Of predictions (by default their Euclidean distances, as in Fort et al. 2020, Fig. 11), or of any symmetric matrix of
distances: of 'distances', of 'trajectories', or the --matrix of 'weight-dist', 'kernel-dist' and their kin. It begins
with the leading dimensions of the same distances, so that the same file gives the same map; --start random tries
others, by --seed. What inpca shows of the whole, t-SNE does not: neither sizes of groups nor gaps between them mean
anything."""
EXAMPLES = (
    "landscape predict runs/parent runs/parent-at-* --at all | landscape tsne | landscape plot --color spawn_epoch",
    "landscape weight-dist runs/parent-at-* --pairs all --matrix weights.h5 > /dev/null && landscape tsne weights.h5",
    "landscape tsne predictions-test.h5 --distance bhattacharyya --perplexity 50 -o map.h5",
)
COLUMNS = (
    ("path", "map"), ("models", "models"), ("distance", "distance"), ("perplexity", "perplexity"),
    ("divergence", "KL(P‖Q), nats"), ("trustworthiness", "trustworthiness"), ("iterations", "steps"),
    ("seconds", "seconds"),
)  # fmt: skip
KINDS = ("predictions", "distances", "trajectories")
MAP = "Map"

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        help="Files of 'predict', 'distances' or 'trajectories', or a --matrix; - for a pipe of records.",
        show_default=False,
    ),
]
Dims = Annotated[int, typer.Option("--dims", "-k", min=1, help="Of the map.", rich_help_panel=MAP)]
Perplexity = Annotated[
    float | None,
    typer.Option(
        "--perplexity",
        metavar="N",
        min=1,
        help="About how many neighbours count; default 30, of few models a third of them.",
        rich_help_panel=MAP,
    ),
]
Iterations = Annotated[
    int, typer.Option("--iterations", min=250, help="Steps of gradient descent.", rich_help_panel=MAP)
]
Start = Annotated[
    Literal["inpca", "random"],
    typer.Option("--start", help="The leading dimensions of the distances, or random.", rich_help_panel=MAP),
]
Distance = Annotated[
    DistanceName | None,
    typer.Option("--distance", help="Between predictions; default euclidean.", rich_help_panel=what.DISTANCE),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="File of the map; default FILE-tsne.h5.")]


def command(
    files: Files = None,
    dims: Dims = 2,
    perplexity: Perplexity = None,
    iterations: Iterations = 1000,
    start: Start = "inpca",
    distance: Distance = None,
    where: what.Where = None,
    samples: what.SampleCount = None,
    seed: what.SampleSeed = 0,
    out: Out = None,
    memory: what.Memory = what.MEMORY,
    threads: options.Threads = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
) -> None:
    """Parse, map, emit."""
    items = what.piped(files, kinds=KINDS)
    if out is not None and len(items) > 1:
        raise UsageError(f"{len(items)} maps cannot go to one --out", "leave it out: each goes beside its input")
    output = Output(format, quiet, not no_progress, COLUMNS)

    from landscape_cli.jobs.neighbour_maps import NeighbourJob, NeighbourSettings, default_out, run_neighbours

    settings = NeighbourSettings(dims, perplexity, iterations, start, seed)
    for item in items:
        file = Path(item.path)
        job = NeighbourJob(
            file, out or default_out(file), settings, distance, where, samples, memory, threads, force,
            options.command_line(), output.note,
        )  # fmt: skip
        output.emit(run_neighbours(job))
    output.finish()
