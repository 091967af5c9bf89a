"""Docstrings of the house, read into Markdown."""

import inspect
import re
import types
import typing
from dataclasses import dataclass, field
from typing import Any

NAMED = re.compile(r"(\w+): (.*)")
SECTION = re.compile(r"^(Args|Raises|Returns|Yields):$")
ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")


@dataclass(frozen=True)
class Docstring:
    """A docstring in its parts.

    Args:
        text: Its paragraphs, as Markdown.
        arguments: What is said of each argument.
        raises: What is said of each exception.
        returns: What is said of what comes back; of what is yielded, for a generator.
    """

    text: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    raises: dict[str, str] = field(default_factory=dict)
    returns: str = ""


def parse(thing: Any) -> Docstring:
    """The docstring of a function or class."""
    paragraphs: list[list[str]] = [[]]
    sections: dict[str, dict[str, str]] = {"Args": {}, "Raises": {}, "Returns": {}, "Yields": {}}
    section, entry = "", ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        if match := SECTION.match(line):
            section, entry = match[1], ""
        elif section and line.startswith("    "):
            inner = line[4:]
            named = None if section in ("Returns", "Yields") or inner.startswith(" ") else NAMED.match(inner)
            if named:
                entry = named[1]
                sections[section][entry] = named[2]
            else:
                said = sections[section].get(entry, "")
                sections[section][entry] = f"{said} {inner.strip()}".strip()
        elif line.strip():
            section = ""
            paragraphs[-1].append(line)
        else:
            section = ""
            paragraphs.append([])
    return Docstring(
        [markdown(part) for part in paragraphs if part],
        {name: words(text) for name, text in sections["Args"].items()},
        {name: words(text) for name, text in sections["Raises"].items()},
        words((sections["Returns"] or sections["Yields"]).get("", "")),
    )


def words(text: str) -> str:
    """Words of a docstring as Markdown that fits into a table's cell."""
    text = ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text).replace("``", "`")
    return text.replace("|", "\\|")


def markdown(lines: list[str]) -> str:
    """One paragraph: an example of use, an indented formula, or words."""
    if lines[0].startswith(">>>"):
        return "\n".join(["```pycon", *lines, "```"])
    if all(line.startswith("    ") for line in lines):
        return "\n".join(["```text", *(line[4:] for line in lines), "```"])
    return words(" ".join(line.strip() for line in lines)).replace("\\|", "|")


def written_type(hint: Any) -> str:
    """A type as a person writes a value of it.

    >>> written_type(int | None), written_type(tuple[int, ...])
    ('`int`', '`int,int,…`')
    """
    if typing.get_origin(hint) is typing.Literal:
        return " ".join(f"`{choice}`" for choice in typing.get_args(hint))
    if isinstance(hint, types.UnionType):
        return " ".join(written_type(h) for h in typing.get_args(hint) if h is not type(None))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0].__name__
        return f"`{inner},{inner},…`"
    return f"`{hint.__name__}`" if isinstance(hint, type) else f"`{hint}`"


def default(parameter: inspect.Parameter) -> str:
    """A default as it would be typed."""
    value = parameter.default
    if value is inspect.Parameter.empty or value is None:
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
