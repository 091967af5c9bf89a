"""Every network of the registry once more, as sums and loops over a state's tensors, without a layer of torch.

Independent of landscape_cli.networks: the papers' descriptions written down plainly. Slow, for small float64 inputs.
``batch`` normalises by the batch's own statistics, as in training.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def convolve(
    x: Tensor, state: State, name: str, *, stride: int = 1, padding: int = 0, depthwise: bool = False
) -> Tensor:
    """Cross-correlation: a sum over the places of the kernel."""
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    samples, channels, height, width = x.shape
    rows, columns = weight.shape[2:]
    padded = x.new_zeros(samples, channels, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    down = (padded.shape[2] - rows) // stride + 1
    right = (padded.shape[3] - columns) // stride + 1
    out = x.new_zeros(samples, len(weight), down, right)
    for i in range(rows):
        for j in range(columns):
            seen = padded[:, :, i : i + stride * (down - 1) + 1 : stride, j : j + stride * (right - 1) + 1 : stride]
            if depthwise:
                out += seen * weight[:, 0, i, j][:, None, None]
            else:
                out += torch.einsum("nchw,oc->nohw", seen, weight[:, :, i, j])
    return out if bias is None else out + bias[:, None, None]


def linear(x: Tensor, state: State, name: str) -> Tensor:
    out = torch.einsum("...i,oi->...o", x, state[f"{name}.weight"])
    bias = state.get(f"{name}.bias")
    return out if bias is None else out + bias


def normalise(x: Tensor, state: State, name: str, batch: bool) -> Tensor:
    """Batch norm, with a scale and a shift where the state has them."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    over = [d for d in range(x.ndim) if d != 1]
    mean = x.mean(over) if batch else state[f"{name}.running_mean"]
    square = ((x - mean.view(shape)) ** 2).mean(over) if batch else state[f"{name}.running_var"]
    out = (x - mean.view(shape)) / (square.view(shape) + 1e-5).sqrt()
    if f"{name}.weight" in state:
        out = out * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)
    return out


