"""Taylor polynomials of networks: against dense derivatives, explicit models, and reverse differentiation twice."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacrev, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.evaluation import evaluate
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.tangent.jets import Jet
from landscape_cli.compute.tangent.linearized import LinearizedNetwork
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import train
from landscape_cli.errors import NetworkError
from landscape_cli.networks.registry import NetworkSpec, build

EXACT = torch.float64
REGISTERED = {
    "simple-cnn": NetworkSpec("simple-cnn", {"width": 0.1}),
    "resnet20": NetworkSpec("resnet20", {"width": 0.25}),
    "resnet20-nobn": NetworkSpec("resnet20-nobn", {"width": 0.25}),
    "wrn-16-1": NetworkSpec("wrn-16-1", {"width": 0.25}),
    "mlp": NetworkSpec("mlp", {"widths": (8, 6)}),
    "mlp-bn": NetworkSpec("mlp", {"widths": (8, 6), "batch_norm": True}),
    "mlp-gelu": NetworkSpec("mlp", {"widths": (8, 6), "activation": "gelu"}),
}


def registered(name: str, dtype: torch.dtype = EXACT) -> nn.Module:
    """A registered network, with statistics that are not those of its construction."""
    torch.manual_seed(3)
    network = build(REGISTERED[name], (3, 8, 8), 4).to(dtype)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
    return network


def images(count: int = 3, dtype: torch.dtype = EXACT) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=EXACT).to(dtype)


def moved(network: nn.Module, order: int, size: float = 0.1) -> tuple[LinearizedNetwork, dict[str, Tensor]]:
    """The polynomial away from its base, and how far away."""
    found = LinearizedNetwork(copy.deepcopy(network), order=order)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(5)
    way = {}
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if parameter.requires_grad:
                step = size * torch.randn(parameter.shape, generator=random, dtype=EXACT).to(parameter.dtype)
                way[name] = step * (parameter.abs().mean() + 0.1)
                parameter += way[name]
    return found, way


def along(network: nn.Module, x: Tensor, way: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """``ε ↦ f(x; w̃ + εd)``."""
    base = {name: p.detach() for name, p in network.named_parameters()}
    return lambda e: functional_call(network, {n: base[n] + e * way[n] if n in way else base[n] for n in base}, (x,))


def by_reverse(network: nn.Module, x: Tensor, way: dict[str, Tensor], order: int) -> Tensor:
    """The polynomial by reverse differentiation of every single logit: an oracle without forward derivatives."""
    step = torch.zeros((), dtype=x.dtype, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH):
        logits = along(network, x, way)(step)
        total = logits.detach().clone()
        for place_, logit in zip(total.view(-1), logits.view(-1), strict=True):
            (slope,) = torch.autograd.grad(logit, step, create_graph=True, materialize_grads=True)
            place_ += slope.detach()
            if order == 2 and slope.requires_grad:
                place_ += 0.5 * torch.autograd.grad(slope, step, retain_graph=True, materialize_grads=True)[0]
    return total


# --- at the base -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.parametrize("order", [1, 2])
def test_at_its_base_it_is_the_network_to_the_last_bit(name: str, order: int) -> None:
    for dtype in (torch.float32, torch.float64):
        network = registered(name, dtype).eval()
        found = LinearizedNetwork(registered(name, dtype), order=order)  # type: ignore[arg-type]
        x = images(7, dtype).contiguous(memory_format=torch.channels_last)
        for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
            with mode():
                assert torch.equal(found(x), network(x))
        assert found.taylor_method == "jets"
        assert type(found(x)) is Tensor


def test_it_is_a_network_of_the_same_state() -> None:
    network = registered("resnet20")
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = LinearizedNetwork(network)
    assert list(found.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.state_dict().items())
    other = registered("resnet20").state_dict()
    found.load_state_dict({n: t + 0.01 if n.endswith("weight") else t for n, t in other.items()})
    assert not torch.equal(found(images()), registered("resnet20").eval()(images()))
    found.load_state_dict(state)
    assert torch.equal(found(images()), registered("resnet20").eval()(images()))
    explicit = LinearizedNetwork(registered("resnet20"), {n: t + 1 for n, t in state.items()})
    assert torch.equal(explicit.state_dict()["head.bias"], state["head.bias"] + 1)


# --- away from the base ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTERED)
def test_order_one_is_the_dense_jacobian(name: str) -> None:
    network, x = registered(name).eval(), images()
    found, way = moved(network, 1)
    base = {n: p.detach() for n, p in network.named_parameters()}
    jacobian = jacrev(lambda p: functional_call(network, p, (x,)))(base)
    slope = sum(torch.tensordot(jacobian[n], way[n], dims=way[n].ndim) for n in way)
    torch.testing.assert_close(found(x).detach(), network(x).detach() + slope, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["mlp-gelu", "mlp", "mlp-bn", "simple-cnn"])
def test_order_two_is_the_hessian_of_every_logit(name: str) -> None:
    """½ d·(∇²f d) by torch.func Hessian–vector products, for smooth activations and rectified ones."""
    network, x = registered(name).eval(), images(2)
    found, way = moved(network, 2)
    base = {n: p.detach() for n, p in network.named_parameters()}
    first = jvp(lambda p: functional_call(network, p, (x,)), (base,), (way,))[1]
    value = network(x).detach()
    for i in range(len(x)):
        for k in range(value.shape[1]):
            slope = grad(lambda p, i=i, k=k: functional_call(network, p, (x[i : i + 1],))[0, k])
            product = jvp(slope, (base,), (way,))[1]
            curvature = sum((product[n] * way[n]).sum() for n in way)
            want = value[i, k] + first[i, k] + 0.5 * curvature
            assert abs(float(found(x)[i, k].detach() - want)) < 1e-11


def test_gradients_are_those_of_the_explicit_polynomial() -> None:
    """Autograd through a polynomial written with a dense Jacobian and dense Hessians."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(5, 3, dtype=EXACT), torch.tensor([0, 1, 1, 0, 1])
    base = {n: p.detach() for n, p in network.named_parameters()}
    sizes = [p.numel() for p in base.values()]
    origin = torch.cat([p.flatten() for p in base.values()])

    def outputs(flat: Tensor) -> Tensor:
        parts = {n: part.view_as(base[n]) for n, part in zip(base, flat.split(sizes), strict=True)}
        return functional_call(network, parts, (x,))

    jacobian, curvature = jacrev(outputs)(origin), hessian(outputs)(origin)
    for order in (1, 2):
        found, _ = moved(network, order, size=0.5)
        weights = torch.cat([p.detach().flatten() for p in found.parameters()]).requires_grad_()
        step = weights - origin
        logits = outputs(origin) + jacobian @ step
        if order == 2:
            logits = logits + 0.5 * torch.einsum("nkij,i,j->nk", curvature, step, step)
        (want,) = torch.autograd.grad(F.cross_entropy(logits, y), weights)
        F.cross_entropy(found(x), y).backward()
        got = torch.cat([p.grad.flatten() for p in found.parameters()])  # type: ignore[union-attr]
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["resnet20", "simple-cnn", "mlp-gelu"])
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_are_pull_backs_at_the_base(name: str, order: int) -> None:
    """Order 1: Jᵀg; order 2: Jᵀg + ∇²(gᵀf) d, by torch.func on the network itself."""
    network, x = registered(name).eval(), images()
    found, way = moved(network, order)
    cotangent = torch.randn(3, 4, dtype=EXACT, generator=torch.Generator().manual_seed(1))
    (found(x) * cotangent).sum().backward()
    base = {n: p.detach() for n, p in network.named_parameters()}
    pull = grad(lambda p: (functional_call(network, p, (x,)) * cotangent).sum())
    want, curved = jvp(pull, (base,), (way,))
    for n, parameter in found.named_parameters():
        expected = want[n] + curved[n] if order == 2 else want[n]
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-11)


