"""The ways in which a notebook holds data and networks."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import landscape_cli as landscape
from tests.api.made import X, Y, net, normed


class Endless(Dataset[tuple[torch.Tensor, int]]):
    """Knows its length, and takes any number: reading it until it raises would never end."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return X[number % len(X)], int(Y[number % len(X)])


def test_the_ways_of_giving_data_are_one() -> None:
    """A pair of tensors, of arrays, a loader, a data set of single samples, a list and a generator of batches."""
    ways: list[Any] = [
        (X, Y),
        (X.numpy(), Y.numpy()),
        (X.numpy(), Y.tolist()),
        (X.double().numpy(), Y.numpy().astype(">i4")),
        (X, Y.to(torch.uint8)),
        DataLoader(TensorDataset(X, Y), batch_size=5),
        DataLoader(TensorDataset(X, Y, Y.flip(0)), batch_size=5),  # a third part is left out
        TensorDataset(X, Y),
        Endless(),
        [(X[:7], Y[:7]), (X[7:], Y[7:])],
        ((x, y) for x, y in zip(X.split(4), Y.split(4), strict=True)),
        [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    ]
    found = [landscape.evaluate(net(), way) for way in ways]
    logits = net()(X).detach()
    assert found[0].loss == pytest.approx(float(nn.functional.cross_entropy(logits, Y)), rel=1e-6)
    assert all(one == found[0] for one in found)


def test_arrays_of_numpy_and_of_a_file_are_predictions(tmp_path: Path) -> None:
    predictions = landscape.predict([net(seed) for seed in range(4)], (X, Y))
    distances = landscape.prediction_distances(predictions)
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["log_probs"], file["labels"] = predictions.log_probs.numpy(), Y.numpy()
        for log_probs, labels in (
            (file["log_probs"], file["labels"]),
            (file["log_probs"][()], Y.numpy()),
            (predictions.log_probs, Y.tolist()),
        ):
            assert torch.equal(landscape.prediction_distances(log_probs), distances)
            assert np.array_equal(
                landscape.progress(log_probs, labels).progress, landscape.progress(predictions).progress
            )
            assert np.array_equal(landscape.inpca(log_probs).coordinates, landscape.inpca(predictions).coordinates)
            apart = landscape.function_distance(log_probs[0], log_probs[1], labels)
            assert apart == landscape.function_distance(predictions.log_probs[0], predictions.log_probs[1], Y)
    matrix = landscape.inpca(distances, weights=[1, 2, 3, 0])
    assert np.array_equal(
        matrix.coordinates, landscape.inpca(distances.numpy(), weights=np.array([1, 2, 3, 0])).coordinates
    )


def test_the_ways_of_giving_weights_are_one() -> None:
    """Whatever the order of names, the prefix a wrapper left, the type of array."""
    a, b = normed(), normed(1)
    state = b.state_dict()
    ways: list[Any] = [
        b,
        nn.DataParallel(b),
        state,
        dict(reversed(state.items())),
        {f"module.{name}": tensor for name, tensor in state.items()},
        {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
        {name: tensor.numpy() for name, tensor in state.items()},
    ]
    for way in ways:
        losses = landscape.barrier(a, way, (X, Y), bn="lerp", points=3, refine=0).losses
        assert np.array_equal(losses, landscape.barrier(a, b, (X, Y), bn="lerp", points=3, refine=0).losses)
        assert landscape.weight_distance(a, way) == landscape.weight_distance(a, b)
        both = landscape.predict([a, way], (X, Y)).log_probs
        assert torch.equal(both, landscape.predict((one for one in (a, b)), (X, Y)).log_probs)


def test_a_file_that_a_wrapper_wrote_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({f"module.{name}": tensor for name, tensor in normed(1).state_dict().items()}, file)
    loaded = landscape.load_network(file, network=normed())
    assert landscape.evaluate(loaded, (X, Y)) == landscape.evaluate(normed(1), (X, Y))
    with pytest.raises(landscape.LandscapeError, match=r"'0\.weight' has shape"):
        landscape.load_network(file, network=nn.Sequential(nn.Linear(5, 6), *normed()[1:]))  # type: ignore[index]


def test_a_compiled_or_parallel_network_is_the_network_inside() -> None:
    a = net()
    whole = landscape.evaluate(a, (X, Y))
    assert landscape.evaluate(nn.DataParallel(a), (X, Y)) == whole
    assert landscape.weight_distance(nn.DataParallel(a), a.state_dict()).distance == 0


def test_labels_play_no_part_in_derivatives_of_logits() -> None:
    unlabelled = (X, torch.full_like(Y, -1))
    assert torch.equal(
        landscape.tangent_kernel(net(), unlabelled).values, landscape.tangent_kernel(net(), (X, Y)).values
    )
    assert torch.equal(landscape.gradient_centroids(net(), unlabelled), landscape.gradient_centroids(net(), (X, Y)))


def test_a_device_is_a_name_or_torchs_own() -> None:
    named = landscape.evaluate(net(), (X, Y), device="cpu")
    assert landscape.evaluate(net(), (X, Y), device=torch.device("cpu")) == named
    assert next(landscape.load_network("sample_checkpoints/parent", device=torch.device("cpu")).parameters()).is_cpu


def test_precision_is_the_networks_own_unless_asked_for() -> None:
    a, b = net().double(), net(1).double()
    own = landscape.barrier(a, b, (X, Y), points=3, refine=0).losses
    assert np.array_equal(own, landscape.barrier(net(), net(1), (X, Y), points=3, refine=0, precision="float64").losses)
    single = landscape.barrier(a, b, (X, Y), points=3, refine=0, precision="float32").losses
    assert np.array_equal(single, landscape.barrier(net(), net(1), (X, Y), points=3, refine=0).losses)
    assert 0 < np.abs(single - own).max() < 1e-6


def test_a_loaded_network_has_the_precision_asked_for() -> None:
    """Whatever torch makes by default in this session."""
    torch.set_default_dtype(torch.float64)
    try:
        network = landscape.load_network("sample_checkpoints/parent")
        assert {p.dtype for p in network.parameters()} == {torch.float32}
        exact = landscape.load_network("sample_checkpoints/parent", precision="float64")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in exact.parameters()} == {torch.float64}