def layer_norm(x: Tensor, state: State, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    out = centred / ((centred**2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return out * state[f"{name}.weight"] + state[f"{name}.bias"]


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def mlp(state: State, x: Tensor, *, layers: int, norm: bool = False, batch: bool = False) -> Tensor:
    x = x.reshape(len(x), -1)
    for number in range(1, layers + 1):
        x = relu(linear(x, state, f"linear{number}"))
        if norm:
            x = normalise(x, state, f"norm{number}", batch)
    return linear(x, state, "head")


def simple_cnn(state: State, x: Tensor, *, batch: bool = False) -> Tensor:
    for number in range(1, 7):
        x = relu(convolve(x, state, f"conv{number}", padding=1))
        if number % 2 == 0:
            height, width = (side // 2 * 2 for side in x.shape[2:])
            corners = [x[:, :, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
            x = torch.stack(corners).amax(0)
    return linear(x.mean((2, 3)), state, "head")


def resnet20(state: State, x: Tensor, *, norm: bool = True, batch: bool = False) -> Tensor:
    def normed(x: Tensor, name: str) -> Tensor:
        return normalise(x, state, name, batch) if norm else x

    x = relu(normed(convolve(x, state, "conv", padding=1), "norm"))
    for stage in (1, 2, 3):
        for block in range(3):
            here, stride = f"stage{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = relu(normed(convolve(x, state, f"{here}.conv1", stride=stride, padding=1), f"{here}.norm1"))
            y = normed(convolve(y, state, f"{here}.conv2", padding=1), f"{here}.norm2")
            kept = x[:, :, ::stride, ::stride]
            if kept.shape != y.shape:
                wide = torch.zeros_like(y)
                first = (y.shape[1] - kept.shape[1]) // 2
                wide[:, first : first + kept.shape[1]] = kept
                kept = wide
            x = relu(y + kept)
    return linear(x.mean((2, 3)), state, "head")


def wide_resnet(state: State, x: Tensor, *, blocks: int, batch: bool = False) -> Tensor:
    """Zagoruyko and Komodakis 2016: the shortcut's convolution sees the activation; the first convolution strides."""
    x = convolve(x, state, "conv", padding=1)
    for stage in (1, 2, 3):
        for block in range(blocks):
            here, stride = f"stage{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            active = relu(normalise(x, state, f"{here}.norm1", batch))
            y = convolve(active, state, f"{here}.conv1", stride=stride, padding=1)
            y = convolve(relu(normalise(y, state, f"{here}.norm2", batch)), state, f"{here}.conv2", padding=1)
            if f"{here}.shortcut.weight" in state:
                x = convolve(active, state, f"{here}.shortcut", stride=stride)
            x = x + y
    return linear(relu(normalise(x, state, "norm", batch)).mean((2, 3)), state, "head")


def wide_resnet_mao(state: State, x: Tensor, *, blocks: int, batch: bool = False) -> Tensor:
    """Mao et al. 2023: the shortcut's convolution sees the input; the second convolution strides."""
    x = convolve(x, state, "conv", padding=1)
    for stage in (1, 2, 3):
        for block in range(blocks):
            here, stride = f"stage{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = convolve(relu(normalise(x, state, f"{here}.norm1", batch)), state, f"{here}.conv1", padding=1)
            y = relu(normalise(y, state, f"{here}.norm2", batch))
            y = convolve(y, state, f"{here}.conv2", stride=stride, padding=1)
            x = y + (convolve(x, state, f"{here}.shortcut", stride=stride) if x.shape != y.shape else x)
    return linear(relu(normalise(x, state, "norm", batch)).mean((2, 3)), state, "head")


def all_cnn(state: State, x: Tensor, *, batch: bool = False) -> Tensor:
    for number, (stride, padding) in enumerate([(1, 1), (2, 1), (1, 1), (2, 1), (1, 0)], start=1):
        x = relu(convolve(x, state, f"conv{number}", stride=stride, padding=padding))
        x = normalise(x, state, f"norm{number}", batch)
    return x.mean((2, 3))


def conv_mixer(state: State, x: Tensor, *, depth: int, kernel: int, patch: int, batch: bool = False) -> Tensor:
    x = normalise(gelu(convolve(x, state, "patch", stride=patch)), state, "norm", batch)
    for block in range(depth):
        here = f"blocks.{block}"
        y = gelu(convolve(x, state, f"{here}.depthwise", padding=(kernel - 1) // 2, depthwise=True))
        x = x + normalise(y, state, f"{here}.norm1", batch)
        x = normalise(gelu(convolve(x, state, f"{here}.pointwise")), state, f"{here}.norm2", batch)
    return linear(x.mean((2, 3)), state, "head")


def vision_transformer(
    state: State, x: Tensor, *, depth: int, heads: int, head: int, patch: int, batch: bool = False
) -> Tensor:
    """One image after another, one head after another; patches as vectors under a matrix."""
    matrix = state["patch.weight"].reshape(len(state["patch.weight"]), -1)
    logits = []
    for image in x:
        tokens = [state["class_token"][0, 0]]
        for i in range(0, image.shape[1], patch):
            for j in range(0, image.shape[2], patch):
                cut = image[:, i : i + patch, j : j + patch].reshape(-1)
                tokens.append(matrix @ cut + state["patch.bias"])
        z = torch.stack(tokens) + state["positions"][0]
        for block in range(depth):
            here = f"blocks.{block}"
            q, k, v = linear(layer_norm(z, state, f"{here}.norm1"), state, f"{here}.attention.qkv").chunk(3, 1)
            seen = []
            for number in range(heads):
                own = slice(number * head, (number + 1) * head)
                scores = torch.exp(q[:, own] @ k[:, own].T / math.sqrt(head))
                seen.append((scores / scores.sum(1, keepdim=True)) @ v[:, own])
            z = z + linear(torch.cat(seen, 1), state, f"{here}.attention.projection")
            y = gelu(linear(layer_norm(z, state, f"{here}.norm2"), state, f"{here}.linear1"))
            z = z + linear(y, state, f"{here}.linear2")
        logits.append(linear(layer_norm(z[0], state, "head.norm"), state, "head.linear"))
    return torch.stack(logits)
