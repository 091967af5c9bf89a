"""Siblings against spawn time: what is drawn is what the records say."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape_cli.cli.output import csv_text
from landscape_cli.errors import UsageError
from landscape_cli.jobs.summaries import barriers_by_spawn_time
from landscape_cli.plots.barrier import barrier_figure, curve_figure
from landscape_cli.plots.curvature import density_figure
from landscape_cli.plots.matrices import matrix_figure, stored_matrix_figure
from landscape_cli.plots.pair_distances import at_their_last, spawn_figure
from landscape_cli.plots.recognise import Result, recognise
from landscape_cli.store.matrices import Matrix
from landscape_cli.store.matrix_writing import MatrixHead, write_matrix
from landscape_cli.store.tables import Table
from tests.conftest import SAMPLES, Cli
from tests.plots.made_results import barrier_records
from tests.plots.test_curvature_figures import hessians

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


def test_a_file_of_distances_and_a_stored_matrix_are_one_picture(cli: Cli, tmp_path: Path) -> None:
    matrix = tmp_path / "m.h5"
    done = cli(
        "weight-dist", SAMPLES / "parent", "--at", "all", "--pairs", "all", "-o", tmp_path / "w.jsonl",
        "--matrix", matrix,
    )  # fmt: skip
    assert [record["epoch_b"] for record in done.records] == [8.0, 15.0, 15.0]
    for file in (tmp_path / "w.jsonl", matrix):
        assert cli("plot", file, "-o", tmp_path / f"{file.stem}.svg").records[0]["figure"] == "matrix"
    drawn = [
        matrix_figure(done.records).axes[0].images[0].get_array(),
        stored_matrix_figure(Matrix.open(matrix)).axes[0].images[0].get_array(),
    ]
    assert np.array_equal(*drawn)
    by_hand = [[0, *(r["distance"] for r in done.records[:2])], [0, 0, done.records[2]["distance"]], [0, 0, 0]]
    np.testing.assert_array_equal(drawn[0], np.asarray(by_hand) + np.asarray(by_hand).T)


def test_logit_gradients_are_drawn(cli: Cli, tmp_path: Path) -> None:
    done = cli("gradient-dist", SAMPLES / "parent", "--at", "all", "--samples", "30", "-o", tmp_path / "g.jsonl")
    assert [record["epoch_b"] for record in done.records] == [8.0, 15.0, 15.0]
    assert cli("plot", tmp_path / "g.jsonl", "-o", tmp_path / "g.svg").records[0]["figure"] == "matrix"


def test_a_curve_stands_beside_the_line(cli: Cli, tmp_path: Path) -> None:
    record = {"kind": "curve", "path": "runs/curve", "split": "test", "error_sup": 0.1, "line_error_sup": 0.3}
    (tmp_path / "c.jsonl").write_text(json.dumps(record) + "\n")
    assert cli("plot", tmp_path / "c.jsonl").records[0]["figure"] == "curve"
    line, curve = curve_figure([record]).axes[0].containers
    assert (line[0].get_width(), curve[0].get_width()) == pytest.approx((30, 10))
    broken = {name: value for name, value in record.items() if name != "line_error_sup"}
    (tmp_path / "c.jsonl").write_text(json.dumps(broken) + "\n")
    assert "is a curve record without 'line_error_sup'" in cli("plot", tmp_path / "c.jsonl").err


def test_of_a_pair_at_several_times_the_last_is_drawn() -> None:
    """Else a mean over times stood for one over pairs."""
    base = {"kind": "relu-distance", "spawn_epoch": 1.0, "split": "test"}
    records = [
        base | {"a": f"a{n}@{e:g}ep", "b": f"b{n}@{e:g}ep", "step_a": e, "step_b": e, "epoch_a": e, "distance": d}
        for n, e, d in ((0, 2.0, 0.9), (0, 4.0, 0.2), (1, 4.0, 0.4), (1, 2.0, 0.8))
    ]
    records.append(base | {"a": "a0@2ep", "b": "a0@4ep", "step_a": 2, "step_b": 4, "distance": 9.0})  # of one child
    assert [r["distance"] for r in at_their_last(records)] == [0.2, 0.4]
    drawn = spawn_figure(records)
    assert drawn.axes[0].containers[0].lines[0].get_ydata() == pytest.approx([0.3])
    assert drawn.get_suptitle() == "Children at epoch 4, 2 pairs at each spawn time"
    moved = [{**record, "epoch_a": n} for n, record in enumerate(records[1:3])]
    assert spawn_figure(moved).get_suptitle().startswith("Children at their last epoch, 2 pairs")


def test_a_distance_a_little_below_zero_is_drawn() -> None:
    """Rounding makes kernel distances of −1e-9; a spread must not become negative by it."""
    records = [
        {"kind": "kernel-distance", "a": f"a{n}", "b": f"b{n}", "distance": d, "spawn_epoch": 1.0}
        for n, d in enumerate((-1e-9, -3e-9))
    ]
    spawn_figure(records).canvas.draw()
    matrix = matrix_figure([{**records[0], "spawn_epoch": None}])
    assert matrix.axes[0].images[0].get_clim()[0] == -1e-9


def test_rows_of_a_stored_matrix_are_in_order_of_run_and_time(tmp_path: Path) -> None:
    rows = [
        {"name": f"{run}@{epoch}", "run": run, "epoch": epoch, "reference": reference}
        for run, epoch, reference in (("b", 1.0, ""), ("", None, "truth"), ("a", 8.0, ""), ("a", 2.0, ""))
    ]
    values = np.arange(16.0).reshape(4, 4)
    values = values + values.T
    values[0, 1] = values[1, 0] = np.inf
    table = Table.from_rows(rows)
    write_matrix(
        tmp_path / "m.h5", values,
        MatrixHead(distance="bhattacharyya", rows=table, cols=table, symmetric=True, samples=3, classes=2),
    )  # fmt: skip
    drawn = stored_matrix_figure(Matrix.open(tmp_path / "m.h5"))
    order = [3, 2, 0, 1]
    image = drawn.axes[0].images[0].get_array()
    expected = values[np.ix_(order, order)]
    np.testing.assert_array_equal(np.ma.filled(image, np.inf), expected)
    assert [tick.get_text() for tick in drawn.axes[0].get_yticklabels()] == ["a", "b", "references"]
    assert drawn.axes[1].get_ylabel() == "Bhattacharyya distance (nats)"
    assert "2 runs, 4 rows; grey" in drawn.axes[0].texts[0].get_text()


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"distance": None}, "is a relu-distance record without 'distance'"),
        ({"distance": "far"}, "'distance' is \"far\", no number"),
        ({"a": 7}, "'a' is 7, no text"),
        ({"split": ["test"]}, "'split' is [\"test\"], no text"),
        ({"spawn_epoch": "early"}, "'spawn_epoch' is \"early\", no number"),
        ({"epoch_a": math.inf}, "'epoch_a' is Infinity, no finite number"),
        ({"advantage_sd": -0.1}, "'advantage_sd' is -0.1, and no spread is below zero"),
    ],
)
def test_a_record_that_is_not_whole_is_named(entries: dict[str, Any], told: str) -> None:
    record = {"kind": "relu-distance", "a": "x", "b": "y", "distance": 0.2, "spawn_epoch": 1.0}
    recognise(["-"], stdin=[json.dumps(record)])
    with pytest.raises(UsageError, match=re.escape(f"line 2 of the input{' ' if 'is a' in told else ': '}{told}")):
        recognise(["-"], stdin=[json.dumps(record), json.dumps(record | entries)])


def test_what_is_nested_in_csv_is_drawn(tmp_path: Path) -> None:
    """A spectral density is a list in one cell."""
    (tmp_path / "h.csv").write_text(csv_text(hessians()), encoding="utf-8", newline="")
    found = recognise([str(tmp_path / "h.csv")])
    assert found.kind == "hessian"
    assert [record["density"] for record in found.records] == [record["density"] for record in hessians()]
    assert density_figure(found.records).axes[0].lines


def test_a_loss_that_overflowed_leaves_its_spread_open() -> None:
    pair = barrier_records()[0][1]
    rows = barriers_by_spawn_time([pair, pair | {"loss_sup": math.inf}], split=pair["split"])
    assert (rows[0]["loss_sup_mean"], math.isnan(rows[0]["loss_sup_std"])) == (math.inf, True)
    assert rows[0]["error_sup_std"] == 0
    barrier_figure([], [pair], rows).canvas.draw()
