"""Small matrices, networks and samples whose curvature is known or can be had densely in float64."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev


@dataclass
class Dense:
    """A matrix as an operator."""

    matrix: Tensor
    suspects: tuple[str, ...] = ()
    applied: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.matrix)

    @property
    def like(self) -> Tensor:
        return self.matrix[0]

    def apply(self, vector: Tensor) -> Tensor:
        self.applied.append(1)
        return self.matrix @ vector


def symmetric(values: Tensor, seed: int = 0) -> Tensor:
    """A dense matrix with these eigenvalues."""
    torch.manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64))
    return (q * values) @ q.T


def small(kind: str = "tanh", seed: int = 0) -> nn.Module:
    """A network of about a hundred weights in float64."""
    torch.manual_seed(seed)
    layers: dict[str, list[nn.Module]] = {
        "tanh": [nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)],
        "relu": [nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)],
        "norm": [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)],
        "linear": [nn.Linear(4, 3)],
        "conv": [nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)],
    }
    network = nn.Sequential(*layers[kind]).double()
    for module in network:
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return network


def samples(count: int = 24, kind: str = "tanh", seed: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    shape = (1, 4, 4) if kind == "conv" else (4,)
    return torch.randn(count, *shape, dtype=torch.float64), torch.randint(3, (count,))


def batches(x: Tensor, y: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(size), y.split(size), strict=True))


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def outputs_of(network: nn.Module, x: Tensor):
    """The logits as a function of the flat weights."""
    shapes = [(name, p.shape, p.numel()) for name, p in network.named_parameters()]

    def function(theta: Tensor) -> Tensor:
        parts = theta.split([n for _, _, n in shapes])
        weights = {name: part.view(shape) for (name, shape, _), part in zip(shapes, parts, strict=True)}
        return functional_call(network, weights, (x,))

    return function


def dense_curvature(network: nn.Module, x: Tensor, y: Tensor, kind: str, smoothing: float = 0.0) -> Tensor:
    """The matrix itself, by torch.func, from the definition."""
    network.eval()
    function, theta = outputs_of(network, x), flat(network)
    if kind == "hessian":
        return hessian(lambda t: F.cross_entropy(function(t), y, label_smoothing=smoothing))(theta)
    if kind == "gauss-newton":
        jacobian, p = jacrev(function)(theta), function(theta).softmax(1)
        middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return torch.einsum("ncp,ncd,ndq->pq", jacobian, middle, jacobian) / len(y)
    gradients = jacrev(lambda t: F.cross_entropy(function(t), y, reduction="none", label_smoothing=smoothing))(theta)
    return gradients.T @ gradients / len(y)
