"""How far two networks are apart in weight space (Fort et al. 2020, C.1), in all and layer by layer."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape_cli.errors import CheckpointError

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class WeightDistance:
    """Two sets of weights w and w'.

    Args:
        distance: ``‖w − w'‖₂``.
        relative: ``‖w − w'‖₂ / ‖w‖₂``; NaN if w is zero.
        cosine: ``⟨w, w'⟩ / (‖w‖ ‖w'‖)``; NaN if one of the two is zero.
        norm: ``‖w‖₂``.
        other_norm: ``‖w'‖₂``.
    """

    distance: float
    relative: float
    cosine: float
    norm: float
    other_norm: float


def weight_distance(first: State, second: State, names: Iterable[str]) -> WeightDistance:
    """The distance between the tensors ``names`` of two states, as one vector each.

    Summed in float64, whatever the tensors' type: exactly 0, and cosine 1, between equal weights.

    Args:
        first: w by name.
        second: w' by name.
        names: Which tensors: the parameters that train; buffers are no weights.

    Cost: one pass over the weights; memory of one tensor in float64, three times.

    Raises:
        CheckpointError: If a tensor is missing, or of another shape on the other side.
    """
    square = one = other = product = 0.0
    for name in names:
        a, b = _pair(first, second, name)
        step = a - b
        square += float(step.dot(step))
        one += float(a.dot(a))
        other += float(b.dot(b))
        product += float(a.dot(b))
    norms = math.sqrt(one), math.sqrt(other)
    distance = math.sqrt(square)
    if distance == 0:
        cosine = 1.0 if one else math.nan
    else:
        cosine = max(-1.0, min(1.0, product / (norms[0] * norms[1]))) if one and other else math.nan
    return WeightDistance(distance, distance / norms[0] if one else math.nan, cosine, *norms)


def layer_distances(first: State, second: State, names: Iterable[str]) -> dict[str, WeightDistance]:
    """:func:`weight_distance` of each layer apart, in the order of ``names``; their squares add up to the whole's.

    A layer is the module that holds the parameters: ``stage1.0.conv1`` for ``stage1.0.conv1.weight``.

    Raises:
        CheckpointError: As :func:`weight_distance`.
    """
    return {layer: weight_distance(first, second, own) for layer, own in by_layer(names).items()}


def by_layer(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of tensors under the layers that hold them, in order of appearance.

    >>> by_layer(["conv.weight", "conv.bias", "scale"])
    {'conv': ['conv.weight', 'conv.bias'], 'scale': ['scale']}
    """
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return layers


def _pair(first: State, second: State, name: str) -> tuple[Tensor, Tensor]:
    for state, who in ((first, "the first"), (second, "the second")):
        if name not in state:
            raise CheckpointError(f"{who} checkpoint has no tensor '{name}'")
    a, b = first[name], second[name]
    if a.shape != b.shape:
        raise CheckpointError(f"tensor '{name}' has shape {tuple(a.shape)} on one side, {tuple(b.shape)} on the other")
    return a.detach().to(torch.float64).flatten(), b.detach().to(torch.float64).flatten()
