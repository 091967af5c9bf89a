"""Options of ``landscape inpca``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.completion import complete_columns
from landscape_cli.compute.predictions.choices import DistanceName, MethodName, SolverName

EMBEDDING = "Embedding"
ADDING = "Adding and comparing"
SOLVER = "Solver"

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        help="Distances (of models or trajectories) or predictions, each embedded alone, or an embedding to add to; "
        "- for a pipe of records.",
        show_default=False,
    ),
]
Dims = Annotated[
    int, typer.Option("--dims", "-k", min=1, help="Dimensions, by |eigenvalue|.", rich_help_panel=EMBEDDING)
]
Method = Annotated[
    MethodName | None,
    typer.Option(
        "--method",
        help="inpca (Bhattacharyya), iskl (symmetrised KL), geodesic or pca (Euclidean, of probabilities). Default: "
        "that of the distances given, inpca for predictions.",
        rich_help_panel=EMBEDDING,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="COLUMN",
        help="Column of multiplicities: a model of weight 2 counts as two of them, one of weight 0 is only added.",
        rich_help_panel=EMBEDDING,
        autocompletion=complete_columns,
    ),
]
FitOn = Annotated[
    str | None,
    typer.Option(
        "--fit-on",
        metavar="EXPR|N",
        help="Embed only these models (a condition like that of --where, or N drawn at random); add the others.",
        rich_help_panel=EMBEDDING,
    ),
]
FitSamples = Annotated[
    int | None,
    typer.Option(
        "--fit-samples",
        metavar="N",
        min=1,
        help="Embed by N samples drawn at random; then place all models by all samples (Eq. 10).",
        rich_help_panel=EMBEDDING,
    ),
]
ReferenceRoles = Annotated[
    Literal["added", "embedded"],
    typer.Option(
        "--references",
        help="Whether truth, ignorance and geodesic are added to the embedding of the models (Eq. 9), so that the "
        "explained stress is that of the models, or embedded among them.",
        rich_help_panel=what.REFERENCES,
    ),
]
Truth = Annotated[
    bool | None,
    typer.Option(
        "--truth/--no-truth",
        help="The truth; default yes, but for iskl, where it is infinitely far from everything.",
        show_default=False,
        rich_help_panel=what.REFERENCES,
    ),
]
Ignorance = Annotated[
    bool, typer.Option("--ignorance/--no-ignorance", help="Every class alike.", rich_help_panel=what.REFERENCES)
]
Geodesic = Annotated[
    int,
    typer.Option("--geodesic", metavar="K", min=0, help="Points between the two.", rich_help_panel=what.REFERENCES),
]
Distance = Annotated[
    DistanceName | None,
    typer.Option("--distance", help="For predictions; default that of the method.", rich_help_panel=what.DISTANCE),
]
Cap = Annotated[
    float | None,
    typer.Option(
        "--cap",
        metavar="X",
        help="Count distances above X, +∞ among them, as X; recorded. (A file of distances has its own.)",
        rich_help_panel=what.DISTANCE,
    ),
]
ProjectClasses = Annotated[
    int | None,
    typer.Option(
        "--project-classes", metavar="K", min=2, help="See landscape distances.", rich_help_panel=what.DISTANCE
    ),
]
Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="FILE",
        help="Add the models of FILE by distances to the embedded ones (Eq. 9); nothing moves. FILE: predictions, "
        "or 'landscape distances NEW EMBEDDED'.",
        rich_help_panel=ADDING,
    ),
]
ProjectTest = Annotated[
    Path | None,
    typer.Option(
        "--project-test",
        metavar="FILE",
        help="Add the same models by their predictions, or distances, on other samples (Eq. 10).",
        rich_help_panel=ADDING,
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="Where the embedded models' predictions are, if the file does not say.",
        rich_help_panel=ADDING,
    ),
]
Align = Annotated[
    Path | None,
    typer.Option(
        "--align",
        metavar="EMBEDDING",
        help="Lay it over another embedding, by the models of both: Kabsch–Umeyama, mirrored if that fits better.",
        rich_help_panel=ADDING,
    ),
]
AlignDims = Annotated[int, typer.Option("--align-dims", min=1, help="Dimensions to compare.", rich_help_panel=ADDING)]
Reading = Annotated[
    bool,
    typer.Option(
        "--reading",
        help="The three coordinates: embed ignorance, truth and two mean models, add all, compare (Eqs. 11, 12).",
        rich_help_panel=ADDING,
    ),
]
Near = Annotated[
    str, typer.Option("--near", metavar="S1,S2", help="Progress of the two mean models.", rich_help_panel=ADDING)
]
Sigma = Annotated[
    float, typer.Option("--sigma", metavar="σ", help="Width of the means in progress.", rich_help_panel=ADDING)
]
Solver = Annotated[
    SolverName,
    typer.Option(
        "--solver",
        help="dense (up to 1,500 models by default), or krylov: products with the distances, block by block from disk.",
        rich_help_panel=SOLVER,
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance", help="Largest residual, relative to the largest eigenvalue (krylov).", rich_help_panel=SOLVER
    ),
]
MaxPasses = Annotated[
    int,
    typer.Option(
        "--max-passes", min=2, help="How often the distances are read at most (krylov).", rich_help_panel=SOLVER
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File of the embedding; default FILE-METHOD.h5 beside the input."),
]