@settings(max_examples=12, deadline=None)
@given(scale=st.floats(-3, 3), seed=st.integers(0, 99), name=st.sampled_from(["mlp-gelu", "simple-cnn", "mlp-bn"]))
def test_coefficients_are_homogeneous(scale: float, seed: int, name: str) -> None:
    found = LinearizedNetwork(registered(name), order=2)
    random = torch.Generator().manual_seed(seed)
    way = {n: 0.1 * torch.randn(p.shape, generator=random, dtype=EXACT) for n, p in found.named_parameters()}
    with torch.no_grad():
        value, first, second = found.coefficients(images(2), way)
        again = found.coefficients(images(2), {n: scale * d for n, d in way.items()})
    assert first is not None
    assert second is not None
    torch.testing.assert_close(again[1], scale * first, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(again[2], scale**2 * second, rtol=1e-9, atol=1e-10)
    assert torch.equal(again[0], value)


# --- layers ----------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """In-place sums and activations, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.a(x))
        y = self.b(x)
        y += x
        return self.head(F.silu(self.relu(y)).mean((2, 3)))


class Pieces(Residual):
    """Chunks, concatenation, products, quotients, padding, a polynomial."""

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.a(x).chunk(2, 1)
        y = torch.cat([v * u.sigmoid(), 1 + u - v / 2], 1)
        y = F.pad(-y, (1, 1, 1, 1), value=2.0)[:, :, ::2] + y.amax() ** 2
        return self.head(F.adaptive_avg_pool2d(y, 1).flatten(1)) @ self.head.weight


class Viewed(Residual):
    """An in-place change of a view, which its base must show."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x.view(len(x), -1).relu_()
        return self.head(x.mean((2, 3)))


class Assigned(Residual):
    """Assignment to a part of a tensor."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).clone()
        x[:, 0] = 2 * x[:, 1]
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    """A transformer layer: fused attention and layer norms."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.flatten(1, 2)).mean(1))


class Recurrent(nn.Module):
    """A recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.flatten(1, 2)[:, :5])[0][:, -1])


