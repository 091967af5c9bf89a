"""What a report is said to take: from a trial of its network, where that can be tried."""

from dataclasses import replace
from pathlib import Path

import pytest

from landscape_cli.datasets import DataSpec
from landscape_cli.jobs.report_cast import Cast
from landscape_cli.jobs.report_step import Step
from landscape_cli.jobs.report_timing import seconds_of, seconds_of_pictures, seconds_per_pass
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES


def test_a_network_that_can_be_built_is_tried() -> None:
    run = Run.open(SAMPLES / "parent")
    small, wide = NetworkSpec("mlp", {"widths": "8"}), NetworkSpec("mlp", {"widths": "4096,4096"})
    data = DataSpec("digits")
    assert (seconds_per_pass(Cast(parents=(run,)), device="cpu") or 0) > 0
    foreign = Cast(foreign=(Path("theirs"),))
    one, other = (seconds_per_pass(foreign, device="cpu", network=network, data=data) for network in (small, wide))
    assert one is not None
    assert other is not None
    assert other > one  # two thousand times the work


@pytest.mark.parametrize("lacking", ["network", "data", "code"])
def test_what_cannot_be_tried_has_no_estimate(lacking: str) -> None:
    run = Run.open(SAMPLES / "parent")
    config = run.document["config"]
    if lacking == "code":
        config = {**config, "network": {"name": "own.py:build", "options": {}}}
    elif lacking == "data":
        config = {**config, "data": {**config["data"], "source": "npz:/nowhere.npz"}}
    else:
        assert seconds_per_pass(Cast(foreign=(Path("theirs"),)), data=DataSpec("digits")) is None
        return
    changed = Run(run.path, {**run.document, "config": config})
    assert seconds_per_pass(Cast(parents=(changed,)), device="cpu") is None


def test_seconds_are_those_of_the_passes_and_of_all_beside_them() -> None:
    step = Step("a", "A", "weights", ("barrier",), Path("a"), passes=1000, overhead=2.0)
    assert seconds_of([step, replace(step, passes=0)], 0.01) == pytest.approx(1000 * 0.01 + 2 * 2.0)
    assert seconds_of_pictures(6) == pytest.approx(2 * seconds_of_pictures(3))
