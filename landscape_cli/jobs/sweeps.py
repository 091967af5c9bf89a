"""Sweeps: a file of axes, and the list of runs that it means. Knows no torch, and touches no run.

A sweep file has settings of all runs (``[fixed]``), axes that are crossed (``[grid]``, the first the slowest), sets of
settings that belong together (``[[cases]]``, crossed with the grid), rules that change some runs (``[[when]]``), and
filters (``[[exclude]]``, ``where``). The settings are the options of ``landscape train``.
"""

import itertools
import re
import string
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from landscape_cli import plugins
from landscape_cli.errors import UsageError
from landscape_cli.jobs.sweep_settings import SETTINGS, axis, convert, effective, setting_of, shown
from landscape_cli.store.expressions import evaluate

TABLES = ("name", "out", "where", "fixed", "grid", "cases", "when", "exclude")

_UNFIT = re.compile(r"[^A-Za-z0-9._+=,]+")  # in a part of a file name

T = TypeVar("T")


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Args:
        name: Of its directory.
        settings: What is set of it; see :mod:`landscape_cli.jobs.sweep_settings`.
    """

    name: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """Settings that runs get which have certain others.

    Args:
        match: Setting to its accepted values; all of them must fit.
        change: Setting to its new value.
    """

    match: dict[str, list[Any]]
    change: dict[str, Any] = field(default_factory=dict)

    def fits(self, values: Mapping[str, Any]) -> bool:
        """Whether a run of these settings is meant."""
        return all(values[name] in accepted for name, accepted in self.match.items())


@dataclass(frozen=True)
class Sweep:
    """A sweep file, read and checked.

    Args:
        label: What it is called in messages.
        out: The folder of its runs, as the file has it.
        name: Pattern of their names; None for the settings that vary.
        fixed: Settings of every run.
        grid: Axes that are crossed, in the order of the file.
        cases: Sets of settings, each with lists of values that are crossed in turn.
        when: Rules, applied in this order.
        exclude: Runs to leave out.
        where: A condition on the runs to keep.
    """

    label: str
    out: str | None = None
    name: str | None = None
    fixed: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)
    cases: tuple[dict[str, list[Any]], ...] = ()
    when: tuple[Rule, ...] = ()
    exclude: tuple[Rule, ...] = ()
    where: str | None = None


def read_sweep(path: Path, changes: Sequence[str] = ()) -> Sweep:
    """Read a sweep file.

    Args:
        path: The TOML file.
        changes: ``KEY=VALUE`` over what the file has: a list or a range is an axis, anything else fixed.

    Raises:
        UsageError: If it cannot be read (the message has the line), or an entry is unknown or does not fit.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "give a sweep file: 'landscape sweep --help'") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no TOML file: it is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML file: {error}") from error
    return with_changes(parse_sweep(document, str(path)), changes)


def parse_sweep(document: Mapping[str, Any], label: str) -> Sweep:
    """A sweep from the tables of its file.

    Raises:
        UsageError: If an entry is unknown or does not fit.
    """
    if unknown := [key for key in document if key not in TABLES]:
        known = unknown[0].replace("_", "-") in SETTINGS
        hint = "settings stand under [fixed], axes under [grid]" if known else plugins.did_you_mean(unknown[0], TABLES)
        raise UsageError(f"{label}: a sweep has no entry '{unknown[0]}'", hint)
    for key in ("name", "out", "where"):
        if not isinstance(document.get(key, ""), str):
            raise UsageError(f"{label}: {key} is a text, not {document[key]!r}")
    return _without_clashes(
        Sweep(
            label=label,
            out=document.get("out"),
            name=document.get("name"),
            fixed=_values(_table(document, "fixed", label), f"{label}: [fixed]"),
            grid=_axes(_table(document, "grid", label), f"{label}: [grid]"),
            cases=tuple(_axes(case, f"{label}: [[cases]] {n}") for n, case in _tables(document, "cases", label)),
            when=tuple(_rule(rule, f"{label}: [[when]] {n}") for n, rule in _tables(document, "when", label)),
            exclude=tuple(
                Rule(_axes(entry, f"{label}: [[exclude]] {n}")) for n, entry in _tables(document, "exclude", label)
            ),
            where=document.get("where"),
        )
    )


