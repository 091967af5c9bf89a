"""``landscape centroid``: means of models, as models."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from landscape_cli.cli import options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.completion import complete_columns
from landscape_cli.cli.groups import Shown, grouped
from landscape_cli.compute.predictions.choices import CentroidName
from landscape_cli.errors import UsageError

NAME = "centroid"
HELP = """Mean predictions of several models, in seven ways, written as new models of a predictions file.

For each sample: arithmetic, Σ w p; sqrt, (Σ w √p)²; geometric; harmonic; bhattacharyya, the fixed point of
c = Σ w √(c p) / Σ_c √(c p); jeffreys, a / W₀(e·a/g) of the arithmetic a and the geometric g; geodesic, the point whose
squared angles to the models' √p are least in sum. Each is normalised; nothing is added to probabilities. An ensemble is
the arithmetic mean; the harmonic one did slightly better on test data (Mao et al. 2023, D.4).

The new models have the columns centroid, models (how many), those of --group-by, and all that their models agree on;
their progress, error and loss are in the record. Means that the file holds already are not made again."""
EXAMPLES = (
    'landscape centroid predictions-test.h5 --group-by network,optimizer --where "epoch == 20"',
    "landscape centroid predictions-test.h5 --kind arithmetic,harmonic --group-by network,step -o means.h5",
    "landscape centroid predictions-test.h5 --kind arithmetic --weights posterior | landscape progress",
)
COLUMNS = (
    ("name", "mean"), ("centroid", "kind"), ("models", "models"), ("progress", "progress"),
    ("distance_to_geodesic", "to geodesic"), ("truth", "to truth"), ("error", "error"), ("loss", "loss"),
)  # fmt: skip
NAMES: tuple[CentroidName, ...] = get_args(CentroidName)
ALL = "all"

Kind = Annotated[
    str,
    typer.Option("--kind", metavar="KINDS", help="all, or some of " + ", ".join(NAMES) + "."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="COLUMN",
        help="Weights of the models; default equal.",
        show_default=False,
        autocompletion=complete_columns,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File of the means; default FILE-centroids.h5 beside the input."),
]


def parse_kinds(text: str) -> tuple[CentroidName, ...]:
    """Kinds of means as a person writes them.

    >>> parse_kinds("harmonic,arithmetic")
    ('harmonic', 'arithmetic')

    Raises:
        UsageError: If there is none, or one is unknown.
    """
    asked = what.parse_names(text)
    known: dict[str, CentroidName] = {name: name for name in NAMES}
    unknown = [name for name in asked if name not in (ALL, *known)]
    if unknown or not asked:
        raise UsageError(
            f"--kind {unknown[0]}: there is no such mean" if unknown else "--kind names no mean",
            "there are " + ", ".join([ALL, *known]),
        )
    return tuple(known.values()) if ALL in asked else tuple(known[name] for name in asked)


@grouped
def command(
    files: what.PredictionFiles = None,
    kind: Kind = ALL,
    group_by: what.GroupBy = None,
    weights: Weights = None,
    where: what.Where = None,
    samples: what.SampleCount = None,
    seed: what.SampleSeed = 0,
    out: Out = None,
    memory: what.Memory = what.MEMORY,
    threads: options.Threads = None,
    *,
    showing: Shown,
) -> None:
    """Parse, average, emit."""
    items = what.piped(files)
    kinds = parse_kinds(kind)
    if len(items) > 1 and out is not None:
        raise UsageError(f"the means of {len(items)} files cannot go to one --out", "leave it out")
    output = showing.output(COLUMNS)

    from landscape_cli.jobs.centroids import CentroidJob, default_out, run_centroids
    from landscape_cli.jobs.model_rows import open_models

    for item in items:
        path = Path(item.path)
        job = CentroidJob(
            open_models(path, where=where, samples=samples, seed=seed),
            out or default_out(path),
            kinds,
            tuple(what.parse_names(group_by)),
            weights,
            memory=memory,
            threads=threads,
            force=showing.force,
            note=output.note,
        )
        with output.bar(1, f"centroid {job.out.name}") as report:
            record = run_centroids(job, report)
        # A person at a terminal wants the means; the next command wants the file they are in.
        for shown in record["centroids"] if output.as_table else [record]:
            output.emit(shown)
    output.finish()
