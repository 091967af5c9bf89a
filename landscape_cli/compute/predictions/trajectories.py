"""Training as a curve through prediction space, compared at equal progress (Mao et al. 2023, Eqs. 4 and 5).

A run's checkpoints are brought to a common index, their progress or 1 − error: at each value t of a uniform grid in
(0, 1] stands the model between the two checkpoints around the run's first crossing of t,

    √P_t = [sin((1−f)θ) √P_before + sin(fθ) √P_after] / sin θ,   f = (t − t_before) / (t_after − t_before),

sample by sample (Eq. 3), θ the angle between the two. The distance of two trajectories is Eq. 5,
``d(τ_u, τ_v) = ∫ d_B(P_u(t), P_v(t)) dt``, by the trapezoid rule over the part of the grid where both have a value.

A run has no value before its first checkpoint's index nor beyond the largest that it reaches: no checkpoint is taken
for more than it is. All sums over samples are plain sums, so blocks of samples can be added up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.errors import DataError

POINTS = 100
PAIRS_AT_A_TIME = 1 << 22  # affinities of pairs in memory where no compiled loop serves


def uniform_grid(points: int = POINTS) -> Float64[np.ndarray, " time"]:
    """Values ``1/points, 2/points, …, 1`` of the index.

    >>> uniform_grid(4).tolist()
    [0.25, 0.5, 0.75, 1.0]
    """
    return np.arange(1, points + 1, dtype=np.float64) / points


@dataclass(frozen=True, eq=False)
class Reindexing:
    """Where every run is at each value of the index.

    Args:
        grid: The values.
        before: The last checkpoint before the run first reaches the value, as a position among all models; −1 where
            the run has no value.
        after: The checkpoint that reaches it.
        fraction: Where between the two, in [0, 1]; NaN where there is no value.
        first: The first place on the grid where a run has a value.
        last: The last one; before the first if there is none at all.
        backwards: How many of a run's checkpoints lie below an earlier one.
    """

    grid: Float64[np.ndarray, " time"]
    before: Int64[np.ndarray, "run time"]
    after: Int64[np.ndarray, "run time"]
    fraction: Float64[np.ndarray, "run time"]
    first: Int64[np.ndarray, " run"]
    last: Int64[np.ndarray, " run"]
    backwards: Int64[np.ndarray, " run"]

    @property
    def present(self) -> Bool[np.ndarray, "run time"]:
        """Where runs have a value."""
        return self.before >= 0

    @property
    def spacing(self) -> float:
        """Between two values of the grid."""
        return 1 / len(self.grid) if len(self.grid) < 2 else float(self.grid[1] - self.grid[0])

    def models(self) -> Int64[np.ndarray, " model"]:
        """The checkpoints that stand next to some value, ascending: only those are needed."""
        return np.unique(np.concatenate([self.before[self.present], self.after[self.present]]))

    def among(self, models: Int64[np.ndarray, " model"]) -> "Reindexing":
        """The same with checkpoints as positions among ``models`` (ascending), as if only those had been read."""
        found = {name: np.searchsorted(models, getattr(self, name)) for name in ("before", "after")}
        return replace(self, **{name: np.where(self.present, places, -1) for name, places in found.items()})

    def part(self, start: int, stop: int) -> "Reindexing":
        """Some values of the grid, in a row. What is summed up over all parts is what the whole gives."""
        times = slice(start, stop)
        whole = {name: getattr(self, name)[:, times] for name in ("before", "after", "fraction")}
        return replace(self, grid=self.grid[times], first=self.first - start, last=self.last - start, **whole)

    def steps(self, values: Float64[np.ndarray, " model"]) -> Float64[np.ndarray, "run time"]:
        """A number of the checkpoints (step, epoch) interpolated like the models are; NaN where there is no value."""
        before, after = values[self.before], values[self.after]
        return np.where(self.present, before + self.fraction * (after - before), math.nan)


def reindex(
    index: Float64[np.ndarray, " model"],
    runs: Sequence[Int64[np.ndarray, " _"]],
    grid: Float64[np.ndarray, " time"] | None = None,
) -> Reindexing:
    """Find each run's first crossing of every value of the index.

    The index need not rise all the time: a value counts as reached when it is first reached, and what happens below
    the largest so far changes nothing but the checkpoint before. Cost: O(models + runs · times).

    Args:
        index: Progress, or 1 − error, of every model.
        runs: The models of each run, in the order of training.
        grid: Ascending, evenly spaced values in (0, 1]; :func:`uniform_grid` by default.

    Raises:
        DataError: If a run has fewer than two checkpoints, or an index is no number.
    """
    grid = uniform_grid() if grid is None else grid
    before = np.full((len(runs), len(grid)), -1, dtype=np.int64)
    after, fraction = before.copy(), np.full(before.shape, math.nan)
    backwards = np.zeros(len(runs), dtype=np.int64)
    first, last = np.zeros(len(runs), dtype=np.int64), np.full(len(runs), -1, dtype=np.int64)
    for number, members in enumerate(runs):
        if len(members) < 2:
            raise DataError(f"run {number} has {len(members)} checkpoint, and a trajectory takes two")
        along = index[members]
        if not np.isfinite(along).all():
            raise DataError(f"the index of a checkpoint of run {number} is no number")
        record = np.maximum.accumulate(along)
        backwards[number] = int((along[1:] < record[:-1]).sum())
        # The record is ascending, so its first place not below t is the first checkpoint that reaches t.
        reached = np.searchsorted(record, grid, side="left")
        there = np.flatnonzero((reached < len(along)) & (grid >= along[0]))
        if not len(there):
            continue
        first[number], last[number] = there[0], there[-1]
        two = reached[there]
        one = np.maximum(two - 1, 0)
        gap = np.where(two > 0, along[two] - along[one], 1.0)
        before[number, there], after[number, there] = members[one], members[two]
        fraction[number, there] = np.where(two > 0, (grid[there] - along[one]) / gap, 0.0)
    return Reindexing(grid, before, after, fraction, first, last, backwards)


def interpolated(
    log_probs: Float[Tensor, "model sample class"], reindexing: Reindexing, time: int
) -> Float64[Tensor, "run sample class"]:
    """``√p`` of every run's model at one value of the index; NaN for runs that have none.

    Cost: O(runs · samples · classes), and float64 memory for three times the result.
    """
    here = np.flatnonzero(reindexing.present[:, time])
    out = torch.full((len(reindexing.before), *log_probs.shape[1:]), math.nan, dtype=torch.float64)
    out = out.to(log_probs.device)
    ends = (reindexing.before[here, time], reindexing.after[here, time])
    one, two = (torch.log_softmax(log_probs[torch.from_numpy(end)].double(), -1).div(2).exp() for end in ends)
    part = torch.from_numpy(reindexing.fraction[here, time]).to(out.device)[:, None, None]
    # The chord keeps small angles exact where an arc cosine would not.
    angle = 2 * torch.asin(((two - one).norm(dim=-1, keepdim=True) / 2).clamp(max=1))
    whole = torch.sinc(angle / math.pi)
    left = (1 - part) * torch.sinc((1 - part) * angle / math.pi) / whole
    right = part * torch.sinc(part * angle / math.pi) / whole
    out[torch.from_numpy(here)] = left * one + right * two
    return out


def distance_sums(
    log_probs: Float[Tensor, "model sample class"], reindexing: Reindexing, *, kind: DistanceName = "bhattacharyya"
) -> Float64[np.ndarray, "run run"]:
    """Weighted sums of distances between runs, over samples and values of the index; :func:`distances_of` ends them.

    The weights are those of the trapezoid rule on the values that two runs share. Blocks of samples, and parts of the
    grid, add up. Symmetric to the bit, with a zero diagonal. Cost: ``½ runs² · times · samples · classes``
    multiplications; interpolated models are not kept.

    Args:
        log_probs: Of the models that ``reindexing`` counts.
        reindexing: Where runs are.
        kind: Which distance.
    """
    kernels = _kernels(log_probs)
    if kind == "bhattacharyya" and kernels is not None:
        order = ("before", "after", "fraction", "first", "last")
        found = kernels.distance_sums(log_probs.numpy(), *(getattr(reindexing, name) for name in order))
        return np.asarray(found + found.T)
    total = np.zeros((len(reindexing.before),) * 2)
    for time in range(len(reindexing.grid)):
        weights = _weights(reindexing, time)
        taken = np.flatnonzero(weights.any(axis=0))
        if len(taken):
            pairs = np.ix_(taken, taken)
            roots = interpolated(log_probs, reindexing, time)[torch.from_numpy(taken)]
            # A pair without weight may be infinitely far apart.
            between = np.where(weights[pairs] > 0, _between(roots, kind), 0.0)
            total[pairs] += weights[pairs] * between
    return total


def _weights(reindexing: Reindexing, time: int) -> Float64[np.ndarray, "run run"]:
    """The trapezoid rule's weight of one value of the index for every pair, the spacing left out."""
    begin = np.maximum.outer(reindexing.first, reindexing.first)
    end = np.minimum.outer(reindexing.last, reindexing.last)
    weights = np.asarray((begin <= time) & (time <= end) & (begin < end), dtype=np.float64)
    weights[(begin == time) | (end == time)] *= 0.5
    np.fill_diagonal(weights, 0.0)
    return weights


