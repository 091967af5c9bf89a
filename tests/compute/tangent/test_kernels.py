"""Tangent kernels against closed forms, a dense Jacobian by torch.func, and neural-tangents."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_cli.compute.tangent.choices import KernelForm
from landscape_cli.compute.tangent.kernels import tangent_kernel
from landscape_cli.compute.tangent.survey import survey
from landscape_cli.networks.registry import NetworkSpec, build

FORMS: list[KernelForm] = ["full", "trace", "pseudo"]
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

STORED = Path(__file__).parents[2] / "oracle" / "data" / "tangent_kernels.npz"


def dense_rows(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The Jacobian ``(sample, class, parameter)`` by parameter name, by torch.func on the network as a whole."""
    network.eval()
    theta = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    with sdpa_kernel(SDPBackend.MATH):
        rows = vmap(jacrev(lambda t, z: functional_call(network, t, (z[None],))[0]), in_dims=(None, 0))(theta, x)
    return {name: r.flatten(2) for name, r in rows.items()}


def of_form(rows: Tensor, form: KernelForm) -> Tensor:
    if form == "full":
        return rows.flatten(0, 1) @ rows.flatten(0, 1).T
    if form == "trace":
        return torch.einsum("ikp,jkp->ij", rows, rows) / rows.shape[1]
    return rows.sum(1) @ rows.sum(1).T / rows.shape[1]


def dense_kernel(network: nn.Module, x: Tensor, form: KernelForm) -> Tensor:
    return of_form(torch.cat(list(dense_rows(network, x).values()), 2), form)


def error(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


def settle(network: nn.Module) -> nn.Module:
    """Batch-norm statistics and scales that are not those of a fresh network."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
        if (
            isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
            and module.weight is not None
        ):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return network


def registered(name: str, **options: object) -> Callable[[], tuple[nn.Module, Tensor]]:
    def make() -> tuple[nn.Module, Tensor]:
        shape = (3, 4, 4) if name == "mlp" else (3, 8, 8)
        return build(NetworkSpec(name, options), shape, 4), torch.randn(5, *shape)

    return make


class Attention(nn.Module):
    """Patches, a class token and positions held by the module, two kinds of attention, LayerScale, RMS norm."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 5, 8))
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8, bias=False)
        self.torchs = nn.MultiheadAttention(8, 2, batch_first=True)
        self.scale = nn.Parameter(torch.full((8,), 0.5))
        self.last = nn.RMSNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cut(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], 1) + self.places
        q, k, v = self.qkv(self.norm1(y)).chunk(3, -1)
        y = y + self.scale * self.out(F.scaled_dot_product_attention(q, k, v))
        z = self.norm2(y)
        y = y + self.torchs(z, z, z, need_weights=False)[0]
        return self.head(self.last(y)[:, 0])


class Windows(nn.Module):
    """Positions folded into the batch, as window attention does, and a norm over channels after a permutation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        windows = y.reshape(len(x) * 4, -1, 6)
        mixed = self.mix(windows) * windows.mean(1, keepdim=True)
        return self.head(torch.relu(mixed).reshape(len(x), -1, 6).mean(1))


class Twice(nn.Module):
    """A layer called three times, one weight shared by two layers, and one used outside its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.first(x))
        for _ in range(3):
            y = y + torch.tanh(self.norm(self.again(F.avg_pool2d(y, 2, ceil_mode=True))).mean((2, 3), keepdim=True))
        z = self.two(torch.tanh(self.one(y.mean((2, 3)))))
        return self.head(z) + z @ self.head.weight.T


