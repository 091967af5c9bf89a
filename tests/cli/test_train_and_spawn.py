import json
from pathlib import Path

import pytest

from landscape_cli.compute.training.presets import PRESETS
from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.networks.registry import check_name
from landscape_cli.store.runs import Run
from tests.conftest import TRAIN, Cli


def test_train_emits_its_run_and_skips_it_the_second_time(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = cli(*TRAIN, "--out", out)
    (record,) = done.records
    assert (record["kind"], record["path"], record["status"], record["epoch"]) == ("run", str(out), "finished", 3.0)
    again = cli(*TRAIN, "--out", out)
    assert again.records[0]["skipped"] is True
    assert "nothing to do" in again.err
    refused = cli(*TRAIN, "--out", out, "--lr", "0.2")
    assert refused.status == 1
    assert "protocol.lr is 0.1 there, 0.2 was asked for" in refused.err
    assert "--force" in refused.err
    assert cli(*TRAIN, "--out", out, "--lr", "0.2", "--force", "-q").out == f"{out}\n"
    assert Run.open(out).document["config"]["protocol"]["lr"] == 0.2


def test_a_dry_run_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    (plan,) = cli(*TRAIN, "--out", tmp_path / "run", "--dry-run").records
    assert plan["kind"] == "plan"
    assert plan["operations"] > 0
    assert not (tmp_path / "run").exists()


def test_a_preset_is_changed_by_flags(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape_cli.jobs import training

    jobs: list = []
    monkeypatch.setattr(
        training, "run_training", lambda job, progress: jobs.append(job) or {"skipped": False, "path": "x"}
    )
    common = ["train", "--data", "digits", "--out", tmp_path / "x", "--preset"]
    cli(*common, "fort2020-resnet20-cifar10")
    cli(*common, "fort2020-resnet20-cifar10", "--epochs", "2", "--schedule", "cosine", "--network", "resnet20-nobn")
    cli(*common, "fort2020-wrn-16-4-cifar10", "--milestones", "1,2", "--augment", "none")
    table, changed, wide = (job.protocol for job in jobs)
    assert (table.lr, table.momentum, table.weight_decay, table.milestones) == (0.1, 0.9, 1e-4, (80, 120))
    assert (table.factor, table.epochs, table.batch_size, table.augment) == (0.1, 160, 128, "crop+flip")
    assert (changed.epochs, changed.schedule, changed.milestones, changed.lr) == (2, "cosine", (), 0.1)
    assert (wide.milestones, wide.augment, wide.factor, wide.weight_decay) == ((1, 2), "none", 0.2, 5e-4)
    assert [job.network.name for job in jobs] == ["resnet20", "resnet20-nobn", "wrn-16-4"]
    assert [job.classes for job in jobs] == [10, 10, 10]


def test_the_presets_are_the_papers_table(cli: Cli) -> None:
    """Fort et al. 2020, Table 1, typed out again: network, data, optimiser, lr, decay, factor, milestones, epochs."""
    table = """
        resnet20 cifar10 sgd 0.1 1e-4 0.1 80,120 160
        resnet20 cifar100 sgd 0.1 1e-4 0.1 60,120,160 200
        simple-cnn cifar10 adam 1e-3 1e-4 - - 100
        resnet20-nobn cifar10 adam 1e-3 0 0.1 80,120 160
        resnet20-nobn cifar100 adam 1e-3 0 0.1 80,120 160
        wrn-16-4 cifar10 sgd 0.1 5e-4 0.2 60,120 160
        wrn-16-4 cifar100 sgd 0.1 5e-4 0.2 60,120 160
    """
    rows = [line.split() for line in table.strip().splitlines()]
    assert len(rows) == sum(name.startswith("fort2020-") for name in PRESETS)
    listed = cli("train", "--list-presets").out
    for network, data, optimizer, lr, decay, factor, milestones, epochs in rows:
        name = f"fort2020-{network}-{data}"
        assert name in listed
        entry = PRESETS[name]
        assert (entry.network, entry.data) == (network, data)
        settings = entry.settings
        assert (settings["optimizer"], settings["lr"], settings["weight_decay"]) == (optimizer, float(lr), float(decay))
        assert settings["epochs"] == float(epochs)
        if milestones == "-":
            assert settings["schedule"] == "constant"
        else:
            assert settings["milestones"] == tuple(map(float, milestones.split(",")))
            assert settings["factor"] == float(factor)
        if optimizer == "sgd":
            assert settings["momentum"] == 0.9


def test_the_presets_are_the_corners_of_a_grid(cli: Cli) -> None:
    """Mao et al. 2023, supplement: six networks by three optimisers; the other axes are flags beside the preset."""
    listed = cli("train", "--list-presets").out
    rates = {"sgd": (0.1, 0.0, "1e-3"), "nesterov": (0.1, 0.9, "1e-3"), "adam": (0.001, 0.9, "1e-5")}
    for network in ("fc", "allcnn", "wrn-10-4-8", "wrn-16-4-64", "convmixer", "vit"):
        for optimizer, (lr, momentum, decay) in rates.items():
            name = f"mao2023-{network}-{optimizer}"
            (line,) = [line for line in listed.splitlines() if line.startswith(f"{name} ")]
            assert f"--batch-size 200|500|1000 --weight-decay 0|{decay} --augment none|crop+flip" in line
            entry, protocol = PRESETS[name], Protocol(**PRESETS[name].settings)
            assert (entry.network.removesuffix("-mao2023"), entry.data, entry.record) == (network, "cifar10", "mao2023")
            assert (protocol.optimizer, protocol.lr, protocol.momentum) == (optimizer, lr, momentum)
            assert (protocol.batch_size, protocol.weight_decay, protocol.augment) == (200, 0, "none")
            assert (protocol.schedule, protocol.epochs, protocol.warmup) == ("cosine", 200, 0)
            assert (protocol.prime_bn > 0) == (network != "vit")
            check_name(entry.network)
    assert sum(name.startswith("mao2023-") for name in PRESETS) == 18


def test_what_follows_from_the_axes_of_a_grid(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape_cli.jobs import training

    jobs: list = []
    monkeypatch.setattr(
        training, "run_training", lambda job, progress: jobs.append(job) or {"skipped": False, "path": "x"}
    )
    common = ["train", "--data", "digits", "--out", tmp_path / "x", "--preset"]
    cli(*common, "mao2023-fc-sgd", "--batch-size", "500", "--weight-decay", "1e-3")
    cli(*common, "mao2023-fc-adam", "--batch-size", "1000", "--augment", "crop+flip")
    cli(*common, "mao2023-vit-nesterov", "--batch-size", "1000", "--augment", "crop+flip", "--lr", "0.1")
    cli(*common, "mao2023-fc-sgd", "--augment", "flip", "--epochs", "7", "--checkpoints", "last")
    cli(*common, "fort2020-resnet20-cifar10", "--batch-size", "500")
    found = [(job.protocol.lr, job.protocol.epochs, job.protocol.batch_size, job.record) for job in jobs]
    assert found == [
        (0.25, 200, 500, "mao2023"), (0.005, 300, 1000, "mao2023"), (0.1, 200, 1000, "mao2023"),
        (0.1, 7, 200, "last"), (0.1, 160, 500, "auto"),
    ]  # fmt: skip
    assert jobs[0].protocol.weight_decay == 1e-3
    empty = cli(*common, "mao2023-fc-sgd", "--batch-size", "0")
    assert empty.status == 2
    assert "a batch of 0 samples is empty" in empty.err


def test_spawn_from_a_pipe_and_barrier_from_another(cli: Cli, parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    line = json.dumps({**Run.open(parent).record(), "tag": "mine"})
    monkeypatch.setattr(sys, "stdin", io.StringIO(line + "\n"))
    spawned = cli("spawn", "-", "--at", "0ep,2ep", "--children", "2", "--jobs", "1", "--device", "cpu")
    assert [r["spawn_epoch"] for r in spawned.records] == [0.0, 0.0, 2.0, 2.0]
    assert all(r["parent"] == str(parent) for r in spawned.records)
    monkeypatch.setattr(sys, "stdin", io.StringIO(spawned.out))
    measured = cli("barrier", "-", "--points", "3", "--refine", "0", "--split", "test")
    assert [(r["spawn_epoch"], r["split"]) for r in measured.records] == [(0.0, "test"), (2.0, "test")]


def test_children_in_several_processes_are_the_same_children(cli: Cli, parent: Path, tmp_path: Path) -> None:
    finals = []
    for jobs in ("1", "2"):
        done = cli(
            "spawn",
            parent,
            "--at",
            "1ep",
            "--children",
            "3",
            "--jobs",
            jobs,
            "--threads",
            "1",
            "--out",
            tmp_path / jobs,
        )
        assert done.status == 0
        finals.append([Run.open(Path(r["path"])).checkpoint(12).hash() for r in done.records])
    assert finals[0] == finals[1]
    assert len(set(finals[0])) == 3


def test_a_child_that_fails_does_not_stop_its_siblings(cli: Cli, parent: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "out" / "parent-at-1ep-child0"
    in_the_way.mkdir(parents=True)
    (in_the_way / "notes.txt").write_text("mine")
    done = cli("spawn", parent, "--at", "1ep", "--children", "2", "--jobs", "1", "--out", tmp_path / "out")
    assert done.status == 3
    assert [r["child"] for r in done.records] == [1]
    assert "parent-at-1ep-child0 exists and is no run directory" in done.err
    assert "1 of 2 children failed" in done.err


def test_spawn_says_what_it_would_do(cli: Cli, parent: Path) -> None:
    done = cli("spawn", parent, "--at", "0ep,1ep", "--until", "+1ep", "--dry-run")
    assert [(r["first_step"], r["last_step"]) for r in done.records] == [(0, 4), (4, 8)] * 1 or len(done.records) == 4
    assert len(list(parent.parent.iterdir())) == 1


def test_a_network_of_ones_own_is_named_again_without_its_options(cli: Cli, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\n\ndef build(input_shape, classes, hidden=8):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, classes))\n"
    )
    own = ("--network", "nets.py:build")
    common = ("--threads", 1, "--no-progress")
    trained = cli(
        "train", *own, "-N", "hidden=24", "--data", "digits", "--train-size", 128, "--epochs", 2, "--out", "r", *common,
        "--checkpoints", "every:1ep",
    )  # fmt: skip
    assert trained.status == 0
    refused = cli("barrier", "r@1ep", "r@2ep")
    assert (refused.status, "not executed" in refused.err) == (2, True)
    measured = cli("barrier", "r@1ep", "r@2ep", *own, "--points", 3, "--refine", 0, *common)
    assert measured.status == 0, measured.err
    other = cli("barrier", "r@1ep", "r@2ep", *own, "-N", "hidden=9", "--points", 3, *common)
    assert (other.status, "does not fit the network" in other.err) == (1, True)
    spawned = cli("spawn", "r", "--at", "1ep", "--children", 1, *own, *common)
    assert spawned.status == 0, spawned.err
