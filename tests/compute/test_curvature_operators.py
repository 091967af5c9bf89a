"""Products with curvature against dense matrices, closed forms, finite differences in float64, and curvlinops."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from landscape_cli.compute.weights.curvature_operators import (
    OPERATORS,
    GaussNewtonOperator,
    HessianOperator,
    modes,
)
from landscape_cli.compute.weights.lanczos import eigenpairs
from landscape_cli.errors import DataError, NetworkError
from tests.compute.made_curvature import batches, dense_curvature, flat, outputs_of, samples, small

KINDS = ["hessian", "gauss-newton", "empirical-fisher"]


def whole(operator) -> Tensor:
    return torch.stack([operator.apply(row) for row in torch.eye(operator.size, dtype=torch.float64)])


@pytest.mark.parametrize("memory", [0, 10**9])
@pytest.mark.parametrize("network", ["tanh", "relu", "norm", "conv"])
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_dense_matrix(kind: str, network: str, memory: int) -> None:
    net, (x, y) = small(network), samples(kind=network)
    operator = OPERATORS[kind](net, batches(x, y, 7), memory=memory)
    torch.testing.assert_close(whole(operator), dense_curvature(net, x, y, kind), rtol=1e-10, atol=1e-12)
    assert operator.kept_batches == (4 if memory else 0)
    assert operator.samples == 24


@pytest.mark.parametrize("kind", ["hessian", "empirical-fisher"])
def test_label_smoothing_is_part_of_the_loss(kind: str) -> None:
    net, (x, y) = small(), samples()
    operator = OPERATORS[kind](net, batches(x, y, 24), label_smoothing=0.2)
    torch.testing.assert_close(whole(operator), dense_curvature(net, x, y, kind, 0.2), rtol=1e-10, atol=1e-12)


def test_softmax_regression_in_closed_form() -> None:
    """H = (1/n) Σ (diag p − ppᵀ) ⊗ x̃x̃ᵀ, which is the Gauss–Newton matrix too: the logits are linear in the weights."""
    net, (x, y) = small("linear"), samples()
    with torch.no_grad():
        p = net(x).softmax(1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    weights = torch.einsum("ncd,ni,nj->cidj", middle, x, x).reshape(12, 12) / len(x)
    mixed = torch.einsum("ncd,ni->cid", middle, x).reshape(12, 3) / len(x)
    expected = torch.cat([torch.cat([weights, mixed], 1), torch.cat([mixed.T, middle.mean(0)], 1)])
    for kind in (HessianOperator, GaussNewtonOperator):
        torch.testing.assert_close(whole(kind(net, batches(x, y, 5))), expected, rtol=1e-11, atol=1e-13)


def test_logistic_regression_in_closed_form() -> None:
    """Two classes with logits (0, xᵀw): H = (1/n) Σ σ(1 − σ) x xᵀ."""

    class Logistic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            score = x @ self.w
            return torch.stack([torch.zeros_like(score), score], 1)

    x, y = samples()
    net = Logistic()
    s = torch.sigmoid(x @ net.w.detach())
    expected = (x * (s * (1 - s))[:, None]).T @ x / len(x)
    torch.testing.assert_close(whole(HessianOperator(net, [(x, y % 2)])), expected, rtol=1e-11, atol=1e-13)


class _Squares(HessianOperator):
    """The squared error of a regression, to have linear regression's constant Hessian."""

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return 0.5 * (logits - F.one_hot(labels, 3)).square().sum(1)


def test_linear_regression_in_closed_form() -> None:
    """½‖Wx − y‖²: H = I ⊗ (1/n) XᵀX whatever the weights are."""
    x, y = samples()
    net = nn.Linear(4, 3, bias=False).double()
    expected = torch.kron(torch.eye(3, dtype=torch.float64), x.T @ x / len(x))
    torch.testing.assert_close(whole(_Squares(net, batches(x, y, 9))), expected, rtol=1e-11, atol=1e-13)


