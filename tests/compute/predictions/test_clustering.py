"""Dendrograms, cuts, group means, and the importance of factors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from landscape_cli.compute.predictions.clustering import dendrogram, factor_importance, group_means
from landscape_cli.errors import DataError, UsageError


def random_distances(items: int, seed: int = 0) -> NDArray[np.float64]:
    points = np.random.default_rng(seed).normal(size=(items, 3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, 0.0)
    return (distances + distances.T) / 2


def plain_complete_linkage(distances: NDArray[np.float64]) -> list[tuple[float, frozenset[int]]]:
    """Merges with their heights, by looking at all pairs of clusters every time."""
    clusters = [frozenset([k]) for k in range(len(distances))]
    merges = []
    while len(clusters) > 1:
        height, a, b = min(
            (max(distances[i, j] for i in a for j in b), a, b) for a in clusters for b in clusters if min(a) < min(b)
        )
        clusters = [c for c in clusters if c not in (a, b)] + [a | b]
        merges.append((height, a | b))
    return merges


@settings(max_examples=15, deadline=None)
@given(items=st.integers(2, 9), seed=st.integers(0, 1000))
def test_the_tree_is_that_of_complete_linkage(items: int, seed: int) -> None:
    distances = random_distances(items, seed)
    tree = dendrogram(distances)
    held = {k: frozenset([k]) for k in range(items)}
    for number, (a, b, height, size) in enumerate(tree.linkage):
        held[items + number] = held[int(a)] | held[int(b)]
        assert len(held[items + number]) == size
        expected = plain_complete_linkage(distances)[number]
        assert (height, held[items + number]) == (pytest.approx(expected[0]), expected[1])
    assert sorted(tree.order.tolist()) == list(range(items))


@settings(max_examples=15, deadline=None)
@given(items=st.integers(2, 9), seed=st.integers(0, 1000), data=st.data())
def test_a_cut_gives_as_many_clusters_as_asked_for_in_the_order_of_the_leaves(
    items: int, seed: int, data: st.DataObject
) -> None:
    tree = dendrogram(random_distances(items, seed))
    clusters = data.draw(st.integers(1, items))
    cut = tree.cut(clusters)
    assert set(cut) == set(range(1, clusters + 1))
    assert (np.diff(cut[tree.order]) >= 0).all()
    groups = {frozenset(np.flatnonzero(cut == k).tolist()) for k in set(cut)}
    merged = [frozenset([k]) for k in range(items)]
    for _, union in plain_complete_linkage(random_distances(items, seed))[: items - clusters]:
        merged = [c for c in merged if not c <= union] + [union]
    assert groups == set(merged)


def test_leaves_are_in_optimal_order() -> None:
    line = np.array([3.0, 0.0, 1.0, 2.0, 9.0, 8.0])
    order = dendrogram(np.abs(line[:, None] - line[None])).order
    along = line[order]
    assert sorted(along.tolist()) in (along.tolist(), along[::-1].tolist())


def test_equal_distances_still_cut_into_as_many_clusters_as_asked_for() -> None:
    distances = 1.0 - np.eye(5)
    tree = dendrogram(distances)
    assert math.isnan(tree.cophenetic)
    assert len(set(tree.cut(3))) == 3


def test_the_cophenetic_correlation_of_an_ultrametric_is_one() -> None:
    distances = np.array([[0, 1, 3, 3], [1, 0, 3, 3], [3, 3, 0, 2], [3, 3, 2, 0]], dtype=float)
    assert dendrogram(distances).cophenetic == pytest.approx(1)


def test_what_cannot_be_clustered() -> None:
    with pytest.raises(DataError, match="takes two"):
        dendrogram(np.zeros((1, 1)))
    far = np.array([[0, np.inf], [np.inf, 0]])
    with pytest.raises(DataError, match="items 0 and 1 is inf"):
        dendrogram(far)
    with pytest.raises(DataError, match="symmetric"):
        dendrogram(np.array([[0.0, 1.0], [2.0, 0.0]]))
    with pytest.raises(UsageError, match="2 items cannot be cut into 3"):
        dendrogram(np.array([[0.0, 1.0], [1.0, 0.0]])).cut(3)


def test_group_means_are_means_over_pairs_of_members() -> None:
    distances = random_distances(6)
    groups = [np.array([0, 3, 4]), np.array([1]), np.array([2, 5])]
    means, within = group_means(distances, groups)
    for a in range(3):
        for b in range(3):
            if a != b:
                assert means[a, b] == pytest.approx(np.mean([distances[i, j] for i in groups[a] for j in groups[b]]))
    assert within[0] == pytest.approx(np.mean([distances[0, 3], distances[0, 4], distances[3, 4]]))
    assert math.isnan(within[1])
    assert within[2] == pytest.approx(distances[2, 5])
    assert np.array_equal(means, means.T)
    assert not np.diagonal(means).any()


def sweep(seeds: int = 4) -> tuple[NDArray[np.float64], dict[str, NDArray[np.object_]]]:
    """Distances that depend much on the architecture, a little on the optimiser, and not at all on the seed."""
    rows = [(a, o, s) for a in ("mlp", "cnn", "vit") for o in ("sgd", "adam") for s in range(seeds)]
    place = {"mlp": 0.0, "cnn": 3.0, "vit": 9.0, "sgd": 0.0, "adam": 1.0}
    at = np.array([place[a] + place[o] for a, o, _ in rows])
    distances = np.abs(at[:, None] - at[None])
    factors = {name: np.array([row[k] for row in rows], dtype=object) for k, name in enumerate(("arch", "opt", "seed"))}
    return distances, factors


def test_importance_finds_the_factors_that_matter() -> None:
    distances, factors = sweep()
    found = factor_importance(distances, factors, repeats=3, trees=30, seed=1)
    arch, opt, seed = found.mean
    assert found.factors == ("arch", "opt", "seed")
    assert arch > 5 * opt > 5 * abs(seed)
    assert abs(seed) < 0.02
    assert found.explained.min() > 0.8
    again = factor_importance(distances, factors, repeats=3, trees=30, seed=1)
    assert np.array_equal(found.mean, again.mean)


def test_what_does_not_matter_explains_nothing_on_held_out_pairs() -> None:
    distances = random_distances(24)
    factors = {"coin": np.random.default_rng(1).integers(0, 2, 24)}
    found = factor_importance(distances, factors, repeats=4, trees=30)
    assert found.explained.mean() < 0.1
    assert abs(found.mean[0]) < 0.3
    name_tag = {"name": np.array([f"run-{k}" for k in range(24)], dtype=object)}
    tagged = factor_importance(distances, name_tag, repeats=2, trees=30)
    assert tagged.seen.min() > 0.7  # the pairs it was trained on, by heart
    assert tagged.explained.max() < 0.1  # and of no use for others


def test_no_model_of_a_test_pair_is_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.ensemble

    distances, factors = sweep(3)
    tag = np.array([f"run-{k:02d}" for k in range(len(distances))], dtype=object)
    seen: list[set[int]] = []

    class Forest(sklearn.ensemble.RandomForestRegressor):
        def fit(self, X: NDArray[np.float64], y: NDArray[np.float64]) -> "Forest":
            seen.append(set(np.flatnonzero(X[:, : len(tag)].any(axis=0))))
            return super().fit(X, y)

        def predict(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
            inside = set(np.flatnonzero(X[:, : len(tag)].any(axis=0)))
            assert inside <= seen[-1] or not inside & seen[-1]
            return super().predict(X)

    monkeypatch.setattr(sklearn.ensemble, "RandomForestRegressor", Forest)
    units = np.repeat(np.arange(6), 3)
    found = factor_importance(distances, {"tag": tag} | factors, units=units, repeats=3, trees=5)
    assert len(seen) == 3
    for members in seen:
        assert len(members) % 3 == 0  # whole configurations
    assert (found.trained, found.tested) == (12 * 11 // 2, 6 * 5 // 2)


def test_numbers_with_many_values_are_magnitudes() -> None:
    draw = np.random.default_rng(0)
    rate = draw.uniform(size=40)
    noise = draw.uniform(size=40)
    distances = np.abs(rate[:, None] - rate[None])
    found = factor_importance(distances, {"rate": rate, "noise": noise}, repeats=2, trees=30)
    assert found.mean[0] > 0.5 > 20 * abs(found.mean[1])


def test_what_has_no_importance() -> None:
    distances, factors = sweep()
    with pytest.raises(UsageError, match="'bs' is the same everywhere"):
        factor_importance(distances, {"bs": np.full(24, 200)})
    with pytest.raises(UsageError, match="no factor"):
        factor_importance(distances, {})
    with pytest.raises(DataError, match="all distances are equal"):
        factor_importance(1.0 - np.eye(24), factors)
    with pytest.raises(DataError, match="too few"):
        factor_importance(distances[:5, :5], {"seed": factors["seed"][:5]})
