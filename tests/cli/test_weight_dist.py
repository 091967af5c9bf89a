"""weight-dist from the shell."""

from pathlib import Path

import pytest
import torch

from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES, Cli


def test_two_checkpoints_and_their_layers(cli: Cli) -> None:
    pair = (SAMPLES / "early-a", SAMPLES / "early-b")
    (record,) = cli("weight-dist", *pair, "--by-layer").records
    runs = [Run.open(path) for path in pair]
    states = [run.checkpoint(run.steps()[-1]).tensors() for run in runs]
    vectors = [torch.cat([t.double().flatten() for _, t in sorted(s.items())]) for s in states]
    assert record["distance"] == pytest.approx(float((vectors[0] - vectors[1]).norm()), rel=1e-12)
    assert record["parameters"] == len(vectors[0])
    assert list(record["layers"])[-1] == "head"
    assert (record["kind"], record["spawn_epoch"]) == ("weight-distance", 0)


def test_siblings_of_late_times_are_nearer(cli: Cli) -> None:
    names = ("early-a", "early-b", "late-a", "late-b")
    early, late = cli("weight-dist", *(SAMPLES / n for n in names), "--pairs", "siblings").records
    assert (early["spawn_epoch"], late["spawn_epoch"]) == (0, 8)
    assert early["distance"] > 2 * late["distance"] > 0
    assert early["cosine"] < late["cosine"] < 1


def test_bad_input(cli: Cli, parent: Path) -> None:
    refused = cli("weight-dist", SAMPLES / "early-a", parent)
    assert (refused.status, "different networks" in refused.err) == (1, True)
    assert cli("weight-dist", SAMPLES / "early-a").status in (1, 2)
    same = cli("weight-dist", SAMPLES / "early-a", SAMPLES / "early-a").records[0]
    assert (same["distance"], same["cosine"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--width", "0.25"], "--width means nothing without --network"),
        (["-N", "hidden=8"], "--network-option means nothing without --network"),
        (["-D", "mean=0.5"], "--data-option means nothing without --data"),
    ],
)
def test_options_of_no_network_are_refused(words: list[str], message: str, cli: Cli) -> None:
    refused = cli("weight-dist", SAMPLES / "early-a", SAMPLES / "early-b", *words)
    assert (refused.status, message in refused.err) == (2, True)
