"""One writer a run directory, or a file."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from landscape_cli.errors import ConflictError
from landscape_cli.store.atomic import storage_error

try:
    import fcntl
except ImportError:  # pragma: no cover - only outside POSIX, where no lock is taken
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"
ATTEMPTS, PAUSE = 4, 0.02  # to take a lock, and seconds between them


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
        _lock(file, folder)
        _sign(file, folder)
        # The file stays behind: to delete it would let two later processes lock two files of one name.
        yield


@contextlib.contextmanager
def exclusive_file(path: Path) -> Iterator[None]:
    """Hold a file for one writing process by a lock file beside it, which goes when the block ends.

    The file itself may be replaced meanwhile. A killed process leaves the lock file behind, but not the lock.

    Raises:
        ConflictError: If another process holds it; the message names that process.
        StorageError: If the folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(lock, path)
    except OSError as error:
        raise storage_error(error, path) from error
    with file:
        _sign(file, path)
        try:
            yield
        finally:
            # While the lock is held: whoever waits for this name sees that his file is no longer it, and opens anew.
            lock.unlink(missing_ok=True)


def _locked(lock: Path, path: Path) -> TextIO:
    """The lock file, open and locked; made anew if its last holder took it away between the two."""
    while True:
        file = lock.open("a+", encoding="utf-8")
        try:
            _lock(file, path)
        except ConflictError:
            file.close()
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
        file.close()


def _lock(file: TextIO, path: Path) -> None:
    """Lock an open lock file of ``path``."""
    for left in reversed(range(ATTEMPTS if fcntl is not None else 0)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if left:  # whoever looks whether it is held (see below) has it for a moment
                time.sleep(PAUSE)
                continue
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ConflictError(
                f"{path} is being written by {holder}", "wait for it, or choose another --out"
            ) from None


def _sign(file: TextIO, path: Path) -> None:
    """Write down who holds a lock; unbuffered, as a full disk would refuse what is left over once more at the end."""
    try:
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
    except OSError as error:
        raise storage_error(error, path) from error


def is_held(folder: Path) -> bool:
    """Whether a process is writing a folder, without disturbing it.

    False where locks are not to be had, or not to be seen.
    """
    try:
        with (folder / LOCK_NAME).open(encoding="utf-8") as file:
            if fcntl is None or _is_gone(file.read()):
                return False
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
    except OSError:
        return False


def _is_gone(holder: str) -> bool:
    """Whether a lock file names a process of this machine that is no more: then nobody needs to try the lock."""
    words = holder.split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdigit():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
