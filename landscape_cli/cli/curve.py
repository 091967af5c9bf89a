"""``landscape curve``: a trained path of low loss between two networks."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import inputs, options
from landscape_cli.cli import measure_options as what
from landscape_cli.cli import protocol_options as how
from landscape_cli.cli.groups import NetworkAndData, Shown, grouped
from landscape_cli.compute.choices import splits_of
from landscape_cli.compute.training.protocol import OptimizerName, ScheduleName
from landscape_cli.compute.weights.curve_choices import CurveForm
from landscape_cli.errors import UsageError

NAME = "curve"
HELP = """Train a curve of low loss between two networks (Garipov et al. 2018), and measure the barrier along it.

A quadratic Bézier curve (--bends 1), one of higher degree, or a polygonal chain: the bends are trained to make the
mean loss along the curve small, by the first network's own protocol unless told otherwise. The curve is a run, which
an interrupted command continues; CURVE@t=0.5 names a network on it wherever a checkpoint is expected, from t = 1 (A)
to t = 0 (B), and 'barrier --along CURVE' walks it."""
EXAMPLES = (
    "landscape curve runs/a runs/b --out runs/curve --epochs 20 --lr 0.05",
    "landscape predict runs/curve --at all -o along.h5",
    "landscape curve runs/a runs/b --form chain --bends 3 --out runs/chain --dry-run",
    "landscape curve runs/a --symmetry --out runs/to-its-copy",
)
COLUMNS = (
    ("path", "curve"), ("split", "split"), ("error_sup", "error barrier, curve"), ("line_error_sup", "line"),
    ("loss_sup", "loss barrier, curve"), ("line_loss_sup", "line"), ("error_a", "error A"), ("error_b", "error B"),
    ("length", "length / line"), ("form", "form"), ("bends", "bends"), ("seconds", "seconds"), ("skipped", "was there"),
)  # fmt: skip
CURVE = "Curve"

Form = Annotated[CurveForm, typer.Option("--form", help="bezier or chain.", rich_help_panel=CURVE)]
Bends = Annotated[int, typer.Option("--bends", min=1, help="Control points between the ends.", rich_help_panel=CURVE)]
Written = Annotated[
    int, typer.Option("--networks", min=2, help="Networks written along the curve.", rich_help_panel=CURVE)
]
Symmetry = Annotated[
    bool,
    typer.Option(
        "--symmetry", help="From one network to a copy whose hidden units are permuted at random.",
        rich_help_panel=CURVE,
    ),
]  # fmt: skip
OptimizerOption = Annotated[
    OptimizerName | None, typer.Option("--optimizer", help="Default: A's.", rich_help_panel=how.PROTOCOL)
]
Lr = Annotated[float | None, typer.Option("--lr", help="Peak; default A's.", rich_help_panel=how.PROTOCOL)]
Momentum = Annotated[float | None, typer.Option("--momentum", help="Default: A's.", rich_help_panel=how.PROTOCOL)]
Decay = Annotated[
    float | None,
    typer.Option("--weight-decay", help="Of the points; default A's.", rich_help_panel=how.PROTOCOL),
]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Default: A's.", rich_help_panel=how.PROTOCOL)]
TrainBatch = Annotated[
    int | None, typer.Option("--train-batch", min=1, help="Samples a step; default A's.", rich_help_panel=how.PROTOCOL)
]
Schedule = Annotated[
    ScheduleName, typer.Option("--schedule", help="constant, cosine or linear.", rich_help_panel=how.PROTOCOL)
]
Augment = Annotated[str | None, typer.Option("--augment", help="Default: A's.", rich_help_panel=how.PROTOCOL)]
Out = Annotated[Path, typer.Option("--out", "-o", help="The curve's run directory.", rich_help_panel=CURVE)]


@grouped
def command(
    checkpoints: what.Checkpoints,
    out: Out,
    at: what.At = None,
    symmetry: Symmetry = False,
    form: Form = "bezier",
    bends: Bends = 1,
    networks: Written = 11,
    optimizer: OptimizerOption = None,
    lr: Lr = None,
    momentum: Momentum = None,
    weight_decay: Decay = None,
    epochs: Epochs = None,
    train_batch: TrainBatch = None,
    schedule: Schedule = "cosine",
    augment: Augment = None,
    points: what.Points = 25,
    split: what.Split = "both",
    samples: what.Samples = None,
    bn_samples: what.BnSamples = None,
    batch_size: what.BatchSize = 100,
    curve_out: what.CurveOut = None,
    eval_train: how.EvalTrain = None,
    *,
    described: NetworkAndData,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, train, measure, emit."""
    asked_network, asked_data = described.specs()
    subjects = inputs.subjects(checkpoints, at)
    if schedule == "step":
        raise UsageError("a curve is trained at a constant rate, a cosine or a linear one", "give --schedule cosine")
    given: dict[str, Any] = {
        "optimizer": optimizer, "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "epochs": epochs,
        "batch_size": train_batch, "schedule": schedule, "augment": augment,
    }  # fmt: skip
    if len(subjects) != (1 if symmetry else 2):
        raise UsageError(
            f"{len(subjects)} checkpoints: a curve joins two" + (" copies of one" if symmetry else ""),
            "name one with --symmetry" if symmetry else "name two, or one with --symmetry",
        )
    output = showing.output(COLUMNS)

    from landscape_cli.compute.device import placement, set_threads
    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.curves import CurvePlan, measure_curve, plan_curve, train_curve

    set_threads(threads)
    sampling = Sampling(splits_of(split), samples, bn_samples, seed, batch_size)
    bench = Bench(sampling, placement(device, "float32"), network=asked_network, data=asked_data, note=output.note)
    plan = CurvePlan(
        out, subjects[0], subjects[-1], form, bends, networks, {k: v for k, v in given.items() if v is not None},
        symmetry=symmetry, seed=seed, data=asked_data, device=device, threads=threads, evaluate=eval_train,
        command=options.command_line(), force=showing.force,
    )  # fmt: skip
    if dry_run:
        output.emit(plan_curve(plan, bench))
        output.finish()
        return
    with output.bar(1, "curve") as show:
        curve, run = train_curve(plan, bench, show)
    with output.bar(1, "barriers") as show:
        found = measure_curve(bench, curve, run, points=points, fresh=showing.force, progress=show)
    for record in found.records:
        output.emit(record)
    if curve_out is not None:
        from landscape_cli.cli.output import save_records

        save_records(curve_out, found.points, force=showing.force)
        output.note(f"written: {curve_out}")
    output.finish()
