import inspect
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from landscape_cli.compute.predictions.distances import distance_sums, pairwise
from landscape_cli.compute.predictions.geodesics import geodesic
from landscape_cli.compute.predictions.references import distances_to_ignorance, distances_to_truth, ignorance, truth
from landscape_cli.errors import DataError, UsageError
from tests.compute.predictions.test_distances import KINDS, predictions
from tests.oracle import plain_predictions as plain

LABELS = torch.arange(23) % 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 3.0, 300.0, 5000.0])
def test_against_the_truth_it_is_half_the_cross_entropy(scale: float, dtype: torch.dtype) -> None:
    """At any confidence: with logits of 5,000 every root of a wrong label's probability underflows."""
    logits = (scale * torch.randn(6, 23, 4, generator=torch.Generator().manual_seed(0))).to(dtype)
    log_probs = torch.log_softmax(logits, 2)
    half = torch.stack([cross_entropy(model.double(), LABELS) / 2 for model in log_probs])
    assert torch.allclose(distances_to_truth(log_probs, LABELS), half, rtol=1e-13, atol=1e-15)
    sums = distance_sums(log_probs, truth(LABELS, 4)[None], kind="bhattacharyya")
    assert torch.allclose(sums[:, 0] / 23, half, rtol=1e-13, atol=1e-15)
    assert torch.equal(pairwise(log_probs, truth(LABELS, 4)[None]), pairwise(truth(LABELS, 4)[None], log_probs).T)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_distances_to_references_are_those_of_the_plain_version(kind, smoothing: float) -> None:
    log_probs = predictions("typical", 5, 23, 4)
    found = distances_to_truth(log_probs, LABELS, kind=kind, smoothing=smoothing)
    target = truth(LABELS, 4, smoothing=smoothing).numpy()[None]
    with np.errstate(invalid="ignore"):
        assert np.allclose(found, plain.distances(log_probs.numpy(), target, kind)[:, 0], rtol=1e-12)
    assert (kind == "skl" and smoothing == 0) == bool(found.isinf().all())
    found = distances_to_ignorance(log_probs, kind=kind)
    assert np.allclose(
        found, plain.distances(log_probs.numpy(), ignorance(23, 4).numpy()[None], kind)[:, 0], rtol=1e-12
    )


def test_truth_and_ignorance_are_distributions() -> None:
    assert torch.equal(truth(LABELS, 4).exp(), torch.nn.functional.one_hot(LABELS, 4).double())
    smooth = truth(LABELS, 4, smoothing=0.3).exp()
    assert torch.allclose(smooth.sum(1), torch.ones(23, dtype=torch.float64))
    assert torch.allclose(smooth[0], torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64))
    assert torch.allclose(ignorance(2, 5).exp(), torch.full((2, 5), 0.2, dtype=torch.float64))
    assert distances_to_ignorance(ignorance(3, 7)[None]).tolist() == [0.0]
    assert distances_to_truth(truth(LABELS, 4)[None], LABELS).tolist() == [0.0]


def test_labels_and_smoothing_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match="the label of sample 3 is 3, but there are 3 classes"):
        truth(LABELS, 3)
    for smoothing in (-0.1, 1.0, math.nan):
        with pytest.raises(UsageError, match="label smoothing"):
            truth(LABELS, 4, smoothing=smoothing)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 40.0])
def test_the_geodesic_is_the_formula_and_the_shortest_way(scale: float) -> None:
    first = predictions("typical", 1, 23, 5)[0]
    last = torch.log_softmax(first + scale * predictions("typical", 1, 23, 5, seed=1)[0], 1)
    times = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    points = geodesic(first, last, times)
    assert torch.allclose(points[0], first, rtol=1e-14)
    assert torch.allclose(points[-1], last, rtol=1e-14)
    ends = [np.exp(plain.renormalised(end.numpy()) / 2) for end in (first, last)]
    for time, point in zip(times.tolist(), points, strict=True):
        expected = plain.on_geodesic(*ends, time) ** 2
        assert np.allclose(point.exp(), expected, rtol=1e-7, atol=1e-9)
    along = pairwise(points, kind="geodesic")
    whole = along[0, -1]
    assert torch.allclose(along[0], times * whole, rtol=1e-9, atol=0)
    assert torch.allclose(along[:, -1], (1 - times) * whole, rtol=1e-9, atol=0)


def test_equal_ends_and_probabilities_that_underflow() -> None:
    first = predictions("typical", 1, 3, 4)[0]
    assert torch.allclose(geodesic(first, first, torch.tensor([0.3])), torch.log_softmax(first, 1), rtol=1e-14)
    sure = torch.tensor([[0.0, -3000.0, -2000.0]], dtype=torch.float64)
    middle = geodesic(sure, sure[:, [0, 2, 1]], torch.tensor([0.5]))[0, 0]
    assert middle[1] == pytest.approx(-2000 - 2 * math.log(2), rel=1e-12)
    assert geodesic(sure[:, :1] * 0, sure[:, :1] * 0, torch.tensor([0.5])).tolist() == [[[0.0]]]


def test_ends_and_times_that_are_none_are_refused() -> None:
    first = predictions("typical", 1, 3, 4)[0]
    with pytest.raises(UsageError, match="a time from 0"):
        geodesic(first, first, torch.tensor([0.5, 1.5]))
    broken = first.clone()
    broken[2, 1] = math.nan
    with pytest.raises(DataError, match="the last model of the geodesic gives sample 2"):
        geodesic(first, broken, torch.tensor([0.5]))
    with pytest.raises(DataError, match="cannot be compared"):
        inspect.unwrap(distance_sums)(first[None], broken[None, :2], kind="skl")
