"""Several runs of one command, of which some cannot be made, or come to nothing: named, and the others go on."""

from pathlib import Path

import pytest

from landscape_cli.store.runs import Run
from tests.conftest import TRAIN, Cli

SWEEP = """
name = "{network}-w{width}"
[fixed]
data = "digits"
network = "mlp"
train-size = 256
batch-size = 64
epochs = 2
width = 0.1
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "grid.toml"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_child_that_diverges_stops_and_the_others_go_on(cli: Cli, tmp_path: Path, jobs: int) -> None:
    """The second parent's learning rate becomes 1e29 at its second epoch: its children's too, and only theirs."""
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    cli(*TRAIN, "--checkpoints", "every:1ep", "--out", calm)
    growing = ("--schedule", "step", "--milestones", "1", "--factor", "1e30")
    assert cli(*TRAIN, *growing, "--checkpoints", "every:1ep", "--out", wild).status == 1
    parents = (wild, calm)
    done = cli("spawn", *parents, "--at", "1ep", "--children", 2, "--jobs", jobs, "--threads", 1, "--device", "cpu")
    assert done.status == 3
    assert [(Path(r["parent"]).name, r["status"]) for r in done.records] == [("calm", "finished")] * 2
    told = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 3
    assert all(f"wild-at-1ep-child{n}: the loss became" in told[n] for n in (0, 1))
    assert told[2] == "error: 2 of 4 children failed (named above); the others are done"
    run = Run.open(tmp_path / "wild-at-1ep-child0")
    assert run.status == "diverged"
    assert run.document["environment"]["together"]["runs"] == 4


def test_some_widths_of_a_sweep_leave_a_layer_empty(cli: Cli, file: Path) -> None:
    file.write_text(SWEEP.replace("width = 0.1\n", "[grid]\nwidth = [0.1, 1e-4]\n"))
    done = cli("sweep", file, "--device", "cpu", "--jobs", 1)
    assert done.status == 3
    assert [record["path"] for record in done.records] == ["runs/grid/mlp-w0.1"]
    assert "mlp-w0.0001: width 0.0001 leaves a layer of 512 channels empty" in done.err
    plan = cli("sweep", file, "--device", "cpu", "--jobs", 1, "--dry-run")
    assert (plan.status, [("problem" in record) for record in plan.records]) == (3, [False, True])


def test_a_preset_on_data_of_other_classes_in_some_runs_of_a_sweep(cli: Cli, file: Path) -> None:
    file.write_text(
        'name = "{preset}"\n[fixed]\ndata = "digits"\ntrain-size = 256\nnetwork = "mlp"\nwidth = 0.1\n'
        'batch-size = 64\nepochs = 1\nschedule = "constant"\naugment = "none"\ncheckpoints = "last"\n'
        '[grid]\npreset = ["fort2020-resnet20-cifar10", "fort2020-resnet20-cifar100"]\n'
    )
    done = cli("sweep", file, "--device", "cpu", "--jobs", 1)
    assert done.status == 3
    assert [(Path(r["path"]).name, r["network"]) for r in done.records] == [("fort2020-resnet20-cifar10", "mlp")]
    assert "fort2020-resnet20-cifar100: the preset is for 100 classes, but digits has 10" in done.err


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (SWEEP + "learning_rate = 0.1\n", [], "a run has no setting 'learning_rate'"),
        (SWEEP + "[grid]\nwidht = [0.1, 0.2]\n", [], "a run has no setting 'widht'"),
        (SWEEP, ["--set", "widht=0.2"], "a run has no setting 'widht'"),
        (SWEEP + '[grid]\nlr = [0.1, 0.2]\n', [], "two runs would be called mlp-w0.1: lr is 0.1 and 0.2"),
        (SWEEP + "[[cases]]\nlr = 0.1\n[[cases]]\nlr = 0.1\n", [], "two runs are the same, mlp-w0.1"),
        (SWEEP, ["--shard", "1/2"], "a sweep of 1 runs has no 2 parts"),
        (SWEEP, ["--shard", "2/1"], "2/1"),
    ],
)  # fmt: skip
def test_words_of_a_sweep_that_mean_nothing_begin_nothing(
    cli: Cli, file: Path, text: str, words: list[str], message: str
) -> None:
    file.write_text(text)
    done = cli("sweep", file, *words, "--device", "cpu")
    assert (done.status, done.out) == (2, "")
    problem, *hint = done.err.splitlines()
    assert message in problem
    assert len(hint) <= 1
    assert not Path("runs").exists()


@pytest.mark.parametrize("seeds", [(), ("--seeds", "0..2")])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "fort2020-resnet20-cifar100"], "the preset is for 100 classes, but digits has 10"),
        (["--width", "1e-4"], "width 0.0001 leaves a layer of 512 channels empty"),
        (["--data", "npz:nowhere.npz"], "nowhere.npz does not exist"),
    ],
)
def test_what_is_wrong_with_one_seed_is_wrong_with_all(
    cli: Cli, tmp_path: Path, seeds: tuple[str, ...], words: list[str], message: str
) -> None:
    common = ("--data", "digits", "--network", "mlp", "--batch-size", 64, "--epochs", 1, "--device", "cpu")
    done = cli("train", *common, *words, *seeds, "--out", tmp_path / "run")
    assert done.out == ""
    assert "Traceback" not in done.err
    assert message in done.err.splitlines()[0]
    assert not list(tmp_path.glob("run*/run.json"))
    if seeds and "--width" in words:  # only building tells: each run says so
        assert (done.status, done.err.count(message)) == (3, 3)
    else:
        assert (done.status, done.err.count("error: ")) == (1, 1)
