"""``train --seeds``: one run a seed as one job; the runs are those of ``train --seed``, whatever their company."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landscape_cli.scale.executors import at_once, cores, threads_for
from landscape_cli.store.runs import Run
from tests.conftest import REPOSITORY, TRAIN, Cli

SHARED = TRAIN[: TRAIN.index("--threads")]

# Some seeds begin with weights so large that the loss is soon no number. What is drawn is the stream "init" of the seed.
NETS = """
import torch
from torch import nn


def build(input_shape, classes):
    wild = bool(torch.randint(2, ()))
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))
    with torch.no_grad():
        network[1].weight.mul_(1e25 if wild else 1)
    return network
"""


def contents(run: Path) -> dict[str, bytes]:
    files = [*run.glob("checkpoints/*"), *run.glob("resume/*"), run / "metrics.jsonl"]
    assert len(files) > 4
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def test_each_run_is_the_one_that_its_seed_makes_alone(cli: Cli, tmp_path: Path) -> None:
    done = cli(*TRAIN, "--seeds", "0..1,5", "--jobs", 2, "--out", tmp_path / "all")
    assert done.status == 0, done.err
    assert [record["path"] for record in done.records] == [str(tmp_path / f"all-seed{n}") for n in (0, 1, 5)]
    assert done.err == "3 runs: 3 finished\n"
    one = cli(*TRAIN, "--seeds", "0,1,5", "--jobs", 1, "--out", tmp_path / "{seed}" / "one")
    assert [record["path"] for record in one.records] == [str(tmp_path / str(n) / "one") for n in (0, 1, 5)]
    for seed in (0, 1, 5):
        cli(*TRAIN, "--seed", seed, "--out", tmp_path / f"alone{seed}")
        alone = contents(tmp_path / f"alone{seed}")
        assert contents(tmp_path / f"all-seed{seed}") == alone
        assert contents(tmp_path / str(seed) / "one") == alone
        together, config = (
            Run.open(tmp_path / f"all-seed{seed}"),
            Run.open(tmp_path / f"alone{seed}").document["config"],
        )
        assert together.document["config"] == config
        assert together.document["environment"]["together"] == {"runs": 3, "at_once": 2, "way": "processes"}
    assert len({Run.open(tmp_path / f"alone{n}").checkpoints()[-1].hash() for n in (0, 1, 5)}) == 3
    beside = Run.open(tmp_path / "5" / "one").document["environment"]["together"]
    assert beside == {"runs": 3, "at_once": 1, "way": "one after another"}
    assert Run.open(tmp_path / "alone5").document["environment"]["together"] is None


def test_finished_ones_are_skipped_and_more_may_come(cli: Cli, tmp_path: Path) -> None:
    cli(*TRAIN, "--seed", 1, "--out", tmp_path / "run-seed1")
    done = cli(*TRAIN, "--seeds", "0..2", "--jobs", 1, "--out", tmp_path / "run")
    assert [record["skipped"] for record in done.records] == [False, True, False]
    assert done.err == "3 runs: 2 finished, 1 finished before\n"
    plan = cli(*TRAIN, "--seeds", "0..3", "--jobs", 1, "--out", tmp_path / "run", "--dry-run")
    assert [(r["status"], r["bytes"] > 0) for r in plan.records] == [("finished", False)] * 3 + [("missing", True)]
    assert not (tmp_path / "run-seed3").exists()
    quiet = cli(*TRAIN, "--seeds", "2..3", "--jobs", 1, "--out", tmp_path / "run", "-q")
    assert quiet.out.split() == [str(tmp_path / f"run-seed{n}") for n in (2, 3)]


def test_a_stream_with_a_seed_of_its_own_keeps_it(cli: Cli, tmp_path: Path) -> None:
    cli(*TRAIN, "--seeds", "0..1", "--init-seed", 7, "--jobs", 1, "--out", tmp_path / "run")
    runs = [Run.open(tmp_path / f"run-seed{n}") for n in (0, 1)]
    assert [run.document["config"]["seeds"]["init"] for run in runs] == [7, 7]
    assert [run.document["config"]["seeds"]["order"] for run in runs] == [0, 1]
    first, last = ({run.checkpoints()[k].hash() for run in runs} for k in (0, -1))
    assert (len(first), len(last)) == (1, 2)


def test_the_cores_are_shared_out(cli: Cli, tmp_path: Path) -> None:
    """So that a run's bits do not depend on how many of its company are left to do."""
    cli(*SHARED, "--seeds", "0..1", "--out", tmp_path / "run")
    expected = threads_for(at_once(2, None, "cpu"))
    assert Run.open(tmp_path / "run-seed0").threads == (expected or cores())
    Run.open(tmp_path / "run-seed1").update(status="running")
    (tmp_path / "run-seed1" / "run.json").unlink()
    for file in (tmp_path / "run-seed1").glob("*/*"):
        file.unlink()
    (tmp_path / "run-seed1" / "metrics.jsonl").unlink()
    assert cli(*SHARED, "--seeds", "0..1", "--out", tmp_path / "run").status == 0
    assert Run.open(tmp_path / "run-seed1").threads == Run.open(tmp_path / "run-seed0").threads


