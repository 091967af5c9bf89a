"""What is drawn of an embedding: models and references with coordinates, names of dimensions, who is joined."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.plots.coloring import Coloring, categories, coloring, guess
from landscape_cli.plots.curves import NAMED
from landscape_cli.plots.style import COLORS, MARKERS
from landscape_cli.store.embeddings import PLACED, TEST, Embedding
from landscape_cli.store.tables import Table

View = Literal["embedding", "aligned", "reading"]
Reference = Literal["geodesic", "truth", "ignorance"]

REFERENCE = "reference"
AUTO = "auto"
NONE = "none"
TSNE = "tsne"
ORDERS = ("step", "epoch")  # what a run's models are joined in order of, the first that there is
OBLONG = 4.0  # ranges more unequal than this are drawn each to its own scale: at one scale nothing is seen
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_NAMES = {"inpca": "InPC", "iskl": "IsKL", "geodesic": "Geodesic", "pca": "PC", "tsne": "t-SNE"}
_TITLES = {"inpca": "InPCA", "iskl": "IsKL", "geodesic": "Geodesic embedding", "pca": "PCA", "tsne": "t-SNE"}


@dataclass(frozen=True, eq=False)
class Embedded:
    """Models with coordinates, as they are drawn.

    Args:
        coordinates: ``(model, dim)``; a row that is no number is not drawn.
        eigenvalues: Signed, one a dimension; none where coordinates were turned and have none of their own.
        table: One row a model; its column ``reference`` is empty for a model, else truth, ignorance or geodesic.
        method: ``inpca``, ``iskl``, ``geodesic``, ``pca``, ``tsne``.
        explained: Measures of what the first m dimensions explain, m = 1 … dim, by name; the first is captioned.
        title: What it is, where that is not the method's name.
        note: What else a reader must know.
    """

    coordinates: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    table: Table
    method: str = "inpca"
    explained: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    title: str = ""
    note: str = ""

    @classmethod
    def of(cls, embedding: Embedding, view: View = "embedding") -> "Embedded":
        """A stored embedding; or what it was laid over another one as, or its three-coordinate reading.

        Raises:
            UsageError: If it has no such part.
        """
        name = embedding.path or "the embedding"
        if view == "aligned":
            if (overlay := embedding.overlay) is None:
                raise UsageError(f"{name} is aligned to no other", "landscape inpca --align OTHER makes that")
            return cls(
                overlay.coordinates, np.empty(0), embedding.rows, embedding.method,
                title=f"{_TITLES.get(embedding.method, embedding.method)} aligned to {overlay.onto}",
                note=f"RMSD {overlay.rmsd:.3g} over {overlay.models:,} models",
            )  # fmt: skip
        if view == "reading":
            if (reading := embedding.reading) is None:
                raise UsageError(f"{name} has no three-coordinate reading", "landscape inpca --reading makes it")
            return cls(
                reading.own_coordinates, reading.eigenvalues, embedding.rows, embedding.method,
                explained={"pairwise distances, L2": reading.explained_l2, "L1": reading.explained_l1},
                title="Three-coordinate reading",
                note=f"RMSD from the full embedding {reading.overlay.rmsd:.3g}",
            )  # fmt: skip
        measures = {
            "stress": embedding.explained_stress,
            "pairwise distances, L2": embedding.explained_l2,
            "pairwise distances, L1": embedding.explained_l1,
        }
        if embedding.method == TSNE:  # its dimensions have no eigenvalues and explain nothing
            told = embedding.settings
            return cls(
                embedding.coordinates, np.empty(0), embedding.rows, TSNE,
                note=f"{NAMED.get(embedding.distance, embedding.distance)} distances, perplexity "
                f"{told['used_perplexity']:.3g}, trustworthiness {told['trustworthiness']:.3f}; only who is near whom "
                "means something",
            )  # fmt: skip
        return cls(
            embedding.coordinates, embedding.eigenvalues, embedding.rows, embedding.method,
            explained={name: values for name, values in measures.items() if values is not None},
        )  # fmt: skip

    @property
    def dims(self) -> int:
        """How many dimensions there are."""
        return int(self.coordinates.shape[1])

    @property
    def references(self) -> NDArray[Any]:
        """What each row is: empty for a model, else truth, ignorance or geodesic."""
        if REFERENCE in self.table:
            return self.table.columns[REFERENCE]
        return np.full(len(self.coordinates), "", dtype=object)

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which rows have coordinates."""
        return np.asarray(np.isfinite(self.coordinates).all(axis=1))

    @property
    def models(self) -> NDArray[np.int64]:
        """The rows that are models with coordinates.

        Raises:
            UsageError: If there are none.
        """
        rows = np.flatnonzero((self.references == "") & self.finite)
        if not len(rows):
            raise UsageError("the embedding has no model with coordinates to draw")
        return rows

    @property
    def heading(self) -> str:
        """What it is, with the number of models."""
        count = len(self.models)
        return f"{self.title or _TITLES.get(self.method, self.method)}: {count:,} model{'' if count == 1 else 's'}"

    def where(self, expression: str) -> "Embedded":
        """The models that fulfil a condition, and all references.

        Raises:
            UsageError: If it is no condition, or no model fulfils it.
        """
        references = self.references != ""
        chosen = self.table.where(expression) & ~references
        if not chosen.any():
            count = int((~references).sum())
            raise UsageError(f'--where "{expression}": none of the {count} models fulfils it')
        index = np.flatnonzero(chosen | references)
        return replace(self, coordinates=self.coordinates[index], table=self.table.take(index))


