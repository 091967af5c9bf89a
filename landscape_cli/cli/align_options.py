"""Options of an alignment, shared by the commands that align."""

from typing import Annotated

import typer

from landscape_cli.compute.weights.alignment_choices import (
    ACTIVATION_SAMPLES,
    RESTARTS,
    AlignMethod,
    Similarity,
)

ALIGNMENT = "Alignment"

Method = Annotated[
    AlignMethod,
    typer.Option(
        "--method", help="Match units by their weights, or by when they are active.", rich_help_panel=ALIGNMENT
    ),
]
Restarts = Annotated[
    int,
    typer.Option(
        "--restarts",
        min=1,
        help="Starts of weight matching, of which the best is kept: from the inputs on, as it is, then random ones.",
        rich_help_panel=ALIGNMENT,
    ),
]
SimilarityOption = Annotated[
    Similarity,
    typer.Option(
        "--similarity",
        help="What activation matching maximises: correlations or inner products.",
        rich_help_panel=ALIGNMENT,
    ),
]
Samples = Annotated[
    int,
    typer.Option(
        "--samples",
        min=2,
        help="Training images of activation matching; all, if there are fewer.",
        rich_help_panel=ALIGNMENT,
    ),
]

__all__ = ["ACTIVATION_SAMPLES", "RESTARTS", "Method", "Restarts", "Samples", "SimilarityOption"]
