"""``landscape progress``: how far models are on the way from ignorance to truth."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import completion, options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.groups import Shown, grouped
from landscape_cli.errors import UsageError
from landscape_cli.plugins import did_you_mean

NAME = "progress"
HELP = """How far each model is on the geodesic from ignorance to truth, and how far off it.

Progress is the λ in [0, 1] of the geodesic's point that is nearest to the model's predictions in the product-geodesic
distance, which is the distance to the geodesic. Beside it: the Bhattacharyya distances to truth and to ignorance, the
error, and the cross-entropy (twice the distance to the truth)."""
EXAMPLES = (
    "landscape progress predictions-test.h5 --sort progress",
    "landscape progress predictions-test.h5 --where \"network == 'mlp'\" --columns optimizer,seed -o progress.csv",
    "landscape predict runs/* | landscape progress > progress.jsonl",
)
COLUMNS = (
    ("name", "model"), ("step", "step"), ("epoch", "epoch"), ("progress", "progress"),
    ("distance_to_geodesic", "to geodesic"), ("truth", "to truth"), ("ignorance", "to ignorance"),
    ("error", "error"), ("loss", "loss"),
)  # fmt: skip

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="A,B", help="Further columns of the models' table, or all.", rich_help_panel="Result",
        autocompletion=completion.complete_columns,
    ),
]  # fmt: skip
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort", metavar="COLUMN", help="Order of the models; default the file's.", rich_help_panel="Result",
        autocompletion=completion.complete_columns,
    ),
]  # fmt: skip
Descending = Annotated[bool, typer.Option("--descending", help="Largest first.", rich_help_panel="Result")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File that gets the records too, .jsonl or .csv.", rich_help_panel="Result"),
]


@grouped
def command(
    files: what.PredictionFiles = None,
    where: what.Where = None,
    samples: what.SampleCount = None,
    seed: what.SampleSeed = 0,
    label_smoothing: what.LabelSmoothing = 0.0,
    columns: Columns = None,
    sort: Sort = None,
    descending: Descending = False,
    out: Out = None,
    memory: what.Memory = what.MEMORY,
    threads: options.Threads = None,
    *,
    showing: Shown,
) -> None:
    """Parse, measure, emit."""
    items = what.piped(files)
    asked = what.parse_names(columns)
    shown = (*COLUMNS, *((name, name) for name in asked if name not in dict(COLUMNS)))
    output = showing.output(shown, keep=out)

    from landscape_cli.jobs.mixing import about
    from landscape_cli.jobs.model_rows import open_models
    from landscape_cli.jobs.progress import measure_progress

    opened = [open_models(Path(item.path), where=where, samples=samples, seed=seed) for item in items]
    output.tell_mixtures([about(predictions) for predictions in opened])
    kept: list[dict[str, Any]] = []
    for predictions in opened:
        with output.bar(len(predictions), f"progress {predictions.path.name}") as report:
            for record in measure_progress(
                predictions, smoothing=label_smoothing, columns=asked, memory=memory, threads=threads, report=report
            ):
                if sort is None:
                    output.emit(record)
                else:
                    kept.append(record)
    for record in _sorted(kept, sort, descending=descending):
        output.emit(record)
    output.finish()


def _sorted(records: list[dict[str, Any]], column: str | None, *, descending: bool) -> list[dict[str, Any]]:
    """Records by one of their entries: numbers, then texts, what is missing last."""
    if column is None or not records:
        return records
    if not any(column in record for record in records):
        raise UsageError(
            f"there is no column '{column}' to sort by",
            did_you_mean(column, records[0]) + "; --columns adds others",
        )
    known = [record for record in records if not _missing(record.get(column))]
    texts = any(isinstance(record[column], str) for record in known)
    known.sort(key=lambda record: str(record[column]) if texts else record[column], reverse=descending)
    return known + [record for record in records if _missing(record.get(column))]


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
