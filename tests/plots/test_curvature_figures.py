"""Sharpness, density and escape threshold: what is drawn is what the records say, wide and narrow."""

import math
from typing import Any

import numpy as np
import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.curvature import density_figure, escape_figure, sharpness_figure

pytest.importorskip("matplotlib", reason="figures are an extra")


def hessians() -> list[dict[str, Any]]:
    grid = np.linspace(-1, 4, 6)
    return [
        {
            "kind": "hessian", "path": "runs/p", "epoch": e, "curvature": "hessian", "samples": 500, "parameters": 100,
            "lambda_max": top, "lambda_max_sd": 0.5, "eigenvalues": [top, top / 2], "trace": 3 * top, "trace_error": 0.1,
            "density": {"grid": grid.tolist(), "values": (0.1 + grid**2).tolist(), "error": [0.01] * 6, "width": 0.05,
                        "nodes": [[0.0] * 7] * 2},
        }
        for e, top in ((2.0, 3.0), (0.0, 90.0), (0.5, 1.0))
    ]  # fmt: skip


def escapes(**other: Any) -> list[dict[str, Any]]:
    return [
        {
            "kind": "escape", "path": "runs/p", "epoch": e, "escape_scale_free": s, "escape_scale_free_error": 0.1,
            "escape_gradient_descent": g, "noise_scale": 50.0, "batch_size": 64, "optimizer": "sgd", "minibatches": 8,
            "samples": 500,
        } | other
        for e, s, g in ((1.0, -0.5, -0.6), (0.0, 2.0, 3.0))
    ]  # fmt: skip


def test_sharpness_and_trace_in_order_of_time() -> None:
    sharp, trace = sharpness_figure(hessians()).axes
    assert sharp.containers[0].lines[0].get_xydata().tolist() == [[0, 90], [0.5, 1], [2, 3]]
    assert trace.containers[0].lines[0].get_ydata().tolist() == [270, 3, 9]
    others = next(line for line in sharp.lines if line.get_linestyle() == "None" and line.get_marker() == ".")
    assert others.get_ydata().tolist() == [45, 0.5, 1.5]
    assert sharp.get_yscale() == "log"  # ninety times from the smallest to the largest
    mixed = [*hessians(), {**hessians()[0], "curvature": "gauss-newton"}]
    with pytest.raises(UsageError, match="several curvatures"):
        sharpness_figure(mixed)


def test_each_density_is_a_line_and_each_lambda_a_level() -> None:
    axes = density_figure(hessians()).axes[0]
    curves = [line for line in axes.lines if len(line.get_xdata()) == 6]
    assert [line.get_label() for line in curves] == ["epoch 0", "epoch 0.5", "epoch 2"]
    np.testing.assert_allclose(curves[0].get_ydata(), 0.1 + np.linspace(-1, 4, 6) ** 2)
    levels = sorted(line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2)
    assert levels == [1, 3, 90]
    with pytest.raises(UsageError, match="no record holds a spectral density"):
        density_figure([{**record, "density": None} for record in hessians()])


def test_escape_thresholds_stand_beside_the_noise() -> None:
    threshold, noise = escape_figure(escapes()).axes
    assert threshold.containers[0].lines[0].get_xydata().tolist() == [[0, 2], [1, -0.5]]
    bound = next(line for line in threshold.lines if str(line.get_label()).startswith("ηλ_max"))
    assert bound.get_ydata().tolist() == [3, -0.6]
    assert {tuple(line.get_ydata()) for line in noise.lines} == {(50, 50), (64, 64)}
    assert math.isnan(escape_figure(escapes(noise_scale=math.inf)).axes[1].lines[0].get_ydata()[0])


@pytest.mark.parametrize("width", [3.4, None])
def test_panels_do_not_lie_over_each_other_and_legends_are_whole(width: float | None) -> None:
    """At a column's width too: every legend inside the figure, no axes over others."""
    for drawn in (escape_figure(escapes(), width=width), density_figure(hessians(), width=width)):
        drawn.draw_without_rendering()
        boxes = [axes.get_position() for axes in drawn.axes]
        assert all(not one.overlaps(two) for k, one in enumerate(boxes) for two in boxes[:k])
        whole = drawn.bbox.expanded(1.02, 1.02)
        legends = [*drawn.legends, *(axes.get_legend() for axes in drawn.axes if axes.get_legend())]
        assert legends
        for legend in legends:
            box = legend.get_window_extent()
            assert whole.containsx(box.x0)
            assert whole.containsx(box.x1)
            assert whole.containsy(box.y0)
