"""ReLU patterns against booleans kept by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.weights.relu_patterns import Pattern, count, differing, pack, patterns
from landscape_cli.errors import NetworkError
from landscape_cli.networks.registry import NetworkSpec, build

CPU = placement("cpu")


def network(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return place(build(NetworkSpec(name, {"width": 0.25}), (3, 8, 8), 4).eval(), CPU)


def by_hand(made: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Whether the input of each ReLU module is above 0."""
    kept: dict[str, Tensor] = {}
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: kept.update({name: inputs[0].clone() > 0}))
        for name, module in made.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    with torch.no_grad():
        made(x)
    for handle in handles:
        handle.remove()
    return kept


@pytest.mark.parametrize("name", ["simple-cnn", "resnet20", "mlp", "wrn-10-1"])
def test_patterns_are_those_of_the_relu_modules(name: str) -> None:
    x = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    nets = [network(name, seed) for seed in (0, 1)]
    (out, first), (_, second) = (patterns(made, x) for made in nets)
    one, two = (by_hand(made, x) for made in nets)
    with torch.no_grad():
        assert torch.equal(out, nets[0](x))
    assert set(first) == set(one)
    for place_, on in one.items():
        assert first[place_].entries == on.numel()
        assert count(first[place_].bits) == int(on.sum())
        assert differing(first[place_], second[place_]) == int((on != two[place_]).sum())
        assert len(first[place_].bits) == -(-on.numel() // 8)  # one bit an entry


class Calls(nn.Module):
    """Units called as functions, as methods, in place, and by a bound."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(5, 6), nn.LeakyReLU(), nn.Linear(6, 6), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        x = (x - 0.5).relu_()
        x = (x - 0.3).clamp(min=0)
        x = torch.clamp(x - 0.1, -1, 1)  # is no unit: its bound is not 0
        x = F.relu6(self.inner(x) - 0.1)
        return x.sum(1)


def test_units_are_found_wherever_they_are_called() -> None:
    torch.manual_seed(0)
    made, x = Calls(), torch.randn(9, 5)
    kept = x.clone()
    _, found = patterns(made, x)
    assert {place_: one.unit for place_, one in found.items()} == {
        "#1": "relu", "#2": "relu", "#3": "relu", "#4": "relu6", "inner.1": "leaky_relu", "inner.3": "gelu",
    }  # fmt: skip
    assert torch.equal(x, kept)
    assert count(found["#1"].bits) == int((x > 0).sum())
    assert count(found["#2"].bits) == int((x > 0.5).sum())
    with torch.no_grad():
        before = (((x.relu() - 0.5).relu() - 0.3).relu() - 0.1).clamp(-1, 1)
        assert count(found["inner.1"].bits) == int((made.inner[0](before) > 0).sum())


@given(st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=70), st.integers(0, 10))
def test_packing_loses_nothing(values: list[float], seed: int) -> None:
    inputs = torch.tensor(values)
    packed = pack(inputs)
    assert packed.entries == len(values)
    assert count(packed.bits) == sum(value > 0 for value in values)  # NaN is not above 0
    other = pack(torch.randn(len(values), generator=torch.Generator().manual_seed(seed)))
    assert differing(packed, packed) == 0
    assert differing(packed, other) == differing(other, packed) <= len(values)


def test_layouts_of_memory_give_the_same_counts() -> None:
    x = torch.randn(3, 5, 4, 4)
    views = [x, x.contiguous(memory_format=torch.channels_last), x.transpose(1, 3).contiguous().transpose(1, 3)]
    assert {count(pack(view).bits) for view in views} == {int((x > 0).sum())}
    assert count(pack(x[:, ::2]).bits) == int((x[:, ::2] > 0).sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_precisions_are_packed_alike(dtype: torch.dtype) -> None:
    x = torch.tensor([1.0, -1.0, 0.0, -0.0, 0.5, float("nan"), float("inf"), -2.0, 3.0]).to(dtype)
    assert pack(x).bits.tolist() == [0b10001010, 0b10000000]


def test_rescaled_units_have_the_same_pattern() -> None:
    """ReLU networks do not change if a unit is scaled up and its reader down: distance 0, whatever the weights say."""
    one, two = network("simple-cnn", 0), network("simple-cnn", 0)
    with torch.no_grad():
        two.conv1.weight *= 4
        two.conv1.bias *= 4
        two.conv2.weight /= 4
    x = torch.randn(4, 3, 8, 8)
    (_, first), (_, second) = patterns(one, x), patterns(two, x)
    assert sum(differing(first[name], second[name]) for name in first) == 0


def test_independent_signs_differ_in_half_of_the_entries() -> None:
    x = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(3))
    assert differing(pack(x[0]), pack(x[1])) / 200_000 == pytest.approx(0.5, abs=0.005)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(NetworkError, match="no ReLU-like unit"):
        patterns(nn.Sequential(nn.Linear(3, 3), nn.Tanh()), torch.zeros(2, 3))
    with pytest.raises(NetworkError, match="3 and 4 entries"):
        differing(Pattern(torch.zeros(1, dtype=torch.uint8), 3, "relu"), pack(torch.ones(4)))
