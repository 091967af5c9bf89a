"""relu-dist from the shell."""

import weakref
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from landscape_cli.jobs import relu_distances
from tests.conftest import SAMPLES, Cli

NAMES = ("early-a", "early-b", "late-a", "late-b")
RUNS = [SAMPLES / name for name in NAMES]


def test_siblings_of_late_times_are_nearer(cli: Cli) -> None:
    early, late = cli("relu-dist", *RUNS, "--pairs", "siblings").records
    assert (early["kind"], early["spawn_epoch"], late["spawn_epoch"]) == ("relu-distance", 0, 8)
    assert 0.5 > early["distance"] > 2 * late["distance"] > 0
    assert early["entries"] == 355 * 3584  # of simple-cnn at half width on 8×8 images


def test_pairs_together_are_pairs_alone_at_any_batch_size(cli: Cli) -> None:
    together = cli("relu-dist", *RUNS, "--samples", "60", "--by-layer").records
    assert len(together) == 6
    alone = cli("relu-dist", RUNS[0], RUNS[3], "--samples", "60", "--by-layer", "--batch-size", "7").records[0]
    assert {k: v for k, v in together[2].items() if k != "layers"} == {k: v for k, v in alone.items() if k != "layers"}
    assert together[2]["layers"] == alone["layers"]
    assert list(alone["layers"]) == [f"relu{i}" for i in range(1, 7)]


@pytest.mark.parametrize("command", ["relu-dist", "weight-dist", "function-dist"])
def test_a_matrix_of_all_pairs(cli: Cli, tmp_path: Path, command: str) -> None:
    done = cli(command, *RUNS, "--matrix", tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        values = np.asarray(file["values"])
    assert np.array_equal(values, values.T)
    assert np.allclose(values[np.triu_indices(4, 1)], [r["distance"] for r in done.records])
    assert cli(command, *RUNS, "--matrix", tmp_path / "m.h5").status == 1
    assert cli("inpca", tmp_path / "m.h5", "-o", tmp_path / "e.h5").status == 0
    refused = cli(command, *RUNS, "--pairs", "siblings", "--matrix", tmp_path / "other.h5")
    assert (refused.status, "distances of all pairs" in refused.err) == (2, True)


def test_bad_input(cli: Cli, parent: Path, siblings: list[Path]) -> None:
    refused = cli("relu-dist", SAMPLES / "early-a", parent)
    assert (refused.status, "different networks" in refused.err) == (1, True)
    (file,) = (siblings[0] / "checkpoints").glob("*")
    file.write_bytes(file.read_bytes()[:-9])
    done = cli("relu-dist", *siblings, SAMPLES / "late-a", SAMPLES / "late-b", "--pairs", "given")
    assert (done.status, len(done.records)) == (3, 1)
    assert "is damaged" in done.err


def test_no_more_checkpoints_are_held_than_have_room(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = cli("relu-dist", *RUNS, "--samples", "20").records
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    most = []
    original = relu_distances.prepare

    def prepare(*arguments: Any) -> Any:
        made = original(*arguments)
        alive.add(made)
        most.append(len(alive))
        return made

    monkeypatch.setattr(relu_distances, "prepare", prepare)
    monkeypatch.setattr(relu_distances, "HELD", 1)
    assert cli("relu-dist", *RUNS, "--samples", "20").records == expected
    assert max(most) <= 4  # those of a pair, and those of the next one


@pytest.mark.parametrize("command", ["relu-dist", "weight-dist", "function-dist"])
def test_a_matrix_with_gaps_is_not_written(cli: Cli, siblings: list[Path], tmp_path: Path, command: str) -> None:
    for damaged, left in zip(siblings, (1, 0), strict=True):
        (file,) = (damaged / "checkpoints").glob("*")
        file.write_bytes(file.read_bytes()[:-9])
        done = cli(command, *siblings, RUNS[2], "--pairs", "all", "--matrix", tmp_path / "m.h5")
        assert (done.status, len(done.records)) == (3, left), done.err
        assert "is not written" in done.err
        assert not (tmp_path / "m.h5").exists()


def test_a_matrix_in_the_way_is_refused_before_anything_is_measured(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.h5").touch()

    def measured(*arguments: object) -> None:
        raise AssertionError("nothing was to be measured")

    monkeypatch.setattr(relu_distances, "patterns", measured)
    assert cli("relu-dist", *RUNS[:2], "--matrix", tmp_path / "m.h5").status == 1
