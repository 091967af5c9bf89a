"""Options and inputs of the commands on tangent kernels."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli.measure_options import MEASURE
from landscape_cli.compute.choices import Precision, SplitName
from landscape_cli.compute.tangent.choices import KernelForm, KernelPrecision
from landscape_cli.errors import UsageError

Form = Annotated[
    KernelForm,
    typer.Option(
        "--kernel",
        help="full (nC×nC), its class trace (n×n), or pseudo (of the sum of logits); they are not comparable.",
        rich_help_panel=MEASURE,
    ),
]
KernelSamples = Annotated[
    int, typer.Option("--samples", min=1, help="Samples, with the split's class proportions.", rich_help_panel=MEASURE)
]
Balanced = Annotated[
    bool, typer.Option("--balanced", help="Exactly as many samples of every class.", rich_help_panel=MEASURE)
]
OneSplit = Annotated[SplitName, typer.Option("--split", help="Whose samples.", rich_help_panel=MEASURE)]
ByLayer = Annotated[
    bool, typer.Option("--by-layer", help="Each layer's distance too; the kernels add up.", rich_help_panel=MEASURE)
]
Cka = Annotated[bool, typer.Option("--cka", help="Centred kernel alignment too.", rich_help_panel=MEASURE)]
Spectrum = Annotated[
    bool,
    typer.Option("--eigenvalues", help="Eigenvalues and effective rank of each kernel too.", rich_help_panel=MEASURE),
]
SaveKernels = Annotated[
    Path | None, typer.Option("--save-kernels", help="HDF5 file for the kernels.", rich_help_panel=MEASURE)
]


def products(precision: Precision) -> tuple[KernelPrecision, Precision]:
    """The precision of a kernel's products, and that of the network whose gradients they are of.

    Raises:
        UsageError: If kernels are not computed in this one.
    """
    if precision in ("tf32", "fp16"):
        raise UsageError(f"kernels are not computed in {precision}", "use --precision float32, float64 or bf16")
    chosen: KernelPrecision = "float64" if precision == "float64" else "bf16" if precision == "bf16" else "float32"
    return chosen, "float64" if chosen == "float64" else "float32"