def _between(roots: Float64[Tensor, "run sample class"], kind: DistanceName) -> Float64[np.ndarray, "run run"]:
    """Sums over samples of the distances between models given as √p."""
    if kind != "bhattacharyya":
        from landscape_cli.compute.predictions import distances

        return np.asarray(distances.distance_sums(2 * roots.log(), None, kind=kind).cpu())
    total = torch.zeros((len(roots),) * 2, dtype=torch.float64, device=roots.device)
    step = max(1, PAIRS_AT_A_TIME // len(roots) ** 2)
    for start in range(0, roots.shape[1], step):
        by_sample = roots[:, start : start + step].transpose(0, 1)
        total -= (by_sample @ by_sample.transpose(1, 2)).log().sum(dim=0)
    found = total.triu(diagonal=1)
    return np.asarray((found + found.T).cpu())


def distances_of(
    sums: Float64[np.ndarray, "run run"], reindexing: Reindexing, samples: int, *, mean: bool = False
) -> Float64[np.ndarray, "run run"]:
    """Distances between trajectories from :func:`distance_sums`: Eq. 5, or the mean over the index both have.

    ``Σ h w d`` is the integral over ``[max(first), min(last)]``; two runs that share little of the index are close by
    that alone, which the mean (the integral over the length of what it is over) takes out. With runs that all go from
    0 to 1 the two are equal.

    Returns:
        The matrix, NaN for pairs that share fewer than two values of the index. Rounding never makes it negative.
    """
    shared = np.minimum.outer(reindexing.last, reindexing.last) - np.maximum.outer(reindexing.first, reindexing.first)
    found = np.maximum(sums, 0.0) / samples * (1.0 if mean else reindexing.spacing)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = found / np.maximum(shared, 1) if mean else found
    found = np.where(shared >= 1, found, math.nan)
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


def trajectory_distances(
    log_probs: Float[Tensor, "model sample class"],
    reindexing: Reindexing,
    *,
    kind: DistanceName = "bhattacharyya",
    mean: bool = False,
) -> Float64[np.ndarray, "run run"]:
    """Eq. 5 for all pairs of runs; see :func:`distance_sums` and :func:`distances_of`."""
    sums = distance_sums(log_probs, reindexing, kind=kind)
    return distances_of(sums, reindexing, log_probs.shape[1], mean=mean)


@dataclass(frozen=True, eq=False)
class Following:
    """What interpolated models say of themselves, on a block of samples; NaN where a run has no value.

    Args:
        ignorance: Affinity ``Σ_c √(p/C)`` to ignorance.
        truth: Affinity to the label, ``√p(y)``.
        wrong: How many samples are classified wrongly.
        width: Sum over samples of the Bhattacharyya distance to the group's mean model (arithmetic mean of the
            probabilities at this value of the index); NaN where fewer than two runs of the group have a value.
        members: How many runs of the group have a value.
    """

    ignorance: Float64[np.ndarray, "run time sample"]
    truth: Float64[np.ndarray, "run time sample"]
    wrong: Float64[np.ndarray, "run time"]
    width: Float64[np.ndarray, "run time"]
    members: Int64[np.ndarray, "run time"]


def follow(
    log_probs: Float[Tensor, "model sample class"],
    labels: Int64[Tensor, " sample"],
    reindexing: Reindexing,
    groups: Sequence[Int64[np.ndarray, " _"]] | None = None,
) -> Following:
    """Follow every run along the index.

    Args:
        log_probs: Of the models that ``reindexing`` counts.
        labels: The true classes.
        reindexing: Where runs are.
        groups: Runs of one configuration each, for tube widths; by default every run is alone.

    Returns:
        Its ``wrong`` and ``width`` add up over blocks of samples. Cost: O(runs · times · samples · classes).
    """
    groups = [np.array([run]) for run in range(len(reindexing.before))] if groups is None else groups
    members = np.zeros(reindexing.before.shape, dtype=np.int64)
    for group in groups:
        members[group] = reindexing.present[group].sum(axis=0)
    kernels = _kernels(log_probs)
    if kernels is not None:
        order = ("before", "after", "fraction")
        ends = np.cumsum([0, *map(len, groups)])
        found = kernels.follow(
            log_probs.numpy(),
            labels.numpy(),
            *(getattr(reindexing, name) for name in order),
            np.concatenate(groups).astype(np.int64),
            ends.astype(np.int64),
        )
    else:
        found = _follow(log_probs, labels, reindexing, groups)
    ignorance, truth, wrong, width = found
    wrong = np.where(reindexing.present, wrong, math.nan)
    width = np.where(reindexing.present & (members > 1), np.maximum(width, 0.0), math.nan)
    return Following(ignorance, truth, wrong, width, np.where(reindexing.present, members, 0))


def _follow(
    log_probs: Float[Tensor, "model sample class"],
    labels: Int64[Tensor, " sample"],
    reindexing: Reindexing,
    groups: Sequence[Int64[np.ndarray, " _"]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same with whole arrays, on any device."""
    shape = reindexing.before.shape
    ignorance, truth = (np.full((*shape, len(labels)), math.nan) for _ in range(2))
    wrong, width = np.zeros(shape), np.zeros(shape)
    for time in range(shape[1]):
        roots = interpolated(log_probs, reindexing, time)
        ignorance[:, time] = (roots.sum(dim=-1) / math.sqrt(roots.shape[-1])).cpu().numpy()
        own = labels.to(roots.device)[None, :, None].expand(len(roots), -1, 1)
        truth[:, time] = roots.gather(2, own)[..., 0].cpu().numpy()
        wrong[:, time] = (roots.gather(2, own)[..., 0] < roots.amax(dim=-1)).sum(dim=-1).cpu().numpy()
        for group in groups:
            there = roots[torch.from_numpy(group[reindexing.present[group, time]])]
            if len(there) > 1:
                mean = there.square().mean(dim=0).sqrt()
                apart = -(there * mean).sum(dim=-1).log().sum(dim=-1)
                width[group[reindexing.present[group, time]], time] = apart.cpu().numpy()
    return ignorance, truth, wrong, width


def _kernels(log_probs: Tensor) -> Any:
    """The compiled loops, where there are any for this device and interpreter."""
    if log_probs.device.type != "cpu":
        return None
    try:
        from landscape_cli.compute.predictions import trajectory_kernels
    except ImportError:
        return None
    return trajectory_kernels