def with_changes(sweep: Sweep, changes: Sequence[str]) -> Sweep:
    """The same sweep with settings from the command line: ``epochs=2``, ``seed=0..2``, ``lr=[0.1, 0.2]``.

    Raises:
        UsageError: If one is no KEY=VALUE, does not fit, or is given by the cases of the file.
    """
    fixed, grid = dict(sweep.fixed), dict(sweep.grid)
    for name, text in plugins.parse_options(changes, flag="--set").items():
        where = f"--set {name}={text}"
        setting = setting_of(name, where)
        if any(setting.name in case for case in sweep.cases):
            raise UsageError(f"{where}: the [[cases]] of {sweep.label} give it", "change them in a copy of the file")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text  # a text without quotes, as people write it on a command line
        if setting.kind is str and not isinstance(value, str | list):
            value = text
        fixed.pop(setting.name, None)
        values = axis(setting, value, where)
        if setting.name in grid or len(values) > 1:
            grid[setting.name] = values
        else:
            fixed[setting.name] = values[0]
    return replace(sweep, fixed=fixed, grid=grid)


def expand(sweep: Sweep) -> list[SweepRun]:
    """The runs of a sweep, in the order of its axes.

    The first axis of the grid is the slowest, the cases come last. Rules see what earlier rules changed; filters see
    what all of them did.

    Raises:
        UsageError: If no run is left, two have one name, or the name's pattern or the condition does not fit.
    """
    found = list(_combinations(sweep))
    full = len(found)
    values = [effective(settings) for settings in found]
    for settings, seen in zip(found, values, strict=True):
        for rule in sweep.when:
            if rule.fits(seen):
                settings.update(rule.change)
                seen.update(effective(settings))
    kept = [not any(rule.fits(seen) for rule in sweep.exclude) for seen in values]
    if sweep.where is not None:
        fulfilled = evaluate(sweep.where, full, lambda name: _column(name, values, sweep.label))
        kept = [one and bool(other) for one, other in zip(kept, fulfilled, strict=True)]
    if not any(kept):
        raise UsageError(
            f"{sweep.label} is an empty sweep: its filters leave none of {full} runs", "loosen [[exclude]] or where"
        )
    found = list(itertools.compress(found, kept))
    return _named(sweep, found, list(itertools.compress(values, kept)))


def shard(items: Sequence[T], part: tuple[int, int] | None) -> list[T]:
    """The I-th of N parts: every N-th item from the I-th on, so that each part has some of every kind.

    Raises:
        UsageError: If there are more parts than items.

    >>> shard(["a", "b", "c"], (1, 2))
    ['a', 'c']
    """
    if part is None:
        return list(items)
    if part[1] > len(items):
        raise UsageError(
            f"--shard {part[0]}/{part[1]}: a sweep of {len(items)} runs has no {part[1]} parts",
            f"use {len(items)} parts or fewer",
        )
    return list(items[part[0] - 1 :: part[1]])


