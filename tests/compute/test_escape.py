"""Escape thresholds, updates, gradient noise and scale invariance, where they are known in closed form."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_cli.compute.training.optimizers import build_optimizer, optimizer_state
from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.compute.training.updates import Updates
from landscape_cli.compute.weights.curvature_operators import modes
from landscape_cli.compute.weights.escape import escape_threshold
from landscape_cli.compute.weights.gradient_noise import gradient_noise, noise_curvature
from landscape_cli.compute.weights.scale_invariance import scale_invariance
from landscape_cli.errors import CheckpointError, DataError, UsageError
from tests.compute.made_curvature import Dense, flat, samples, small, symmetric

SPECTRUM = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.1], dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(lr=st.floats(0.01, 2.0), seed=st.integers(0, 50))
def test_on_a_quadratic_the_threshold_is_the_change_of_the_loss(lr: float, seed: int) -> None:
    """L(w) = ½ wᵀHw: the second-order change is the change itself, whatever the steps are."""
    matrix = symmetric(SPECTRUM, seed)
    torch.manual_seed(seed)
    w = torch.randn(5, dtype=torch.float64)
    gradient = matrix @ w
    directions = [gradient + 0.3 * torch.randn(5, dtype=torch.float64) for _ in range(4)]
    found = escape_threshold(Dense(matrix), gradient, directions, lr=lr, sharpness=4.0)

    def loss(at: torch.Tensor) -> float:
        return float(0.5 * at @ matrix @ at)

    changes = [loss(w - lr * u) - loss(w) for u in directions]
    assert found.each == pytest.approx(changes, rel=1e-9, abs=1e-12)
    assert found.raw == pytest.approx(sum(changes) / 4, rel=1e-9, abs=1e-12)
    assert found.raw_spread == pytest.approx(float(torch.tensor(changes, dtype=torch.float64).std()), rel=1e-9)
    assert found.gradient_descent == pytest.approx(2 * lr - 1)
    if found.slope > 0:
        assert found.scale_free == pytest.approx(sum(changes) / 4 / (lr * found.slope), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("lr", [0.3, 0.5, 0.8])
def test_gradient_descent_along_the_top_eigenvector_is_its_bound(lr: float) -> None:
    """There ½ η gᵀHg/gᵀg − 1 = η λ_max/2 − 1; elsewhere it is less. At η = 2/λ_max the loss stays as it is."""
    matrix = torch.diag(SPECTRUM)
    top = torch.tensor([1.7, 0, 0, 0, 0], dtype=torch.float64)
    found = escape_threshold(Dense(matrix), matrix @ top, [matrix @ top], lr=lr, sharpness=4.0)
    assert found.scale_free == pytest.approx(found.gradient_descent) == pytest.approx(2 * lr - 1)
    assert (found.raw > 1e-9) == (lr > 0.5)
    assert math.isnan(found.raw_error)
    other = matrix @ torch.ones(5, dtype=torch.float64)
    assert escape_threshold(Dense(matrix), other, [other], lr=lr, sharpness=4.0).scale_free < found.gradient_descent


def test_steps_uphill_have_no_scale_free_form() -> None:
    matrix = torch.diag(SPECTRUM)
    g = torch.ones(5, dtype=torch.float64)
    found = escape_threshold(Dense(matrix), g, [-g, -2 * g], lr=0.1, sharpness=4.0)
    assert (found.uphill, found.scale_free) == (2, math.inf)
    assert found.raw > 0


PROTOCOLS = [
    Protocol(optimizer="sgd", momentum=0.0),
    Protocol(optimizer="sgd", momentum=0.9, weight_decay=0.01),
    Protocol(optimizer="nesterov", momentum=0.9, weight_decay=0.01, decay_norm_bias=False),
    Protocol(optimizer="adam", lr=0.01, weight_decay=0.1),
    Protocol(optimizer="adamw", lr=0.01, weight_decay=0.1),
]


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.optimizer)
def test_updates_are_those_that_training_makes(protocol: Protocol, fresh: bool) -> None:
    net, (x, y) = small("norm"), samples()
    optimizer = build_optimizer(net, protocol)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        gradient = torch.cat([p.grad.flatten().clone() for p in net.parameters()])
        optimizer.step()
        return gradient

    if not fresh:
        step(), step()
    kept = {k: v.clone() for k, v in optimizer_state(net, optimizer).items()}
    before = flat(net)
    updates = Updates(net, protocol, lr=protocol.lr, state=None if fresh else kept)
    gradient = step()
    expected = (before - flat(net)) / protocol.lr
    for _ in range(2):  # asking changes nothing
        torch.testing.assert_close(updates.direction(gradient), expected, rtol=1e-9, atol=1e-12)


def test_updates_in_closed_form_and_in_float32() -> None:
    net = nn.Linear(3, 2, bias=False)
    g = torch.tensor([1.0, -2, 3, 0, 1e-3, 5])
    w = net.weight.detach().flatten()
    m = torch.arange(6.0)
    state = {"weight/momentum_buffer": m.view(2, 3)}
    sgd = Updates(net, Protocol(momentum=0.9, weight_decay=0.1), lr=1e-4, state=state).direction(g)
    torch.testing.assert_close(sgd, 0.9 * m + g + 0.1 * w, rtol=1e-6, atol=1e-6)
    nesterov = Updates(net, Protocol(optimizer="nesterov", momentum=0.9), lr=1e-4, state=state).direction(g)
    torch.testing.assert_close(nesterov, g + 0.9 * (0.9 * m + g), rtol=1e-6, atol=1e-6)
    adam = Updates(net, Protocol(optimizer="adam"), lr=1e-4).direction(g)
    torch.testing.assert_close(adam, g / (g.abs() + 1e-8), rtol=1e-5, atol=1e-6)


def test_updates_refuse_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="goes nowhere"):
        Updates(small(), Protocol(), lr=0.0)
    with pytest.raises(CheckpointError, match="does not fit"):
        Updates(small(), Protocol(), lr=0.1, state={"other/momentum_buffer": torch.ones(2)}).direction(torch.ones(51))


def noise_of(gradients: torch.Tensor, batch: int):
    mean = gradients.mean(0)
    parts = [(float((g - mean) @ (g - mean)), float(mean @ (g - mean))) for g in gradients]
    return gradient_noise(parts, float(mean @ mean), batch)


def test_noise_of_gradients_whose_covariance_is_known() -> None:
    """g_i ~ N(G, diag s²): tr Σ = Σ s², the noise scale Σ s²/|G|²; both without bias, with errors of the right size."""
    torch.manual_seed(0)
    mean, deviation, batch = torch.linspace(-1, 1, 30).double(), torch.linspace(0.5, 3, 30).double(), 8
    found = [
        noise_of((mean + deviation * torch.randn(16, batch, 30, dtype=torch.float64)).mean(1), batch)
        for _ in range(300)
    ]
    traces, gradients = (torch.tensor([getattr(f, name) for f in found]) for name in ("per_sample", "gradient"))
    assert float(traces.mean()) == pytest.approx(float(deviation.square().sum()), rel=0.02)
    assert float(gradients.mean()) == pytest.approx(float(mean.square().sum()), rel=0.02)
    claimed = torch.tensor([f.trace_error for f in found]) * batch
    assert float(claimed.mean() / traces.std()) == pytest.approx(1, abs=0.12)
    scales = torch.tensor([f.scale for f in found])
    assert float(torch.tensor([f.scale_error for f in found]).mean() / scales.std()) == pytest.approx(1, abs=0.25)


def test_the_noise_formulas_are_mccandlishs() -> None:
    """Their two-batch estimates with B_big = K·B, and the jackknife by brute force."""
    torch.manual_seed(1)
    g, batch = torch.randn(7, 20, dtype=torch.float64) + 0.5, 4
    found = noise_of(g, batch)
    small_square, big_square = float(g.square().sum(1).mean()), float(g.mean(0).square().sum())
    big = 7 * batch
    assert found.gradient == pytest.approx((big * big_square - batch * small_square) / (big - batch))
    assert found.per_sample == pytest.approx((small_square - big_square) / (1 / batch - 1 / big))
    assert found.trace == pytest.approx(float(torch.cov(g.T).trace()))
    without = [noise_of(torch.cat([g[:k], g[k + 1 :]]), batch) for k in range(7)]
    for name in ("trace", "scale"):
        values = torch.tensor([getattr(w, name) for w in without], dtype=torch.float64)
        expected = math.sqrt(6 / 7 * float(((values - values.mean()) ** 2).sum()))
        assert getattr(found, f"{name}_error") == pytest.approx(expected, rel=1e-9)
    with pytest.raises(DataError, match="two minibatches"):
        gradient_noise([(1.0, 0.0)], 1.0, 4)


def test_curvature_along_noise() -> None:
    matrix = torch.diag(SPECTRUM)
    top, last = torch.eye(5, dtype=torch.float64)[[0, 4]]
    assert noise_curvature(Dense(matrix), [top, -2 * top])[0] == pytest.approx(4.0)
    assert noise_curvature(Dense(matrix), [top, last])[0] == pytest.approx(2.05)
    torch.manual_seed(0)
    value, error = noise_curvature(Dense(matrix), list(torch.randn(400, 5, dtype=torch.float64)))
    assert abs(value - float(SPECTRUM.mean())) < 4 * error


class _Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.plain = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.group = nn.GroupNorm(2, 6)
        self.last = nn.Conv2d(6, 5, 1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(self.conv(x)).relu()
        h = self.group(self.plain(h)).relu()
        return self.head(self.last(h).relu().mean((2, 3)))


def test_scale_invariant_weights_are_those_before_a_normalisation() -> None:
    net = _Normed()
    net.train()
    with torch.no_grad():  # small beside its gain: a tolerance alone would overlook it
        net.norm.bias.fill_(1e-3)
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    found = scale_invariance(net, torch.randn(16, 1, 6, 6))
    assert (net.norm.eps, net.group.eps) == (1e-5, 1e-5)
    assert found.names == ("conv.weight", "plain.weight")
    assert found.without_effect == ("conv.bias",)
    expected = math.hypot(*(float(layer.weight.detach().norm()) for layer in (net.conv, net.plain)))
    assert found.norm == pytest.approx(expected, rel=1e-6)
    assert found.parameters == 36 + 216
    assert all(torch.equal(kept[name], value) for name, value in net.state_dict().items())
    assert net.training
    with torch.no_grad(), modes(net, batch_statistics=True):  # and so it is
        x = torch.randn(16, 1, 6, 6)
        before = net(x)
        net.conv.weight *= 3
        torch.testing.assert_close(net(x), before, rtol=1e-3, atol=1e-4)


def test_a_network_without_normalisation_has_none() -> None:
    found = scale_invariance(small("relu"), samples()[0])
    assert (found.names, found.norm, found.parameters) == ((), 0.0, 0)
