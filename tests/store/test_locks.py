"""Who writes a folder can be told from beside it."""

import errno
import fcntl
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from landscape_cli.errors import ConflictError, StorageError
from landscape_cli.store.locks import exclusive, exclusive_file, is_held


def test_a_folder_is_held_while_somebody_writes_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with exclusive(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(ConflictError, match="is being written by process"), exclusive(tmp_path):
            pass
    assert not is_held(tmp_path)
    assert not is_held(tmp_path / "nowhere")
    with exclusive(tmp_path):  # to look at a lock is not to keep it
        pass


def test_somebody_who_looks_is_not_in_the_way(tmp_path: Path) -> None:
    """Looking takes the lock for a moment, in which a run that begins must not take it for another writer."""
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.03, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with exclusive(tmp_path):
            assert is_held(tmp_path)


@pytest.mark.parametrize("hold", [exclusive, lambda folder: exclusive_file(folder / "table.csv")])
def test_a_full_disk_is_told(hold: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, text: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="No space left on device"), hold(tmp_path):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    (tmp_path / ".lock").write_text(f"process {done.pid} on {socket.gethostname()}")
    assert not is_held(tmp_path)
    (tmp_path / ".lock").write_text("process 1 on elsewhere")  # of another machine: the lock itself decides
    assert not is_held(tmp_path)
