"""``landscape compare``: every distance between two checkpoints, in one record."""

from typing import Annotated

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli import kernel_options as kernel
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import NetworkAndData, Shown, grouped
from landscape_cli.cli.pairwise import emit_pairs
from landscape_cli.errors import InterruptedRunError
from landscape_cli.jobs.measures import USUAL, parse_measures
from landscape_cli.jobs.pairs import default_pairing, pair

NAME = "compare"
HELP = """Every distance between two networks in one record: error barrier, weights, ReLU patterns, answers, kernels.

The record of a pair holds what barrier, weight-dist, relu-dist, function-dist and kernel-dist say of it, each under a
name of its own; for children, 'landscape plot' draws them against their spawn time (Fort et al. 2020, Fig. 2–4, E)."""
EXAMPLES = (
    "landscape compare sample_checkpoints/early-? sample_checkpoints/late-? --pairs siblings",
    "landscape compare runs/parent-at-* --pairs siblings | landscape plot -o siblings.png",
    "landscape compare runs/a runs/b --measures weight,function,gradient",
)
COLUMNS = (
    ("a", "A"), ("b", "B"), ("spawn_epoch", "spawned at epoch"), ("error_barrier", "error barrier"),
    ("weight_distance", "weight distance"), ("weight_cosine", "cosine"), ("relu_distance", "relu"),
    ("function_distance", "function"), ("kernel_distance", "kernel"), ("gradient_distance", "gradient"),
    ("error_a", "error A"), ("error_b", "error B"), ("split", "split"),
)  # fmt: skip

Measures = Annotated[
    str,
    typer.Option(
        "--measures",
        metavar="NAME,…",
        help="Which: barrier, weight, relu, function, kernel, gradient.",
        rich_help_panel=what.MEASURE,
    ),
]
KernelSamples = Annotated[
    int, typer.Option("--kernel-samples", min=1, help="Training samples of kernels.", rich_help_panel=what.MEASURE)
]
GradientSamples = Annotated[
    int,
    typer.Option(
        "--gradient-samples", min=1, help="Training samples of logit gradients.", rich_help_panel=what.MEASURE
    ),
]


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    pairs: what.Pairs = None,
    measures: Measures = USUAL,
    points: what.Points = 25,
    split: kernel.OneSplit = "test",
    samples: what.Samples = None,
    kernel_samples: KernelSamples = 200,
    gradient_samples: GradientSamples = 1000,
    bn: what.Bn = "recompute",
    bn_samples: what.BnSamples = None,
    batch_size: what.BatchSize = 100,
    out: what.RecordsOut = None,
    *,
    described: NetworkAndData,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    showing: Shown,
) -> None:
    """Parse, measure, emit."""
    asked_network, asked_data = described.specs()
    asked = parse_measures(measures)
    subjects = inputs.subjects(checkpoints, at)
    chosen = pair(subjects, pairs or default_pairing(subjects))
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.compute.device import placement, set_threads
    from landscape_cli.jobs.comparisons import Comparison, ComparisonSettings

    set_threads(threads)
    settings = ComparisonSettings(
        asked, split, samples, kernel_samples, gradient_samples, points, bn, bn_samples, seed, batch_size,
        showing.force,
    )  # fmt: skip
    where = placement(device, "float32")
    comparison = Comparison(settings, where, network=asked_network, data=asked_data, note=output.note)
    with output.bar(len(chosen), "pairs") as show:
        try:
            emit_pairs(output, chosen, comparison.pairs(chosen, show))
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "stopped; points and kernels measured so far are kept", "the same command continues"
            ) from None
