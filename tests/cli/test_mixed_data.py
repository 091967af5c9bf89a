"""A result whose numbers are of different data or samples says so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from landscape_cli.jobs.mixing import mixtures
from tests.conftest import SAMPLES, TRAIN, Cli

RECORD = {
    "kind": "barrier",
    "split": "test",
    "data": "digits",
    "fingerprint": {"train": "1", "test": "2"},
    "samples": 355,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{}, {}], []),
        (
            [{}, {"fingerprint": {"train": "9", "test": "2"}}],
            [],
        ),  # trained on noisy labels, measured on the same test set
        ([{}, {"split": "train", "samples": 1442}], []),
        (
            [{}, {"data": "faces", "fingerprint": {"train": "3", "test": "4"}}],
            ["mix data sets", "digits (1), faces (1)"],
        ),
        ([{}, {"fingerprint": {"train": "1", "test": "3"}}], ["mix data sets", "digits [2] (1), digits [3] (1)"]),
        ([{}, {"samples": 100}, {}], ["mix samples", "355 samples (2), 100 samples (1)"]),
        ([{"sample_seed": 0}, {"sample_seed": 1}], ["mix samples", "355 samples (1), 355 samples by seed 1 (1)"]),
        ([{"a": "x", "b": "y", "fingerprint": None}], ["different data on each side: x and y"]),
        ([{"kind": "run"}, {"kind": "run", "fingerprint": "other"}], []),
    ],
)
def test_mixtures(changes: list[dict[str, object]], expected: list[str]) -> None:
    told = mixtures([RECORD | change for change in changes])
    assert len(told) == bool(expected)
    assert all(part in told[0] for part in expected)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs on other data of the same shape: digits with inputs of their own normalisation and size."""
    from landscape_cli.cli.app import run

    folder = tmp_path_factory.mktemp("others")
    words = ["digits" if word == "digits" else word for word in TRAIN]
    found = []
    for seed in (0, 1):
        out = folder / f"noisy-{seed}"
        assert (
            run([*words, "--label-noise", "0.5", "--seed", str(seed), "--checkpoints", "last", "--out", str(out), "-q"])
            == 0
        )
        found.append(out)
    return found


@pytest.fixture
def plain(parent: Path, tmp_path: Path) -> list[Path]:
    return [parent, Path(shutil.copytree(parent, tmp_path / "again"))]


@pytest.mark.parametrize(
    "command",
    [
        ("barrier", "--points", "3", "--refine", "0", "--split", "train", "--pairs", "given"),
        ("relu-dist", "--split", "train", "--pairs", "given"),
        ("function-dist", "--split", "train", "--pairs", "given"),
        ("kernel-dist", "--samples", "10", "--pairs", "given"),
        ("hessian", "--samples", "20", "--parts", "0"),
    ],
    ids=lambda words: words[0],
)
def test_commands_warn(cli: Cli, plain: list[Path], others: list[Path], command: tuple[str, ...]) -> None:
    alike = cli(*command[:1], *plain, *command[1:], "--device", "cpu")
    assert alike.status == 0
    assert "warning" not in alike.err
    done = cli(*command[:1], *plain, *others, *command[1:], "--device", "cpu")
    assert done.status == 0, done.err
    (warning,) = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert "mix data sets" in warning
    assert "warning" not in cli(*command[:1], *plain, *others, *command[1:], "--device", "cpu", "-q").err


def test_a_pair_and_a_prediction_file_do_not_mix(
    cli: Cli, plain: list[Path], others: list[Path], tmp_path: Path
) -> None:
    """What cannot be compared at all is refused, with the way to say where to measure."""
    for command in (("barrier",), ("kernel-dist", "--samples", "10"), ("relu-dist",), ("compare",)):
        done = cli(command[0], plain[0], others[0], *command[1:], "--device", "cpu")
        assert done.status in (1, 2)
        assert "different" in done.err
    done = cli("predict", plain[0], others[0], "--split", "train", "-o", tmp_path / "p.h5", "--device", "cpu")
    assert done.status == 2
    assert "was trained on other data" in done.err
    told = cli("barrier", plain[0], others[0], "--points", "3", "--data", "digits", "--device", "cpu")
    assert told.status == 0
    assert "was trained on other data than the digits" in told.err
    assert all(record["other_data"] for record in told.records)


def test_a_figure_of_mixed_records_says_so(cli: Cli, tmp_path: Path) -> None:
    records = cli("weight-dist", SAMPLES / "early-a", SAMPLES / "early-b").records
    assert records[0].get("fingerprint") is None  # weights have no data
    (one,) = cli("function-dist", SAMPLES / "early-a", SAMPLES / "early-b", "--samples", "50").records
    (two,) = cli("function-dist", SAMPLES / "late-a", SAMPLES / "late-b", "--samples", "60").records
    file = tmp_path / "function.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in (one, two)))
    done = cli("plot", file, "--kind", "spawn", "-o", tmp_path / "figure.png")
    assert done.status == 0, done.err
    assert "mix samples" in done.err


def test_predictions_of_the_same_labels_and_other_inputs(
    cli: Cli, plain: list[Path], others: list[Path], tmp_path: Path
) -> None:
    """Two files that could be compared, model by model, though their inputs are not the same."""
    from landscape_cli.datasets import DataSpec, load

    digits = load(DataSpec("digits"))
    arrays = {"x_train": digits.train.inputs, "y_train": digits.train.labels, "y_test": digits.test.labels}
    np.savez(tmp_path / "dimmed.npz", x_test=digits.test.inputs // 2, **arrays)
    files = []
    for number, (run, data) in enumerate(((plain[0], "digits"), (others[0], f"npz:{tmp_path / 'dimmed.npz'}"))):
        files.append(tmp_path / f"predictions-{number}.h5")
        assert cli("predict", run, "--at", "all", "--data", data, "-o", files[-1], "--device", "cpu", "-q").status == 0
    for command in (("distances", *files, "-o", tmp_path / "d.h5"), ("progress", *files)):
        done = cli(*command)
        assert done.status == 0, done.err
        assert "warning:" in done.err
        assert "digits" in done.err
    assert "warning" not in cli("progress", files[0], files[0]).err
    assert "warning" not in cli("distances", files[0], files[0], "-o", tmp_path / "same.h5").err
    base = tmp_path / "embedding.h5"
    assert cli("inpca", files[0], "-k", "1", "-o", base).status == 0
    added = cli("inpca", base, "--project", files[1], "--predictions", files[0], "-o", tmp_path / "added.h5")
    assert added.status == 0, added.err
    assert "are predictions of different data" in added.err
