"""Small networks and data of a notebook."""

from collections.abc import Callable

import torch
from torch import nn

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


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
