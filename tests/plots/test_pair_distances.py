"""Siblings against spawn time: what is drawn is what the records say."""

import math
from pathlib import Path
from typing import Any

import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.pair_distances import matrix_figure, spawn_figure
from landscape_cli.plots.recognise import Result
from tests.conftest import SAMPLES, Cli

pytest.importorskip("matplotlib", reason="figures are an extra")


def comparisons() -> list[dict[str, Any]]:
    return [
        {
            "kind": "comparison", "a": f"a{pair}", "b": f"b{pair}", "spawn_epoch": epoch,
            "error_barrier": value, "relu_distance": value / 10, "weight_distance": 10 * value,
        }
        for epoch, values in ((8.0, (0.1, 0.1)), (0.0, (0.4, 0.6)))
        for pair, value in enumerate(values)
    ]  # fmt: skip


def test_each_measure_has_its_panel_and_each_pair_its_point() -> None:
    drawn = spawn_figure(comparisons())
    panels = [axes for axes in drawn.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "error barrier (points of %)", "ReLU distance", "weight distance ‖w − w′‖",
    ]  # fmt: skip
    barrier = panels[0]
    assert barrier.containers[0].lines[0].get_xydata().tolist() == [[0, 50], [1, 10]]
    assert sorted(barrier.collections[-1].get_offsets().tolist()) == [[0, 40], [0, 60], [1, 10], [1, 10]]
    assert [tick.get_text() for tick in barrier.get_xticklabels()] == ["0", "8"]


def test_one_kind_of_distance_is_drawn_too_and_the_usual_figure_is_chosen() -> None:
    records = [{"kind": "relu-distance", "a": "x", "b": "y", "distance": 0.2, "spawn_epoch": 1.0}]
    assert spawn_figure(records).axes[0].lines[0].get_ydata().tolist() == [0.2]
    assert Result("pair-distance", records=records).figure(None) == "spawn"
    times = [{**records[0], "step_a": 10, "step_b": 20}]  # of one child
    assert Result("pair-distance", records=times).figure(None) == "matrix"
    alone = [{**records[0], "spawn_epoch": None}]
    assert Result("pair-distance", records=alone).figure(None) == "matrix"
    with pytest.raises(UsageError, match="no spawn time"):
        spawn_figure(alone)
    with pytest.raises(UsageError, match="several distances"):
        matrix_figure([*alone, {**alone[0], "kind": "weight-distance"}])


def test_a_distance_without_a_value_leaves_a_gap() -> None:
    """Networks that make no errors have no function distance."""
    records = [
        {"kind": "function-distance", "a": f"a{n}", "b": f"b{n}", "distance": value, "spawn_epoch": epoch}
        for epoch, values in ((0.0, (0.5, 0.7)), (4.0, (math.nan, 0.2)), (8.0, (math.nan, math.nan)))
        for n, value in enumerate(values)
    ]
    for some, expected in ((records, [0.6, math.nan, math.nan]), (records[4:], [math.nan])):
        drawn = spawn_figure(some)
        means = drawn.axes[0].containers[0].lines[0].get_ydata().tolist()
        assert means == pytest.approx(expected, nan_ok=True)
        drawn.canvas.draw()


def test_logit_gradients_are_drawn_and_a_curve_says_how(cli: Cli, tmp_path: Path) -> None:
    done = cli("gradient-dist", SAMPLES / "parent", "--at", "all", "--samples", "30", "-o", tmp_path / "g.jsonl")
    assert [record["epoch_b"] for record in done.records] == [8.0, 15.0, 15.0]
    assert cli("plot", tmp_path / "g.jsonl", "-o", tmp_path / "g.svg").records[0]["figure"] == "matrix"
    (tmp_path / "c.jsonl").write_text('{"kind": "curve", "path": "runs/curve"}\n')
    refused = cli("plot", tmp_path / "c.jsonl")
    assert (refused.status, "barrier --along runs/curve --curve-out" in refused.err) == (2, True)
