"""The layers whose tangent kernels have a fast path: what a cotangent at their output says about their parameters.

Two families cover convolutions, linear layers and normalisation:

* *products*, ``y[s, o] = Σ_d U[s, d] W[o, d] + b[o]`` over positions ``s``, where ``U`` is the input cut into patches:
  ``∂⟨B, y⟩/∂W = Bᵀ U``, ``∂⟨B, y⟩/∂b = Σ_s B[s]``;
* *scales*, ``y = γ x̂ + β`` with ``x̂`` the input normalised: ``∂/∂γ = Σ_s B ∘ x̂``, ``∂/∂β = Σ_s B``.

Batch norm is in evaluation mode: its running statistics are constants.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from landscape_cli.compute.tangent.recording import Call

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SCALES: tuple[type[nn.Module], ...] = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
PRODUCTS: tuple[type[nn.Module], ...] = (*CONVOLUTIONS, nn.Linear)


def is_known(module: nn.Module) -> bool:
    """Whether a module is one of the layers here, or derives from one."""
    return isinstance(module, (*PRODUCTS, *SCALES))


def is_plain(module: nn.Module) -> bool:
    """Whether a known module computes just what the torch layer that it is, or derives from, computes."""
    kind = next(kind for kind in (*PRODUCTS, *SCALES) if isinstance(module, kind))
    same = type(module).forward is kind.forward
    return same and getattr(type(module), "_conv_forward", None) is getattr(kind, "_conv_forward", None)


@dataclass(frozen=True)
class Layer:
    """A known layer of a network.

    Args:
        name: Its name in results.
        module: The layer.
        parameters: Which of ``weight`` and ``bias`` are taken care of here.
        calls: How often a forward pass calls it.
        groups: Groups of a convolution, else 1.
        outputs: Output channels of a group; channels or features of a scale.
        columns: Weights an output has; 1 for a scale.
        positions: Output positions of all calls together (1 for a linear layer on vectors); 0 for a scale.
        stored: Numbers a sample's input takes as :func:`prepared` keeps it, all calls together.
    """

    name: str
    module: nn.Module = field(repr=False)
    parameters: tuple[str, ...]
    calls: int
    groups: int
    outputs: int
    columns: int
    positions: int
    stored: int

    @property
    def is_product(self) -> bool:
        """Whether it belongs to the products."""
        return isinstance(self.module, PRODUCTS)

    @property
    def width(self) -> int:
        """How many parameters it has here."""
        weight = self.groups * self.outputs * self.columns
        return weight * ("weight" in self.parameters) + self.groups * self.outputs * ("bias" in self.parameters)


def describe(name: str, module: nn.Module, parameters: tuple[str, ...], calls: Sequence[Call], samples: int) -> Layer:
    """Read a layer's sizes off its calls on a few samples.

    Raises:
        ValueError: If the calls are not those of a layer of this kind on so many samples.
    """
    for call in calls:
        if not call.shape or call.shape[0] % samples or call.inputs.shape[:1] != call.shape[:1]:
            raise ValueError(f"{name}: the first dimension is not that of the samples")
    if isinstance(module, SCALES):
        axis = _axis(module, calls[0].inputs)
        outputs = math.prod(calls[0].shape[axis:]) if axis < 0 else calls[0].shape[1]
        return Layer(name, module, parameters, len(calls), 1, outputs, 1, 0, 0)
    weight = module.weight
    assert isinstance(weight, Tensor)
    groups = module.groups if isinstance(module, CONVOLUTIONS) else 1
    columns = math.prod(weight.shape[1:])
    kept = [prepared(module, call.inputs, samples) for call in calls]
    positions = sum(math.prod(call.shape) // samples // len(weight) for call in calls)
    stored = sum(part.numel() // samples for part in kept)
    return Layer(name, module, parameters, len(calls), groups, len(weight) // groups, columns, positions, stored)


def _axis(module: nn.Module, x: Tensor) -> int:
    """Where the parameters of a scale lie: in the last dimensions, or (1) in the channels.

    A layer norm's own are the last ones, but there are derived classes that take channels first.
    """
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        shape = tuple(module.normalized_shape)
        return 1 if x.shape[-len(shape) :] != shape and x.shape[1:2] == shape else -len(shape)
    return 1


def prepared(module: nn.Module, x: Tensor, samples: int) -> Tensor:
    """The input of a product as it is kept: positions of a linear layer, or padded pixels, channels last.

    Returns:
        ``(sample, position, feature)``, or ``(sample · fold, *padded space, channel)``.
    """
    if isinstance(module, CONVOLUTIONS):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        sides = _sides(module)
        padded = F.pad(x, sides, mode=mode) if any(sides) else x
        return padded.movedim(1, -1).contiguous()
    return x.reshape(samples, -1, x.shape[-1])


def _sides(module: "nn.Conv1d | nn.Conv2d | nn.Conv3d") -> list[int]:
    """Padding of each side, last dimension first, as ``F.pad`` takes it."""
    sides: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if module.padding == "same":
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            one = 0 if isinstance(module.padding, str) else int(module.padding[axis])
            sides += [one, one]
    return sides


def patches(module: nn.Module, kept: Tensor, samples: int) -> Tensor:
    """A view of a prepared input as patches: ``(sample, group, *positions, *features)``, nothing copied.

    The weights of a group's output are counted in the order of the features; for a convolution that is
    ``(*kernel, channel)``.
    """
    if not isinstance(module, CONVOLUTIONS):
        return kept.unsqueeze(1)
    fold, *space, channels = kept.shape
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    out = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip(space, kernel, stride, dilation, strict=True)]
    steps = kept.stride()
    inner = channels // module.groups
    return kept.as_strided(
        (samples, module.groups, fold // samples, *out, *kernel, inner),
        (
            steps[0] * (fold // samples),
            inner,
            steps[0],
            *(step * s for step, s in zip(steps[1:-1], stride, strict=True)),
            *(step * d for step, d in zip(steps[1:-1], dilation, strict=True)),
            1,
        ),
        kept.storage_offset(),
    )


def cotangents(module: nn.Module, g: Tensor, samples: int) -> Tensor:
    """A cotangent at a product's output as ``(sample, group, output, *positions)``: a view wherever possible."""
    if not isinstance(module, CONVOLUTIONS):
        return g.reshape(samples, -1, g.shape[-1]).transpose(1, 2).unsqueeze(1)
    split = g.reshape(samples, g.shape[0] // samples, module.groups, -1, *g.shape[2:])
    return split.movedim(1, 3)


def normalized(module: nn.Module, x: Tensor) -> Tensor:
    """``x̂``: what a scale multiplies by γ."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return F.batch_norm(x, module.running_mean, module.running_var, None, None, False, 0.0, module.eps)
    if isinstance(module, nn.modules.instancenorm._InstanceNorm):
        own = not module.track_running_stats
        return F.instance_norm(x, module.running_mean, module.running_var, None, None, own, 0.0, module.eps)
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(x, module.num_groups, None, None, module.eps)
    assert isinstance(module, nn.LayerNorm | nn.RMSNorm)
    given = x.movedim(1, -1) if _axis(module, x) > 0 else x
    shape = list(module.normalized_shape)
    if isinstance(module, nn.LayerNorm):
        made = F.layer_norm(given, shape, None, None, module.eps)
    else:
        made = F.rms_norm(given, shape, None, module.eps)
    return made.movedim(-1, 1) if given is not x else made


def scale_sums(module: nn.Module, g: Tensor, samples: int) -> Tensor:
    """``Σ_s g[s]`` for each channel or feature of a scale: ``(sample, outputs)``."""
    axis = _axis(module, g)
    if axis < 0:
        flat = g.reshape(samples, -1, math.prod(g.shape[axis:]))
        return flat.sum(1) if flat.shape[1] > 1 else flat[:, 0]
    spread = g.reshape(samples, g.shape[0] // samples, g.shape[1], *g.shape[2:])
    dims = [d for d in range(1, spread.ndim) if d != 2 and spread.shape[d] > 1]
    return (spread.sum(dims) if dims else spread).reshape(samples, g.shape[1])
