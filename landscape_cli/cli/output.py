"""The only writer of stdout and stderr: records, tables, notes, errors, progress."""

import csv
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from landscape_cli.errors import BatchError, ClosedPipeError, ConflictError, LandscapeError, UsageError
from landscape_cli.jobs.mixing import mixtures
from landscape_cli.store.atomic import write_text
from landscape_cli.store.records import dump

Format = Literal["auto", "table", "jsonl", "csv"]


@dataclass
class Output:
    """Where a command's results go.

    stdout carries data only: a table on a terminal, one JSON object a line when piped, CSV where it is asked for, paths
    alone with ``-q``.

    Args:
        format: ``auto``, ``table``, ``jsonl`` or ``csv``.
        quiet: Print the ``path`` of each record and nothing else.
        progress: Whether to show progress on stderr, if that is a terminal.
        columns: Columns of the table: key and heading.
        keep: A file that gets the records as JSON lines too.
        force: Whether that file may be overwritten by other records.
    """

    format: Format = "auto"
    quiet: bool = False
    progress: bool = True
    columns: Sequence[tuple[str, str]] = ()
    keep: Path | None = None
    force: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    failed: list[LandscapeError] = field(default_factory=list)

    @property
    def as_table(self) -> bool:
        """Whether records are shown as a table."""
        return not self.quiet and (self.format == "table" or (self.format == "auto" and sys.stdout.isatty()))

    @property
    def as_csv(self) -> bool:
        """Whether records are shown as CSV."""
        return not self.quiet and self.format == "csv"

    def emit(self, record: dict[str, Any]) -> None:
        """Print a record, or keep it for the table: a table and CSV are written when all columns are known."""
        self.records.append(record)
        if self.quiet:
            if name := record.get("path", record.get("a")):
                self._write(str(name))
        elif not (self.as_table or self.as_csv):
            self._write(dump(record))

    def take(self, result: "dict[str, Any] | LandscapeError", items: int) -> None:
        """Print the record of one of several items, or why it failed: the others go on.

        Raises:
            LandscapeError: The failure itself, if it was the only item, or is one of the command's words.
        """
        if isinstance(result, LandscapeError) and (items == 1 or isinstance(result, UsageError)):
            raise result
        if isinstance(result, LandscapeError):
            self.failed.append(result)
            print_error(result)
        else:
            self.emit(result)

    def finish(self, items: int = 1, what: str = "items") -> None:
        """Print the table or the CSV and write the file, if there is to be one; then leave if an item failed.

        Records that are of different data or samples are told of, as their numbers stand beside each other here.

        Args:
            items: How many there were.
            what: What they are.

        Raises:
            ConflictError: If the file holds other records and may not be overwritten.
            BatchError: If an item failed.
        """
        if self.as_table and self.records:
            self._table()
        if self.as_csv and self.records:
            self._write(csv_text(self.records).removesuffix("\n"))
        self.tell_mixtures(self.records)
        if self.keep is not None:
            save_records(self.keep, self.records, force=self.force)
            self.note(f"written: {self.keep}")
        if self.failed:
            raise BatchError(f"{len(self.failed)} of {items} {what} failed (named above); the others are done")

    def _write(self, line: str) -> None:
        print_text(line)

    def _table(self) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        columns = [(key, title) for key, title in self.columns if any(r.get(key) is not None for r in self.records)]
        columns = columns or [(key, key) for key in self.records[0]]
        cells = {key: [_cell(record.get(key)) for record in self.records] for key, _ in columns}
        # A file or pipe that asked for a table wants whole cells; a terminal, columns that can be read.
        terminal = sys.stdout.isatty()
        styled: Literal["auto"] | None = "auto" if terminal and not os.environ.get("NO_COLOR") else None
        console = Console(file=sys.stdout, width=None if terminal else 400, highlight=False, color_system=styled)
        shown = _fitting(columns, cells, console.width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for key, title in shown:
            numeric = all(isinstance(r.get(key), int | float | None) for r in self.records)
            table.add_column(title, justify="right" if numeric else "left", overflow="fold")
        for row in range(len(self.records)):
            table.add_row(*(cells[key][row] for key, _ in shown))
        with console.capture() as capture:
            console.print(table)
        print_text("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))
        if hidden := [title for _, title in columns[len(shown) :] if title]:
            self.note(f"not shown here: {', '.join(hidden)}; widen the terminal, or --format jsonl")

    def details(self, record: dict[str, Any]) -> None:
        """One record as a list of names and values on a terminal, else like any other; nothing is to follow it."""
        if self.as_csv:
            self._write(csv_text([record]).removesuffix("\n"))
            return
        if not self.as_table:
            self.emit(record)
            return
        width = max(len(key) for key in record)
        for key, value in record.items():
            if value is not None:
                self._write(f"{key.replace('_', ' '):<{width}}  {_cell(value)}")

    def note(self, text: str) -> None:
        """Tell the user something on stderr; not with ``-q``."""
        if not self.quiet:
            _stderr(text)

    def tell_mixtures(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Tell the user on stderr if records are of different data sets or samples; not with ``-q``."""
        for text in mixtures(records):
            self.note(f"warning: {text}")

    def warn(self, error: LandscapeError) -> None:
        """Tell the user of something that went wrong and does not stop the rest."""
        print_error(error)

    @contextmanager
    def bar(self, total: int, what: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar on stderr; yields a function that takes how much is done, and of how much."""
        if not (self.progress and not self.quiet and sys.stderr.isatty()):
            yield lambda done, of: None
            return
        from tqdm import tqdm

        with tqdm(total=total, desc=what, file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

            def show(done: int, of: int) -> None:
                bar.total = of
                bar.update(done - bar.n)

            yield show

    @contextmanager
    def batch(self, jobs: int, what: str) -> Iterator[Callable[[int, int, int], None]]:
        """A progress bar over several jobs; yields a function of a job's number, how much is done, and of how much."""
        share: dict[int, float] = {}
        with self.bar(1000 * jobs, what) as show:

            def report(number: int, done: int, of: int) -> None:
                share[number] = done / of if of else 1.0
                show(round(1000 * sum(share.values())), 1000 * jobs)

            yield report


def _fitting(
    columns: Sequence[tuple[str, str]], cells: Mapping[str, Sequence[str]], width: int
) -> Sequence[tuple[str, str]]:
    """As many of the columns, from the first on, as a line of the terminal holds; one at least."""
    used = 0
    for number, (key, title) in enumerate(columns):
        used += max(map(len, (title, *cells[key]))) + 3
        if used > width and number:
            return columns[:number]
    return columns


def save_records(path: Path, records: Sequence[dict[str, Any]], *, force: bool = False) -> None:
    """Write records as JSON lines, or as CSV to a ``.csv`` file, atomically; the same ones again are no conflict.

    Raises:
        ConflictError: If the file exists with other content and ``force`` is not given.
        StorageError: If it cannot be written.
    """
    is_csv = path.suffix.lower() == ".csv"
    text = csv_text(records) if is_csv else "".join(dump(record) + "\n" for record in records)
    if path.exists() and not force and path.read_text(encoding="utf-8") != text:
        raise ConflictError(f"{path} exists and holds other results", "choose another name, or --force to overwrite it")
    write_text(path, text)


def csv_text(records: Sequence[dict[str, Any]]) -> str:
    """Records as CSV: a column an entry, in order of first appearance; missing ones are empty, nested ones JSON."""
    names = list(dict.fromkeys(name for record in records for name in record))
    rows = [[record.get(name) for name in names] for record in records]
    nested = [[json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list) else v for v in row] for row in rows]
    return _csv_line(names) + "".join(map(_csv_line, nested))


def _csv_line(values: Sequence[Any]) -> str:
    """A line of CSV; a carriage return is quoted like a new line, as readers take it for one."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value:.4g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2e}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, dict):
        return ", ".join(f"{k}={_cell(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value)


def bars(values: Sequence[float], width: int = 20) -> list[str]:
    """A bar for each value, the longest ``width`` characters; nothing for values not above zero.

    >>> bars([1.0, 0.5], width=4)
    ['████', '██']
    """
    top = max((v for v in values if math.isfinite(v)), default=0.0)
    eighths = [round(8 * width * v / top) if top > 0 and math.isfinite(v) and v > 0 else 0 for v in values]
    return ["█" * (n // 8) + " ▏▎▍▌▋▊▉"[n % 8].strip() for n in eighths]


def print_text(text: str) -> None:
    """A line on stdout.

    Raises:
        ClosedPipeError: If its reader left. (The command-line library would turn the system's error into status 1.)
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise ClosedPipeError("the reader of stdout left") from None


def print_error(error: LandscapeError) -> None:
    """One line for what is wrong, one for what to do."""
    _stderr(f"error: {error.message}")
    if error.hint:
        _stderr(f"  hint: {error.hint}")


def print_usage_error(message: str, command: str, hint: str | None = None) -> None:
    """One line for what is off in the words of a command, one for what was meant, if that can be told."""
    _stderr(f"error: {message}")
    _stderr(f"  hint: {f'{hint} See ' if hint else ''}{command} --help")


def _stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def picture_terms() -> tuple[int, bool]:
    """How wide a picture of characters on stderr may be, and whether it may have colours (``NO_COLOR`` is heeded)."""
    colored = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return shutil.get_terminal_size().columns, colored


def open_streams() -> None:
    """Give stdout and stderr a place to go where they were closed (``>&-``): nobody reads, and nothing fails."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end


def silence_stdout() -> None:
    """Point stdout at nothing, so that flushing it at exit does not complain about a closed pipe again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
