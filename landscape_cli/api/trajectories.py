"""Runs as curves through prediction space, in a notebook (Mao et al. 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index as whole_number

import numpy as np
import torch
from jaxtyping import Float64, Int64

from landscape_cli.api.answers import Labels
from landscape_cli.api.calls import check_choice, check_count
from landscape_cli.api.predictions import Given, models_of, progress
from landscape_cli.compute.predictions.choices import DistanceName, IndexName
from landscape_cli.compute.predictions.trajectories import POINTS, reindex, uniform_grid
from landscape_cli.compute.predictions.trajectories import trajectory_distances as distances_along
from landscape_cli.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class TrajectoryDistances:
    """Runs as curves through prediction space, and how far they are apart.

    Args:
        distances: Between runs, ``(run, run)``: symmetric, zero diagonal, nats.
        grid: The values of the index at which they are compared, ``(time,)``.
        first: The first value that each run has, ``(run,)``; NaN for none.
        last: The last one.
        backwards: How many checkpoints of each run lie below an earlier one.
    """

    distances: Float64[np.ndarray, "run run"]
    grid: Float64[np.ndarray, " time"]
    first: Float64[np.ndarray, " run"]
    last: Float64[np.ndarray, " run"]
    backwards: Int64[np.ndarray, " run"]


def trajectory_distances(
    predictions: Given,
    runs: Sequence[Sequence[int]],
    labels: Labels | None = None,
    *,
    index: IndexName = "progress",
    points: int = POINTS,
    mean: bool = False,
    distance: DistanceName = "bhattacharyya",
    label_smoothing: float = 0.0,
) -> TrajectoryDistances:
    """``d(τ_u, τ_v) = ∫₀¹ d_B(P_u(t), P_v(t)) dt``: runs compared at equal progress t (Mao et al. 2023, Eq. 5).

    Between the two checkpoints around its first crossing of t, a run is on the geodesic between them.

    Args:
        predictions: What :func:`predict` gave of the checkpoints of all runs, or ``(model, sample, class)``.
        runs: The places of each run's checkpoints among the models, in the order of training, as in
            ``[range(9), range(9, 18)]``.
        labels: The true classes, for a tensor.
        index: Compare at equal ``progress``, or at equal 1 − ``error``.
        points: Values of the index, evenly spaced in (0, 1].
        mean: The mean over the range that both runs have, in place of the integral.
        distance: Between two models.
        label_smoothing: Of the truth that progress is towards.

    Returns:
        What the command ``trajectories`` writes, without its points.

    Cost: that of :func:`progress`, then ``½ runs² · points · samples · classes`` multiplications.

    Raises:
        DataError: If a run has fewer than two checkpoints, two share no range of the index, or labels are missing.
        UsageError: If there are fewer than two runs, or a setting means nothing.
    """
    check_choice("index", index, IndexName)
    check_choice("distance", distance, DistanceName)
    check_count("points", points, 2)
    log_probs = models_of(predictions).cpu()
    measured = progress(predictions, labels, label_smoothing=label_smoothing)
    members = _members(runs, len(log_probs))
    along = measured.progress if index == "progress" else 1 - measured.error
    reindexing = reindex(np.asarray(along, dtype=np.float64), members, uniform_grid(points))
    exact = log_probs if log_probs.dtype in (torch.float32, torch.float64) else log_probs.float()
    apart = distances_along(exact.contiguous(), reindexing, kind=distance, mean=mean)
    grid = reindexing.grid
    there = reindexing.last >= reindexing.first
    first, last = (np.where(there, grid[side], np.nan) for side in (reindexing.first, reindexing.last))
    if len(bad := np.argwhere(np.isnan(apart))):
        one, two = (f"{number} ({first[number]:.3g} to {last[number]:.3g})" for number in bad[0])
        raise DataError(
            f"runs {one} and {two} share no range of the {index} index", "leave one out, or give more points"
        )
    return TrajectoryDistances(apart, grid, first, last, reindexing.backwards)


def _members(runs: Sequence[Sequence[int]], models: int) -> list[Int64[np.ndarray, " _"]]:
    """The checkpoints of each run.

    Raises:
        DataError: If there is no such model.
        UsageError: If there are fewer than two runs, or one is no list of numbers.
    """
    members = []
    for number, run in enumerate(runs):
        try:
            own = np.asarray([whole_number(place) for place in run], dtype=np.int64)
        except TypeError:
            raise UsageError(
                f"run {number} is no list of places among the models", "as in runs=[range(9), range(9, 18)]"
            ) from None
        if len(outside := own[(own < 0) | (own >= models)]):
            raise DataError(f"run {number} has model {outside[0]}, but there are {models} models, from 0")
        members.append(own)
    if len(members) < 2:
        raise UsageError(f"{len(members)} run: a distance of trajectories takes two")
    return members
