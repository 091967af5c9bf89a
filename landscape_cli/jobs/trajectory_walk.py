"""Walking along all runs at once: distances between them and what each is beside, within a budget of memory.

The index is cut into parts, one after the other; for each part the checkpoints that stand next to it are read, some
samples at a time. A part needs two affinities for every run, value of the index and sample, because the nearest point
of the geodesic is known only when all samples are; everything else is summed up as samples come. One part, and so one
reading of the file, is what a few thousand checkpoints take; many more take more parts.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from landscape_cli.compute.predictions.choices import DistanceName, IndexName
from landscape_cli.compute.predictions.deviation import deviation, truth_affinity
from landscape_cli.compute.predictions.trajectories import Reindexing, distance_sums, follow
from landscape_cli.errors import InterruptedRunError, UsageError
from landscape_cli.jobs.model_rows import ModelRows
from landscape_cli.jobs.stopping import Stop
from landscape_cli.store.predictions import Predictions

LANES = 64  # samples that go through the compiled loops at a time
MOST_SAMPLES = 1 << 13  # read at a time
FIXED_BYTES = 60_000_000  # tables, pieces read, and what is between an affinity and a distance
QUANTITIES = (
    "distance_to_geodesic", "geodesic_at", "distance_at_equal_progress", "truth", "ignorance", "error", "loss",
    "tube_width",
)  # fmt: skip

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Walked:
    """What was found on the way.

    Args:
        sums: Weighted sums of distances between runs: see
            :func:`landscape_cli.compute.predictions.trajectories.distance_sums`.
        quantities: ``(run, time)`` by name, NaN where a run has no value; see :data:`QUANTITIES`.
        members: How many runs of the group have a value.
    """

    sums: Array
    quantities: dict[str, Array]
    members: NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Some values of the index, and how many samples are read at a time.

    Args:
        start: The first value.
        stop: The one after the last.
        samples: Samples at a time.
    """

    start: int
    stop: int
    samples: int


def walk(
    predictions: Predictions,
    reindexing: Reindexing,
    groups: Sequence[NDArray[np.int64]] | None,
    stop: Stop,
    *,
    index: IndexName = "progress",
    distance: DistanceName = "bhattacharyya",
    smoothing: float = 0.0,
    memory: int = 2_000_000_000,
    told: Callable[[float], None] = lambda done: None,
) -> Walked:
    """Measure all runs along the index.

    Args:
        predictions: The models.
        reindexing: Where the runs are.
        groups: Runs of one configuration each.
        stop: Asked between blocks whether to go on.
        index: What the index is; distances at equal progress are measured for ``progress`` only.
        distance: Between runs.
        smoothing: Label smoothing of the truth.
        memory: Bytes to work in.
        told: Told which share of the work is done.

    Raises:
        UsageError: If the memory is too little.
        InterruptedRunError: If a signal asked to stop.
    """
    parts = plan(reindexing, predictions, memory)
    shape, samples = reindexing.before.shape, predictions.samples
    sums = np.zeros((shape[0], shape[0]))
    quantities = {name: np.full(shape, math.nan) for name in QUANTITIES}
    members = np.zeros(shape, dtype=np.int64)
    labels = torch.from_numpy(predictions.labels)
    for number, here in enumerate(parts):
        part = reindexing.part(here.start, here.stop)
        models = part.models()
        if not len(models):
            continue
        part, rows = part.among(models), ModelRows(predictions.select(models))
        ignorance, truth = (np.full((*part.before.shape, samples), math.nan) for _ in range(2))
        wrong, width = np.zeros(part.before.shape), np.zeros(part.before.shape)
        for first in range(0, samples, here.samples):
            block = slice(first, min(first + here.samples, samples))
            log_probs = rows.read(slice(0, len(models)), block)
            sums += distance_sums(log_probs, part, kind=distance)
            seen = follow(log_probs, labels[block], part, groups)
            del log_probs
            ignorance[..., block], truth[..., block] = seen.ignorance, seen.truth
            wrong, width = wrong + seen.wrong, width + seen.width
            members[:, here.start : here.stop] = seen.members
            told((number + block.stop / samples) / len(parts))
            if stop.requested:
                raise InterruptedRunError("stopped before the trajectories were whole", "give the command again")
        found = _finished(part, ignorance, truth, predictions.classes, index, smoothing)
        for name, values in (found | {"error": wrong / samples, "tube_width": width / samples}).items():
            quantities[name][:, here.start : here.stop] = values
    return Walked(sums, quantities, members)


def _finished(
    part: Reindexing, ignorance: Array, label: Array, classes: int, index: IndexName, smoothing: float
) -> dict[str, Array]:
    """Distances from the affinities of all samples."""
    names = [name for name in QUANTITIES if name not in ("error", "tube_width")]
    found = {name: np.full(part.before.shape, math.nan) for name in names}
    for run, there in enumerate(part.present):
        if not there.any():
            continue
        a, own = (torch.from_numpy(affinity[run, there]) for affinity in (ignorance, label))
        b = truth_affinity(own, a, classes, smoothing)
        at = torch.from_numpy(part.grid[there])
        beside = deviation(a, b, at, classes=classes, smoothing=smoothing)
        found["distance_to_geodesic"][run, there] = beside.nearest
        found["geodesic_at"][run, there] = beside.place
        if index == "progress":
            found["distance_at_equal_progress"][run, there] = beside.equal
        for name, affinity, factor in (("truth", b, 1), ("ignorance", a, 1), ("loss", own, 2)):
            found[name][run, there] = (-factor * affinity.log().mean(dim=-1)).clamp(min=0)
    return found


def plan(reindexing: Reindexing, predictions: Predictions, memory: int) -> list[Part]:
    """Cut the index into as few parts as a budget of memory allows.

    Raises:
        UsageError: If even one value at a time does not fit; the hint is the least that works.
    """
    times = len(reindexing.grid)
    for count in range(1, times + 1):
        bounds = [number * times // count for number in range(count + 1)]
        spans = list(itertools.pairwise(bounds))
        if all(_bytes(reindexing, predictions, span, LANES) <= memory for span in spans):
            return [_part(reindexing, predictions, span, memory) for span in spans]
    least = max(_bytes(reindexing, predictions, (time, time + 1), LANES) for time in range(times))
    raise UsageError(
        f"--memory {memory // 1_000_000}MB is too little for {len(reindexing.before)} runs of {predictions.path}",
        f"the least that works is --memory {-(-least // 1_000_000)}MB",
    )


def _part(reindexing: Reindexing, predictions: Predictions, span: tuple[int, int], memory: int) -> Part:
    samples = LANES
    while samples < min(predictions.samples, MOST_SAMPLES):
        if _bytes(reindexing, predictions, span, 2 * samples) > memory:
            break
        samples *= 2
    return Part(*span, samples)


def _bytes(reindexing: Reindexing, predictions: Predictions, span: tuple[int, int], samples: int) -> int:
    """What a part needs at most, if so many samples are read at a time."""
    part = reindexing.part(*span)
    models, runs = len(part.models()), len(part.before)
    samples = min(samples, predictions.samples)
    threads = torch.get_num_threads()
    item = 8 if predictions.dtype == "float64" else 4
    panel = models * predictions.classes * LANES * 8
    return (
        FIXED_BYTES
        + 16 * part.before.size * (predictions.samples + samples)
        + models * predictions.classes * samples * item
        + threads * (panel + 8 * runs * runs + 16 * part.before.size)
        + 32 * runs * runs
    )