def test_finite_differences_of_the_gradient_of_a_smooth_network() -> None:
    net, (x, y) = small("tanh"), samples()
    operator = HessianOperator(net, batches(x, y, 24))
    torch.manual_seed(2)
    v, theta, h = torch.randn(operator.size, dtype=torch.float64), flat(net), 1e-5
    found = operator.apply(v)

    def gradient(at: Tensor) -> Tensor:
        at = at.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(outputs_of(net, x)(at), y), at)[0]

    expected = (gradient(theta + h * v) - gradient(theta - h * v)) / (2 * h)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_curvlinops_agrees() -> None:
    curvlinops = pytest.importorskip("curvlinops", reason="the second implementation is not installed")
    net, (x, y) = small("relu"), samples()
    net.eval()
    data = batches(x, y, 24)
    weights = list(net.parameters())
    torch.manual_seed(3)
    v = torch.randn(sum(p.numel() for p in weights), dtype=torch.float64)
    for kind, theirs in (
        ("hessian", curvlinops.HessianLinearOperator),
        ("gauss-newton", curvlinops.GGNLinearOperator),
        ("empirical-fisher", curvlinops.EFLinearOperator),
    ):
        other = theirs(net, nn.CrossEntropyLoss(), weights, data, check_deterministic=False)
        torch.testing.assert_close(OPERATORS[kind](net, data).apply(v), other @ v, rtol=1e-9, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 24), seed=st.integers(0, 99), kind=st.sampled_from(KINDS))
def test_batches_do_not_matter_and_products_are_symmetric(size: int, seed: int, kind: str) -> None:
    net, (x, y) = small("relu", seed), samples(seed=seed)
    one, other = OPERATORS[kind](net, batches(x, y, size)), OPERATORS[kind](net, [(x, y)])
    torch.manual_seed(seed)
    u, v = torch.randn(2, one.size, dtype=torch.float64)
    torch.testing.assert_close(one.apply(u), other.apply(u), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one.apply(u) @ v, one.apply(v) @ u, rtol=1e-9, atol=1e-12)
    if kind != "hessian":
        assert float(u @ one.apply(u)) >= -1e-14


