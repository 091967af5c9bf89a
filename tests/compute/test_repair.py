"""REPAIR: the statistics are what they are meant to be, the ends stay, a formula by hand agrees."""

import pytest
import torch
from torch import nn

from landscape_cli.compute.device import placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.interpolation import LinearPath, prepare
from landscape_cli.compute.weights.repair import Repair, RepairedPath
from landscape_cli.errors import NetworkError
from landscape_cli.networks.registry import NetworkSpec, build
from tests.compute.test_permutations import IMAGE, trained_like

NETWORKS = [("mlp", {"widths": (9, 8)}), ("simple-cnn", {"width": 0.125}), ("resnet20-nobn", {"width": 0.25})]


def make(name: str, options: dict[str, object], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return trained_like(build(NetworkSpec(name, options), IMAGE, 5), seed)


def images(count: int = 40) -> Samples:
    x = torch.randn(count, *IMAGE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Samples(x, torch.zeros(count, dtype=torch.int64), placement("cpu", "float64"))


def statistics(
    network: nn.Module, samples: Samples, run: nn.Module | None = None
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Mean and deviation of each unit of each hidden layer, read where the module after the layer reads it."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        rows = inputs[0].movedim(1, 0).flatten(1)
        found.append((rows.mean(1), rows.std(1, correction=0)))

    after = "norm" if any("norm" in name for name, _ in network.named_modules()) else "relu"
    modules = [module for name, module in network.named_modules() if after in name.rpartition(".")[2]]
    handles = [module.register_forward_pre_hook(keep) for module in modules]
    with torch.no_grad():
        (run or network)(samples.inputs)
    for handle in handles:
        handle.remove()
    assert len(found) == sum(isinstance(m, nn.Linear | nn.Conv2d) for m in network.modules()) - 1
    return found


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_units_have_the_statistics_between_the_ends(name: str, options: dict[str, object]) -> None:
    walker, one, other = (make(name, options, seed) for seed in (0, 1, 2))
    samples = images()
    repair = Repair(walker, samples, batch=len(samples))
    repair.learn(one.state_dict(), other.state_dict())
    path = LinearPath(walker, one.state_dict(), other.state_dict())
    alpha = 0.3
    path.go(alpha)
    found = statistics(walker, samples, repair.at(alpha))
    plain = statistics(path.go(alpha), samples)
    ends = zip(statistics(one, samples), statistics(other, samples), strict=True)
    moved = False
    for (mean, std), before, (first, second) in zip(found, plain, ends, strict=True):
        assert torch.allclose(mean, alpha * first[0] + (1 - alpha) * second[0], atol=1e-9)
        assert torch.allclose(std, alpha * first[1] + (1 - alpha) * second[1], atol=1e-9)
        moved = moved or not torch.allclose(before[1], std, rtol=0.05)
    assert moved


def test_the_ends_and_a_network_with_itself_stay() -> None:
    walker, one, other = (make("mlp", {"widths": (9, 8)}, seed) for seed in (0, 1, 2))
    samples = images()
    repair = Repair(walker, samples, batch=len(samples))
    repair.learn(one.state_dict(), other.state_dict())
    path = LinearPath(walker, one.state_dict(), other.state_dict())
    with torch.no_grad():
        for alpha, end in ((1.0, one), (0.0, other)):
            path.go(alpha)
            assert torch.equal(repair.at(alpha)(samples.inputs), end(samples.inputs))
        repair.learn(one.state_dict(), one.state_dict())
        walker.load_state_dict(one.state_dict())
        assert torch.allclose(repair.at(0.5)(samples.inputs), one(samples.inputs), atol=1e-9)
    assert not any(module._forward_hooks for module in walker.modules())


def test_against_the_formula_by_hand() -> None:
    """One hidden layer, batches of unequal size: pooled over all of them."""
    walker, one, other = (make("mlp", {"widths": (7,)}, seed) for seed in (0, 1, 2))
    samples = images()
    repair = Repair(walker, samples, batch=16)
    repair.learn(one.state_dict(), other.state_dict())
    LinearPath(walker, one.state_dict(), other.state_dict()).go(0.25)
    x = samples.inputs.flatten(1)

    def hidden(state: dict[str, torch.Tensor]) -> torch.Tensor:
        return x @ state["linear1.weight"].T + state["linear1.bias"]

    a, b, y = (hidden(network.state_dict()) for network in (one, other, walker))
    wanted = 0.25 * a.std(0, correction=0) + 0.75 * b.std(0, correction=0)
    y = (y - y.mean(0)) / y.std(0, correction=0) * wanted + 0.25 * a.mean(0) + 0.75 * b.mean(0)
    state = walker.state_dict()
    expected = y.relu() @ state["head.weight"].T + state["head.bias"]
    with torch.no_grad():
        assert torch.allclose(repair.at(0.25)(samples.inputs), expected, atol=1e-10)
        path = RepairedPath(
            walker, *(prepare(walker, end.state_dict(), "it") for end in (one, other)), samples, batch=16
        )
        assert torch.allclose(path.go(0.25)(samples.inputs), expected, atol=1e-10)
        assert torch.equal(path.go(1.0)(samples.inputs), one(samples.inputs))


def test_networks_with_batch_norm_or_nothing_hidden_are_refused() -> None:
    with pytest.raises(NetworkError, match="without batch norm"):
        Repair(make("resnet20", {"width": 0.25}, 0), images())
    with pytest.raises(NetworkError, match="no hidden"):
        Repair(make("mlp", {"widths": ()}, 0), images())
