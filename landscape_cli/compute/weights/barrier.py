"""Error barriers: readings of a risk along a path, and the search for its maximum.

Fort et al. 2020, section 2; Frankle et al. 2020 (``sup``, there called instability); Entezari et al. 2022 (``mid``).
α = 1 is the first network, α = 0 the second.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape_cli.compute.evaluation import Evaluation, evaluate
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.weights.interpolation import Path

Span = tuple[float, float]
UNIT: Span = (0.0, 1.0)

POINTS = 25
REFINE = 3


@dataclass(frozen=True)
class PathPoint:
    """The network at one α, evaluated on one or more splits.

    Args:
        alpha: Weight of the first end.
        results: Evaluations by split name.
    """

    alpha: float
    results: dict[str, Evaluation]


@dataclass(frozen=True)
class Barrier:
    """Three readings of one risk R along a path; R₁ at α = 1, R₂ at α = 0.

    Args:
        sup: ``max_α R(w_α) − ½(R₁ + R₂)``; the ends are part of the path, so it is not below 0.
        sup_alpha: Where that maximum lies (the smallest α of several).
        mid: ``R(w_½) − ½(R₁ + R₂)``; below 0 where the middle is better than the ends.
        chord: ``max_α [R(w_α) − (α R₁ + (1−α) R₂)]``.
        chord_alpha: Where that maximum lies.
        first: R₁.
        second: R₂.
    """

    sup: float
    sup_alpha: float
    mid: float
    chord: float
    chord_alpha: float
    first: float
    second: float


def read_barrier(alphas: Sequence[float], risks: Sequence[float]) -> Barrier:
    """Read the barrier off a sampled path; a NaN anywhere makes the maxima NaN, and α says where.

    Args:
        alphas: Increasing, with 0, ½ and 1 among them; what lies beyond 0 and 1 is no part of a barrier.
        risks: The risk at each.

    Raises:
        ValueError: If 0, ½ or 1 is missing, or lengths differ.

    >>> read_barrier([0, 0.5, 1], [0.1, 0.4, 0.2]).sup
    0.25
    >>> read_barrier([-0.5, 0, 0.5, 1], [9.0, 0.3, 0.3, 0.3]).chord
    0.0
    """
    a, r = np.asarray(alphas, dtype=np.float64), np.asarray(risks, dtype=np.float64)
    where = {float(alpha): index for index, alpha in enumerate(a)}
    if len(a) != len(r) or not {0.0, 0.5, 1.0} <= where.keys():
        raise ValueError("a path needs a risk at each alpha, and alphas 0, 0.5 and 1")
    first, middle, second = (float(r[where[alpha]]) for alpha in (1.0, 0.5, 0.0))
    inside = (a >= 0) & (a <= 1)
    a, r = a[inside], r[inside]
    level = (first + second) / 2
    # Written so that equal risks give exactly 0, whatever alpha is.
    chords = a * (r - first) + (1 - a) * (r - second)
    top, top_chord = int(np.argmax(r)), int(np.argmax(chords))  # argmax finds the first NaN, if there is one
    return Barrier(
        sup=float(r[top]) - level,
        sup_alpha=float(a[top]),
        mid=middle - level,
        chord=float(chords[top_chord]),
        chord_alpha=float(a[top_chord]),
        first=first,
        second=second,
    )


def grid(points: int, span: Span = UNIT) -> list[float]:
    """``points`` evenly spaced values from 0 to 1, and ½ if it is not among them; beyond them the spacing goes on.

    So the points from 0 to 1 are the same whatever the span, and are measured once.

    Args:
        points: From 0 to 1.
        span: The smallest and the largest value; they are in the grid.

    Raises:
        ValueError: If ``points`` is below 2, or the span does not hold 0 and 1.

    >>> grid(4)
    [0.0, 0.3333333333333333, 0.5, 0.6666666666666666, 1.0]
    >>> grid(3, (-0.7, 1.5))
    [-0.7, -0.5, 0.0, 0.5, 1.0, 1.5]
    """
    if points < 2:
        raise ValueError("a path has at least its two ends")
    low, high = span
    if not (math.isfinite(low) and math.isfinite(high) and low <= 0 and high >= 1):
        raise ValueError("a path goes at least from 0 to 1")
    last = points - 1
    steps = range(-math.floor(-low * last), math.floor(high * last) + 1)
    return sorted({i / last for i in steps} | {0.5, float(low), float(high)})


def search(
    measure: Callable[[float], PathPoint],
    *,
    points: int = POINTS,
    refine: int = REFINE,
    known: Mapping[float, PathPoint] | None = None,
    span: Span = UNIT,
) -> Iterator[PathPoint]:
    """Measure a path on a grid, then more finely around each maximum; yield each point once, as it is measured.

    A round of refinement halves the intervals on both sides of the maxima of every risk and its chord form: at most
    two new points a maximum and round. A maximum that is NaN is not refined.

    Args:
        measure: Evaluates the network at an α.
        points: Points of the grid.
        refine: Rounds of refinement; 0 for none.
        known: Points of an interrupted measurement; yielded without measuring them again.
        span: From where to where; maxima are looked for between 0 and 1.

    Raises:
        ValueError: As :func:`grid`.
    """
    known = known or {}
    done: dict[float, PathPoint] = {}

    def visit(alphas: list[float]) -> Iterator[PathPoint]:
        for alpha in alphas:
            if alpha not in done:
                done[alpha] = known.get(alpha) or measure(alpha)
                yield done[alpha]

    yield from visit(grid(points, span))
    for _ in range(refine):
        wanted = _neighbours(done)
        if not wanted:
            return
        yield from visit(wanted)


def _neighbours(done: Mapping[float, PathPoint]) -> list[float]:
    """The middles of the intervals beside the maxima of every risk."""
    alphas = sorted(alpha for alpha in done if 0 <= alpha <= 1)
    wanted: set[float] = set()
    for risks in risk_curves([done[alpha] for alpha in alphas]).values():
        barrier = read_barrier(alphas, risks)
        for value, peak in ((barrier.sup, barrier.sup_alpha), (barrier.chord, barrier.chord_alpha)):
            if math.isnan(value):
                continue
            index = alphas.index(peak)
            wanted |= {(alphas[i] + peak) / 2 for i in (index - 1, index + 1) if 0 <= i < len(alphas)}
    return sorted(wanted)


def risk_curves(points: Sequence[PathPoint]) -> dict[tuple[str, str], list[float]]:
    """The curves ``(split, "error" or "loss") → risk at each point``."""
    splits = points[0].results
    return {
        (split, risk): [getattr(point.results[split], risk) for point in points]
        for split in splits
        for risk in ("error", "loss")
    }


def barriers(points: Sequence[PathPoint]) -> dict[str, dict[str, Barrier]]:
    """The barrier of each split in error and in loss, from the points of a finished search.

    Returns:
        ``{split: {"error": Barrier, "loss": Barrier}}``.
    """
    ordered = sorted(points, key=lambda point: point.alpha)
    alphas = [point.alpha for point in ordered]
    found: dict[str, dict[str, Barrier]] = {}
    for (split, risk), values in risk_curves(ordered).items():
        found.setdefault(split, {})[risk] = read_barrier(alphas, values)
    return found


def measure_on(path: Path[float], splits: Mapping[str, Samples], *, batch: int = BATCH) -> Callable[[float], PathPoint]:
    """The function that :func:`search` wants: go to α on a path and evaluate every split there.

    Cost of a call: one forward pass over the splits, and the path's own (batch-norm recomputation).
    """

    def measure(alpha: float) -> PathPoint:
        network = path.go(alpha)
        return PathPoint(alpha, {name: evaluate(network, part, batch=batch) for name, part in splits.items()})

    return measure
