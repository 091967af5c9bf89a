"""``landscape plane``: the landscape on a plane of weight space."""

from pathlib import Path

from landscape_cli.cli import inputs, options
from landscape_cli.cli import measure_options as what
from landscape_cli.cli import plane_options as own
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.compute.choices import splits_of
from landscape_cli.errors import InterruptedRunError

NAME = "plane"
HELP = """Error, loss and function distance on the plane through three networks, or along directions from one or two.

Three networks A, B, C: coordinates are distances between weights, A is the origin, B lies on the first axis (Fort et
al. 2020, Fig. 5). Two: a filter-normalised direction goes with them; one: two directions (Li et al. 2018). --linearize
measures the network linearised at a corner beside it, on the whole grid by two products with the Jacobian. Measured
points are kept: an interrupted command goes on, a finer grid uses what it shares."""
EXAMPLES = (
    "landscape plane sample_checkpoints/parent@0ep sample_checkpoints/early-a sample_checkpoints/early-b --grid 11",
    "landscape plane runs/parent@1ep runs/a runs/b --linearize A --trajectory runs/a --trajectory runs/b -o fig5.h5",
    "landscape plane runs/parent --directions pca --adaptive | landscape plot -o surface.html",
    "landscape plane model.safetensors --network resnet20 --data cifar10:data --directions random --samples 2000",
)
COLUMNS = (
    ("path", "plane"), ("a", "A"), ("b", "B"), ("c", "C"), ("directions", "spanned by"), ("points", "points"),
    ("split", "split"), ("error_min", "lowest error"), ("loss_min", "lowest loss"), ("not_finite", "not finite"),
    ("explained", "explained"), ("reused", "known before"), ("network", "network"), ("images", "images"),
    ("operations", "operations"), ("skipped", "was there already"),
)  # fmt: skip
DEFAULT = Path("plane.h5")


@grouped
def command(
    checkpoints: what.Checkpoints,
    out: own.Out = DEFAULT,
    at: what.At = None,
    directions: own.DirectionsOption = None,
    trajectory: own.Trajectory = None,
    to: own.To = "A",
    linearize: own.Linearize = None,
    grid: own.Grid = "21",
    adaptive: own.Adaptive = False,
    budget: own.Budget = None,
    levels: own.Levels = 3,
    tolerance: own.Tolerance = 0.02,
    margin: own.Margin = None,
    x: own.XRange = None,
    y: own.YRange = None,
    split: what.Split = "test",
    samples: what.Samples = None,
    bn: what.Bn = "recompute",
    bn_samples: what.BnSamples = None,
    batch_size: what.BatchSize = 100,
    *,
    described: NetworkAndData,
    computing: Computing,
    showing: Shown,
    dry_run: options.DryRun = False,
) -> None:
    """Parse, measure, emit."""
    asked_network, asked_data = described.specs()
    sides, ranges = own.parse_grid(grid), (own.parse_range(x, "--x"), own.parse_range(y, "--y"))
    subjects = inputs.subjects(checkpoints, at)
    output = showing.output(COLUMNS)

    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.plane_settings import PlaneJob, PlaneSettings
    from landscape_cli.jobs.planes import measure_plane, plan_plane

    sampling = Sampling(splits_of(split), samples, bn_samples, computing.seed, batch_size)
    where = computing.placement()
    # Keeping or interpolating batch norm needs no samples to recompute it on.
    bench = Bench(
        sampling, where, network=asked_network, data=asked_data, statistics=bn == "recompute", note=output.note
    )
    settings = PlaneSettings(
        directions, sides, adaptive, budget, levels, tolerance, margin, *ranges, to, linearize, bn, fresh=showing.force
    )
    job = PlaneJob(bench, subjects, trajectory or [], settings, out, options.command_line(), output.note)
    if dry_run:
        output.emit(plan_plane(job))
        output.finish()
        return
    with output.bar(settings.points, "plane") as show:
        try:
            record = measure_plane(job, show)
        except KeyboardInterrupt:
            raise InterruptedRunError("stopped; measured points are kept", "the same command continues") from None
    output.emit(record)
    output.finish()
