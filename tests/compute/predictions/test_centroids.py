"""Means of predictions: closed forms, optimality, zeros, weights."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw
from torch import Tensor

from landscape_cli.compute.predictions.centroids import centroid, lambert_of_exp
from landscape_cli.errors import DataError

KINDS = ("arithmetic", "sqrt", "geometric", "harmonic", "bhattacharyya", "jeffreys", "geodesic")


def random_logs(models: int, samples: int, classes: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.log_softmax(scale * torch.randn(models, samples, classes, generator=draw, dtype=torch.float64), dim=-1)


def cost(kind: str, p: Tensor, c: Tensor, w: Tensor) -> Tensor:
    """What a mean minimises, plainly, for one sample: p (model, class), c (class)."""
    each = {
        "arithmetic": lambda: ((p - c) ** 2).sum(-1),
        "sqrt": lambda: ((p.sqrt() - c.sqrt()) ** 2).sum(-1),
        "geometric": lambda: (c * (c / p).log()).sum(-1),
        "harmonic": lambda: ((c - p) ** 2 / p).sum(-1),
        "bhattacharyya": lambda: -(p * c).sqrt().sum(-1).log(),
        "jeffreys": lambda: ((p - c) * (p / c).log()).sum(-1),
        "geodesic": lambda: (p * c).sqrt().sum(-1).clamp(max=1).arccos() ** 2,
    }
    return (w * each[kind]()).sum()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "jeffreys"])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_mean_minimises_its_divergence(kind: str, weighted: bool) -> None:
    logs = random_logs(5, 4, 6, scale=3.0)
    weights = torch.tensor([0.1, 2.0, 1.0, 0.5, 3.0], dtype=torch.float64) if weighted else None
    w = torch.full((5,), 0.2, dtype=torch.float64) if weights is None else weights / weights.sum()
    found = centroid(logs, kind, weights=weights).exp()
    draw = torch.Generator().manual_seed(1)
    for sample in range(4):
        p, c = logs[:, sample].exp(), found[sample]
        least = cost(kind, p, c, w)
        for _ in range(50):
            for size in (1e-1, 1e-3):
                step = torch.randn(6, generator=draw, dtype=torch.float64) * size * c.min()
                other = c + step - step.mean()
                other = other.clamp(min=1e-12) / other.clamp(min=1e-12).sum()
                assert cost(kind, p, other, w) >= least - 1e-15


def test_jeffreys_minimises_its_divergence_among_measures_and_is_then_normalised() -> None:
    logs = random_logs(4, 3, 5)
    p = logs.exp()
    a, g = p.mean(0), logs.mean(0).exp()
    free = a / torch.from_numpy(lambertw((math.e * a / g).numpy()).real)
    assert torch.allclose(centroid(logs, "jeffreys").exp(), free / free.sum(-1, keepdim=True), rtol=1e-13)
    slope = (free.log() - logs).mean(0) + 1 - a / free
    assert slope.abs().max() < 1e-13


@pytest.mark.parametrize("kind", KINDS)
def test_equal_models_are_their_own_mean(kind: str) -> None:
    one = random_logs(1, 5, 7, scale=20.0)
    assert torch.allclose(centroid(one.expand(4, -1, -1), kind), one[0], rtol=1e-12, atol=1e-13)
    assert torch.allclose(centroid(one.float(), kind), torch.log_softmax(one[0].float().double(), -1), atol=1e-13)


def test_two_models_in_closed_form() -> None:
    def exact(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    p, q = exact(0.5, 0.5), exact(0.9, 0.1)
    logs = torch.stack([p, q]).log()[:, None]
    middle = (p.sqrt() + q.sqrt()) ** 2 / ((p.sqrt() + q.sqrt()) ** 2).sum()
    by_hand = {
        "arithmetic": exact(0.7, 0.3),
        "geometric": exact(0.75, 0.25),
        "harmonic": exact(1 / (1 / 0.5 + 1 / 0.9), 1 / (1 / 0.5 + 1 / 0.1)),
        # Two points of a sphere have one middle, in whatever distance that is symmetric between them.
        "sqrt": middle,
        "bhattacharyya": middle,
        "geodesic": middle,
    }
    by_hand["harmonic"] /= by_hand["harmonic"].sum()
    for kind, expected in by_hand.items():
        assert torch.allclose(centroid(logs, kind)[0].exp(), expected, rtol=1e-13), kind


@settings(max_examples=25, deadline=None)
@given(
    models=st.integers(2, 6),
    classes=st.integers(2, 12),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.01, 1.0, 10.0, 60.0]),
)
def test_the_bhattacharyya_centroid_is_a_fixed_point_to_every_digit_of_every_class(
    models: int, classes: int, seed: int, scale: float
) -> None:
    logs = random_logs(models, 3, classes, seed, scale)
    c = centroid(logs, "bhattacharyya")
    shares = torch.log_softmax((logs + c) / 2, dim=-1)
    again = torch.logsumexp(shares, dim=0) - math.log(models)
    assert (again - c).abs().max() < 1e-11


@settings(max_examples=25, deadline=None)
@given(
    models=st.integers(2, 6),
    classes=st.integers(2, 12),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.01, 1, 10]),
)
def test_the_geodesic_mean_has_no_pull_left(models: int, classes: int, seed: int, scale: float) -> None:
    roots = (random_logs(models, 3, classes, seed, scale) / 2).exp()
    m = (centroid(2 * roots.log(), "geodesic") / 2).exp()
    angle = 2 * ((roots - m).norm(dim=-1, keepdim=True) / 2).asin()
    pull = (roots - angle.cos() * m) / torch.sinc(angle / math.pi)
    assert pull.mean(0).abs().max() < 1e-12


def test_weights_are_repetitions_and_a_weight_of_zero_is_absence() -> None:
    logs = random_logs(3, 4, 5)
    weights = torch.tensor([2.0, 1.0, 0.0]).double()
    logs[2, :, 0] = -math.inf
    for kind in KINDS:
        repeated = centroid(logs[[0, 0, 1]], kind)
        assert torch.allclose(centroid(logs, kind, weights=weights), repeated, rtol=1e-12, atol=1e-13), kind


def test_means_agree_for_nearby_models() -> None:
    base = random_logs(1, 4, 6)
    logs = torch.log_softmax(base + 1e-4 * random_logs(5, 4, 6, seed=3), dim=-1)
    means = torch.stack([centroid(logs, kind) for kind in KINDS])
    assert (means - means[0]).abs().max() < 1e-6


def test_order_of_models_samples_and_classes_does_not_matter() -> None:
    logs = random_logs(4, 6, 5)
    turned = logs.flip(0)[:, [3, 1, 5, 0, 2, 4]][..., [4, 2, 0, 1, 3]]
    for kind in KINDS:
        same = centroid(logs, kind)[[3, 1, 5, 0, 2, 4]][:, [4, 2, 0, 1, 3]]
        assert torch.allclose(centroid(turned, kind), same, rtol=1e-12, atol=1e-13), kind


def test_impossible_classes_stay_impossible_and_nothing_becomes_nan() -> None:
    p = torch.tensor([[[0.5, 0.5, 0.0]], [[0.0, 0.5, 0.5]]]).double()
    for kind in KINDS:
        c = centroid(p.log(), kind)[0].exp()
        assert not c.isnan().any()
        assert c.sum() == pytest.approx(1)
        common_only = kind in ("geometric", "harmonic", "jeffreys")
        assert c.tolist() == pytest.approx([0.0, 1.0, 0.0]) if common_only else c[0] > 0, kind
    nowhere = torch.tensor([[[0.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]]]).double()
    for kind in KINDS:
        assert centroid(nowhere.log(), kind)[0].exp().tolist() == pytest.approx([0.5, 0.5, 0.0]), kind


def test_models_without_a_common_class() -> None:
    logs = torch.eye(2).double().log()[:, None]
    for kind in ("arithmetic", "sqrt", "bhattacharyya", "geodesic"):
        assert centroid(logs, kind)[0].exp().tolist() == pytest.approx([0.5, 0.5])
    for kind in ("geometric", "harmonic", "jeffreys"):
        with pytest.raises(DataError, match="1 of 1 samples is empty") as told:
            centroid(logs, kind)
        assert "arithmetic" in str(told.value.hint)


def test_confident_models_keep_their_digits() -> None:
    logs = torch.log_softmax(torch.tensor([[[0.0, -300.0, -290.0]], [[0.0, -310.0, -250.0]]]).double(), dim=-1)
    assert centroid(logs, "geometric")[0].tolist() == pytest.approx([0.0, -305.0, -270.0], rel=1e-13, abs=1e-13)
    assert centroid(logs, "harmonic")[0, 1].item() == pytest.approx(-310.0 + math.log(2), rel=1e-6)
    middle = 2 * torch.logsumexp(logs / 2 - math.log(2), dim=0)[0]
    for kind in ("sqrt", "bhattacharyya", "geodesic"):
        assert torch.allclose(centroid(logs, kind)[0], middle, rtol=1e-12), kind


def test_bad_weights_are_named() -> None:
    logs = random_logs(2, 1, 3)
    for weights, told in (([1.0, -1.0], "negative"), ([0.0, 0.0], "all weights"), ([1.0, math.nan], "no number")):
        with pytest.raises(DataError, match=told):
            centroid(logs, "arithmetic", weights=torch.tensor(weights).double())
    with pytest.raises(DataError, match="no model"):
        centroid(logs[:0], "arithmetic")


def test_lambert_against_scipy() -> None:
    z = torch.linspace(1, 700, 500, dtype=torch.float64)
    assert np.allclose(lambert_of_exp(z).numpy(), lambertw(np.exp(z.numpy())).real, rtol=1e-15)
    large = torch.tensor([1e10, 1e300], dtype=torch.float64)
    u = lambert_of_exp(large)
    assert torch.allclose(u + u.log(), large, rtol=1e-15)
