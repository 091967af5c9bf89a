"""HDF5 files: opened with a check of what they are, made so that a full disk is an error and not a crash.

HDF5 keeps what it could not write and tries again when the file is closed and when the process ends; with a full disk
that ends in a crash of the interpreter (seen with HDF5 2.0). So it writes through a Python file here that takes every
write, and tells of the first one that failed once HDF5 is done.
"""

import contextlib
import errno
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape_cli.errors import DataError
from landscape_cli.store.atomic import replacing

if TYPE_CHECKING:
    import h5py

ALIGNED = 1 << 16  # bytes: larger parts of a file begin at a page of the disk
PAGE = 1 << 12
COPIED = 1 << 24  # bytes at a time, where the system does not copy by itself
SMALL = 1 << 16  # bytes: what HDF5 may want to read back after a failure


@contextlib.contextmanager
def creating(path: Path) -> Iterator["h5py.File"]:
    """A new HDF5 file that takes the place of ``path`` on a clean exit; on any error ``path`` stays what it was.

    Give ``track_times=False`` to every ``create_dataset``, and the file has the same bytes whenever it is made.

    Raises:
        StorageError: If the disk is full or the place cannot be written; told at the end of the block.
    """
    import h5py

    with replacing(path) as temporary, temporary.open("w+b", buffering=0) as raw:
        target = _Target(raw.fileno())
        with h5py.File(
            target, "w", libver=("v110", "v110"), alignment_threshold=ALIGNED, alignment_interval=PAGE
        ) as file:
            yield file
        if target.error is not None:
            raise target.error


def open_hdf5(path: Path, kind: str | None = None, schema: int = 1, *, also: Sequence[str] = ()) -> "h5py.File":
    """Open an HDF5 file of this toolkit for reading.

    Args:
        path: The file.
        kind: What it must hold: its attribute ``kind``; None for anything.
        schema: The newest ``schema`` that can be read.
        also: Other kinds that hold the same and more.

    Raises:
        DataError: If it is missing, no HDF5, of another kind, or written by a newer version.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is no file" if path.exists() else f"{path} does not exist")
    try:
        # Without a lock: our own writers replace files, or write whole models that no reader looks at yet.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise DataError(f"{path} is no HDF5 file, or is damaged: {error}") from error
    if kind is None:
        return file
    found, version = file.attrs.get("kind"), file.attrs.get("schema", 1)
    known = isinstance(found, str) and found in (kind, *also)
    if known and int(version) <= schema:
        return file
    file.close()
    if known:
        raise DataError(
            f"{path} was written by a newer landscape (schema {version}; this one reads up to {schema})",
            "upgrade with 'pip install --upgrade landscape-cli'",
        )
    held = f"holds '{found}', not {kind}" if isinstance(found, str) else f"is no file of {kind} of this toolkit"
    hint = "predictions made elsewhere come in with: landscape predict --from FILE" if kind == "predictions" else None
    raise DataError(f"{path} {held}", hint)


class _Target(io.RawIOBase):
    """A file for HDF5 to write: after a first failure it goes on as if all were well, and ``error`` says what failed.

    Args:
        descriptor: The open file.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._position = 0
        self._size = 0
        self._unwritten: dict[int, bytes] = {}

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """The current place."""
        return self._position

    def readable(self) -> bool:
        """It can be read."""
        return True

    def writable(self) -> bool:
        """It can be written."""
        return True

    def seekable(self) -> bool:
        """It can be read and written anywhere."""
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data`` here, or remember why that failed."""
        view = memoryview(data).cast("B")
        if self.error is None:
            try:
                write_bytes(self._descriptor, view, self._position)
            except OSError as error:
                self.error = error
        if self.error is not None and len(view) <= SMALL:
            self._unwritten[self._position] = bytes(view)
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Read what was written, zeros where nothing was."""
        view = memoryview(buffer).cast("B")
        kept = self._unwritten.get(self._position, b"")
        found = kept if len(kept) >= len(view) else os.pread(self._descriptor, len(view), self._position)
        view[:] = bytes(found[: len(view)]).ljust(len(view), b"\0")
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file so long."""
        self._size = self._position if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError as error:
                self.error = error
        return self._size


def write_bytes(descriptor: int, data: "memoryview | bytes", offset: int) -> None:
    """Write all of ``data`` at a place of a file.

    Raises:
        OSError: If that fails.
    """
    view = memoryview(data).cast("B")
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)


def read_bytes(descriptor: int, into: Any, offset: int, path: Path) -> None:
    """Fill a C-contiguous array from a place of a file.

    Raises:
        DataError: If the file ends before.
    """
    view = memoryview(into).cast("B")
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if count == 0:
            raise DataError(f"{path} is damaged: it is cut off", "make it again with the command that made it")
        done += count


def copy_bytes(source: int, target: int, start: int, to: int, count: int) -> None:
    """Copy bytes between two open files, by the system where it can (shared blocks on some file systems).

    Raises:
        OSError: If that fails.
    """
    done = 0
    while done < count and hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, target, count - done, start + done, to + done)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            break
        if not copied:
            break
        done += copied
    while done < count:
        part = os.pread(source, min(COPIED, count - done), start + done)
        if not part:
            raise OSError(errno.EIO, "the file is shorter than it should be")
        write_bytes(target, part, to + done)
        done += len(part)