class Tied(nn.Module):
    """One weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x[:, 0, 0]).tanh())


def around(layer: nn.Module) -> Callable[[], nn.Module]:
    """A layer between a convolution and a read-out."""
    return lambda: nn.Sequential(nn.Conv2d(3, 4, 3), copy.deepcopy(layer), nn.Flatten(), nn.LazyLinear(3))


def frozen() -> nn.Module:
    network = Residual()
    network.a.weight.requires_grad_(False)
    network.head.bias.requires_grad_(False)
    return network


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual, "pieces": Pieces, "attention": Attention, "recurrent": Recurrent, "tied": Tied,
    "frozen": frozen,
    "layer norm": around(nn.LayerNorm((4, 6, 6))),
    "group norm": around(nn.GroupNorm(2, 4)),
    "instance norm": around(nn.InstanceNorm2d(4, affine=True)),
    "instance norm, running": around(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
    "batch norm": around(nn.BatchNorm2d(4)),
    "batch norm, not affine": around(nn.BatchNorm2d(4, affine=False)),
    "batch norm, no statistics": around(nn.BatchNorm2d(4, track_running_stats=False)),
    "strided, grouped, circular": around(nn.Conv2d(4, 6, 3, stride=2, groups=2, padding=1, padding_mode="circular")),
    "transposed": around(nn.ConvTranspose2d(4, 3, 2, stride=2)),
    "overlapping pool": around(nn.MaxPool2d(3, 2, 1)),
    "adaptive pool": around(nn.AdaptiveMaxPool2d(2)),
    "mean pool": around(nn.AvgPool2d(2)),
    "dropout": around(nn.Dropout(0.5)),
    "learned slope": around(nn.PReLU(4)),
    "curved in place": around(nn.Sequential(nn.Mish(inplace=True), nn.Hardswish(inplace=True), nn.ReLU6(inplace=True))),
    "gated": around(nn.GLU(1)),
    "hard sigmoid": around(nn.Sequential(nn.Hardsigmoid())),
    "upsampled": around(nn.Upsample(scale_factor=2, mode="bilinear")),
    "spectral norm": around(nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("order", [1, 2])
def test_layers(name: str, order: int) -> None:
    torch.manual_seed(2)
    network, x = LAYERS[name]().double().eval(), images()
    with torch.no_grad():
        network(x)
    state = {n: t.clone() for n, t in network.state_dict().items()}
    if name == "hard sigmoid" and order == 2:  # torch has no second derivative of it; it has none
        network_of_reference: nn.Module = copy.deepcopy(network)
        network_of_reference[1] = nn.Sequential(nn.Hardtanh(-3, 3))  # type: ignore[index]
        network_of_reference[1].register_forward_hook(lambda _, __, out: (out + 3) / 6)  # type: ignore[index]
    else:
        network_of_reference = network
    found, way = moved(network, order)
    with torch.no_grad():
        assert torch.equal(LinearizedNetwork(copy.deepcopy(network), order=order)(x), network(x))  # type: ignore[arg-type]
    want = by_reverse(network_of_reference, x, way, order)
    rounding = 1e-7 if name == "hard sigmoid" else 1e-10  # torch divides its slope by six in single precision
    torch.testing.assert_close(found(x).detach(), want, rtol=rounding, atol=rounding)
    assert found.taylor_method == "jets"
    assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())


def test_weight_norm_against_its_own_formula() -> None:
    """torch differentiates it wrongly twice backwards, so the oracle writes it out."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))).double()
    x = torch.randn(5, 4, dtype=EXACT)
    found, way = moved(network, 2)
    base = {n: p.detach() for n, p in network.named_parameters()}

    def plain(e: Tensor) -> Tensor:
        g, v, bias = (
            base[n] + e * way[n]
            for n in ("0.parametrizations.weight.original0", "0.parametrizations.weight.original1", "0.bias")
        )
        return x @ (g * v / v.norm(dim=1, keepdim=True)).T + bias

    zero = torch.zeros((), dtype=EXACT)
    want = plain(zero) + jacrev(plain)(zero) + 0.5 * jacrev(jacrev(plain))(zero)
    torch.testing.assert_close(found(x).detach(), want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("network", [Viewed, Assigned])
@pytest.mark.parametrize("order", [1, 2])
def test_what_jets_cannot_follow_is_left_to_torch_func(network: type[nn.Module], order: int) -> None:
    torch.manual_seed(2)
    own, x = nn.Sequential(network(), nn.LayerNorm(4)).double(), images()
    found, way = moved(own, order)
    torch.testing.assert_close(found(x).detach(), by_reverse(own, x, way, order), rtol=1e-10, atol=1e-11)
    assert found.taylor_method == "general"
    F.cross_entropy(found(x), torch.tensor([0, 1, 2])).backward()
    base = LinearizedNetwork(own, order=order)  # type: ignore[arg-type]
    with torch.inference_mode():
        assert torch.equal(base(x), own(x))


# --- training --------------------------------------------------------------------------------------------------------


def test_batch_norm_is_left_alone_and_always_evaluates() -> None:
    found = LinearizedNetwork(registered("resnet20"))
    before = {n: b.clone() for n, b in found.named_buffers()}
    held = {n: b.clone() for n, b in found._network[0].named_buffers()}
    weights = {n: p.detach().clone() for n, p in found._network[0].named_parameters()}
    assert found.train() is found
    assert not any(module.training for module in [*found.modules(), *found._network[0].modules()])
    samples = Samples(images(12), torch.arange(12) % 4, placement("cpu", "float64"))
    list(train(found, samples, Protocol(lr=0.01, batch_size=4, epochs=2), Seeds(), end=6, wanted=lambda _: True))
    assert all(torch.equal(b, before[n]) for n, b in found.named_buffers())
    assert all(torch.equal(b, held[n]) for n, b in found._network[0].named_buffers())
    assert all(torch.equal(p, weights[n]) for n, p in found._network[0].named_parameters())
    assert not any(torch.equal(p, weights[n]) for n, p in found.named_parameters())


def test_a_linear_network_is_its_own_linearisation() -> None:
    def linear() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).double()

    samples = Samples(images(40), torch.arange(40) % 4, placement("cpu", "float64"))
    protocol = Protocol(lr=0.05, batch_size=8, epochs=6)
    for order in (1, 2):
        ends = []
        for network in (linear(), LinearizedNetwork(linear(), order=order)):  # type: ignore[arg-type]
            list(train(network, samples, protocol, Seeds(), end=30, wanted=lambda _: False))
            ends.append({n.removeprefix("_"): p.detach().clone() for n, p in network.named_parameters()})
            assert evaluate(network, samples).loss < 1.2
        for n in ends[0]:
            torch.testing.assert_close(ends[0][n], ends[1][n], rtol=1e-10, atol=1e-12)


