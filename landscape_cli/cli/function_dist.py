"""``landscape function-dist``: how differently checkpoints answer."""

from landscape_cli.cli import inputs
from landscape_cli.cli import kernel_options as kernel
from landscape_cli.cli import measure_options as what
from landscape_cli.cli.groups import Computing, NetworkAndData, Shown, grouped
from landscape_cli.cli.pairwise import emit_pairs, one_by_one
from landscape_cli.jobs.pairs import pair, two_or_all

NAME = "function-dist"
HELP = """How differently two networks answer: disagreement over what independent errors would give (Fort et al. 2020).

0 for the same answers, 1 for errors that have nothing to do with each other. Beside it the plain disagreement, the
Jensen–Shannon divergence (nats) and the correlation of the probabilities. Networks may differ."""
EXAMPLES = (
    "landscape function-dist sample_checkpoints/early-a sample_checkpoints/early-b",
    "landscape function-dist runs/parent-at-* --pairs siblings --split test > functions.jsonl",
)
COLUMNS = (
    ("a", "A"), ("b", "B"), ("distance", "function distance"), ("disagreement", "disagreement"),
    ("jensen_shannon", "Jensen–Shannon"), ("correlation", "correlation"), ("spawn_epoch", "spawned at epoch"),
    ("error_a", "error A"), ("error_b", "error B"), ("split", "split"), ("samples", "samples"),
)  # fmt: skip


@grouped
def command(
    checkpoints: what.Checkpoints,
    at: what.At = None,
    pairs: what.Pairs = None,
    split: kernel.OneSplit = "test",
    samples: what.Samples = None,
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
    from landscape_cli.jobs.function_distances import Functions

    bench = Bench(
        Sampling((split,), samples, None, computing.seed, batch_size), computing.placement(), network=asked_network,
        data=asked_data, statistics=False, note=output.note,
    )  # fmt: skip
    functions = Functions(bench, split, note=output.note)
    emit_pairs(output, chosen, one_by_one(output, chosen, functions.pair), matrix=matrix, force=showing.force)
