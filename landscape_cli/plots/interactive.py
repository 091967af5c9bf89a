"""An embedding as one page to turn and to ask: self-contained, without a network, without a library.

The page holds every row with coordinates: single-precision numbers in base64, texts as a list and whole numbers into
it. 20,000 models with 20 columns are about 4 MB. Its script is the files of the folder ``page``; a content security
policy lets nothing else run and nothing be fetched, whatever the names of models may hold.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.plots.coloring import coloring, is_text
from landscape_cli.plots.embedded import (
    AUTO,
    REFERENCE,
    Embedded,
    caption,
    check_dims,
    label_of,
    name_of,
    one_scale,
    reference_rows,
    told_apart,
    tracks,
)
from landscape_cli.plots.pages import VIRIDIS, as_base64, whole_page
from landscape_cli.plots.style import COLORS

SCRIPTS = ("model.js", "drawing.js", "controls.js")
MOST_DIMS = 12  # more are not packed: nobody turns the page to the thirteenth
EXACT = 2**24  # whole numbers up to here are exact in single precision
HIDDEN = ("key", REFERENCE)  # columns that say nothing to a reader
ROLES = ("", "ignorance", "geodesic", "truth")

_PANEL = """<fieldset><legend>Colour</legend>
<label><span>colour</span><select id="color"></select></label>
<div id="numbers" hidden><div id="bar"></div><div id="ends"><span id="low"></span><span id="high"></span></div></div>
<div id="legend" role="group" aria-label="Show or hide"></div>
<label><span>marker</span><select id="marker"></select></label>
<div id="shapes"></div>
</fieldset>
<fieldset><legend>Axes</legend>
<label><span>x</span><select id="x"></select></label>
<label><span>y</span><select id="y"></select></label>
<label><span>z</span><select id="z"></select></label>
<label><input type="checkbox" id="scale"> all to one scale</label>
</fieldset>
<fieldset><legend>Lines and references</legend>
<label><input type="checkbox" id="tracks" checked> runs</label>
<label><input type="checkbox" id="geodesic" checked> geodesic</label>
<label><input type="checkbox" id="references" checked> ignorance ✖ and truth ★</label>
</fieldset>
"""


def interactive_page(
    embedded: Embedded,
    *,
    dims: Sequence[int] | None = None,
    color: str | None = AUTO,
    marker: str | None = None,
    line: str | None = AUTO,
    title: str | None = None,
) -> str:
    """One HTML page with all rows of an embedding that have coordinates.

    Args:
        embedded: What to show.
        dims: The dimensions shown at first, two or three, counted from 1; by default the first three.
        color: The column that colours the models at first; ``auto`` looks for one, None takes none.
        marker: The column that gives them their markers at first.
        line: The column whose equal values are joined in order of training; ``auto`` is ``run``; None joins nothing.
        title: By default the method and the number of models.

    Cost: about ``5.4 (dims + columns)`` bytes a model, and the length of its texts.

    Raises:
        UsageError: If a column or dimension is not there, or a column has more texts than can be told apart.
    """
    dims = tuple(range(1, 1 + min(3, embedded.dims))) if dims is None else tuple(dims)
    check_dims(embedded, dims)
    models = embedded.models
    table = embedded.table.take(models)
    shades, shapes = told_apart(table, color, marker)
    rows = np.flatnonzero(embedded.finite)
    place = np.full(len(embedded.coordinates), -1, np.int64)  # of a row among those packed
    place[rows] = np.arange(len(rows))
    packed = sorted({*range(1, 1 + min(MOST_DIMS, embedded.dims)), *dims})
    points = embedded.coordinates[np.ix_(rows, [dim - 1 for dim in packed])]
    chosen = [packed.index(dim) for dim in dims]
    columns = {name: values[rows] for name, values in embedded.table.columns.items() if name not in HIDDEN}
    for shown in (shades, shapes):
        # A column that gives markers is packed as texts, as are those of few values that a reader may choose.
        if shown is not None and shown.names and not is_text(columns[shown.column]):
            columns[shown.column] = _as_texts(columns[shown.column])
    data = {
        "rows": len(rows),
        "models": len(models),
        "dims": [name_of(embedded, dim) for dim in packed],
        "labels": [label_of(embedded, dim) for dim in packed],
        "coordinates": as_base64(points, "f4"),
        "roles": as_base64(np.asarray([ROLES.index(role) for role in embedded.references[rows]]), "u1"),
        "columns": [_column(name, values, embedded.references[rows] == "") for name, values in columns.items()],
        "tracks": as_base64(_chained(place[models[members]] for members in tracks(table, line)), "i4"),
        "geodesic": as_base64(place[reference_rows(embedded, "geodesic")], "i4"),
        "axes": [*chosen, -1][:3],
        "color": shades.column if shades is not None else None,
        "marker": shapes.column if shapes is not None else None,
        "one_scale": one_scale(points[:, chosen]),
        "colors": COLORS,
        "viridis": VIRIDIS,
    }
    return whole_page(
        title=title or embedded.heading, caption=caption(embedded, dims, points[:, chosen]), role="embedding",
        thing="model", panel=_PANEL, scripts=SCRIPTS, data=data,
    )  # fmt: skip


def _chained(tracks_: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Tracks behind each other, −1 after each."""
    parts = [np.append(members, -1) for members in tracks_]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _as_texts(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray([f"{value:g}" if np.isfinite(value) else "" for value in values], dtype=object)


def _column(name: str, values: NDArray[Any], models: NDArray[np.bool_]) -> dict[str, Any]:
    """A column as the page takes it: codes into a list of texts, or numbers with their limits among the models."""
    if values.dtype.kind == "i" and len(values) and np.abs(values).max() > 2**53:
        values = values.astype(str).astype(object)  # a browser would round it
    read = coloring(name, values, most=len(values))
    if read.names:
        return {"name": name, "type": "i4", "data": as_base64(read.codes, "i4"), "names": read.names}
    numbers = np.where(np.isfinite(read.values), read.values, np.nan)
    of_models = coloring(name, np.where(models, numbers, np.nan))
    low, high = of_models.limits()
    known = numbers[np.isfinite(numbers)]
    kind = "f8" if (np.abs(known[known == np.rint(known)]) > EXACT).any() else "f4"
    return {
        "name": name, "type": kind, "data": as_base64(numbers, kind), "low": low, "high": high,
        "log": of_models.logarithmic,
    }  # fmt: skip
