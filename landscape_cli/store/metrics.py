"""The numbers recorded along a run: one JSON line a recorded step, in ``metrics.jsonl``."""

import json
import os
from pathlib import Path
from typing import Any

from landscape_cli.errors import CheckpointError
from landscape_cli.store.atomic import storage_error, write_text

METRICS_NAME = "metrics.jsonl"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The recorded lines of a run, by step; a last line that a kill cut short is left out.

    Raises:
        CheckpointError: If a line before the last is no JSON object.
    """
    path = run / METRICS_NAME
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise CheckpointError(f"{path}: line {number} is no JSON object") from error
    return rows


def append_metrics(run: Path, row: dict[str, Any]) -> None:
    """Add one line and flush it to the disk.

    Raises:
        StorageError: If the disk is full or the place cannot be written.
    """
    path = run / METRICS_NAME
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(error, path) from error


def forget_after(run: Path, step: int) -> None:
    """Drop the lines beyond ``step``: a resumed run writes them again, with the same numbers."""
    rows = read_metrics(run)
    kept = [row for row in rows if row["step"] <= step]
    if (run / METRICS_NAME).exists():
        write_text(run / METRICS_NAME, "".join(json.dumps(row, sort_keys=True) + "\n" for row in kept))
