"""Curves: against the formulas, the straight line, and the optimum of a quadratic loss in closed form."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from landscape_cli.compute.device import place
from landscape_cli.compute.weights.curves import (
    CurveNetwork,
    CurvePath,
    coefficients,
    curve_length,
    mixed,
    straight,
)
from landscape_cli.compute.weights.interpolation import LinearPath
from landscape_cli.errors import NetworkError
from tests.compute.test_interpolation import CPU, network, states
from tests.compute.test_samples_and_evaluation import make

FORMS = ("bezier", "chain")


@given(st.sampled_from(FORMS), st.integers(2, 6), st.floats(0, 1))
def test_shares_are_a_mean(form: str, points: int, t: float) -> None:
    shares = coefficients(form, points, t)  # type: ignore[arg-type]
    assert len(shares) == points
    assert all(share >= 0 for share in shares)
    assert sum(shares) == pytest.approx(1)
    tensors = list(torch.randn(points, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    expected = sum(share * tensor for share, tensor in zip(shares, tensors, strict=True))
    assert torch.allclose(mixed(form, tensors, t), expected, rtol=1e-9, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("points", [2, 3, 5])
def test_the_ends_are_the_ends_and_equal_weights_stay_equal(form: str, points: int) -> None:
    tensors = list(torch.randn(points, 50))
    assert torch.equal(mixed(form, tensors, 1.0), tensors[0])  # type: ignore[arg-type]
    assert torch.equal(mixed(form, tensors, 0.0), tensors[-1])  # type: ignore[arg-type]
    for t in torch.rand(20).tolist():
        assert torch.equal(mixed(form, [tensors[0]] * points, t), tensors[0])  # type: ignore[arg-type]


def test_a_quadratic_curve_is_garipov_s() -> None:
    first, bend, second = torch.randn(3, 7, dtype=torch.float64)
    for t in (0.2, 0.5, 0.9):
        s = 1 - t
        expected = (1 - s) ** 2 * first + 2 * s * (1 - s) * bend + s**2 * second
        assert torch.allclose(mixed("bezier", [first, bend, second], t), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bends", [1, 2, 3])
@pytest.mark.parametrize("name", ["simple-cnn", "resnet20"])
def test_a_curve_with_its_bends_on_the_line_is_the_line(form: str, bends: int, name: str) -> None:
    first, second = states(name)
    samples = make(12, CPU)
    line = LinearPath(network(name, 3), first, second, statistics=samples)
    curve = CurvePath(network(name, 4), straight(first, second, bends), form, statistics=samples)  # type: ignore[arg-type]
    for t in (0.0, 0.3, 0.5, 1.0):
        along, expected = curve.go(t).state_dict(), line.go(t).state_dict()
        for key in along:
            assert torch.allclose(along[key], expected[key], rtol=1e-4, atol=1e-5), (key, t)


def quadratic_ends() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    one, two = (torch.randn(1, 4, dtype=torch.float64, generator=draw) for _ in range(2))
    return {"weight": one}, {"weight": two}


def test_the_best_bend_of_a_quadratic_loss_in_closed_form() -> None:
    """Of ``½ (w−m)ᵀ H (w−m)``, for any H: ``θ* = 5/2 m − 3/4 (w₁ + w₂)``, as E c = 1/3, E c² = 2/15, E c c₁ = 1/10."""
    draw = torch.Generator().manual_seed(1)
    root = torch.randn(4, 4, dtype=torch.float64, generator=draw)
    hessian, best = root @ root.T, torch.randn(1, 4, dtype=torch.float64, generator=draw)
    first, second = quadratic_ends()
    bend = 2.5 * best - 0.75 * (first["weight"] + second["weight"])
    curve = CurveNetwork(nn.Linear(4, 1, bias=False).double(), [first, {"weight": bend}, second], "bezier")
    steps = 2000
    total = torch.zeros((), dtype=torch.float64)
    for k in range(steps):  # the middle rule: exact enough for a polynomial of degree 4
        apart = curve.point((k + 0.5) / steps)["weight"] - best
        total = total + 0.5 * (apart @ hessian @ apart.T).squeeze() / steps
    (gradient,) = torch.autograd.grad(total, list(curve.parameters()))
    assert float(gradient.norm()) < 1e-6
    assert float((hessian @ (bend - best).T).norm()) > 0.1  # the bend itself is no minimum


def test_gradients_and_decay_of_a_step() -> None:
    """``∂/∂θ_k = c_k (∇L(w(t)) + λ w(t))``, against the gradient at the point itself."""
    first, second = quadratic_ends()
    base = nn.Linear(4, 1, bias=False).double()
    curve = CurveNetwork(base, straight(first, second, 2), "bezier", decay=0.3).train()
    x = torch.randn(6, 4, dtype=torch.float64)
    torch.manual_seed(5)
    t = float(torch.rand(()))
    torch.manual_seed(5)
    curve(x).square().sum().backward()
    shares = coefficients("bezier", 4, t)
    with torch.no_grad():
        at = curve.point(t)["weight"]
    own = at.clone().requires_grad_()
    (x @ own.T).square().sum().backward()
    assert own.grad is not None
    for parameter, share in zip(curve.parameters(), shares[1:-1], strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, share * (own.grad + 0.3 * at))


def test_in_evaluation_it_is_the_network_in_the_middle() -> None:
    first, second = states("simple-cnn")
    bend = {k: torch.randn_like(v) for k, v in first.items()}
    curve = place(CurveNetwork(network("simple-cnn", 7), [first, bend, second], "bezier"), CPU).eval()
    middle = network("simple-cnn", 8).eval()
    middle.load_state_dict({k: mixed("bezier", [first[k], bend[k], second[k]], 0.5) for k in first})
    x = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(curve(x), middle(x), atol=1e-5)
        assert torch.equal(curve(x), curve(x))
    assert {name.partition(".")[0] for name in curve.state_dict()} == {"first", "bends", "second"}
    assert all(name.startswith("bends.0") for name, _ in curve.named_parameters())


def test_the_length_of_a_curve() -> None:
    """A line has length 1; a quarter of a square's outline √2; a parabola its integral."""
    zero, one = {"w": torch.zeros(2)}, {"w": torch.tensor([1.0, 1.0])}
    corner = {"w": torch.tensor([1.0, 0.0])}
    assert curve_length(straight(zero, one, 2), ["w"], "bezier") == pytest.approx(1)
    assert curve_length([zero, corner, one], ["w"], "chain") == pytest.approx(math.sqrt(2))
    # |w'(s)|² = 4 (1 − 2s + 2s²): from 0 to 1 its root integrates to 1 + asinh(1)/√2.
    exact = (1 + math.asinh(1) / math.sqrt(2)) / math.sqrt(2)
    assert curve_length([zero, corner, one], ["w"], "bezier", pieces=2000) == pytest.approx(exact, rel=1e-4)


