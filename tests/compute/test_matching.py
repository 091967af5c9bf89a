"""Matching units: a copy is found, brute force agrees, the objective grows; activations against numpy."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from landscape_cli.compute.device import placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.activation_matching import match_activations
from landscape_cli.compute.weights.distances import weight_distance
from landscape_cli.compute.weights.matching import assign, match_weights
from landscape_cli.compute.weights.permutation_tracing import trace_permutations
from landscape_cli.compute.weights.permutations import PermutationGraph, State
from landscape_cli.networks.registry import NetworkSpec, build
from tests.compute import own_networks as own
from tests.compute.test_permutations import IMAGE, inputs, trained_like

NETWORKS = [
    ("mlp", {"widths": (12, 9)}),
    ("mlp", {"widths": (12, 9), "bias": False, "batch_norm": True}),
    ("simple-cnn", {"width": 0.25}),
    ("resnet20", {"width": 0.5}),
    ("resnet20-nobn", {"width": 0.5}),
    ("wrn-10-1", {}),
]


def network(name: str, options: dict[str, object], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return trained_like(build(NetworkSpec(name, options), IMAGE, 5), seed)


def trained_names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def distance(module: nn.Module, one: State, other: State) -> float:
    return weight_distance(one, other, trained_names(module)).distance


def images(count: int = 60) -> Samples:
    where = placement("cpu", "float64")
    return Samples(
        inputs().new_empty(0, *IMAGE).new_tensor(np.random.default_rng(0).normal(size=(count, *IMAGE))),
        torch.zeros(count, dtype=torch.int64),
        where,
    )


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_a_permuted_copy_is_found(name: str, options: dict[str, object]) -> None:
    module = network(name, options, 0)
    graph = trace_permutations(module, inputs())
    state = {n: t.clone() for n, t in module.state_dict().items()}
    copy = graph.apply(state, graph.shuffled(np.random.default_rng(5)))
    assert distance(module, state, copy) > 1
    found = match_weights(graph, state, copy)
    back = graph.apply(copy, found.permutations)
    assert all(torch.equal(back[n], state[n]) for n in state)
    other = network(name, options, 0)
    other.load_state_dict(copy)
    # Units that never fire on the samples have no similarity, and may come back in any order among them.
    active = match_activations(graph, module, other, images())
    itself = match_activations(graph, module, module, images())
    assert itself.before == pytest.approx(itself.similarity, rel=1e-9)
    assert active.similarity == pytest.approx(itself.similarity, rel=1e-9)
    assert active.before < 0.5 * active.similarity
    other.load_state_dict(graph.apply(copy, active.permutations))
    with torch.no_grad():
        assert torch.allclose(other(inputs()), module(inputs()), rtol=1e-9, atol=1e-9)
    assert distance(module, state, other.state_dict()) < 0.5 * distance(module, state, copy)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_the_objective_never_falls_and_is_the_distance(name: str, options: dict[str, object]) -> None:
    module = network(name, options, 0)
    graph = trace_permutations(module, inputs())
    one, other = (dict(network(name, options, seed).state_dict()) for seed in (0, 1))
    found = match_weights(graph, one, other, restarts=4, seed=2)
    assert all(a < b for a, b in itertools.pairwise(found.history))
    assert found.objective == pytest.approx(max(found.objectives))
    assert found.objective > found.before
    moved = graph.apply(other, found.permutations)
    assert distance(module, one, moved) < distance(module, one, other)
    # ‖a − πb‖² = ‖a‖² + ‖b‖² − 2⟨a, πb⟩, so that the two differences agree.
    fallen = distance(module, one, other) ** 2 - distance(module, one, moved) ** 2
    assert fallen == pytest.approx(2 * (found.objective - found.before), rel=1e-9)
    again = match_weights(graph, one, other, restarts=4, seed=2)
    assert all(np.array_equal(p, q) for p, q in zip(found.permutations, again.permutations, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_against_all_permutations_of_a_tiny_network(seed: int) -> None:
    options = {"widths": (4, 3)}
    one, other = (network("mlp", options, s).state_dict() for s in (seed, 100 + seed))
    graph = trace_permutations(network("mlp", options, seed), inputs())

    def squared(permutations: list[np.ndarray]) -> float:
        moved = graph.apply(other, permutations)
        return sum(float(((one[n] - moved[n]) ** 2).sum()) for n in one)

    every = itertools.product(itertools.permutations(range(4)), itertools.permutations(range(3)))
    best = min(squared([np.array(p), np.array(q)]) for p, q in every)
    assert squared(match_weights(graph, one, other, restarts=10).permutations) == pytest.approx(best)


def test_a_group_on_both_sides_of_a_layer() -> None:
    """Its best order is no linear assignment; the sum grows all the same, and a copy is found."""
    torch.manual_seed(0)
    module, other = (trained_like(own.Recurrent(), seed) for seed in (0, 1))
    graph = trace_permutations(module, inputs((5,)))
    found = match_weights(graph, module.state_dict(), other.state_dict(), restarts=5)
    assert all(a < b for a, b in itertools.pairwise(found.history))
    copy = graph.apply(module.state_dict(), [np.array([3, 1, 5, 0, 2, 4])])
    back = graph.apply(copy, match_weights(graph, module.state_dict(), copy).permutations)
    assert all(torch.equal(back[n], module.state_dict()[n]) for n in back)


def test_activations_are_compared_as_numpy_compares_them() -> None:
    one, other = (network("mlp", {"widths": (6,)}, seed) for seed in (0, 1))
    graph: PermutationGraph = trace_permutations(one, inputs())
    samples = images(80)
    found = match_activations(graph, one, other, samples, batch=32)
    hidden = [module[:3](samples.inputs).detach().numpy() for module in (one, other)]  # type: ignore[index]
    scores = np.nan_to_num(np.corrcoef(hidden[0].T, hidden[1].T)[:6, 6:])
    best = max(itertools.permutations(range(6)), key=lambda p: scores[range(6), p].sum())
    assert found.similarity == pytest.approx(scores[range(6), best].mean())
    assert found.before == pytest.approx(np.trace(scores) / 6)
    product = match_activations(graph, one, other, samples, similarity="product")
    cross = hidden[0].T @ hidden[1] / 80
    best = max(itertools.permutations(range(6)), key=lambda p: cross[range(6), p].sum())
    assert product.similarity == pytest.approx(cross[range(6), best].mean())


def test_a_unit_that_never_fires_is_like_no_other() -> None:
    one, other = (network("mlp", {"widths": (6,)}, seed) for seed in (0, 1))
    with torch.no_grad():
        one.linear1.bias[2] = -1e6  # type: ignore[union-attr,index,operator]
    graph = trace_permutations(one, inputs())
    assert np.isfinite(match_activations(graph, one, other, images()).similarity)


def test_assignment() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 5))
    best = max(itertools.permutations(range(5)), key=lambda p: scores[range(5), p].sum())
    assert assign(scores).tolist() == list(best)
