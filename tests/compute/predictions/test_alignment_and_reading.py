import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from landscape_cli.compute.predictions.alignment import align
from landscape_cli.compute.predictions.reading import progress_weights, read_coordinates, weighted_sums
from landscape_cli.errors import DataError, UsageError


def cloud(points: int, dims: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(points, dims))


def orthogonal(dims: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(cloud(dims, dims, seed))[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6), st.floats(0.1, 10), st.booleans())
def test_what_was_turned_moved_and_scaled_is_found_again(dims: int, seed: int, factor: float, scale: bool) -> None:
    points, turn, shift = cloud(20, dims, seed), orthogonal(dims, seed), cloud(1, dims, seed)
    size = factor if scale else 1.0
    target = size * points @ turn + shift
    found = align(points, target, scale=scale)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-9)
    assert found.scale == pytest.approx(size)
    assert found.rmsd == pytest.approx(0, abs=1e-9 * max(factor, 1))
    np.testing.assert_allclose(found.apply(points), target, atol=1e-8)


def test_without_reflection_it_is_the_rotation_that_scipy_finds() -> None:
    one, two, weights = cloud(30, 3), cloud(30, 3, 1) * [1, 1, -2], np.random.default_rng(0).random(30)
    share = weights / weights.sum()
    x, y = one - share @ one, two - share @ two
    rotation, distance = Rotation.align_vectors(y, x, weights=share)
    found = align(one, two, reflect=False, weights=weights)
    np.testing.assert_allclose(found.rotation, rotation.as_matrix().T, atol=1e-9)
    assert found.rmsd == pytest.approx(distance)
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_with_reflection_it_is_procrustes() -> None:
    from scipy.linalg import orthogonal_procrustes

    one, two = cloud(30, 4), cloud(30, 4, 1)
    x, y = one - one.mean(axis=0), two - two.mean(axis=0)
    found = align(one, two)
    np.testing.assert_allclose(found.rotation, orthogonal_procrustes(x, y)[0], atol=1e-9)
    assert found.rmsd <= align(one, two, reflect=False).rmsd
    by_hand = np.sqrt(((found.apply(one) - two) ** 2).sum(axis=1).mean())
    assert found.rmsd == pytest.approx(by_hand)


def test_a_mirror_image_needs_reflection() -> None:
    points = cloud(20, 3)
    mirrored = points * [1, 1, -1]
    assert align(points, mirrored).rmsd == pytest.approx(0, abs=1e-12)
    assert align(points, mirrored, reflect=False).rmsd > 0.1


def test_points_that_do_not_correspond_are_refused() -> None:
    with pytest.raises(DataError, match="cannot be laid over"):
        align(cloud(4, 2), cloud(5, 2))
    with pytest.raises(DataError, match="cannot be laid over"):
        align(cloud(0, 2), cloud(0, 2))


def test_weights_of_a_mean_follow_progress_and_leave_far_models_out() -> None:
    progress, truth = np.array([0.28, 0.3, 0.35, 0.7, 0.3]), np.array([1.0, 1.0, 1.9, 0.1, 2.0])
    weights = progress_weights(progress, truth, 0.3)
    plain = [math.exp(-((t - 0.3) ** 2) / (2 * 0.05**2)) for t in (0.28, 0.3, 0.35, 0.7)]
    np.testing.assert_allclose(weights, [*(np.array(plain) / sum(plain)), 0.0], rtol=1e-12)


def test_a_mean_of_nobody_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"no model has progress near 0\.7: those within 2\.0 of the truth have progress 0\.100 to 0\.200",
    ):
        progress_weights(np.array([0.1, 0.2, 0.7]), np.array([1.0, 1.0, 3.0]), 0.7)
    with pytest.raises(DataError, match="none"):
        progress_weights(np.array([0.7]), np.array([3.0]), 0.7)
    with pytest.raises(UsageError, match="above 0"):
        progress_weights(np.array([0.7]), np.array([1.0]), 0.7, sigma=0)


def test_means_are_taken_in_probability() -> None:
    p = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 5)))
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    found = weighted_sums(p.log().float(), weights)
    np.testing.assert_allclose(found[0], p.mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(found[1], p[0], atol=1e-6)
    parts = sum(weighted_sums(p[i : i + 2].log(), weights[:, i : i + 2]) for i in (0, 2))
    np.testing.assert_allclose(parts, weighted_sums(p.log(), weights), atol=1e-15)


def test_a_certain_class_stays_certain_in_a_mean() -> None:
    log_probs = torch.tensor([[[0.0, -math.inf]], [[0.0, -math.inf]]], dtype=torch.float64)
    found = weighted_sums(log_probs, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    assert found.tolist() == [[[1.0, 0.0]]]


def test_four_models_that_span_the_space_read_it_exactly() -> None:
    """All models in one plane of three dimensions: the four are a frame of it, and the RMSD vanishes."""
    points = cloud(40, 3)
    distances = ((points[:, None] - points[None]) ** 2).sum(-1)
    full = points - points.mean(axis=0)
    found = read_coordinates(distances[:4, :4], distances[:, :4], full)
    assert found.alignment.rmsd == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(found.alignment.apply(found.coordinates), full, atol=1e-9)
    assert found.embedding.signature.tolist() == [1, 1, 1]


def test_a_reading_needs_three_dimensions() -> None:
    with pytest.raises(UsageError, match="the embedding has 2"):
        read_coordinates(np.zeros((4, 4)), np.zeros((5, 4)), np.zeros((5, 2)))