def squared(found: LinearizedNetwork, x: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Minus the gradient of ½ Σ (f − y)²."""
    loss = 0.5 * (found(x) - targets).square().sum()
    parameters = dict(found.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(-loss, list(parameters.values())), strict=True))


def kernel_of(network: nn.Module, x: Tensor) -> Tensor:
    base = {n: p.detach() for n, p in network.named_parameters()}
    jacobian = jacrev(lambda p: functional_call(network, p, (x,)))(base)
    rows = torch.cat([j.flatten(2) for j in jacobian.values()], 2).flatten(0, 1)
    return rows @ rows.T


def flowing() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    return network, torch.randn(4, 16, dtype=EXACT), F.one_hot(torch.arange(4) % 2).double() - 0.5


def test_gradient_flow_has_its_closed_form() -> None:
    """Squared loss: f_t = y + exp(−tK)(f_0 − y) on the training samples (Lee et al. 2019, eq. 10), by Runge–Kutta."""
    network, x, targets = flowing()
    found = LinearizedNetwork(copy.deepcopy(network))
    kernel = kernel_of(network, x)
    time, steps = 0.05, 16

    def shifted(start: dict[str, Tensor], way: dict[str, Tensor] | None, size: float) -> dict[str, Tensor]:
        with torch.no_grad():
            for n, p in found.named_parameters():
                p.copy_(start[n] if way is None else start[n] + size * way[n])
        return squared(found, x, targets)

    h = time / steps
    for _ in range(steps):
        start = {n: p.detach().clone() for n, p in found.named_parameters()}
        one = squared(found, x, targets)
        two = shifted(start, one, h / 2)
        three = shifted(start, two, h / 2)
        four = shifted(start, three, h)
        mean = {n: (one[n] + 2 * two[n] + 2 * three[n] + four[n]) / 6 for n in one}
        shifted(start, mean, h)
    residual = (network(x).detach() - targets).reshape(-1)
    want = targets + (torch.linalg.matrix_exp(-time * kernel) @ residual).view_as(targets)
    torch.testing.assert_close(found(x).detach(), want, rtol=1e-7, atol=1e-7)


def test_full_batches_converge_to_kernel_regression() -> None:
    """On other samples too: f(x) = f_0(x) + K(x, X) K(X, X)⁻¹ (y − f_0(X))."""
    network, x, targets = flowing()
    others = torch.randn(5, 16, dtype=EXACT)
    found = LinearizedNetwork(copy.deepcopy(network))
    both = kernel_of(network, torch.cat([x, others]))
    rows = targets.numel()
    kernel, cross = both[:rows, :rows], both[rows:, :rows]
    values = torch.linalg.eigvalsh(kernel)
    top, bottom = float(values[-1]) ** 0.5, float(values[0]) ** 0.5  # heavy ball with its best rates
    momentum = ((top - bottom) / (top + bottom)) ** 2
    optimizer = torch.optim.SGD(found.parameters(), lr=4 / (top + bottom) ** 2, momentum=momentum)
    for _ in range(100):
        optimizer.zero_grad()
        (0.5 * (found(x) - targets).square().sum()).backward()
        optimizer.step()
    residual = (targets - network(x).detach()).reshape(-1)
    want = network(others).detach() + (cross @ torch.linalg.solve(kernel, residual)).view(5, 2)
    torch.testing.assert_close(found(x).detach(), targets, rtol=0, atol=1e-5)
    torch.testing.assert_close(found(others).detach(), want, rtol=0, atol=1e-5)


# --- what cannot be ----------------------------------------------------------------------------------------------------


class Rounded(torch.autograd.Function):
    """A step function with a slope of its own."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class Straight(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Rounded.apply(x)  # type: ignore[no-untyped-call]


class Spoilt(Residual):
    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.a(x))
        y *= 2
        return self.head(F.silu(y, inplace=True).mean((2, 3)))


