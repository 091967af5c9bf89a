"""t-SNE: a map that keeps who is near whom and gives up how far the others are (van der Maaten and Hinton 2008)."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError

EXACT = 1000  # models up to which forces are summed over all pairs and not over a tree
START = 1e-4  # standard deviation of the first coordinate at the start (Kobak and Berens 2019)


@dataclass(frozen=True, eq=False)
class NeighbourMap:
    """Models laid out by their neighbours.

    Args:
        coordinates: ``(model, dim)``; neither their scale nor the distance of far ones means anything.
        divergence: KL(P‖Q) in nats at the end.
        trustworthiness: 1 less a penalty for neighbours on the map that are none, larger the further off they are in
            D (Venna and Kaski 2001); 1 at best.
        iterations: Steps of gradient descent.
    """

    coordinates: NDArray[np.float64]
    divergence: float
    trustworthiness: float
    iterations: int


def tsne(
    squared: NDArray[np.float64],
    *,
    dims: int = 2,
    perplexity: float = 30.0,
    iterations: int = 1000,
    start: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> NeighbourMap:
    """Lay models out so that the neighbours of each stay its neighbours.

    Similarities are ``p_j|i ∝ exp(−D_ij / 2σᵢ²)``, each σᵢ such that the entropy of ``p_·|i`` is ``log(perplexity)``,
    and ``P = (p_j|i + p_i|j)/2M``; those of the map are ``q_ij ∝ (1 + ‖y_i − y_j‖²/ν)^(−(ν+1)/2)`` with
    ``ν = max(1, dims − 1)`` (van der Maaten 2009), in two dimensions ``1/(1 + ‖y_i − y_j‖²)``; ``KL(P‖Q)`` is made
    small. It is not comparable between maps of different ``dims``.

    Args:
        squared: ``(model, model)``, D: symmetric, not below zero, in the place of squared distances.
        dims: Of the map.
        perplexity: About how many neighbours count: fewer than there are other models.
        iterations: Steps of gradient descent.
        start: ``(model, dim)`` to begin with, at any scale; random if None.
        seed: Of a random start.

    Cost: ``M²`` numbers four times, and a step M² (up to 1,000 models) or ``M log M`` operations.

    Raises:
        UsageError: If the perplexity does not fit the number of models.
    """
    from sklearn.manifold import TSNE, trustworthiness

    models = len(squared)
    if not 1 <= perplexity < models - 1:  # with as many, all others would count alike, whatever their distances
        raise UsageError(
            f"a perplexity of {perplexity:g} does not fit {models} models",
            f"it is about how many neighbours count: at least 1, and fewer than the {models - 1} others",
        )
    begin: Any = "random"
    if start is not None:
        spread = float(start[:, 0].std())
        begin = np.ascontiguousarray(start * (START / spread if spread > 0 else 1.0), dtype=np.float32)
    lengths = np.sqrt(squared)
    # The library squares what it is given.
    method = "exact" if models <= EXACT or dims > 3 else "barnes_hut"
    found = TSNE(
        dims, perplexity=perplexity, metric="precomputed", init=begin, max_iter=iterations, learning_rate="auto",
        random_state=seed % 2**32, method=method,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        coordinates = np.asarray(found.fit_transform(lengths), dtype=np.float64)
    near = max(1, min(12, math.ceil(models / 2) - 1))
    kept = float(trustworthiness(lengths, coordinates, n_neighbors=near, metric="precomputed")) if models > 3 else 1.0
    return NeighbourMap(coordinates, float(found.kl_divergence_), kept, int(found.n_iter_))
