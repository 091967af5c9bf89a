"""linearize: runs in the tangent space, ordinary runs beside them, and the closed form."""

import json
from pathlib import Path

import pytest
import torch
from torch.func import functional_call, jvp
from torch.nn.functional import cross_entropy

from landscape_cli.cli.app import run as run_command
from landscape_cli.jobs.subjects import build_network, chosen_data, chosen_network, load_data, normalization_for
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.runs import Run
from tests.conftest import Cli
from tests.jobs.test_training import stop_after

SHORT = ("--epochs", "3", "--threads", "1", "--device", "cpu", "--jobs", "1", "--no-progress")


def by_hand(parent: Path, step: int, *, lr: float, steps: int) -> dict[str, torch.Tensor]:
    """Momentum SGD with the whole training set on ``f0 + J (w − w̃)``, by torch.func in float64."""
    run = Run.open(parent)
    spec, data = chosen_network(run, None), load_data(chosen_data(run, None))
    network = build_network(spec, data).double().eval()
    base = {name: value.double() for name, value in run.checkpoint(step).tensors().items()}
    normalization = normalization_for(run, data)
    assert normalization is not None
    mean, std = (torch.tensor(side).double().view(-1, 1, 1) for side in (normalization.mean, normalization.std))
    raw = torch.from_numpy(data.train.inputs)
    inputs = (raw.double() / (1 if raw.is_floating_point() else 255) - mean) / std
    labels = torch.from_numpy(data.train.labels)
    moved = {name: torch.zeros_like(value) for name, value in base.items()}
    velocity = {name: torch.zeros_like(value) for name, value in base.items()}
    for _ in range(steps):
        d = {name: value.clone().requires_grad_() for name, value in moved.items()}
        f0, tangent = jvp(lambda w: functional_call(network, w, (inputs,)), (base,), (d,))
        slopes = torch.autograd.grad(cross_entropy(f0 + tangent, labels), list(d.values()))
        for name, slope in zip(d, slopes, strict=True):
            velocity[name] = 0.9 * velocity[name] + slope
            moved[name] = moved[name] - lr * velocity[name]
    return {name: base[name] + moved[name] for name in base}


def test_it_trains_the_linearisation_and_leaves_a_run_like_any_other(cli: Cli, parent: Path, tmp_path: Path) -> None:
    asked = ("linearize", parent, "--at", "1ep", "--lr", 0.05, "--batch-size", 256, *SHORT)
    done = cli(*asked)
    assert done.status == 0, done.err
    (record,) = done.records
    assert (record["spawn_step"], record["linearized"]) == (4, 1)
    child = Run.open(Path(record["path"]))
    assert child.path.name == "parent-at-1ep-order1-0"
    exact = by_hand(parent, 4, lr=0.05, steps=3)
    for name, value in child.checkpoint(child.steps()[-1]).tensors().items():
        assert torch.allclose(value.double(), exact[name], rtol=1e-5, atol=1e-6), name

    file = tmp_path / "p.h5"
    first = f"{child.path}@step:{child.steps()[0]}"
    assert cli("predict", first, f"{parent}@1ep", child.path, "-o", file, "--threads", 1).status == 0
    values = Predictions.open(file).read()
    assert (values[0] == values[1]).all()  # the linearisation at w̃ is the network, to the last bit
    assert (values[2] != values[0]).any()
    assert cli("info", child.path).records[0]["path"] == str(child.path)
    again = cli(*asked).records[0]
    assert again["skipped"] is True


def test_the_second_order_is_nearer_to_the_network_than_the_first(cli: Cli, parent: Path) -> None:
    common = ("linearize", parent, "--at", "1ep", "--lr", 0.02, *SHORT)
    first = cli(*common, "--low-lr").records[0]
    second = cli(*common, "--order", 2, "--low-lr", "--force").records[0]
    assert (first["order"], second["order"]) == (1, 2)
    far, near = (abs(one["train_loss"] - one["low_lr_train_loss"]) for one in (first, second))
    assert far > 3 * near > 0


