"""The pages of networks, data sets and presets, from their registries."""

import inspect
import re
import typing
from typing import Any

from docs.generate.docstrings import Docstring, default, parse, written_type

IMAGE = (3, 32, 32)
CLASSES = 10
SEE = re.compile(r"(; see|\s*See) `\w+`")  # functions, which a reader of this page does not meet

NETWORKS = """# Networks

Every name that `--network` knows, with its options (`-N KEY=VALUE`), from the registry. What they are and where they
differ from the papers' texts: [networks and presets](../networks.md). Your own: [how to](../howto/network.md).

Parameters are those for 3×32×32 images and 10 classes.
"""
DATA = """# Data sets

Every name that `--data` knows, with its options (`-D KEY=VALUE`), from the registry. Nothing is downloaded. Every data
set also takes `-D normalize=none|channel`, and `-D mean=… -D std=…` (one number a channel, both or none).
Besides, `module:function` and `file.py:function` are data of your own: a function that returns a data set, or
`x_train, y_train, x_test, y_test`.
"""
PRESETS = """# Presets

Every protocol that `--preset` knows, from the registry. Flags beside `--preset` change it. More about them:
[networks and presets](../networks.md), [learning rates](../experiments.md).
"""


def networks() -> str:
    """The page of networks."""
    from landscape_cli import plugins
    from landscape_cli.networks.registry import BUILDERS, PACKAGES

    wide = "landscape_cli.networks.wide_resnet"
    named = {
        **BUILDERS,
        "wrn-DEPTH-WIDEN": f"{wide}:build",
        "wrn-DEPTH-WIDEN-CHANNELS": f"{wide}_mao:build",
        **{f"{prefix}NAME": path for prefix, path in PACKAGES.items()},
    }
    example = {"wrn-DEPTH-WIDEN": "wrn-16-4", "wrn-DEPTH-WIDEN-CHANNELS": "wrn-10-4-8"}
    parts = [NETWORKS]
    for name, path in named.items():
        function = plugins.load_code(path, what="network")
        count = "" if name.endswith(":NAME") else f"{_parameters(example.get(name, name)):,} parameters"
        if name in example:
            count += f" ({example[name]})"
        parts.append(_entry(name, function, count))
    return "\n".join(parts)


def _parameters(name: str) -> int:
    from landscape_cli.networks.registry import NetworkSpec, build

    return sum(p.numel() for p in build(NetworkSpec(name), IMAGE, CLASSES).parameters())


def data() -> str:
    """The page of data sets."""
    from landscape_cli import plugins
    from landscape_cli.datasets.registry import EXAMPLES, SOURCES

    parts = [DATA]
    for name, path in SOURCES.items():
        forms = [f"`{e}`" for e in EXAMPLES if e.partition(":")[0] == name]
        parts.append(_entry(name, plugins.load_code(path, what="data set"), "Written " + ", ".join(forms)))
    return "\n".join(parts)


def presets() -> str:
    """The page of presets."""
    from landscape_cli.compute.training.presets import PRESETS as KNOWN

    parts = [PRESETS]
    for source in dict.fromkeys(preset.source for preset in KNOWN.values()):
        parts += [f"## {source}\n", "| name | network | data | settings | recorded |", "|---|---|---|---|---|"]
        axes = {}
        for name, preset in KNOWN.items():
            if preset.source == source:
                settings = ", ".join(f"{key} {_value(value)}" for key, value in preset.settings.items())
                parts.append(f"| `{name}` | `{preset.network}` | {preset.data} | {settings} | `{preset.record}` |")
                axes.setdefault(preset.axes, name)
        parts.append("")
        for text, name in axes.items():
            if text:
                parts.append(f"Other axes, from `{name}` on: `{text}`.\n")
    return "\n".join(parts)


def _value(value: Any) -> str:
    return "/".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value}"


def _entry(name: str, function: Any, note: str) -> str:
    """One builder or loader: its words, its options."""
    docstring = parse(function)
    hints = typing.get_type_hints(function)
    options = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    lines = [f"## {name}\n"]
    lines += [f"{note}.\n"] if note else []
    lines += [SEE.sub("", paragraph).replace("..", ".") + "\n" for paragraph in docstring.text]
    argument = docstring.arguments.get("argument")
    lines += [f"After the colon: {argument}\n"] if argument else []
    if options:
        lines += ["| option | value | default | |", "|---|---|---|---|"]
        lines += [_row(option, hints.get(option.name), docstring) for option in options]
        lines.append("")
    further = docstring.arguments.get("options")
    lines += [f"Further options: {further[:1].lower()}{further[1:]}\n"] if further else []
    return "\n".join(lines)


def _row(option: inspect.Parameter, hint: Any, docstring: Docstring) -> str:
    said = docstring.arguments.get(option.name, "Multiplies the widths." if option.name == "width" else "")
    return f"| `{option.name}` | {written_type(hint)} | {default(option)} | {said} |"
