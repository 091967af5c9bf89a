"""``landscape barrier``: error and loss barriers between checkpoints."""

import functools
from typing import Any

from landscape_cli.cli import align_options as alignment
from landscape_cli.cli import inputs, options
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.cli.output import save_records
from landscape_cli.compute.choices import splits_of
from landscape_cli.errors import InterruptedRunError, LandscapeError, UsageError
from landscape_cli.jobs.pairs import default_pairing, pair

NAME = "barrier"
CLASS = alignment.AligningCommand
HELP = """Error and loss along the straight line between two networks, and the barrier in three readings.

With w(α) = α·A + (1−α)·B: sup is max R(w(α)) − (R(A)+R(B))/2, mid the same at α = ½, chord the maximum over the
straight line between the ends' risks. Finished points are kept: a repeated or interrupted measurement goes on. Pairs
that share a checkpoint read and evaluate it once. --align first puts B's hidden units in the order that suits A."""
EXAMPLES = (
    "landscape barrier sample_checkpoints/early-a sample_checkpoints/early-b",
    "landscape spawn runs/parent --at 0ep,8ep | landscape barrier - --pairs siblings > barriers.jsonl",
    "landscape barrier a.safetensors b.safetensors --network resnet20 --data cifar10:data --span=-0.5,1.5",
    "landscape barrier sample_checkpoints/early-a sample_checkpoints/early-b --layerwise | landscape plot",
    "landscape barrier --along runs/curve --curve-out curve.jsonl",
)
COLUMNS = (
    ("a", "A (α = 1)"), ("b", "B (α = 0)"), ("layer", "layer"), ("spawn_epoch", "spawned at epoch"), ("split", "split"),
    ("error_sup", "error barrier"), ("error_sup_alpha", "at α"), ("error_mid", "mid"), ("error_chord", "chord"),
    ("error_a", "error A"), ("error_b", "error B"), ("loss_sup", "loss barrier"), ("align", "aligned by"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.CheckpointsOrNone = None,
    pairs: what.Pairs = None,
    at: what.At = None,
    points: what.Points = 25,
    refine: what.Refine = 3,
    span: what.Span = "0,1",
    layerwise: what.Layerwise = False,
    layers: what.Layers = None,
    others: what.Others = "a",
    along: what.Along = None,
    align: alignment.Align = None,
    restarts: alignment.Restarts = alignment.RESTARTS,
    repair: alignment.Repair = False,
    split: what.Split = "both",
    samples: what.Samples = None,
    bn: what.Bn = "recompute",
    bn_samples: what.BnSamples = None,
    batch_size: what.BatchSize = 100,
    curve_out: what.CurveOut = None,
    out: what.RecordsOut = None,
    *,
    described: NetworkAndData,
    computing: Computing,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, measure, emit."""
    asked_network, asked_data = described.specs()
    if along is not None and (checkpoints or layerwise):
        raise UsageError("--along walks a curve whole, between its own ends", "leave checkpoints and --layerwise out")
    if along is not None and (align or repair):
        raise UsageError("a curve was trained between the units as they are", "leave --align and --repair out")
    if along is None and not checkpoints:
        raise UsageError("no checkpoints are given", "name two, or a curve by --along")
    subjects = inputs.subjects(checkpoints or [], at) if along is None else []
    chosen = pair(subjects, pairs or default_pairing(subjects)) if along is None else []
    reach = what.parse_span(span)
    if layers is not None and not layerwise:
        raise UsageError("--layers means nothing without --layerwise", "add it, or leave --layers out")
    patterns = tuple(layers.split(",")) if layers is not None else ()
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.jobs.aligned_pairs import AlignedPairs
    from landscape_cli.jobs.alignment import Aligner, AlignSettings
    from landscape_cli.jobs.barriers import Barriers, BarrierSettings, path_points
    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.curve_runs import open_curve

    sampling = Sampling(splits_of(split), samples, bn_samples, computing.seed, batch_size)
    settings = BarrierSettings(
        points, refine, bn, reach, patterns if layerwise else None, others, repair, fresh=showing.force
    )
    where = computing.placement()
    bench = Bench(sampling, where, network=asked_network, data=asked_data, note=output.note)
    barriers = Barriers(bench, settings)
    order = None
    if align is not None:
        order = AlignedPairs(Aligner(bench, AlignSettings(align, restarts, seed=computing.seed)), showing.force)
    curved = None if along is None else open_curve(along)
    chosen = chosen if curved is None else [(curved.first, curved.second)]
    if dry_run:
        for a, b in chosen:
            output.emit(barriers.plan(a, b))
        output.finish()
        return
    curves: list[dict[str, Any]] = []
    with output.batch(len(chosen), "barriers") as show:
        for number, (a, b) in enumerate(chosen):
            try:
                tell = functools.partial(show, number)
                if order is not None:
                    a, b = order.pair(a, b)
                found = barriers.paths(a, b, tell) if curved is None else [barriers.along(curved, tell)]
                for result in found:
                    curves.extend(path_points(result, a.checkpoint, b.checkpoint))
                    for record in result.records:
                        output.emit(record)
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"stopped at pair {number + 1} of {len(chosen)}; its points are kept", "the same command continues"
                ) from None
            except LandscapeError as error:
                output.take(error, len(chosen))
    if curve_out is not None:
        save_records(curve_out, curves, force=showing.force)
        output.note(f"written: {curve_out}")
    output.finish(len(chosen), "pairs")
