"""What may be permuted: the function stays, the groups are those that a person finds, and what is unknown is named."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from landscape_cli.compute.weights.permutation_tracing import trace_permutations
from landscape_cli.compute.weights.permutations import PermutationGraph, inverse, moved_units
from landscape_cli.errors import NetworkError
from landscape_cli.networks.registry import NetworkSpec, build
from tests.compute import own_networks as own

IMAGE = (3, 8, 8)


def trained_like(network: nn.Module, seed: int = 0) -> nn.Module:
    """Float64, with weights, biases and running statistics of no symmetry."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.double().state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif tensor.is_floating_point():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    return network.eval()


def inputs(shape: tuple[int, ...] = IMAGE, seed: int = 1) -> torch.Tensor:
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def registered(name: str, **options: object) -> nn.Module:
    return build(NetworkSpec(name, options), IMAGE, 5)


def units(graph: PermutationGraph) -> dict[str, int]:
    return {group.name: group.units for group in graph.groups}


def assert_same_function(network: nn.Module, graph: PermutationGraph, x: torch.Tensor) -> None:
    """Random permutations within each group change weights, and no logit beyond rounding."""
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        before = network(x)
        for number, group in enumerate(graph.groups):
            permutations = graph.identity()
            permutations[number] = np.roll(np.arange(group.units), 1)
            network.load_state_dict(graph.apply(state, permutations))
            assert any(not torch.equal(network.state_dict()[name], state[name]) for name in state), group.name
            assert torch.allclose(network(x), before, rtol=1e-10, atol=1e-10), group.name
        permutations = graph.shuffled(np.random.default_rng(0))
        moved = graph.apply(state, permutations)
        network.load_state_dict(moved)
        assert torch.allclose(network(x), before, rtol=1e-10, atol=1e-10)
    back = graph.apply(moved, inverse(permutations))
    assert all(torch.equal(back[name], state[name]) for name in state)
    network.load_state_dict(state)


CASES = [
    ("mlp", {"widths": (7, 6)}, {"linear1": 7, "linear2": 6}),
    ("mlp", {"widths": (7, 6), "bias": False, "batch_norm": True, "activation": "gelu"}, {"linear1": 7, "linear2": 6}),
    ("simple-cnn", {"width": 0.125}, {"conv1": 4, "conv2": 4, "conv3": 8, "conv4": 8, "conv5": 16, "conv6": 16}),
    (
        "wrn-10-1",
        {"width": 0.5},
        {"conv": 8, "stage1.0.conv1": 8, "stage2.0.shortcut": 16, "stage2.0.conv1": 16, "stage3.0.shortcut": 32}
        | {"stage3.0.conv1": 32},
    ),
]  # fmt: skip
# He's shortcuts: a stage carries the one before it in its middle channels; the others are a group of their own.
RESNET = {"conv": 4} | {f"stage1.{b}.conv1": 4 for b in range(3)}
RESNET |= {f"stage2.{b}.conv1": 8 for b in range(3)} | {"stage2.0.conv2": 4}
RESNET |= {f"stage3.{b}.conv1": 16 for b in range(3)} | {"stage3.0.conv2": 8}
CASES += [(name, {"width": 0.25}, RESNET) for name in ("resnet20", "resnet20-nobn")]


@pytest.mark.parametrize(("name", "options", "expected"), CASES, ids=lambda v: v if isinstance(v, str) else None)
def test_registered_networks(name: str, options: dict[str, object], expected: dict[str, int]) -> None:
    network = trained_like(registered(name, **options))
    graph = trace_permutations(network, inputs())
    assert units(graph) == expected
    assert graph.units == sum(expected.values())
    assert_same_function(network, graph, inputs())


OWN = [
    (own.torchvision_style, IMAGE, {"0": 6, "4.conv1": 6, "5.downsample.0": 8, "5.conv1": 8}, 0),
    (own.lenet, IMAGE, {"0": 5, "4": 7}, 0),
    (own.Dense, IMAGE, {"one": 4, "two": 5}, 0),
    (own.Mobile, IMAGE, {"expand": 6, "down": 3}, 0),
    (own.Gated, (5,), {"one": 6}, 0),
    (own.Shuffle, IMAGE, {"two": 3, "two#2": 3}, 8),
    (own.Recurrent, (5,), {"read": 6}, 0),
    (own.Mixed, IMAGE, {"patch": 6}, 0),
]


