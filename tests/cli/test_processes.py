"""The command as a process: pipes, signals, terminals."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from landscape_cli.store.runs import Run
from tests.conftest import REPOSITORY, SAMPLES, TRAIN

LANDSCAPE = [sys.executable, "-m", "landscape_cli"]
LONG = [*LANDSCAPE, *TRAIN, "--epochs", "100000", "--checkpoints", "every:500ep"]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "LANDSCAPE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(REPOSITORY)}


def test_a_closed_pipe_is_no_error_message(tmp_path: Path) -> None:
    script = f'{sys.executable} -m landscape_cli info {SAMPLES} {SAMPLES} | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(tmp_path), check=True)
    assert done.stdout in ("141\n", "0\n")  # 0: all was written before the reader left
    assert done.stderr == ""
    script = (
        f"{sys.executable} -c 'import os,sys; r,w=os.pipe(); os.close(r); os.dup2(w,1); "
        f'from landscape_cli.cli.app import run; sys.exit(run(["info","{SAMPLES}"]))\'; echo $?'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(tmp_path), check=True)
    assert (done.stdout, done.stderr) == ("141\n", "")


def start_and_signal(tmp_path: Path, number: int) -> tuple[int, str]:
    out = tmp_path / "run"
    process = subprocess.Popen([*LONG, "--out", str(out)], stderr=subprocess.PIPE, text=True, env=environment(tmp_path))
    before = len(list(out.glob("checkpoints/*")))
    deadline = time.monotonic() + 60
    while len(list(out.glob("checkpoints/step*"))) < before + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    return process.returncode, told


def test_ctrl_c_keeps_a_run_that_the_same_command_continues(tmp_path: Path) -> None:
    status, told = start_and_signal(tmp_path, signal.SIGINT)
    assert status == 130
    assert "stopped at step" in told
    assert "the same command continues it" in told
    run = Run.open(tmp_path / "run")
    assert run.status == "interrupted"
    first = int(told.partition("at step ")[2].split()[0])
    status, told = start_and_signal(tmp_path, signal.SIGTERM)  # as a cluster does before it takes a machine back
    assert status == 130
    assert int(told.partition("at step ")[2].split()[0]) > first


def test_processes_of_a_killed_command_save_and_end(tmp_path: Path) -> None:
    """Killed itself, it can tell nobody to stop: they would train on, hold their runs, and then wait for ever."""
    out = tmp_path / "run"
    many = [*LONG, "--seeds", "0..1", "--jobs", "2", "--out", str(out)]
    process = subprocess.Popen(many, stderr=subprocess.DEVNULL, env=environment(tmp_path))
    runs = [tmp_path / "run-seed0", tmp_path / "run-seed1"]
    deadline = time.monotonic() + 60
    while not all(list(run.glob("checkpoints/step*")) for run in runs) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int((run / ".lock").read_text().split()[1]) for run in runs]
    assert process.pid not in workers
    process.kill()
    process.wait()
    while any(map(is_there, workers)) and time.monotonic() < deadline + 60:
        time.sleep(0.05)
    assert not any(map(is_there, workers))
    assert {Run.open(run).status for run in runs} == {"interrupted"}


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{process}/status").read_text()


def test_on_a_terminal_there_is_a_table(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*LANDSCAPE, "info", str(SAMPLES)], stdout=follower, stderr=subprocess.PIPE, env=environment(tmp_path)
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    process.communicate()
    os.close(leader)
    text = shown.decode()
    assert "early-a" in text
    assert '"kind"' not in text


def test_the_pipe_of_the_readme(tmp_path: Path) -> None:
    """train | spawn | barrier in one line, as a user types it."""
    train = " ".join(["landscape", *TRAIN, "--out", "parent"])
    script = (
        f'landscape() {{ {sys.executable} -m landscape_cli "$@"; }}; set -o pipefail; {train} '
        "| landscape spawn - --at 0ep,2ep --children 2 | landscape barrier - --pairs siblings --points 3 --split test"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"kind": "barrier"') == 2
    assert done.stderr == ""


def test_an_empty_pipe_is_named(tmp_path: Path) -> None:
    for command in (["spawn", "-", "--at", "1ep"], ["barrier", "-"], ["info", "-"]):
        done = subprocess.run(
            [*LANDSCAPE, *command], input="", capture_output=True, text=True, env=environment(tmp_path), check=False
        )
        assert done.returncode == 2
        assert "nothing came through the pipe" in done.stderr
    record = '{"kind": "barrier", "a": "x", "b": "y"}\n'
    done = subprocess.run(
        [*LANDSCAPE, "barrier", "-"],
        input=record,
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        check=False,
    )
    assert done.returncode == 2
    assert "a record of kind 'barrier'" in done.stderr