class Foreign(nn.Conv2d):
    """A convolution that standardises its weight first: not what its base class computes."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


def convolutions() -> nn.Module:
    """Every kind of padding, stride, dilation, groups; several norms; an in-place activation; one-dimensional too."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, (3, 2), padding="same", groups=8, bias=False),
        nn.InstanceNorm2d(8, affine=True),
        nn.Conv2d(8, 6, 3, padding=1, padding_mode="reflect", groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=(1, 2), padding_mode="circular", stride=(1, 2)),
        nn.GELU(),
        Foreign(6, 4, 2),
        nn.Flatten(2),
        nn.GroupNorm(2, 4),
        nn.Conv1d(4, 6, 3, padding="valid"),
        nn.SELU(inplace=True),
        nn.Conv1d(6, 4, 4),
        nn.Flatten(),
        nn.LayerNorm(28),
        nn.Linear(28, 3),
    )


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "mlp": registered("mlp", widths=(7, 5)),
    "mlp-bn": registered("mlp", widths=(7, 5), batch_norm=True, activation="tanh", bias=False),
    "simple-cnn": registered("simple-cnn", width=0.1),
    "resnet20": registered("resnet20", width=0.13),
    "resnet20-nobn": registered("resnet20-nobn", width=0.13),
    "wrn-10-1": registered("wrn-10-1", width=0.13),
    "attention": lambda: (Attention(), torch.randn(5, 3, 8, 8)),
    "windows": lambda: (Windows(), torch.randn(4, 3, 8, 8)),
    "twice": lambda: (Twice(), torch.randn(4, 3, 8, 8)),
    "convolutions": lambda: (convolutions(), torch.randn(5, 3, 9, 9)),
}


