"""curve from the shell: trained, continued, walked, predicted."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from landscape_cli.cli.app import run
from landscape_cli.jobs.curve_runs import open_curve
from landscape_cli.store.checkpoints import read_tensors
from landscape_cli.store.locate import locate
from tests.conftest import SAMPLES, Cli

A, B = SAMPLES / "early-a", SAMPLES / "early-b"
FAST = ["--epochs", "2", "--points", "3", "--samples", "100", "--networks", "3", "--eval-train", "50", "--threads", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("curves") / "curve"
    assert run(["curve", str(A), str(B), "--out", str(out), *FAST, "-q"]) == 0
    return out


def tensors(run: Path) -> dict[str, torch.Tensor]:
    (file,) = (run / "points").glob("t-0.5*")
    return read_tensors([file])


def test_a_curve_is_lower_than_the_line(cli: Cli, made: Path) -> None:
    train, test = cli("curve", A, B, "--out", made, *FAST).records
    assert (train["kind"], train["split"], test["split"]) == ("curve", "train", "test")
    assert test["skipped"]
    assert (test["a"], test["b"]) == (str(A), str(B))
    assert (test["form"], test["bends"], test["points"]) == ("bezier", 1, 9)
    assert 0 < test["loss_sup"] < 0.7 * test["line_loss_sup"]
    assert test["length"] > 1
    (line,) = cli("barrier", A, B, "--points", "3", "--samples", "100", "--split", "test").records
    assert test["line_loss_sup"] == line["loss_sup"]


def test_its_ends_are_the_two_networks_and_the_rest_lies_between(made: Path) -> None:
    curve = open_curve(made)
    for t, end in ((1, A), (0, B)):
        point, own = locate(f"{made}@t={t}").tensors(), locate(str(end)).tensors()
        assert all(torch.equal(point[name], own[name]) for name in own)
    first, bend, second = curve.controls
    for name, middle in tensors(made).items():
        assert torch.allclose(middle, 0.25 * first[name] + 0.5 * bend[name] + 0.25 * second[name], atol=1e-6)
        assert not torch.equal(bend[name], torch.lerp(first[name], second[name], 0.5))


def test_points_are_networks_wherever_a_checkpoint_is_expected(cli: Cli, made: Path, tmp_path: Path) -> None:
    done = cli("predict", made, "--at", "all", "-o", tmp_path / "along.h5", "--split", "test")
    assert done.records[0]["models"] == 3
    names = [record["name"] for record in cli("progress", tmp_path / "along.h5").records]
    assert names == [f"{made}@t={t}" for t in ("0", "0.5", "1")]
    (one,) = cli("weight-dist", f"{made}@t=1", A).records
    assert one["distance"] == 0
    (walked,) = cli("barrier", "--along", made, "--points", "3", "--refine", "0", "--split", "test").records
    (function,) = cli("function-dist", f"{made}@t=0.5", f"{made}@t=1").records
    assert walked["along"] == str(made)
    middle = (walked["error_a"] + walked["error_b"]) / 2 + walked["error_mid"]
    assert function["error_a"] == pytest.approx(middle)


def test_the_same_again_is_found_and_other_settings_are_refused(cli: Cli, made: Path) -> None:
    refused = cli("curve", A, B, "--out", made, *FAST, "--lr", "0.01")
    assert (refused.status, "protocol.lr" in refused.err) == (1, True)
    assert cli("curve", A, SAMPLES / "late-a", "--out", made, *FAST).status == 1
    plan = cli("curve", A, B, "--out", made, *FAST, "--dry-run").records[0]
    assert plan["last_step"] == 44


def test_an_interrupted_curve_goes_on_to_the_same_bits(cli: Cli, made: Path, tmp_path: Path) -> None:
    from landscape_cli.jobs import training

    class Stop:
        requested = False

    stop, out = Stop(), tmp_path / "curve"
    original = training.watching

    class Watching:
        def __enter__(self) -> Stop:
            return stop

        def __exit__(self, *_: object) -> None:
            return None

    calls: list[int] = []

    def tick(done: int, of: int) -> None:
        calls.append(done)
        stop.requested = len(calls) >= 20

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "watching", Watching)
        patch.setattr("landscape_cli.cli.output.Output.bar", bar_of(tick))
        stopped = cli("curve", A, B, "--out", out, *FAST)
    assert stopped.status == 130, stopped.err
    assert training.watching is original
    unfinished = cli("barrier", "--along", out)
    assert (unfinished.status, "not finished" in unfinished.err) == (1, True)
    assert cli("curve", A, B, "--out", out, *FAST).status == 0
    one, two = tensors(out), tensors(made)
    assert {name: float((one[name] - two[name]).abs().max()) for name in two} == dict.fromkeys(two, 0.0)


def bar_of(tick):
    from contextlib import contextmanager

    @contextmanager
    def bar(self, total, what):
        yield tick

    return bar


def test_to_a_permuted_copy(cli: Cli, tmp_path: Path) -> None:
    done = cli("curve", A, "--symmetry", "--out", tmp_path / "copy", *FAST, "--form", "chain", "--bends", "2")
    _, test = done.records
    assert test["b"].endswith("permuted")
    assert test["error_a"] == test["error_b"]
    assert test["loss_a"] == pytest.approx(test["loss_b"], rel=1e-4)
    assert test["line_error_sup"] > 0.3
    (apart,) = cli("weight-dist", A, f"{tmp_path / 'copy'}@t=0").records
    assert apart["distance"] > 1
    assert apart["norm_a"] == pytest.approx(apart["norm_b"], rel=1e-6)


def test_words_that_do_not_fit(cli: Cli, made: Path, parent: Path, tmp_path: Path) -> None:
    for words, status, told in (
        (("curve", A, A, "--out", tmp_path / "x"), 2, "are the same network"),
        (("curve", A, "--out", tmp_path / "x"), 2, "a curve joins two"),
        (("curve", A, parent, "--out", tmp_path / "x"), 1, "different networks"),
        (("curve", A, B, "--out", tmp_path / "x", "--schedule", "step"), 2, "constant rate"),
        (("barrier", "--along", A), 1, "is a run, no curve"),
        (("barrier", "--along", made, "--span=-1,2"), 2, "ends at its two networks"),
        (("barrier", "--along", made, A, B), 2, "between its own ends"),
        (("barrier",), 2, "no checkpoints are given"),
        (("barrier", made, A), 2, "is a curve between networks"),
        (("barrier", f"{made}@t=0.3", A), 1, "has no network at t=0.3"),
        (("barrier", f"{A}@t=0.5", B), 2, "no time of a run"),
    ):
        done = cli(*words)
        assert (done.status, told in done.err) == (status, True), (words, done.err)
    assert not (tmp_path / "x").exists()


def test_batch_norm_along_a_curve_is_recomputed(cli: Cli, tmp_path: Path) -> None:
    runs = []
    for seed in ("0", "1"):
        runs.append(tmp_path / seed)
        assert cli(
            "train", "--data", "digits", "--network", "resnet20", "--width", "0.25", "--train-size", "200", "--epochs",
            "1", "--batch-size", "50", "--seed", seed, "--out", runs[-1], "--checkpoints", "last",
        ).status == 0  # fmt: skip
    done = cli("curve", *runs, "--out", tmp_path / "curve", "--epochs", "1", "--points", "3", "--networks", "3")
    assert done.status == 0, done.err
    test = done.records[1]
    (own,) = cli("function-dist", f"{tmp_path / 'curve'}@t=0.5", f"{tmp_path / 'curve'}@t=1").records
    middle = (test["error_a"] + test["error_b"]) / 2 + test["error_mid"]
    assert own["error_a"] == pytest.approx(middle)
    shutil.copytree(tmp_path / "curve", tmp_path / "moved")
    document = json.loads((tmp_path / "moved" / "run.json").read_text())
    assert document["config"]["network"]["curve"]["form"] == "bezier"
    assert cli("barrier", "--along", tmp_path / "moved", "--points", "3", "--split", "test").status == 0


def test_a_curve_without_its_last_point_is_not_finished(cli: Cli, made: Path, tmp_path: Path) -> None:
    part = Path(shutil.copytree(made, tmp_path / "part"))
    last = part / "points" / "t-1.000000.safetensors"
    last.unlink()  # as an interruption leaves it
    done = cli("barrier", "--along", part, "--points", "3")
    assert (done.status, "not finished" in done.err) == (1, True)
    assert cli("curve", A, B, "--out", part, *FAST).status == 0
    assert last.exists()


def test_linearised_networks_have_no_curve(cli: Cli, parent: Path, tmp_path: Path) -> None:
    made = cli("linearize", parent, "--at", "1ep", "--epochs", 1, "--repeats", 2, "--out", tmp_path / "lin")
    runs = [record["path"] for record in made.records if record["kind"] == "run"]
    done = cli("curve", *runs[:2], "--out", tmp_path / "x", *FAST)
    assert (done.status, "linearised" in done.err) == (1, True)
