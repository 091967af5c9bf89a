"""Distances between all checkpoints as a matrix of colours, of records or of a stored matrix."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.plots.coloring import shortened
from landscape_cli.plots.curves import distance_label
from landscape_cli.plots.pair_distances import CALLED, only, run_of, short
from landscape_cli.plots.style import MISSING, figure, headline
from landscape_cli.store.matrices import Matrix
from landscape_cli.store.tables import Table

MANY = 24  # checkpoints above which not each is named
LINE, SHARE = 0.12, 0.6  # inches that a line of text takes, and of a figure's width that the matrix has
MOST = 2000  # rows of a stored matrix above which not each is drawn: no picture has more dots
REFERENCES = ("ignorance", "geodesic", "truth")
# What the distances of stored matrices are called; those of predictions by their own names.
STORED = {
    "weight": CALLED["weight-distance"],
    "relu": CALLED["relu-distance"],
    "function": CALLED["function-distance"],
    "gradient": CALLED["gradient-distance"],
}

Records = Sequence[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class _Side:
    """Rows or columns of a matrix, as they are named.

    Args:
        names: Of each.
        runs: The run of each; empty for a reference.
        epochs: Of each, None where there is none.
    """

    names: list[str]
    runs: list[str]
    epochs: list[float | None]

    @property
    def order(self) -> NDArray[np.int64]:
        """Runs in the order of their names, each by time; references after them."""
        keys = [
            (not run, run, epoch is None, epoch or 0.0, number)
            for number, (run, epoch) in enumerate(zip(self.runs, self.epochs, strict=True))
        ]
        return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)

    def take(self, index: NDArray[np.int64]) -> "_Side":
        chosen = index.tolist()
        return _Side(*([side[k] for k in chosen] for side in (self.names, self.runs, self.epochs)))

    @property
    def edges(self) -> list[int]:
        """Where a run ends and the next begins."""
        return [k for k in range(1, len(self.runs)) if self.runs[k] != self.runs[k - 1]]

    @property
    def blocks(self) -> list[tuple[float, str]]:
        """The middle of each run, and its name."""
        ends = [0, *self.edges, len(self.runs)]
        return [((a + b - 1) / 2, self.runs[a] or "references") for a, b in itertools.pairwise(ends)]

    def by_time(self) -> tuple[list[float], list[str]]:
        """Places and names of checkpoints: by epoch where that is known, of many only some."""
        places = range(0, len(self.names), -(-len(self.names) // MANY))
        return list(map(float, places)), [
            shortened([short(self.names[k])])[0] if self.epochs[k] is None else f"{self.epochs[k]:.4g}" for k in places
        ]

    def by_run(self) -> tuple[list[float], list[str]]:
        """Places and names of runs."""
        blocks = self.blocks
        return [place for place, _ in blocks], shortened([name for _, name in blocks])


def matrix_figure(
    records: Records, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """Distances between all checkpoints, in order of run and time, as a matrix of colours.

    Args:
        records: Of one kind of distance (kernels: of one form). Pairs that were not measured stay grey.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If the records are of several kinds, forms or splits, which are different quantities.
    """
    called = CALLED[only(records, "kind", "distances")]
    if any("split" in record for record in records):
        only(records, "split", "splits")
    if "form" in records[0]:
        called += f", {only(records, 'form', 'kernel forms')} kernel"
    items = {r[side]: r.get(f"epoch_{side}") for r in records for side in ("a", "b")}
    side = _Side(list(items), list(map(run_of, items)), list(items.values()))
    side = side.take(side.order)
    place = {name: number for number, name in enumerate(side.names)}
    values = np.full((len(place), len(place)), np.nan)
    np.fill_diagonal(values, 0.0)
    for record in records:
        i, j = place[record["a"]], place[record["b"]]
        values[i, j] = values[j, i] = record["distance"]
    return _drawn(values, side, side, called, title, width, height)


def stored_matrix_figure(
    matrix: Matrix, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """A stored matrix of distances as colours, its rows in order of run and time, references after them.

    Infinite distances stay grey. Of more than 2,000 rows evenly spaced ones are drawn, as the caption says.

    Args:
        matrix: What to draw; its values are read row by row.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        DataError: If the matrix is damaged.
    """
    chosen, sides = [], []
    for table in (matrix.rows, matrix.cols):
        side = _side(table)
        index = side.order[:: -(-len(side.names) // MOST)]
        chosen.append(index)
        sides.append(side.take(index))
    # Read in the order of the file, then put in that of the picture.
    files = [np.sort(index) for index in chosen]
    values = matrix.read(*files)[np.ix_(*(np.searchsorted(f, index) for f, index in zip(files, chosen, strict=True)))]
    name = matrix.distance.removesuffix("_distance").removesuffix("-distance")
    if name.startswith("kernel-"):
        called = f"{CALLED['kernel-distance']}, {name.removeprefix('kernel-')} kernel"
    else:
        called = STORED.get(name, distance_label(name))
    whole = (len(matrix.rows), len(matrix.cols))
    thinned = [f"of {of:,} {what}" for of, what, drawn in zip(whole, ("rows", "columns"), sides, strict=True)
               if len(drawn.names) < of]  # fmt: skip
    rows, columns = sides
    return _drawn(values, rows, columns, called, title, width, height, thinned=thinned[: 1 if matrix.symmetric else 2])


def _side(table: Table) -> _Side:
    """What is known of the rows of a stored matrix."""
    rows = [row | {"name": str(row.get("name") or number)} for number, row in enumerate(table.rows())]
    runs = ["" if row.get("reference") else str(row.get("run") or run_of(row["name"])) for row in rows]
    epochs = [row.get("epoch") for row in rows]
    return _Side([row["name"] for row in rows], runs, [None if e is None else float(e) for e in epochs])


def _drawn(
    values: NDArray[np.float64],
    rows: _Side,
    columns: _Side,
    called: str,
    title: str | None,
    width: float | None,
    height: float | None,
    *,
    thinned: Sequence[str] = (),
) -> Any:
    width = width or 4.8
    known = values[np.isfinite(values)]
    low = min(0.0, float(known.min(initial=0.0)))  # of a kernel distance, rounding may leave a little below zero
    high = float(known.max(initial=0.0))
    with figure(width, height or 0.86 * width) as (drawn, axes):
        shown = axes.imshow(
            np.ma.masked_invalid(values), cmap="viridis", vmin=low, vmax=high if high > low else low + 1.0,
            interpolation="nearest" if max(values.shape) <= 400 else "auto",
        )  # fmt: skip
        axes.set_facecolor(MISSING)
        axes.grid(False)
        bar = drawn.colorbar(shown, ax=axes, label=called, shrink=0.85)
        bar.outline.set_visible(False)
        several = len(rows.blocks) > 1
        _name(axes.yaxis, rows, width, by_run=several)
        # Beside the names of the runs, their times; of too many, or without times, the names again.
        timed = len(columns.names) <= MANY and all(map(_timed, columns.epochs))
        _name(axes.xaxis, columns, width, by_run=several and not timed)
        for edges, line in ((rows.edges, axes.axhline), (columns.edges, axes.axvline)):
            for edge in edges if 4 * len(edges) < len(values) else ():  # lines between all rows would hide them
                line(edge - 0.5, color="white", linewidth=1)
        down, across = values.shape
        told = f"{down:,} row{'s' * (down != 1)}" if down == across else f"{down:,} by {across:,} rows"
        runs = list(dict.fromkeys(filter(None, rows.runs)))
        who = shortened(runs)[0] if len(runs) == 1 else f"{len(runs):,} runs"
        missing = int((~np.isfinite(values)).sum())
        told = ", ".join([who, told, *thinned]) + ("; grey: not measured or infinite" if missing else "")
        named = called.partition(",")[0].partition(" (")[0]
        headline(axes, title or named[:1].upper() + named[1:], told)
    return drawn


def _timed(epoch: float | None) -> bool:
    return epoch is not None and math.isfinite(epoch)


def _name(axis: Any, side: _Side, width: float, *, by_run: bool) -> None:
    """Ticks of one side: its runs, or its checkpoints by time; those that have room."""
    places, names = side.by_run() if by_run else side.by_time()
    least = LINE * len(side.names) / (SHARE * width)  # rows that a line of text takes
    kept: list[int] = []
    for number, place in enumerate(places):
        if not kept or place - places[kept[-1]] >= least:
            kept.append(number)
    letters = int(5 * width)
    half = letters // 2
    places = [places[k] for k in kept]
    names = [names[k] if len(names[k]) <= letters else f"{names[k][:half]}…{names[k][-half:]}" for k in kept]
    across = axis.axis_name == "x"
    turned = across and (any(len(name) > 4 for name in names) or len("  ".join(names)) > 60)
    small = {"fontsize": 7} if any(len(name) > 8 for name in names) else {}
    axis.set_ticks(places, names, rotation=90 if turned else 0, **small)
    if not by_run and all(map(_timed, side.epochs)):
        axis.set_label_text("epoch")
