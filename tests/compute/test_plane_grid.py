"""Grids: nodes once, budgets kept, fine where the values change."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_cli.compute.weights.plane_grid import adaptive, axis, regular


def circle(node: tuple[int, int]) -> dict[str, float]:
    column, row = node
    return {"error": float((column - 21.3) ** 2 + (row - 15.7) ** 2 < 150)}


def test_a_finer_axis_holds_the_coarser_one() -> None:
    coarse, fine = axis(-0.7, 1.9, 20), axis(-0.7, 1.9, 160)
    assert (fine[::8] == coarse).all()
    assert (coarse[0], coarse[-1]) == (-0.7, 1.9)


def test_no_tolerance_and_no_limit_is_the_whole_lattice() -> None:
    slope = lambda node: {"error": float(node[0] + 2 * node[1])}  # noqa: E731
    found = dict(adaptive(slope, 3, 4, budget=10**6, levels=2, tolerance=0.0))
    assert set(found) == {(i, j) for i in range(9) for j in range(13)}
    assert all(values == slope(node) for node, values in found.items())


def test_points_gather_where_the_values_change() -> None:
    found = list(adaptive(circle, 6, 6, budget=300, levels=3))
    nodes = [node for node, _ in found]
    assert len(nodes) == len(set(nodes)) <= 300
    assert nodes[:36] == [(8 * i, 8 * j) for i, j in regular(6, 6)]
    added = np.asarray(nodes[36:])
    off = np.abs(np.hypot(added[:, 0] - 21.3, added[:, 1] - 15.7) - math.sqrt(150))
    assert len(added) > 100
    assert off.max() < 8 * math.sqrt(2)
    assert np.median(off) < 3


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 120), st.floats(0, 0.5), st.integers(0, 10))
def test_the_budget_is_kept_and_each_node_is_measured_once(budget: int, tolerance: float, seed: int) -> None:
    asked: list[tuple[int, int]] = []

    def noise(node: tuple[int, int]) -> dict[str, float]:
        asked.append(node)
        return {"loss": float(np.random.default_rng([seed, *node]).random())}

    found = [node for node, _ in adaptive(noise, 3, 3, budget=budget, levels=2, tolerance=tolerance)]
    assert found == asked
    assert len(set(found)) == len(found) <= max(9, budget)


def test_the_edge_of_what_is_no_number_is_followed() -> None:
    far = lambda node: {"loss": math.nan if node[0] > 11 else 1.0, "error": math.nan if node[0] > 11 else 0.5}  # noqa: E731
    found = [node for node, _ in adaptive(far, 3, 3, budget=1000, levels=3)]
    added = [node for node in found if node[0] % 8 or node[1] % 8]
    assert {node[0] for node in added} >= {10, 11, 12}
    assert all(8 <= column <= 16 for column, _ in added)


def test_constant_values_are_left_alone() -> None:
    assert len(list(adaptive(lambda node: {"error": 0.5}, 5, 5, budget=1000))) == 25
