"""Who writes a folder can be told from beside it."""

import socket
import subprocess
from pathlib import Path

import pytest

from landscape_cli.errors import ConflictError
from landscape_cli.store.locks import exclusive, is_held


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


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    (tmp_path / ".lock").write_text(f"process {done.pid} on {socket.gethostname()}")
    assert not is_held(tmp_path)
    (tmp_path / ".lock").write_text("process 1 on elsewhere")  # of another machine: the lock itself decides
    assert not is_held(tmp_path)
