"""Options of linearised training and kernel regression."""

from typing import Annotated, Literal

import typer

LINEARIZED = "Linearised training"
SOLVED = "Closed form"

At = Annotated[
    str, typer.Option("--at", help="Times t̃ to linearise at, as in 0ep,0.5ep,last.", rich_help_panel=LINEARIZED)
]
Order = Annotated[
    int, typer.Option("--order", min=1, max=2, help="Of the Taylor polynomial.", rich_help_panel=LINEARIZED)
]
Lr = Annotated[float, typer.Option("--lr", help="Learning rate, constant.", rich_help_panel=LINEARIZED)]
Epochs = Annotated[float, typer.Option("--epochs", help="Length.", rich_help_panel=LINEARIZED)]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Samples a step; default the parent's.", rich_help_panel=LINEARIZED),
]
Augment = Annotated[
    str | None,
    typer.Option("--augment", help="none, crop, flip, crop+flip; default the parent's.", rich_help_panel=LINEARIZED),
]
Repeats = Annotated[
    int,
    typer.Option("--repeats", min=1, help="Runs at each time, each in its own data order.", rich_help_panel=LINEARIZED),
]
LowLr = Annotated[
    bool,
    typer.Option(
        "--low-lr",
        help="Train the network itself beside each, from the same start with the same protocol and data order, and "
        "tell the nonlinear advantage.",
        rich_help_panel=LINEARIZED,
    ),
]
Name = Annotated[
    str,
    typer.Option(
        "--name", help="Pattern of the runs' names; {kind} is order1, order2 or low-lr.", rich_help_panel=LINEARIZED
    ),
]
Solve = Annotated[
    bool,
    typer.Option(
        "--solve",
        help="Instead of training: regression on the tangent kernel, squared loss on centred one-hot labels.",
        rich_help_panel=SOLVED,
    ),
]
SolvedKernel = Annotated[
    Literal["full", "trace"],
    typer.Option("--kernel", help="full (nC×nC) or its class trace (n×n).", rich_help_panel=SOLVED),
]
Ridge = Annotated[
    float,
    typer.Option("--ridge", min=0, help="λ, in the units of the kernel; 0 is the limit.", rich_help_panel=SOLVED),
]
SolvedSamples = Annotated[
    int,
    typer.Option("--samples", min=1, help="Training samples, with the classes' proportions.", rich_help_panel=SOLVED),
]
