"""Distances of pairs, written as the matrix of all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import ConflictError, UsageError
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject
from landscape_cli.store.matrix_writing import MatrixHead, write_matrix
from landscape_cli.store.tables import Table


def check_free(path: Path, force: bool) -> None:
    """Refuse a file that is there, before anything is measured.

    Raises:
        ConflictError: If it is and may not be overwritten.
    """
    if path.exists() and not force:
        raise ConflictError(f"{path} exists already", "choose another name, or --force to overwrite it")


def row_of(subject: Subject, key: str) -> dict[str, Any]:
    """What a matrix says of a checkpoint: name, run, step, epoch, and when its run was spawned, if it was."""
    checkpoint = subject.checkpoint
    lineage = (subject.run.lineage if subject.run is not None else None) or {}
    return {
        "key": key,
        "name": model_name(subject),
        "reference": "",
        "run": None if checkpoint.run is None else str(checkpoint.run),
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        **({"spawn_epoch": lineage["epoch"]} if "epoch" in lineage else {}),
    }


def square(size: int, pairs: Sequence[tuple[int, int]], distances: Sequence[float]) -> NDArray[np.float64]:
    """The symmetric matrix of the distances of all pairs, 0 on the diagonal.

    Raises:
        UsageError: If a pair is missing.
    """
    values, known = np.zeros((size, size)), np.eye(size, dtype=bool)
    for (i, j), distance in zip(pairs, distances, strict=True):
        values[i, j] = values[j, i] = distance
        known[i, j] = known[j, i] = True
    if not known.all():
        raise UsageError("a matrix needs the distances of all pairs", "leave --pairs out, or give --pairs all")
    return values


def save_pairs(path: Path, pairs: Sequence[tuple[Subject, Subject]], records: Sequence[dict[str, Any]]) -> None:
    """The matrix of the ``distance`` of each record, as ``landscape inpca`` reads it.

    Raises:
        UsageError: If not all pairs of these checkpoints are among them.
        StorageError: If it cannot be written.
    """
    subjects = list({id(side): side for two in pairs for side in two}.values())
    place = {id(subject): number for number, subject in enumerate(subjects)}
    numbers = [(place[id(a)], place[id(b)]) for a, b in pairs]
    values = square(len(subjects), numbers, [record["distance"] for record in records])
    rows = Table.from_rows([row_of(subject, subject.checkpoint.hash()) | subject.extra for subject in subjects])
    first = records[0]
    head = MatrixHead(
        distance=str(first["kind"]).removesuffix("-distance"), rows=rows, cols=rows, symmetric=True,
        samples=first.get("samples") or first["parameters"], classes=first.get("classes", 0),
        split=first.get("split", ""), data=first.get("data") or "",
        identity={"checkpoints": [subject.checkpoint.hash() for subject in subjects]},
    )  # fmt: skip
    write_matrix(path, values, head)
