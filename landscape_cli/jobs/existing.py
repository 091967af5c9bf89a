"""A result that is where a new one would go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from landscape_cli.errors import ConflictError, DataError
from landscape_cli.store.runs import first_difference

Result = TypeVar("Result")


def existing(path: Path, read: Callable[[Path], Result]) -> Result | None:
    """The result in a file; None if there is no file.

    Raises:
        ConflictError: If something else is there.
    """
    if not path.exists():
        return None
    try:
        return read(path)
    except DataError as error:
        raise ConflictError(f"{path} exists: {error.message}", "choose another --out, or --force") from None


def other_result(path: Path, what: str, recorded: dict[str, Any], asked: dict[str, Any]) -> ConflictError:
    """What to say of a result that was made otherwise: the first setting that differs."""
    name, old, new = first_difference(recorded, asked) or ("identity", None, None)
    return ConflictError(
        f"{path} holds {what}: {name} is {old!r} there, {new!r} was asked for",
        "choose another --out, or --force to overwrite it",
    )
