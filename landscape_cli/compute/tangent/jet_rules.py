"""How jets pass the layers that networks are made of; everything else passes :func:`jets.general`.

Products of two series stop at their order: ``(AB)₁ = A₀B₁ + A₁B₀``, ``(AB)₂ = A₀B₂ + A₁B₁ + A₂B₀``. A convolution
whose input and weight both move costs three of its kind to first order and five to second.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from landscape_cli.compute.tangent.jets import (
    RULES,
    SUBSTITUTES,
    Jet,
    Rule,
    coefficients,
    jets_in,
    make_jet,
    note_sharing,
    total,
)


def rule(*functions: Any) -> Callable[[Rule], Rule]:
    """Register a rule for torch functions."""

    def register(found: Rule) -> Rule:
        RULES.update(dict.fromkeys(functions, found))
        return found

    return register


def _order(*args: Any) -> int:
    return max(jet.order for jet in jets_in(args))


def _sum_into(*parts: Tensor | None) -> Tensor | None:
    """The sum of fresh tensors, made in the first of them."""
    found: Tensor | None = None
    for part in parts:
        if part is not None:
            found = part if found is None else found.add_(part)
    return found


@rule(
    torch.flatten, Tensor.flatten, Tensor.view, Tensor.reshape, torch.reshape, Tensor.permute, torch.permute,
    Tensor.transpose, torch.transpose, Tensor.contiguous, Tensor.mean, torch.mean, Tensor.sum, torch.sum,
    Tensor.__getitem__, Tensor.unsqueeze, torch.unsqueeze, Tensor.squeeze, torch.squeeze, Tensor.expand, Tensor.chunk,
    torch.chunk, Tensor.split, torch.split, Tensor.unbind, torch.unbind, Tensor.neg, Tensor.__neg__, torch.neg,
    torch.cat, torch.stack, torch._C._nn.avg_pool2d, torch.avg_pool1d, F.adaptive_avg_pool2d, torch.adaptive_avg_pool1d,
)  # fmt: skip
def linear(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """A linear function of its first argument, a tensor or a list of them: it acts on each coefficient."""
    if jets_in((args, kwargs)):
        return NotImplemented
    many = not isinstance(x, Tensor)
    pieces = list(x) if many else [x]
    series = [coefficients(piece) for piece in pieces]
    parts: list[Any] = []
    for number in range(3):
        if all(one[number] is None for one in series):
            parts.append(None)
            continue
        filled = [torch.zeros_like(one[0]) if one[number] is None else one[number] for one in series]
        parts.append(func(filled if many else filled[0], *args, **kwargs))
    order, sources = _order(x), jets_in(x)
    if isinstance(parts[0], Tensor):
        return note_sharing(make_jet(*parts, order=order), sources)
    columns = [[None] * len(parts[0]) if part is None else part for part in parts]
    return tuple(note_sharing(make_jet(*own, order=order), sources) for own in zip(*columns, strict=True))


@rule(F.pad)
def pad(func: Any, x: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Padding: what a constant border is filled with does not move."""
    if not isinstance(x, Jet):
        return NotImplemented
    _, first, second = coefficients(x)
    moved = [None if part is None else func(part, pad, mode, None) for part in (first, second)]
    return note_sharing(make_jet(func(x.value, pad, mode, value), *moved, order=x.order), [x])


def _broadcast(part: Tensor | None, value: Tensor) -> Tensor | None:
    return part if part is None or part.shape == value.shape else part.expand(value.shape)


