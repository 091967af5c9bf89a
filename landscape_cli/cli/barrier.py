"""``landscape barrier``: error and loss barriers between checkpoints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli.output import Output, print_error, save_records
from landscape_cli.compute.choices import BatchNormMode, SplitChoice, splits_of
from landscape_cli.errors import BatchError, InterruptedRunError, LandscapeError
from landscape_cli.jobs.pairs import Pairing, default_pairing, pair

NAME = "barrier"
HELP = """Error and loss along the straight line between two networks, and the barrier in three readings.

With w(α) = α·A + (1−α)·B: sup is max R(w(α)) − (R(A)+R(B))/2, mid the same at α = ½, chord the maximum over the
straight line between the ends' risks. Finished points are kept: a repeated or interrupted measurement goes on."""
EPILOG = """Examples:\n
  landscape barrier sample_checkpoints/early-a sample_checkpoints/early-b\n
  landscape spawn runs/parent --at 0ep,8ep | landscape barrier - --pairs siblings > barriers.jsonl\n
  landscape barrier a.safetensors b.safetensors --network resnet20 --data cifar10:data --curve-out path.jsonl"""
COLUMNS = (
    ("a", "A (α = 1)"), ("b", "B (α = 0)"), ("spawn_epoch", "spawned at epoch"), ("split", "split"),
    ("error_sup", "error barrier"), ("error_sup_alpha", "at α"), ("error_mid", "mid"), ("error_chord", "chord"),
    ("error_a", "error A"), ("error_b", "error B"), ("loss_sup", "loss barrier"),
)  # fmt: skip

MEASURE = "Measurement"


def command(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="Runs, RUN@2ep, .safetensors files or folders of them; - for a pipe.",
        ),
    ],
    pairs: Annotated[
        Pairing | None,
        typer.Option(
            help="siblings (children of one parent and time), all, consecutive, or given (in twos). Two checkpoints are a pair.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Times on each run (default: its last).", rich_help_panel=MEASURE)
    ] = None,
    points: Annotated[int, typer.Option(min=3, help="Points on the line.", rich_help_panel=MEASURE)] = 25,
    refine: Annotated[
        int, typer.Option(min=0, help="Rounds of finer search around each maximum.", rich_help_panel=MEASURE)
    ] = 3,
    split: Annotated[SplitChoice, typer.Option(help="Where to measure.", rich_help_panel=MEASURE)] = "both",
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of each split, class-balanced (default: all).", rich_help_panel=MEASURE),
    ] = None,
    bn: Annotated[
        BatchNormMode,
        typer.Option(
            help="Batch-norm statistics on the line: recompute on training images, lerp, or keep A's.",
            rich_help_panel=MEASURE,
        ),
    ] = "recompute",
    bn_samples: Annotated[
        int | None,
        typer.Option(min=2, help="Training images to recompute on (default: 10,000 or all).", rich_help_panel=MEASURE),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a forward pass.", rich_help_panel=MEASURE)] = 100,
    curve_out: Annotated[
        Path | None,
        typer.Option(help="File for every point of every line, as JSON lines.", rich_help_panel=MEASURE),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File that gets the records too.", rich_help_panel=MEASURE),
    ] = None,
    network: options.Network = None,
    network_option: options.NetworkOption = None,
    width: options.Width = None,
    data: options.Data = None,
    data_option: options.DataOption = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOption = "float32",
    threads: options.Threads = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    config: options.Config = None,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, measure, emit."""
    asked_network = inputs.network_spec(network, network_option, width)
    asked_data = inputs.data_spec(data, data_option)
    subjects = inputs.subjects(checkpoints, at)
    chosen = pair(subjects, pairs or default_pairing(subjects))
    output = Output(format, quiet, not no_progress, COLUMNS, keep=out, force=force)
    if dry_run:
        for a, b in chosen:
            passes = (points + 4 * refine) * len(splits_of(split))
            output.emit(
                {
                    "kind": "plan",
                    "a": a.checkpoint.label,
                    "b": b.checkpoint.label,
                    "points": points,
                    "passes_at_most": passes,
                }
            )
        return

    import torch

    from landscape_cli.compute.device import placement
    from landscape_cli.jobs.barriers import BarrierBench, BarrierSettings, curve

    if threads is not None:
        torch.set_num_threads(threads)
    settings = BarrierSettings(
        splits=splits_of(split),
        points=points,
        refine=refine,
        batch_norm=bn,
        bn_samples=bn_samples,
        samples=samples,
        seed=seed,
        batch=batch_size,
        fresh=force,
    )
    bench = BarrierBench(
        settings, placement(device, precision), network=asked_network, data=asked_data, note=output.note
    )
    curves: list[dict[str, Any]] = []
    failed = 0
    with output.batch(len(chosen), "barriers") as show:
        for number, (a, b) in enumerate(chosen):

            def report(done: int, of: int, number: int = number) -> None:
                show(number, done, of)

            try:
                result = bench.measure(a, b, report)
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"stopped at pair {number + 1} of {len(chosen)}; its points are kept",
                    "the same command continues",
                ) from None
            except LandscapeError as error:
                failed += 1
                print_error(error)
                continue
            curves.extend(curve(result, a.checkpoint, b.checkpoint))
            for record in result.records:
                output.emit(record)
    output.finish()
    if curve_out is not None:
        save_records(curve_out, curves, force=force)
        output.note(f"written: {curve_out}")
    if failed:
        raise BatchError(failed, len(chosen), "pairs")
