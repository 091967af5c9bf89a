"""``landscape info``: what a run, a checkpoint, a folder or a file of results is, at once and without torch."""

from typing import Annotated, Any

import typer

from landscape_cli.cli import options
from landscape_cli.cli.output import Output
from landscape_cli.jobs.lineage import children_of
from landscape_cli.store.checkpoints import FLOATING, Checkpoint
from landscape_cli.store.contents import KINDS, SUFFIXES, describe_hdf5
from landscape_cli.store.locate import checkpoints_of, locate, split_time
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.records import RUN_KINDS, read_items
from landscape_cli.store.runs import RESUME, Run, is_run

NAME = "info"
HELP = """Tell what a run, a checkpoint, a folder of them or a file of results is: its lineage, its numbers, its times.

Reads descriptions and headers only: instant for files of any size, and safe for files of any origin."""
EXAMPLES = (
    "landscape info sample_checkpoints/parent",
    "landscape info runs",
    "landscape info runs/parent@2ep model.safetensors --format jsonl",
)
COLUMNS = (
    ("path", "path"), ("status", "status"), ("network", "network"), ("data", "data"), ("parent", "parent"),
    ("spawn_epoch", "spawned at epoch"), ("step", "step"), ("epoch", "epoch"), ("train_error", "train error"),
    ("test_error", "test error"), ("checkpoints", "checkpoints"), ("parameters", "parameters"), ("bytes", "bytes"),
    ("dtypes", "types"), ("kind", "kind"), ("models", "models"), ("samples", "samples"), ("classes", "classes"),
)  # fmt: skip


def command(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Runs, files, folders; - for a pipe.")],
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Parse, look, emit."""
    output = Output(format, quiet, False, COLUMNS)
    found = [record for item in read_items(paths, kinds=(*RUN_KINDS, *KINDS)) for record in describe(item.path)]
    if len(found) == 1:
        output.details(found[0])
        return
    for record in found:
        output.emit(record)
    output.finish()


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
        runs = sorted(folder for folder in path.iterdir() if is_run(folder))
        if runs:
            return [Run.open(folder).record() for folder in runs]
    return [describe_checkpoint(checkpoint) for checkpoint in checkpoints_of(path)]


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
