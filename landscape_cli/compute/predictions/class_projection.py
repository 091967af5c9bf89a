"""Fewer classes: probabilities times a random column-stochastic matrix (Mao et al. 2023, of ImageNet's 1,000)."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from landscape_cli.compute.streams import stream
from landscape_cli.errors import UsageError

BLOCK_BYTES = 1 << 20  # of float64 probabilities at a time


def random_class_projection(classes: int, onto: int, seed: int = 0) -> Float64[Tensor, "onto class"]:
    """A random matrix R of ``onto`` rows whose columns are drawn uniformly from the probability simplex.

    ``q = R p`` is a distribution over ``onto`` outcomes for any distribution p over the classes. Two models come
    closer by it in every distance but the Euclidean one (both lose the same information); it is the shape of a set of
    models that is kept.

    >>> random_class_projection(1000, 4, seed=1).sum(0).sub(1).abs().max().item() < 1e-15
    True

    Args:
        classes: Classes of the predictions.
        onto: Outcomes to project onto.
        seed: Of the draw.

    Raises:
        UsageError: If ``onto`` is not between 2 and ``classes``.
    """
    if not 2 <= onto <= classes:
        raise UsageError(
            f"predictions over {classes} classes cannot be projected onto {onto}", f"choose 2 to {classes}"
        )
    draws = torch.rand(onto, classes, dtype=torch.float64, generator=stream("class-projection", seed))
    exponential = -torch.log1p(-draws)  # normalised exponentials are uniform on the simplex
    return exponential / exponential.sum(0)


def project_classes(
    log_probs: Float[Tensor, "model sample class"], projection: Float64[Tensor, "onto class"]
) -> Float[Tensor, "model sample onto"]:
    """Log-probabilities of ``q = R p``, computed in float64 and returned in the type that came in.

    Every entry of R is above zero, therefore q is a sum of positive terms, of which the largest is at least
    ``min(R)/C``: nothing cancels, nothing underflows, however confident p is.

    Cost: ``models · samples · C · onto`` multiplications, ``models · samples · C`` exponentials; 3 MiB of memory
    beside the result, or what three samples need.
    """
    models, samples, classes = log_probs.shape
    flat = log_probs.reshape(models * samples, classes)
    out = flat.new_empty(models * samples, len(projection))
    turned = projection.to(flat.device).T
    step = max(1, BLOCK_BYTES // (8 * classes))
    for start in range(0, len(flat), step):
        out[start : start + step] = (flat[start : start + step].double().exp() @ turned).log()
    return out.reshape(models, samples, len(projection))
