"""The page for a notebook: the package's public names, and the functions of the rooms that measure."""

import importlib
import inspect
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from docs.generate.docstrings import Docstring, parse

HEAD = """# Python

What a notebook or a script of your own can import, from the docstrings. Tensors and modules go in, tensors or small
frozen dataclasses come out; nothing here reads files, prints or looks at a command line, unless it says so. Shapes are
written as [jaxtyping](https://docs.kidger.site/jaxtyping/) writes them.

[In a notebook](../howto/notebook.md) shows them at work.
"""
# Rooms below the public names: what is measured, and what one needs to call it.
ROOMS = {
    "Samples, devices, evaluation": ("compute.device", "compute.samples", "compute.evaluation", "compute.batchnorm"),
    "Weight space": (
        "compute.weights.interpolation",
        "compute.weights.barrier",
        "compute.weights.distances",
        "compute.weights.plane",
        "compute.function_distance",
        "compute.weights.matching",
    ),
    "Curvature": (
        "compute.weights.curvature_operators",
        "compute.weights.lanczos",
        "compute.weights.trace",
        "compute.weights.spectral_density",
        "compute.weights.eigenspaces",
        "compute.weights.escape",
        "compute.weights.gradient_noise",
        "compute.weights.scale_invariance",
    ),
    "Tangent space": (
        "compute.tangent.kernels",
        "compute.tangent.distances",
        "compute.tangent.centroids",
        "compute.tangent.linearized",
        "compute.tangent.regression",
    ),
    "Prediction space": (
        "compute.predictions.distances",
        "compute.predictions.references",
        "compute.predictions.geodesics",
        "compute.predictions.progress",
        "compute.predictions.embedding",
        "compute.predictions.explained",
        "compute.predictions.projection",
        "compute.predictions.trajectories",
        "compute.predictions.centroids",
        "compute.predictions.clustering",
        "compute.predictions.reading",
    ),
    "Files": ("store.runs", "store.checkpoints", "store.metrics", "store.predictions", "store.matrices"),
}


def page() -> str:
    """The page as Markdown."""
    import landscape_cli

    parts = [HEAD]
    public = [name for name in landscape_cli.__all__ if not name.startswith("__")]
    if public:
        listed = "".join(f"    {name},\n" for name in public)
        parts += ["## `landscape_cli`\n", f"```python\nfrom landscape_cli import (\n{listed})\n```\n"]
        things = {name: getattr(landscape_cli, name) for name in public}
        parts += [_entry(name, thing) for name, thing in things.items()]
        parts.append("### What they give\n\nWhat is not here is with the functions of its room, below.\n")
        parts += [_entry(given.__name__, given) for given in _results(things.values())]
    for title, modules in ROOMS.items():
        parts.append(f"## {title}\n")
        for path in modules:
            parts.append(_module(importlib.import_module(f"landscape_cli.{path}")))
    return "\n".join(parts)


def _results(functions: Iterable[Any]) -> list[type]:
    """The classes of the public room that functions give, in their order; others stand with their own modules."""
    annotations = [inspect.signature(inspect.unwrap(f)).return_annotation for f in functions if inspect.isfunction(f)]
    own = [a for a in annotations if inspect.isclass(a) and a.__module__.startswith("landscape_cli.api.")]
    return list(dict.fromkeys(own))


def _module(module: ModuleType) -> str:
    own = [
        (name, thing)
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
        if inspect.isfunction(thing) or inspect.isclass(thing)
    ]
    docstring = parse(module)
    lines = [f"### `{module.__name__}`\n", *(f"{text}\n" for text in docstring.text)]
    return "\n".join([*lines, *(_entry(name, thing) for name, thing in own)])


def _entry(name: str, thing: Any) -> str:
    """One function or class: its signature, its words."""
    lines = [f"#### `{name}`\n"]
    if inspect.isfunction(thing):
        lines += ["```text", f"{name}{signature(thing)}", "```\n"]
    lines += _words(parse(thing))
    if inspect.isclass(thing):
        lines += _members(thing)
    return "\n".join(lines)


def _members(thing: type) -> list[str]:
    """The public methods and properties of a class, a line each."""
    lines = []
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function) or not inspect.getdoc(function):
            continue
        said = parse(function).text
        written = f".{name}" if isinstance(member, property) else f".{name}{signature(function)}"
        lines.append(f"- `{written}`: {said[0] if said else ''}")
    return [*lines, ""] if lines else []


def _words(docstring: Docstring) -> list[str]:
    lines = [f"{text}\n" for text in docstring.text]
    if docstring.arguments:
        lines += [*(f"- `{name}`: {said}" for name, said in docstring.arguments.items()), ""]
    if docstring.returns:
        lines += [f"Returns: {docstring.returns}\n"]
    if docstring.raises:
        lines += [*(f"- raises `{name}`: {said}" for name, said in docstring.raises.items()), ""]
    return lines


def signature(function: Any) -> str:
    """A signature as the source has it, one line, without where types come from."""
    original = inspect.unwrap(function)
    written = []
    parameters = list(inspect.signature(original).parameters.values())
    star = False
    for parameter in parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            written.append("*")
            star = True
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        text = f"{prefix}{parameter.name}: {_annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {_default(parameter.default)}"
        written.append(text)
    returned = inspect.signature(original).return_annotation
    return f"({', '.join(written)}) -> {_annotation(returned)}"


def _annotation(annotation: Any) -> str:
    """A type without its modules; jaxtyping's as it is written."""
    if isinstance(annotation, str):
        return annotation
    if hasattr(annotation, "dim_str"):
        return f'{annotation.dtype.__name__}[{annotation.array_type.__name__}, "{annotation.dim_str}"]'
    text = re.sub(r"\b(?:[a-z_]+\w*\.)+(?=\w)", "", inspect.formatannotation(annotation)).replace("NoneType", "None")
    return re.sub(r"ndarray\[tuple\[\w+, \.\.\.\], dtype\[\w+\]\]", "ndarray", text)


def _default(value: Any) -> str:
    return value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)