def test_beside_the_ordinary_low_rate_with_repeats(cli: Cli, parent: Path) -> None:
    done = cli("linearize", parent, "--at", "0ep,last", "--low-lr", "--repeats", 2, "--lr", 1e-3, *SHORT)
    assert done.status == 0, done.err
    start, end = done.records
    assert (start["kind"], start["repeats"], len(start["linearized_runs"]), len(start["low_lr_runs"])) == (
        "linearization", 2, 2, 2,
    )  # fmt: skip
    assert start["advantage"] == pytest.approx(start["test_error"] - start["low_lr_test_error"])
    assert start["advantage_sd"] is not None
    assert "end_point" not in start
    assert end["end_point"] is True
    assert abs(end["test_error"] - end["parent_test_error"]) <= end["tolerance"]
    one, two = (Run.open(Path(path)) for path in start["linearized_runs"])
    last = one.steps()[-1]
    differ = [
        not torch.equal(a, b)
        for a, b in zip(one.checkpoint(last).tensors().values(), two.checkpoint(last).tensors().values(), strict=True)
    ]
    assert any(differ)  # each repeat has a data order of its own


def test_the_closed_form(cli: Cli, parent: Path) -> None:
    common = ("linearize", parent, "--at", "0ep,last", "--solve", "--samples", 20, "--threads", 1, "--no-progress")
    full, end = cli(*common).records
    assert (full["kind"], full["kernel"], full["samples"], full["rows"]) == ("kernel-regression", "full", 20, 200)
    assert (full["train_error"], full["kernel_train_error"]) == (0, 0)
    assert full["train_squared_loss"] < 1e-10
    assert end["test_error"] < full["test_error"] < 0.9
    trace = cli(*common, "--kernel", "trace").records[0]
    assert (trace["rows"], trace["train_error"]) == (20, 0)
    held = cli(*common, "--ridge", 1e6).records[0]
    assert held["train_squared_loss"] > 0.1


def test_a_stopped_run_goes_on_to_the_same_end(
    cli: Cli, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("linearize", parent, "--at", "1ep", "--lr", 0.05, *SHORT)
    whole = Run.open(Path(cli(*asked, "--out", tmp_path / "whole").records[0]["path"]))
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        stopped = cli(*asked, "--out", tmp_path / "stopped")
    assert stopped.status == 130
    assert "stopped at step" in stopped.err
    record = cli(*asked, "--out", tmp_path / "stopped").records[0]
    continued, last = Run.open(Path(record["path"])), whole.steps()[-1]
    for name, value in whole.checkpoint(last).tensors().items():
        assert torch.equal(value, continued.checkpoint(last).tensors()[name])


def test_bad_input_in_one_line(cli: Cli, parent: Path) -> None:
    cases = [
        (("--at", "9ep"), "9ep"),
        (("--at", "1ep", "--solve", "--low-lr"), "--low-lr"),
        (("--at", "1ep", "--solve", "--order", 2), "order 2"),
        (("--at", "1ep", "--low-lr", "--name", "same"), "{kind}"),
        (("--at", "1ep", "--batch-size", 1000), "batch"),
        (("--at", "1ep", "--solve", "--precision", "bf16"), "bf16"),
        (("--at", "1ep", "--solve", "--memory", "1MB"), "--memory"),
    ]
    before = sorted(path.name for path in parent.parent.iterdir())
    for options, word in cases:
        refused = cli("linearize", parent, *options)
        assert refused.status in (1, 2), options
        assert word in refused.err, (options, refused.err)
        assert "Traceback" not in refused.err
    assert sorted(path.name for path in parent.parent.iterdir()) == before


def test_what_it_would_cost(parent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["linearize", str(parent), "--at", "0ep,1ep", "--low-lr", "--dry-run", *SHORT]) == 0
    plans = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [plan["kind"] for plan in plans] == ["plan"] * 4
    assert plans[0]["operations"] > plans[1]["operations"]
    assert not list(parent.parent.glob("*order1*"))
