"""One writer a run directory."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from landscape_cli.errors import ConflictError
from landscape_cli.store.atomic import storage_error

try:
    import fcntl
except ImportError:  # pragma: no cover - only outside POSIX, where no lock is taken
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for one writing process; the kernel frees it however the process ends.

    Raises:
        ConflictError: If another process holds it; the message names that process.
        StorageError: If the folder cannot be written.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise storage_error(error, folder) from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise ConflictError(
                    f"{folder} is being written by {holder}", "wait for it, or choose another --out"
                ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        # The file stays behind: to delete it would let two later processes lock two files of one name.
        yield
