"""Distances between networks without a parent in common: the numbers in the cells are those of the records."""

import math
from typing import Any

import numpy as np
import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.comparison_matrices import MOST, comparison_matrices_figure

pytest.importorskip("matplotlib", reason="figures are an extra")


def records(names: str) -> list[dict[str, Any]]:
    return [
        {"kind": "comparison", "a": f"runs/{a}", "b": f"runs/{b}", "function_distance": 0.1 * i + j,
         "error_barrier": 0.01 * (i + j), "weight_distance": math.nan if (a, b) == ("p", "q") else 10.0 * i + j}
        for i, a in enumerate(names) for j, b in enumerate(names) if i < j
    ]  # fmt: skip


def test_each_cell_is_the_distance_of_its_pair() -> None:
    made = records("pqr")
    drawn = comparison_matrices_figure(made)
    shown = {axes.get_title(loc="left").replace("\n", " "): axes for axes in drawn.axes if axes.get_visible()}
    assert set(shown) == {"error barrier (points of %)", "function distance", "weight distance ‖w − w′‖"}
    values = np.ma.filled(shown["function distance"].images[0].get_array(), np.nan)
    for record in made:
        i, j = ("pqr".index(record[side][-1]) for side in "ab")
        assert values[i, j] == values[j, i] == record["function_distance"]
    assert np.isnan(np.diag(values)).all()
    assert [label.get_text() for label in shown["error barrier (points of %)"].get_yticklabels()] == ["p", "q", "r"]
    barriers = [text.get_text() for text in shown["error barrier (points of %)"].texts]
    assert sorted(map(float, barriers)) == pytest.approx([1, 1, 2, 2, 3, 3])
    assert sorted(text.get_text() for text in shown["weight distance ‖w − w′‖"].texts) == [
        "12",
        "12",
        "2",
        "2",
        "–",
        "–",
    ]


def test_one_pair_is_told_in_numbers_and_many_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"error barrier \(points of %\) 1, function distance 1, weight distance .* 1$"
    ):
        comparison_matrices_figure(records("rs"))
    with pytest.raises(UsageError, match="too many"):
        comparison_matrices_figure(records("abcdefghijklmnop"[: MOST + 1]))