def made(case: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(len(case))
    network, x = CASES[case]()
    return settle(network).double(), x.double()


@pytest.mark.parametrize("case", CASES)
def test_all_forms_are_the_dense_jacobians(case: str) -> None:
    network, x = made(case)
    for form in FORMS:
        truth = dense_kernel(network, x, form)
        found = tangent_kernel(network, x, form=form, precision="float64")
        assert error(found.values, truth) <= 1e-10
        assert found.values.dtype == torch.float64
        assert torch.equal(found.values, found.values.T)
        small = tangent_kernel(network, x, form=form, precision="float64", memory=200_000)
        assert error(small.values, truth) <= 1e-10
        single = tangent_kernel(network.float(), x.float(), form=form)
        assert single.values.dtype == torch.float32
        assert error(single.values, truth) <= 1e-4
        assert error(tangent_kernel(network, x.float(), form=form, precision="bf16").values, truth) <= 1e-2
        network.double()


@pytest.mark.parametrize("case", ["simple-cnn", "attention", "twice", "convolutions"])
def test_layers_add_up_and_are_each_right(case: str) -> None:
    network, x = made(case)
    rows = dense_rows(network, x)
    for form in FORMS:
        found = tangent_kernel(network, x, form=form, precision="float64", by_layer=True)
        assert error(torch.stack(list(found.layers.values())).sum(0), found.values) <= 1e-14
        for name, values in found.layers.items():
            own = [r for p, r in rows.items() if p == name or p.rpartition(".")[0] == name]
            assert error(values, of_form(torch.cat(own, 2), form)) <= 1e-9 or float(values.norm()) < 1e-12
    general = tangent_kernel(network, x, precision="float64", by_layer=True, method="general")
    fast = tangent_kernel(network, x, precision="float64", by_layer=True)
    assert list(general.layers) == list(fast.layers)
    assert error(fast.values, general.values) <= 1e-12


def test_names_are_those_of_the_network() -> None:
    network, x = made("attention")
    names = tangent_kernel(network, x, form="trace", by_layer=True).layers
    assert set(names) == {
        "token", "places", "scale", "cut", "norm1", "norm2", "qkv", "out", "torchs", "torchs.out_proj", "last", "head",
    }  # fmt: skip


def test_the_fast_path_is_taken_where_it_can_be() -> None:
    for case, left in {
        "simple-cnn": set(),
        "resnet20": set(),
        "windows": set(),
        "convolutions": {"9.weight"},
        "attention": {
            "token", "places", "scale", "torchs.in_proj_weight", "torchs.in_proj_bias", "torchs.out_proj.weight",
            "torchs.out_proj.bias",
        },
        "twice": {"one.weight", "head.weight"},
    }.items():  # fmt: skip
        network, x = made(case)
        found = survey(network.eval(), x, "auto")
        assert {name for names in found.general.values() for name in names} == left, case


@pytest.mark.parametrize("name", ["simple-cnn", "mlp"])
def test_neural_tangents_gives_the_same(name: str) -> None:
    data = np.load(STORED)
    prefix = f"{name}/weights/"
    x = torch.from_numpy(data[f"{name}/inputs"])
    options = {"width": 0.125} if name == "simple-cnn" else {"widths": (9, 7), "activation": "tanh"}
    network = build(NetworkSpec(name, options), tuple(x.shape[1:]), 4).double()
    network.load_state_dict(
        {key.removeprefix(prefix): torch.from_numpy(data[key]) for key in data.files if key.startswith(prefix)}
    )
    truth = torch.from_numpy(data[f"{name}/kernel"])
    assert error(network(x).detach(), torch.from_numpy(data[f"{name}/logits"])) <= 1e-12
    assert error(tangent_kernel(network, x, precision="float64").values, truth) <= 1e-12
    assert error(tangent_kernel(network.float(), x.float()).values, truth) <= 1e-5


def test_a_linear_model_exactly() -> None:
    network, x = nn.Linear(6, 3).double(), torch.randn(5, 6, dtype=torch.float64)
    gram = x @ x.T + 1
    found = tangent_kernel(network, x, precision="float64", by_layer=True)
    assert error(found.values, torch.kron(gram, torch.eye(3, dtype=torch.float64))) <= 1e-15
    assert list(found.layers) == ["linear"]
    assert error(tangent_kernel(network, x, form="trace", precision="float64").values, gram) <= 1e-15
    assert error(tangent_kernel(network, x, form="pseudo", precision="float64").values, gram) <= 1e-15
    network.bias.requires_grad_(False)
    assert error(tangent_kernel(network, x, form="trace", precision="float64").values, x @ x.T) <= 1e-15
    network.bias.requires_grad_(True)
    network.weight.requires_grad_(False)
    assert error(tangent_kernel(network, x, form="trace", precision="float64").values, torch.ones(5, 5)) <= 1e-15


def test_one_hidden_relu_layer_by_hand() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 2, bias=False)).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    w, v = network[0].weight.detach(), network[2].weight.detach()
    truth = torch.zeros(12, 12, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            on_i, on_j = (w @ x[i] > 0).double(), (w @ x[j] > 0).double()
            hidden = torch.relu(w @ x[i]) @ torch.relu(w @ x[j])
            for k in range(2):
                for m in range(2):
                    first = (v[k] * on_i) @ (v[m] * on_j) * (x[i] @ x[j])
                    truth[2 * i + k, 2 * j + m] = first + (hidden if k == m else 0)
    assert error(tangent_kernel(network, x, precision="float64").values, truth) <= 1e-14


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.sampled_from(FORMS), st.integers(0, 10**6))
def test_kernels_are_positive_and_follow_the_samples(
    n: int, classes: int, channels: int, form: KernelForm, seed: int
) -> None:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(channels, 3, 2), nn.Tanh(), nn.Conv2d(3, 2, 2, stride=2), nn.Flatten(), nn.Linear(8, classes)
    ).double()
    x = torch.randn(n, channels, 6, 6, dtype=torch.float64)
    values = tangent_kernel(network, x, form=form, precision="float64").values
    assert float(torch.linalg.eigvalsh(values).min()) >= -1e-12 * float(values.diagonal().sum())
    order = torch.randperm(n)
    rows = (order[:, None] * classes + torch.arange(classes)).flatten() if form == "full" else order
    moved = tangent_kernel(network, x[order], form=form, precision="float64").values
    assert error(moved, values[rows][:, rows]) <= 1e-12
    with torch.no_grad():  # logits times 3: the kernel of the layers below times 9
        network[-1].weight.mul_(3), network[-1].bias.mul_(3)
    below = tangent_kernel(network, x, form=form, precision="float64", by_layer=True).layers["0"]
    network[-1].weight.data.div_(3)
    before = tangent_kernel(network, x, form=form, precision="float64", by_layer=True).layers["0"]
    assert error(below / below.norm(), before / before.norm()) <= 1e-10 or float(before.norm()) < 1e-9


