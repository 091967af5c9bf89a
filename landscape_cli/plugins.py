"""From names on the command line to Python objects: registries, entry points, options, a user's own code.

Code is loaded only when a person names it on the command line (``module:function`` or ``file.py:function``). A name
of that form that stands inside a run directory is never followed; see :func:`refuse_stored_code`.
"""

import difflib
import functools
import importlib
import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from landscape_cli.errors import LandscapeError, UsageError

_CODE = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)|(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")

RESERVED = (
    "timm:",
    "torchvision:",
    "npz:",
    "imagefolder:",
    "synthetic:",
    "cifar10:",
    "cifar100:",
    "mnist:",
    "fashion-mnist:",
    "patches:",
)
OVER_ANOTHER = "patches:"  # what follows is a data set's name itself


def is_code(spec: str) -> bool:
    """Whether ``spec`` has the form ``module:function`` or ``file.py:function``.

    >>> is_code("nets.py:build"), is_code("package.nets:build"), is_code("npz:data.npz")
    (True, True, False)
    """
    return _CODE.fullmatch(spec) is not None and not spec.startswith(RESERVED)


def refuse_stored_code(spec: str, *, owner: Path, option: str) -> None:
    """Refuse to run code that is only named inside a run directory, alone or behind another name.

    Raises:
        UsageError: If ``spec`` names code; the hint is the option that a person has to give.
    """
    if is_code(spec) or is_code(spec.removeprefix(OVER_ANOTHER)):
        raise UsageError(
            f"{owner} was made with {option} {spec}: code named inside a run is not executed",
            f"if you trust that code, give it yourself: {option} {spec}",
        )


def load_code(spec: str, *, what: str, known: Iterable[str] = ()) -> Callable[..., Any]:
    """Import the function that a person named on the command line.

    Args:
        spec: ``module:function`` (the working directory is searched first) or ``file.py:function``.
        what: What it should give, for the messages.
        known: Names that might have been meant instead.

    Raises:
        UsageError: If there is no such file, module or function, or importing it fails.
    """
    match = _CODE.fullmatch(spec)
    if match is None:
        raise UsageError(f"'{spec}' does not name a {what}", "write module:function or file.py:function")
    name = match["function"] or match["name"]
    try:
        module = _load_file(Path(match["file"])) if match["file"] else _load_module(match["module"])
    except LandscapeError:
        raise
    except Exception as error:
        top = (match["module"] or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            raise UsageError(f"there is no {what} '{spec}', nor a module '{top}'", did_you_mean(spec, known)) from None
        raise UsageError(f"{spec} could not be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        near = did_you_mean(name, [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")])
        raise UsageError(f"{spec}: there is no function '{name}'", near)
    return typing.cast(Callable[..., Any], function)


def _load_file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise UsageError(f"{path} does not exist", "give the path of a Python file, then :function")
    spec = importlib.util.spec_from_file_location(f"landscape_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles inside the file look their module up there
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> types.ModuleType:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)


@functools.lru_cache
def extensions(group: str) -> dict[str, str]:
    """The names that other installed packages register in an entry-point group, with the object each names.

    Looked up once a process: reading the descriptions of all installed packages takes tens of milliseconds.
    """
    return {point.name: point.value for point in entry_points(group=group)}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the known names nearest to a word, or all of them.

    >>> did_you_mean("simplecnn", ["simple-cnn", "mlp"])
    "did you mean 'simple-cnn'?"
    """
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else "known are " + ", ".join(names)


def parse_options(pairs: Iterable[str], *, flag: str) -> dict[str, str]:
    """Read repeated ``KEY=VALUE`` options.

    Raises:
        UsageError: If one has no ``=``, or a key comes twice.

    >>> parse_options(["widths=64,64"], flag="--network-option")
    {'widths': '64,64'}
    """
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise UsageError(f"{flag} '{pair}' is not KEY=VALUE")
        if key in options:
            raise UsageError(f"{flag} '{key}' is given twice")
        options[key] = value.strip()
    return options


def bind(function: Callable[..., Any], options: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """Convert textual options to the types that ``function`` declares for them.

    Options are its keyword-only parameters, and all others that have a default.

    Values that are no text (from a stored configuration) pass through.

    Raises:
        UsageError: If an option is unknown or its value does not fit.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    known = {
        name: p
        for name, p in parameters.items()
        if p.kind is p.KEYWORD_ONLY or (p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty)
    }
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        known |= {
            name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in options if name not in known
        }
    bound: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            hint = did_you_mean(name, known) if known else "it takes no options"
            raise UsageError(f"{what} has no option '{name}'", hint)
        bound[name] = _convert(value, known[name].annotation, f"option '{name}' of {what}")
    return bound


def _convert(value: Any, kind: Any, what: str) -> Any:
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    choices = [k for k in typing.get_args(kind) if k is not type(None)]
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if value.lower() in ("none", "") and type(None) in typing.get_args(kind):
            return None
        kind = choices[0]
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        if kind in (int, float):
            return kind(value)
        if typing.get_origin(kind) is tuple:
            inner = typing.get_args(kind)[0]
            return tuple(_convert(part.strip(), inner, what) for part in value.split(",") if part.strip())
        if typing.get_origin(kind) is typing.Literal and value not in typing.get_args(kind):
            raise ValueError(value)
    except (ValueError, KeyError):
        raise UsageError(f"{what}: '{value}' does not fit", f"it is {_type_name(kind)}") from None
    return value if kind is not inspect.Parameter.empty else _guess(value)


def _guess(value: str) -> Any:
    """The natural reading of an option whose type nobody declared (a user's own function)."""
    for reader in (int, float):
        try:
            return reader(value)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(value.lower(), value)


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return f"a comma-separated list of {typing.get_args(kind)[0].__name__}"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, str(kind))
