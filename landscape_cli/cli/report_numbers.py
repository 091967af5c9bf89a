"""The numbers of a report's pictures as CSV: records as they were measured, else what is drawn."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from landscape_cli.cli.output import csv_text
from landscape_cli.plots.drawn_data import as_csv, panels
from landscape_cli.plots.recognise import Figure, Result
from landscape_cli.store.clusters import Clusters
from landscape_cli.store.embeddings import Embedding


def numbers_of(result: Result, figure: Figure, drawn: Any) -> str | None:
    """The numbers of a picture; None if it shows none.

    Args:
        result: What it is drawn of. Records are given whole; of an embedding, its rows with all their coordinates; of a
            clustering, its joins.
        figure: Which figure.
        drawn: The matplotlib figure, for other results; None if it could not be drawn.
    """
    if result.kind == "embedding" and figure == "embedding" and result.path is not None:
        return _embedded(Embedding.open(result.path))
    if result.kind == "clusters" and result.path is not None:
        return _joined(Clusters.open(result.path))
    if result.records and result.kind != "run":
        return csv_text(result.records)
    shown = panels(drawn) if drawn is not None else []
    return as_csv(shown) if shown else None


def _embedded(embedding: Embedding) -> str:
    columns = embedding.rows.columns
    axes = [f"x{k + 1}" for k in range(embedding.coordinates.shape[1])]
    rows = (
        [*(values[row] for values in columns.values()), *place.tolist()]
        for row, place in enumerate(embedding.coordinates)
    )
    return _text([*columns, *axes], rows)


def _joined(clusters: Clusters) -> str:
    """One row a join: the two that are joined, by name or by the number of their own join, how far, and how many."""
    names = [*map(str, clusters.labels), *(f"join {k + 1}" for k in range(len(clusters.linkage)))]
    rows = (
        [f"join {k + 1}", names[int(a)], names[int(b)], far, int(leaves)]
        for k, (a, b, far, leaves) in enumerate(clusters.linkage.tolist())
    )
    return _text(["join", "a", "b", "distance", "leaves"], rows)


def _text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
