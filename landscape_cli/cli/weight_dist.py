"""``landscape weight-dist``: how far checkpoints are apart in weight space."""

from landscape_cli.cli import inputs
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import NetworkAndData, Shown, grouped
from landscape_cli.cli.pairwise import emit_pairs, one_by_one
from landscape_cli.jobs.pairs import pair, two_or_all

NAME = "weight-dist"
HELP = """Distance between the weights of two checkpoints: ‖w − w'‖₂, relative to ‖w‖₂ of the first, and the cosine.

Trainable parameters only: batch-norm statistics are no weights. Two checkpoints, or pairs of many, of one network."""
EXAMPLES = (
    "landscape weight-dist sample_checkpoints/early-a sample_checkpoints/early-b --by-layer",
    "landscape weight-dist runs/parent-at-* --pairs siblings > weights.jsonl",
)
COLUMNS = (
    ("a", "A"), ("b", "B"), ("distance", "‖w − w'‖"), ("relative", "/ ‖w‖"), ("cosine", "cosine"),
    ("spawn_epoch", "spawned at epoch"), ("norm_a", "‖w‖"), ("norm_b", "‖w'‖"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    pairs: what.Pairs = None,
    by_layer: what.ByLayer = False,
    matrix: what.MatrixOut = None,
    out: what.RecordsOut = None,
    *,
    described: NetworkAndData,
    showing: Shown,
) -> None:
    """Parse, measure, emit."""
    asked_network, asked_data = described.specs()
    subjects = inputs.subjects(checkpoints, at)
    chosen = pair(subjects, pairs or two_or_all(subjects))
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.compute.device import placement
    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.weight_distances import Weights

    bench = Bench(
        Sampling(("test",)), placement("cpu", "float32"), network=asked_network, data=asked_data, statistics=False,
        note=output.note,
    )  # fmt: skip
    weights = Weights(bench, by_layer=by_layer)
    emit_pairs(output, chosen, one_by_one(output, chosen, weights.pair), matrix=matrix, force=showing.force)