class Scaled(nn.Module):
    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * self.factor


def test_a_normalised_kernel_does_not_see_the_scale_of_the_logits() -> None:
    network, x = made("simple-cnn")
    for form in FORMS:
        one = tangent_kernel(network, x, form=form, precision="float64").values
        two = tangent_kernel(Scaled(network, 7.5), x, form=form, precision="float64").values
        assert error(two, one * 7.5**2) <= 1e-12


def test_hooks_of_the_user_take_part() -> None:
    network, x = made("simple-cnn")
    seen = []
    network.conv3.register_forward_hook(lambda module, args, out: out * 1.5)
    network.conv4.register_forward_pre_hook(lambda module, args: (args[0] + 0.1,))
    network.relu1.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    truth = dense_kernel(network, x, "full")
    seen.clear()
    assert error(tangent_kernel(network, x, precision="float64").values, truth) <= 1e-12
    assert seen
    assert not survey(network.eval(), x, "auto").general


def test_nothing_is_left_on_the_network() -> None:
    torch.manual_seed(0)

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.frozen = nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 3)
            self.register_buffer("count", torch.zeros(()))
            self.odd = nn.Parameter(torch.ones(4))
            self.counting = True

        def forward(self, x: Tensor) -> Tensor:
            if self.counting:
                self.count += 1
            y = self.frozen(torch.relu(self.norm(self.conv(x))))
            return self.head(y.mean((2, 3)) * self.odd)

    network = Counting()
    network.train()
    network.frozen.eval()
    network.conv.bias.requires_grad_(False)
    network.head.weight.grad = torch.ones_like(network.head.weight)
    x = torch.randn(4, 3, 6, 6)
    modes = [module.training for module in network.modules()]
    flags = [p.requires_grad for p in network.parameters()]
    buffers = {name: (id(b), b.clone()) for name, b in network.named_buffers()}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in network.modules()]
    with torch.inference_mode():
        kernel = tangent_kernel(network, x.clone())
    assert not kernel.values.requires_grad
    assert modes == [module.training for module in network.modules()]
    assert flags == [p.requires_grad for p in network.parameters()]
    for name, b in network.named_buffers():
        assert id(b) == buffers[name][0]
        assert torch.equal(b, buffers[name][1])
    assert hooks == [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in network.modules()
    ]
    assert [name for name, p in network.named_parameters() if p.grad is not None] == ["head.weight"]
    assert torch.equal(network.head.weight.grad, torch.ones_like(network.head.weight))
    network.counting = False
    assert error(kernel.values, dense_kernel(network.double(), x.double(), "full")) <= 1e-5


def test_a_frozen_beginning() -> None:
    network, x = made("resnet20")
    for name, p in network.named_parameters():
        p.requires_grad_(not name.startswith(("conv", "norm", "stage1")))
    truth = dense_kernel(network, x, "full")
    found = tangent_kernel(network, x, precision="float64", by_layer=True)
    assert error(found.values, truth) <= 1e-12
    assert not any(name.startswith("stage1") for name in found.layers)


def test_a_network_that_torch_func_cannot_trace_goes_sample_by_sample() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.scale = nn.Linear(4, 3), nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x) * self.scale
            return y if float(y.detach().abs().max()) < 1e9 else y * 2

    torch.manual_seed(0)
    network, x = Reading().double(), torch.randn(5, 4, dtype=torch.float64)
    logits = network.linear(x).detach()
    truth = torch.kron(x @ x.T + 1, torch.eye(3, dtype=torch.float64))
    same = torch.eye(3, dtype=torch.float64).repeat(5, 5)
    truth = truth + same * (logits.flatten()[:, None] * logits.flatten()[None])
    assert error(tangent_kernel(network, x, precision="float64").values, truth) <= 1e-12


def test_the_stored_kernels_are_small() -> None:
    assert STORED.stat().st_size < 100_000
    assert json.dumps(sorted(np.load(STORED).files))
