"""Figures of tangent kernels and of linearised training: what is drawn is what the records say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.matrices import matrix_figure
from landscape_cli.plots.tangent import linearized_figure, velocity_figure
from tests.conftest import Cli

pytest.importorskip("matplotlib", reason="figures are an extra")

EPOCHS = (0.0, 0.5, 8.0)


def distances(run: str = "runs/p", form: str = "full") -> list[dict[str, Any]]:
    return [
        {
            "kind": "kernel-distance", "a": f"{run}@{EPOCHS[i]:g}ep", "b": f"{run}@{EPOCHS[j]:g}ep",
            "epoch_a": EPOCHS[i], "epoch_b": EPOCHS[j], "distance": 0.1 * (i + 1) * (j + 1), "form": form,
        }
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]  # fmt: skip


def velocities(*, barriers: bool = True, path: str = "runs/p") -> list[dict[str, Any]]:
    return [
        {
            "kind": "kernel-velocity", "path": path, "epoch": e, "dt": 0.4, "velocity": v, "form": "full",
            "samples": 100, "error_barrier": b if barriers else None,
        }
        for e, v, b in ((8.0, 0.01, 0.0), (0.0, 0.9, 0.8), (0.5, 0.3, None))
    ]  # fmt: skip


def linearizations(**other: Any) -> list[dict[str, Any]]:
    return [
        {
            "kind": "linearization", "path": f"runs/p@{e}ep", "parent": "runs/p", "spawn_epoch": e, "order": 1,
            "repeats": 2, "test_error": t, "test_error_sd": 0.01, "low_lr_test_error": low, "parent_test_error": 0.05,
        } | other
        for e, t, low in ((8.0, 0.05, 0.05), (0.0, 0.4, 0.2))
    ]  # fmt: skip


def test_the_matrix_is_in_order_of_time_and_symmetric() -> None:
    drawn = matrix_figure(distances())
    image = drawn.axes[0].images[0].get_array()
    assert np.allclose(image, [[0, 0.2, 0.3], [0.2, 0, 0.6], [0.3, 0.6, 0]])
    assert [tick.get_text() for tick in drawn.axes[0].get_xticklabels()] == ["0", "0.5", "8"]


def test_pairs_that_were_not_measured_are_left_out() -> None:
    image = matrix_figure(distances()[:1] + distances("runs/q")[1:2]).axes[0].images[0].get_array()
    assert image.shape == (4, 4)
    assert int(np.ma.count_masked(image)) == 8  # between the runs


def test_forms_are_not_mixed() -> None:
    with pytest.raises(UsageError, match="several kernel forms: full, trace"):
        matrix_figure(distances() + distances(form="trace"))


def test_velocity_and_barrier_have_axes_of_their_own() -> None:
    drawn = velocity_figure(velocities())
    velocity, barrier = (axes.lines[0] for axes in drawn.axes)
    assert velocity.get_xydata().tolist() == [[0, 0.9], [0.5, 0.3], [8, 0.01]]
    assert barrier.get_xydata().tolist() == [[0, 80], [8, 0]]
    assert len(velocity_figure(velocities(barriers=False)).axes) == 1
    assert len(velocity_figure(velocities() + velocities(path="runs/q")).axes[0].lines) == 2


def test_linearised_errors_stand_beside_the_low_rate_and_the_parent() -> None:
    solved = {"kind": "kernel-regression", "parent": "runs/p", "spawn_epoch": 0.0, "kernel": "trace", "samples": 60}
    drawn = linearized_figure([*linearizations(), solved | {"kernel_test_error": 0.5, "parent_test_error": 0.05}])
    axes = drawn.axes[0]
    curves = {c.get_label(): c.lines[0].get_xydata().tolist() for c in axes.containers}
    assert curves["linearised at t̃, order 1"] == [[0, 40], [8, 5]]
    assert curves["the network itself, from t̃ at the same low rate"] == [[0, 20], [8, 5]]
    assert curves["regression on the trace kernel, n = 60"] == [[0, 50]]
    level = next(line for line in axes.lines if line.get_label() == "the parent's end")
    assert set(level.get_ydata()) == {5.0}


def test_one_network_beside_two_orders_is_one_line_and_other_parents_and_protocols_are_their_own() -> None:
    """The network at the low rate is the same beside both orders: repeats of one run are no second point."""
    second = linearizations(order=2, repeats=1, test_error=0.1, low_lr_test_error=0.3)
    lines = {c.get_label(): c.lines[0].get_xydata().tolist() for c in linearized_figure(
        [*linearizations(), *second]).axes[0].containers}  # fmt: skip
    assert lines["the network itself, from t̃ at the same low rate"] == [[0, 20], [8, 5]]
    assert lines["linearised at t̃, order 2"] == [[0, 10], [8, 10]]
    other = linearizations(parent="runs/q", test_error=0.2)
    named = [c.get_label() for c in linearized_figure([*linearizations(), *other]).axes[0].containers]
    assert [label for label in named if "order 1" in label] == [
        "linearised at t̃, order 1, p", "linearised at t̃, order 1, q",
    ]  # fmt: skip
    rates = [*linearizations(lr=0.01, epochs=8.0), *linearizations(lr=0.1, epochs=8.0)]
    named = [c.get_label() for c in linearized_figure(rates).axes[0].containers]
    assert "linearised at t̃, order 1, rate 0.1, 8 epochs" in named


def test_from_the_shell(cli: Cli, tmp_path: Path) -> None:
    for name, records, word in (
        ("matrix", distances(), "kernel distance S"),
        ("velocity", velocities(), "error barrier"),
        ("linear", linearizations(), "test error"),
    ):
        file, out = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.svg"
        file.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
        assert cli("plot", file, "-o", out).status == 0
        assert word in out.read_text()
    refused = cli("plot", tmp_path / "matrix.jsonl", "--color", "a", "-o", tmp_path / "x.svg")
    assert (refused.status, "--color means nothing" in refused.err) == (2, True)
    chosen = cli("plot", tmp_path / "velocity.jsonl", "--where", "epoch < 1", "-o", tmp_path / "y.svg")
    assert chosen.status == 0
    assert "none of the 3 records" in cli("plot", tmp_path / "velocity.jsonl", "--where", "epoch > 99").err


def test_barriers_of_several_pairs_have_their_spread() -> None:
    records = [{**r, "error_barrier_sd": 0.1 if r["epoch"] == 0 else None} for r in velocities()]
    (bars,) = velocity_figure(records).axes[1].containers
    assert bars.lines[0].get_xydata().tolist() == [[0, 80], [8, 0]]
    ends = bars.lines[2][0].get_segments()
    assert [segment[:, 1].tolist() for segment in ends] == [[70, 90], [0, 0]]
