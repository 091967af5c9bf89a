"""Small networks and data of a notebook."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
IMAGES, LABELS = torch.randn(20, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3


def net(seed: int = 0, *, outputs: int = 3, unit: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Two layers."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), unit(), nn.Linear(6, outputs))


def normed(seed: int = 0) -> nn.Module:
    """The same with batch norm between, as it is after a pass over the data."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    network(X)
    return network


class Everything(nn.Module):
    """Batch norm, dropout, tied weights, a frozen one, and buffers of whole numbers."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm, self.drop = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.3)
        self.one, self.two = nn.Linear(36, 36, bias=False), nn.Linear(36, 36, bias=False)
        self.two.weight = self.one.weight
        self.head = nn.Linear(36, 3)
        self.register_buffer("numbers", torch.arange(3))
        self.conv.bias.requires_grad_(False)  # type: ignore[union-attr]
        self(IMAGES), self(IMAGES + 1)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        x = torch.relu(self.norm(self.conv(x))).mean(1).flatten(1)
        return self.head(torch.relu(self.two(self.drop(torch.relu(self.one(x))))))  # type: ignore[no-any-return]
