"""kernel-dist, kernel-velocity, gradient-dist, on the sample runs."""

from pathlib import Path

import pytest

from landscape_cli.store.cache import cache_folder
from landscape_cli.store.hdf5 import open_hdf5
from landscape_cli.store.matrices import Matrix
from tests.conftest import SAMPLES, TRAIN, Cli

SMALL = ("--samples", "20", "--threads", "1", "--no-progress")


def test_a_kernel_and_itself_are_exactly_nothing_apart(cli: Cli) -> None:
    (record,) = cli("kernel-dist", SAMPLES / "late-a", SAMPLES / "late-a", *SMALL).records
    assert (record["kind"], record["distance"], record["form"], record["samples"]) == (
        "kernel-distance",
        0.0,
        "full",
        20,
    )


def test_forms_layers_and_files(cli: Cli, tmp_path: Path) -> None:
    parent = SAMPLES / "parent"
    common = (parent, "--at", "all", *SMALL, "--by-layer", "--cka", "--eigenvalues")
    full = cli("kernel-dist", *common, "--matrix", tmp_path / "m.h5", "--save-kernels", tmp_path / "k.h5")
    assert full.status == 0, full.err
    assert [(r["a"][-3:], r["b"][-4:]) for r in full.records] == [("0ep", "@8ep"), ("0ep", "15ep"), ("8ep", "15ep")]
    first, _, last = full.records
    assert first["distance"] > 5 * last["distance"] > 0
    assert list(first["layers"]) == ["conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "head"]
    assert 1 < first["effective_rank_a"] < 200
    assert 0 < first["cka"] < last["cka"] < 1
    matrix = Matrix.open(tmp_path / "m.h5")
    assert matrix.distance == "kernel-full"
    assert matrix.read()[0, 1] == first["distance"]
    with open_hdf5(tmp_path / "k.h5", "kernels") as file:
        assert file["values"].shape == (3, 200, 200)
        total = sum(file[f"layers/{n:04d}"][0].astype("float64") for n in range(7))
        assert abs(total - file["values"][0]).max() <= 1e-4 * abs(total).max()
    refused = cli("kernel-dist", *common, "--matrix", tmp_path / "m.h5")
    assert (refused.status, "exists already" in refused.err) == (1, True)
    for form in ("trace", "pseudo"):
        other = cli("kernel-dist", parent, "--at", "0ep,8ep", *SMALL, "--kernel", form).records[0]
        assert other["form"] == form
        assert other["distance"] != first["distance"]


def test_small_kernels_are_kept_and_found_again(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = (SAMPLES / "early-a", SAMPLES / "early-b")
    first = cli("kernel-dist", *pair, *SMALL).records
    assert len(list((cache_folder() / "kernels").glob("*.h5"))) == 2
    monkeypatch.setattr("landscape_cli.jobs.kernels.tangent_kernel", None)
    assert cli("kernel-dist", *pair, *SMALL).records == first


def test_balanced_samples(cli: Cli) -> None:
    pair = (SAMPLES / "early-a", SAMPLES / "early-b")
    assert cli("kernel-dist", *pair, *SMALL, "--balanced").records[0]["balanced"] is True
    refused = cli("kernel-dist", *pair, "--samples", 25, "--balanced")
    assert (refused.status, "--samples 20" in refused.err or "--samples 30" in refused.err) == (2, True)


def test_velocity_stands_beside_the_barrier_of_children(cli: Cli) -> None:
    done = cli("kernel-velocity", SAMPLES / "parent", "--dt", "8ep", *SMALL, "--points", 3)
    (record,) = done.records
    assert record["velocity"] == pytest.approx(record["distance"] / 8)
    assert (record["epoch"], record["pairs"]) == (0, 1)
    assert record["error_barrier"] > 0.5
    missing = cli("kernel-velocity", SAMPLES / "parent", "--dt", "0.5ep")
    assert missing.status == 2
    assert "no two checkpoints 0.5ep apart" in missing.err
    assert "--checkpoints every:0.5ep" in missing.err


def test_gradients_align_with_themselves(cli: Cli) -> None:
    done = cli("gradient-dist", SAMPLES / "parent@0ep", SAMPLES / "parent", SAMPLES / "late-a", *SMALL)
    far, _, near = done.records
    assert far["alignment"] < near["alignment"] < 1
    assert len(far["by_class"]) == 10
    (same,) = cli("gradient-dist", SAMPLES / "late-a", SAMPLES / "late-a", *SMALL).records
    assert same["distance"] == pytest.approx(0, abs=1e-12)


def test_kernels_of_different_networks_on_the_same_samples(cli: Cli, tmp_path: Path) -> None:
    assert cli(*TRAIN, "--out", tmp_path / "mlp", "--checkpoints", "last").status == 0
    pair = (tmp_path / "mlp", SAMPLES / "late-a")
    refused = cli("kernel-dist", *pair, *SMALL)
    assert (refused.status, "different samples" in refused.err) == (2, True)
    done = cli("kernel-dist", *pair, *SMALL, "--split", "test")
    assert done.status == 0, done.err
    assert 0 < done.records[0]["distance"] < 1
    assert done.records[0]["network"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["kernel-dist", SAMPLES / "late-a"], 2, "alone is no pair"),
        (["kernel-dist", SAMPLES / "late-a", SAMPLES / "late-b", "--samples", "5000"], 1, "5000"),
        (["kernel-dist", SAMPLES / "late-a", SAMPLES / "late-b", "--precision", "fp16"], 2, "not computed in fp16"),
        (["kernel-velocity", SAMPLES / "parent", "--dt", "soon"], 2, "no time in training"),
        (["gradient-dist", SAMPLES / "late-a", "nowhere"], 1, "nowhere"),
    ],
)
def test_bad_input(cli: Cli, arguments: list[object], status: int, message: str) -> None:
    done = cli(*arguments)
    assert (done.status, done.out) == (status, "")
    assert message in done.err


def test_different_networks_have_comparable_kernels_but_no_common_gradients(cli: Cli, parent: Path) -> None:
    pair = (SAMPLES / "parent", parent)
    done = cli("kernel-dist", *pair, *SMALL, "--split", "test")
    assert done.status == 0, done.err
    assert done.records[0]["network"] is None
    assert "1 of 1 pairs are of different networks" in done.err
    assert "different networks" not in cli("kernel-dist", SAMPLES / "early-a", SAMPLES / "early-b", *SMALL).err
    refused = cli("gradient-dist", *pair, *SMALL, "--split", "test")
    assert (refused.status, "kernel-dist compares any two" in refused.err) == (1, True)
