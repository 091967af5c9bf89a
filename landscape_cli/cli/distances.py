"""``landscape distances``: pairwise distances between models as predictors."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from landscape_cli.cli import options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.groups import Shown, grouped
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.errors import UsageError
from landscape_cli.store.records import Item

NAME = "distances"
HELP = """The matrix of distances between all models of a file, or between those of two files.

bhattacharyya −log Σ√(pq), skl Σ(p−q)·log(p/q), geodesic arccos Σ√(pq), hellinger Σ(√p−√q)², euclidean Σ(p−q)²: each
a mean over samples of sums over classes. The diagonal is exactly zero, the matrix exactly symmetric, and what is
infinite is +∞. Finished tiles are kept: an interrupted command goes on when it is given again.

Two files on the command line give the matrix between them, references in its rows and columns; through a pipe, each
file gives a matrix of its own."""
EXAMPLES = (
    "landscape distances predictions-test.h5 --truth --ignorance --geodesic 20",
    "landscape predict runs/* --split test | landscape distances | landscape inpca",
    "landscape distances new.h5 old.h5 --where \"network == 'resnet20'\" --distance skl --cap 100",
    "landscape distances large.h5 --memory 32GB --shard 1/8",
)
COLUMNS = (
    ("path", "matrix"), ("distance", "distance"), ("models", "models"), ("references", "references"),
    ("columns", "columns"), ("samples", "samples"), ("classes", "classes"), ("infinite", "infinite pairs"),
    ("cap", "cap"), ("mean", "mean"), ("max", "max"), ("shard", "shard"), ("tiles", "tiles"),
    ("tiles_done", "done before"), ("bytes", "bytes"), ("operations", "operations"), ("seconds", "seconds"),
)  # fmt: skip
PREDICTION_KEYS = frozenset({"split", "data", "fingerprint", "dtype", "added", "skipped", "bytes", "float16_error"})

Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File of the matrix; default FILE-DISTANCE.h5 beside the input."),
]
Cap = Annotated[
    float | None,
    typer.Option(
        "--cap", metavar="X", help="Store distances above X, +∞ among them, as X.", rich_help_panel=what.DISTANCE
    ),
]
ProjectClasses = Annotated[
    int | None,
    typer.Option(
        "--project-classes",
        metavar="K",
        min=2,
        help="Multiply probabilities by a random K×C matrix whose columns sum to one (by --seed): for many classes.",
        rich_help_panel=what.DISTANCE,
    ),
]
DType = Annotated[
    Literal["auto", "float32", "float64"],
    typer.Option(
        "--dtype", help="How distances are stored; auto is as predictions are.", rich_help_panel=what.DISTANCE
    ),
]
Tile = Annotated[
    int | None,
    typer.Option("--tile", min=1, help="Models a side of a tile; default what fits --memory.", rich_help_panel="Work"),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Compute the I-th of N parts of the tiles; the command without --shard puts them together.",
        rich_help_panel="Work",
    ),
]


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """A part of the work as a person writes it: the second of four is ``2/4``.

    >>> parse_shard("2/4")
    (2, 4)

    Raises:
        UsageError: If it is none.
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"--shard {text} is no part of a whole", "four parts are 1/4, 2/4, 3/4 and 4/4")
    return number, of


@grouped
def command(
    files: what.PredictionFiles = None,
    distance: what.DistanceOption = "bhattacharyya",
    cap: Cap = None,
    project_classes: ProjectClasses = None,
    dtype: DType = "auto",
    truth: what.Truth = False,
    ignorance: what.Ignorance = False,
    geodesic: what.Geodesic = None,
    label_smoothing: what.LabelSmoothing = 0.0,
    where: what.Where = None,
    samples: what.SampleCount = None,
    seed: what.SampleSeed = 0,
    out: Out = None,
    memory: what.Memory = what.MEMORY,
    tile: Tile = None,
    shard: Shard = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    *,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, compute, emit."""
    part = parse_shard(shard)
    tasks = _tasks(files, distance, out)
    output = showing.output(COLUMNS)

    from landscape_cli.jobs.distances import DistanceJob, DistanceSettings, plan_distances, run_distances
    from landscape_cli.jobs.model_rows import References, open_models

    references = References(ignorance, geodesic, truth, label_smoothing)
    for items, target in tasks:
        first, *other = (open_models(Path(i.path), where=where, samples=samples, seed=seed) for i in items)
        job = DistanceJob(
            first,
            target,
            DistanceSettings(distance, references, cap, project_classes, seed, dtype),
            second=other[0] if other else None,
            memory=memory,
            tile=tile,
            shard=part,
            device=device,
            threads=threads,
            force=showing.force,
            command=options.command_line(),
            note=output.note,
        )
        if dry_run:
            output.emit(plan_distances(job))
            continue
        with output.bar(1, f"distances {target.name}") as progress:
            record = run_distances(job, progress)
        known = PREDICTION_KEYS | record.keys()
        output.emit(record | {key: value for key, value in items[0].record.items() if key not in known})
    output.finish()


def _tasks(files: list[str] | None, distance: DistanceName, out: Path | None) -> list[tuple[list[Item], Path]]:
    """The inputs of each matrix, and its file."""
    items = what.piped(files)
    if files and len(files) > 1:
        if len(items) > 2:
            raise UsageError(
                f"{len(items)} files are given; a matrix is of one file or between two",
                "predict the checkpoints into one file, or pipe the files in for a matrix each",
            )
        groups = [items]
    else:
        groups = [[item] for item in items]
    if out is not None and len(groups) > 1:
        raise UsageError(f"{len(groups)} matrices cannot go to one --out", "leave it out: each goes beside its input")
    return [(group, out or default_out([Path(item.path) for item in group], distance)) for group in groups]


def default_out(inputs: list[Path], distance: DistanceName) -> Path:
    """Where a matrix goes by default: beside its first input.

    >>> default_out([Path("a/test.h5")], "skl").as_posix()
    'a/test-skl.h5'
    """
    return inputs[0].with_name("-".join([*(path.stem for path in inputs), distance]) + ".h5")
