"""Distances between predictions against a dense float64 version written plainly, and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from landscape_cli.compute.predictions import distances
from landscape_cli.compute.predictions.distances import distance_sums, pairwise
from landscape_cli.compute.predictions.geodesics import geodesic
from landscape_cli.compute.predictions.references import ignorance, truth
from landscape_cli.errors import DataError

KINDS = ("bhattacharyya", "skl", "geodesic", "hellinger", "euclidean")


def dense(first: np.ndarray, second: np.ndarray, kind: str) -> np.ndarray:
    """Every pair and sample by itself, in float64 from what the inputs say."""
    a, b = log_softmax(first.astype(np.float64), axis=2)[:, None], log_softmax(second.astype(np.float64), axis=2)[None]
    p, q = np.exp(a), np.exp(b)
    s, t = np.exp(a / 2), np.exp(b / 2)
    chord = np.sqrt(((s - t) ** 2).sum(3))
    if kind == "bhattacharyya":
        # −log(1 − h) with h = ½‖s − t‖² is exact where the two are near, the sum of logarithms where they are far.
        near = -np.log1p(-np.minimum(chord**2 / 2, 0.5))
        with np.errstate(divide="ignore"):
            far = -np.logaddexp.reduce((a + b) / 2, axis=3)
        value = np.where(chord**2 / 2 < 0.5, near, far)
    elif kind == "skl":
        value = ((p - q) * (a - b)).sum(3)
    elif kind == "geodesic":
        value = 2 * np.arcsin(np.minimum(chord / 2, 1))
    elif kind == "hellinger":
        value = chord**2
    else:
        value = ((p - q) ** 2).sum(3)
    return value.mean(2)


def models(count: int, samples: int, classes: int, spread: float, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.log_softmax(spread * torch.randn(count, samples, classes, generator=random), -1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 10, 33])
@pytest.mark.parametrize("spread", [1.0, 5.0, 60.0])
def test_typical_and_confident_models(kind, classes: int, spread: float) -> None:
    first, second = models(19, 23, classes, spread), models(5, 23, classes, spread, seed=1)
    assert kind == "skl" or spread < 60 or float(first.min()) < -150
    for a, b in ((first, None), (first, second)):
        found = pairwise(a, b, kind=kind).numpy()
        expected = dense(a.numpy(), (a if b is None else b).numpy(), kind)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [10, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearly_identical_models(kind, classes: int, dtype: torch.dtype) -> None:
    base = models(1, 300, classes, 2.0).double()
    step = 2e-4 * torch.randn(17, 300, classes, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    near = torch.log_softmax(base + step, -1).to(dtype)
    found, expected = pairwise(near, kind=kind).numpy(), dense(near.numpy(), near.numpy(), kind)
    off = ~np.eye(17, dtype=bool)
    assert kind != "bhattacharyya" or 1e-10 < expected[off].max() < 1e-7
    np.testing.assert_allclose(found[off], expected[off], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_symmetric_to_the_bit_with_zeros_on_the_diagonal(kind) -> None:
    found = pairwise(models(37, 11, 10, 3.0), kind=kind)
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.zeros(37, dtype=torch.float64))
    assert float(found.min()) >= 0


@given(seed=st.integers(0, 1000), classes=st.integers(2, 12), samples=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_the_order_of_samples_classes_and_blocks_does_not_matter(seed: int, classes: int, samples: int) -> None:
    first = models(7, samples, classes, 4.0, seed)
    random = torch.Generator().manual_seed(seed)
    shuffled = first[:, torch.randperm(samples, generator=random)][:, :, torch.randperm(classes, generator=random)]
    for kind in KINDS:
        whole = pairwise(first, kind=kind)
        torch.testing.assert_close(pairwise(shuffled, kind=kind), whole, rtol=1e-6, atol=1e-13)
        torch.testing.assert_close(pairwise(first, kind=kind, block_samples=2), whole, rtol=1e-6, atol=1e-13)


def test_against_the_truth_it_is_half_the_cross_entropy_at_any_confidence() -> None:
    labels = torch.arange(12) % 4
    given_models = torch.log_softmax(models(6, 12, 4, 100.0).double(), -1)
    half = -0.5 * given_models.gather(2, labels.view(1, -1, 1).expand(6, -1, 1)).squeeze(2).mean(1)
    found = pairwise(given_models, truth(labels, 4)[None], kind="bhattacharyya")[:, 0]
    torch.testing.assert_close(found, half, rtol=1e-12, atol=0)


def test_no_overlap_is_infinite_and_nothing_else_is() -> None:
    sure = torch.full((3, 2, 3), -math.inf, dtype=torch.float64)
    sure[0, :, 0] = sure[1, :, 1] = 0.0
    sure[2] = torch.tensor([-2000.0, -1500.0, 0.0], dtype=torch.float64)
    found = pairwise(sure, kind="bhattacharyya")
    assert math.isinf(found[0, 1])
    assert float(found[0, 2]) == pytest.approx(1000, rel=1e-12)
    assert float(found[1, 2]) == pytest.approx(750, rel=1e-12)
    assert math.isinf(pairwise(sure, kind="skl")[0, 1])
    assert float(pairwise(sure, kind="geodesic")[0, 1]) == pytest.approx(math.pi / 2)
    assert float(pairwise(sure, kind="hellinger")[0, 1]) == pytest.approx(2)


def test_ignorance_and_points_of_the_geodesic() -> None:
    labels = torch.arange(5) % 3
    start, end = ignorance(5, 3), truth(labels, 3)
    points = geodesic(start, end, torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64))
    assert torch.equal(points[0], start)
    assert torch.equal(points[3], end)
    torch.testing.assert_close(points.exp().sum(2), torch.ones(4, 5, dtype=torch.float64))
    along = pairwise(points, kind="geodesic")
    whole = math.acos(1 / math.sqrt(3))
    torch.testing.assert_close(along[0], whole * torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64))


def test_without_compiled_kernels_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = models(9, 13, 10, 4.0), models(4, 13, 10, 4.0, seed=3)
    kept = {kind: (distance_sums(first, kind=kind), distance_sums(first, second, kind=kind)) for kind in KINDS}
    monkeypatch.setattr(distances, "cpu_kernels", lambda: None)
    for kind, (own, between) in kept.items():
        torch.testing.assert_close(distance_sums(first, kind=kind), own, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(distance_sums(first, second, kind=kind), between, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_distribution_is_named(kind) -> None:
    broken = models(4, 6, 3, 1.0)
    broken[2, 5, 1] = math.nan
    with pytest.raises(DataError, match=r"model 2"):
        pairwise(broken, kind=kind)
