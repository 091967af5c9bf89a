"""Sweeps from the shell: made, skipped, continued, split, refused; and their status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landscape_cli.jobs.sweep_status import look
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.runs import Run
from tests.conftest import REPOSITORY, Cli

SWEEP = """
name = "{network}-lr{lr}-s{seed}"
[fixed]
network = "mlp"
network-option = { widths = [16] }
data = "digits"
train-size = 256
batch-size = 64
epochs = 2
[grid]
lr = [0.05, 0.1]
seed = "0..1"
"""
ONE = ("--device", "cpu", "--jobs", "1")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "grid.toml"
    path.write_text(SWEEP)
    return path


def test_a_sweep_makes_its_runs_and_leaves_finished_ones_alone(cli: Cli, file: Path) -> None:
    plan = cli("sweep", file, "--dry-run", *ONE)
    assert [record["status"] for record in plan.records] == ["missing"] * 4
    assert all(r["bytes"] > 0 and r["operations"] > 0 and r["seconds"] > 0 for r in plan.records)
    assert "4 runs: 0 done, 0 that cannot be made" in plan.err
    assert not Path("runs").exists()
    done = cli("sweep", file, *ONE)
    names = ["mlp-lr0.05-s0", "mlp-lr0.05-s1", "mlp-lr0.1-s0", "mlp-lr0.1-s1"]
    assert [record["path"] for record in done.records] == [f"runs/grid/{name}" for name in names]
    assert {record["status"] for record in done.records} == {"finished"}
    assert done.err == "4 runs: 4 finished\n"
    again = cli("sweep", file, *ONE)
    assert [record["skipped"] for record in again.records] == [True] * 4
    assert again.err == "4 runs: 4 finished before\n"
    more = cli("sweep", file, "--set", "seed=0..2", *ONE)
    assert [record["skipped"] for record in more.records] == [True, True, False] * 2
    assert cli("sweep", file, "-q", *ONE).out.split() == [f"runs/grid/{name}" for name in names]


def test_several_processes_and_shards_make_the_same_runs(cli: Cli, file: Path) -> None:
    cli("sweep", file, *ONE)
    both = cli("sweep", file, "--out", "two", "--device", "cpu", "--jobs", "2")
    assert both.status == 0
    parts = [cli("sweep", file, "--out", "parts", "--shard", f"{i}/3", *ONE).records for i in (1, 2, 3)]
    assert [len(part) for part in parts] == [2, 1, 1]
    for record in both.records:
        name = Path(record["path"]).name
        hashes = {Run.open(Path(folder) / name).checkpoints()[-1].hash() for folder in ("runs/grid", "two", "parts")}
        assert len(hashes) == 1
    few = cli("sweep", file, "--shard", "1/5")
    assert few.status == 2
    assert "a sweep of 4 runs has no 5 parts" in few.err


def test_failures_are_named_and_the_rest_is_finished(cli: Cli, file: Path) -> None:
    foreign = Path("runs/grid/mlp-lr0.05-s0")
    foreign.mkdir(parents=True)
    (foreign / "notes.txt").write_text("mine")
    done = cli("sweep", file, *ONE)
    assert done.status == 3
    assert [record["status"] for record in done.records] == ["finished"] * 3
    assert "runs/grid/mlp-lr0.05-s0 exists and is no run directory" in done.err
    assert "4 runs: 3 finished, 1 failed" in done.err
    assert "1 of 4 runs failed (named above); the others are done" in done.err


def test_data_that_is_missing_for_some_of_the_runs(cli: Cli, file: Path) -> None:
    text = SWEEP.replace('data = "digits"\n', "").replace("train-size = 256\n", "")
    file.write_text(text + 'data = ["digits", "npz:nowhere.npz"]\n')
    done = cli("sweep", file, "--set", "seed=0", "--set", "lr=0.1", *ONE)
    assert done.status == 2  # the names are the same: nothing was begun
    file.write_text(text.replace("{network}", "{data}") + 'data = ["digits", "npz:nowhere.npz"]\n')
    done = cli("sweep", file, "--set", "seed=0", *ONE)
    assert done.status == 3
    assert len(done.records) == 2
    assert done.err.count("nowhere.npz") == 4
    plan = cli("sweep", file, "--set", "seed=0", "--dry-run", *ONE)
    assert plan.status == 3
    assert [record["path"] for record in plan.records if "problem" in record] == [
        "runs/grid/npz-nowhere.npz-lr0.05-s0",
        "runs/grid/npz-nowhere.npz-lr0.1-s0",
    ]
    assert "npz-nowhere.npz-lr0.05-s0 and 1 more runs: " in plan.err
    assert "2 of 4 runs cannot be made" in plan.err


def test_runs_that_diverge_are_kept_and_counted(cli: Cli, file: Path) -> None:
    file.write_text(SWEEP.replace("[0.05, 0.1]", "[0.1, 1e30]"))
    done = cli("sweep", file, "--set", "seed=0", *ONE)
    assert done.status == 0
    assert [record["status"] for record in done.records] == ["finished", "diverged"]
    assert "runs/grid/mlp-lr1e+30-s0 diverged: it is kept" in done.err
    assert "2 runs: 1 finished, 1 diverged" in done.err
    assert [r["status"] for r in cli("sweep", file, "--set", "seed=0", "--no-diverged", *ONE).records] == ["finished"]
    (whole,) = cli("status", "runs/grid", "--summary").records
    assert (whole["finished"], whole["diverged"], whole["missing"], whole["seconds_left"]) == (1, 1, 0, 0)


def test_a_sweep_that_changed_after_runs_were_made(cli: Cli, file: Path) -> None:
    assert cli("sweep", file, *ONE).status == 0
    file.write_text(SWEEP.replace("epochs = 2", "epochs = 3"))
    plan = cli("sweep", file, "--dry-run", *ONE)
    assert plan.status == 3
    assert "and 3 more runs: its directory holds a run made otherwise" in plan.err
    done = cli("sweep", file, "--shard", "1/2", *ONE)
    assert done.status == 3
    assert "runs/grid/mlp-lr0.05-s0 holds a run made otherwise: end is 8 there, 12 was asked for" in done.err
    assert cli("sweep", file, "--shard", "1/4", "--force", *ONE).status == 0
    assert Run.open(Path("runs/grid/mlp-lr0.05-s0")).document["config"]["end"] == 12


def test_status_of_a_folder_and_of_a_sweep_file(cli: Cli, file: Path) -> None:
    cli("sweep", file, "--shard", "1/2", *ONE)
    for place in (file, "runs/grid"):
        done = cli("status", place)
        assert [record["status"] for record in done.records] == ["finished", "missing", "finished", "missing"]
        assert "4 runs: 2 finished, 2 missing" in done.err
        assert all(record["seconds_left"] > 0 for record in done.records if record["status"] == "missing")
    assert cli("status", "runs/grid", "--only", "missing", "-q").out.split() == [
        "runs/grid/mlp-lr0.05-s1",
        "runs/grid/mlp-lr0.1-s1",
    ]
    table = cli("status", file, "--format", "table")
    assert "missing" in table.out
    assert "{" not in table.out
    (whole,) = cli("status", file, "-s").records
    assert (whole["kind"], whole["runs"], whole["finished"], whole["missing"]) == ("status", 4, 2, 2)
    assert whole["progress"] == 0.5
    assert cli("status", "runs/grid", "--only", "done").status == 2
    assert cli("status", "nowhere").status == 1
    assert cli("status", "runs/grid", "--set", "seed=0").status == 2


def test_a_sweep_is_piped_into_predict(file: Path, tmp_path: Path) -> None:
    script = (
        f'landscape() {{ {sys.executable} -m landscape_cli "$@"; }}; set -o pipefail; '
        "landscape sweep grid.toml --set seed=0 --device cpu --jobs 1 | landscape predict - --device cpu -o test.h5"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"] == 2


def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on(file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "landscape_cli", "sweep", str(file), "--device", "cpu", "--jobs", "2"]
    command += ["--set", "epochs=100000", "--set", "checkpoints=every:200ep", "--set", "lr=0.1"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    runs = [tmp_path / "runs" / "grid" / f"mlp-lr0.1-s{seed}" for seed in (0, 1)]

    def interrupted() -> list[int]:
        """Start, wait until both runs have recorded something more, press Ctrl-C; the steps they have reached."""
        before = [len(list(run.glob("checkpoints/step*"))) for run in runs]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if all(len(list(r.glob("checkpoints/step*"))) > n for r, n in zip(runs, before, strict=True)):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
        assert "the same command continues" in told
        found = [look(run) for run in runs]
        assert [item.status for item in found] == ["interrupted"] * 2
        return [item.step for item in found]

    first, second = interrupted(), interrupted()
    assert all(later > earlier for earlier, later in zip(first, second, strict=True))
    assert [len(read_metrics(run)) == len(Run.open(run).steps()) for run in runs] == [True, True]


ERRORS = [
    ("[grid]\nlearning-rate = [1]\n", 2, "has no setting 'learning-rate'"),
    ("[grid\n", 2, "is no TOML file: Expected ']' at the end of a table declaration (at line 1, column 6)"),
    ('[fixed]\nnetwork = "mlp"\n', 2, "data is missing"),
    ('[fixed]\nnetwork = "mlpp"\ndata = "digits"\n', 2, "there is no network 'mlpp' (1 of 1 runs)"),
    ('[fixed]\nnetwork = "mlp"\ndata = "digit"\n', 2, "there is no data set 'digit'"),
    ('[fixed]\nnetwork = "mlp"\ndata = "digits"\nlr = -1.0\n', 2, "a learning rate of -1.0 does not train"),
    ('[fixed]\npreset = "fort2020-resnet20-cifar100"\ndata = "digits"\n', 1, "the preset is for 100 classes"),
    ('[fixed]\nnetwork = "mlp"\ndata = "digits"\n[[exclude]]\nseed = 0\n', 2, "is an empty sweep"),
]


@pytest.mark.parametrize(("text", "status", "message"), ERRORS)
def test_a_sweep_that_cannot_be(cli: Cli, file: Path, text: str, status: int, message: str) -> None:
    file.write_text(text)
    done = cli("sweep", file, "--device", "cpu")
    assert (done.status, done.out) == (status, "")
    assert message in done.err
    assert "Traceback" not in done.err
