"""function-dist from the shell."""

import math
from pathlib import Path

import pytest

from landscape_cli.store.predictions import Predictions
from tests.conftest import SAMPLES, Cli

QUICK = ("--threads", "1", "--no-progress")


def test_the_numbers_are_those_of_the_predictions(cli: Cli, tmp_path: Path) -> None:
    pair = (SAMPLES / "early-a", SAMPLES / "early-b")
    (record,) = cli("function-dist", *pair, *QUICK).records
    assert cli("predict", *pair, "-o", tmp_path / "p.h5", *QUICK).status == 0
    one, other = Predictions.open(tmp_path / "p.h5").read()
    assert record["disagreement"] == (one.argmax(1) != other.argmax(1)).mean()
    assert record["distance"] == pytest.approx(record["disagreement"] / record["expected"])
    assert (record["kind"], record["samples"], record["spawn_epoch"]) == ("function-distance", 355, 0)
    assert 0 < record["jensen_shannon"] < math.log(2)
    assert 0.9 < record["correlation"] < 1


def test_other_networks_and_other_data(cli: Cli, parent: Path) -> None:
    done = cli("function-dist", SAMPLES / "early-a", parent, *QUICK)
    assert done.records[0]["network"] is None
    refused = cli("function-dist", SAMPLES / "early-a", parent, "--split", "train", *QUICK)
    assert (refused.status, "different samples" in refused.err) == (1, True)


def test_networks_without_errors(cli: Cli) -> None:
    pair = (SAMPLES / "early-a", SAMPLES / "early-b")
    done = cli("function-dist", *pair, "--split", "train", "--samples", 20, *QUICK)
    assert math.isnan(done.records[0]["distance"])
    assert "make no errors here" in done.err


def test_a_network_and_itself(cli: Cli) -> None:
    record = cli("function-dist", SAMPLES / "early-a", SAMPLES / "early-a", *QUICK).records[0]
    assert (record["distance"], record["disagreement"]) == (0, 0)
    assert record["jensen_shannon"] == pytest.approx(0, abs=1e-12)
