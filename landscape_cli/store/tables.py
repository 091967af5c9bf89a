"""Tables of named columns: what is known of each model beside its predictions.

A column holds numbers (int64; float64, where NaN stands for what is missing; truth values are the numbers 0 and 1) or
texts (an object array of str, where the empty text stands for what is missing).
"""

import csv
import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError, UsageError
from landscape_cli.store.expressions import evaluate

if TYPE_CHECKING:
    import h5py

ORDER = "order"  # the attribute of a group that lists its columns
EXACT = 2**53  # whole numbers up to here are exact in float64

_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)")
_DECIMAL = re.compile(r"[+-]?(?:(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns over rows.

    Args:
        columns: Arrays of one length by name, in order: int64, float64 (missing: NaN), or object arrays of str
            (missing: ``""``).

    >>> table = Table.from_rows([{"opt": "sgd", "seed": 42}, {"opt": "adam", "seed": 43}])
    >>> table.where("opt == 'sgd' and seed < 45").tolist()
    [True, False]
    """

    columns: dict[str, NDArray[Any]]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of one table have different lengths: {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Table":
        """A table of dictionaries; the columns are the union of their keys, in order of first appearance.

        None and keys that a row lacks are missing. A column of whole numbers stays int64 if none is missing (and all
        fit), else it is float64; one in which a text appears is text. Nested values become JSON text.
        """
        names = list(dict.fromkeys(key for row in rows for key in row))
        return cls({name: as_column([row.get(name) for row in rows]) for name in names})

    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries of plain int, float and str; what is missing is left out."""
        rows: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for name, column in self.columns.items():
            for row, value in zip(rows, column.tolist(), strict=True):
                if not _is_missing(value):
                    row[name] = value
        return rows

    def take(self, index: NDArray[np.int64]) -> "Table":
        """The rows at ``index``, in that order."""
        return Table({name: column[index] for name, column in self.columns.items()})

    def joined(self, other: "Table") -> "Table":
        """The columns of both beside each other.

        Raises:
            DataError: If the lengths differ, or a name is in both.
        """
        if twice := sorted(self.columns.keys() & other.columns.keys()):
            raise DataError(f"column '{twice[0]}' is in both tables", "rename one of the two")
        return Table({**self.columns, **other.columns})

    @classmethod
    def stacked(cls, tables: Sequence["Table"]) -> "Table":
        """The rows of several tables below each other; a column that one of them lacks is missing there.

        Whole numbers beside missing ones or fractions become float64; numbers beside texts become text.
        """
        names = list(dict.fromkeys(name for table in tables for name in table.columns))
        return cls({name: _stacked_column(name, tables) for name in names})

    def column(self, name: str) -> NDArray[Any]:
        """The column of a name.

        Raises:
            UsageError: If there is none; the hint is the nearest name.
        """
        if name not in self.columns:
            raise UsageError(f"there is no column '{name}'", _did_you_mean(name, self.columns))
        return self.columns[name]

    def where(self, expression: str) -> NDArray[np.bool_]:
        """Which rows fulfil a condition such as ``opt == 'sgd' and seed < 45``.

        See :func:`landscape_cli.store.expressions.evaluate` for what may stand in it; it is never executed as code.

        Raises:
            UsageError: If it is no condition, or names a column that is not there.
        """
        return evaluate(expression, len(self), self.column)

    def group(self, names: Sequence[str]) -> list[tuple[dict[str, Any], NDArray[np.int64]]]:
        """The rows with equal values in some columns, group by group in order of first appearance.

        Returns:
            The values of each group (None for missing) and the indices of its rows, ascending. Without names, all
            rows are one group.

        Raises:
            UsageError: If there is no such column.
        """
        columns = [self.column(name).tolist() for name in names]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row in range(len(self)):
            key = tuple(None if _is_missing(column[row]) else column[row] for column in columns)
            groups.setdefault(key, []).append(row)
        return [
            (dict(zip(names, key, strict=True)), np.asarray(index, dtype=np.int64)) for key, index in groups.items()
        ]

    def equals(self, other: "Table") -> bool:
        """Whether both have the same columns, in the same order, with the same values (missing equals missing)."""
        return list(self.columns) == list(other.columns) and all(
            one.dtype == two.dtype and np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
            for one, two in zip(self.columns.values(), other.columns.values(), strict=True)
        )

    def write(self, group: "h5py.Group") -> None:
        """Write one dataset a column into an empty HDF5 group; its attribute ``order`` lists them.

        Slashes and percent signs in a name are percent-encoded in the name of its dataset. Texts lose the character
        that ends a text in HDF5 (U+0000).
        """
        import h5py

        group.attrs[ORDER] = np.asarray(list(self.columns), dtype=h5py.string_dtype())
        for name, column in self.columns.items():
            if column.dtype == object:
                values, kind = _texts(value.replace("\0", "") for value in column), h5py.string_dtype()
            else:
                values, kind = column, column.dtype.newbyteorder("<")
            group.create_dataset(dataset_name(name), data=values, dtype=kind, track_times=False)

    @classmethod
    def read(cls, group: "h5py.Group") -> "Table":
        """Read what :meth:`write` wrote.

        Raises:
            DataError: If a column is missing or damaged.
        """
        try:
            names = [_text(name) for name in group.attrs[ORDER]]
            return cls({name: _read_column(group[dataset_name(name)]) for name in names})
        except (KeyError, OSError, TypeError, AttributeError) as error:
            raise DataError(f"{group.file.filename}: the table {group.name} is damaged: {error}") from error


def dataset_name(name: str) -> str:
    """The name that a column's dataset has inside its group.

    >>> dataset_name("train/loss")
    'train%2Floss'
    """
    encoded = name.replace("%", "%25").replace("/", "%2F")
    return encoded.replace(".", "%2E") if not encoded.strip(".") else encoded


def as_column(values: Sequence[Any]) -> NDArray[Any]:
    """One column of plain values: numbers if all of them are (or are missing), else text.

    A whole number that its column could only hold rounded (a 60-bit seed beside a missing one) makes it text.

    >>> as_column([1, 2]).dtype, as_column([1, None]).tolist(), as_column([1, "a"]).tolist()
    (dtype('int64'), [1.0, nan], ['1', 'a'])
    """
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(value is None or isinstance(value, bool | int | float) for value in plain):
        known = [value for value in plain if value is not None]
        whole = bool(known) and all(isinstance(value, int) for value in known)
        if whole and len(known) == len(plain) and all(-(2**63) <= value < 2**63 for value in known):
            return np.asarray(plain, dtype=np.int64)
        if all(abs(value) <= EXACT for value in known if isinstance(value, int)):
            return np.asarray([math.nan if value is None else value for value in plain], dtype=np.float64)
    return _texts(_as_text(value) for value in plain)


def _as_text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _texts(values: Iterable[str]) -> NDArray[Any]:
    listed = list(values)
    column = np.empty(len(listed), dtype=object)
    column[:] = listed
    return column


def _stacked_column(name: str, tables: Sequence[Table]) -> NDArray[Any]:
    parts = [table.columns.get(name) for table in tables]
    there = [part for part in parts if part is not None and len(part)]
    if there and len({part.dtype.kind for part in there}) == 1 and sum(map(len, there)) == sum(map(len, tables)):
        return np.concatenate(there)
    values: list[Any] = []
    for part, table in zip(parts, tables, strict=True):
        found = [None] * len(table) if part is None else part.tolist()
        values.extend(None if _is_missing(value) else value for value in found)
    return as_column(values)


def _is_missing(value: Any) -> bool:
    return value == "" or (isinstance(value, float) and math.isnan(value))


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = {_plain(own): own for own in known}
    near = difflib.get_close_matches(_plain(name), names, n=1)
    return f"did you mean '{names[near[0]]}'?" if near else "the columns are " + ", ".join(names.values())


def _plain(name: str) -> str:
    """A name without what people write differently: capitals, hyphens, spaces."""
    return name.lower().replace("-", "_").replace(" ", "_")


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _read_column(dataset: "h5py.Dataset") -> NDArray[Any]:
    kind = dataset.dtype.kind
    if kind in "OS":
        return _texts(_text(value) for value in dataset[()])
    return np.asarray(dataset[()], dtype=np.int64 if kind in "iub" else np.float64)


def read_table(path: Path) -> Table:
    """Read a table of a person's own: CSV (or tab-separated ``.tsv``) with a line of names, or JSON lines.

    In CSV a column whose cells are all whole numbers is int64, one of numbers and empty cells float64, and any other
    text; a number with leading zeros is text, so that ``007`` stays what it is.

    Raises:
        DataError: If the file is missing or empty, or a line is no row; the line is named.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no table: it is no UTF-8 text") from error
    if not text.strip():
        raise DataError(f"{path} is empty", "give a CSV file with a line of names, or JSON lines")
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json") or text.lstrip().startswith("{"):
        return _read_json_lines(path, text)
    return _read_csv(path, text, "\t" if path.suffix.lower() == ".tsv" else ",")


def _read_json_lines(path: Path, text: str) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {number} is no JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is no JSON object", 'a row is an object: {"name": "a", "lr": 0.1}')
        rows.append(row)
    return Table.from_rows(rows)


def _read_csv(path: Path, text: str, delimiter: str) -> Table:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader)]
        if "" in names or len(set(names)) < len(names):
            wrong = "a column without a name" if "" in names else "two columns of one name"
            raise DataError(f"{path}: line 1 has {wrong}", "the first line names the columns")
        cells: list[list[str]] = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise DataError(f"{path}: line {reader.line_num} has {len(row)} cells, the first line {len(names)}")
            cells.append([cell.strip() for cell in row])
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error
    columns = zip(*cells, strict=True) if cells else ([] for _ in names)
    return Table({name: _typed(list(column)) for name, column in zip(names, columns, strict=True)})


def _typed(cells: list[str]) -> NDArray[Any]:
    """Cells of CSV as the numbers they are, if all of them are."""
    if cells and all(_INTEGER.fullmatch(cell) for cell in cells):
        return as_column([int(cell) for cell in cells])
    if any(cells) and all(not cell or _DECIMAL.fullmatch(cell) for cell in cells):
        return np.asarray([float(cell) if cell else math.nan for cell in cells], dtype=np.float64)
    return _texts(cells)
