"""``landscape cluster``: a dendrogram, its cut, and what tells the items apart."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from landscape_cli.cli import options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.completion import complete_columns
from landscape_cli.cli.groups import Shown, grouped
from landscape_cli.cli.output import save_records
from landscape_cli.errors import UsageError

NAME = "cluster"
HELP = """Cluster trajectories or models by their distances: a dendrogram, and the factors that make the difference.

Complete linkage (two clusters are as far apart as their farthest members), leaves in optimal order; the cophenetic
correlation says how well the tree tells the distances. With --group-by, distances are first averaged over all pairs of
two groups: the paper clusters configurations, averaged over initialisations, of runs with a train error of at most 0.1
(--group-by network,optimizer --where "train_error <= 0.1", or "error <= 0.1" on train predictions).

--importance: a random forest predicts the distance of two items from their factors (for each factor, the unordered pair
of its values and whether they differ); importance is how far R² falls when one factor is shuffled, on pairs held out so
that neither item of a test pair is in training. Mean and standard deviation over --repeats splits; R² beside it."""
EXAMPLES = (
    "landscape trajectories predictions-train.h5 | landscape cluster --clusters 4 | landscape plot",
    'landscape cluster train-trajectories.h5 --group-by network,optimizer --where "train_error <= 0.1"',
    "landscape cluster train-trajectories.h5 --factors network,optimizer,seed --repeats 20",
    'landscape cluster predictions-test.h5 --where "epoch == 20" --clusters 3 --members clusters.jsonl',
)
COLUMNS = (
    ("path", "clusters"), ("items", "items"), ("distance", "distance"), ("height", "height"),
    ("cophenetic", "cophenetic correlation"), ("clusters", "cut into"), ("sizes", "of sizes"),
    ("importance", "importance"), ("importance_std", "± s.d."), ("explained", "R² held out"), ("seconds", "seconds"),
)  # fmt: skip
KINDS = ("trajectories", "distances", "predictions")
TREE, FACTORS = "Tree", "Factors"

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        help="Files of 'trajectories', 'distances' or 'predict', or - for their records (the default on a pipe).",
        show_default=False,
    ),
]
Clusters = Annotated[
    int | None, typer.Option("--clusters", metavar="K", min=1, help="Cut into K clusters.", rich_help_panel=TREE)
]
References = Annotated[
    bool,
    typer.Option("--references/--no-references", help="Keep reference models in the tree.", rich_help_panel=TREE),
]
Members = Annotated[
    Path | None,
    typer.Option("--members", metavar="FILE", help="File that gets the items in the tree's order as JSON lines."),
]
Importance = Annotated[
    bool,
    typer.Option("--importance", help="Measure the importance of every column that varies.", rich_help_panel=FACTORS),
]
Factors = Annotated[
    str | None,
    typer.Option(
        "--factors",
        metavar="COLUMNS",
        help="Measure the importance of these columns.",
        rich_help_panel=FACTORS,
        autocompletion=complete_columns,
    ),
]
Covariates = Annotated[
    str | None,
    typer.Option(
        "--covariates",
        metavar="COLUMNS",
        help="Numbers for the forest beside the factors; the paper's is mean_distance_to_geodesic.",
        rich_help_panel=FACTORS,
        autocompletion=complete_columns,
    ),
]
HoldOut = Annotated[
    Literal["model", "configuration"],
    typer.Option(
        "--hold-out",
        help="Hold out single items, or all with equal factors together (seeds of one configuration).",
        rich_help_panel=FACTORS,
    ),
]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Splits, and forests.", rich_help_panel=FACTORS)]
Trees = Annotated[int, typer.Option("--trees", min=1, help="Trees of a forest.", rich_help_panel=FACTORS)]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="File of the clustering; default FILE-clusters.h5 beside the input.")
]


@grouped
def command(
    files: Files = None,
    clusters: Clusters = None,
    group_by: what.GroupBy = None,
    where: what.Where = None,
    references: References = True,
    distance: what.DistanceOption = "bhattacharyya",
    importance: Importance = False,
    factors: Factors = None,
    covariates: Covariates = None,
    hold_out: HoldOut = "model",
    repeats: Repeats = 10,
    trees: Trees = 200,
    seed: what.SampleSeed = 0,
    members: Members = None,
    out: Out = None,
    memory: what.Memory = what.MEMORY,
    threads: options.Threads = None,
    *,
    showing: Shown,
) -> None:
    """Parse, cluster, emit."""
    items = what.piped(files, kinds=KINDS)
    if len(items) > 1 and (out is not None or members is not None):
        raise UsageError(f"{len(items)} files cannot go to one --out or --members", "give them one by one")
    named = tuple(what.parse_names(factors))
    if covariates is not None and not (named or importance):
        raise UsageError("--covariates means nothing without --importance or --factors", "leave it out")
    output = showing.output(COLUMNS)

    from landscape_cli.jobs import clusters as jobs
    from landscape_cli.store.clusters import Clusters as Stored

    settings = jobs.ClusterSettings(
        where=where,
        references=references,
        group_by=tuple(what.parse_names(group_by)),
        clusters=clusters,
        factors=named or (None if importance else ()),
        covariates=tuple(what.parse_names(covariates)),
        hold_out=hold_out,
        repeats=repeats,
        trees=trees,
        seed=seed,
        distance=distance,
    )
    for item in items:
        path = Path(item.path)
        job = jobs.ClusterJob(
            path,
            out or jobs.default_out(path),
            settings,
            memory=memory,
            threads=threads,
            force=showing.force,
            command=options.command_line(),
            note=output.note,
        )
        with output.bar(1, f"cluster {job.out.name}") as report:
            record = jobs.run_clusters(job, report)
        if members is not None:
            save_records(members, jobs.members(Stored.open(job.out)), force=showing.force)
            output.note(f"written: {members}")
        output.emit(record)
    output.finish()
