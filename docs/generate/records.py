"""The page of records: the entries of each kind, read off real results of the commands."""

from collections.abc import Iterable
from typing import Any

from docs.generate.meanings import meaning

HEAD = """# Records

What commands write to stdout when piped, and to `--out FILE.jsonl` (points of lines to `barrier --curve-out`, members
of clusters to `cluster --members`): one JSON object a line, whose `kind` says what it is; what `--dry-run` says is a
`plan`. The entries below are read off real results of every command on small runs; which of them a record has depends
on the options. Numbers that are no numbers are `NaN` and `Infinity`, as Python and pandas read them. Entries of the
input that a command does not know pass through.

Entries that end in `_a`, `_b` belong to the first and the second network of a pair, in `_sd` to the spread over
repeats, in `_error` to the standard error of the entry before it. Losses are in nats, errors are shares of samples.
"""


def page(made: list[tuple[str, list[dict[str, Any]]]]) -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for kind, (commands, entries) in collected(made).items():
        parts.append(f"## {kind}\n")
        parts.append("Written by " + ", ".join(f"[`{name}`](commands.md#{name})" for name in commands) + ".\n")
        parts += ["| entry | type | |", "|---|---|---|"]
        parts += [
            f"| `{name}` | {' or '.join(sorted(types))} | {meaning(name, kind)} |" for name, types in entries.items()
        ]
        parts.append("")
    return "\n".join(parts)


def collected(made: list[tuple[str, list[dict[str, Any]]]]) -> dict[str, tuple[list[str], dict[str, set[str]]]]:
    """By kind: the commands that wrote it, and its entries with their types."""
    found: dict[str, tuple[list[str], dict[str, set[str]]]] = {}
    for line, records in made:
        command = line.split()[0]
        for record in records:
            commands, entries = found.setdefault(record["kind"], ([], {}))
            if command not in commands:
                commands.append(command)
            for name, value in record.items():
                entries.setdefault(name, set()).add(json_type(value))
    return found


def json_type(value: Any) -> str:
    """What a value is called in JSON; whole and other numbers alike."""
    names = {bool: "true/false", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return "null" if value is None else names[type(value)]


def unexplained(names: Iterable[tuple[str, str]]) -> list[str]:
    """The entries, with their kinds, that have no meaning yet."""
    return sorted({f"{kind}: {name}" for kind, name in names if not meaning(name, kind)})