def test_a_curve_needs_a_bend() -> None:
    first, second = quadratic_ends()
    with pytest.raises(NetworkError, match="without a bend"):
        CurveNetwork(nn.Linear(4, 1, bias=False).double(), [first, second], "bezier")
    for t in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            coefficients("chain", 3, t)


class Tied(nn.Module):
    """A layer that is used twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).relu())


def test_tied_weights_stay_tied() -> None:
    """The point that is walked is the point that was trained."""
    first, second = Tied().state_dict(), Tied().state_dict()
    curve = CurveNetwork(Tied(), straight(first, second, 1), "bezier").train()
    x = torch.randn(5, 4)
    assert {name for name, _ in curve.named_parameters()} == {
        f"bends.0.{name}" for name in ("one.weight", "one.bias", "two.bias")
    }
    optimizer = torch.optim.SGD(curve.parameters(), lr=0.5)
    curve(x).square().sum().backward()
    optimizer.step()
    held = curve.state_dict()
    assert torch.equal(held["bends.0.one.weight"], held["bends.0.two.weight"])
    assert not torch.equal(held["bends.0.one.weight"], torch.lerp(first["one.weight"], second["one.weight"], 0.5))
    controls = [
        {name.removeprefix(f"{part}."): value for name, value in held.items() if name.startswith(f"{part}.")}
        for part in ("first", "bends.0", "second")
    ]
    walked = CurvePath(Tied(), controls, "bezier").go(0.5)
    with torch.no_grad():
        assert torch.allclose(walked(x), curve.eval()(x), atol=1e-6)
