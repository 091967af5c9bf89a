"""Means of predictions: seven ways to average distributions, one for each notion of distance (Mao et al. 2023, D.4).

| kind | centroid of each sample, before it is normalised | minimises, over distributions c |
|---|---|---|
| ``arithmetic`` | ``Σ_i w_i p_i`` | ``Σ w_i ‖p_i − c‖²`` and ``Σ w_i KL(p_i ‖ c)`` |
| ``sqrt`` | ``(Σ_i w_i √p_i)²`` | ``Σ w_i ‖√p_i − √c‖²``, the Hellinger distance |
| ``geometric`` | ``exp Σ_i w_i log p_i`` | ``Σ w_i KL(c ‖ p_i)`` |
| ``harmonic`` | ``1 / Σ_i w_i / p_i`` | ``Σ w_i Σ_c (c − p_i)² / p_i`` |
| ``bhattacharyya`` | the fixed point ``c = Σ_i w_i √(c p_i) / Σ_c √(c p_i)`` | ``−Σ w_i log Σ_c √(c p_i)`` |
| ``jeffreys`` | ``a / W₀(e a/g)``, of the first a and the third g | ``Σ w_i Σ_c (p_i − c) log(p_i/c)``, of measures |
| ``geodesic`` | the point m of the sphere of √p with ``Σ_i w_i log_m √p_i = 0`` | ``Σ w_i arccos²Σ_c √(p_i c)`` |

Jeffreys' closed form (Nielsen 2013) is exact for positive measures; its normalised version, used here as in the paper,
approximates the centroid among distributions. Nothing is added to probabilities: zeros stay zeros. The paper names the
first six; the last is the centroid of the product geodesic distance (Karcher's mean for the Fisher metric).

All is computed in float64 from log-probabilities, so that classes of probability 1e-300 keep their digits.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.predictions.choices import CentroidName
from landscape_cli.errors import DataError

ROUNDS = 2000  # a limit that no data has come near: both iterations shrink their error by a constant factor
SETTLED = 1e-14  # largest relative change of an affinity, or length of a step, in the last round


def centroid(
    log_probs: Float[Tensor, "model sample class"],
    kind: CentroidName,
    *,
    weights: Float64[Tensor, " model"] | None = None,
) -> Float64[Tensor, "sample class"]:
    """One mean of several models, sample by sample.

    Args:
        log_probs: Log-probabilities in nats; −∞ is a class without probability. They are normalised before.
        kind: Which mean; see the top of this module.
        weights: One a model, not negative; equal by default. Only their ratios count.

    Returns:
        Log-probabilities, normalised. Cost: ``O(models · samples · classes)``, for ``bhattacharyya`` and ``geodesic``
        times the rounds (about 30: see :func:`_bhattacharyya`); memory some copies of the input in float64, so give
        blocks of samples where there are many.

    Raises:
        DataError: If there is no model, a weight is negative or not finite, all of them are 0, or a sample has no
            class that this mean gives any probability (possible for the geometric, harmonic and Jeffreys means only,
            where each class is impossible for one of the models).

    >>> one_and_other = torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]], dtype=torch.float64).log()
    >>> centroid(one_and_other, "arithmetic").exp()
    tensor([[0.7000, 0.3000]], dtype=torch.float64)
    >>> centroid(one_and_other, "geometric").exp()
    tensor([[0.7500, 0.2500]], dtype=torch.float64)
    """
    shares = _shares(len(log_probs), weights).to(log_probs.device)
    # A model of weight 0 must not make 0 · ∞ of a class that it holds impossible.
    taken = shares > 0
    logs = torch.log_softmax(log_probs[taken].double(), dim=-1)
    result = _MEANS[kind](logs, shares[taken].log()[:, None, None])
    mass = torch.logsumexp(result, dim=-1, keepdim=True)
    if empty := int(torch.isneginf(mass).sum()):
        raise DataError(
            f"the {kind} mean of {empty} of {log_probs.shape[1]} samples is empty: each class is impossible for one of "
            "the models",
            "the means arithmetic, sqrt, bhattacharyya and geodesic always exist; or leave such models out",
        )
    return result - mass


def _shares(models: int, weights: Float64[Tensor, " model"] | None) -> Float64[Tensor, " model"]:
    """Weights as shares of 1."""
    if not models:
        raise DataError("there is no model to average")
    if weights is None:
        return torch.full((models,), 1 / models, dtype=torch.float64)
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise DataError("a weight of a mean is negative or no number")
    if float(weights.sum()) == 0:
        raise DataError("all weights of a mean are 0")
    return weights / weights.sum()


def _arithmetic(
    logs: Float64[Tensor, "model sample class"], log_shares: Float64[Tensor, "model 1 1"]
) -> Float64[Tensor, "sample class"]:
    return torch.logsumexp(logs + log_shares, dim=0)


def _sqrt(
    logs: Float64[Tensor, "model sample class"], log_shares: Float64[Tensor, "model 1 1"]
) -> Float64[Tensor, "sample class"]:
    return 2 * torch.logsumexp(logs / 2 + log_shares, dim=0)


def _geometric(
    logs: Float64[Tensor, "model sample class"], log_shares: Float64[Tensor, "model 1 1"]
) -> Float64[Tensor, "sample class"]:
    return (logs * log_shares.exp()).sum(dim=0)


def _harmonic(
    logs: Float64[Tensor, "model sample class"], log_shares: Float64[Tensor, "model 1 1"]
) -> Float64[Tensor, "sample class"]:
    return -torch.logsumexp(log_shares - logs, dim=0)


def _bhattacharyya(
    logs: Float64[Tensor, "model sample class"], log_shares: Float64[Tensor, "model 1 1"]
) -> Float64[Tensor, "sample class"]:
    """The fixed point of ``c ← Σ_i w_i √(c p_i) / BC_i``, ``BC_i = Σ_c √(c p_i)`` (Nielsen & Boltz 2011).

    In ``log c`` the Jacobian of a round is ``½ (I − K)``, where K is a symmetric matrix up to scale, with
    eigenvalues in [0, 1]: close to the fixed point every round at least halves the error. The affinities BC are what
    is iterated; the centroid follows from them in closed form, ``c = (Σ_i w_i √p_i / BC_i)²``, to full relative
    precision in every class.
    """
    roots, shares = (logs / 2).exp(), log_shares[..., 0].exp()
    own = (_sqrt(logs, log_shares) / 2).exp()
    own = own / own.norm(dim=-1, keepdim=True)
    affinity = _dots(roots, own)
    for _ in range(ROUNDS):
        own = (own * torch.einsum("msc,ms->sc", roots, shares / affinity)).sqrt()
        before, affinity = affinity, _dots(roots, own)
        if bool(((affinity - before).abs() <= SETTLED * affinity).all()):
            break
    return 2 * torch.logsumexp(logs / 2 + log_shares - affinity.log()[..., None], dim=0)


def _jeffreys(
    logs: Float64[Tensor, "model sample class"], log_shares: Float64[Tensor, "model 1 1"]
) -> Float64[Tensor, "sample class"]:
    """``a / W₀(e a/g)``; a class that one model holds impossible has g = 0 and so no part in it."""
    mean, product = _arithmetic(logs, log_shares), _geometric(logs, log_shares)
    both = ~torch.isneginf(product)
    apart = torch.where(both, mean - torch.where(both, product, mean), 0.0)
    return torch.where(both, mean - lambert_of_exp(1 + apart.clamp(min=0)).log(), -math.inf)


def _geodesic(
    logs: Float64[Tensor, "model sample class"], log_shares: Float64[Tensor, "model 1 1"]
) -> Float64[Tensor, "sample class"]:
    """Karcher's mean: steps of ``Σ_i w_i log_m(√p_i)`` along the sphere, from the normalised sum of the √p_i.

    All √p lie in the positive orthant, thus in an open half-sphere, where the mean is unique (Buss & Fillmore 2001).
    At the mean it is the normalised ``Σ_i w_i (θ_i / sin θ_i) √p_i``, by which small classes keep their digits.
    """
    roots, shares = (logs / 2).exp(), log_shares[..., 0].exp()
    own = (_sqrt(logs, log_shares) / 2).exp()
    own = own / own.norm(dim=-1, keepdim=True)
    for _ in range(ROUNDS):
        chords = (roots - own).norm(dim=-1)
        angles = 2 * torch.asin((chords / 2).clamp(max=1))
        pulls = shares / torch.sinc(angles / math.pi)
        toward = torch.einsum("msc,ms->sc", roots, pulls) - (pulls * angles.cos()).sum(dim=0)[:, None] * own
        length = toward.norm(dim=-1, keepdim=True)
        own = length.cos() * own + torch.sinc(length / math.pi) * toward
        own = own / own.norm(dim=-1, keepdim=True)
        if bool((length <= SETTLED).all()):
            break
    return 2 * torch.logsumexp(logs / 2 + pulls.log()[..., None], dim=0)


def _dots(
    roots: Float64[Tensor, "model sample class"], own: Float64[Tensor, "sample class"]
) -> Float64[Tensor, "model sample"]:
    return torch.einsum("msc,sc->ms", roots, own)


def lambert_of_exp(exponent: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """``W₀(exp z)`` for z ≥ 1, the u with ``u + log u = z``: Lambert's function where its argument would overflow.

    Newton from ``z − log z``, quadratic: five rounds reach the last digit of float64 for any z ≥ 1.

    >>> lambert_of_exp(torch.tensor([1.0, 1e6], dtype=torch.float64))
    tensor([1.0000e+00, 9.9999e+05], dtype=torch.float64)
    """
    value = (exponent - exponent.log()).clamp(min=1.0)
    for _ in range(5):
        value = value * ((1 + exponent - value.log()) / (1 + value))
    return value


_MEANS: dict[str, Callable[..., Tensor]] = {
    "arithmetic": _arithmetic,
    "sqrt": _sqrt,
    "geometric": _geometric,
    "harmonic": _harmonic,
    "bhattacharyya": _bhattacharyya,
    "jeffreys": _jeffreys,
    "geodesic": _geodesic,
}
