"""A disk that is full in the middle of training: the operating system really refuses to write more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from landscape_cli.store.runs import Run
from tests.conftest import REPOSITORY, TRAIN, Cli

pytest.importorskip("resource", reason="this system has no limit on the size of files")

# No file may grow beyond so many bytes, from the moment that a folder holds so many files.
LIMITED = """
import resource, sys, threading, time
from pathlib import Path
from landscape_cli.cli.app import run

def fill_up():
    while len(list(Path({folder!r}).glob("step*"))) < {files}:
        time.sleep(0.001)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))

if {files}:
    threading.Thread(target=fill_up, daemon=True).start()
else:
    fill_up()
sys.exit(run({words!r}))
"""
RUN = [*TRAIN, "--epochs", "150", "--checkpoints", "every:1ep"]


def trained_on_a_full_disk(folder: Path, words: list[str], *, limit: int, files: int = 0) -> tuple[int, str]:
    code = LIMITED.format(folder=str(folder / "run" / "checkpoints"), files=files, limit=limit, words=words)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def contents(run: Path) -> dict[str, bytes]:
    files = [*run.glob("checkpoints/*"), *run.glob("resume/*"), run / "metrics.jsonl"]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("limit", "files", "what"),
    [
        (2_500, 3, "step-"),  # between two checkpoints the disk fills up: the next one does not fit
        (20_000, 0, "metrics.jsonl"),  # which grows with every recorded step
        (1_000, 0, "run.json"),  # nothing fits
    ],
)
def test_it_is_told_in_one_line_and_the_same_command_goes_on(
    cli: Cli, tmp_path: Path, limit: int, files: int, what: str
) -> None:
    status, told = trained_on_a_full_disk(tmp_path, [*RUN, "--out", "run"], limit=limit, files=files)
    assert status == 1
    problem, hint = told.splitlines()
    assert problem.startswith("error: run/")
    assert what in problem
    assert "could not be written" in problem
    assert "File too large" in problem
    assert hint == "  hint: free some space and give the same command again: finished work is kept"
    assert not list((tmp_path / "run").glob("**/.partial-*"))
    before = len(list(tmp_path.glob("run/checkpoints/step*")))
    assert before >= files
    assert before < 151
    assert cli(*RUN, "--out", tmp_path / "run").records[0]["status"] == "finished"
    cli(*RUN, "--out", tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_many_runs_at_once(cli: Cli, tmp_path: Path, jobs: str) -> None:
    words = [*TRAIN, "--seeds", "0..1", "--jobs", jobs]
    status, told = trained_on_a_full_disk(tmp_path, [*words, "--out", "run"], limit=4_000)
    assert status == 3
    assert told.count("could not be written") == 2
    assert all(f"error: run-seed{n}/checkpoints/" in told for n in (0, 1))
    done = cli(*words, "--out", tmp_path / "run")
    assert [record["status"] for record in done.records] == ["finished"] * 2
    cli(*TRAIN, "--seed", 1, "--out", tmp_path / "whole")
    assert contents(tmp_path / "run-seed1") == contents(tmp_path / "whole")
    assert Run.open(tmp_path / "run-seed1").status == "finished"
