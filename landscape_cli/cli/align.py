"""``landscape align``: a checkpoint with its hidden units in the order of another's."""

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli.cli import align_options as alignment
from landscape_cli.cli import inputs, options
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.errors import InterruptedRunError, UsageError

NAME = "align"
HELP = """Write a copy of checkpoint B with its hidden units in the order that suits A: same function, nearer weights.

What may be permuted is derived from the network by watching a forward pass; what cannot be derived is named. A run
directory takes over B's network, data and lineage; a .safetensors file holds the weights alone."""
EXAMPLES = (
    "landscape align sample_checkpoints/early-a sample_checkpoints/early-b -o runs/early-b-aligned",
    "landscape align runs/a runs/b -o runs/b-as-a --method activations --samples 5000",
    "landscape align a.safetensors b.safetensors -o b-aligned.safetensors --network resnet20 --data cifar10:data",
    "landscape align runs/a runs/b -o runs/b-as-a | landscape barrier runs/a -",
    "landscape barrier runs/a runs/b --align activations --repair",
)
COLUMNS = (
    ("path", "written"), ("method", "method"), ("distance_before", "distance before"), ("distance", "after"),
    ("objective_before", "objective before"), ("objective", "after"), ("groups", "groups"), ("units", "units"),
    ("moved", "moved"), ("seconds", "seconds"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    out: Annotated[Path, typer.Option("--out", "-o", help="A run directory to make, or a .safetensors file.")],
    at: what.At = None,
    method: alignment.Method = "weights",
    restarts: alignment.Restarts = alignment.RESTARTS,
    similarity: alignment.SimilarityOption = "correlation",
    samples: alignment.Samples = alignment.ACTIVATION_SAMPLES,
    batch_size: what.BatchSize = 100,
    *,
    described: NetworkAndData,
    computing: Computing,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, align, emit."""
    asked_network, asked_data = described.specs()
    subjects = inputs.subjects(checkpoints, at)
    if len(subjects) != 2:
        raise UsageError(
            f"an alignment takes two checkpoints, A and B, not {len(subjects)}", "B is written in the order of A"
        )
    output = showing.output(COLUMNS)

    from landscape_cli.jobs.aligned_files import AlignPlan, planned, run_align
    from landscape_cli.jobs.alignment import Aligner, AlignSettings
    from landscape_cli.jobs.bench import Bench, Sampling

    bench = Bench(
        Sampling((), seed=computing.seed, batch=batch_size), computing.placement(), network=asked_network,
        data=asked_data, statistics=False, note=output.note,
    )  # fmt: skip
    aligner = Aligner(bench, AlignSettings(method, restarts, similarity, samples, computing.seed))
    first, second = subjects
    plan = AlignPlan(first, second, out, data=asked_data, command=options.command_line(), force=showing.force)
    if dry_run:
        output.emit(planned(aligner, plan))
    else:
        with output.bar(1, "align") as show:
            try:
                record = run_align(aligner, plan, show)
            except KeyboardInterrupt:
                raise InterruptedRunError("stopped; nothing was written", "the same command begins again") from None
        output.emit(record)
        if plan.one_file:
            output.note(f"{out} does not say what network it is of: later commands need --network and --data")
    output.finish()