CONVOLUTIONS = {
    "plain": {"padding": 1},
    "stride": {"stride": 2, "padding": (1, 0)},
    "dilation": {"dilation": 2, "padding": 2, "bias": False},
    "groups": {"groups": 2, "padding": 1},
    "same": {"padding": "same"},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_of_all_kinds_have_the_second_derivatives_of_torch(name: str, kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 4, 3, **CONVOLUTIONS[name]), nn.Tanh(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip
    x, y = samples(12, "conv")
    operator = OPERATORS[kind](net, batches(x, y, 5))
    torch.testing.assert_close(whole(operator), dense_curvature(net, x, y, kind), rtol=1e-10, atol=1e-12)
    assert operator.suspects == ()


def test_frozen_and_shared_convolutions() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.twice = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
            self.head = nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.twice(self.twice(self.first(x)).tanh()).tanh()
            return self.head(h.mean((2, 3)))

    net = Shared().double()
    x, y = samples(12, "conv")
    dense = dense_curvature(net, x, y, "hessian")
    torch.testing.assert_close(whole(HessianOperator(net, [(x, y)])), dense, rtol=1e-10, atol=1e-12)
    net.twice.weight.requires_grad_(False)
    kept = torch.tensor([*range(20), *range(56, 67)])  # all but its 36 weights
    torch.testing.assert_close(whole(HessianOperator(net, [(x, y)])), dense[kept][:, kept], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_the_curvature_of_its_samples(kind: str) -> None:
    net, (x, y) = small("relu"), samples(22)
    part = OPERATORS[kind](net, batches(x, y, 8)).part([0, 2])
    chosen = [*range(8), *range(16, 22)]
    torch.testing.assert_close(whole(part), dense_curvature(net, x[chosen], y[chosen], kind), rtol=1e-10, atol=1e-12)


def test_batch_statistics_go_into_the_derivative_and_buffers_stay() -> None:
    net, (x, y) = small("norm"), samples()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    operator = HessianOperator(net, batches(x, y, 8), batch_statistics=True)
    found = whole(operator)
    assert all(torch.equal(kept[name], value) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    theta = flat(net)

    def loss(t: Tensor) -> Tensor:
        with modes(net, batch_statistics=True):
            return sum(F.cross_entropy(outputs_of(net, a)(t), b) for a, b in batches(x, y, 8)) / 3

    expected = torch.autograd.functional.hessian(loss, theta)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found, dense_curvature(net, x, y, "hessian"), rtol=1e-2)


def test_with_batch_statistics_the_loss_is_flat_along_scale_invariant_weights() -> None:
    """f(c·w) = f(w) gives gᵀw = 0 and, of that loss, wᵀHw = −gᵀw = 0 as far as batch norm's ε lets it."""
    net, (x, y) = small("norm"), samples(240)
    net[1].eps = 1e-30
    operator = HessianOperator(net, [(x, y)], batch_statistics=True)
    along = torch.zeros(operator.size, dtype=torch.float64)
    along[:24] = net[0].weight.detach().flatten()
    _, gradient = operator.gradient()
    assert abs(float(gradient @ along)) < 1e-12
    assert abs(float(along @ operator.apply(along))) < 1e-11


def test_gradient_and_its_batches() -> None:
    net, (x, y) = small("tanh"), samples(20)
    operator = HessianOperator(net, batches(x, y, 8))
    loss, gradient = operator.gradient()
    theta = flat(net).requires_grad_()
    expected = F.cross_entropy(outputs_of(net, x)(theta), y)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, theta)[0], rtol=1e-11, atol=1e-13)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2


class _Cut(_Once):
    @staticmethod
    def backward(ctx, g):
        return (3 * g * ctx.saved_tensors[0] ** 2).detach()


class _Lopsided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b, 2 * g * a  # twice what it should be


class _With(nn.Module):
    def __init__(self, function, last: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(4, 5).double(), nn.Linear(5, 3).double()
        self.function, self.last = function, last

    def forward(self, x: Tensor) -> Tensor:
        if self.last:
            return self.function(self.two(self.one(x)))
        return self.two(self.function(self.one(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_that_differentiates_once_is_named(kind: str) -> None:
    """torch leaves its derivative out without a word."""
    with pytest.raises(NetworkError, match="_Once can be differentiated only once"):
        OPERATORS[kind](_With(_Once.apply), [samples()]).apply(torch.ones(43, dtype=torch.float64))


@pytest.mark.parametrize("last", [False, True])
def test_a_function_whose_backward_has_no_graph_is_named(last: bool) -> None:
    with pytest.raises(NetworkError, match="_Cut has a backward pass without a graph"):
        HessianOperator(_With(_Cut.apply, last), [samples()]).apply(torch.ones(43, dtype=torch.float64))


def test_a_wrong_backward_shows_in_products_that_are_not_symmetric() -> None:
    def function(h: Tensor) -> Tensor:
        product = _Lopsided.apply(h[:, :2], h[:, 2:4])
        return torch.cat([product, product, h[:, 4:]], 1)

    with pytest.raises(NetworkError, match=r"not symmetric .* second derivative of _Lopsided is wrong or missing"):
        eigenpairs(HessianOperator(_With(function), [samples()]))


def test_a_loss_that_is_linear_has_no_hessian() -> None:
    class Sum(HessianOperator):
        def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
            return logits.sum(1)

    with pytest.raises(NetworkError, match="linear in every weight"):
        Sum(small("linear"), [samples()]).apply(torch.ones(15, dtype=torch.float64))


def test_an_operation_without_a_derivative_in_torch_is_named() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.into(x)[:, None, None].expand(-1, 1, 3, -1)
            return self.out(F.scaled_dot_product_attention(h, h, h).mean((1, 2)))

    x, y = samples()
    operator = HessianOperator(Attention(), [(x.float(), y)])
    with pytest.raises(NetworkError, match=r"attention.* has no derivative in torch") as raised:
        operator.apply(torch.ones(operator.size))
    assert "SDPBackend.MATH" in str(raised.value.hint)


def test_kinks_are_told() -> None:
    x, y = samples(kind="conv")
    operator = HessianOperator(small("conv"), [(x, y)])
    operator.apply(torch.ones(operator.size, dtype=torch.float64))
    assert operator.kinks == ("ReLU", "max-pooling")


def test_a_product_that_is_no_number_names_where() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :3] * self.scale.square().sum().sqrt()

    with pytest.raises(NetworkError, match=r"product with the hessian is NaN or infinite, first in 'scale'"):
        HessianOperator(Root(), [samples()]).apply(torch.ones(3, dtype=torch.float64))


def test_bad_networks_and_samples_are_named() -> None:
    x, y = samples()
    frozen = small().requires_grad_(False)
    with pytest.raises(NetworkError, match="no trainable parameters"):
        HessianOperator(frozen, [(x, y)])
    with pytest.raises(DataError, match="needs samples"):
        HessianOperator(small(), [])
    with pytest.raises(DataError, match="label 9 lies outside"):
        HessianOperator(small(), [(x, y * 0 + 9)]).apply(torch.ones(51, dtype=torch.float64))
    broken = small()
    broken[0].weight.data[0, 0] = torch.nan
    with pytest.raises(NetworkError, match="outputs are NaN or infinite on batch 1"):
        HessianOperator(broken, [(x, y)]).apply(torch.ones(51, dtype=torch.float64))
