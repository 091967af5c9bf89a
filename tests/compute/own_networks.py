"""Networks as other people write them, with the groups of units that a person finds in them by hand."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """As torchvision writes a basic block: in-place activations and sums, a convolutional shortcut with a norm."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


def torchvision_style() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        Bottleneck(6, 6, 1), Bottleneck(6, 8, 2), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(5 * 3 * 3, 7), nn.Sigmoid(),
        nn.Linear(7, 4),
    )  # fmt: skip


class Dense(nn.Module):
    """Concatenations, as in DenseNet: a layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 5, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(9)
        self.head = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        y = torch.cat([x, self.two(F.relu(self.norm(x)))], 1)
        return self.head(F.relu(self.norm2(y)).mean((2, 3)))


class Mobile(nn.Module):
    """Depthwise convolutions, squeeze and excitation, hard activations."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 6, 1)
        self.depth = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm = nn.GroupNorm(1, 6)
        self.down = nn.Linear(6, 3)
        self.up = nn.Linear(3, 6)
        self.project = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.norm(self.depth(self.expand(x))))
        gate = F.hardsigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return self.project(x * gate[:, :, None, None]).amax((2, 3))


class Gated(nn.Module):
    """Half of a layer's outputs gates the other half (GLU), a norm over features, a learned slope."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(5, 12)
        self.norm = nn.LayerNorm(6)
        self.slope = nn.PReLU(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.one(x.mean((2, 3)) if x.ndim == 4 else x).chunk(2, -1)
        return self.head(self.slope(self.norm(a * torch.sigmoid(b))))


class Shuffle(nn.Module):
    """A channel shuffle between two convolutions, the second in two groups: ShuffleNet."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3)
        self.two = nn.Conv2d(8, 6, 1, groups=2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).relu()
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(self.two(x).relu().mean((2, 3)))


class Recurrent(nn.Module):
    """One layer used three times around a sum: its units are on both sides of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(5, 6)
        self.again = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).tanh()
        for _ in range(3):
            x = x + self.again(x).relu()
        return self.head(x)


class Mixed(nn.Module):
    """Tokens mixed by a linear layer over places, then channels by another; a manual norm; an embedding of places."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 4, 6))
        self.tokens = nn.Linear(4, 4)
        self.channels = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.places
        x = x + self.tokens(x.transpose(1, 2)).transpose(1, 2)
        centred = x - x.mean(-1, keepdim=True)
        x = x + self.channels(centred / (centred.var(-1, keepdim=True) + 1e-5).sqrt()).relu()
        return self.head(x.mean(1))


class Attention(nn.Module):
    """Self-attention: what may be permuted in it is not derived."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head((x + self.block(x, x, x, need_weights=False)[0]).mean(1))


class Hidden(nn.Module):
    """An in-place change of a part of an activation, of which the whole is used afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(5, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x[:, :2].mul_(2)
        return self.head(x.relu())
