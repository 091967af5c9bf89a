"""Weight space in a notebook: barriers, planes, distances (Fort et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from landscape_cli.api.data import Data, check_batch_size, check_outputs, samples_on
from landscape_cli.api.networks import Net, architecture, state_of, walker, where_of
from landscape_cli.compute.batchnorm import batch_norms
from landscape_cli.compute.choices import BatchNormMode, Precision
from landscape_cli.compute.device import Placement, math_mode
from landscape_cli.compute.evaluation import Evaluation
from landscape_cli.compute.evaluation import evaluate as evaluate_on
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.weights.barrier import POINTS, REFINE, UNIT, Barrier, Span, barriers, grid, measure_on
from landscape_cli.compute.weights.barrier import search as search_along
from landscape_cli.compute.weights.directions import trained_names
from landscape_cli.compute.weights.distances import WeightDistance, layer_distances
from landscape_cli.compute.weights.distances import weight_distance as distance_over
from landscape_cli.compute.weights.interpolation import LinearPath, check_state, prepare
from landscape_cli.compute.weights.plane import Place, extents, through
from landscape_cli.compute.weights.plane_grid import POINTS as PLANE_POINTS
from landscape_cli.compute.weights.plane_grid import axis
from landscape_cli.compute.weights.plane_walk import PlaneWalk
from landscape_cli.compute.weights.relu_patterns import count, differing, patterns
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


@dataclass(frozen=True)
class ReluDistance:
    """In how many (unit, input) entries the on/off patterns of two networks differ.

    Args:
        distance: Share of the entries that are on in one and off in the other, 0 to 1.
        on_a: Share that is on in the first.
        on_b: In the second.
        entries: How many entries were compared.
        layers: The distance at each place of the network.
    """

    distance: float
    on_a: float
    on_b: float
    entries: int
    layers: dict[str, float] = field(default_factory=dict)


def evaluate(
    network: nn.Module,
    data: Data,
    *,
    batch_size: int = BATCH,
    device: str | None = None,
    precision: Precision | None = None,
) -> Evaluation:
    """Mean cross-entropy in nats and error of a network on data, in evaluation mode.

    Args:
        network: Gives logits ``(sample, class)``; it is left alone.
        data: Anything that yields ``(inputs, labels)``.
        batch_size: Samples a forward pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: ``float32``, ``float64``, …; None for the network's own.

    Cost: one forward pass over the data; memory of a copy of the network, and of the data.

    Raises:
        DataError: If there are no samples, or a label is no class of the network's.
        NetworkError: If it gives no logits, or NaN.
    """
    where = where_of(network, device, precision)
    copied, samples = walker(network, where), samples_on(data, where)
    check_outputs(copied, samples)
    with math_mode(where):
        return evaluate_on(copied, samples, batch=check_batch_size(batch_size))


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
    device: str | None = None,
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
        UsageError: If there is no module, ``bn_data`` is missing, or a setting means nothing.
    """
    try:
        grid(points, span)
    except ValueError as error:
        raise UsageError(f"points={points}, span={span}: {error}") from None
    made = _Made.of(network, (a, b), data, bn, bn_data, batch_size, device, precision)
    with math_mode(made.where):
        ends = [prepare(made.network, state, who) for state, who in zip(made.states, made.names, strict=True)]
        own = made.own(bn)
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
    device: str | None = None,
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
        NetworkError: If the network gives no logits ``(sample, class)``.
        UsageError: If the three lie on one line, or a setting means nothing.
    """
    columns, rows = (grid, grid) if isinstance(grid, int) else grid
    if min(columns, rows) < 2:
        raise UsageError(f"grid={grid}: a grid has two points or more along each side")
    made = _Made.of(network, (a, b, c), data, bn, bn_data, batch_size, device, precision)
    first, second, third = ({n: t.detach().cpu() for n, t in state.items()} for state in made.states)
    spanned = through(first, second, third, trained_names(made.network))
    (left, right), (low, high) = extents(spanned.places, margin)
    x, y = axis(left, right, columns - 1), axis(low, high, rows - 1)
    error, loss = np.empty((rows, columns)), np.empty((rows, columns))
    with math_mode(made.where):
        walk = PlaneWalk(made.network, spanned, batch_norm=bn, statistics=made.statistics, batch=batch_size)
        for row in range(rows):
            for column in range(columns):
                there = walk.go(float(x[column]), float(y[row]))
                found = evaluate_on(there, made.samples, batch=batch_size)
                error[row, column], loss[row, column] = found.error, found.loss
    return PlaneGrid(x, y, error, loss, spanned.places)


@overload
def weight_distance(
    a: Net, b: Net, *, network: nn.Module | None = None, by_layer: Literal[False] = False
) -> WeightDistance: ...
@overload
def weight_distance(
    a: Net, b: Net, *, network: nn.Module | None = None, by_layer: Literal[True]
) -> dict[str, WeightDistance]: ...
def weight_distance(
    a: Net, b: Net, *, network: nn.Module | None = None, by_layer: bool = False
) -> WeightDistance | dict[str, WeightDistance]:
    """``‖w − w'‖₂`` over the trainable weights, relative to ``‖w‖₂``, and the cosine (Fort et al. 2020, section 3).

    Args:
        a: w: a module, or a state dict.
        b: w'.
        network: The architecture, if both are state dicts: it says which tensors train.
        by_layer: A distance for each layer instead; their squares add up to the whole's.

    Cost: one pass over the weights, summed in float64.

    Raises:
        CheckpointError: If a side does not fit the network (the tensor is named), or holds NaN.
        UsageError: If there is no module.
    """
    module = architecture(network, a, b)
    states = _states((a, b), module)
    names = trained_names(module)
    one, two = ({name: tensor.cpu() for name, tensor in state.items()} for state in states)
    return layer_distances(one, two, names) if by_layer else distance_over(one, two, names)


def relu_distance(
    a: Net,
    b: Net,
    data: Data,
    *,
    network: nn.Module | None = None,
    batch_size: int = BATCH,
    device: str | None = None,
    precision: Precision | None = None,
) -> ReluDistance:
    """The share of (unit, input) entries whose ReLU is on in one network and off in the other (Fort et al. 2020).

    ``#{(u, x): [z_u(x; w) > 0] ≠ [z_u(x; w') > 0]} / #{(u, x)}``, over all units that act like ReLUs, wherever the
    network calls them.

    Args:
        a: One network: a module, or a state dict.
        b: The other, of the same architecture.
        data: The inputs; anything that yields ``(inputs, labels)``.
        network: The architecture, if both are state dicts.
        batch_size: Samples a forward pass.
        device: ``auto``, ``cpu``, ``cuda``, …; None for where the network is.
        precision: None for the network's own.

    Cost: a forward pass of each; memory of one batch's patterns, at a bit an entry.

    Raises:
        CheckpointError: If a side does not fit the network, or holds NaN.
        DataError: If there are no samples.
        NetworkError: If the network has no ReLU-like unit, or gives no logits.
    """
    made = _Made.of(network, (a, b), data, "keep", None, batch_size, device, precision)
    ends = [prepare(made.network, state, who).tensors for state, who in zip(made.states, made.names, strict=True)]
    apart: dict[str, int] = {}
    sizes: dict[str, int] = {}
    on = [0, 0]
    with math_mode(made.where), torch.no_grad():
        for x, _ in made.samples.batches(batch_size):
            seen = []
            for side, tensors in enumerate(ends):
                made.network.load_state_dict(tensors)
                seen.append(patterns(made.network, x)[1])
                on[side] += sum(count(one.bits) for one in seen[side].values())
            for place, one in seen[0].items():
                apart[place] = apart.get(place, 0) + differing(one, seen[1][place])
                sizes[place] = sizes.get(place, 0) + one.entries
    whole = sum(sizes.values())
    layers = {place: apart[place] / size for place, size in sizes.items()}
    return ReluDistance(sum(apart.values()) / whole, on[0] / whole, on[1] / whole, whole, layers)


@dataclass(frozen=True, eq=False)
class _Made:
    """Ends of a path, a network to carry them and the samples, checked and in their place."""

    network: nn.Module
    states: list[dict[str, torch.Tensor]]
    names: tuple[str, ...]
    where: Placement
    samples: Samples
    statistics: Samples | None
    batch_size: int

    @classmethod
    def of(
        cls,
        network: nn.Module | None,
        ends: tuple[Net, ...],
        data: Data,
        bn: BatchNormMode,
        bn_data: Data | None,
        batch_size: int,
        device: str | None,
        precision: Precision | None,
    ) -> "_Made":
        module = architecture(network, *ends)
        states = _states(ends, module)
        where = where_of(module, device, precision)
        carrier = walker(module, where)
        samples = samples_on(data, where)
        check_batch_size(batch_size)
        for state, who in zip(states, _names(len(ends)), strict=True):
            carrier.load_state_dict(state)
            check_outputs(carrier, samples, who=who)
        statistics = None
        if bn == "recompute" and batch_norms(carrier):
            if bn_data is None:
                raise UsageError(
                    "the network has batch norm, whose statistics are recomputed from training data",
                    "give it: bn_data=TRAIN_LOADER (not augmented); or bn='lerp', bn='keep'",
                )
            statistics = samples_on(bn_data, where)
        return cls(carrier, states, _names(len(ends)), where, samples, statistics, batch_size)

    def own(self, bn: BatchNormMode) -> tuple[Evaluation, Evaluation] | None:
        """What the ends do under their own batch norm, where a path replaces it."""
        if self.statistics is None or bn != "recompute":
            return None
        found = []
        for state in self.states[:2]:
            self.network.load_state_dict(state)
            found.append(evaluate_on(self.network, self.samples, batch=self.batch_size))
        return found[0], found[1]


def _names(ends: int) -> tuple[str, ...]:
    return ("the first network", "the second network", "the third network")[:ends]


def _states(ends: tuple[Net, ...], module: nn.Module) -> list[dict[str, torch.Tensor]]:
    """The ends' states, each checked against the architecture."""
    found = [state_of(one, who) for one, who in zip(ends, _names(len(ends)), strict=True)]
    for state, who in zip(found, _names(len(ends)), strict=True):
        check_state(module.state_dict(), state, who)
    return found
