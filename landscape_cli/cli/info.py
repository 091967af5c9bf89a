"""``landscape info``: what a run, a checkpoint, a folder or a file of results is, at once and without torch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import completion, options
from landscape_cli.cli.output import Output
from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.jobs.lineage import children_of
from landscape_cli.store.checkpoints import FLOATING, Checkpoint
from landscape_cli.store.contents import KINDS, SUFFIXES, describe_hdf5
from landscape_cli.store.locate import checkpoints_of, locate, split_time
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.records import RUN_KINDS, read_items
from landscape_cli.store.runs import RESUME, Run, is_run

NAME = "info"
HELP = """Tell what a run, a checkpoint, a folder of them or a file of results is: its lineage, its numbers, its times.

A folder of runs is a table of them, that --where, --sort and --columns choose from by anything in their configuration;
if it holds no run itself, the runs of its sub-folders. Reads descriptions and headers only: instant for files of any
size, and safe for files of any origin."""
EXAMPLES = (
    "landscape info sample_checkpoints/parent",
    "landscape info runs --where \"test_error < 0.05 and network == 'simple-cnn'\" --sort -test_error",
    "landscape info runs --columns lr,batch_size,optimizer,seed,test_error --format csv > runs.csv",
    "landscape info runs --where 'child == 0' | landscape predict - -o test.h5",
    "landscape info runs/parent@2ep model.safetensors --format jsonl",
)
COLUMNS = (
    ("path", "path"), ("status", "status"), ("network", "network"), ("data", "data"), ("parent", "parent"),
    ("spawn_epoch", "spawned at epoch"), ("step", "step"), ("epoch", "epoch"), ("train_error", "train error"),
    ("test_error", "test error"), ("checkpoints", "checkpoints"), ("parameters", "parameters"), ("bytes", "bytes"),
    ("dtypes", "types"), ("kind", "kind"), ("models", "models"), ("samples", "samples"), ("classes", "classes"),
)  # fmt: skip


TABLE = "Table of runs"

Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="EXPR", help="Runs to take, by any column: \"test_error < 0.05 and network == 'mlp'\".",
        rich_help_panel=TABLE, autocompletion=completion.complete_columns,
    ),
]  # fmt: skip
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort", metavar="COLUMN", help="Order of the runs, smallest first; -COLUMN largest first.",
        rich_help_panel=TABLE, autocompletion=completion.complete_columns,
    ),
]  # fmt: skip
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="A,B", help="These beside the path, as in lr,batch_size,seed; or all.",
        rich_help_panel=TABLE, autocompletion=completion.complete_columns,
    ),
]  # fmt: skip
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File that gets the records too, .jsonl or .csv.", rich_help_panel=TABLE),
]


def command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Runs, files, folders; - for a pipe.",
            autocompletion=completion.complete_checkpoints,
        ),
    ],
    where: Where = None,
    sort: Sort = None,
    columns: Columns = None,
    out: Out = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Parse, look, emit."""
    names = list(dict.fromkeys(name.strip() for name in (columns or "").split(",") if name.strip()))
    items = read_items(paths, kinds=(*RUN_KINDS, *KINDS))
    if where is None and sort is None and not names:
        output = Output(format, quiet, False, COLUMNS, keep=out, force=force)
        found = [record for item in items for record in describe(item.path)]
        if len(found) == 1 and out is None:
            output.details(found[0])
            return
    else:
        found, shown = _chosen([item.path for item in items], where, sort, names)
        output = Output(format, quiet, False, shown, keep=out, force=force)
        if not found:
            output.note("no run fulfils the condition")
    for record in found:
        output.emit(record)
    output.finish()


