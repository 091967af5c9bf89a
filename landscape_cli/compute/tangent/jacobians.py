"""Rows of the Jacobian of known layers, from recorded inputs and cotangents."""

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape_cli.compute.tangent.layers import (
    CONVOLUTIONS,
    Layer,
    cotangents,
    is_plain,
    normalized,
    patches,
    prepared,
    scale_sums,
)
from landscape_cli.compute.tangent.products import Workspace
from landscape_cli.compute.tangent.recording import Call


def part_of(layer: Layer, view: Tensor, start: int, stop: int) -> Tensor:
    """The groups (outputs, if there is one group) of a part of ``(sample, group, output, …)``."""
    return view[:, start:stop] if layer.groups > 1 else view[:, :, start:stop]


def part_shape(layer: Layer, start: int, stop: int) -> tuple[int, int]:
    """Groups and outputs a group of a part."""
    return (stop - start, layer.outputs) if layer.groups > 1 else (1, stop - start)


def keep_cotangents(
    layer: Layer,
    flows: Sequence[Tensor],
    target: Tensor,
    start: int,
    stop: int,
) -> None:
    """Write one direction's cotangents of all calls side by side into ``target (sample, group, output, position)``."""
    samples, place = len(target), 0
    for flow in flows:
        view = part_of(layer, cotangents(layer.module, flow, samples), start, stop)
        count = view.shape[3:].numel()
        target[..., place : place + count].view(view.shape).copy_(view)
        place += count


def product_rows(
    layer: Layer,
    kept: Sequence[Tensor],
    flow: Tensor,
    start: int,
    stop: int,
    work: Workspace,
    out: Tensor | None = None,
) -> Tensor:
    """The Jacobian of a part of a product's weights, ``J[i, g, c, o, :] = Σ_s B[i, g, c, o, s] U[i, g, s, :]``.

    Cost: ``2 · sample · direction · output · position · column`` operations, one batched product.

    Args:
        layer: The layer.
        kept: Its prepared inputs, call by call.
        flow: Cotangents ``B (sample, group, direction, output, position)``, contiguous.
        start: First output or group.
        stop: Behind the last.
        work: Where patches live.
        out: Where the rows go: contiguous; work space if None.
    """
    samples, groups, directions, outputs, positions = flow.shape
    cut = cut_patches(layer, kept, samples, start, stop, flow.dtype, work)
    shape = (samples * groups, directions * outputs, layer.columns)
    result = work.take("rows", shape, flow.dtype) if out is None else out.view(shape)
    torch.bmm(flow.view(samples * groups, directions * outputs, positions), cut, out=result)
    return result.view(samples, groups, directions, outputs, layer.columns)


def cut_patches(
    layer: Layer,
    kept: Sequence[Tensor],
    samples: int,
    start: int,
    stop: int,
    dtype: torch.dtype,
    work: Workspace,
    name: str = "patches",
) -> Tensor:
    """Patches of all calls side by side, ``(sample · group, position, column)``."""
    views = [patches(layer.module, part, samples) for part in kept]
    if layer.groups > 1:
        views = [view[:, start:stop] for view in views]
    groups = views[0].shape[1]
    if len(views) == 1 and views[0].dtype == dtype and views[0].is_contiguous():
        return views[0].reshape(samples * groups, -1, layer.columns)
    target = work.take(name, (samples, groups, layer.positions, layer.columns), dtype)
    place = 0
    for view in views:
        count = view.numel() // (samples * groups * layer.columns)
        target[:, :, place : place + count].view(view.shape).copy_(view) if len(views) == 1 else target[
            :, :, place : place + count
        ].copy_(view.reshape(samples, groups, count, layer.columns))
        place += count
    return target.view(samples * groups, layer.positions, layer.columns)


def bias_rows(layer: Layer, flows: Sequence[Tensor], target: Tensor) -> None:
    """Write one direction's bias gradients, ``Σ_s B[s]``, into ``target (sample, group · output)``."""
    for number, flow in enumerate(flows):
        view = cotangents(layer.module, flow, len(target))
        _put(target, view.sum(list(range(3, view.ndim))).flatten(1), first=number == 0)


def scale_rows(layer: Layer, units: Sequence[Tensor], flows: Sequence[Tensor], target: Tensor) -> None:
    """Write one direction's gradients of γ, then β, into ``target (sample, column)``.

    Args:
        layer: The layer.
        units: The normalised inputs ``x̂`` of its calls.
        flows: The cotangents of its calls.
        target: Where to write.
    """
    for call, (unit, flow) in enumerate(zip(units, flows, strict=True)):
        for number, part in enumerate(layer.parameters):
            value = flow * unit if part == "weight" else flow
            place = target[:, number * layer.outputs : (number + 1) * layer.outputs]
            _put(place, scale_sums(layer.module, value, len(target)), first=call == 0)


def _put(target: Tensor, value: Tensor, *, first: bool) -> None:
    target.copy_(value) if first else target.add_(value)


def agrees(
    layer: Layer,
    part: str,
    calls: Sequence[Call],
    flows: Sequence[Tensor],
    truth: Tensor | None,
    work: Workspace,
) -> bool:
    """Whether the fast path's gradient of ``weight`` or ``bias`` on a few samples is autograd's, up to rounding.

    A layer of a derived class is believed only if that gradient is not zero.

    Args:
        layer: The layer.
        part: The parameter.
        calls: Its calls on those samples.
        flows: Cotangents at the calls' outputs, of one direction.
        truth: Autograd's gradient; None means zero.
        work: Work space.
    """
    if not is_plain(layer.module) and (truth is None or not bool(truth.any())):
        return False
    samples = 2
    exact = calls[0].inputs.dtype
    device = calls[0].inputs.device
    if not layer.is_product:
        units = [normalized(layer.module, call.inputs) for call in calls]
        rows = torch.zeros(samples, len(layer.parameters) * layer.outputs, dtype=exact, device=device)
        scale_rows(layer, units, flows, rows)
        number = layer.parameters.index(part)
        found = rows[:, number * layer.outputs : (number + 1) * layer.outputs].sum(0)
        bound = sum(float(f.abs().sum()) for f in flows) / layer.outputs**0.5
        return _near(found, truth, bound)
    total = layer.groups * layer.outputs
    flow = torch.zeros(samples, layer.groups, 1, layer.outputs, layer.positions, dtype=exact, device=device)
    parts = layer.groups if layer.groups > 1 else layer.outputs
    keep_cotangents(layer, flows, flow[:, :, 0], 0, parts)
    if part == "bias":
        return _near(flow.sum((0, 4)).view(total), truth, float(flow.norm()))
    kept = [prepared(layer.module, call.inputs, samples) for call in calls]
    rows = product_rows(layer, kept, flow, 0, parts, work).sum((0, 2)).view(total, layer.columns)
    bound = float(flow.norm()) * sum(float(one.norm()) for one in kept)
    if truth is not None and isinstance(layer.module, CONVOLUTIONS):
        truth = truth.movedim(1, -1)
    return _near(rows, truth, bound)


def _near(found: Tensor, truth: Tensor | None, bound: float) -> bool:
    """Whether two gradients are equal up to rounding, which grows with ``bound``, the size of what was summed."""
    truth = torch.zeros_like(found) if truth is None else truth.reshape(found.shape)
    close, floor = (1e-4, 1e-6) if found.dtype == torch.float32 else (1e-9, 1e-14)
    return float((found - truth).norm()) <= close * float(truth.norm()) + floor * bound
