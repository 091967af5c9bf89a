"""The notebook's functions give what the commands give, on the same checkpoints, to the last bit where both can."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader, TensorDataset

import landscape_cli as landscape
from landscape_cli.compute.predictions.choices import IndexName
from landscape_cli.compute.streams import stream
from landscape_cli.compute.weights.alignment_choices import AlignMethod
from landscape_cli.store.planes import StoredPlane
from landscape_cli.store.trajectories import Trajectories
from tests.conftest import SAMPLES, TRAIN, Cli

A, B = SAMPLES / "early-a", SAMPLES / "early-b"


def pair() -> tuple[torch.nn.Module, torch.nn.Module]:
    return landscape.load_network(A), landscape.load_network(B)


def test_barrier(cli: Cli) -> None:
    """From a loader of normalised tensors, as a user has one, and from the run's own samples."""
    arguments = ("barrier", A, B, "--points", "5", "--refine", "1", "--split", "test", "--device", "cpu")
    (record,) = cli(*arguments).records
    a, b = pair()
    samples = landscape.load_samples(A)
    loader = DataLoader(TensorDataset(*(torch.cat(side) for side in zip(*samples, strict=True))), batch_size=64)
    before = {name: tensor.clone() for name, tensor in a.state_dict().items()}
    for data in (samples, loader):
        found = landscape.barrier(a, b, data, points=5, refine=1)
        for risk in ("error", "loss"):
            barrier = getattr(found, risk)
            for reading in ("sup", "sup_alpha", "mid", "chord", "chord_alpha"):
                assert getattr(barrier, reading) == record[f"{risk}_{reading}"]
            assert (barrier.first, barrier.second) == (record[f"{risk}_a"], record[f"{risk}_b"])
        assert (found.samples, len(found.alphas), found.batch_norm) == (record["samples"], record["points"], None)
    assert all(torch.equal(before[name], tensor) for name, tensor in a.state_dict().items())


def test_barrier_with_batch_norm(cli: Cli, tmp_path: Path) -> None:
    train = ("train", "--data", "digits", "--network", "resnet20", "--width", "0.25", "--train-size", "128", "--epochs", "1",
             "--batch-size", "64", "--device", "cpu", "--checkpoints", "last", "-q")  # fmt: skip
    runs = [tmp_path / "one", tmp_path / "two"]
    for seed, run in enumerate(runs):
        assert cli(*train, "--seed", seed, "--out", run).status == 0
    options = ("--points", "3", "--refine", "0", "--split", "test", "--samples", "100", "--device", "cpu")
    for bn in ("recompute", "lerp", "keep"):
        (record,) = cli("barrier", *runs, *options, "--bn", bn).records
        a, b = (landscape.load_network(run) for run in runs)
        test, train_set = landscape.load_samples(runs[0], samples=100), landscape.load_samples(runs[0], "train")
        found = landscape.barrier(a, b, test, points=3, refine=0, bn=bn, bn_data=train_set)
        assert (found.error.sup, found.loss.sup, found.batch_norm) == (record["error_sup"], record["loss_sup"], bn)
        if bn == "recompute":
            assert found.own is not None
            assert (found.own[0].loss, found.own[1].error) == (record["own_loss_a"], record["own_error_b"])
    with pytest.raises(landscape.LandscapeError, match="has batch norm"):
        landscape.barrier(a, b, test, points=3)


