"""Records: the JSON lines that commands write to stdout and read from a pipe.

A record is a JSON object with a ``kind``. Numbers that are no numbers are written as ``NaN`` and ``Infinity``, as
Python and pandas read them.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from landscape_cli.errors import UsageError

RUN_KINDS = ("run", "checkpoint")


@dataclass(frozen=True)
class Item:
    """One input of a command: a path, with the record it came in, if it came through a pipe.

    Args:
        path: What names the run or checkpoint, ``RUN@2ep`` included.
        record: The record's other entries.
    """

    path: str
    record: dict[str, Any] = field(default_factory=dict)


def dump(record: dict[str, Any]) -> str:
    """One record as one line of JSON; the order of entries is kept, the kind first."""
    return json.dumps(record, ensure_ascii=False)


def parse_line(line: str, number: int, *, kinds: Sequence[str] = RUN_KINDS) -> Item:
    """Read one line of a pipe: a path, or a record of one of ``kinds`` with a ``path``.

    Raises:
        UsageError: If the line is a damaged record, or one of another kind; the message names it.
    """
    text = line.strip()
    if not text.startswith("{"):
        return Item(text)
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"line {number} of the input is no JSON record: {error.msg}") from error
    kind = record.get("kind")
    if kind not in kinds or not isinstance(record.get("path"), str):
        shown = f"a record of kind '{kind}'" if kind else "a record without a kind"
        raise UsageError(
            f"line {number} of the input is {shown}",
            f"this command reads paths, or records of {', '.join(kinds)}",
        )
    return Item(record["path"], {key: value for key, value in record.items() if key not in ("kind", "path")})


def read_items(
    arguments: Sequence[str], *, kinds: Sequence[str] = RUN_KINDS, stdin: Iterable[str] | None = None
) -> list[Item]:
    """The inputs of a command; an argument ``-`` stands for the lines of stdin.

    Raises:
        UsageError: If a pipe is empty, a line is of the wrong kind, or ``-`` is given twice.
    """
    if arguments.count("-") > 1:
        raise UsageError("'-' is given twice: stdin can be read once")
    items: list[Item] = []
    for argument in arguments:
        if argument != "-":
            items.append(Item(argument))
            continue
        lines = list(sys.stdin if stdin is None else stdin)
        found = [parse_line(line, n, kinds=kinds) for n, line in enumerate(lines, start=1) if line.strip()]
        if not found:
            raise UsageError("nothing came through the pipe", "did the command before it fail? Its message is above")
        items.extend(found)
    return items
