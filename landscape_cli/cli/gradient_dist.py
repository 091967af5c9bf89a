"""``landscape gradient-dist``: how the mean logit gradients of checkpoints align."""

from landscape_cli.cli import inputs
from landscape_cli.cli import kernel_options as kernel
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.cli.pairwise import emit_pairs, one_by_one
from landscape_cli.jobs.pairs import pair, two_or_all

NAME = "gradient-dist"
HELP = """How mean logit gradients align: the mean over classes of cos(c_k(A), c_k(B)), with c_k = (1/n) Σ ∇f_k(x).

Two checkpoints, or pairs of many, of one network. Batch norm is in evaluation mode."""
EXAMPLES = (
    "landscape gradient-dist sample_checkpoints/early-a sample_checkpoints/early-b",
    "landscape gradient-dist runs/parent --at all --pairs consecutive --samples 200 > gradients.jsonl",
)
COLUMNS = (
    ("a", "A"), ("b", "B"), ("alignment", "alignment"), ("distance", "1 − alignment"),
    ("spawn_epoch", "spawned at epoch"), ("split", "split"), ("samples", "samples"), ("by_class", "by class"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    pairs: what.Pairs = None,
    samples: kernel.KernelSamples = 500,
    split: kernel.OneSplit = "train",
    batch_size: what.BatchSize = 100,
    out: what.RecordsOut = None,
    *,
    described: NetworkAndData,
    computing: Computing,
    showing: Shown,
) -> None:
    """Parse, measure, emit."""
    asked_network, asked_data = described.specs()
    subjects = inputs.subjects(checkpoints, at)
    chosen = pair(subjects, pairs or two_or_all(subjects))
    _, exact = kernel.products(computing.precision)
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.gradients import Centroids

    sampling = Sampling((split,), samples, None, computing.seed, batch_size)
    bench = Bench(
        sampling, computing.placement(exact), network=asked_network, data=asked_data, statistics=False, note=output.note
    )
    centroids = Centroids(bench, split)
    emit_pairs(output, chosen, one_by_one(output, chosen, centroids.pair))
