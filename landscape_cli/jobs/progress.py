"""Progress of every model of a predictions file, some models at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from landscape_cli.compute.device import set_threads
from landscape_cli.compute.predictions.progress import TORCH_NUMBERS, compiled_kernels, progress
from landscape_cli.errors import DataError, InterruptedRunError, UsageError
from landscape_cli.jobs.model_rows import ModelRows
from landscape_cli.jobs.stopping import watching
from landscape_cli.store.predictions import Predictions

QUANTITIES = ("progress", "distance_to_geodesic", "truth", "ignorance", "error", "loss")
KNOWN = ("run", "step", "epoch")  # columns of the table that are in every record
ALL = "all"  # asks for every column
BLOCK_BYTES = 1 << 27  # of log-probabilities at a time; more would not be faster
THREAD_BYTES = 64  # a sample and thread
TORCH_COPIES = 10  # of a block's numbers, where there are no compiled loops
FIXED_BYTES = 24_000_000

Report = Callable[[int, int], None]


def measure_progress(
    predictions: Predictions,
    *,
    smoothing: float = 0.0,
    columns: Sequence[str] = (),
    memory: int = 2_000_000_000,
    threads: int | None = None,
    report: Report | None = None,
) -> Iterator[dict[str, Any]]:
    """One record a model, in the order of the file.

    Args:
        predictions: The models.
        smoothing: Label smoothing of the truth.
        columns: Further columns of the table that go into the records; ``all`` for every one.
        memory: Bytes to work in, beside what the program itself takes.
        threads: CPU threads; None for all.
        report: Told how many models are done, and of how many.

    Raises:
        DataError: If a label is no class, or the file is damaged.
        UsageError: If there is no such column, or the memory is too little for one model.
        InterruptedRunError: If a signal asked to stop.
    """
    set_threads(threads)
    table, count = predictions.table, len(predictions)
    asked = list(table.columns) if ALL in columns else list(columns)
    for name in asked:
        table.column(name)
    rows = ModelRows(predictions)
    step = models_at_a_time(rows, memory)
    buffer = torch.empty(min(step, count) * predictions.samples * predictions.classes, dtype=rows.dtype)
    labels = torch.from_numpy(predictions.labels)
    with watching() as stop:
        for start in range(0, count, step):
            last = min(start + step, count)
            log_probs = rows.read(slice(start, last), slice(0, predictions.samples), buffer)
            try:
                found = asdict(progress(log_probs, labels, smoothing=smoothing))
            except DataError as error:
                rows.blame(log_probs, start, 0, error)
                raise
            known = table.take(np.arange(start, last)).rows()
            for number, row in enumerate(known):
                measured = {name: float(found[name][number]) for name in QUANTITIES}
                extra = {name: row.get(name) for name in dict.fromkeys([*KNOWN, *asked]) if name in table}
                record = {"kind": "progress", "path": str(predictions.path), "name": row.get("name", "")}
                yield record | measured | {key: value for key, value in extra.items() if key not in measured}
            if report is not None:
                report(last, count)
            if stop.requested and last < count:
                raise InterruptedRunError(f"stopped after {last} of {count} models", "give the command again")


def models_at_a_time(rows: ModelRows, memory: int) -> int:
    """How many models a budget holds.

    Raises:
        UsageError: If not even one; the hint is the least that works.
    """
    predictions = rows.predictions
    numbers = predictions.samples * predictions.classes
    each = numbers * rows.dtype.itemsize
    other = FIXED_BYTES + rows.overhead() + torch.get_num_threads() * predictions.samples * THREAD_BYTES
    if compiled_kernels() is None:
        other += TORCH_COPIES * 8 * max(TORCH_NUMBERS, numbers)
    if memory < other + each:
        raise UsageError(
            f"--memory {memory // 1_000_000}MB is too little for one model of {predictions.path}",
            f"the least that works is --memory {-(-(other + each) // 1_000_000)}MB",
        )
    return int(min(memory - other, max(BLOCK_BYTES, each)) // each)