def test_plane(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "plane.h5"
    done = cli("plane", A, B, SAMPLES / "late-a", "--grid", "3,2", "--split", "test", "-o", out, "--device", "cpu")
    assert done.status == 0, done.err
    nets = [landscape.load_network(run) for run in (A, B, SAMPLES / "late-a")]
    found = landscape.plane(*nets, landscape.load_samples(A), grid=(3, 2))
    stored = StoredPlane.open(out)
    assert np.array_equal(stored.x, found.x)
    assert np.array_equal(stored.y, found.y)
    assert np.array_equal(stored.values["test"]["error"], found.error)
    assert np.array_equal(stored.values["test"]["loss"], found.loss)


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_alignment(cli: Cli, tmp_path: Path, method: AlignMethod) -> None:
    """And the barrier that is left."""
    out = tmp_path / "aligned.safetensors"
    (record,) = cli("align", A, B, "--method", method, "-o", out, "--device", "cpu").records
    a, b = pair()
    found = landscape.align(a, b, landscape.load_samples(A, "train"), method=method)
    assert (found.before.distance, found.after.distance) == (record["distance_before"], record["distance"])
    assert (found.moved, found.units) == (record["moved"], record["units"])
    stored = landscape.load_checkpoint(out)
    assert all(torch.equal(found.state[name], tensor) for name, tensor in stored.items())
    options = ("--points", "3", "--refine", "0", "--split", "test", "--device", "cpu")
    (left,) = cli("barrier", A, B, "--align", method, *options).records
    test = landscape.load_samples(A)
    assert landscape.barrier(a, found.state, test, points=3, refine=0).loss.sup == left["loss_sup"]


def test_weight_and_relu_and_function_distance(cli: Cli) -> None:
    a, b = pair()
    data = landscape.load_samples(A)
    (weight,) = cli("weight-dist", A, B).records
    found = landscape.weight_distance(a, b)
    assert (found.distance, found.relative, found.cosine) == tuple(
        weight[k] for k in ("distance", "relative", "cosine")
    )
    layers = landscape.weight_distance(a.state_dict(), b.state_dict(), network=a, by_layer=True)
    assert sum(one.distance**2 for one in layers.values()) == pytest.approx(found.distance**2)
    (relu,) = cli("relu-dist", A, B, "--split", "test", "--by-layer").records
    patterns = landscape.relu_distance(a, b, data)
    assert (patterns.distance, patterns.on_a, patterns.on_b) == (relu["distance"], relu["on_a"], relu["on_b"])
    assert patterns.layers == relu["layers"]
    (function,) = cli("function-dist", A, B, "--split", "test", "--device", "cpu").records
    apart = landscape.function_distance(a, b, data)
    for name in ("disagreement", "expected", "jensen_shannon", "correlation"):
        assert getattr(apart, name) == function[name]
    assert (apart.normalized, apart.error) == (function["distance"], function["error_a"])


@pytest.mark.parametrize("form", ["full", "trace", "pseudo"])
def test_kernel_distance(cli: Cli, form: str) -> None:
    (record,) = cli("kernel-dist", A, B, "--samples", "20", "--kernel", form, "--device", "cpu").records
    a, b = pair()
    data = landscape.load_samples(A, "train", samples=20)
    assert landscape.kernel_distance(a, b, data, kernel=form) == record["distance"]
    kernels = [landscape.tangent_kernel(one, data, kernel=form) for one in (a, b)]
    assert landscape.kernel_distance(*kernels) == record["distance"]
    assert landscape.kernel_velocity(*kernels, dt=0.4) == record["distance"] / 0.4


def test_gradient_distance(cli: Cli) -> None:
    (record,) = cli("gradient-dist", A, B, "--samples", "40", "--batch-size", "16", "--device", "cpu").records
    a, b = pair()
    data = landscape.load_samples(A, "train", samples=40)
    for one, other in ((a, b), (a.state_dict(), b)):
        found = landscape.gradient_distance(one, other, data, batch_size=16)
        assert (found.distance, found.alignment) == (record["distance"], record["alignment"])
        assert found.by_class.tolist() == pytest.approx(record["by_class"], abs=1e-12)  # rounded there


def test_hessian(cli: Cli) -> None:
    """The command shuffles its samples; in that order or another, the numbers differ by rounding alone."""
    options = ("--samples", "50", "--top", "2", "--bottom", "1", "--parts", "0", "--trace", "6", "--density", "1")
    (record,) = cli("hessian", A, *options, "--steps", "5", "--device", "cpu").records
    network = landscape.load_network(A)
    chosen = landscape.load_samples(A, "train", samples=50)
    within = 1e-5 * record["lambda_max"]
    for data in (chosen, chosen.take(torch.randperm(50, generator=stream("curvature-order", 0)))):
        found = landscape.hessian_eigenvalues(network, data, top=2, bottom=1)
        assert found.converged
        assert found.values.tolist() == pytest.approx(record["eigenvalues"], abs=within)
        trace = landscape.hessian_trace(network, data, products=6)
        assert (trace.value, trace.standard_error) == pytest.approx(
            (record["trace"], record["trace_error"]), abs=within
        )
        density = landscape.hessian_density(network, data, probes=1, steps=5)
        assert density.nodes[0].tolist() == pytest.approx(record["density"]["nodes"][0], abs=within)
        assert density.weights[0].tolist() == pytest.approx(record["density"]["weights"][0], abs=1e-5)


def predictions(cli: Cli, tmp_path: Path) -> tuple[Path, "landscape.api.answers.Predictions"]:
    names = [f"{SAMPLES / 'parent'}@0ep", f"{SAMPLES / 'parent'}@8ep", str(A), str(B), str(SAMPLES / "late-a")]
    out = tmp_path / "test.h5"
    assert cli("predict", *names, "-o", out, "--device", "cpu", "-q").status == 0
    return out, landscape.predict([landscape.load_network(name) for name in names], landscape.load_samples(A))


def test_predict_progress_distances_and_inpca(cli: Cli, tmp_path: Path) -> None:
    out, found = predictions(cli, tmp_path)
    with h5py.File(out) as file:
        assert np.array_equal(file["log_probs"][()], found.log_probs.numpy())
        assert np.array_equal(file["labels"][()], found.labels.numpy())
    progress = landscape.progress(found)
    for number, record in enumerate(cli("progress", out).records):
        for name in ("progress", "distance_to_geodesic", "truth", "ignorance", "error", "loss"):
            # Sums of the same numbers, in an order that follows where they lie in memory.
            assert getattr(progress, name)[number] == pytest.approx(record[name], rel=1e-12, abs=1e-12)
    matrix = tmp_path / "distances.h5"
    assert cli("distances", out, "-o", matrix, "-q").status == 0
    with h5py.File(matrix) as file:
        stored = next(item[()] for item in file.values() if isinstance(item, h5py.Dataset) and item.shape == (5, 5))
    own = landscape.prediction_distances(found).numpy()
    assert np.allclose(own, stored, rtol=1e-12 if stored.dtype == np.float64 else 1e-6)
    (record,) = cli("inpca", out, "-k", "3", "-o", tmp_path / "embedding.h5").records
    for matrix, within in ((found, 1e-6), (torch.from_numpy(stored), 1e-9)):  # the command's matrix is float32
        embedding = landscape.inpca(matrix, dims=3)
        assert embedding.eigenvalues == pytest.approx(record["eigenvalues"], rel=within)
        assert embedding.explained_stress == pytest.approx(record["explained_stress"], rel=within)
    again = landscape.inpca(torch.from_numpy(own), dims=None)
    difference = again.coordinates[:, None] - again.coordinates[None]
    assert np.allclose((difference**2 * again.signature).sum(2), own, atol=1e-12)


def test_means_of_models(cli: Cli, tmp_path: Path) -> None:
    out, found = predictions(cli, tmp_path)
    means = tmp_path / "means.h5"
    assert cli("centroid", out, "-o", means, "-q").status == 0
    with h5py.File(means) as file:
        kinds = [kind.decode() for kind in file["models/centroid"][()]]
        for kind, stored in zip(kinds, file["log_probs"][()], strict=True):
            assert np.array_equal(landscape.centroid(found, kind).float().numpy(), stored)


@pytest.mark.parametrize("index", ["progress", "error"])
def test_distances_of_trajectories(cli: Cli, parent: Path, tmp_path: Path, index: IndexName) -> None:
    other = tmp_path / "other"
    assert cli(*TRAIN, "--seed", "5", "--out", other, "-q").status == 0
    names = [f"{run}@step:{step}" for run in (parent, other) for step in landscape.open_run(run).steps()]
    out, file = tmp_path / "all.h5", tmp_path / "trajectories.h5"
    assert cli("predict", *names, "-o", out, "--device", "cpu", "-q").status == 0
    done = cli("trajectories", out, "-o", file, "--index", index, "--points", "50", "-q")
    assert done.status == 0, done.err
    found = landscape.predict([landscape.load_network(name) for name in names], landscape.load_samples(parent))
    half = len(names) // 2
    own = landscape.trajectory_distances(found, [range(half), range(half, len(names))], index=index, points=50)
    stored = Trajectories.open(file).matrix.read()
    assert own.distances[0, 1] > 0
    assert np.allclose(own.distances, stored, rtol=1e-6)


def test_linearized_network_is_the_network_at_its_own_weights() -> None:
    a, _ = pair()
    linear = landscape.linearize(a)
    (x, _), *_ = landscape.load_samples(A)
    with torch.no_grad():
        assert torch.equal(linear(x), a(x))
    assert linear.state_dict().keys() == a.state_dict().keys()


@pytest.mark.parametrize("name", ["early-a", "early-b", "late-a"])
def test_evaluate_and_loading(name: str) -> None:
    run = landscape.open_run(SAMPLES / name)
    recorded = run.record()
    network = landscape.load_network(run)
    assert not network.training
    found = landscape.evaluate(network, landscape.load_samples(run))
    assert found.error == recorded["test_error"]
    assert found.loss == pytest.approx(recorded["test_loss"], rel=1e-6)
    state = landscape.load_checkpoint(f"{SAMPLES / name}@last")
    assert all(torch.equal(state[key], tensor) for key, tensor in network.state_dict().items())
    assert len(landscape.load_samples(run, "train", samples=30)) == 30


def test_checkpoints_outside_a_run(cli: Cli, tmp_path: Path) -> None:
    """A file that says nothing of itself: a named network with its options, or a module."""
    file = tmp_path / "model.safetensors"
    save_file(landscape.load_checkpoint(A), file)
    own = landscape.load_network(A)
    named = landscape.load_network(file, network="simple-cnn", network_option={"width": 0.5}, data="digits")
    given = landscape.load_network(file, network=named)
    assert given is not named
    data = landscape.load_samples(file, data="digits")
    assert (
        landscape.evaluate(named, data)
        == landscape.evaluate(given, data)
        == landscape.evaluate(own, landscape.load_samples(A))
    )
    for lacking in ({}, {"network": "simple-cnn"}):
        with pytest.raises(landscape.LandscapeError, match="does not say what"):
            landscape.load_network(file, **lacking)
    with pytest.raises(landscape.LandscapeError, match="does not say what data"):
        landscape.load_samples(file)


def test_a_linearised_run_is_loaded_as_the_polynomial_that_was_trained(cli: Cli, parent: Path) -> None:
    done = cli("linearize", parent, "--at", "2ep", "--epochs", "1", "--device", "cpu")
    assert done.status == 0, done.err
    (record,) = done.records
    network = landscape.load_network(record["path"])
    assert type(network).__name__ == "LinearizedNetwork"
    assert landscape.evaluate(network, landscape.load_samples(record["path"])).error == record["test_error"]


def test_code_named_in_a_run_is_not_executed(tmp_path: Path, cli: Cli) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "from torch import nn\ndef build(input_shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    run = tmp_path / "run"
    assert cli("train", "--network", f"{code}:build", "--data", "digits", "--epochs", "1", "--train-size", "128", "--checkpoints",
               "last", "--device", "cpu", "--out", run, "-q").status == 0  # fmt: skip
    with pytest.raises(landscape.LandscapeError, match="is not executed"):
        landscape.load_network(run)
    named = landscape.load_network(run, network=f"{code}:build")
    assert (
        landscape.evaluate(named, landscape.load_samples(run)).error == landscape.open_run(run).record()["test_error"]
    )
