"""Bringing the hidden units of one network into the order of another's, in a notebook (Ainsworth et al. 2023)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from torch import Tensor, nn

from landscape_cli.api.calls import check_choice, check_count, out_of_inference, settled
from landscape_cli.api.data import Data
from landscape_cli.api.ends import Ends
from landscape_cli.api.networks import Device, Net, trainable, walker
from landscape_cli.compute.choices import Precision
from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.weights.activation_matching import match_activations
from landscape_cli.compute.weights.alignment_choices import RESTARTS, AlignMethod, Similarity
from landscape_cli.compute.weights.distances import WeightDistance, weight_distance
from landscape_cli.compute.weights.matching import match_weights
from landscape_cli.compute.weights.permutation_tracing import logit_difference, trace_permutations
from landscape_cli.compute.weights.permutations import moved_units
from landscape_cli.errors import NetworkError

CHECKED = 8  # samples on which the aligned network is compared with the one it was made from


@dataclass(frozen=True, eq=False)
class Alignment:
    """A network with its hidden units in the order that suits another: the same function.

    Args:
        state: Its tensors, weights and buffers by name.
        permutations: By group of units, the number of the old unit that each new one was.
        before: The distance of the weights of the two before.
        after: The distance after it.
        moved: How many units changed places.
        units: Of how many.
        logit_difference: The largest difference that it made to a logit, in float64: rounding.
    """

    state: dict[str, Tensor]
    permutations: dict[str, Int64[np.ndarray, " unit"]]
    before: WeightDistance
    after: WeightDistance
    moved: int
    units: int
    logit_difference: float


@out_of_inference
def align(
    a: Net,
    b: Net,
    data: Data,
    *,
    network: nn.Module | None = None,
    method: AlignMethod = "weights",
    restarts: int = RESTARTS,
    similarity: Similarity = "correlation",
    batch_size: int = BATCH,
    seed: int = 0,
    device: Device | None = None,
    precision: Precision | None = None,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Alignment:
    """Permute the hidden units of B so that they match A's; what B computes stays (Ainsworth et al. 2023).

    ``weights``: the permutations π that maximise ``⟨w_A, π(w_B)⟩``, by coordinate ascent. ``activations``: those that
    maximise the similarity of units that are on together (Li et al. 2015). What may be permuted is found by watching a
    forward pass.

    Args:
        a: The network whose order is kept: a module, or a state dict.
        b: The network whose units are moved; it is left alone.
        data: Anything that yields ``(inputs, labels)``: two samples show what may be permuted, ``activations`` compares
            units on all of them.
        network: The architecture, if both are state dicts.
        method: ``weights`` or ``activations``.
        restarts: Starts of weight matching, of which the best is kept.
        similarity: What activation matching maximises: ``correlation`` or ``product``.
        batch_size: Samples a forward pass.
        seed: Of the starts.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.
        on_progress: Told how many starts, or samples, are done, and of how many.

    Returns:
        ``barrier(a, align(a, b, data).state, data)`` is the barrier after alignment.

    Cost: ``weights``: for each start some ten products of the weights with themselves; ``activations``: a forward pass
    of both over the samples, and (units)² products a sample. Then a few passes in float64.

    Raises:
        CheckpointError: If an end does not fit the network, or holds NaN.
        DataError: If there are no samples.
        NetworkError: If what may be permuted cannot be derived, or there is nothing.
        UsageError: If there is no module, the two are not of one architecture, or a setting means nothing.
    """
    check_choice("method", method, AlignMethod)
    check_choice("similarity", similarity, Similarity)
    check_count("restarts", restarts)
    made = Ends.of(network, (a, b), data, "keep", None, batch_size, device, precision)
    first, second = made.states
    names = trainable(made.network)
    few = made.samples.normalized(made.samples.inputs[:CHECKED])
    with settled(made.where):
        graph = trace_permutations(made.network, few)
        if not graph.groups:
            raise NetworkError("the network has no hidden units that may be permuted")
        if method == "weights":
            permutations = match_weights(
                graph, first, second, restarts=restarts, seed=seed, progress=on_progress
            ).permutations
        else:
            one, other = made.network, walker(made.network, made.where)
            one.load_state_dict(first), other.load_state_dict(second)
            permutations = match_activations(
                graph, one, other, made.samples, similarity=similarity, batch=batch_size, progress=on_progress
            ).permutations
        moved = graph.apply(second, permutations)
        difference = logit_difference(made.network, second, moved, few)
    held, old, new = ({name: state[name].cpu() for name in names} for state in (first, second, moved))
    return Alignment(
        {name: tensor.detach().clone() for name, tensor in moved.items()},
        {group.name: order for group, order in zip(graph.groups, permutations, strict=True)},
        weight_distance(held, old, names),
        weight_distance(held, new, names),
        moved_units(permutations),
        graph.units,
        difference,
    )
