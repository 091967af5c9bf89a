"""What a sweep may set of a run: the options of ``landscape train``, their types and defaults. Knows no torch."""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from landscape_cli import plugins
from landscape_cli.compute.choices import Compile, KeepResume, Precision
from landscape_cli.compute.training.presets import preset
from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.datasets.registry import DataSpec
from landscape_cli.errors import UsageError

Room = Literal["network", "data", "protocol", "seeds", "job"]

_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_RENAMED = {"seed": "data-seed", "options": "data-option", "source": "data"}  # fields of a DataSpec
_STREAMS = ("init", "order", "augment", "dropout")


@dataclass(frozen=True)
class Setting:
    """One thing that a sweep may set.

    Args:
        name: As the option of ``landscape train`` is called.
        kind: Its type, as annotated where it is used.
        default: Its value where nobody sets it; None where the run has none of its own.
        room: What it is part of.
        field: What it is called there.
    """

    name: str
    kind: Any
    default: Any
    room: Room
    field: str


def _of_dataclass(owner: type, room: Room, renamed: Mapping[str, str]) -> list[Setting]:
    hints = typing.get_type_hints(owner)
    found = []
    for entry in fields(owner):
        name = renamed.get(entry.name, entry.name.replace("_", "-"))
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        found.append(Setting(name, hints[entry.name], None if default is MISSING else default, room, entry.name))
    return found


# Derived where it can be: a new entry of a protocol or of a data set is an axis at once.
SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("network", str, None, "network", "name"),
        Setting("network-option", dict[str, Any], {}, "network", "options"),
        Setting("width", float | None, None, "network", "width"),
        Setting("preset", str | None, None, "protocol", "preset"),
        *_of_dataclass(DataSpec, "data", _RENAMED),
        *_of_dataclass(Protocol, "protocol", {}),
        Setting("seed", int, 0, "seeds", "seed"),
        *(Setting(f"{stream}-seed", int | None, None, "seeds", stream) for stream in _STREAMS),
        Setting("init", str, "default", "job", "init"),
        Setting("init-from", str | None, None, "job", "init_from"),
        Setting("checkpoints", str, "auto", "job", "record"),
        Setting("resume-states", KeepResume, "all", "job", "keep_resume"),
        Setting("eval-train", int | None, None, "job", "evaluate"),
        Setting("precision", Precision, "float32", "job", "precision"),
        Setting("compile", Compile, "auto", "job", "compile"),
        Setting("deterministic", bool, True, "job", "deterministic"),
    )
}


def setting_of(key: str, where: str) -> Setting:
    """The setting of a name, written with ``-`` or ``_``.

    Raises:
        UsageError: If there is none of that name; the nearest one is told.
    """
    name = key.replace("_", "-")
    if name not in SETTINGS:
        raise UsageError(f"{where}: a run has no setting '{key}'", plugins.did_you_mean(name, SETTINGS))
    return SETTINGS[name]


def effective(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a run: what was set, over its preset, over the defaults of ``landscape train``.

    Raises:
        UsageError: If there is no such preset.
    """
    values = {name: setting.default for name, setting in SETTINGS.items()}
    if settings.get("preset") is not None:
        chosen = preset(settings["preset"])
        given = {
            SETTINGS[name].field: value
            for name, value in settings.items()
            if SETTINGS[name].room == "protocol" and name != "preset"
        }
        if given.get("schedule", "step") != "step":
            given.setdefault("milestones", ())  # as the flags of 'train' beside a preset
        values |= {name.replace("_", "-"): value for name, value in chosen.changed(given).items()}
        values |= {"network": chosen.network, "checkpoints": chosen.record}
    return values | dict(settings)


def convert(setting: Setting, value: Any, where: str) -> Any:
    """A value of a sweep file in the type of its setting; the text ``none`` unsets what may be unset.

    Raises:
        UsageError: If it is of another type.
    """
    kind, choices = setting.kind, typing.get_args(setting.kind)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if value == "none":
            return None
        kind = next(choice for choice in choices if choice is not type(None))
    if kind == dict[str, Any]:
        return _options(setting, value, where)
    if typing.get_origin(kind) is tuple:
        return _numbers(setting, value, where)
    if typing.get_origin(kind) is Literal:
        if value not in choices:
            hint = plugins.did_you_mean(str(value), [str(choice) for choice in choices])
            raise UsageError(f"{where}: {setting.name} is one of its choices, not {value!r}", hint)
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
        what = names.get(kind, str(kind))
        raise UsageError(f"{where}: {setting.name} is {what}, not {value!r}")
    if kind is int and value < 0:
        raise UsageError(f"{where}: {setting.name} is not below zero, as {value} is")
    return value


def axis(setting: Setting, value: Any, where: str) -> list[Any]:
    """The values of an axis: a list, one value, or for whole numbers a range ``0..9`` with both its ends.

    Raises:
        UsageError: If there is none, one of them comes twice, or one is of another type.

    >>> axis(SETTINGS["seed"], "7..9", "[grid]")
    [7, 8, 9]
    """
    values = value if isinstance(value, list) else [value]
    found: list[Any] = []
    for entry in values:
        match = _RANGE.fullmatch(entry) if isinstance(entry, str) and _is_whole(setting) else None
        if match is None:
            found.append(convert(setting, entry, where))
            continue
        first, last = int(match[1]), int(match[2])
        if last < first:
            raise UsageError(f"{where}: {setting.name} = '{entry}' runs backwards", f"write '{last}..{first}'")
        found.extend(range(first, last + 1))
    if not found:
        raise UsageError(f"{where}: {setting.name} has no values", "give it one at least, or leave it out")
    for number, entry in enumerate(found):
        if entry in found[:number]:
            raise UsageError(f"{where}: {setting.name} has {shown(entry)} twice", "every run is made once")
    return found


def shown(value: Any) -> str:
    """A value as it stands in a run's name.

    >>> shown(0.1), shown(200.0), shown(None), shown((80.0, 120.0)), shown({"widths": "64,64"})
    ('0.1', '200', 'none', '80,120', 'widths=64,64')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, tuple | list):
        return ",".join(map(shown, value))
    if isinstance(value, Mapping):
        return "+".join(f"{key}={shown(entry)}" for key, entry in value.items())
    return str(value)


def _is_whole(setting: Setting) -> bool:
    return setting.kind is int or int in typing.get_args(setting.kind)


def _numbers(setting: Setting, value: Any, where: str) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        if any(isinstance(part, bool) for part in parts):
            raise ValueError
        return tuple(float(part) for part in parts if part != "")
    except (ValueError, TypeError):
        raise UsageError(
            f"{where}: {setting.name} is a list of numbers, not {value!r}", 'write "80,120"; an axis lists such texts'
        ) from None


def _options(setting: Setting, value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return dict(plugins.parse_options(value, flag=f"{where}: {setting.name}"))
    if not isinstance(value, dict) or not all(_is_plain(entry) for entry in value.values()):
        raise UsageError(f"{where}: {setting.name} is a table of values, not {value!r}", "as in { widths = [64, 64] }")
    return {key.replace("-", "_"): entry for key, entry in value.items()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, bool | int | float | str)