def _chosen(
    paths: list[str], where: str | None, sort: str | None, names: list[str]
) -> tuple[list[dict[str, Any]], tuple[tuple[str, str], ...]]:
    """The runs that are asked for as records, and the columns of their table."""
    from landscape_cli.jobs.run_tables import ALL, choose, run_row, runs_in

    rows = []
    for text in paths:
        path = Path(text)
        runs = [Run.open(path)] if is_run(path) or not path.is_dir() else runs_in(path)
        if not runs:
            raise UsageError(f"{path} holds no run", "--where, --sort and --columns are of runs")
        rows += [run_row(run) for run in runs]
    found = choose(rows, where=where, sort=sort, columns=names)
    if not names:
        return found, COLUMNS
    wanted = list(rows[0] if ALL in names else dict.fromkeys(("path", *names)))
    return found, tuple((name, dict(COLUMNS).get(name, name)) for name in wanted if name != "kind")


def describe(text: str) -> list[dict[str, Any]]:
    """What there is at a path, one record a thing.

    Raises:
        CheckpointError: If there is nothing known.
    """
    path, time = split_time(text)
    if time is not None:
        return [describe_checkpoint(locate(text))]
    if path.suffix in SUFFIXES and path.is_file():
        return [describe_hdf5(path)]
    if is_run(path):
        return [describe_run(Run.open(path))]
    if path.is_dir():
        from landscape_cli.jobs.run_tables import runs_in

        own = any(is_run(child) for child in path.iterdir())
        if (own or not _has_checkpoints(path)) and (runs := runs_in(path)):
            return [run.record() for run in runs]
    return [describe_checkpoint(checkpoint) for checkpoint in checkpoints_of(path)]


def _has_checkpoints(folder: Path) -> bool:
    """Whether a folder holds checkpoints of other tools."""
    try:
        return bool(checkpoints_of(folder))
    except CheckpointError:
        return False


def describe_run(run: Run) -> dict[str, Any]:
    """All that a run says of itself."""
    document = run.document
    config, data = document.get("config") or {}, document.get("data") or {}
    protocol = config.get("protocol") or {}
    rows = read_metrics(run.path)
    steps = run.steps()
    record = run.record(
        parameters=(document.get("network") or {}).get("parameters"),
        network_options=(config.get("network") or {}).get("options") or None,
        train_samples=data.get("train_samples"),
        test_samples=data.get("test_samples"),
        fingerprint=data.get("fingerprint"),
        steps_per_epoch=run.steps_per_epoch,
        last_step=config.get("end"),
        protocol={k: v for k, v in protocol.items() if v not in (None, [], 0, 0.0, "none")} or None,
        seeds=config.get("seeds"),
        **({"labels": config["data"]["labels"]} if "labels" in (config.get("data") or {}) else {}),
        **{name: config[name] for name in ("init", "init_from") if name in config},
        lineage=run.lineage,
        children=[child.name for child in children_of(run)] or None,
        checkpoint_steps=steps,
        checkpoint_epochs=[round(s / run.steps_per_epoch, 4) for s in steps] if run.steps_per_epoch else None,
        resume_steps=run.steps(RESUME),
        bytes=sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file()),
        last_metrics=rows[-1] if rows else None,
        environment=document.get("environment"),
        created=document.get("created"),
        command=document.get("command"),
    )
    if run.status == "running" and rows:
        record |= {key: rows[-1].get(key) for key in ("step", "epoch", "train_error", "test_error")}
    return record


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the headers of a checkpoint say."""
    headers = checkpoint.headers()
    tensors = {name: info for header in headers for name, info in header.tensors.items()}
    own = headers[0].landscape
    return {
        "kind": "checkpoint",
        "path": checkpoint.label,
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "run": None if checkpoint.run is None else str(checkpoint.run),
        "tensors": len(tensors),
        "parameters": sum(info.size for info in tensors.values() if info.dtype in FLOATING),
        "dtypes": sorted({info.dtype for info in tensors.values()}),
        "bytes": sum(file.stat().st_size for file in checkpoint.files),
        "hash": own.get("hash"),
        "shapes": {name: list(info.shape) for name, info in tensors.items()},
    }
