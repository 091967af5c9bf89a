"""Writing files so that a reader sees the old file or the new one, never half of either."""

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landscape_cli.errors import StorageError

TEMPORARY_PREFIX = ".partial-"


def storage_error(error: OSError, path: Path) -> StorageError:
    """Say in one line why ``path`` could not be written, and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "free some space and give the same command again: finished work is kept" if full else None
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "choose another place with --out"
    return StorageError(f"{path}: could not be written: {error.strerror or error}", hint)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on a clean exit it takes the place of ``path``.

    The temporary file is flushed to the disk before the rename, and the directory after it, so that a crash of
    the machine leaves one of the two whole files as well. On any error the temporary file goes and ``path``
    stays what it was.

    Raises:
        StorageError: If the disk is full or the place cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_directory(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush_directory(folder: Path) -> None:
    """Make a rename durable; file systems that cannot (some network ones) are left to their own care."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        StorageError: If the disk is full or the place cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document atomically, keys sorted, one a line."""
    write_text(path, json.dumps(document, indent=2, sort_keys=True) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in ``folder``."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def remove_leftovers_of(path: Path) -> None:
    """Delete temporary files that a killed process left of one file, beside which others may be written."""
    pattern = re.compile(rf"(?:{re.escape(TEMPORARY_PREFIX)}\d+-)+{re.escape(path.name)}")
    for leftover in path.parent.glob(f"{TEMPORARY_PREFIX}*"):
        if pattern.fullmatch(leftover.name):
            with contextlib.suppress(OSError):
                leftover.unlink()
