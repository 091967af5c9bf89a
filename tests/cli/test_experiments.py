"""Random-label first stages, corners and patches from the shell, and how sweeps and later commands see them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_cli.compute.training.presets import PRESETS
from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.compute.training.schedules import learning_rate
from landscape_cli.datasets import DataSpec, load
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.runs import Run
from tests.conftest import TRAIN, Cli

PATCHES = [*TRAIN, "--data", "patches:digits", "--epochs", "1"]


def test_a_first_stage_on_random_labels_then_the_true_task(cli: Cli, tmp_path: Path) -> None:
    first, then = tmp_path / "random", tmp_path / "then"
    assert cli(*TRAIN, "--labels", "random:1", "--out", first).status == 0
    assert cli(*TRAIN, "--init-from", f"{first}@2ep", "--seed", "3", "--out", then).status == 0
    assert Run.open(then).checkpoint(0).hash() == Run.open(first).checkpoint(8).hash()
    (details,) = cli("info", first).records
    assert details["labels"] == "random:1"
    (details,) = cli("info", then).records
    assert (details["init_from"]["path"], details["init_from"]["at"]) == ("../random", "2ep")
    # What a later command loads are the labels that the run was trained on.
    out = tmp_path / "train.h5"
    assert cli("predict", first, "--split", "train", "-o", out).status == 0
    with h5py.File(out) as file:
        labels = file["labels"][()]
    wanted = load(DataSpec("digits", train_size=256, labels="random:1")).train.labels
    assert np.array_equal(labels, wanted)
    assert cli("predict", then, "--split", "train", "--data", "digits", "-o", tmp_path / "true.h5").status == 0
    with h5py.File(tmp_path / "true.h5") as file:
        assert (file["labels"][()] != wanted).mean() > 0.8


def test_what_cannot_begin_so_is_told_in_a_line(cli: Cli, tmp_path: Path, parent: Path) -> None:
    out = ("--out", tmp_path / "x")
    cases = [
        (["--labels", "shuffled"], 2, "there are no labels 'shuffled'"),
        (["--init", "corners", "--init-from", parent], 2, "give one of them"),
        (["--init-from", tmp_path / "nowhere"], 1, "nowhere does not exist"),
        (["--init-from", f"{parent}@9ep"], 1, "has no checkpoint at 9ep"),
        (["--init", "corner"], 2, "corners"),
    ]
    for extra, status, message in cases:
        done = cli(*TRAIN, *extra, *out)
        assert (done.status, message in done.err) == (status, True), done.err
        assert not (tmp_path / "x").exists()


def test_patches_are_measured_apart_while_training_and_afterwards(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli(*PATCHES, "--out", out).status == 0
    row = read_metrics(out)[-1]
    assert {f"{part}_{what}" for part in ("clean", "patch") for what in ("loss", "error")} < row.keys()
    assert Run.open(out).document["data"]["fingerprint"].keys() == {"train", "test", "clean", "patch"}
    for part in ("clean", "patch", "test"):
        (record,) = cli("predict", out, "--split", part, "-o", tmp_path / f"{part}.h5").records
        assert record["fingerprint"] == Run.open(out).document["data"]["fingerprint"][part]
        with h5py.File(tmp_path / f"{part}.h5") as file:
            logs, labels = file["log_probs"][0], file["labels"][()]
        assert float((logs.argmax(1) != labels).mean()) == pytest.approx(row[f"{part}_error"], abs=1e-12)
        assert float(-logs[np.arange(len(labels)), labels].mean()) == pytest.approx(row[f"{part}_loss"], rel=1e-5)
    (few,) = cli("predict", out, "--split", "patch", "--samples", "40", "-o", tmp_path / "few.h5").records
    assert few["samples"] == 40
    (barrier,) = cli("barrier", f"{out}@0ep", out, "--split", "clean", "--points", "3").records
    assert barrier["error_b"] == row["clean_error"]
    plain = tmp_path / "plain"
    assert cli(*TRAIN, "--epochs", "1", "--out", plain).status == 0
    refused = cli("predict", plain, "--split", "clean", "-o", tmp_path / "no.h5")
    assert (refused.status, "digits has no part 'clean'" in refused.err) == (1, True)


def test_a_sweep_sets_labels_and_beginnings_and_finds_its_runs_finished(cli: Cli, tmp_path: Path, parent: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(
        f"""
        out = "{tmp_path / "runs"}"
        name = "{{number}}"
        [fixed]
        data = "digits"
        train-size = 256
        network = "mlp"
        network-option = {{ widths = [16] }}
        batch-size = 64
        epochs = 1
        [[cases]]
        labels = ["true", "permuted:2"]
        [[cases]]
        init = "corners"
        [[cases]]
        init-from = "{parent}"
        """
    )
    first = cli("sweep", file, "--jobs", "1", "--threads", "1", "--device", "cpu")
    assert (first.status, [record["skipped"] for record in first.records]) == (0, [False] * 4)
    again = cli("sweep", file, "--jobs", "1", "--threads", "1", "--device", "cpu")
    assert [record["skipped"] for record in again.records] == [True] * 4
    configs = [Run.open(tmp_path / "runs" / str(number)).document["config"] for number in range(4)]
    assert [config["data"].get("labels") for config in configs] == [None, "permuted:2", None, None]
    assert [config.get("init") for config in configs] == [None, None, "corners", None]
    assert configs[3]["init_from"]["hash"] == Run.open(parent).checkpoint(12).hash()


def test_status_counts_the_runs_that_diverged(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(
        f"""
        out = "{tmp_path / "runs"}"
        [fixed]
        data = "digits"
        train-size = 256
        network = "mlp"
        network-option = {{ widths = [16] }}
        batch-size = 64
        epochs = 2
        [grid]
        lr = [0.1, 1e30]
        """
    )
    done = cli("sweep", file, "--jobs", "1", "--threads", "1", "--device", "cpu")
    assert (done.status, [record["status"] for record in done.records]) == (0, ["finished", "diverged"])
    (counts,) = cli("status", tmp_path / "runs", "--summary").records
    assert (counts["runs"], counts["finished"], counts["diverged"], counts["progress"]) == (2, 1, 1, 1.0)
    assert cli("status", tmp_path / "runs", "--only", "diverged").records[0]["status"] == "diverged"


def test_the_presets_of_the_lecture_are_the_published_protocol(cli: Cli, tmp_path: Path) -> None:
    """Li, Wei and Ma's script: momentum 0.9 (Nesterov), decay 5e-4, batch 128, 60 epochs, 0.1 · 0.04 = 0.004."""
    listed = cli("train", "--list-presets").out
    rates = {"small": (0.004, 0.004), "large": (0.1, 0.1), "annealed": (0.1, 0.004)}
    for name, (first, last) in rates.items():
        entry = PRESETS[f"vetrov-{name}-lr"]
        assert f"vetrov-{name}-lr" in listed
        protocol = Protocol(**entry.settings)
        assert (protocol.optimizer, protocol.momentum, protocol.weight_decay) == ("nesterov", 0.9, 5e-4)
        assert (protocol.epochs, protocol.batch_size, protocol.augment) == (60, 128, "none")
        at = [learning_rate(protocol, step, steps_per_epoch=390) for step in (0, 30 * 390 - 1, 30 * 390, 60 * 390 - 1)]
        assert at == pytest.approx([first, first, last, last], rel=1e-12)
    network = build(NetworkSpec(PRESETS["vetrov-small-lr"].network, {}), (3, 32, 32), 10)
    assert sum(p.numel() for p in network.parameters()) == 17_116_634  # WRN-16-10, Zagoruyko and Komodakis: 17.1M
    small = ["--network", "mlp", "-N", "widths=16", "--epochs", "1", "--threads", "1", "--device", "cpu"]
    done = cli("train", "--preset", "vetrov-small-lr", "--data", "patches:digits", *small, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert read_metrics(tmp_path / "run")[0]["lr"] == 0.004