def name_of(embedded: Embedded, dim: int) -> str:
    """What a dimension (from 1) is called: ``InPC 1``."""
    return f"{_NAMES.get(embedded.method, 'dimension')} {dim}"


def label_of(embedded: Embedded, dim: int) -> str:
    """A dimension (from 1) with its eigenvalue and sign: ``InPC 1 (Σ₁ = 3.2, +)``."""
    if dim > len(embedded.eigenvalues):
        return name_of(embedded, dim)
    value = float(embedded.eigenvalues[dim - 1])
    sign = "+" if value > 0 else "−, imaginary" if value < 0 else "no extent"
    shown = f"{value:.3g}".replace("-", "−")
    return f"{name_of(embedded, dim)} (Σ{str(dim).translate(_SUBSCRIPTS)} = {shown}, {sign})"


def values_of(embedded: Embedded, dims: Sequence[int]) -> str:
    """The eigenvalues of some dimensions, for a caption: ``Σ₁ = 3.2, Σ₂ = −0.1``; empty where there are none."""
    shown = (label_of(embedded, dim).partition(" (")[2].rpartition(", ")[0] for dim in dims)
    return ", ".join(text.removesuffix(", −") for text in shown if text)


def check_dims(embedded: Embedded, dims: Sequence[int], *, most: int = 3) -> None:
    """Refuse dimensions that cannot be drawn.

    Raises:
        UsageError: If there are fewer than two or too many, one is given twice, or one is not stored.
    """
    shown = ",".join(map(str, dims))
    if embedded.dims < 2:
        raise UsageError(
            f"the embedding has one dimension only ({name_of(embedded, 1)}): a picture of points needs two",
            "--kind spectrum draws its eigenvalue; embed again with more dimensions",
        )
    if not 2 <= len(dims) <= most or len(set(dims)) < len(dims):
        raise UsageError(f"--dims {shown}: two or three different dimensions are drawn", "as in --dims 1,2 or 1,2,3")
    if wrong := [dim for dim in dims if not 1 <= dim <= embedded.dims]:
        raise UsageError(f"--dims {shown}: there is no dimension {wrong[0]}", f"1 to {embedded.dims} are stored")