class Ends(nn.Module):
    def __init__(self, end: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer, self.end = nn.Linear(192, 3), end

    def forward(self, x: Tensor) -> object:
        return self.end(self.layer(x.flatten(1)))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (lambda: around(Straight())(), "layer '1' .Straight. cannot be linearised"),
        (Spoilt, r"layer 'relu' .ReLU. cannot be linearised: one of the variables needed .* inplace operation"),
        (lambda: Ends(lambda z: z.argmax(1)), "outputs are int64: they have no slope"),
        (lambda: Ends(lambda z: (z, z)), "gives a tuple, not a tensor of logits"),
        (lambda: Ends(lambda z: z.detach()), "do not depend on its trainable parameters"),
        (lambda: Ends(lambda z: z + torch.rand(3, 1)[: len(z)]), None),
        (lambda: Ends(lambda z: z * torch.rand(3, 1)[: len(z)]), "taken forwards and backwards, disagree"),
    ],
)
def test_what_cannot_be_linearised_is_named(network: Callable[[], nn.Module], told: str | None) -> None:
    torch.manual_seed(0)
    own = network().double()
    with torch.no_grad():
        own(images())
    found = LinearizedNetwork(own)
    if told is None:  # noise that does not touch the slope
        found(images())
        return
    with pytest.raises(NetworkError, match=told):
        found(images())


