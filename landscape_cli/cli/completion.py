"""What the shell offers on Tab: runs and their times, names of registries, columns of results. Knows no torch."""

import json
import os
import shlex
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import typer

from landscape_cli.compute.training.presets import PRESETS
from landscape_cli.errors import LandscapeError
from landscape_cli.store.runs import Run, is_run
from landscape_cli.times import Time

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def complete_networks(incomplete: str) -> list[str]:
    """Names of networks for the shell."""
    from landscape_cli.networks.registry import names

    return [name for name in names() if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[str]:
    """Names of data sets for the shell."""
    from landscape_cli.datasets.registry import names

    return [name for name in names() if name.startswith(incomplete)]


def complete_presets(incomplete: str) -> list[str]:
    """Names of presets for the shell."""
    return [name for name in PRESETS if name.startswith(incomplete)]


def complete_runs(incomplete: str) -> list[str]:
    """Runs, and folders on the way to one."""
    return _paths(incomplete)


def complete_sweeps(incomplete: str) -> list[str]:
    """Sweep files, and folders on the way to one."""
    return _paths(incomplete, suffix=".toml", runs=False)


def complete_places(incomplete: str) -> list[str]:
    """Runs, folders of runs, and sweep files."""
    return _paths(incomplete, suffix=".toml")


class _BehindMark(str):
    """A time to stand behind the ``@`` of a run.

    To bash the ``@`` is a word of its own, which it leaves standing; the library offers only what begins with the word.
    """

    def startswith(self, *_: Any) -> bool:
        return True


def complete_checkpoints(context: typer.Context, incomplete: str) -> list[str]:
    """Runs, ``RUN@`` with its times, checkpoint files, and folders on the way to one.

    bash takes ``@`` for the end of a word: there the run is the word before, and the time alone is completed.
    """
    run, at, _ = incomplete.rpartition("@")
    if at and is_run(Path(run)):
        return [name for time in times(Path(run)) if (name := f"{run}@{time}").startswith(incomplete)]
    before = [str(word) for words in context.params.values() if isinstance(words, list | tuple) for word in words]
    if incomplete == "@" and before and is_run(Path(before[-1])):
        return [_BehindMark(time) for time in times(Path(before[-1]))]
    if len(before) > 1 and before[-1] == "@" and is_run(Path(before[-2])):
        return [time for time in times(Path(before[-2])) if time.startswith(incomplete)]
    found = _paths(incomplete, suffix=".safetensors")
    if found == [incomplete] and is_run(Path(incomplete)):
        found += [f"{incomplete}@{time}" for time in times(Path(incomplete))]
    return found


def times(path: Path) -> list[str]:
    """The times of a run's checkpoints, as they are written after its name.

    >>> times(Path("nowhere"))
    []
    """
    try:
        run = Run.open(path)
    except LandscapeError:
        return []
    each = run.steps_per_epoch
    found = [Time("step", Fraction(s)) if each is None else Time("ep", Fraction(s, each)) for s in run.steps()]
    return [str(time) for time in found] + (["last"] if found else [])


def _paths(incomplete: str, *, suffix: str | None = None, runs: bool = True) -> list[str]:
    """Runs if wanted, other folders with a slash behind them, and files of a suffix."""
    folder, slash, start = incomplete.rpartition("/")
    place = Path(folder or (slash or "."))
    try:
        inside = sorted(place.iterdir())
    except OSError:
        return []
    found = []
    for child in inside:
        if not child.name.startswith(start) or (child.name.startswith(".") and not start.startswith(".")):
            continue
        name = f"{folder}{slash}{child.name}"
        if child.is_dir():
            if not is_run(child):
                found.append(f"{name}/")
            elif runs:
                found.append(name)
        elif child.suffix == suffix:
            found.append(name)
    return found


def complete_columns(incomplete: str) -> list[str]:
    """Columns of the results or runs given so far; of a list, the name after the last comma."""
    names: dict[str, None] = {}
    for word in _typed():
        if not Path(word).exists():
            continue
        try:
            names |= dict.fromkeys(columns_of(Path(word)))
        except (OSError, ValueError, KeyError, LandscapeError):
            continue  # completion is silent; the command itself will say what is wrong
    before, comma, start = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(start)]


def _typed() -> list[str]:
    """The words of the line so far; an option without its value yet keeps the arguments out of the parsed context."""
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS") or ""
    try:
        return shlex.split(line)
    except ValueError:  # a quotation that is still open
        return line.split()


def columns_of(path: Path) -> Iterable[str]:
    """The columns of a file of results, or of the runs of a folder.

    Raises:
        OSError, ValueError, KeyError, LandscapeError: If it cannot be read.
    """
    if path.is_dir():
        from landscape_cli.jobs.run_tables import run_row, runs_in

        runs = [Run.open(path)] if is_run(path) else runs_in(path)
        return run_row(runs[0]) if runs else []
    with path.open("rb") as file:
        start = file.readline()
    if start.startswith(SIGNATURE[:4]):
        return _columns_of_hdf5(path)
    if path.suffix == ".csv":
        return [name.strip() for name in start.decode("utf-8").split(",")]
    record: Any = json.loads(start)
    return record if isinstance(record, dict) else []


def _columns_of_hdf5(path: Path) -> list[str]:
    """The columns of every table in a file: a table's group lists them in an attribute."""
    import h5py

    from landscape_cli.store.tables import ORDER

    names: dict[str, None] = {}
    with h5py.File(path, "r") as file:

        def look(_: str, item: Any) -> None:
            if isinstance(item, h5py.Group) and ORDER in item.attrs:
                found = (name.decode() if isinstance(name, bytes) else str(name) for name in item.attrs[ORDER])
                names.update(dict.fromkeys(found))

        file.visititems(look)
    return list(names)