def tracks(table: Table, line: str | None) -> list[NDArray[np.int64]]:
    """The models that a line joins, each as row indices in order of training.

    Args:
        table: Models only.
        line: The column whose equal values are joined; ``auto`` is ``run``, if there is one; None and ``none`` join
            nothing.

    Raises:
        UsageError: If there is no such column.
    """
    if line == AUTO:
        line = "run" if "run" in table else None
    if line in (None, NONE):
        return []
    groups, codes = categories(table.column(str(line)))
    if PLACED in table and TEST in table.columns[PLACED]:  # a run on test samples is another curve
        groups, codes = categories(
            np.asarray(
                [
                    f"{placed == TEST} {code}" if code >= 0 else ""
                    for placed, code in zip(table.columns[PLACED], codes, strict=True)
                ],
                dtype=object,
            )
        )
    order = next((table.columns[name] for name in ORDERS if name in table), np.arange(len(table)))
    ordered = np.lexsort((np.arange(len(codes)), order, codes))
    ordered = ordered[codes[ordered] >= 0]
    split = np.split(ordered, np.searchsorted(codes[ordered], np.arange(1, len(groups))))
    return [members for members in split if len(members) > 1]


def reference_rows(embedded: Embedded, kind: Reference) -> NDArray[np.int64]:
    """The rows of a reference; for the geodesic its whole line, from ignorance by progress to the truth."""
    references = embedded.references
    finite = embedded.finite
    rows = np.flatnonzero((references == kind) & finite)
    if kind != "geodesic" or not len(rows):
        return rows
    if "progress" in embedded.table:
        rows = rows[np.argsort(embedded.table.columns["progress"][rows], kind="stable")]
    ends = [np.flatnonzero((references == end) & finite)[:1] for end in ("ignorance", "truth")]
    return np.concatenate([ends[0], rows, ends[1]])


def shades_of(table: Table, color: str | None) -> Coloring | None:
    """The column that colours the models; ``auto`` looks for one, None and ``none`` take none.

    Raises:
        UsageError: If there is no such column, or it has too many texts.
    """
    name = guess(table.columns) if color == AUTO else color
    return None if name in (None, NONE) else coloring(str(name), table.column(str(name)))


def shapes_of(table: Table, marker: str | None) -> Coloring | None:
    """The column that gives the models their markers; its numbers are taken as texts.

    Raises:
        UsageError: If there is no such column, or it has too many values.
    """
    if marker in (None, NONE):
        return None
    values = table.column(str(marker))
    if values.dtype != object:
        values = np.asarray([f"{value:g}" if np.isfinite(value) else "" for value in values], dtype=object)
    return coloring(str(marker), values, most=len(MARKERS))


def told_apart(table: Table, color: str | None, marker: str | None) -> tuple[Coloring | None, Coloring | None]:
    """The columns that colour the models and give them their markers.

    Raises:
        UsageError: If there is no such column, one has too many texts, or both would need the markers.
    """
    shades, shapes = shades_of(table, color), shapes_of(table, marker)
    if shapes and shades and len(shades.names) > len(COLORS):
        raise UsageError(
            f"column '{shades.column}' has {len(shades.names)} different texts, which need markers themselves",
            "leave --marker out, or colour by a column of fewer",
        )
    return shades, shapes


def extents(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The range of each dimension; where there is none, the largest of the others."""
    ranges = np.ptp(points, axis=0)
    return np.where(ranges > 0, ranges, ranges.max() if ranges.max() > 0 else 1.0)


def one_scale(points: NDArray[np.float64]) -> bool:
    """Whether the ranges are near enough to each other to be drawn to one scale."""
    ranges = extents(points)
    return bool(ranges.max() <= OBLONG * ranges.min())


def caption(embedded: Embedded, dims: Sequence[int], shown: NDArray[np.float64]) -> str:
    """What the dimensions explain, and what else a reader must know."""
    count = max(dims)
    told = [embedded.note] if embedded.note else []
    for measure, values in list(embedded.explained.items())[:1]:
        told.insert(0, f"explained {measure}: {100 * values[count - 1]:.3g}\u00a0% ({count} dimensions)")
    if not one_scale(shown):
        told.append("axes not to one scale")
    return "; ".join(told)
