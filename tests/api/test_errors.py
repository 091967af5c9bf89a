"""What is wrong with a notebook's networks or data is named before anything is computed."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import landscape_cli as landscape
from tests.api.made import X, Y, net, normed
from tests.conftest import SAMPLES


def told(models: int) -> torch.Tensor:
    """Log-probabilities of so many models."""
    return torch.randn(models, 12, 3, generator=torch.Generator().manual_seed(1)).log_softmax(2)


def sure(share: float) -> torch.Tensor:
    """A model that gives every label so much."""
    return torch.where(nn.functional.one_hot(Y, 3) > 0, share, (1 - share) / 2).log()[None]


def broken(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        network[2].bias[1] = float("nan")  # type: ignore[index,operator]
    return network


class Wrapped(nn.Module):
    """Gives what a Hugging Face model does: no tensor."""

    def __init__(
        self, give: Callable[[torch.Tensor], Any], before: Callable[[torch.Tensor], Any] = lambda x: x
    ) -> None:
        super().__init__()
        self.inner, self.give, self.before = net(), give, before

    def forward(self, x: torch.Tensor) -> Any:
        return self.give(self.inner(self.before(x)))


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "empty loader": (lambda: landscape.barrier(net(), net(1), []), "the loader is empty"),
    "used generator": (lambda: landscape.evaluate(net(), iter(())), "the loader is empty"),
    "empty tensors": (lambda: landscape.evaluate(net(), (X[:0], Y[:0])), "there are no samples"),
    "no labels": (lambda: landscape.evaluate(net(), X), "inputs alone"),
    "no pairs": (lambda: landscape.evaluate(net(), DataLoader(list(X))), "batch 0 is a Tensor, not"),
    "a dictionary": (lambda: landscape.evaluate(net(), [{"x": X}]), "data: batch 0 is a dict of 'x', not"),
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
    "two axes": (lambda: landscape.progress(torch.zeros(3, 4), Y), r"not float32 of shape \(3, 4\)"),
    "progress without labels": (lambda: landscape.progress(torch.zeros(2, 3, 1)), "towards the labels"),
    "other samples": (
        lambda: landscape.prediction_distances(
            landscape.predict(net(), (X, Y)), landscape.predict(net(), (X, Y.flip(0)))
        ),
        "different samples",
    ),
    "one model": (lambda: landscape.inpca(landscape.predict(net(), (X, Y))), "two models at least"),
    "a path for a network": (lambda: landscape.evaluate("runs/parent", (X, Y)), "network is a str, not a module"),  # type: ignore[arg-type]
    "a state for a network": (lambda: landscape.evaluate(net().state_dict(), (X, Y)), "network is a OrderedDict, not"),  # type: ignore[arg-type]
    "a path for an end": (lambda: landscape.barrier("a", net(), (X, Y)), "neither a module nor a state dict"),  # type: ignore[arg-type]
    "lazy layers": (lambda: landscape.evaluate(nn.LazyLinear(3), (X, Y)), "lazy layers without weights"),
    "another activation": (
        lambda: landscape.barrier(net(), net(1, unit=nn.Tanh), (X, Y)),
        "the second network gives other logits than its weights do in the first",
    ),
    "inputs changed in place": (
        lambda: landscape.evaluate(Wrapped(lambda z: z, before=lambda x: x.sub_(1.0)), (X, Y)),
        "changes its inputs in place",
    ),
    "nothing trains": (
        lambda: landscape.weight_distance(net().requires_grad_(False), net(1)),
        "no parameter of the net",
    ),
    "nothing spans": (
        lambda: landscape.plane(net().requires_grad_(False), net(1), net(2), (X, Y)),
        "no parameter of the network trains",
    ),
    "networks by name": (lambda: landscape.predict({"a": net()}, (X, Y)), "a dictionary of networks"),  # type: ignore[dict-item]
    "arrays without a network": (lambda: landscape.predict(3, (X, Y)), "networks is a int"),  # type: ignore[arg-type]
    "three arrays": (lambda: landscape.evaluate(net(), (X, Y, Y)), "3 arrays are given"),
    "column of labels": (
        lambda: landscape.evaluate(net(), (X, Y[:, None])),
        r"the labels are int64 of shape \(12, 1\)",
    ),
    "words for labels": (
        lambda: landscape.evaluate(net(), (X, list("abcabcabcabc"))),
        "the labels are a list, no numbers",
    ),  # type: ignore[arg-type]
    "a data set without labels": (lambda: landscape.evaluate(net(), TensorDataset(X)), "batch 0 is a tuple, not"),
    "which data": (
        lambda: landscape.barrier(normed(), normed(1), (X, Y), bn_data=[]),
        "bn_data: the loader is empty",
    ),
    "one sample for batch norm": (
        lambda: landscape.barrier(normed(), normed(1), (X, Y), bn_data=(X[:1], Y[:1])),
        "cannot be recomputed on 1 samples",
    ),
    "other inputs for batch norm": (
        lambda: landscape.barrier(normed(), normed(1), (X, Y), bn_data=(X[:, :3], Y)),
        "with bn_data the network fails on inputs",
    ),
    "word for batch norm": (
        lambda: landscape.barrier(normed(), normed(1), (X, Y), bn="recalc"),
        "there is no bn='recalc'",
    ),  # type: ignore[arg-type]
    "word for curvature's batch norm": (
        lambda: landscape.hessian_eigenvalues(normed(), (X, Y), bn="trian"),  # type: ignore[arg-type]
        "there is no bn='trian'",
    ),
    "curvature": (lambda: landscape.hessian_trace(net(), (X, Y), curvature="ggn"), "there is no curvature='ggn'"),  # type: ignore[arg-type]
    "trace method": (lambda: landscape.hessian_trace(net(), (X, Y), method="xtrace"), "there is no method='xtrace'"),  # type: ignore[arg-type]
    "few products": (lambda: landscape.hessian_trace(net(), (X, Y), products=3), "3 products are too few"),
    "probes": (lambda: landscape.hessian_density(net(), (X, Y), probes=0), "0 probes"),
    "kernel": (lambda: landscape.tangent_kernel(net(), (X, Y), kernel="ntk"), "there is no kernel='ntk'"),  # type: ignore[arg-type]
    "kernel of a distance": (lambda: landscape.kernel_distance(net(), net(1), (X, Y), kernel="ntk"), "no kernel='ntk'"),  # type: ignore[arg-type]
    "a kernel of a whole data set": (
        lambda: landscape.tangent_kernel(net(), (torch.zeros(500_000, 4), torch.zeros(500_000, dtype=torch.int64))),
        r"a full kernel of 500,000 samples takes 8,382 GiB",
    ),
    "no square": (
        lambda: landscape.kernel_distance(torch.ones(2, 3), torch.ones(2, 3)),
        r"a is float32 of shape \(2, 3\)",
    ),
    "kernels and data": (lambda: landscape.kernel_distance(torch.eye(2), torch.eye(2), (X, Y)), "samples already"),
    "an endless interval": (lambda: landscape.kernel_velocity(net(), net(1), float("inf"), (X, Y)), "dt=inf"),
    "solver": (lambda: landscape.inpca(torch.eye(3), solver="lanczos"), "there is no solver='lanczos'"),  # type: ignore[arg-type]
    "method": (lambda: landscape.inpca(torch.eye(3), method="umap"), "there is no method='umap'"),  # type: ignore[arg-type]
    "distance": (lambda: landscape.prediction_distances(told(2), distance="l2"), "there is no distance='l2'"),  # type: ignore[arg-type]
    "dtype": (lambda: landscape.predict(net(), (X, Y), dtype="float8"), "there is no dtype='float8'"),  # type: ignore[arg-type]
    "precision": (lambda: landscape.evaluate(net(), (X, Y), precision="single"), "there is no precision='single'"),  # type: ignore[arg-type]
    "weights": (lambda: landscape.inpca(told(3), weights=[1.0, 2.0]), r"weights has the shape \(2,\), but there are 3"),
    "broken labels": (lambda: landscape.progress(told(2), Y + 0.5), "the labels are float32"),  # type: ignore[arg-type]
    "logits as predictions": (
        lambda: landscape.function_distance(torch.randn(12, 3), torch.randn(12, 3), Y),
        "no log-probabilities",
    ),
    "probabilities as predictions": (
        lambda: landscape.function_distance(told(2)[0].exp(), told(2)[1].exp(), Y),
        "no log-probabilities",
    ),
    "labels of other classes": (
        lambda: landscape.function_distance(told(2)[0], told(2)[1], Y + 1),
        "the label of sample",
    ),
    "mean": (lambda: landscape.centroid(told(2), "median"), "there is no kind='median'"),  # type: ignore[arg-type]
    "one run": (lambda: landscape.trajectory_distances(told(4), [range(4)], Y), "a distance of trajectories takes two"),
    "no such model": (lambda: landscape.trajectory_distances(told(4), [[0, 1], [2, 4]], Y), "run 1 has model 4"),
    "runs by name": (lambda: landscape.trajectory_distances(told(4), ["ab", "cd"], Y), "run 0 is no list of places"),  # type: ignore[list-item]
    "runs apart": (
        lambda: landscape.trajectory_distances(
            torch.cat([told(2).softmax(2).mul(1e-9).log_softmax(2), sure(0.8), sure(0.9)]), [[0, 1], [2, 3]], Y
        ),
        "share no range of the progress index",
    ),
    "gradients of two architectures": (
        lambda: landscape.gradient_distance(net(), net(1, outputs=2), (X, Y)),
        "the second network does not fit",
    ),
    "gradients in half precision": (
        lambda: landscape.gradient_centroids(net(), (X, Y), precision="bf16"),
        "gradients are not taken in bf16",
    ),
    "nothing to permute": (
        lambda: landscape.align(nn.Linear(4, 3), nn.Linear(4, 3), (X, Y)),
        "no hidden units that may be permuted",
    ),
    "alignment": (lambda: landscape.align(net(), net(1), (X, Y), method="otfusion"), "there is no method='otfusion'"),  # type: ignore[arg-type]
    "grid": (lambda: landscape.plane(net(), net(1), net(2), (X, Y), grid=(3, 1)), "grid is 1"),
    "margin": (lambda: landscape.plane(net(), net(1), net(2), (X, Y), margin=-1), "margin=-1"),
    "refine": (lambda: landscape.barrier(net(), net(1), (X, Y), refine=-1), "refine is -1"),
    "half a batch": (lambda: landscape.evaluate(net(), (X, Y), batch_size=2.5), "batch_size=2.5 is no whole number"),  # type: ignore[arg-type]
    "options without a name": (
        lambda: landscape.load_network(SAMPLES / "parent", network_option={"width": 0.25}),
        "network_option is for a network by name",
    ),
    "options of no data": (
        lambda: landscape.load_samples(SAMPLES / "parent", data_option={"size": 8}),
        "data_option is for data by name",
    ),
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
