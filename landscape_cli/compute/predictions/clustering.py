"""Which models or trajectories belong together, and which factors of their configuration tell them apart.

Mao et al. 2023 cluster trajectories hierarchically and train a random forest to predict the distance of two of them
from their configurations; how much worse it predicts when one factor is shuffled is that factor's importance (Fig. 7).
The published code measures this on the very pairs that the forest was trained on, each of them in there twice, and
with the zeros of the diagonal; here it is measured on pairs of models of which the forest has seen neither.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from landscape_cli.errors import DataError, UsageError

LEVELS = 12  # numbers with more different values than this are taken as magnitudes, not as names
TREES = 200
SHUFFLES = 5  # of each factor, for each forest
SMALLEST_TEST = 3  # models: two of them are a single pair


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """A hierarchical clustering.

    Args:
        linkage: One row a merge, as scipy has it: the two clusters (items are 0 … M−1, merges M, M+1, …), the distance
            at which they merge, and how many items the new cluster holds.
        order: The items as they stand below the tree, ordered so that neighbours are as close as the tree allows.
        cophenetic: Correlation between the distances and the heights at which pairs merge: how well the tree tells
            the distances; NaN if all distances are equal.
    """

    linkage: Float64[np.ndarray, "merge 4"]
    order: Int64[np.ndarray, " item"]
    cophenetic: float

    def cut(self, clusters: int) -> Int64[np.ndarray, " item"]:
        """The cluster of each item when the tree is cut into ``clusters``, numbered from 1 along the order.

        Merges of equal height are undone one by one, so there are always as many clusters as asked for.

        Raises:
            UsageError: If there are not so many items.

        >>> dendrogram(np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 4.0], [5.0, 4.0, 0.0]])).cut(2).tolist()
        [2, 2, 1]
        """
        items = len(self.order)
        if not 1 <= clusters <= items:
            raise UsageError(f"{items} items cannot be cut into {clusters} clusters")
        parent = list(range(2 * items - 1))
        for merge in range(items - clusters):
            for child in self.linkage[merge, :2].astype(np.int64):
                parent[child] = items + merge
        # A merge comes after what it merges, so going down from the last one every parent is known already.
        for node in range(2 * items - 2, -1, -1):
            parent[node] = parent[parent[node]]
        number: dict[int, int] = {}
        for item in self.order.tolist():
            number.setdefault(parent[item], len(number) + 1)
        return np.array([number[parent[item]] for item in range(items)], dtype=np.int64)


def dendrogram(distances: Float64[np.ndarray, "item item"], *, method: str = "complete") -> Dendrogram:
    """Cluster items by their distances: complete linkage, leaves in optimal order (Bar-Joseph et al. 2001).

    Two clusters are as far apart as their farthest items. Cost: O(M²) memory; O(M²) time for the tree, up to O(M³)
    (much less in practice) for the order.

    Args:
        distances: Symmetric, with a zero diagonal.
        method: Another rule of scipy's ``linkage``.

    Raises:
        DataError: If there are fewer than two items, a distance is no number or infinite, or the matrix is not
            symmetric.
    """
    from scipy.cluster.hierarchy import cophenet, leaves_list, linkage
    from scipy.spatial.distance import squareform

    condensed = squareform(check_distances(distances), checks=False)
    tree = linkage(condensed, method=method, optimal_ordering=True)
    heights = cophenet(tree)
    varied = min(np.ptp(condensed), np.ptp(heights)) > 0 and len(condensed) > 1
    cophenetic = float(np.corrcoef(condensed, heights)[0, 1]) if varied else math.nan
    return Dendrogram(tree, leaves_list(tree).astype(np.int64), cophenetic)


def check_distances(distances: Float64[np.ndarray, "item item"]) -> Float64[np.ndarray, "item item"]:
    """See that a matrix can be clustered.

    Raises:
        DataError: If there are fewer than two items, a distance is no number or infinite, or the matrix is not
            symmetric.
    """
    if len(distances) < 2:
        raise DataError(f"{len(distances)} item cannot be clustered: it takes two")
    if not np.isfinite(distances).all():
        row, col = np.argwhere(~np.isfinite(distances))[0].tolist()
        raise DataError(f"the distance between items {row} and {col} is {distances[row, col]}")
    if not np.array_equal(distances, distances.T) or np.diagonal(distances).any():
        raise DataError("the distances are not symmetric with a zero diagonal")
    return distances


def group_means(
    distances: Float64[np.ndarray, "item item"], groups: Sequence[Int64[np.ndarray, " _"]]
) -> tuple[Float64[np.ndarray, "group group"], Float64[np.ndarray, " group"]]:
    """Distances between groups of items: means over all pairs of members (the paper's average over initialisations).

    Returns:
        The means between groups, with a zero diagonal; and the mean distance within each group, over pairs of
        different members, NaN for a single one. Cost: O(M²).
    """
    sizes = np.array([len(members) for members in groups], dtype=np.float64)
    member = np.zeros((len(groups), len(distances)))
    for number, members in enumerate(groups):
        member[number, members] = 1.0
    sums = member @ distances @ member.T
    pairs = sizes * (sizes - 1)
    within = np.divide(np.diagonal(sums), pairs, out=np.full(len(groups), math.nan), where=pairs > 0)
    means = sums / np.outer(sizes, sizes)
    np.fill_diagonal(means, 0.0)
    return (means + means.T) / 2, within


@dataclass(frozen=True, eq=False)
class Importance:
    """How much the distance of a pair depends on each factor.

    Args:
        factors: Their names.
        mean: How far the share of explained variance falls when a factor is shuffled among the held-out pairs; mean
            over repeats.
        std: Its standard deviation over repeats; NaN for a single one.
        explained: R² on the held-out pairs, one a repeat. Negative: worse than always saying their mean.
        trained: Pairs a forest was trained on.
        tested: Pairs it was tested on.
        seen: R² on the pairs it was trained on, one a repeat, for the difference.
    """

    factors: tuple[str, ...]
    mean: Float64[np.ndarray, " factor"]
    std: Float64[np.ndarray, " factor"]
    explained: Float64[np.ndarray, " repeat"]
    trained: int
    tested: int
    seen: Float64[np.ndarray, " repeat"]


def factor_importance(
    distances: Float64[np.ndarray, "item item"],
    factors: Mapping[str, Shaped[np.ndarray, " item"]],
    *,
    units: Int64[np.ndarray, " item"] | None = None,
    repeats: int = 10,
    held_out: float = 0.3,
    trees: int = TREES,
    seed: int = 0,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Importance:
    """Permutation importance of configuration factors for pairwise distances, on held-out pairs.

    A random forest predicts the distance of a pair from, for each factor, how many of the two have each of its values
    and whether they differ (for a number with many values: the smaller, the larger, and their difference), so the
    order of the two does not matter. A repeat splits the items; pairs within the one part train the forest, pairs
    within the other test it, pairs across are left out: no item of a test pair has been seen. Then all columns of one
    factor are shuffled together among the test pairs: ``importance = R² − R²(shuffled)``. Factors that go together
    (a learning rate chosen by optimiser) share their importance.

    Args:
        distances: Symmetric, finite.
        factors: Values by name, one an item: texts or numbers.
        units: What is held out together, one number an item (seeds of one configuration, say); each item by itself by
            default.
        repeats: How many splits and forests.
        held_out: Share of the units that test.
        trees: Trees of a forest.
        seed: Of splits, forests and shuffles.
        told: Called with how many repeats are done, and of how many.

    Raises:
        UsageError: If there is no factor, or one of them does not vary.
        DataError: If there are too few items, or the distances are infinite or all equal.
    """
    from sklearn.ensemble import RandomForestRegressor

    check_distances(distances)
    if not factors:
        raise UsageError("there is no factor whose importance could be measured", "name columns with --factors")
    for name, values in factors.items():
        if len({_level(value) for value in values.tolist()}) < 2:
            raise UsageError(f"the factor '{name}' is the same everywhere", "leave it out of --factors")
    off = distances[~np.eye(len(distances), dtype=bool)]
    if np.ptp(off) <= 1e-12 * np.abs(off).max():
        raise DataError("all distances are equal: there is nothing for a factor to explain")
    units = np.arange(len(distances)) if units is None else units
    first, second = np.triu_indices(len(distances), k=1)
    columns = [_pair_columns(values, first, second) for values in factors.values()]
    features = np.concatenate(columns, axis=1)
    spans = np.cumsum([0, *(block.shape[1] for block in columns)])
    target = distances[first, second]
    draw = np.random.default_rng(seed)
    falls, explained, seen, sizes = [], [], [], (0, 0)
    for repeat in range(repeats):
        test = _held_out(units, held_out, draw)
        inside, outside = test[first] & test[second], ~test[first] & ~test[second]
        sizes = (int(outside.sum()), int(inside.sum()))
        forest = RandomForestRegressor(trees, random_state=int(draw.integers(2**31)))
        forest.fit(features[outside], target[outside])
        here, truth = features[inside], target[inside]
        whole = _explained(truth, forest.predict(here))
        explained.append(whole)
        seen.append(_explained(target[outside], forest.predict(features[outside])))
        falls.append([whole - _shuffled(forest, here, truth, spans[k : k + 2], draw) for k in range(len(columns))])
        told(repeat + 1, repeats)
    fall = np.asarray(falls)
    spread = fall.std(axis=0, ddof=1) if repeats > 1 else np.full(len(factors), math.nan)
    return Importance(tuple(factors), fall.mean(axis=0), spread, np.asarray(explained), *sizes, seen=np.asarray(seen))


def _level(value: Any) -> Any:
    """A value to compare: missing numbers are one level."""
    return "" if isinstance(value, float) and math.isnan(value) else value


def _pair_columns(
    values: Shaped[np.ndarray, " item"], first: Int64[np.ndarray, " pair"], second: Int64[np.ndarray, " pair"]
) -> Float64[np.ndarray, "pair column"]:
    """One factor of the pairs as numbers, the same whichever of the two comes first."""
    levels = [_level(value) for value in values.tolist()]
    known = sorted(set(levels), key=lambda level: (str(type(level)), level))
    if values.dtype != object and len(known) > LEVELS:
        a, b = (np.nan_to_num(values.astype(np.float64), nan=-1.0)[index] for index in (first, second))
        return np.stack([np.minimum(a, b), np.maximum(a, b), np.abs(a - b)], axis=1)
    codes = np.array([known.index(level) for level in levels])
    a, b = codes[first], codes[second]
    counts = np.zeros((len(first), len(known) + 1))
    rows = np.arange(len(first))
    counts[rows, a] += 1
    counts[rows, b] += 1
    counts[:, -1] = a != b
    return counts


def _held_out(units: Int64[np.ndarray, " item"], share: float, draw: np.random.Generator) -> Bool[np.ndarray, " item"]:
    """Which items test: whole units, enough of them for several pairs on both sides."""
    names = draw.permutation(np.unique(units))
    wanted = max(1, round(share * len(names)))
    while wanted < len(names) and np.isin(units, names[:wanted]).sum() < SMALLEST_TEST:
        wanted += 1
    test = np.isin(units, names[:wanted])
    if test.sum() < SMALLEST_TEST or (~test).sum() < SMALLEST_TEST:
        raise DataError(
            f"{len(units)} items in {len(names)} units are too few to hold some out: three or more must train, three "
            "or more test",
            "measure the importance on more runs, or hold out single models",
        )
    return np.asarray(test)


def _explained(truth: Float64[np.ndarray, " pair"], predicted: Float64[np.ndarray, " pair"]) -> float:
    """R²: the share of the variance of ``truth`` that a prediction explains; NaN where there is none."""
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - predicted) ** 2).sum()) / total if total > 0 else math.nan


def _shuffled(
    forest: Any,
    features: Float64[np.ndarray, "pair column"],
    truth: Float64[np.ndarray, " pair"],
    span: Int64[np.ndarray, " 2"],
    draw: np.random.Generator,
) -> float:
    """R² with some columns shuffled together, the mean of several shuffles."""
    stacked = np.concatenate([features] * SHUFFLES)
    for number in range(SHUFFLES):
        rows = slice(number * len(features), (number + 1) * len(features))
        stacked[rows, span[0] : span[1]] = features[draw.permutation(len(features)), span[0] : span[1]]
    predicted = forest.predict(stacked).reshape(SHUFFLES, -1)
    return float(np.mean([_explained(truth, guess) for guess in predicted]))
