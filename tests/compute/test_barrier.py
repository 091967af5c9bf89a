import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_cli.compute.evaluation import Evaluation
from landscape_cli.compute.weights.barrier import PathPoint, barriers, grid, read_barrier, search


def point(alpha: float, loss: float, error: float = 0.0) -> PathPoint:
    return PathPoint(alpha, {"test": Evaluation(loss=loss, error=error, samples=10)})


def test_readings_of_a_parabola() -> None:
    """R(α) = 4hα(1−α) + bα: by hand sup = max R − b/2, mid = h, chord = h at ½."""
    h, b = 0.7, 0.2
    alphas = grid(1001)
    risks = [4 * h * a * (1 - a) + b * a for a in alphas]
    found = read_barrier(alphas, risks)
    top = 0.5 + b / (8 * h)
    assert found.sup == pytest.approx(4 * h * top * (1 - top) + b * top - b / 2, abs=1e-6)
    assert found.sup_alpha == pytest.approx(top, abs=1e-3)
    assert found.mid == pytest.approx(h)
    assert found.chord == pytest.approx(h)
    assert found.chord_alpha == 0.5
    assert (found.first, found.second) == (pytest.approx(b), 0.0)


def test_a_valley_has_no_sup_below_zero_but_a_negative_middle() -> None:
    found = read_barrier([0, 0.5, 1], [1.0, 0.2, 0.6])
    assert found.sup == pytest.approx(0.2)
    assert found.sup_alpha == 0
    assert found.mid == pytest.approx(-0.6)
    assert found.chord == 0.0


@given(st.lists(st.floats(0, 10), min_size=3, max_size=3), st.lists(st.floats(0, 10), max_size=6))
def test_readings_hold_for_any_path(ends: list[float], others: list[float]) -> None:
    alphas = sorted({0.0, 0.5, 1.0} | {(i + 1) / 17 for i in range(len(others))})
    extra = iter(others)
    risks = [ends[int(2 * a)] if a in (0.0, 0.5, 1.0) else next(extra) for a in alphas]
    found = read_barrier(alphas, risks)
    assert found.sup >= 0
    assert found.chord >= 0
    assert found.sup >= found.mid
    assert found.sup == pytest.approx(max(risks) - (risks[0] + risks[-1]) / 2)
    chords = [r - (a * risks[-1] + (1 - a) * risks[0]) for a, r in zip(alphas, risks, strict=True)]
    assert found.chord == pytest.approx(max(chords), abs=1e-12)
    shifted = read_barrier(alphas, [r + 3 for r in risks])
    assert shifted.sup == pytest.approx(found.sup, abs=1e-9)
    turned = read_barrier([1 - a for a in reversed(alphas)], risks[::-1])
    assert (turned.sup, turned.mid) == (found.sup, found.mid)
    assert turned.chord == pytest.approx(found.chord, abs=1e-12)


@given(st.floats(0, 1e6), st.integers(3, 50))
def test_a_flat_path_is_exactly_flat(level: float, points: int) -> None:
    found = read_barrier(grid(points), [level] * len(grid(points)))
    assert (found.sup, found.mid, found.chord) == (0.0, 0.0, 0.0)


def test_nan_stays_nan_and_is_located() -> None:
    found = read_barrier([0, 0.25, 0.5, 1], [0.1, math.nan, 0.2, 0.1])
    assert math.isnan(found.sup)
    assert math.isnan(found.chord)
    assert found.sup_alpha == found.chord_alpha == 0.25
    assert found.mid == pytest.approx(0.1)


@pytest.mark.parametrize(("alphas", "risks"), [([0, 1], [1, 1]), ([0, 0.5, 0.9], [1, 1, 1]), ([0, 0.5, 1], [1, 1])])
def test_incomplete_paths_are_refused(alphas: list[float], risks: list[float]) -> None:
    with pytest.raises(ValueError, match=r"alphas 0, 0\.5 and 1"):
        read_barrier(alphas, risks)


@given(st.integers(2, 60))
def test_a_grid_has_its_ends_and_its_middle(points: int) -> None:
    alphas = grid(points)
    assert {0.0, 0.5, 1.0} <= set(alphas)
    assert len(alphas) == points + (points % 2 == 0)
    assert alphas == sorted(alphas)


@given(st.integers(2, 30), st.floats(-2, 0), st.floats(1, 3))
def test_a_longer_grid_holds_the_shorter_one(points: int, low: float, high: float) -> None:
    alphas = grid(points, (low, high))
    assert [a for a in alphas if 0 <= a <= 1] == grid(points)
    assert (alphas[0], alphas[-1]) == (low, high)
    assert max(b - a for a, b in pairwise(alphas)) <= 1 / (points - 1) + 1e-12


@pytest.mark.parametrize("span", [(0.1, 1), (0, 0.9), (-math.inf, 1), (0, math.nan)])
def test_a_grid_that_leaves_out_an_end_is_refused(span: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="at least from 0 to 1"):
        grid(5, span)


@given(st.lists(st.floats(0, 10), min_size=3, max_size=3), st.floats(0, 100), st.floats(0, 100))
def test_what_lies_beyond_is_no_part_of_a_barrier(risks: list[float], before: float, after: float) -> None:
    assert read_barrier([-1, 0, 0.5, 1, 2], [before, *risks, after]) == read_barrier([0, 0.5, 1], risks)


@given(st.floats(0.05, 0.95), st.floats(5, 40))
def test_the_finer_search_comes_nearer_the_maximum(centre: float, sharpness: float) -> None:
    def risk(alpha: float) -> float:
        return math.exp(-((sharpness * (alpha - centre)) ** 2))

    found = []
    for refine in (0, 6):
        points = sorted(search(lambda a: point(a, risk(a)), points=11, refine=refine), key=lambda p: p.alpha)
        reading = barriers(points)["test"]["loss"]
        found.append(reading.sup)
    level = (risk(0) + risk(1)) / 2
    assert found[0] <= found[1] <= 1 - level + 1e-12
    if sharpness < 12:  # wide enough for the grid to find its slope
        assert found[1] == pytest.approx(1 - level, abs=1e-3)


def test_each_point_is_measured_once_and_known_ones_not_at_all() -> None:
    asked: list[float] = []

    def measure(alpha: float) -> PathPoint:
        asked.append(alpha)
        return point(alpha, alpha * (1 - alpha))

    whole = list(search(measure, points=9, refine=3))
    assert len(asked) == len(set(asked)) == len(whole)
    known = {p.alpha: p for p in whole[:7]}
    asked.clear()
    again = list(search(measure, points=9, refine=3, known=known))
    assert [p.alpha for p in again] == [p.alpha for p in whole]
    assert not known.keys() & set(asked)


def test_a_nan_maximum_is_not_refined() -> None:
    points = list(search(lambda a: point(a, math.nan, math.nan), points=5, refine=4))
    assert len(points) == 5


def test_curves_of_several_splits_are_read_apart() -> None:
    points = [
        PathPoint(a, {"train": Evaluation(a * (1 - a), 0.1, 5), "test": Evaluation(0.3, 4 * a * (1 - a), 5)})
        for a in (0.0, 0.5, 1.0)
    ]
    found = barriers(points)
    assert found["train"]["loss"].mid == 0.25
    assert found["train"]["error"].sup == 0.0
    assert found["test"]["error"].sup == 1.0
    assert np.isclose(found["test"]["loss"].sup, 0)
