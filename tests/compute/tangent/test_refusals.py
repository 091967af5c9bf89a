"""Networks and inputs that have no tangent kernel are refused with the thing at fault named."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from landscape_cli.compute.tangent.kernels import tangent_kernel
from landscape_cli.errors import NetworkError


class Wrapped(nn.Module):
    """A linear layer and something done to its output."""

    def __init__(self, then: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.linear, self.then = nn.Linear(4, 3), then

    def forward(self, x: Tensor) -> object:
        return self.then(self.linear(x))


class InPlace(nn.Module):
    """Overwrites what the gradient of the layer before it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.sigmoid, self.broken = nn.Linear(4, 3), nn.Sigmoid(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.broken(self.sigmoid(self.linear(x)))


def frozen() -> nn.Module:
    return nn.Linear(4, 3).requires_grad_(False)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "integers": (lambda: Wrapped(lambda y: y.argmax(1, keepdim=True)), "int64"),
    "detached": (lambda: Wrapped(lambda y: y.detach()), "differentiable"),
    "a tuple": (lambda: Wrapped(lambda y: (y, y)), "tuple"),
    "a vector": (lambda: Wrapped(lambda y: y[:, 0]), r"\(2,\)"),
    "images": (lambda: Wrapped(lambda y: y[:, :, None]), r"\(2, 3, 1\)"),
    "half logits": (lambda: Wrapped(lambda y: y.half()), "float16"),
    "half weights": (lambda: nn.Linear(4, 3).bfloat16(), "'weight' is bfloat16"),
    "nothing trainable": (frozen, "no trainable parameters"),
    "no parameters": (nn.Flatten, "no trainable parameters"),
    "in place": (InPlace, "broken"),
    "other samples": (lambda: Wrapped(lambda y: y - y.mean(0)), "others of its batch"),
    "batch statistics": (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)), "others of"),
    "chance": (lambda: Wrapped(lambda y: torch.dropout(y, 0.5, True)), "chance"),
    "wrong inputs": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), "layer '1'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("method", ["auto", "general"])
def test_refused(case: str, method: str) -> None:
    make, words = REFUSED[case]
    torch.manual_seed(0)
    for samples in (1, 5):
        with pytest.raises(NetworkError, match=words) as told:
            tangent_kernel(make(), torch.randn(samples, 4), method=method)
        assert told.value.hint


def test_no_samples() -> None:
    with pytest.raises(NetworkError, match="at least one sample"):
        tangent_kernel(nn.Linear(4, 3), torch.zeros(0, 4))


def test_samples_that_are_no_numbers_are_named() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    x = torch.randn(9, 4)
    x[4] = torch.nan
    for form in ("full", "trace", "pseudo"):
        with pytest.raises(NetworkError, match=r"sample 4\n"):
            tangent_kernel(network, x, form=form)
    x[0], x[4] = torch.inf, 0
    with pytest.raises(NetworkError, match=r"logits are not finite: sample 0\n"):
        tangent_kernel(network, x)


def test_an_overflowing_gradient_names_its_sample() -> None:
    network = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 2))
    x = torch.tensor([[1.0], [1e30], [2.0]])
    with pytest.raises(NetworkError, match=r"not finite: sample 1\n"):
        tangent_kernel(network, x)


def test_in_place_activations_are_welcome() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 5), nn.ELU(inplace=True), nn.Linear(5, 3)
    )
    plain = nn.Sequential(network[0], nn.ReLU(), network[2], nn.ELU(), network[4])
    x = torch.randn(6, 4)
    assert torch.allclose(tangent_kernel(network, x).values, tangent_kernel(plain, x).values)
    general = tangent_kernel(network, x, method="general").values
    assert torch.allclose(general, tangent_kernel(plain, x).values, rtol=1e-4, atol=1e-5)


def test_one_class_and_one_sample() -> None:
    network, x = nn.Linear(4, 1), torch.randn(1, 4)
    for form in ("full", "trace", "pseudo"):
        assert torch.allclose(tangent_kernel(network, x, form=form).values, x @ x.T + 1)
