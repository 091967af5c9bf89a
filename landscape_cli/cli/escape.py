"""``landscape escape``: whether an optimiser's steps leave the quadratic basin they are in."""

import functools

from landscape_cli.cli import curvature_options as curve
from landscape_cli.cli import inputs, options
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.errors import InterruptedRunError, LandscapeError

NAME = "escape"
HELP = """Escape threshold along a run, for its own optimiser, learning rate and batch size (Fort et al. 2020, B.3).

For the step w − ηu that the optimiser makes of a minibatch: E = ½η²uᵀHu − ηgᵀu, its scale-free form ½ηuᵀHu/gᵀu − 1, and
the bound of plain gradient descent ηλ_max/2 − 1. Negative: it descends inside its quadratic basin; positive: it leaves
it. Beside it gradient noise, effective learning rate and sharpness of the scale-invariant weights."""
EXAMPLES = (
    "landscape escape sample_checkpoints/parent@8ep",
    "landscape escape runs/parent --at all > escape.jsonl",
    "landscape escape runs/parent --at 0ep,1ep,8ep --lr 0.5 --fresh-optimizer | landscape plot -o escape.png",
    "landscape escape model.safetensors --network resnet20 --data cifar10:data --lr 0.1 --batch-size 128",
)
COLUMNS = (
    ("checkpoint", "checkpoint"), ("escape", "E"), ("escape_error", "± s.e."), ("escape_scale_free", "scale-free"),
    ("escape_gradient_descent", "ηλ/2 − 1"), ("lambda_max", "λ_max"), ("lr", "η"), ("batch_size", "batch"),
    ("optimizer", "optimiser"), ("noise_scale", "noise scale"), ("noise_alignment", "noise ∥ H"),
    ("effective_lr", "η/‖w‖²"), ("effective_sharpness", "λ‖w‖²"), ("samples", "samples"),
    ("products", "products"), ("operations", "operations"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    samples: curve.CurvatureSamples = None,
    minibatches: curve.Minibatches = 8,
    augment: curve.AugmentSample = True,
    bn: curve.Bn = "train",
    bn_samples: what.BnSamples = None,
    tolerance: curve.Tolerance = 1e-3,
    max_products: curve.Products = 300,
    optimizer: curve.OwnOptimizer = None,
    lr: curve.OwnLr = None,
    momentum: curve.OwnMomentum = None,
    weight_decay: curve.OwnDecay = None,
    batch_size: curve.OwnBatch = None,
    fresh_optimizer: curve.FreshOptimizer = False,
    out: what.RecordsOut = None,
    *,
    described: NetworkAndData,
    memory: curve.GraphMemory = 4_000_000_000,
    computing: Computing,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, measure, emit."""
    curve.check_precision(computing.precision)
    asked_network, asked_data = described.specs()
    subjects = inputs.subjects(checkpoints, at)
    given = {"optimizer": optimizer, "momentum": momentum, "weight_decay": weight_decay, "batch_size": batch_size}
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.escapes import EscapeSettings, measure_escape, plan_escape

    settings = EscapeSettings(
        samples, bn, minibatches, tolerance, max_products, augment, lr,
        {name: value for name, value in given.items() if value is not None}, fresh_optimizer, memory,
        fresh=showing.force,
    )  # fmt: skip
    bench = Bench(
        Sampling(("train",), None, bn_samples, computing.seed), computing.placement(), network=asked_network,
        data=asked_data, statistics=bn == "recompute", note=output.note,
    )  # fmt: skip
    if dry_run:
        output.emit(plan_escape(bench, subjects, settings))
        output.finish()
        return
    with output.batch(len(subjects), "checkpoints") as show:
        for number, subject in enumerate(subjects):
            try:
                output.emit(measure_escape(bench, subject, settings, progress=functools.partial(show, number)))
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"stopped at checkpoint {number + 1} of {len(subjects)}; those before it are kept",
                    "the same command continues",
                ) from None
            except LandscapeError as error:
                output.take(error, len(subjects))
    output.finish(len(subjects), "checkpoints")