def test_one_that_fails_is_named_and_the_others_go_on(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run-seed1").mkdir()
    (tmp_path / "run-seed1" / "notes.txt").write_text("mine")
    for jobs in (1, 2):
        done = cli(*TRAIN, "--seeds", "0..2", "--jobs", jobs, "--out", tmp_path / "run")
        assert done.status == 3
        assert [Path(record["path"]).name for record in done.records] == ["run-seed0", "run-seed2"]
        assert "run-seed1 exists and is no run directory" in done.err
        assert "1 of 3 runs failed (named above); the others are done" in done.err


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_that_diverges_is_kept_and_counted(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)
    common = ("train", "--data", "digits", "--network", "nets.py:build", "--epochs", 2, "--device", "cpu", "--out", "r")
    done = cli(*common, "--threads", 1, "--seeds", "0..3", "--jobs", jobs)
    assert done.status == 0, done.err
    states = {Path(record["path"]).name: record["status"] for record in done.records}
    assert list(states) == [f"r-seed{n}" for n in range(4)]
    wild = [name for name, status in states.items() if status == "diverged"]
    assert 0 < len(wild) < 4
    assert all(f"{name} diverged: it is kept" in done.err for name in wild)
    assert f"4 runs: {4 - len(wild)} finished, {len(wild)} diverged\n" in done.err
    again = cli(*common, "--threads", 1, "--seeds", "0..3", "--jobs", jobs)
    assert [record["skipped"] for record in again.records] == [True] * 4
    alone = cli(*common[:-1], wild[0], "--threads", 1, "--seed", wild[0][-1])
    assert (alone.status, "diverged at step" in alone.err) == (1, True)


def test_ctrl_c_and_the_same_command_end_with_the_same_bits(cli: Cli, tmp_path: Path) -> None:
    words = [*TRAIN, "--epochs", "400", "--checkpoints", "every:40ep", "--seeds", "0..1", "--jobs", "2"]
    command = [sys.executable, "-m", "landscape_cli", *words, "--out", "run"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    runs = [tmp_path / f"run-seed{n}" for n in (0, 1)]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if all(len(list(run.glob("checkpoints/step*"))) > 1 for run in runs):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "the same command continues" in told
    assert "interrupted" in {Run.open(run).status for run in runs}
    done = cli(*words, "--out", tmp_path / "run")
    assert [record["status"] for record in done.records] == ["finished"] * 2
    cli(*words, "--out", tmp_path / "whole")
    for seed in (0, 1):
        assert contents(tmp_path / f"run-seed{seed}") == contents(tmp_path / f"whole-seed{seed}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0..2", "--seed", "1"], "--seed and --seeds are two answers"),
        (["--seeds", "2..0"], "runs backwards"),
        (["--seeds", "1,1"], "seed has 1 twice"),
        (["--seeds", "0..3,2"], "seed has 2 twice"),
        (["--seeds", "a"], "seed is a whole number, not 'a'"),
        (["--seeds", "-1"], "seed is a whole number, not '-1'"),
        (["--seeds", ""], "seed is a whole number, not ''"),
        (["--seeds", "0..1", "--batch-size", "999"], "larger than the training set"),
        (["--seeds", "0..1", "-N", "depth=3"], "has no option 'depth'"),
        (
            ["--seeds", "0..1", "--init-seed", "1", "--order-seed", "1", "--augment-seed", "1", "--dropout-seed", "1"],
            "--seeds has no stream left",
        ),
    ],
)
def test_words_that_mean_nothing_begin_nothing(cli: Cli, tmp_path: Path, words: list[str], message: str) -> None:
    done = cli(*TRAIN, *words, "--out", tmp_path / "run")
    assert (done.status, done.out) == (2, "")
    assert message in done.err.splitlines()[0]
    assert len(done.err.splitlines()) <= 2
    assert not list(tmp_path.iterdir())


def test_a_seed_of_the_environment_is_no_conflict(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_SEED", "9")
    done = cli(*TRAIN, "--seeds", "3", "--out", tmp_path / "run")
    assert [record["path"] for record in done.records] == [str(tmp_path / "run-seed3")]
    assert Run.open(tmp_path / "run-seed3").document["config"]["seeds"]["order"] == 3
