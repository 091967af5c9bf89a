import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_cli.cli import predict
from landscape_cli.store.predictions import Predictions
from tests.conftest import REPOSITORY, SAMPLES, Cli

NAMES = ("early-a", "early-b", "late-a", "late-b")
FEW = ["--samples", "50", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_runs_become_one_file(cli: Cli) -> None:
    done = cli("predict", *(SAMPLES / name for name in NAMES), *FEW)
    (record,) = done.records
    assert done.status == 0
    assert (record["kind"], record["path"], record["split"]) == ("predictions", "predictions-test.h5", "test")
    assert (record["models"], record["samples"], record["classes"], record["added"]) == (4, 50, 10, 4)
    assert record["bytes"] == Path("predictions-test.h5").stat().st_size
    assert done.err == ""
    again = cli("predict", *(SAMPLES / name for name in NAMES), *FEW)
    assert again.records[0] | {"added": 0, "skipped": 4} == again.records[0]
    assert again.err == "predictions-test.h5 holds all 4 models already\n"
    assert cli("predict", SAMPLES / "early-a", *FEW, "-q").out == "predictions-test.h5\n"
    table = cli("predict", SAMPLES / "early-a", *FEW, "--format", "table").out
    assert "there before" in table
    assert "{" not in table


def test_all_times_of_a_run_and_both_splits(cli: Cli) -> None:
    done = cli("predict", SAMPLES / "parent", "--at", "all", "--split", "both", "-o", "p.h5", *FEW)
    assert [(r["path"], r["split"], r["models"]) for r in done.records] == [
        ("p-train.h5", "train", 3),
        ("p-test.h5", "test", 3),
    ]
    assert Predictions.open(Path("p-train.h5")).table.column("epoch").tolist() == [0.0, 8.0, 15.0]
    some = cli("predict", SAMPLES / "parent", "--at", "8ep,last", "-o", "p-test.h5", *FEW)
    assert some.records[0] | {"added": 0, "skipped": 2} == some.records[0]


def test_checkpoints_come_through_a_pipe(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{SAMPLES / 'parent'}@8ep", json.dumps({"kind": "run", "path": str(SAMPLES / "early-a"), "tag": "x"})]
    for arguments in (["-"], []):
        monkeypatch.setattr(sys, "stdin", iter_with_isatty(lines, terminal=False))
        assert cli("predict", *arguments, *FEW).records[0]["models"] == 2
    assert Predictions.open(Path("predictions-test.h5")).table.column("tag").tolist() == ["", "x"]
    monkeypatch.setattr(sys, "stdin", iter_with_isatty([], terminal=True))
    assert "no checkpoint is given" in cli("predict", *FEW).err
    monkeypatch.setattr(sys, "stdin", iter_with_isatty(['{"kind": "barrier", "path": "x"}'], terminal=False))
    assert "a record of kind 'barrier'" in cli("predict", *FEW).err


class iter_with_isatty:  # noqa: N801 - stands for stdin
    def __init__(self, lines: list[str], *, terminal: bool) -> None:
        self.lines, self.terminal = lines, terminal

    def __iter__(self):
        return iter(self.lines)

    def isatty(self) -> bool:
        return self.terminal


def test_types_compression_and_force(cli: Cli) -> None:
    (record,) = cli("predict", SAMPLES / "early-a", *FEW, "--dtype", "float16").records
    assert set(record["float16_error"]) == {"log_prob", "probability", "clipped"}
    refused = cli("predict", SAMPLES / "early-a", *FEW)
    assert refused.status == 1
    assert "dtype is 'float16' there, 'float32' was asked for" in refused.err
    assert "--force" in refused.err
    assert cli("predict", SAMPLES / "early-a", *FEW, "--force", "--compression", "gzip").status == 0
    with h5py.File("predictions-test.h5") as file:
        assert (file["log_probs"].dtype, file["log_probs"].compression) == (np.float32, "gzip")
    more = cli("predict", SAMPLES / "early-b", *FEW)  # keeps the compression that the file has
    assert more.records[0]["models"] == 2
    with h5py.File("predictions-test.h5") as file:
        assert file["log_probs"].compression == "gzip"


def test_failed_models_are_named_and_the_others_done(cli: Cli, siblings: list[Path]) -> None:
    (file,) = (siblings[0] / "checkpoints").glob("*")
    file.write_bytes(file.read_bytes()[:-9])
    done = cli("predict", *siblings, *FEW)
    assert done.status == 3
    assert done.records[0]["models"] == 1
    assert "is damaged" in done.err
    assert "1 of 2 models failed" in done.err
    assert cli("predict", siblings[0], *FEW, "-o", "x.h5").status == 1  # one of one is no batch
    assert not Path("x.h5").exists()


def test_a_dry_run_writes_nothing(cli: Cli) -> None:
    (plan,) = cli("predict", *(SAMPLES / name for name in NAMES), "--dry-run").records
    assert (plan["kind"], plan["models"], plan["bytes"]) == ("plan", 4, 4 * 355 * 10 * 4)
    np.savez("t.npz", probs=np.full((3, 8, 4), 0.25), labels=np.arange(8) % 4)
    (plan,) = cli("predict", "--from", "t.npz", "--dry-run").records
    assert (plan["kind"], plan["models"], plan["samples"]) == ("plan", 3, 8)
    assert sorted(p.name for p in Path().iterdir()) == ["t.npz"]


def test_predictions_made_elsewhere(cli: Cli) -> None:
    np.savez("t.npz", probs=np.full((3, 8, 4), 0.25), labels=np.arange(8) % 4)
    Path("m.csv").write_text("name,opt\na,sgd\nb,adam\nc,sgd\n")
    done = cli("predict", "--from", "t.npz", "--metadata", "m.csv", "--split", "train", "--dtype", "float64")
    (record,) = done.records
    assert (record["path"], record["models"], record["dtype"]) == ("predictions-train.h5", 3, "float64")
    assert done.err == "t.npz: its numbers are probabilities\n"
    assert Predictions.open(Path("predictions-train.h5")).where("opt == 'sgd'").table.column("name").tolist() == [
        "a",
        "c",
    ]
    np.save("bad.npy", np.full((8, 4), 0.2))
    refused = cli("predict", "--from", "bad.npy", "--labels", "y.npy")
    assert refused.status == 1
    assert "y.npy does not exist" in refused.err
    np.save("y.npy", np.arange(8) % 4)
    refused = cli("predict", "--from", "bad.npy", "--labels", "y.npy")
    assert "do not sum to one" in refused.err
    assert "--values probabilities, logits" in refused.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--samples", "5", "--sample-ids", "x"], 2, "both choose samples"),
        (["--sample-ids", "x", "--split", "both"], 2, "positions in one split"),
        (["--sample-ids", "x"], 1, "x does not exist"),
        (["--samples", "9999"], 1, "a subset of 9999 samples was asked for, but there are 355"),
        (["--metadata", "x.csv"], 1, "x.csv does not exist"),
        (["--from", "x.npz"], 2, "--from takes predictions as they are"),
        (["--values", "logits"], 2, "go with --from"),
        (["--dtype", "float8"], 2, "Invalid value for '--dtype'"),
        (["--at", "3ep"], 1, "has no checkpoint at 3ep"),
        (["--device", "cuda:7"], 1, "--device cuda:7"),
        (["--out", "notes.txt"], 1, "notes.txt is no HDF5 file"),
        (["--out", "theirs.h5"], 1, "theirs.h5 is no file of predictions"),
        (["--out", "notes.txt/p.h5"], 1, "could not be written"),
        (["nowhere"], 1, "nowhere does not exist"),
    ],
)
def test_errors_say_the_way_on(cli: Cli, arguments: list[str], status: int, message: str) -> None:
    Path("notes.txt").write_text("mine")
    with h5py.File("theirs.h5", "w") as file:
        file["x"] = 1
    done = cli("predict", SAMPLES / "parent", *arguments)
    assert (done.status, done.out) == (status, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert Path("notes.txt").read_text() == "mine"
    assert sorted(p.name for p in Path().iterdir()) == ["notes.txt", "theirs.h5"]


def test_info_tells_what_a_file_of_results_is(cli: Cli) -> None:
    cli("predict", *(SAMPLES / name for name in NAMES), *FEW, "--dtype", "float16")
    (record,) = cli("info", "predictions-test.h5").records
    assert (record["kind"], record["models"], record["samples"], record["classes"]) == ("predictions", 4, 50, 10)
    assert (record["split"], record["data"], record["dtype"], record["compression"]) == (
        "test",
        "digits",
        "float16",
        "none",
    )
    assert record["arrays"]["log_probs"] == [4, 50, 10]
    assert {"name", "loss", "optimizer", "seed"} <= set(record["models_columns"])
    assert "unfinished" not in record or record["unfinished"] is None
    assert "float16 error" in cli("info", "predictions-test.h5", "--format", "table").out
    with h5py.File("other.h5", "w") as file:
        file.attrs.update({"kind": "distances", "description": json.dumps({"samples": 9}), "long": "x" * 9999})
        file["d"] = np.zeros((3, 3))
    with h5py.File("theirs.h5", "w") as file:
        file.attrs["note"] = np.arange(3)
    records = cli("info", "other.h5", "theirs.h5").records
    assert [(r["kind"], r["arrays"]) for r in records] == [("distances", {"d": [3, 3]}), ("hdf5", {})]
    assert records[0]["samples"] == 9
    assert "long" not in records[0]
    assert records[1]["note"] == [0, 1, 2]
    Path("no.h5").write_text("x")
    assert "no.h5 is no HDF5 file" in cli("info", "no.h5").err


def test_output_names() -> None:
    assert predict.output_files(None, ("test",)) == {"test": Path("predictions-test.h5")}
    assert predict.output_files(Path("a/b.h5"), ("train",)) == {"train": Path("a/b.h5")}
    assert predict.output_files(Path("a/b.h5"), ("train", "test")) == {
        "train": Path("a/b-train.h5"),
        "test": Path("a/b-test.h5"),
    }


def test_killed_in_the_middle_the_same_command_finishes(cli: Cli, tmp_path: Path) -> None:
    """A real SIGKILL of a real command; what it leaves is whole, and the end has the bits of an undisturbed one."""
    slow = (
        "import time\n"
        "from landscape_cli.jobs import predicting\n"
        "from landscape_cli.store import prediction_writer\n"
        "prediction_writer.COMMIT_SECONDS = 0\n"
        "real = predicting.log_probabilities\n"
        "def slowly(*a, **k):\n"
        "    yield from real(*a, **k)\n"
        "    time.sleep(0.3)\n"
        "predicting.log_probabilities = slowly\n"
        "import sys\n"
        "from landscape_cli.cli.app import run\n"
        "run(sys.argv[1:])\n"
    )
    command = ["predict", *(str(SAMPLES / name) for name in NAMES), *FEW, "--threads", "1", "-o", "p.h5"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", slow, *command], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (Path("p.h5").exists() and finished(Path("p.h5")) >= 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = len(Predictions.open(Path("p.h5")))
    assert 2 <= there < 4
    (record,) = cli(*command).records
    assert record | {"models": 4, "added": 4 - there, "skipped": there} == record
    cli(*command[:-1], "whole.h5")
    assert Path("p.h5").read_bytes() == Path("whole.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.h5", "whole.h5"]


def finished(path: Path) -> int:
    with h5py.File(path, "r", locking=False) as file:
        return int(file["finished"][()].sum())
