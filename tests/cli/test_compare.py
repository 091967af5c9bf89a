"""compare from the shell: what it says is what the single commands say."""

from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Cli

RUNS = [SAMPLES / name for name in ("early-a", "early-b", "late-a", "late-b")]
FEW = ["--samples", "80"]


def test_a_record_holds_what_the_single_commands_say(cli: Cli) -> None:
    two = RUNS[:2]
    (found,) = cli("compare", *two, *FEW, "--points", "5", "--kernel-samples", "20", "--gradient-samples", "50",
                   "--measures", "barrier,weight,relu,function,kernel,gradient").records  # fmt: skip
    (barrier,) = cli("barrier", *two, *FEW, "--points", "5", "--split", "test").records
    (weight,) = cli("weight-dist", *two).records
    (relu,) = cli("relu-dist", *two, *FEW).records
    (function,) = cli("function-dist", *two, *FEW).records
    (kernel,) = cli("kernel-dist", *two, "--samples", "20", "--split", "train").records
    (gradient,) = cli("gradient-dist", *two, "--samples", "50", "--split", "train").records
    assert found["error_barrier"] == barrier["error_sup"] > 0
    assert found["loss_barrier"] == barrier["loss_sup"]
    assert (found["weight_distance"], found["weight_cosine"]) == (weight["distance"], weight["cosine"])
    assert found["relu_distance"] == relu["distance"]
    assert found["function_distance"] == function["distance"]
    assert found["jensen_shannon"] == function["jensen_shannon"]
    assert found["kernel_distance"] == pytest.approx(kernel["distance"], rel=1e-6)
    assert found["gradient_distance"] == pytest.approx(gradient["distance"], rel=1e-6)
    assert (found["kind"], found["spawn_epoch"], found["samples"]) == ("comparison", 0, 80)


def test_siblings_against_spawn_time_as_a_picture(cli: Cli, tmp_path: Path) -> None:
    done = cli("compare", *RUNS, "--pairs", "siblings", *FEW, "--measures", "weight,relu,function", "-o",
               tmp_path / "c.jsonl")  # fmt: skip
    early, late = done.records
    assert "error_barrier" not in early
    assert all(early[f"{name}_distance"] > late[f"{name}_distance"] for name in ("weight", "relu", "function"))
    drawn = cli("plot", tmp_path / "c.jsonl", "-o", tmp_path / "c.svg")
    assert drawn.records[0]["figure"] == "spawn"
    assert "ReLU distance" in (tmp_path / "c.svg").read_text()


def test_networks_of_two_kinds_can_be_compared_by_what_they_do(cli: Cli, parent: Path) -> None:
    two = (SAMPLES / "early-a", parent)
    refused = cli("compare", *two, "--pairs", "given", *FEW)
    assert (refused.status, "different networks" in refused.err) == (1, True)
    done = cli("compare", *two, *FEW, "--measures", "function", "--pairs", "given")
    assert done.status == 0, done.err
    (found,) = done.records
    assert found["network"] is None
    assert found["function_distance"] > 0


@pytest.mark.parametrize("measures", ["weights", "", "weight,relu,other"])
def test_measures_that_are_none(cli: Cli, measures: str) -> None:
    done = cli("compare", *RUNS[:2], "--measures", measures)
    assert (done.status, "there is no measure" in done.err) == (2, True)


def test_the_order_of_the_words_changes_no_number(cli: Cli, tmp_path: Path) -> None:
    """With batch norm the ends of a line and the networks themselves have different errors."""
    words = ("--data", "digits", "--network", "mlp", "-N", "widths=8", "-N", "batch_norm=true", "--epochs", "1")
    runs = [tmp_path / seed for seed in ("0", "1")]
    for run in runs:
        assert cli("train", *words, "--seed", run.name, "--out", run, "-q", "--device", "cpu").status == 0
    small = (*runs, "--pairs", "given", "--points", "3", "--bn-samples", "20")
    (own,) = cli("function-dist", *runs).records
    (line,) = cli("barrier", *runs, "--points", "3", "--bn-samples", "20", "--split", "test").records
    assert line["error_a"] != own["error_a"]
    for measures in ("barrier,function", "function,barrier"):
        (found,) = cli("compare", *small, "--measures", measures).records
        assert (found["error_a"], found["error_barrier"]) == (own["error_a"], line["error_sup"])
