"""t-SNE: the divergence is that of the definition, in plain float64; neighbours stay neighbours."""

import numpy as np
import pytest
from scipy.optimize import brentq

from landscape_cli.compute.predictions.neighbours import tsne
from landscape_cli.errors import UsageError


def groups(each: int = 12) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.concatenate([rng.normal(size=(each, 5)) + 9 * k for k in range(3)])


def squares(points: np.ndarray) -> np.ndarray:
    return ((points[:, None] - points[None]) ** 2).sum(-1)


def divergence(squared: np.ndarray, y: np.ndarray, perplexity: float) -> float:
    """KL(P‖Q) as van der Maaten (2009) defines it; in two dimensions as he and Hinton do."""
    size = len(squared)
    given = np.zeros((size, size))
    for i in range(size):
        others = np.arange(size) != i
        d = squared[i, others] - squared[i, others].min()

        def shares(log_beta: float, d: np.ndarray = d) -> np.ndarray:
            weights = np.exp(-d * np.exp(log_beta))
            return weights / weights.sum()

        def missing(log_beta: float, shares=shares) -> float:
            p = shares(log_beta)
            return float(-(p * np.log(np.maximum(p, 1e-300))).sum() - np.log(perplexity))

        given[i, others] = shares(brentq(missing, -20, 20))
    p = (given + given.T) / (2 * size)
    freedom = max(1, y.shape[1] - 1)
    q = (1 + squares(y) / freedom) ** (-(freedom + 1) / 2)
    np.fill_diagonal(q, 0)
    q /= q.sum()
    known = p > 1e-15
    return float((p[known] * np.log(p[known] / q[known])).sum())


def test_the_divergence_is_that_of_the_definition() -> None:
    squared = squares(groups())
    found = tsne(squared, perplexity=8, seed=1)
    assert found.divergence == pytest.approx(divergence(squared, found.coordinates, 8), abs=2e-3)
    assert found.divergence < 0.5 * divergence(squared, groups()[:, :2] * 0.01, 8)


def test_three_dimensions_have_tails_of_their_own() -> None:
    squared = squares(groups())
    found = tsne(squared, dims=3, perplexity=8, seed=1)
    assert found.coordinates.shape == (36, 3)
    assert found.divergence == pytest.approx(divergence(squared, found.coordinates, 8), abs=2e-3)


@pytest.mark.parametrize("size", [36, 1100])
def test_it_is_the_library_map_of_the_points_themselves(size: int) -> None:
    """Squares of distances in place of points, over all pairs and over a tree."""
    from sklearn.manifold import TSNE

    points = np.random.default_rng(4).normal(size=(size, 5)) + 6 * (np.arange(size) % 3)[:, None]
    method = "exact" if size < 1000 else "barnes_hut"
    library = TSNE(2, perplexity=8, init="random", learning_rate="auto", random_state=7, max_iter=250, method=method)
    library.fit(points)
    found = tsne(squares(points), perplexity=8, seed=7, iterations=250)
    assert found.divergence == pytest.approx(library.kl_divergence_, rel=0.05)


def test_equal_models_do_no_harm() -> None:
    points = groups()
    points[:12] = points[0]
    found = tsne(squares(points), perplexity=8, start=points[:, :2], iterations=250)
    assert np.isfinite(found.coordinates).all()
    assert np.isfinite(found.divergence)


def test_groups_stay_together() -> None:
    found = tsne(squares(groups()), perplexity=8, start=groups()[:, :2])
    near = np.argsort(squares(found.coordinates), axis=1)[:, 1:6] // 12
    assert (near == (np.arange(36) // 12)[:, None]).all()
    # A group has eleven others, and twelve neighbours are asked about.
    assert found.trustworthiness > 0.9


def test_the_same_start_is_the_same_map_and_another_seed_another() -> None:
    squared = squares(groups())
    one, two = (tsne(squared, perplexity=5, start=groups()[:, :2], seed=seed, iterations=250) for seed in (0, 1))
    np.testing.assert_array_equal(one.coordinates, two.coordinates)
    other = [tsne(squared, perplexity=5, seed=seed, iterations=250).coordinates for seed in (0, 0, 1)]
    np.testing.assert_array_equal(other[0], other[1])
    assert not np.allclose(other[0], other[2])


def test_a_perplexity_that_does_not_fit_is_refused() -> None:
    for perplexity in (0.5, 35.0, 36.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="does not fit 36 models"):
            tsne(squares(groups()), perplexity=perplexity)
