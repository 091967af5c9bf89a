"""Mean logit gradients, one a class (Fort and Ganguli 2019; Fort et al. 2020)."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.errors import NetworkError


def gradient_centroids(network: nn.Module, samples: Samples, *, batch: int = BATCH) -> Float[Tensor, "class parameter"]:
    """``c_k = (1/n) Σ_i ∇_θ f_k(x_i)``: the mean gradient of each logit over the trainable parameters.

    The network runs in evaluation mode and is left as it was; no gradient stays on it.
    Cost: a forward and C backward passes over the samples; memory ``C · P``.

    Args:
        network: Gives logits ``(sample, class)``.
        samples: Where to average.
        batch: Samples a pass.

    Raises:
        NetworkError: If it has no trainable parameters, or its outputs do not depend on them.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise NetworkError("the network has no trainable parameters", "gradients are taken over requires_grad=True")
    mode = network.training
    network.eval()
    total: Tensor | None = None
    try:
        for inputs, _ in samples.batches(batch):
            logits = network(inputs)
            if logits.ndim != 2 or not logits.requires_grad:
                raise NetworkError("the network's outputs are no differentiable (sample, class)")
            sums = logits.sum(0)
            rows = []
            for number in range(len(sums)):
                found = torch.autograd.grad(
                    sums[number], parameters, retain_graph=number + 1 < len(sums), materialize_grads=True
                )
                rows.append(torch.cat([gradient.flatten() for gradient in found]))
            part = torch.stack(rows)
            total = part if total is None else total.add_(part)
    finally:
        network.train(mode)
    assert total is not None
    return total / len(samples)


def centroid_cosines(
    first: Float[Tensor, "class parameter"], second: Float[Tensor, "class parameter"]
) -> Float64[Tensor, " class"]:
    """``cos(c_k(w), c_k(w'))`` of each class, in float64; NaN where a centroid is zero. Their mean is the alignment."""
    products = torch.stack([(a.double() * b.double()).sum() for a, b in zip(first, second, strict=True)])
    lengths = torch.stack([a.double().norm() * b.double().norm() for a, b in zip(first, second, strict=True)])
    return torch.where(lengths > 0, products / lengths, torch.nan).clamp(-1, 1)