def test_no_trainable_parameters_and_half_precision_are_refused() -> None:
    with pytest.raises(NetworkError, match="without trainable parameters"):
        LinearizedNetwork(nn.ReLU())
    with pytest.raises(NetworkError, match="without trainable parameters"):
        LinearizedNetwork(registered("mlp").requires_grad_(False))
    with pytest.raises(NetworkError, match="half precision") as caught:
        LinearizedNetwork(registered("mlp", torch.bfloat16))
    assert "--precision float32" in (caught.value.hint or "")
    found = place(LinearizedNetwork(registered("resnet20", torch.float32)), placement("cpu", "bf16"))
    with pytest.raises(NetworkError, match="half precision"):
        found(images(dtype=torch.bfloat16))


# --- places ----------------------------------------------------------------------------------------------------------


def test_it_follows_where_it_is_placed() -> None:
    found = place(LinearizedNetwork(registered("simple-cnn", torch.float32)), placement("cpu"))
    held = found._network[0]  # type: ignore[union-attr, operator, index]
    for network in (found, held):
        weight = network.get_parameter("conv2.weight")
        assert weight.is_contiguous(memory_format=torch.channels_last)
    exact = place(LinearizedNetwork(registered("simple-cnn", torch.float32)), placement("cpu", "float64"))
    reference = place(registered("simple-cnn", torch.float32), placement("cpu", "float64")).eval()
    assert torch.equal(exact(images()), reference(images()))
    assert LinearizedNetwork(registered("mlp")).float()(images(dtype=torch.float32)).dtype == torch.float32


def test_bfloat16_products_stay_near() -> None:
    found, _ = moved(registered("simple-cnn", torch.float32), 2)
    x = images(8, torch.float32)
    exact = found(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rough = found(x).detach()
        network = registered("simple-cnn", torch.float32).eval()
        assert torch.equal(LinearizedNetwork(registered("simple-cnn", torch.float32))(x), network(x))
    assert float((rough - exact).abs().max() / exact.abs().max()) < 0.05


def test_jets_stay_inside() -> None:
    """Nothing of the propagation is left on the network, and the caller's random state is its own."""
    network = registered("resnet20")
    state = torch.get_rng_state()
    found = LinearizedNetwork(network, order=2)
    found(images())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(isinstance(t, Jet) for t in [*network.parameters(), *network.buffers(), *found.parameters()])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
