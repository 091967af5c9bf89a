"""Kernels and their distances, written as files for later."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landscape_cli.errors import ConflictError, UsageError
from landscape_cli.jobs.kernels import Kernels, Measured
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.store.kernels import save_kernels
from landscape_cli.store.matrix_writing import MatrixHead, write_matrix
from landscape_cli.store.tables import Table


def rows_of(measured: Sequence[Measured]) -> Table:
    """One row a checkpoint: name, run, step, epoch, what the kernel's numbers are."""
    rows: list[dict[str, Any]] = []
    for one in measured:
        subject = one.subject
        row: dict[str, Any] = {
            "key": one.path.stem,
            "name": model_name(subject),
            "reference": "",
            "run": None if subject.checkpoint.run is None else str(subject.checkpoint.run),
            "step": subject.checkpoint.step,
            "epoch": subject.checkpoint.epoch,
            "network": one.context["network"],
        }
        numbers = {key: value for key, value in one.statistics.items() if key != "eigenvalues"}
        rows.append({**row, **numbers, **subject.extra})
    return Table.from_rows(rows)


def save_all(path: Path, kernels: Kernels, measured: Sequence[Measured], *, force: bool) -> None:
    """All kernels in one file.

    Raises:
        ConflictError: If the file exists and may not be overwritten.
        StorageError: If it cannot be written.
    """
    _free(path, force)
    keep = ("form", "split", "samples", "classes", "data", "precision")
    attributes = {key: measured[0].context[key] for key in keep}
    save_kernels(path, rows_of(measured), (kernels.kernel(one) for one in measured), attributes)


def save_matrix(
    path: Path,
    measured: Sequence[Measured],
    places: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    found: Mapping[int, dict[str, Any]],
    *,
    force: bool,
) -> None:
    """The distances between all checkpoints as a matrix file, as ``landscape inpca`` and ``plot`` read it.

    Raises:
        ConflictError: If the file exists and may not be overwritten.
        UsageError: If not all pairs were measured.
        StorageError: If it cannot be written.
    """
    _free(path, force)
    position = {place: row for row, place in enumerate(places)}
    values = np.full((len(measured), len(measured)), np.nan)
    np.fill_diagonal(values, 0.0)
    for number, (i, j) in enumerate(pairs):
        values[position[i], position[j]] = values[position[j], position[i]] = found[number]["distance"]
    if np.isnan(values).any():
        raise UsageError("a matrix needs the distances of all pairs", "leave --pairs out, or give --pairs all")
    context = measured[0].context
    rows = rows_of(measured)
    head = MatrixHead(
        distance=f"kernel-{context['form']}", rows=rows, cols=rows, symmetric=True, samples=context["samples"],
        classes=context["classes"], split=context["split"], data=context["data"],
        fingerprint=measured[0].fingerprint, identity={"kernels": [one.path.stem for one in measured]},
    )  # fmt: skip
    write_matrix(path, values, head)


def _free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ConflictError(f"{path} exists already", "choose another name, or --force to overwrite it")
