"""Kernels of layers with few positions and many weights, without their Jacobian.

With patches U and cotangents B of one output position p each, ``J_ik = Σ_p B_ik[p] ⊗ U_i[p]``, so that

    ⟨J_ik, J_jl⟩ = Σ_pq (U_i U_jᵀ)[p, q] · (B_ik B_jlᵀ)[p, q]

(Novak et al. 2022, "Fast finite width neural tangent kernel", section 3.4, structured derivatives). Late wide layers
have far fewer pairs of positions than weights.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from landscape_cli.compute.tangent.layers import Layer
from landscape_cli.compute.tangent.products import Gram, Workspace

ROWS = 512  # (sample, position) rows of a tile: enough for products to run at full speed
NUMBERS = 1 << 23  # of an intermediate tile: more than this leaves the caches


def is_cheaper(layer: Layer, *, samples: int, directions: int, parts: int, half: bool) -> bool:
    """Whether the positions' form takes fewer operations than the Jacobian's, counted for a pair of samples.

    Jacobian: ``parts · directions · D O``, and forming it ``2 · directions · S D O / samples``. Positions: ``S² D`` for
    inputs, ``directions · S² O`` and, where classes are kept apart, ``directions² · S O`` for cotangents. The second
    kind runs in smaller products: its operations count more (measured: 1.3 in float32, 2 in bfloat16).

    Args:
        layer: A product with one group.
        samples: How many.
        directions: Cotangents a sample.
        parts: Rows a sample has in the kernel.
        half: Whether products are in bfloat16.
    """
    s, d, o = layer.positions, layer.columns, layer.outputs
    jacobian = parts * directions * d * o + 2 * directions * s * d * o / samples
    positions = s * s * d + directions * s * s * o
    positions += 3 * directions * directions * s * o if parts > 1 else 4 * s * s
    return layer.groups == 1 and positions * (2.0 if half else 1.3) < jacobian


def add_positions(
    gram: Gram,
    cut: Callable[[int, int, str], Tensor],
    flow: Tensor,
    parts: int,
    work: Workspace,
) -> None:
    """Add a layer's kernel, tile of samples by tile of samples.

    Args:
        gram: The sum.
        cut: ``cut(start, stop, name)`` gives patches ``(sample, position, column)`` in work space of that name.
        flow: Cotangents ``(sample, direction, output, position)``.
        parts: Rows a sample has in the kernel: all directions, or one for their sum.
        work: Work space.
    """
    samples, directions, outputs, positions = flow.shape
    tall = max(1, min(samples, ROWS // positions))
    row = directions * outputs if parts > 1 else 1
    wide = max(1, min(samples, NUMBERS // max(1, tall * positions * max(row, positions))))
    values = gram.values.view(samples, parts, samples, parts)
    for start in range(0, samples, tall):
        stop = min(start + tall, samples)
        left = cut(start, stop, "left patches").flatten(0, 1)
        own = _positions_first(flow[start:stop], "left flow", work, apart=parts > 1)
        for first in range(start, samples, wide):
            last = min(first + wide, samples)
            right = cut(first, last, "right patches").flatten(0, 1)
            inner = work.take("positions", (len(left), len(right)), flow.dtype)
            torch.mm(left, right.T, out=inner)
            target = values[start:stop, :, first:last]
            if parts > 1:
                _add_apart(target, inner, own, flow[first:last], work)
            else:
                other = _positions_first(flow[first:last], "right flow", work, apart=False)
                outer = work.take("outer positions", (len(left), len(right)), flow.dtype)
                torch.mm(own, other.T, out=outer)
                product = inner.to(target.dtype).mul_(outer)
                target[:, 0, :, 0] += product.view(stop - start, positions, last - first, positions).sum((1, 3))


def _positions_first(flow: Tensor, name: str, work: Workspace, *, apart: bool) -> Tensor:
    """Cotangents as ``(sample, direction, position · output)``, or ``(sample · position, direction · output)``."""
    samples, directions, outputs, positions = flow.shape
    if apart:
        target = work.take(name, (samples, directions, positions, outputs), flow.dtype)
        target.copy_(flow.transpose(2, 3))
        return target.flatten(2)
    target = work.take(name, (samples, positions, directions, outputs), flow.dtype)
    target.copy_(flow.permute(0, 3, 1, 2))
    return target.view(samples * positions, directions * outputs)


def _add_apart(target: Tensor, inner: Tensor, own: Tensor, flow: Tensor, work: Workspace) -> None:
    """Add to ``(sample i, k, sample j, l)``: ``T[j, l, i, p] = Σ_q (U_i U_jᵀ)[p, q] B_jl[q]``, then ``B_ik · T``."""
    many, directions, outputs, positions = flow.shape
    few = len(inner) // positions
    moved = work.take("moved", (many, directions, len(inner), outputs), flow.dtype)
    for j in range(many):
        block = inner[:, j * positions : (j + 1) * positions].expand(directions, -1, -1)
        torch.bmm(block, flow[j].transpose(1, 2), out=moved[j])
    against = moved.view(many * directions, few, positions * outputs).permute(1, 2, 0)
    found = work.take("found", (few, directions, many * directions), flow.dtype)
    torch.bmm(own, against, out=found)
    target += found.view(few, directions, many, directions)
