"""``landscape hessian``: curvature of the loss at checkpoints."""

import functools
from typing import Any

from landscape_cli.cli import curvature_options as curve
from landscape_cli.cli import inputs, options
from landscape_cli.cli import kernel_options as kernel
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.errors import InterruptedRunError, LandscapeError, UsageError

NAME = "hessian"
HELP = """Curvature of the mean train loss: λ_max, more eigenpairs, trace, spectral density; of the Hessian, the
Gauss–Newton matrix or the empirical Fisher matrix.

Lanczos' method with full reorthogonalisation over exact products stops when the residual of every eigenpair is inside
--tolerance; the residual stands in the record, beside λ_max on disjoint parts of the sample. Several checkpoints or
--at all give one record each; what was measured is kept, so that an interrupted command goes on."""
EXAMPLES = (
    "landscape hessian sample_checkpoints/parent@8ep",
    "landscape hessian runs/parent --at all --trace 30 | landscape plot -o sharpness.png",
    "landscape hessian runs/parent --at 0ep,8ep --density 4 --steps 60 --bottom 1 | landscape plot --kind density",
    "landscape hessian runs/parent --curvature gauss-newton --overlap --top 12 --vectors top.safetensors",
    "landscape hessian model.safetensors --network resnet20 --data cifar10:data --bn recompute --samples 4000",
)
COLUMNS = (
    ("checkpoint", "checkpoint"), ("lambda_max", "λ_max"), ("residual", "residual"), ("lambda_max_sd", "s.d. of parts"),
    ("lambda_min", "λ_min"), ("trace", "trace"), ("trace_error", "± s.e."), ("negative_share", "share below 0"),
    ("overlap", "overlap"), ("loss", "loss"), ("samples", "samples"), ("batch_norm", "batch norm"),
    ("curvature", "of"), ("products", "products"), ("operations", "operations"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    curvature: curve.Of = "hessian",
    samples: curve.CurvatureSamples = None,
    split: kernel.OneSplit = "train",
    bn: curve.Bn = "eval",
    bn_samples: what.BnSamples = None,
    batch_size: curve.PassSize = None,
    top: curve.Top = 1,
    bottom: curve.Bottom = 0,
    tolerance: curve.Tolerance = 1e-3,
    max_products: curve.Products = 300,
    parts: curve.Parts = 4,
    trace: curve.TraceProducts = 0,
    trace_method: curve.Method = "hutch++",
    density: curve.Probes = 0,
    steps: curve.Steps = 40,
    smoothing: curve.Smoothing = 0.01,
    overlap: curve.OverlapOption = False,
    vectors: curve.Vectors = None,
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
    if vectors is not None and len(subjects) > 1:
        raise UsageError(f"--vectors is one file, but there are {len(subjects)} checkpoints", "give them one by one")
    if trace and trace < 6:
        raise UsageError(f"--trace {trace}: a trace takes 6 products or more")
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.curvature import measure_curvature, plan_curvature
    from landscape_cli.jobs.curvature_stages import CurvatureSettings
    from landscape_cli.jobs.eigenvectors import save_eigenvectors

    settings = CurvatureSettings(
        curvature, split, samples, bn, batch_size, top, bottom, tolerance, max_products, parts, trace, trace_method,
        density, steps, smoothing, overlap, memory, fresh=showing.force,
    )  # fmt: skip
    bench = Bench(
        Sampling((split,), None, bn_samples, computing.seed), computing.placement(), network=asked_network,
        data=asked_data, statistics=bn == "recompute", note=output.note,
    )  # fmt: skip
    if dry_run:
        output.emit(plan_curvature(bench, subjects, settings))
        output.finish()
        return

    def keep(found: Any, operator: Any) -> None:
        assert vectors is not None
        save_eigenvectors(vectors, found, operator, subjects[0], force=showing.force)
        output.note(f"written: {vectors}")

    with output.batch(len(subjects), "checkpoints") as show:
        for number, subject in enumerate(subjects):
            try:
                record = measure_curvature(
                    bench, subject, settings, progress=functools.partial(show, number),
                    keep=None if vectors is None else keep,
                )  # fmt: skip
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    f"stopped at checkpoint {number + 1} of {len(subjects)}; what was measured is kept",
                    "the same command continues",
                ) from None
            except LandscapeError as error:
                output.take(error, len(subjects))
                continue
            output.emit(record)
    output.finish(len(subjects), "checkpoints")
