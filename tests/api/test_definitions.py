"""What a notebook's functions measure, against the definitions: autograd and dense matrices in float64."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import landscape_cli as landscape
from landscape_cli.compute.weights.alignment_choices import AlignMethod
from tests.api.made import IMAGES, LABELS, Everything, X, Y, net, normed

EXACT = X.double()


def flat(network: nn.Module, x: torch.Tensor = EXACT) -> torch.Tensor:
    """The Jacobian of the logits over what trains, ``(sample, class, parameter)``."""
    weights = [p for p in network.parameters() if p.requires_grad]
    rows = []
    for logit in network(x).flatten():
        gradients = torch.autograd.grad(logit, weights, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows).reshape(len(x), -1, len(rows[0]))


def dense_hessian(network: nn.Module) -> torch.Tensor:
    """Of the mean loss, by autograd."""
    names = [name for name, _ in network.named_parameters()]

    def loss(*weights: torch.Tensor) -> torch.Tensor:
        logits = functional_call(network, dict(zip(names, weights, strict=True)), (EXACT,))
        return nn.functional.cross_entropy(logits, Y)

    weights = tuple(p.detach() for p in network.parameters())
    blocks = torch.autograd.functional.hessian(loss, weights)
    size = [w.numel() for w in weights]
    rows = [
        torch.cat([b.reshape(n, m) for b, m in zip(row, size, strict=True)], 1)
        for row, n in zip(blocks, size, strict=True)
    ]
    return torch.cat(rows)


def test_a_barrier() -> None:
    """Weights mixed by hand."""
    a, b = net().double(), net(1).double()
    found = landscape.barrier(a, b, (X, Y), points=5, refine=0)
    for alpha, loss in zip(found.alphas, found.losses, strict=True):
        mixed = {n: alpha * w + (1 - alpha) * b.state_dict()[n] for n, w in a.state_dict().items()}
        logits = functional_call(a, mixed, (EXACT,))
        assert loss == pytest.approx(float(nn.functional.cross_entropy(logits, Y)), rel=1e-12)
    assert found.loss.mid == pytest.approx(found.losses[2] - (found.losses[0] + found.losses[-1]) / 2)


def test_a_barrier_whose_batch_norm_is_recomputed() -> None:
    """The whole sample is one batch, so that its mean and variance are those to put in."""
    a, b = normed().double(), normed(1).double()
    found = landscape.barrier(a, b, (X, Y), bn_data=(X, Y), points=3, refine=0)
    for alpha, loss in zip(found.alphas, found.losses, strict=True):
        mixed = {n: torch.lerp(b.state_dict()[n], w, float(alpha)) for n, w in a.state_dict().items() if "num" not in n}
        inside = EXACT @ mixed["0.weight"].T + mixed["0.bias"]
        scaled = (inside - inside.mean(0)) / (inside.var(0) + 1e-5).sqrt() * mixed["1.weight"] + mixed["1.bias"]
        logits = scaled.relu() @ mixed["3.weight"].T + mixed["3.bias"]
        assert loss == pytest.approx(float(nn.functional.cross_entropy(logits, Y)), rel=1e-10)
    assert found.own is not None
    assert found.own[0] == landscape.evaluate(a, (X, Y))
    assert found.own[0].loss != found.losses[-1]


def test_a_network_with_everything_in_training_mode() -> None:
    """Batch norm by its running statistics, dropout off, tied weights once, frozen ones not at all."""
    a, b = (Everything(seed).double().train() for seed in range(2))
    one, two = (copy.deepcopy(network).eval() for network in (a, b))
    x, data = IMAGES.double(), (IMAGES, LABELS)

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(network(x), LABELS))

    assert landscape.evaluate(a, data).loss == pytest.approx(loss(one), rel=1e-12)
    jacobians = [flat(network, x) for network in (one, two)]
    kernels = [(jacobian.flatten(0, 1) @ jacobian.flatten(0, 1).T) for jacobian in jacobians]
    assert torch.allclose(landscape.tangent_kernel(a, data).values, kernels[0], rtol=1e-10)
    unit = [kernel / kernel.norm() for kernel in kernels]
    assert landscape.kernel_distance(a, b, data) == pytest.approx(1 - float((unit[0] * unit[1]).sum()), rel=1e-9)
    assert torch.allclose(landscape.gradient_centroids(a, data), jacobians[0].mean(0), rtol=1e-10)
    apart = [p - q for p, q in zip(a.parameters(), b.parameters(), strict=True) if p.requires_grad]
    assert landscape.weight_distance(a, b).distance == pytest.approx(
        math.sqrt(sum(float(d.detach().square().sum()) for d in apart)), rel=1e-12
    )
    middle = copy.deepcopy(one)
    middle.load_state_dict(
        {
            n: torch.lerp(two.state_dict()[n], t, 0.5) if t.is_floating_point() else t
            for n, t in one.state_dict().items()
        }
    )
    how: dict[str, Any] = {"points": 3, "refine": 0}
    assert landscape.barrier(a, b, data, bn="lerp", **how).losses[1] == pytest.approx(loss(middle), rel=1e-12)
    middle.norm.train().momentum = 1.0
    with torch.no_grad():
        middle(x)
    found = landscape.barrier(a, b, data, bn_data=data, **how).losses[1]
    assert found == pytest.approx(loss(middle.eval()), rel=1e-10)


def test_the_spectrum_of_the_hessian() -> None:
    network = net().double()
    dense = dense_hessian(network)
    spectrum = torch.linalg.eigvalsh(dense)
    found = landscape.hessian_eigenvalues(network, (X, Y), top=2, bottom=1, tolerance=1e-8)
    assert torch.allclose(found.values, torch.stack([spectrum[-1], spectrum[-2], spectrum[0]]), rtol=1e-6)
    size = len(dense)
    exact = landscape.hessian_trace(network, (X, Y), products=3 * size)
    assert (exact.value, exact.standard_error) == (pytest.approx(float(dense.trace()), rel=1e-10), 0.0)
    estimate = landscape.hessian_trace(network, (X, Y), method="hutchinson", products=400)
    assert abs(estimate.value - float(dense.trace())) < 4 * estimate.standard_error
    assert 0 < estimate.standard_error < abs(estimate.value)


def test_the_density_of_the_hessian_has_its_moments() -> None:
    """Of one probe v the quadrature gives ``vᵀ H^k v`` exactly; over probes its mean is ``tr H^k / P``."""
    network = net().double()
    dense = dense_hessian(network)
    found = landscape.hessian_density(network, (X, Y), probes=60, steps=6)
    assert torch.allclose(found.weights.sum(1), torch.ones(60, dtype=torch.float64))
    for power in (1, 2):
        value, error = found.moment(power)
        truth = float(torch.linalg.matrix_power(dense, power).trace()) / len(dense)
        assert abs(value - truth) < 4 * error
        assert error < 0.5 * abs(truth)
    assert found.size == len(dense)


def test_gradient_centroids_and_their_distance() -> None:
    a, b = net().double(), net(1).double()
    one, two = (flat(network).mean(0) for network in (a, b))
    assert torch.allclose(landscape.gradient_centroids(a, (X, Y), batch_size=5), one, rtol=1e-12)
    assert torch.allclose(landscape.gradient_centroids(a, (X, Y), state=b), two, rtol=1e-12)
    found = landscape.gradient_distance(a, b.state_dict(), (X, Y))
    cosines = nn.functional.cosine_similarity(one, two)
    assert torch.allclose(found.by_class, cosines, rtol=1e-10)
    assert found.distance == pytest.approx(1 - float(cosines.mean()), rel=1e-10)
    assert landscape.gradient_distance(a, a.state_dict(), (X, Y)).distance == pytest.approx(0, abs=1e-15)


def test_gradients_of_what_trains_alone() -> None:
    a = net().double()
    whole = landscape.gradient_centroids(a, (X, Y))
    a[0].requires_grad_(False)  # type: ignore[index,operator]
    assert torch.equal(landscape.gradient_centroids(a, (X, Y)), whole[:, -21:])
    with pytest.raises(landscape.LandscapeError, match="do not train the same weights"):
        landscape.gradient_distance(a, net(1).double(), (X, Y))


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_a_permuted_copy_is_brought_back(method: AlignMethod) -> None:
    """To the last bit, with batch norm between, and the line between the two is then flat."""
    a = normed()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    b = {name: tensor.clone() for name, tensor in a.state_dict().items()}
    for name in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"):
        b[name] = b[name][order]
    b["3.weight"] = b["3.weight"][:, order]
    assert landscape.barrier(a, b, (X, Y), bn="lerp", points=5).loss.sup > 1e-3
    found = landscape.align(a, b, (X, Y), method=method)
    assert all(torch.equal(found.state[name], tensor) for name, tensor in a.state_dict().items())
    assert (found.before.distance > 1, found.after.distance, found.units) == (True, 0, 6)
    assert found.moved == int((order != torch.arange(6)).sum())
    assert landscape.barrier(a, found.state, (X, Y), bn="lerp", points=5).loss.sup == 0


def test_kernels_of_two_architectures_have_a_distance() -> None:
    """Each by its own module: a ReLU's, and a wider tanh's."""
    a = net().double()
    torch.manual_seed(3)
    b = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3)).double()
    kernels = [torch.einsum("ikp,jlp->ikjl", flat(one), flat(one)).reshape(36, 36) for one in (a, b)]
    one, two = (kernel / kernel.norm() for kernel in kernels)
    assert landscape.kernel_distance(a, b, (X, Y)) == pytest.approx(1 - float((one * two).sum()), rel=1e-10)
    assert landscape.kernel_distance(kernels[0].detach().numpy(), kernels[1].detach()) == pytest.approx(
        1 - float((one * two).sum()), rel=1e-10
    )
    same = net(unit=nn.Tanh).double()
    assert landscape.kernel_distance(a, same, (X, Y)) > 1e-3  # of the same weights, not of the same function


def test_a_mean_model() -> None:
    predictions = landscape.predict([net(seed) for seed in range(3)], (X, Y), dtype="float64")
    p = predictions.log_probs.exp()
    assert torch.allclose(landscape.centroid(predictions).exp(), p.mean(0))
    shares = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(landscape.centroid(predictions, weights=shares).exp(), (3 * p[0] + p[1]) / 4)
    roots = p.sqrt().mean(0).square()
    assert torch.allclose(landscape.centroid(p.log(), "sqrt").exp(), roots / roots.sum(1, keepdim=True))


def test_the_distance_of_trajectories_that_are_one_sample_long() -> None:
    """Two runs on one sample, both along the geodesic from ignorance to truth, differ by nothing; a run that is at
    the same progress by another way is as far as its models are."""
    truth = torch.tensor([0.98, 0.01, 0.01]).double()

    def at(share: float) -> torch.Tensor:
        """The point of the geodesic from ignorance towards (nearly) the truth."""
        one, two = torch.full((3,), 1 / math.sqrt(3)).double(), truth.sqrt()
        angle = torch.arccos(one @ two)
        return ((torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * two) / torch.sin(angle)).square()

    labels = torch.tensor([0])
    runs = torch.stack([at(s) for s in (0.0, 0.4, 1.0)] + [at(s) for s in (0.0, 0.2, 0.7, 1.0)]).log()[:, None]
    found = landscape.trajectory_distances(runs, [range(3), range(3, 7)], labels, points=20)
    assert found.distances == pytest.approx(np.zeros((2, 2)), abs=1e-9)
    assert (found.first.tolist(), found.backwards.tolist()) == ([0.05, 0.05], [0, 0])
    bent = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.39, 0.01], [0.98, 0.01, 0.01]]).double().log()[:, None]
    apart = landscape.trajectory_distances(torch.cat([runs[:3], bent]), [range(3), range(3, 6)], labels, points=20)
    assert 1e-3 < apart.distances[0, 1] == apart.distances[1, 0] < 0.1
