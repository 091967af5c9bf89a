"""Options of an alignment, shared by the commands that align."""

from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand

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

Align = Annotated[
    AlignMethod | None,
    typer.Option(
        "--align",
        metavar="[weights|activations]",
        help="Measure B with its hidden units in the order that suits A; by weights, unless said otherwise.",
        rich_help_panel=ALIGNMENT,
    ),
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Without batch norm: give units of the line the statistics between the ends' (on --bn-samples).",
        rich_help_panel=ALIGNMENT,
    ),
]


class AligningCommand(TyperCommand):
    """A command whose ``--align`` may stand without a method: then it is by weights."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--align`` its method."""
        methods = get_args(AlignMethod)
        words: list[str] = []
        for number, word in enumerate(args):
            words.append(word)
            if word == "--align" and not set(args[number + 1 : number + 2]) & set(methods):
                words.append(methods[0])
        return super().parse_args(ctx, words)


__all__ = [
    "ACTIVATION_SAMPLES",
    "RESTARTS",
    "Align",
    "AligningCommand",
    "Method",
    "Repair",
    "Restarts",
    "Samples",
    "SimilarityOption",
]
