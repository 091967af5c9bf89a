"""Siblings' distances against each other and through training; overlap and advantage: drawn is what the records say."""

from typing import Any

import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.curvature import overlap_figure
from landscape_cli.plots.recognise import Result
from landscape_cli.plots.sibling_distances import scatter_figure, through_figure
from landscape_cli.plots.tangent import advantage_figure

pytest.importorskip("matplotlib", reason="figures are an extra")


def comparisons() -> list[dict[str, Any]]:
    return [
        {"kind": "comparison", "spawn_epoch": e, "error_barrier": b, "function_distance": f, "weight_distance": 3.0}
        for e, b, f in ((0.0, 0.5, 0.8), (0.0, 0.4, 0.7), (2.0, 0.01, 0.3))
    ] + [{"kind": "comparison", "error_barrier": 1.0, "function_distance": 1.0}]


def through() -> list[dict[str, Any]]:
    return [
        {
            "kind": "function-distance", "a": f"at{e}-{a}@{t:g}ep", "b": f"at{e}-{b}@{t:g}ep", "spawn_epoch": e,
            "epoch_a": t, "epoch_b": t, "step_a": int(10 * t), "step_b": int(10 * t), "distance": 0.1 * t + 0.01 * n,
        }
        for e in (0.0, 2.0)
        for t in (8.0, 4.0)
        for n, (a, b) in enumerate(((0, 1), (0, 2), (1, 2)))
    ]  # fmt: skip


def test_each_pair_is_a_point_of_its_spawn_time() -> None:
    drawn = scatter_figure(comparisons())
    early, late = drawn.axes[0].collections
    assert early.get_offsets().tolist() == [[50, 0.8], [40, 0.7]]
    assert late.get_offsets().tolist() == [[1, 0.3]]
    assert drawn.axes[0].get_xlabel() == "error barrier (points of %)"
    assert scatter_figure(comparisons(), y="weight_distance", width=3.4).axes[0].get_ylabel().startswith("weight")
    with pytest.raises(UsageError, match="no measure 'width'"):
        scatter_figure(comparisons(), x="width")
    with pytest.raises(UsageError, match="no pair of siblings"):
        scatter_figure(comparisons()[-1:])


def test_a_line_a_spawn_time_is_the_mean_over_pairs() -> None:
    drawn = through_figure(through())
    axes = drawn.axes[0]
    assert [line.get_label() for line in axes.lines] == ["0", "2"]
    assert axes.lines[0].get_xdata().tolist() == [4, 8]
    assert axes.lines[0].get_ydata() == pytest.approx([0.41, 0.81])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(0.82)
    moved = [{**record, "step_b": -1} for record in through()]
    with pytest.raises(UsageError, match="none of these pairs"):
        through_figure(moved)


def test_which_figure_is_drawn_follows_from_the_pairs() -> None:
    assert Result("pair-distance", records=through()).figure(None) == "through"
    one_time = [record for record in through() if record["epoch_a"] == 8]
    assert Result("pair-distance", records=one_time).figure(None) == "spawn"


def test_the_advantage_is_drawn_in_points_of_percent() -> None:
    records = [
        {"kind": "linearization", "parent": "runs/p", "order": 1, "spawn_epoch": e, "advantage": a, "advantage_sd": 0.01,
         "repeats": 2}
        for e, a in ((8.0, 0.0), (0.0, 0.25))
    ]  # fmt: skip
    axes = advantage_figure([*records, {**records[0], "advantage": None}]).axes[0]
    (bars,) = axes.containers
    assert bars.lines[0].get_xydata().tolist() == [[0, 25], [8, 0]]
    with pytest.raises(UsageError, match="no record holds a nonlinear advantage"):
        advantage_figure([{**records[0], "advantage": None}])


def test_overlap_stands_beside_what_chance_gives() -> None:
    records = [
        {"kind": "hessian", "path": "runs/p", "epoch": e, "curvature": "hessian", "overlap": o, "samples": 10,
         "gradient_overlap": 0.5, "overlap_expected": 0.01, "overlap_dimensions": [10, 10]}
        for e, o in ((2.0, 0.9), (0.0, 0.2))
    ]  # fmt: skip
    axes = overlap_figure(records).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 0.2], [2, 0.9]]
    assert axes.lines[1].get_ydata().tolist() == [0.5, 0.5]
    assert set(axes.lines[2].get_ydata()) == {0.01}
    with pytest.raises(UsageError, match="no record holds an overlap"):
        overlap_figure([{**records[0], "overlap": None}])
