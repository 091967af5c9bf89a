"""Rows told apart by a column: numbers by a colour map, text by colours that colour-blind readers tell apart."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.plots.style import COLORS, MARKERS, MISSING

LETTERS = 34  # of a text in a legend; longer ones lose their middle
DECADES = 2.0  # numbers all above zero that span this many powers of ten are coloured by their logarithm
# Looked for in this order when nobody says what is to colour.
GUESSES = ("network", "optimizer", "run")


@dataclass(frozen=True, eq=False)
class Coloring:
    """What one column says of each row.

    Args:
        column: Its name.
        names: The different texts in order of appearance; empty for a column of numbers.
        codes: Which text each row has, -1 for none; empty for a column of numbers.
        values: The numbers, NaN for none; empty for a column of text.
    """

    column: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def numeric(self) -> bool:
        """Whether the column holds numbers."""
        return not self.names

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no value."""
        return ~np.isfinite(self.values) if self.numeric else self.codes < 0

    @property
    def called(self) -> str:
        """The column in words."""
        return self.column.replace("_", " ")

    @property
    def absent(self) -> str:
        """What a legend calls the rows without a value: a parent has ``no spawn epoch``."""
        return f"no {self.called}"

    @property
    def logarithmic(self) -> bool:
        """Whether the numbers are better seen on a logarithmic scale."""
        seen = self.values[~self.missing]
        return bool(len(seen)) and bool(seen.min() > 0) and bool(seen.max() >= 10**DECADES * seen.min())

    def limits(self) -> tuple[float, float]:
        """The least and the largest number; 0 and 1 if there is none."""
        seen = self.values[~self.missing]
        return (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)

    def mappable(self) -> Any:
        """The map from numbers to colours, as matplotlib's colour bars want it."""
        import matplotlib as mpl
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

        low, high = self.limits()
        if low == high:
            low, high = low - 0.5, high + 0.5
        norm = LogNorm(low, high) if self.logarithmic else Normalize(low, high)
        # Its last tenth is a yellow that nobody sees on white.
        shades = LinearSegmentedColormap.from_list("landscape", mpl.colormaps["viridis"](np.linspace(0, 0.92, 256)))
        return ScalarMappable(norm, shades)

    def colors(self) -> NDArray[np.float64]:
        """RGBA of each row."""
        from matplotlib.colors import to_rgba_array

        if self.numeric:
            found = np.asarray(self.mappable().to_rgba(np.where(self.missing, self.limits()[0], self.values)))
        else:
            found = to_rgba_array(COLORS)[self.codes % len(COLORS)]
        found[self.missing] = to_rgba_array(MISSING)
        return found

    def markers(self) -> list[str]:
        """The marker of each row: colours alone tell seven texts apart, markers the next seven, and so on."""
        if self.numeric:
            return [MARKERS[0]] * len(self.values)
        return [MARKERS[max(code, 0) // len(COLORS)] for code in self.codes]

    @property
    def labels(self) -> list[str]:
        """The texts as a legend shows them."""
        return shortened(self.names)

    def entries(self) -> list[tuple[str, str, str]]:
        """Text, colour and marker of each entry of a legend."""
        found = [
            (label, COLORS[number % len(COLORS)], MARKERS[number // len(COLORS)])
            for number, label in enumerate(self.labels)
        ]
        return found + ([(self.absent, MISSING, MARKERS[0])] if self.missing.any() else [])


def shortened(names: Sequence[str]) -> list[str]:
    """Names as a legend shows them: without the folder they are all in, and without their middle if very long.

    >>> shortened(["runs/a/mlp-0", "runs/a/mlp-1"])
    ['mlp-0', 'mlp-1']
    """
    levels = zip(*(name.split("/")[:-1] for name in names), strict=False) if len(names) > 1 else ()
    depth = len(list(itertools.takewhile(lambda level: len(set(level)) == 1, levels)))
    found = ["/".join(name.split("/")[depth:]) for name in names]
    half = LETTERS // 2 - 1
    return [f"{name[:half]}…{name[-half:]}" if len(name) > LETTERS else name for name in found]


def is_text(values: NDArray[Any]) -> bool:
    """Whether a column holds text (or yes and no) and not numbers."""
    return values.dtype.kind not in "iuf"


def categories(values: NDArray[Any]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The different texts of a column in order of appearance, and which each row has (-1: none).

    >>> categories(np.array(["b", "", "a", "b"], dtype=object))
    (('b', 'a'), array([ 0, -1,  1,  0]))
    """
    numbers: dict[str, int] = {}
    codes = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        text = "" if value is None else str(value)
        codes[row] = numbers.setdefault(text, len(numbers)) if text else -1
    return tuple(numbers), codes


def coloring(column: str, values: NDArray[Any], *, most: int = len(COLORS) * len(MARKERS)) -> Coloring:
    """Read a column for colouring.

    Args:
        column: Its name.
        values: One value a row.
        most: How many different texts can be told apart.

    Raises:
        UsageError: If there are more.
    """
    if not is_text(values):
        return Coloring(column, (), np.empty(0, np.int64), values.astype(np.float64))
    names, codes = categories(values)
    if len(names) > most:
        raise UsageError(
            f"column '{column}' has {len(names)} different texts; a reader tells at most {most} apart",
            "choose a column with fewer, or one of numbers",
        )
    if not names:
        return Coloring(column, (), np.empty(0, np.int64), np.full(len(values), np.nan))
    return Coloring(column, names, codes, np.empty(0))


def guess(columns: dict[str, NDArray[Any]]) -> str | None:
    """The column to colour by when none is named: the first that tells models apart by colours alone."""
    for name in GUESSES:
        if name in columns and is_text(columns[name]) and 2 <= len(categories(columns[name])[0]) <= len(COLORS):
            return name
    epochs = columns.get("epoch")
    if epochs is not None and not is_text(epochs) and len(np.unique(epochs[np.isfinite(epochs)])) > 1:
        return "epoch"
    return None
