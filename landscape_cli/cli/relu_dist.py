"""``landscape relu-dist``: in how many entries the on/off patterns of ReLU units differ."""

from landscape_cli.cli import inputs
from landscape_cli.cli import kernel_options as kernel
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.cli.pairwise import emit_pairs
from landscape_cli.errors import InterruptedRunError
from landscape_cli.jobs.pairs import pair, two_or_all

NAME = "relu-dist"
HELP = """Share of (unit, input) entries in which two networks' ReLU units are on in one and off in the other.

The Hamming distance of Fort et al. 2020: 0 for the same pattern, 0.5 for patterns by two fair coins. A unit is on
where its input is above 0; relu, its leaky, bounded and smooth relatives are found wherever a network calls them."""
EXAMPLES = (
    "landscape relu-dist sample_checkpoints/early-a sample_checkpoints/early-b --by-layer",
    "landscape relu-dist runs/parent --at all | landscape plot -o relu.png",
    "landscape relu-dist runs/parent-at-* --pairs siblings > relu.jsonl",
)
COLUMNS = (
    ("a", "A"), ("b", "B"), ("distance", "relu distance"), ("on_a", "on in A"), ("on_b", "on in B"),
    ("spawn_epoch", "spawned at epoch"), ("entries", "entries"), ("split", "split"), ("samples", "samples"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    pairs: what.Pairs = None,
    split: kernel.OneSplit = "test",
    samples: what.Samples = None,
    by_layer: what.ByLayer = False,
    batch_size: what.BatchSize = 100,
    matrix: what.MatrixOut = None,
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
    output = showing.output(COLUMNS, keep=out)

    from landscape_cli.jobs.bench import Bench, Sampling
    from landscape_cli.jobs.relu_distances import ReluPatterns

    bench = Bench(
        Sampling((split,), samples, None, computing.seed, batch_size), computing.placement(), network=asked_network,
        data=asked_data, statistics=False, note=output.note,
    )  # fmt: skip
    patterns = ReluPatterns(bench, split, by_layer=by_layer)
    with output.bar(1, "patterns") as show:
        try:
            emit_pairs(output, chosen, patterns.pairs(chosen, show), matrix=matrix, force=showing.force)
        except KeyboardInterrupt:
            raise InterruptedRunError("stopped; nothing is kept of patterns") from None