@rule(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
def addition(func: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """A sum."""
    if kwargs:
        return NotImplemented
    (a, *moved_a), (b, *moved_b) = coefficients(x), coefficients(y)
    value = func(a, b)
    moved = [_broadcast(total(one, two), value) for one, two in zip(moved_a, moved_b, strict=True)]
    return make_jet(value, *moved, order=_order(x, y))


@rule(torch.sub, Tensor.sub, Tensor.__sub__)
def difference(func: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """A difference."""
    if kwargs:
        return NotImplemented
    (a, *moved_a), (b, *moved_b) = coefficients(x), coefficients(y)
    value = func(a, b)
    moved = [
        _broadcast(total(one, None if two is None else -two), value) for one, two in zip(moved_a, moved_b, strict=True)
    ]
    return make_jet(value, *moved, order=_order(x, y))


@rule(torch.div, Tensor.div, Tensor.__truediv__)
def quotient(func: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """Division by what does not move."""
    return NotImplemented if kwargs else linear(func, x, y)


@rule(
    torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.matmul, Tensor.matmul, Tensor.__matmul__,
    Tensor.__rmatmul__, torch.bmm, Tensor.bmm, torch.mm, Tensor.mm,
)  # fmt: skip
def product(func: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """A function linear in each of its two arguments."""
    if kwargs:
        return NotImplemented
    (a, a1, a2), (b, b1, b2) = coefficients(x), coefficients(y)
    order = _order(x, y)

    def term(one: Any, two: Any) -> Tensor | None:
        return None if one is None or two is None else func(one, two)

    first = _sum_into(term(a1, b), term(a, b1))
    second = _sum_into(term(a2, b), term(a1, b1), term(a, b2)) if order > 1 else None
    return make_jet(func(a, b), first, second, order=order)


@rule(
    F.linear, torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d,
    torch.conv_transpose3d,
)  # fmt: skip
def affine(func: Any, input: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Any:
    """A layer linear in input and weight, with a bias."""
    (a, a1, a2), (w, w1, w2), (b, b1, b2) = coefficients(input), coefficients(weight), coefficients(bias)
    if (w1 is None and b1 is not None) or (w2 is None and b2 is not None):
        return NotImplemented
    order = _order(input, weight, bias)

    def term(x: Any, kernel: Any, shift: Any = None) -> Tensor | None:
        return None if x is None or kernel is None else func(x, kernel, shift, *args, **kwargs)

    first = _sum_into(term(a1, w), term(a, w1, b1))
    second = _sum_into(term(a2, w), term(a1, w1), term(a, w2, b2)) if order > 1 else None
    return make_jet(func(a, w, b, *args, **kwargs), first, second, order=order)


@rule(F.relu, torch.relu, Tensor.relu)
def relu(func: Any, input: Any, inplace: bool = False) -> Any:
    """Rectified units: what is off does not move, and what is on moves as its input; no curvature."""
    value, *moved = coefficients(input)
    value = torch.relu(value)
    gate = torch.ops.aten.threshold_backward
    return make_jet(value, *(None if m is None else gate(m, value, 0) for m in moved), order=input.order)


@rule(F.batch_norm)
def batch_norm(
    func: Any,
    input: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Batch norm by running statistics: affine in its input, its weight and its bias."""
    (a, a1, a2), (w, w1, w2), (b, b1, b2) = coefficients(input), coefficients(weight), coefficients(bias)
    if training or running_mean is None or running_var is None or w2 is not None or b2 is not None:
        return NotImplemented
    if (w1 is None) != (b1 is None):
        return NotImplemented
    order, zero = _order(input, weight, bias), torch.zeros_like(running_mean)

    def term(x: Any, mean: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor | None:
        return None if x is None else func(x, mean, running_var, scale, shift, False, momentum, eps)

    own = None if w1 is None else term(a, running_mean, w1, b1)
    first = _sum_into(term(a1, zero, w, None), own)
    second = None
    if order > 1:
        second = _sum_into(term(a2, zero, w, None), None if w1 is None else term(a1, zero, w1, None))
    return make_jet(term(a, running_mean, w, b), first, second, order=order)  # type: ignore[arg-type]


class _Pick(torch.autograd.Function):
    """The entries of a tensor at the places of maxima; backward by the pooling's own kernel."""

    @staticmethod
    def forward(ctx: Any, moved: Tensor, pooled: Tensor, index: Tensor, *window: Any) -> Tensor:
        """Gather along the flattened image, in its memory layout."""
        ctx.save_for_backward(pooled, index)
        ctx.window = window
        if not moved.is_contiguous(memory_format=torch.channels_last):
            return moved.flatten(2).gather(2, index.flatten(2)).view(index.shape)
        flat, places = (x.permute(0, 2, 3, 1).flatten(1, 2) for x in (moved, index))
        rows = index.permute(0, 2, 3, 1).shape
        return flat.gather(1, places).view(rows).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Scatter."""
        pooled, index = ctx.saved_tensors
        spread = torch.ops.aten.max_pool2d_with_indices_backward(gradient, pooled, *ctx.window, index)
        return (spread, None, None, *(None for _ in ctx.window))


@rule(F.max_pool2d, torch.max_pool2d)
def max_pool2d(
    func: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest entries move as they themselves do."""
    value, *moved = coefficients(input)
    if return_indices or value.ndim != 4:
        return NotImplemented
    pairs = [[v, v] if isinstance(v, int) else list(v) for v in (kernel_size, stride or kernel_size, padding, dilation)]
    window = (*pairs, ceil_mode)
    pooled, index = torch.ops.aten.max_pool2d_with_indices(value, *window)
    picked = (None if m is None else _Pick.apply(m, value, index, *window) for m in moved)  # type: ignore[no-untyped-call]
    return make_jet(pooled, *picked, order=input.order)


def _standardised(x: Tensor, dims: list[int], eps: float) -> Tensor:
    centred = x - x.mean(dims, keepdim=True)
    return centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()


def _per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.view(1, -1, *(1,) * (x.ndim - 2))


# The fused normalisation layers have right first and wrong second forward derivatives in torch (as of 2.13); written
# out they have both.


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    found = _standardised(input, [-1 - k for k in range(len(normalized_shape))], eps)
    found = found if weight is None else found * weight
    return found if bias is None else found + bias


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        found = _standardised(input, [0, *range(2, input.ndim)], eps)
    else:
        inverse = _per_channel((running_var + eps).rsqrt(), input)
        found = (input - _per_channel(running_mean, input)) * inverse
    found = found if weight is None else found * _per_channel(weight, input)
    return found if bias is None else found + _per_channel(bias, input)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return _batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    found = _standardised(input, list(range(2, input.ndim)), eps)
    found = found if weight is None else found * _per_channel(weight, input)
    return found if bias is None else found + _per_channel(bias, input)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _hard_sigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    return F.hardtanh(input + 3, 0.0, 6.0) / 6


SUBSTITUTES.update(
    {
        F.hardsigmoid: _hard_sigmoid,
        F.layer_norm: _layer_norm,
        torch.layer_norm: _layer_norm,
        F.batch_norm: _batch_norm,
        F.instance_norm: _instance_norm,
        torch._weight_norm: _weight_norm,
    }
)
