"""Function distances: closed forms, chance, and scipy's Jensen–Shannon."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from landscape_cli.compute.function_distance import function_distance
from landscape_cli.errors import DataError


def predictions(seed: int, samples: int = 50, classes: int = 4) -> torch.Tensor:
    return torch.log_softmax(2 * torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed)), 1)


def test_against_plain_formulas_and_scipy() -> None:
    one, other, labels = predictions(0), predictions(1), torch.arange(50) % 4
    found = function_distance(one, other, labels)
    p, q = one.double().exp().numpy(), other.double().exp().numpy()
    answers, others = p.argmax(1), q.argmax(1)
    e, f = (answers != labels.numpy()).mean(), (others != labels.numpy()).mean()
    assert found.disagreement == (answers != others).mean()
    assert found.normalized == pytest.approx(found.disagreement / (e * (1 - f) + f * (1 - e) + e * f * 2 / 3))
    assert found.jensen_shannon == pytest.approx((jensenshannon(p, q, axis=1) ** 2).mean(), rel=1e-6)
    assert found.correlation == pytest.approx(np.corrcoef(p.ravel(), q.ravel())[0, 1], rel=1e-6)
    assert function_distance(other, one, labels).normalized == found.normalized


@pytest.mark.parametrize("classes", [2, 10])
def test_independent_random_classifiers_are_at_one(classes: int) -> None:
    n = 200_000
    draw = np.random.default_rng(0)
    labels = torch.from_numpy(draw.integers(0, classes, n))
    sides = []
    for right in (0.7, 0.4):
        wrong = (labels + torch.from_numpy(draw.integers(1, classes, n))) % classes
        answers = torch.where(torch.from_numpy(draw.random(n) < right), labels, wrong)
        sides.append(torch.nn.functional.one_hot(answers, classes).double().log())
    assert function_distance(*sides, labels).normalized == pytest.approx(1, abs=0.01)


def test_the_same_network_and_opposite_certainties() -> None:
    one, labels = predictions(0), torch.arange(50) % 4
    same = function_distance(one, one, labels)
    assert (same.disagreement, same.normalized, same.jensen_shannon) == (0, 0, 0)
    assert same.correlation == pytest.approx(1, abs=1e-12)
    sure = torch.eye(4)[labels].log()
    other = function_distance(sure, torch.eye(4)[(labels + 1) % 4].log(), labels)
    assert other.jensen_shannon == pytest.approx(math.log(2), rel=1e-12)
    assert other.disagreement == 1


def test_two_faultless_networks_have_no_function_distance() -> None:
    labels = torch.arange(50) % 4
    sure = torch.eye(4)[labels].log()
    found = function_distance(sure, torch.log_softmax(3 * torch.eye(4)[labels], 1), labels)
    assert (found.expected, found.disagreement) == (0, 0)
    assert math.isnan(found.normalized)
    uniform = torch.full((50, 4), -math.log(4.0), dtype=torch.float64)
    assert math.isnan(function_distance(sure, uniform, labels).correlation)


def test_nan_is_refused() -> None:
    broken = predictions(0)
    broken[3, 1] = math.nan
    with pytest.raises(DataError, match="NaN"):
        function_distance(broken, predictions(1), torch.arange(50) % 4)
