"""Weight space in a notebook: how far two networks are apart (Fort et al. 2020)."""

from dataclasses import dataclass, field
from typing import Literal, overload

import torch
from torch import nn

from landscape_cli.api.calls import out_of_inference, settled
from landscape_cli.api.data import Data
from landscape_cli.api.ends import Ends, fitting_states
from landscape_cli.api.networks import Device, Net, architecture, trainable
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.weights.distances import WeightDistance, layer_distances
from landscape_cli.compute.weights.distances import weight_distance as distance_over
from landscape_cli.compute.weights.interpolation import prepare
from landscape_cli.compute.weights.relu_patterns import count, differing, patterns


@dataclass(frozen=True)
class ReluDistance:
    """In how many (unit, input) entries the on/off patterns of two networks differ.

    Args:
        distance: Share of the entries that are on in one and off in the other, 0 to 1.
        on_a: Share that is on in the first.
        on_b: In the second.
        entries: How many entries were compared.
        layers: The distance at each place of the network.
    """

    distance: float
    on_a: float
    on_b: float
    entries: int
    layers: dict[str, float] = field(default_factory=dict)


@overload
def weight_distance(
    a: Net, b: Net, *, network: nn.Module | None = None, by_layer: Literal[False] = False
) -> WeightDistance: ...
@overload
def weight_distance(
    a: Net, b: Net, *, network: nn.Module | None = None, by_layer: Literal[True]
) -> dict[str, WeightDistance]: ...
def weight_distance(
    a: Net, b: Net, *, network: nn.Module | None = None, by_layer: bool = False
) -> WeightDistance | dict[str, WeightDistance]:
    """``‖w − w'‖₂`` over the trainable weights, relative to ``‖w‖₂``, and the cosine (Fort et al. 2020, section 3).

    Args:
        a: w: a module, or a state dict.
        b: w'.
        network: The architecture, if both are state dicts: it says which tensors train.
        by_layer: A distance for each layer instead; their squares add up to the whole's.

    Cost: one pass over the weights, summed in float64.

    Raises:
        CheckpointError: If a side does not fit the network (the tensor is named), or holds NaN.
        NetworkError: If nothing of the network trains.
        UsageError: If there is no module.
    """
    module = architecture(network, a, b)
    states = fitting_states((a, b), module)
    names = trainable(module)
    one, two = ({name: tensor.cpu() for name, tensor in state.items()} for state in states)
    return layer_distances(one, two, names) if by_layer else distance_over(one, two, names)


@out_of_inference
def relu_distance(
    a: Net,
    b: Net,
    data: Data,
    *,
    network: nn.Module | None = None,
    batch_size: int = BATCH,
    device: Device | None = None,
    precision: Precision | None = None,
) -> ReluDistance:
    """The share of (unit, input) entries whose ReLU is on in one network and off in the other (Fort et al. 2020).

    ``#{(u, x): [z_u(x; w) > 0] ≠ [z_u(x; w') > 0]} / #{(u, x)}``, over all units that act like ReLUs, wherever the
    network calls them.

    Args:
        a: One network: a module, or a state dict.
        b: The other, of the same architecture.
        data: The inputs; anything that yields ``(inputs, labels)``.
        network: The architecture, if both are state dicts.
        batch_size: Samples a forward pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.

    Cost: a forward pass of each; memory of one batch's patterns, at a bit an entry.

    Raises:
        CheckpointError: If a side does not fit the network, or holds NaN.
        DataError: If there are no samples.
        NetworkError: If the network has no ReLU-like unit, or gives no logits.
        UsageError: If there is no module, or the two are not of one architecture.
    """
    made = Ends.of(network, (a, b), data, "keep", None, batch_size, device, precision)
    ends = [prepare(made.network, state, who).tensors for state, who in zip(made.states, made.names, strict=True)]
    apart: dict[str, int] = {}
    sizes: dict[str, int] = {}
    on = [0, 0]
    with settled(made.where), torch.no_grad():
        for x, _ in made.samples.batches(batch_size):
            seen = []
            for side, tensors in enumerate(ends):
                made.network.load_state_dict(tensors)
                seen.append(patterns(made.network, x)[1])
                on[side] += sum(count(one.bits) for one in seen[side].values())
            for place, one in seen[0].items():
                apart[place] = apart.get(place, 0) + differing(one, seen[1][place])
                sizes[place] = sizes.get(place, 0) + one.entries
    whole = sum(sizes.values())
    layers = {place: apart[place] / size for place, size in sizes.items()}
    return ReluDistance(sum(apart.values()) / whole, on[0] / whole, on[1] / whole, whole, layers)
