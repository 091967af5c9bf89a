"""``landscape kernel-velocity``: how fast the tangent kernel moves along a run."""

from typing import Annotated

import typer

from landscape_cli.cli import inputs
from landscape_cli.cli import kernel_options as kernel
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.completion import complete_runs
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.cli.prediction_options import Memory
from landscape_cli.errors import InterruptedRunError, UsageError
from landscape_cli.times import parse_time, parse_times

NAME = "kernel-velocity"
HELP = """How fast the tangent kernel moves: v(t) = S(w(t), w(t+Δt))/Δt along a run, with the error barrier beside it.

Needs checkpoints Δt apart: 'train --checkpoints every:0.4ep' makes them; which are missing is told. Where the run has
children beside it that were spawned at t, their error barrier stands in the same record (Fort et al. 2020, Fig. 7)."""
EXAMPLES = (
    "landscape kernel-velocity runs/parent --dt 0.4ep --kernel trace",
    "landscape kernel-velocity runs/parent --dt 0.5ep --at 0ep,0.5ep,1ep,2ep,8ep --samples 100 > velocity.jsonl",
)
COLUMNS = (
    ("path", "run"), ("epoch", "epoch"), ("dt", "Δt"), ("velocity", "kernel velocity"), ("distance", "kernel distance"),
    ("error_barrier", "error barrier"), ("pairs", "pairs"), ("alignment", "label alignment"), ("form", "kernel"),
    ("samples", "samples"),
)  # fmt: skip


@grouped
def command(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs, or - for a pipe of them.", autocompletion=complete_runs),
    ],
    dt: Annotated[str, typer.Option("--dt", help="Δt; Fort et al. use 0.4 epochs.", rich_help_panel=what.MEASURE)] = (
        "0.4ep"
    ),
    at: Annotated[
        str | None,
        typer.Option("--at", help="Times t; default every checkpoint with one Δt later.", rich_help_panel=what.MEASURE),
    ] = None,
    form: kernel.Form = "full",
    samples: kernel.KernelSamples = 500,
    balanced: kernel.Balanced = False,
    split: kernel.OneSplit = "train",
    by_layer: kernel.ByLayer = False,
    barriers: Annotated[
        bool, typer.Option(help="The error barrier of children, on the test split.", rich_help_panel=what.MEASURE)
    ] = True,
    points: what.Points = 25,
    out: what.RecordsOut = None,
    *,
    described: NetworkAndData,
    memory: Memory = 2_000_000_000,
    computing: Computing,
    showing: Shown,
) -> None:
    """Parse, measure, emit."""
    asked_network, asked_data = described.specs()
    interval, times = parse_time(dt), None if at is None else parse_times(at)
    product, exact = kernel.products(computing.precision)
    opened = inputs.runs(runs)
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.jobs.barriers import Barriers, BarrierSettings
    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.kernels import Kernels, KernelSettings
    from landscape_cli.jobs.velocities import intervals, measure_velocities, missing_hint

    found = []
    for run in opened:
        there, missing = intervals(run, interval, times)
        found += there
        if missing and there and times is not None:
            output.note(missing_hint(run, interval, missing))
        if not there:
            raise UsageError(
                f"{run.path} has no two checkpoints {interval} apart",
                missing_hint(run, interval, missing) if missing else f"train it with --checkpoints every:{interval}",
            )
    where = computing.placement(exact)
    settings = KernelSettings(form, split, samples, balanced, by_layer, product, memory // 2, fresh=showing.force)
    sampling = Sampling((split,), None if balanced else samples, None, computing.seed)
    bench = Bench(sampling, where, network=asked_network, data=asked_data, statistics=False, note=output.note)
    other = Bench(
        Sampling(("test",), seed=computing.seed), where, network=asked_network, data=asked_data, note=output.note
    )
    kernels, siblings = Kernels(bench, settings), Barriers(other, BarrierSettings(points))
    with output.bar(len(found), "intervals") as show:
        try:
            for record in measure_velocities(
                kernels, found, barriers=siblings if barriers else None, progress=show, note=output.note
            ):
                output.emit(record)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "stopped; kernels measured so far are kept", "the same command continues"
            ) from None
    output.finish()
