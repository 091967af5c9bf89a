"""``landscape trajectories``: runs as curves, compared at equal progress."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli import options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.completion import complete_columns
from landscape_cli.cli.groups import Shown, grouped
from landscape_cli.cli.output import save_records
from landscape_cli.compute.predictions.choices import IndexName
from landscape_cli.errors import UsageError

NAME = "trajectories"
HELP = """Distances between whole runs at equal progress, and how each run goes: off the geodesic, off its like.

The checkpoints of a run, in order of step, are brought to a uniform grid of progress in (0, 1]: at each value stands
the model on the great circle between the two checkpoints around the first crossing. The distance of two runs is
∫ d_B(P_u(t), P_v(t)) dt (Mao et al. 2023, Eq. 5), by the trapezoid rule over the range of progress that BOTH have: a
run has no value before its first checkpoint's progress nor beyond its largest, and no checkpoint is taken to be at 1.
Runs that share little are close by that alone; --mean divides by the length of the range. The range is in the record.

The file is a matrix that 'inpca' and 'cluster' read, with two tables: points (each run at each progress: distance to
the geodesic, nearest point and at equal progress; to truth, to ignorance; error; loss; tube width) and averages over
--group-by with the number of runs at each progress. A tube width is the distance to the mean model (arithmetic mean of
probabilities) of the runs of one configuration at equal progress."""
EXAMPLES = (
    "landscape trajectories predictions-train.h5 --group-by network,optimizer",
    "landscape predict runs/* --at all --split train | landscape trajectories | landscape cluster | landscape plot",
    "landscape trajectories predictions-train.h5 --by network,optimizer,seed --geodesic --along along.jsonl",
    "landscape trajectories predictions-test.h5 --index error --mean --where \"network == 'mlp'\"",
)
COLUMNS = (
    ("path", "trajectories"), ("runs", "runs"), ("checkpoints", "checkpoints"), ("samples", "samples"),
    ("index", "index"), ("points", "points"), ("treatment", "distance is the"), ("shared_least", "share at least"),
    ("shared_most", "at most"), ("backwards", "backwards"), ("mean", "mean"), ("max", "max"),
    ("infinite", "infinite pairs"), ("seconds", "seconds"),
)  # fmt: skip
RUNS = "Runs"

By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="COLUMNS",
        help="Columns whose values name a run.",
        rich_help_panel=RUNS,
        autocompletion=complete_columns,
    ),
]
Order = Annotated[
    str | None,
    typer.Option(
        "--order",
        metavar="COLUMN",
        help="Order of training; default step, else epoch.",
        rich_help_panel=RUNS,
        autocompletion=complete_columns,
    ),
]
Index = Annotated[
    IndexName,
    typer.Option("--index", help="Compare at equal progress, or at equal 1 − error.", rich_help_panel=RUNS),
]
Points = Annotated[int, typer.Option("--points", min=2, help="Values of the index.", rich_help_panel=RUNS)]
Mean = Annotated[
    bool,
    typer.Option(
        "--mean", help="Distances are means over the range both have, not integrals.", rich_help_panel=what.DISTANCE
    ),
]
Geodesic = Annotated[
    bool,
    typer.Option(
        "--geodesic",
        help="Add the geodesic from ignorance to truth as a trajectory.",
        rich_help_panel=what.REFERENCES,
    ),
]
Along = Annotated[
    Path | None,
    typer.Option("--along", metavar="FILE", help="File that gets points and averages as JSON lines too."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File of the trajectories; default FILE-trajectories.h5 beside the input."),
]


@grouped
def command(
    files: what.PredictionFiles = None,
    by: By = "run",
    order: Order = None,
    index: Index = "progress",
    points: Points = 100,
    group_by: what.GroupBy = None,
    mean: Mean = False,
    distance: what.DistanceOption = "bhattacharyya",
    geodesic: Geodesic = False,
    label_smoothing: what.LabelSmoothing = 0.0,
    where: what.Where = None,
    samples: what.SampleCount = None,
    seed: what.SampleSeed = 0,
    along: Along = None,
    out: Out = None,
    memory: what.Memory = what.MEMORY,
    threads: options.Threads = None,
    *,
    showing: Shown,
) -> None:
    """Parse, compute, emit."""
    items = what.piped(files)
    names = what.parse_names(by)
    if not names:
        raise UsageError("--by names no column", "as in --by run")
    if len(items) > 1 and (out is not None or along is not None):
        raise UsageError(f"{len(items)} files cannot go to one --out or --along", "give them one by one")
    output = showing.output(COLUMNS)

    from landscape_cli.jobs import trajectories as jobs
    from landscape_cli.jobs.model_rows import open_models
    from landscape_cli.store.trajectories import Trajectories

    settings = jobs.TrajectorySettings(
        by=tuple(names),
        order=order,
        index=index,
        points=points,
        mean=mean,
        distance=distance,
        group_by=tuple(what.parse_names(group_by)),
        geodesic=geodesic,
        smoothing=label_smoothing,
    )
    for item in items:
        path = Path(item.path)
        job = jobs.TrajectoryJob(
            open_models(path, where=where, samples=samples, seed=seed),
            out or jobs.default_out(path),
            settings,
            memory=memory,
            threads=threads,
            force=showing.force,
            command=options.command_line(),
            note=output.note,
        )
        with output.bar(1, f"trajectories {job.out.name}") as report:
            record = jobs.run_trajectories(job, report)
        if along is not None:
            save_records(along, jobs.along(Trajectories.open(job.out)), force=showing.force)
            output.note(f"written: {along}")
        output.emit(record)
    output.finish()
