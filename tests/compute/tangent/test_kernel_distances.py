"""Kernel distance, alignment, rank: against dense float64 formulas and closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_cli.compute.device import placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.tangent.centroids import centroid_cosines, gradient_centroids
from landscape_cli.compute.tangent.distances import (
    centered_alignment,
    distance_matrix,
    effective_rank,
    eigenvalues,
    kernel_distance,
    participation,
    target_alignment,
    velocity,
)
from landscape_cli.errors import NetworkError


def gram(seed: int, rows: int = 12, rank: int = 20) -> torch.Tensor:
    factors = torch.randn(rows, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return factors @ factors.T


@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
@settings(max_examples=20, deadline=None)
def test_distance_is_one_minus_the_cosine(seed: int, scale: float) -> None:
    one, other = gram(seed), gram(seed + 1)
    dense = 1 - float((one * other).sum() / (one.norm() * other.norm()))
    assert kernel_distance(one, other) == pytest.approx(dense, abs=1e-14)
    assert kernel_distance(one, other) == kernel_distance(other, one)
    assert kernel_distance(one, scale * one) <= 1e-15
    assert kernel_distance(one, one) == 0.0


def test_nearly_equal_kernels_keep_their_digits() -> None:
    one = gram(0)
    step = gram(1)
    step -= one * (one * step).sum() / one.square().sum()  # at a right angle: S = 1 − 1/√(1 + ε²‖step‖²/‖one‖²)
    for size in (1e-3, 1e-6):
        tangent = size * float(step.norm() / one.norm())
        expected = -math.expm1(-0.5 * math.log1p(tangent**2))
        assert kernel_distance(one, one + size * step) == pytest.approx(expected, rel=1e-6)


def test_single_precision_agrees_with_double_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = gram(2), gram(3)
    whole = kernel_distance(one, other)
    monkeypatch.setattr("landscape_cli.compute.tangent.distances.BLOCK", 25)
    assert kernel_distance(one, other) == pytest.approx(whole, rel=1e-14)
    assert kernel_distance(one.float(), other.float()) == pytest.approx(whole, rel=1e-5)


def test_matrix_is_symmetric_to_the_bit() -> None:
    found = distance_matrix([gram(seed) for seed in range(4)])
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.zeros(4, dtype=torch.float64))
    assert float(found[0, 1]) == kernel_distance(gram(1), gram(0))


def test_zero_and_mismatched_kernels_are_named() -> None:
    with pytest.raises(NetworkError, match="is zero"):
        kernel_distance(torch.zeros(3, 3), gram(0, rows=3))
    with pytest.raises(NetworkError, match="kernels of 3 and 4 rows"):
        kernel_distance(gram(0, rows=3), gram(0, rows=4))
    assert velocity(0.2, 0.4) == 0.5


@pytest.mark.parametrize(("form", "classes"), [("trace", 3), ("pseudo", 3), ("full", 3)])
def test_alignments_against_dense_formulas(form, classes: int) -> None:
    samples = 6
    parts = classes if form == "full" else 1
    kernel, other = gram(4, samples * parts), gram(5, samples * parts)
    labels = torch.tensor([0, 1, 2, 0, 1, 1])
    hot = torch.eye(classes, dtype=torch.float64)[labels]
    target = hot.reshape(-1, 1) @ hot.reshape(1, -1) if form == "full" else hot @ hot.T
    dense = float((kernel * target).sum() / (kernel.norm() * target.norm()))
    assert target_alignment(kernel, labels, form=form, classes=classes) == pytest.approx(dense, rel=1e-12)

    projection = torch.eye(samples, dtype=torch.float64) - 1 / samples
    center = torch.kron(projection, torch.eye(parts, dtype=torch.float64))
    a, b = center @ kernel @ center, center @ other @ center
    dense = float((a * b).sum() / (a.norm() * b.norm()))
    assert centered_alignment(kernel, other, form=form, classes=classes) == pytest.approx(dense, rel=1e-10)


def test_ranks_of_known_spectra() -> None:
    kernel = torch.diag(torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64))
    assert eigenvalues(kernel).tolist() == [2, 2, 0]
    assert effective_rank(eigenvalues(kernel)) == pytest.approx(2)
    assert participation(kernel) == pytest.approx(2)


def test_centroids_are_mean_gradients_and_leave_nothing_behind() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).double().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inputs, labels = torch.randn(7, 4).double(), torch.randint(0, 3, (7,))
    samples = Samples(inputs, labels, placement("cpu", "float64"))
    found = gradient_centroids(network, samples, batch=3)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.eval()
    for number in range(3):
        mean = network(inputs)[:, number].mean()
        own = torch.cat([g.flatten() for g in torch.autograd.grad(mean, list(network.parameters()))])
        torch.testing.assert_close(found[number], own)
    cosines = centroid_cosines(found, -2 * found)
    torch.testing.assert_close(cosines, -torch.ones(3, dtype=torch.float64))
    assert centroid_cosines(torch.zeros(1, 2), torch.ones(1, 2)).isnan().all()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(NetworkError, match="no trainable parameters"):
        gradient_centroids(network, samples)
