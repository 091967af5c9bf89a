"""What is wrong with a notebook's networks or data is named before anything is computed."""

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import landscape_cli as landscape
from tests.conftest import SAMPLES

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def net(seed: int = 0, *, outputs: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, outputs))


def broken(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        network[2].bias[1] = float("nan")  # type: ignore[index,operator]
    return network


class Wrapped(nn.Module):
    """Gives what a Hugging Face model does: no tensor."""

    def __init__(self, give: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.give = net(), give

    def forward(self, x: torch.Tensor) -> Any:
        return self.give(self.inner(x))


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "empty loader": (lambda: landscape.barrier(net(), net(1), []), "the loader is empty"),
    "used generator": (lambda: landscape.evaluate(net(), iter(())), "the loader is empty"),
    "empty tensors": (lambda: landscape.evaluate(net(), (X[:0], Y[:0])), "there are no samples"),
    "no labels": (lambda: landscape.evaluate(net(), X), "inputs alone"),
    "no pairs": (lambda: landscape.evaluate(net(), DataLoader(list(X))), "batch 0 is a Tensor, not"),
    "a dictionary": (lambda: landscape.evaluate(net(), [{"x": X}]), "batch 0 is a dict, not"),
    "one-hot labels": (lambda: landscape.evaluate(net(), (X, torch.eye(3)[Y])), "the labels are float32 of shape"),
    "bytes": (lambda: landscape.evaluate(net(), (X.byte(), Y)), "the inputs are uint8"),
    "NaN input": (lambda: landscape.evaluate(net(), (X.index_fill(0, torch.tensor([5]), float("nan")), Y)), "sample 5"),
    "lengths": (lambda: landscape.evaluate(net(), (X, Y[:5])), "12 inputs but 5 labels"),
    "label beyond": (lambda: landscape.evaluate(net(), (X, Y + 1)), "the label of sample 2 is 3"),
    "negative label": (lambda: landscape.evaluate(net(), (X, Y - 1)), "the label of sample 0 is -1"),
    "wrong inputs": (lambda: landscape.evaluate(net(), (X[:, :3], Y)), r"fails on inputs of shape \(3,\)"),
    "wrong state": (lambda: landscape.barrier(net(), net(1, outputs=2), (X, Y)), "tensor '2.weight' has shape"),
    "missing tensor": (lambda: landscape.barrier(net(), {}, (X, Y)), "tensor '0.weight' is missing"),
    "a checkpoint around": (
        lambda: landscape.barrier(net(), {"model": net().state_dict()}, (X, Y)),
        "'model' is a OrderedDict",
    ),
    "two states": (lambda: landscape.barrier(net().state_dict(), net(1).state_dict(), (X, Y)), "state dicts alone"),
    "NaN weights": (lambda: landscape.barrier(net(), broken(net(1)), (X, Y)), "the second network: tensor '2.bias'"),
    "NaN kernel": (lambda: landscape.tangent_kernel(broken(net()), (X, Y)), "tensor '2.bias' holds NaN"),
    "no tensor out": (
        lambda: landscape.evaluate(Wrapped(lambda z: {"logits": z}), (X, Y)),
        "gives a dict, not a tensor",
    ),
    "three axes out": (lambda: landscape.evaluate(Wrapped(lambda z: z[:, None]), (X, Y)), r"gives \(2, 1, 3\) for 2"),
    "NaN out": (lambda: landscape.predict(Wrapped(lambda z: z * float("nan")), (X, Y)), "gives NaN"),
    "no networks": (lambda: landscape.predict([], (X, Y)), "there is no network"),
    "batch size": (lambda: landscape.evaluate(net(), (X, Y), batch_size=0), "batch_size is 0"),
    "span": (lambda: landscape.barrier(net(), net(1), (X, Y), span=(0.2, 1)), "a path goes at least from 0 to 1"),
    "device": (lambda: landscape.evaluate(net(), (X, Y), device="cuda:99"), "cuda:99"),
    "one line": (lambda: landscape.plane(net(), net(1), net(1), (X, Y)), "span no plane"),
    "kernel and network": (
        lambda: landscape.kernel_distance(torch.eye(2), net(), (X, Y)),
        "one side is a kernel and the other a network",
    ),
    "kernel without data": (lambda: landscape.kernel_distance(net(), net(1)), "kernels are of samples"),
    "forms": (
        lambda: landscape.kernel_distance(
            landscape.tangent_kernel(net(), (X, Y), kernel="trace"),
            landscape.tangent_kernel(net(), (X, Y), kernel="pseudo"),
        ),
        "different quantities",
    ),
    "no interval": (lambda: landscape.kernel_velocity(net(), net(1), 0, (X, Y)), "dt=0"),
    "probabilities": (lambda: landscape.prediction_distances(torch.full((2, 3, 4), 0.25)), "no log-probabilities"),
    "two axes": (lambda: landscape.progress(torch.zeros(3, 4), Y), r"not \(3, 4\)"),
    "progress without labels": (lambda: landscape.progress(torch.zeros(2, 3, 1)), "towards the labels"),
    "other samples": (
        lambda: landscape.prediction_distances(
            landscape.predict(net(), (X, Y)), landscape.predict(net(), (X, Y.flip(0)))
        ),
        "different samples",
    ),
    "one model": (lambda: landscape.inpca(landscape.predict(net(), (X, Y))), "two models at least"),
    "order": (lambda: landscape.linearize(net(), order=3), "order=3"),  # type: ignore[arg-type]
    "no run": (lambda: landscape.open_run("nowhere"), "nowhere does not exist"),
    "no such time": (lambda: landscape.load_network(f"{SAMPLES / 'parent'}@3ep"), "has no checkpoint at 3ep"),
    "another network": (
        lambda: landscape.load_network(SAMPLES / "parent", network=net()),
        "does not fit the network",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_errors_name_the_thing(name: str) -> None:
    call, message = CASES[name]
    with pytest.raises(landscape.LandscapeError, match=message):
        call()


def test_the_way_on_is_shown_under_the_message() -> None:
    with pytest.raises(landscape.LandscapeError) as caught:
        landscape.kernel_distance(net(), net(1))
    assert (
        "".join(traceback.format_exception(caught.value)).splitlines()[-1]
        == "hint: give them: kernel_distance(a, b, DATA)"
    )


def test_the_ways_of_giving_data_are_one() -> None:
    """A pair of tensors, of arrays, a loader, a data set of single samples, a list and a generator of batches."""
    ways: list[Any] = [
        (X, Y),
        (X.numpy(), Y.numpy()),
        DataLoader(TensorDataset(X, Y), batch_size=5),
        TensorDataset(X, Y),
        [(X[:7], Y[:7]), (X[7:], Y[7:])],
        ((x, y) for x, y in zip(X.split(4), Y.split(4), strict=True)),
        [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    ]
    found = [landscape.evaluate(net(), way) for way in ways]
    logits = net()(X).detach()
    assert found[0].loss == pytest.approx(float(nn.functional.cross_entropy(logits, Y)), rel=1e-6)
    assert all(one == found[0] for one in found)


def test_networks_and_their_modes_are_left_alone() -> None:
    a = net().double().train()
    before = {name: tensor.clone() for name, tensor in a.state_dict().items()}
    found = landscape.barrier(a, net(1).double(), (X, Y), points=3, refine=0)
    landscape.hessian_eigenvalues(a, (X, Y))
    landscape.tangent_kernel(a, (X, Y))
    landscape.predict([a, net(2)], (X, Y))
    assert a.training
    assert all(torch.equal(before[name], tensor) for name, tensor in a.state_dict().items())
    assert all(p.grad is None for p in a.parameters())
    assert found.losses.dtype == np.float64


def test_a_barrier_against_the_definition() -> None:
    """Weights mixed by hand, in float64."""
    a, b = net().double(), net(1).double()
    found = landscape.barrier(a, b, (X, Y), points=5, refine=0)
    for alpha, loss in zip(found.alphas, found.losses, strict=True):
        mixed = {n: alpha * w + (1 - alpha) * b.state_dict()[n] for n, w in a.state_dict().items()}
        logits = torch.func.functional_call(a, mixed, (X.double(),))
        assert loss == pytest.approx(float(nn.functional.cross_entropy(logits, Y)), rel=1e-12)
    assert found.loss.mid == pytest.approx(found.losses[2] - (found.losses[0] + found.losses[-1]) / 2)


def test_curvature_against_autograd() -> None:
    network = net().double()
    names = [name for name, _ in network.named_parameters()]

    def loss(*weights: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (X.double(),))
        return nn.functional.cross_entropy(logits, Y)

    weights = tuple(p.detach() for p in network.parameters())
    blocks = torch.autograd.functional.hessian(loss, weights)
    size = [w.numel() for w in weights]
    dense = torch.cat(
        [
            torch.cat([b.reshape(n, m) for b, m in zip(row, size, strict=True)], 1)
            for row, n in zip(blocks, size, strict=True)
        ]
    )
    found = landscape.hessian_eigenvalues(network, (X, Y), top=2, bottom=1, tolerance=1e-8)
    spectrum = torch.linalg.eigvalsh(dense)
    assert torch.allclose(found.values, torch.stack([spectrum[-1], spectrum[-2], spectrum[0]]), rtol=1e-6)


def test_a_compiled_or_parallel_network_is_the_network_inside() -> None:
    a = net()
    whole = landscape.evaluate(a, (X, Y))
    assert landscape.evaluate(nn.DataParallel(a), (X, Y)) == whole
    assert landscape.weight_distance(nn.DataParallel(a), a.state_dict()).distance == 0


def test_names_are_public() -> None:
    for name in landscape.__all__:
        assert getattr(landscape, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'barier'"):
        landscape.barier  # noqa: B018
