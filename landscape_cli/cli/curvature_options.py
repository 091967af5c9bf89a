"""Options of the commands that measure curvature."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli.measure_options import MEASURE
from landscape_cli.cli.options import COMMON
from landscape_cli.cli.prediction_options import parse_size
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.training.protocol import OptimizerName
from landscape_cli.compute.weights.curvature_choices import Curvature, CurvatureNorm, TraceMethod
from landscape_cli.errors import UsageError

SPECTRUM = "Spectrum"
OPTIMIZER = "Optimiser, in place of the run's own"

Of = Annotated[
    Curvature,
    typer.Option(
        "--curvature",
        help="hessian, gauss-newton (the true Fisher of a softmax too), or empirical-fisher.",
        rich_help_panel=MEASURE,
    ),
]
CurvatureSamples = Annotated[
    int | None,
    typer.Option(
        "--samples", min=1, help="Images, with the split's class proportions; default 2,000.", rich_help_panel=MEASURE
    ),
]
Bn = Annotated[
    CurvatureNorm,
    typer.Option(
        "--bn",
        help="Batch norm by the checkpoint's statistics (eval), by recomputed ones, or by each batch's (train).",
        rich_help_panel=MEASURE,
    ),
]
PassSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Images a pass; default 100, or the run's own with --bn train.",
        rich_help_panel=MEASURE,
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance", min=1e-12, max=0.5, help="Ritz residual to stop at, relative.", rich_help_panel=SPECTRUM
    ),
]
Products = Annotated[
    int, typer.Option("--max-products", min=1, help="Most products for the eigenpairs.", rich_help_panel=SPECTRUM)
]
Top = Annotated[int, typer.Option("--top", min=1, help="Largest eigenvalues.", rich_help_panel=SPECTRUM)]
Bottom = Annotated[
    int, typer.Option("--bottom", min=0, help="Smallest (most negative) eigenvalues.", rich_help_panel=SPECTRUM)
]
Parts = Annotated[
    int,
    typer.Option(
        "--parts",
        min=0,
        help="Disjoint parts of the sample to compare λ_max of; 0: none.",
        rich_help_panel=SPECTRUM,
    ),
]
TraceProducts = Annotated[
    int, typer.Option("--trace", min=0, metavar="N", help="The trace, from N products.", rich_help_panel=SPECTRUM)
]
Method = Annotated[TraceMethod, typer.Option("--trace-method", help="Of the trace.", rich_help_panel=SPECTRUM)]
Probes = Annotated[
    int,
    typer.Option(
        "--density", min=0, metavar="N", help="The spectral density, from N random vectors.", rich_help_panel=SPECTRUM
    ),
]
Steps = Annotated[
    int, typer.Option("--steps", min=1, help="Lanczos steps from each of them.", rich_help_panel=SPECTRUM)
]
Smoothing = Annotated[
    float,
    typer.Option(
        "--smoothing", min=1e-6, max=1, help="Width of its peaks, share of the range.", rich_help_panel=SPECTRUM
    ),
]
OverlapOption = Annotated[
    bool,
    typer.Option(
        "--overlap",
        help="Overlap of the top-C eigenspace with the span of the C logit-gradient centroids.",
        rich_help_panel=SPECTRUM,
    ),
]
Vectors = Annotated[
    Path | None,
    typer.Option(
        "--vectors", help="Safetensors file for the eigenvectors, shaped as the weights.", rich_help_panel=SPECTRUM
    ),
]
GraphMemory = Annotated[
    int,
    typer.Option(
        "--memory",
        envvar="LANDSCAPE_MEMORY",
        metavar="SIZE",
        parser=parse_size,
        help="Memory for graphs kept between products: 4GB, 500MB.",
        show_default="4GB",
        rich_help_panel=COMMON,
    ),
]

Minibatches = Annotated[
    int, typer.Option("--minibatches", min=1, help="Minibatches whose steps are measured.", rich_help_panel=MEASURE)
]
AugmentSample = Annotated[
    bool,
    typer.Option(
        "--augment/--no-augment", help="Augment the sample as the run does, one draw each.", rich_help_panel=MEASURE
    ),
]
OwnOptimizer = Annotated[
    OptimizerName | None, typer.Option("--optimizer", help="sgd, nesterov, adam or adamw.", rich_help_panel=OPTIMIZER)
]
OwnLr = Annotated[
    float | None,
    typer.Option("--lr", help="Learning rate of the step, whatever the schedule.", rich_help_panel=OPTIMIZER),
]
OwnMomentum = Annotated[
    float | None, typer.Option("--momentum", help="Of SGD, or β₁ of Adam.", rich_help_panel=OPTIMIZER)
]
OwnDecay = Annotated[float | None, typer.Option("--weight-decay", help="Weight decay.", rich_help_panel=OPTIMIZER)]
OwnBatch = Annotated[int | None, typer.Option("--batch-size", min=1, help="Images a step.", rich_help_panel=OPTIMIZER)]
FreshOptimizer = Annotated[
    bool,
    typer.Option("--fresh-optimizer", help="Without momentum, as if it began here.", rich_help_panel=OPTIMIZER),
]


def check_precision(precision: Precision) -> None:
    """Refuse what second derivatives are not computed in.

    Raises:
        UsageError: If it is so.
    """
    if precision not in ("float32", "float64"):
        raise UsageError(f"curvature is not computed in {precision}", "use --precision float32 or float64")
