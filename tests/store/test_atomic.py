import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from landscape_cli.errors import ConflictError, StorageError
from landscape_cli.store.atomic import remove_leftovers, replacing, write_json, write_text
from landscape_cli.store.locks import exclusive


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("number", "hint"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "--out")])
def test_the_systems_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        write_json(tmp_path / "file", {"new": 1})
    assert hint in (caught.value.hint or "")
    assert (tmp_path / "file").read_text() == "old"


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    """The system itself refuses to write more than 64 KiB: a real failure inside the real writer."""
    code = f"""
        import resource, torch
        from pathlib import Path
        from landscape_cli.errors import StorageError
        from landscape_cli.store.checkpoints import read_tensors, write_tensors
        path = Path({str(tmp_path)!r}) / "x.safetensors"
        write_tensors(path, {{"w": torch.ones(10)}}, {{}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        try:
            write_tensors(path, {{"w": torch.zeros(1_000_000)}}, {{}})
        except StorageError as error:
            print(error.message)
            print(error.hint)
        assert torch.equal(read_tensors([path])["w"], torch.ones(10))
        assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "x.safetensors: could not be written" in done.stdout
    assert "free some space" in done.stdout


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    code = f"""
        import sys, time
        from pathlib import Path
        from landscape_cli.store.atomic import replacing
        with replacing(Path({str(tmp_path)!r}) / "file") as temporary:
            temporary.write_text("half")
            print("writing", flush=True)
            time.sleep(60)
    """
    write_text(tmp_path / "file", "old")
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_one_writer_a_directory_and_the_kernel_frees_it(tmp_path: Path) -> None:
    code = f"""
        import time
        from pathlib import Path
        from landscape_cli.store.locks import exclusive
        with exclusive(Path({str(tmp_path)!r})):
            print("held", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(ConflictError, match=f"being written by process {process.pid}"), exclusive(tmp_path):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            with exclusive(tmp_path):
                break
        except ConflictError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