def _table(document: Mapping[str, Any], key: str, label: str) -> dict[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise UsageError(f"{label}: [{key}] is a table, not {found!r}", f"write [{key}] above its entries")
    return found


def _tables(document: Mapping[str, Any], key: str, label: str) -> list[tuple[int, dict[str, Any]]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise UsageError(f"{label}: {key} is a list of tables", f"write [[{key}]] above each")
    if any(not entry for entry in found):
        raise UsageError(f"{label}: one of [[{key}]] is empty", "fill it, or leave it out")
    return list(enumerate(found, start=1))


def _values(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        setting = setting_of(key, where)
        if isinstance(value, list) and setting.name not in ("milestones", "network-option", "data-option"):
            raise UsageError(f"{where}: {setting.name} is a list", "the values of an axis stand under [grid]")
        _add(found, setting.name, convert(setting, value, where), where)
    return found


def _axes(table: Mapping[str, Any], where: str) -> dict[str, list[Any]]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        setting = setting_of(key, where)
        _add(found, setting.name, axis(setting, value, where), where)
    return found


def _add(found: dict[str, Any], name: str, value: Any, where: str) -> None:
    if name in found:
        raise UsageError(f"{where}: {name} stands there twice, with - and with _")
    found[name] = value


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    if table.keys() != {"if", "set"} or not all(isinstance(part, dict) and part for part in table.values()):
        raise UsageError(
            f"{where} has an 'if' and a 'set'", 'as in: if = { network = "mlp" } and set = { epochs = 300 }'
        )
    return Rule(_axes(table["if"], f"{where}: if"), _values(table["set"], f"{where}: set"))


def _without_clashes(sweep: Sweep) -> Sweep:
    places = [("[fixed]", sweep.fixed), ("[grid]", sweep.grid)]
    places.append(("[[cases]]", {name: None for case in sweep.cases for name in case}))
    for (first, one), (second, other) in itertools.combinations(places, 2):
        for name in one:
            if name in other:
                hint = "a setting has one place; [[when]] changes it for some runs"
                raise UsageError(f"{sweep.label}: {name} stands in {first} and in {second}", hint)
    return sweep


def _combinations(sweep: Sweep) -> Iterator[dict[str, Any]]:
    cases = [choice for case in sweep.cases or ({},) for choice in _crossed(case)]
    for point in _crossed(sweep.grid):
        for case in cases:
            yield {**sweep.fixed, **point, **case}


def _crossed(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _column(name: str, values: Sequence[Mapping[str, Any]], label: str) -> NDArray[Any]:
    setting = setting_of(name, f"{label}: where")
    found = [row[setting.name] for row in values]
    if all(isinstance(value, int) for value in found):
        return np.array(found, dtype=np.int64)
    if all(value is None or isinstance(value, int | float) for value in found):
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    return np.array(["" if value is None else shown(value) for value in found], dtype=object)


def _named(sweep: Sweep, runs: list[dict[str, Any]], values: list[dict[str, Any]]) -> list[SweepRun]:
    pattern = sweep.name or _own_pattern(sweep, values)
    named: dict[str, int] = {}
    for number, seen in enumerate(values):
        name = _name(pattern, seen, number, sweep.label)
        if name in named:
            other = values[named[name]]
            differing = [key for key in seen if seen[key] != other[key]]
            if not differing:
                raise UsageError(f"{sweep.label}: two runs are the same, {name}", "one of its [[cases]] comes twice")
            shows = "; ".join(f"{key} is {shown(other[key])} and {shown(seen[key])}" for key in differing)
            hint = f'put {{{differing[0]}}} into name, as in name = "{pattern}-{{{differing[0]}}}"'
            raise UsageError(f"{sweep.label}: two runs would be called {name}: {shows}", hint)
        named[name] = number
    return [SweepRun(name, settings) for name, settings in zip(named, runs, strict=True)]


def _own_pattern(sweep: Sweep, values: list[dict[str, Any]]) -> str:
    """The settings that vary, the numbers among them with their names: ``mlp-sgd-lr0.1-seed0``."""
    order = list(dict.fromkeys([*sweep.grid, *(name for case in sweep.cases for name in case), *SETTINGS]))
    varying = [name for name in order if any(row[name] != values[0][name] for row in values)]
    parts = [f"{{{n}}}" if any(isinstance(row[n], str | dict) for row in values) else f"{n}{{{n}}}" for n in varying]
    return "-".join(parts) or Path(sweep.label).stem


def _name(pattern: str, values: Mapping[str, Any], number: int, label: str) -> str:
    parts = []
    for text, key, form, conversion in _parsed(pattern, label):
        parts.append(text)
        if key is None:
            continue
        if form or conversion or not key:
            raise UsageError(f"{label}: name '{pattern}' is no pattern", "write settings as in {network}-{seed}")
        # A path or a colon in a value would make folders, or a name that other commands read as something else.
        value = number if key == "number" else values[setting_of(key, f"{label}: name").name]
        parts.append(_UNFIT.sub("-", shown(value)).strip("-"))
    name = "".join(parts)
    if not name or name.startswith(".") or "/" in name or "@" in name:
        raise UsageError(f"{label}: '{name}' is no name for a run", "it has no / or @, and does not begin with a dot")
    return name


def _parsed(pattern: str, label: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UsageError(f"{label}: name '{pattern}' is no pattern: {error}", "as in {network}-{seed}") from None
