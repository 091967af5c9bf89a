"""A vision transformer for small images (Dosovitskiy et al. 2021), as Mao et al. 2023 train it."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from landscape_cli.errors import NetworkError
from landscape_cli.networks.scaling import image_shape, scaled


class Attention(nn.Module):
    """Self-attention of several heads: ``softmax(Q Kᵀ / √d) V``, its heads side by side, then a linear layer.

    Written out in products: torch's fused kernels have no second derivative, which curvature and linearisation need,
    and gain little on some dozens of tokens.
    """

    def __init__(self, dim: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.size = size
        self.qkv = nn.Linear(dim, 3 * heads * size, bias=False)
        self.projection = nn.Linear(heads * size, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Every token looks at all, ``(sample, token, dim)``."""
        samples, tokens, _ = x.shape
        parts = self.qkv(x).view(samples, tokens, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        looks = (query @ key.transpose(-2, -1) * self.size**-0.5).softmax(-1)
        y: Tensor = self.projection((looks @ value).transpose(1, 2).reshape(samples, tokens, -1))
        return y


class Block(nn.Module):
    """Attention and a two-layer network of each token, each after a layer norm and with its input added."""

    def __init__(self, dim: int, heads: int, size: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, size)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, hidden)
        self.gelu = nn.GELU()
        self.linear2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens, then features."""
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.linear2(self.gelu(self.linear1(self.norm2(x))))
        return y


class VisionTransformer(nn.Module):
    """Patches and a class token with learned positions, blocks, and a read-out of the class token."""

    def __init__(self, channels: int, tokens: int, patch: int, dim: int, blocks: list[Block], classes: int) -> None:
        super().__init__()
        # A convolution of the patch's own stride is a linear layer on each patch, its weights drawn alike.
        self.patch = nn.Conv2d(channels, dim, patch, stride=patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1, tokens + 1, dim))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(OrderedDict(norm=nn.LayerNorm(dim), linear=nn.Linear(dim, classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        y: Tensor = self.head(self.blocks(x)[:, 0])
        return y


def build(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    width: float = 1.0,
    patch: int = 4,
    dim: int = 512,
    depth: int = 6,
    heads: int = 8,
    head: int = 64,
    mlp: int = 512,
) -> VisionTransformer:
    """Patches of 4×4, a class token, six pre-normalised blocks of eight heads, read-out of the class token.

    Positions and class token ``N(0, 1)``, all other weights as torch draws them; no dropout, no biases on queries, keys
    and values. 9,523,722 parameters for 3×32×32 inputs and 10 classes.

    Args:
        input_shape: ``(channel, height, width)``, whole numbers of patches.
        classes: Outputs.
        width: Multiplies ``dim``, ``head`` and ``mlp``; the number of heads stays.
        patch: Side of a patch.
        dim: Features of a token.
        depth: Blocks.
        heads: Heads of the attention.
        head: Features of a head.
        mlp: Hidden width of each block's two-layer network.

    Raises:
        NetworkError: If inputs are no images or no whole number of patches, or a layer is empty.
    """
    channels, height, breadth = image_shape(input_shape, "vit")
    if min(patch, depth, heads) < 1:
        raise NetworkError(f"a vit has no patch {patch}, depth {depth}, heads {heads}", "all are at least 1")
    if height % patch or breadth % patch:
        raise NetworkError(
            f"images of {height}×{breadth} are no whole number of patches of {patch}×{patch}",
            "set -N patch=… to a divisor of both sides",
        )
    tokens = (height // patch) * (breadth // patch)
    features, size, hidden = (scaled(n, width) for n in (dim, head, mlp))
    blocks = [Block(features, heads, size, hidden) for _ in range(depth)]
    return VisionTransformer(channels, tokens, patch, features, blocks, classes)
