"""Kernels and their distances, written as files for later."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape_cli.jobs.kernels import Kernels, Measured
from landscape_cli.jobs.pair_matrices import check_free, row_of, square
from landscape_cli.store.kernels import save_kernels
from landscape_cli.store.matrix_writing import MatrixHead, write_matrix
from landscape_cli.store.tables import Table


def rows_of(measured: Sequence[Measured]) -> Table:
    """One row a checkpoint: name, run, step, epoch, what the kernel's numbers are."""
    rows: list[dict[str, Any]] = []
    for one in measured:
        numbers = {key: value for key, value in one.statistics.items() if key != "eigenvalues"}
        known = row_of(one.subject, one.path.stem) | {"network": one.context["network"]}
        rows.append({**known, **numbers, **one.subject.extra})
    return Table.from_rows(rows)


def save_all(path: Path, kernels: Kernels, measured: Sequence[Measured], *, force: bool) -> None:
    """All kernels in one file.

    Raises:
        ConflictError: If the file exists and may not be overwritten.
        StorageError: If it cannot be written.
    """
    check_free(path, force)
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
    check_free(path, force)
    position = {place: row for row, place in enumerate(places)}
    distances = [found[number]["distance"] for number in range(len(pairs))]
    values = square(len(measured), [(position[i], position[j]) for i, j in pairs], distances)
    context = measured[0].context
    rows = rows_of(measured)
    head = MatrixHead(
        distance=f"kernel-{context['form']}", rows=rows, cols=rows, symmetric=True, samples=context["samples"],
        classes=context["classes"], split=context["split"], data=context["data"],
        fingerprint=measured[0].fingerprint, identity={"kernels": [one.path.stem for one in measured]},
    )  # fmt: skip
    write_matrix(path, values, head)
