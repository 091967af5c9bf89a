"""Lines and planes through networks in a notebook (Fort et al. 2020)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from landscape_cli.api.calls import check_count, out_of_inference, settled
from landscape_cli.api.data import Data
from landscape_cli.api.ends import Ends
from landscape_cli.api.networks import Device, Net, trainable
from landscape_cli.compute.choices import BatchNormMode, Precision
from landscape_cli.compute.evaluation import Evaluation
from landscape_cli.compute.evaluation import evaluate as evaluate_on
from landscape_cli.compute.samples import BATCH
from landscape_cli.compute.weights.barrier import POINTS, REFINE, UNIT, Barrier, Span, barriers, grid, measure_on
from landscape_cli.compute.weights.barrier import search as search_along
from landscape_cli.compute.weights.interpolation import LinearPath, prepare
from landscape_cli.compute.weights.plane import Place, extents, through
from landscape_cli.compute.weights.plane_grid import POINTS as PLANE_POINTS
from landscape_cli.compute.weights.plane_grid import axis
from landscape_cli.compute.weights.plane_walk import PlaneWalk
from landscape_cli.errors import UsageError

Array = NDArray[np.float64]
MARGIN = 0.25


@dataclass(frozen=True, eq=False)
class PathBarrier:
    """The line between two networks A (α = 1) and B (α = 0), and its barriers.

    Args:
        error: The barrier in classification error (shares, not percent): ``sup``, ``mid``, ``chord`` and where.
        loss: The barrier in cross-entropy, in nats.
        alphas: α of each point measured, ascending, ``(point,)``.
        errors: The error there.
        losses: The mean loss there, in nats.
        samples: How many samples they are means over.
        batch_norm: What was done with batch-norm statistics; None for a network without.
        own: A and B under their own batch norm, where the path replaced it.
    """

    error: Barrier
    loss: Barrier
    alphas: Array
    errors: Array
    losses: Array
    samples: int
    batch_norm: BatchNormMode | None = None
    own: tuple[Evaluation, Evaluation] | None = None


@dataclass(frozen=True, eq=False)
class PlaneGrid:
    """Error and loss on the plane through three networks; distances on it are distances between weights.

    Args:
        x: Columns, ``(nx,)``, in the units of the weights.
        y: Rows, ``(ny,)``.
        error: Share of wrong answers, ``(ny, nx)``.
        loss: Mean cross-entropy in nats, ``(ny, nx)``.
        places: (x, y) of A (the origin), B (on the x axis) and C.
    """

    x: Array
    y: Array
    error: Array
    loss: Array
    places: tuple[Place, Place, Place]


@out_of_inference
def barrier(
    a: Net,
    b: Net,
    data: Data,
    *,
    network: nn.Module | None = None,
    points: int = POINTS,
    refine: int = REFINE,
    span: Span = UNIT,
    bn: BatchNormMode = "recompute",
    bn_data: Data | None = None,
    batch_size: int = BATCH,
    device: Device | None = None,
    precision: Precision | None = None,
    on_point: Callable[[float, Evaluation], None] = lambda alpha, found: None,
) -> PathBarrier:
    """Error and loss along ``w(α) = α·A + (1−α)·B``, and the barrier in three readings (Fort et al. 2020, section 2).

    ``sup = max_α R(w(α)) − ½(R(A) + R(B))``; ``mid = R(w(½)) − ½(R(A) + R(B))``; ``chord`` the maximum over the
    straight line between the ends' risks.

    Args:
        a: The network at α = 1: a module, or a state dict.
        b: The network at α = 0.
        data: Where the risk is measured; anything that yields ``(inputs, labels)``.
        network: The architecture, if both ends are state dicts. All three are left alone.
        points: Points of the grid from 0 to 1 (½ is always one).
        refine: Rounds of the finer search around each maximum; 0 for none.
        span: From which α to which: the line goes on beyond the two.
        bn: Batch-norm statistics on the line: ``recompute`` them on ``bn_data`` at every α, ``lerp`` them like weights,
            or ``keep`` those of A.
        bn_data: Training data for that, not augmented; 10,000 samples are plenty.
        batch_size: Samples a forward pass; with ``recompute`` part of the estimate.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: ``float32``, ``float64``, ``bf16``, …; None for the network's own.
        on_point: Told α and what was found there, as each point is measured.

    Returns:
        Its ``error.sup`` is what the command ``landscape barrier`` calls ``error_sup``, and so on. A risk that is NaN
        on the way makes ``sup`` and ``chord`` NaN, and ``sup_alpha`` says where.

    Cost: a forward pass over the data (and over ``bn_data``) a point; about ``points + 4·refine`` points. Memory of
    three networks.

    Raises:
        CheckpointError: If an end does not fit the network (the tensor is named), or holds NaN.
        DataError: If there are no samples, or a label is no class of the network's.
        NetworkError: If the network gives no logits ``(sample, class)``.
        UsageError: If there is no module, the two modules are not of one architecture, ``bn_data`` is missing, or a
            setting means nothing.
    """
    check_count("points", points, 2)
    check_count("refine", refine, 0)
    try:
        grid(points, span)
    except (TypeError, ValueError) as error:
        raise UsageError(f"points={points}, span={span}: {error}") from None
    made = Ends.of(network, (a, b), data, bn, bn_data, batch_size, device, precision)
    with settled(made.where):
        ends = [prepare(made.network, state, who) for state, who in zip(made.states, made.names, strict=True)]
        own = made.own()
        path = LinearPath(made.network, *ends, batch_norm=bn, statistics=made.statistics, batch=batch_size)
        measure = measure_on(path, {"data": made.samples}, batch=batch_size)
        found = []
        for point in search_along(measure, points=points, refine=refine, span=span):
            found.append(point)
            on_point(point.alpha, point.results["data"])
    found.sort(key=lambda point: point.alpha)
    read = barriers(found)["data"]
    alphas, errors, losses = (
        np.asarray(values)
        for values in zip(*((p.alpha, p.results["data"].error, p.results["data"].loss) for p in found), strict=True)
    )
    return PathBarrier(read["error"], read["loss"], alphas, errors, losses, len(made.samples), path.mode, own)


@out_of_inference
def plane(
    a: Net,
    b: Net,
    c: Net,
    data: Data,
    *,
    network: nn.Module | None = None,
    grid: int | tuple[int, int] = PLANE_POINTS,
    margin: float = MARGIN,
    bn: BatchNormMode = "recompute",
    bn_data: Data | None = None,
    batch_size: int = BATCH,
    device: Device | None = None,
    precision: Precision | None = None,
) -> PlaneGrid:
    """Error and loss on the plane through three networks (Garipov et al. 2018; Fort et al. 2020, Fig. 5).

    The axes are orthonormal in weight space: A is the origin, B lies on the first axis, C above it.

    Args:
        a: The network at the origin: a module, or a state dict.
        b: The second.
        c: The third.
        data: Where the risk is measured; anything that yields ``(inputs, labels)``.
        network: The architecture, if all are state dicts.
        grid: Points along each side, or ``(columns, rows)``.
        margin: Room around the three, as a share of the larger side.
        bn: Batch-norm statistics, as for :func:`barrier`.
        bn_data: Training data to recompute them on.
        batch_size: Samples a forward pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.

    Cost: a forward pass over the data (and over ``bn_data``) a point: ``columns · rows`` of them. Memory of four
    networks.

    Raises:
        CheckpointError: If a network does not fit, or holds NaN.
        DataError: If there are no samples, or a label is no class of the network's.
        NetworkError: If the network gives no logits ``(sample, class)``, or nothing of it trains.
        UsageError: If the three lie on one line, are not of one architecture, or a setting means nothing.
    """
    columns, rows = grid if isinstance(grid, tuple | list) and len(grid) == 2 else (grid, grid)
    check_count("grid", columns, 2), check_count("grid", rows, 2)
    if not 0 <= margin < math.inf:
        raise UsageError(f"margin={margin}: the room around the three is a share of their extent, 0 or more")
    made = Ends.of(network, (a, b, c), data, bn, bn_data, batch_size, device, precision)
    first, second, third = ({n: t.detach().cpu() for n, t in state.items()} for state in made.states)
    spanned = through(first, second, third, trainable(made.network))
    (left, right), (low, high) = extents(spanned.places, margin)
    x, y = axis(left, right, columns - 1), axis(low, high, rows - 1)
    error, loss = np.empty((rows, columns)), np.empty((rows, columns))
    with settled(made.where):
        walk = PlaneWalk(made.network, spanned, batch_norm=bn, statistics=made.statistics, batch=batch_size)
        for row in range(rows):
            for column in range(columns):
                there = walk.go(float(x[column]), float(y[row]))
                found = evaluate_on(there, made.samples, batch=batch_size)
                error[row, column], loss[row, column] = found.error, found.loss
    return PlaneGrid(x, y, error, loss, spanned.places)