@pytest.mark.parametrize(("builder", "shape", "expected", "fixed"), OWN, ids=lambda v: getattr(v, "__name__", None))
def test_networks_as_others_write_them(builder, shape: tuple[int, ...], expected: dict[str, int], fixed: int) -> None:
    network = trained_like(builder())
    graph = trace_permutations(network, inputs(shape))
    assert units(graph) == expected
    assert graph.fixed == fixed
    assert_same_function(network, graph, inputs(shape))


def test_against_a_specification_written_by_hand() -> None:
    """ResNet20 with zero-padded shortcuts, permuted by code that knows nothing of tracing."""
    network = trained_like(registered("resnet20", width=0.25))
    graph = trace_permutations(network, inputs())
    permutations = graph.shuffled(np.random.default_rng(3))
    by_name = {group.name: p for group, p in zip(graph.groups, permutations, strict=True)}
    one = by_name["conv"]
    # Stage 2 has 8 channels: 2 of zeros, the 4 of stage 1, 2 of zeros. Stage 3 has 16: 4 of zeros, 8, 4.
    rest = np.array([0, 1, 6, 7])
    two = np.arange(8)
    two[rest], two[2:6] = rest[by_name["stage2.0.conv2"]], 2 + one
    rest = np.array([0, 1, 2, 3, 12, 13, 14, 15])
    three = np.arange(16)
    three[rest], three[4:12] = rest[by_name["stage3.0.conv2"]], 4 + two
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def move(layer: str, norm: str, into: np.ndarray | None, out: np.ndarray) -> None:
        weight = expected[f"{layer}.weight"][out]
        expected[f"{layer}.weight"] = weight if into is None else weight[:, into]
        for part in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{norm}.{part}"] = expected[f"{norm}.{part}"][out]

    move("conv", "norm", None, one)
    before = one
    for stage, after in ((1, one), (2, two), (3, three)):
        for block in range(3):
            inner = by_name[f"stage{stage}.{block}.conv1"]
            move(f"stage{stage}.{block}.conv1", f"stage{stage}.{block}.norm1", before, inner)
            move(f"stage{stage}.{block}.conv2", f"stage{stage}.{block}.norm2", inner, after)
            before = after
    expected["head.weight"] = expected["head.weight"][:, three]
    found = graph.apply(network.state_dict(), permutations)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_network_is_left_as_it_was() -> None:
    network = registered("resnet20", width=0.25).train()
    state = copy.deepcopy(network.state_dict())
    trace_permutations(network, inputs().float())
    assert network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(network.state_dict()[name], state[name]) for name in state)


def test_what_cannot_be_derived_is_named() -> None:
    with pytest.raises(NetworkError, match=r"at block \(MultiheadAttention\), operation \w+"):
        trace_permutations(own.Attention().double(), inputs())
    normed = nn.Sequential(nn.Linear(5, 6), nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)))
    with pytest.raises(NetworkError, match=r"weights are computed|computed by the network|nothing is known"):
        trace_permutations(normed.double(), inputs((5,)))


def test_a_convolution_over_units_is_refused() -> None:
    """Channels and rows are exchanged: the second convolution slides over units of the first."""

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 3, padding=1)
            self.two = nn.Conv2d(8, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(x).transpose(1, 2)).mean((2, 3))

    with pytest.raises(
        NetworkError, match=r"at two \(Conv2d\), operation convolution: its inputs mix units and places"
    ):
        trace_permutations(Turned().double(), inputs())


@pytest.mark.parametrize("seed", range(5))
def test_what_tracing_does_not_see_is_caught(seed: int) -> None:
    torch.manual_seed(seed)
    with pytest.raises(NetworkError, match="change its outputs"):
        trace_permutations(own.Hidden().double(), inputs((5,)))


def test_units_tied_to_the_inputs_do_not_move() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(5, 5)
            self.head = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head((x + self.one(x)).relu())

    graph = trace_permutations(Residual().double(), inputs((5,)))
    assert (graph.groups, graph.fixed) == ((), 5)


def test_moved_units() -> None:
    assert moved_units([np.array([0, 2, 1]), np.array([0, 1])]) == 2
