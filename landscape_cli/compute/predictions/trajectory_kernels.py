"""The compiled loops behind :mod:`landscape_cli.compute.predictions.trajectories` on a CPU.

Predictions come as roots ``√p``, unit vectors, in panels ``(model, class, lane)`` of 64 samples: every loop runs over
lanes, so the compiler vectorises it. Interpolated models are never stored as a whole: a job builds those of a few runs
at one value of the index and uses them at once, from the first caches. Of several affinities the product is taken
before the logarithm.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast, no_type_check

import numba
import numpy as np
import torch
from numpy.typing import NDArray

LANES = 64  # samples at a time
TILE = 32  # runs at a time
CACHED = 1 << 20  # bytes of panels at a time: more than a core's second cache holds would come from memory again
FEWEST = 5  # values of the index at a time: fewer would take the checkpoints around them too often
UNROLLED = 16  # classes up to which the sum over them is written out
LEAST = 1e-280  # a product of affinities below this may have lost digits: its logarithms are taken one by one
LOWEST = -700.0  # the exponential of less is 0
SHIFT = 1.5 * 2.0**52  # adding it rounds a number to the nearest whole one, which the last bits of the sum then hold
EXACT = frozenset({"contract"})  # multiply and add in one step
SQUARE, SCALE, ONE, TWO = range(4)  # what is kept of a segment: θ², θ / sin θ, and the weights of its two ends
FAST = frozenset({"contract", "reassoc", "nsz"})  # and sums in any order, so that lanes can be summed side by side

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(math_flags: frozenset[str]) -> Callable[[Function], Function]:
    """Compile a function that runs without Python's lock; machine code is kept where a place for it can be written."""

    def compile_it(function: Function) -> Function:
        how: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": set(math_flags)}
        try:
            return cast(Function, numba.njit(cache=True, **how)(function))
        except RuntimeError:  # numba found no directory that it may write
            return cast(Function, numba.njit(**how)(function))

    return compile_it


@_compiled(EXACT)
@no_type_check
def _exp(values):
    """``exp x`` of x ≤ 0 in place, to 4e-16: argument reduction by log 2, a polynomial of degree 12, exponent bits."""
    for i in range(values.size):
        x = max(values[i], LOWEST)
        shifted = x * 1.4426950408889634 + SHIFT
        count = shifted - SHIFT
        r = x - count * 0.6931471803691238 - count * 1.9082149292705877e-10
        p = 1 / 39916800 + r * (1 / 479001600)
        p = 1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r * p))
        p = 1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * p))
        p = 1.0 + r * (1.0 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * p))))
        bits = (np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
        value = p * np.int64(bits).view(np.float64)
        values[i] = value if values[i] > LOWEST else 0.0


@_compiled(FAST)
@no_type_check
def _fill_panels(log_probs, models, start, panels):
    """``√p`` of the samples from ``start`` on, scaled to length 1; lanes beyond the last sample are a sure class 0."""
    classes = panels.shape[1]
    size = min(LANES, log_probs.shape[1] - start)
    scale = np.empty(LANES)
    whole = np.empty(LANES * classes)
    for k in range(len(models)):
        source = log_probs[models[k], start : start + size].reshape(-1)
        for place in range(size * classes):
            whole[place] = 0.5 * source[place]
        for place in range(size * classes, LANES * classes):
            whole[place] = 0.0 if place % classes == 0 else -np.inf
        _exp(whole)
        for n in range(LANES):
            scale[n] = 0.0
        for c in range(classes):
            for n in range(LANES):
                value = whole[n * classes + c]
                panels[k, c, n] = value
                scale[n] += value * value
        for n in range(LANES):
            scale[n] = 1.0 / math.sqrt(scale[n])
        for c in range(classes):
            for n in range(LANES):
                panels[k, c, n] *= scale[n]


@_compiled(FAST)
@no_type_check
def _sinc(z):
    """``sin θ / θ`` for θ² = z up to (π/2)²: the first term left out is 8e-19."""
    h = 1.0 - z * (1 / 342) * (1.0 - z * (1 / 420))
    h = 1.0 - z * (1 / 156) * (1.0 - z * (1 / 210) * (1.0 - z * (1 / 272) * h))
    h = 1.0 - z * (1 / 42) * (1.0 - z * (1 / 72) * (1.0 - z * (1 / 110) * h))
    return 1.0 - z * (1 / 6) * (1.0 - z * (1 / 20) * h)


@_compiled(FAST)
@no_type_check
def _measure_segment(panels, i, j, work, slot):
    """θ² and θ / sin θ of the angles between two checkpoints, from x = 1 − cos θ = ½ ‖s − s'‖².

    No arc cosine, so small angles keep their digits. The angle is quartered twice, x → (x/2) / (1 + √(1 − x/2)) for
    half of it, then ``θ² = 2x Σ_k Π_{j≤k} x j² / ((j+1)(2j+1))`` ends below 1e-17 after 11 terms: as angles
    between distributions are at most π/2, x is at most 0.0762 there.
    """
    for n in range(LANES):
        work[slot, SCALE, n] = 0.0
    for c in range(panels.shape[1]):
        for n in range(LANES):
            step = panels[j, c, n] - panels[i, c, n]
            work[slot, SCALE, n] += step * step
    for n in range(LANES):
        half = min(0.25 * work[slot, SCALE, n], 0.5)
        half = half / (1.0 + math.sqrt(1.0 - half))
        x = 0.5 * half / (1.0 + math.sqrt(1.0 - 0.5 * half))
        h = 1.0 + x * (81 / 190) * (1.0 + x * (100 / 231) * (1.0 + x * (121 / 276)))
        h = 1.0 + x * (36 / 91) * (1.0 + x * (49 / 120) * (1.0 + x * (64 / 153) * h))
        h = 1.0 + x * (9 / 28) * (1.0 + x * (16 / 45) * (1.0 + x * (25 / 66) * h))
        square = 32.0 * x * (1.0 + x * (1 / 6) * (1.0 + x * (4 / 15) * h))
        work[slot, SQUARE, n] = square
        work[slot, SCALE, n] = 1.0 / _sinc(square)


@_compiled(FAST)
@no_type_check
def _interpolate(panels, before, after, fraction, runs, t, work, held, rows, present):
    """Roots of some runs' models at one value of the index: ``s = [sin((1−f)θ) s_before + sin(fθ) s_after] / sin θ``.

    Where the runs have a value is listed in ``present``, the number of those is the answer; ``held`` and ``work`` keep
    what was measured between two checkpoints while the index stays between them.
    """
    count = 0
    for slot in range(len(runs)):
        u = runs[slot]
        if before[u, t] < 0:
            continue
        present[count] = slot
        count += 1
        i, j = before[u, t], after[u, t]
        if held[slot] != i * len(panels) + j:
            held[slot] = i * len(panels) + j
            _measure_segment(panels, i, j, work, slot)
        f = fraction[u, t]
        g = 1.0 - f
        for n in range(LANES):
            square, scale = work[slot, SQUARE, n], work[slot, SCALE, n]
            work[slot, ONE, n] = g * _sinc(g * g * square) * scale
            work[slot, TWO, n] = f * _sinc(f * f * square) * scale
        for c in range(panels.shape[1]):
            for n in range(LANES):
                rows[slot, c, n] = work[slot, ONE, n] * panels[i, c, n] + work[slot, TWO, n] * panels[j, c, n]
    return count


@_compiled(FAST)
@no_type_check
def _products(rows, p, q, cols, r, s, unrolled):
    """Products over the lanes of the affinities ``Σ_c s(c) s'(c)`` of two models with two others.

    The number of classes is the length of the tuple ``unrolled``: known to the compiler, which writes the sum out.
    """
    one = two = three = four = 1.0
    for n in range(LANES):
        a = b = c = d = 0.0
        for k in range(len(unrolled)):
            a += rows[p, k, n] * cols[r, k, n]
            b += rows[p, k, n] * cols[s, k, n]
            c += rows[q, k, n] * cols[r, k, n]
            d += rows[q, k, n] * cols[s, k, n]
        one *= a
        two *= b
        three *= c
        four *= d
    return one, two, three, four


@_compiled(FAST)
@no_type_check
def _wide_products(rows, p, q, cols, r, s):
    """The same for many classes, from models turned to ``(lane, class)``: the loop over classes is vectorised."""
    one = two = three = four = 1.0
    for n in range(LANES):
        a = b = c = d = 0.0
        for k in range(rows.shape[2]):
            a += rows[p, n, k] * cols[r, n, k]
            b += rows[p, n, k] * cols[s, n, k]
            c += rows[q, n, k] * cols[r, n, k]
            d += rows[q, n, k] * cols[s, n, k]
        one *= a
        two *= b
        three *= c
        four *= d
    return one, two, three, four


@_compiled(EXACT)
@no_type_check
def _turn(rows, present, count, turned):
    for k in range(count):
        slot = present[k]
        for c in range(rows.shape[1]):
            for n in range(LANES):
                turned[slot, n, c] = rows[slot, c, n]


@_compiled(EXACT)
@no_type_check
def _logs_one_by_one(rows, p, cols, r):
    """−Σ_n log of the affinities of two models whose product is too small to be kept."""
    total = 0.0
    for n in range(LANES):
        affinity = 0.0
        for c in range(rows.shape[1]):
            affinity += rows[p, c, n] * cols[r, c, n]
        if affinity <= 0.0:
            return np.inf
        total -= math.log(affinity)
    return total


@_compiled(EXACT)
@no_type_check
def _add_distances(panels, before, after, fraction, first, last, unrolled, out):
    """Add −log affinities, weighted as the trapezoid rule has it, to ``(run, run)``, above the diagonal.

    Runs are taken by tiles, so that the caches hold the models of a pair of tiles at one value of the index.
    """
    classes = panels.shape[1]
    runs, times = before.shape
    many = classes > len(unrolled)
    rows, cols = np.empty((TILE, classes, LANES)), np.empty((TILE, classes, LANES))
    turned = np.empty((2, TILE if many else 0, LANES, classes))
    work, held = np.empty((2, TILE, 4, LANES)), np.empty((2, TILE), np.int64)
    everyone = np.arange(runs)
    present, counts = np.empty((2, TILE), np.int64), np.empty(2, np.int64)
    for i in range(0, runs, TILE):
        for j in range(i, runs, TILE):
            for slot in range(TILE):
                held[0, slot] = held[1, slot] = -1
            for t in range(times):
                for side in range(1 if i == j else 2):
                    start = j if side else i
                    own = everyone[start : min(runs, start + TILE)]
                    target = cols if side else rows
                    counts[side] = _interpolate(
                        panels, before, after, fraction, own, t, work[side], held[side], target, present[side]
                    )
                    if many:
                        _turn(target, present[side], counts[side], turned[side])
                side = 0 if i == j else 1
                count, wide, there, others = counts[0], counts[side], present[0], present[side]
                across = cols if side else rows
                for a in range(0, count, 2):
                    for b in range(0 if side else a, wide, 2):
                        p, q = there[a], there[min(a + 1, count - 1)]
                        r, s = others[b], others[min(b + 1, wide - 1)]
                        if many:
                            found = _wide_products(turned[0], p, q, turned[side], r, s)
                        else:
                            found = _products(rows, p, q, across, r, s, unrolled)
                        for k in range(4):
                            x, y = a + k // 2, b + k % 2
                            if x >= count or y >= wide:
                                continue
                            u, v = i + there[x], j + others[y]
                            begin, end = max(first[u], first[v]), min(last[u], last[v])
                            if u < v and begin < end:
                                product = found[k]
                                if product > LEAST:
                                    apart = -math.log(product)
                                else:
                                    apart = _logs_one_by_one(rows, there[x], across, others[y])
                                out[u, v] += apart if begin < t < end else 0.5 * apart


@_compiled(EXACT)
@no_type_check
def _follow(
    panels, labels, start, before, after, fraction, members, offsets, held, begin, ignorance, truth, wrong, width
):
    """Affinities of every interpolated model on the samples from ``start`` on, and sums over them.

    The values of the index are those from ``begin`` on.
    """
    classes = panels.shape[1]
    times = before.shape[1]
    size = min(LANES, len(labels) - start)
    level = 1.0 / math.sqrt(classes)
    most = len(held)
    rows, work = np.empty((most, classes, LANES)), np.empty((most, 4, LANES))
    present = np.empty(most, np.int64)
    mean, sums, best = np.empty((1, classes, LANES)), np.empty(LANES), np.empty(LANES)
    for g in range(len(offsets) - 1):
        own = members[offsets[g] : offsets[g + 1]]
        for slot in range(most):
            held[slot] = -1
        for t in range(times):
            count = _interpolate(panels, before, after, fraction, own, t, work, held, rows, present)
            for c in range(classes):
                for n in range(LANES):
                    mean[0, c, n] = 0.0
            for k in range(count):
                slot = present[k]
                u = own[slot]
                for n in range(LANES):
                    sums[n] = best[n] = 0.0
                for c in range(classes):
                    for n in range(LANES):
                        sums[n] += rows[slot, c, n]
                        best[n] = max(best[n], rows[slot, c, n])
                        mean[0, c, n] += rows[slot, c, n] * rows[slot, c, n]
                for n in range(size):
                    right = rows[slot, labels[start + n], n]
                    ignorance[u, begin + t, start + n] = sums[n] * level
                    truth[u, begin + t, start + n] = right
                    wrong[u, begin + t] += right < best[n]
            if count < 2:
                continue
            for c in range(classes):
                for n in range(LANES):
                    mean[0, c, n] = math.sqrt(mean[0, c, n] / count)
            for k in range(count):
                slot = present[k]
                for n in range(LANES):
                    sums[n] = 0.0
                for c in range(classes):
                    for n in range(LANES):
                        sums[n] += rows[slot, c, n] * mean[0, c, n]
                product = 1.0
                for n in range(LANES):
                    product *= sums[n]
                if product > LEAST:
                    width[own[slot], begin + t] -= math.log(product)
                else:
                    width[own[slot], begin + t] += _logs_one_by_one(rows, slot, mean, 0)


def _by_blocks(samples: int, work: Callable[[Iterable[int]], Any]) -> list[Any]:
    """Have as many threads as torch may use work on blocks of samples, each on its share of them."""
    starts = range(0, samples, LANES)
    threads = max(1, min(torch.get_num_threads(), len(starts)))
    if threads == 1:
        return [work(starts)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, [starts[k::threads] for k in range(threads)]))


def distance_sums(
    log_probs: NDArray[np.floating[Any]],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    fraction: NDArray[np.float64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> NDArray[np.float64]:
    """``Σ_n Σ_t w_t(u, v) (−log Σ_c s_u s_v)`` for all pairs of runs: ``(run, run)``, above the diagonal.

    Memory: for each thread, the models on 64 samples in float64, and the result.

    Args:
        log_probs: ``(model, sample, class)``.
        before: ``(run, time)`` the checkpoint before each value of the index, −1 where there is none.
        after: The one after.
        fraction: Where between them.
        first: ``(run,)`` the first time with a value.
        last: The last one. The weights are those of the trapezoid rule over the times that both have.
    """
    log_probs = np.ascontiguousarray(log_probs)
    samples, classes = log_probs.shape[1:]
    parts = _parts(before, after, fraction, classes)
    unrolled = (0,) * (classes if classes <= UNROLLED else 0)

    def work(starts: Iterable[int]) -> NDArray[np.float64]:
        panels = np.empty((max(len(part.models) for part in parts), classes, LANES))
        out = np.zeros((len(before), len(before)))
        for start in starts:
            for part in parts:
                _fill_panels(log_probs, part.models, start, panels)
                ends = first - part.begin, last - part.begin
                _add_distances(panels, part.before, part.after, part.fraction, *ends, unrolled, out)
        return out

    return np.asarray(sum(_by_blocks(samples, work)))


def follow(
    log_probs: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    fraction: NDArray[np.float64],
    members: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What one interpolated model after the other says of itself.

    Args:
        log_probs: ``(model, sample, class)``.
        labels: The true classes.
        before: See :func:`distance_sums`.
        after: See :func:`distance_sums`.
        fraction: See :func:`distance_sums`.
        members: The runs, group by group.
        offsets: Where in ``members`` each group begins, and the end.

    Returns:
        Affinities to ignorance and to the truth ``(run, time, sample)``, NaN where there is no value; wrong guesses
        and distances to the mean model of the group, sums over samples ``(run, time)``.
    """
    log_probs = np.ascontiguousarray(log_probs)
    samples, classes = log_probs.shape[1:]
    parts = _parts(before, after, fraction, classes)
    ignorance, truth = (np.full((*before.shape, samples), np.nan) for _ in range(2))

    def work(starts: Iterable[int]) -> NDArray[np.float64]:
        panels = np.empty((max(len(part.models) for part in parts), classes, LANES))
        sums = np.zeros((2, *before.shape))
        held = np.empty(int(np.diff(offsets).max()), dtype=np.int64)  # as long as the largest group
        for start in starts:
            for part in parts:
                _fill_panels(log_probs, part.models, start, panels)
                where = part.before, part.after, part.fraction, members, offsets, held, part.begin
                _follow(panels, labels, start, *where, ignorance, truth, *sums)
        return sums

    wrong, width = sum(_by_blocks(samples, work))
    return ignorance, truth, wrong, width


@dataclass(frozen=True, eq=False)
class _Part:
    """Some values of the index in a row.

    Args:
        begin: The first.
        models: The checkpoints that some run stands next to there.
        before: ``(run, time)`` positions among them; −1 where there is no value.
        after: Likewise.
        fraction: Where between the two.
    """

    begin: int
    models: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    fraction: NDArray[np.float64]


def _parts(
    before: NDArray[np.int64], after: NDArray[np.int64], fraction: NDArray[np.float64], classes: int
) -> list[_Part]:
    """Cut the index so that the panels of a part stay in a cache, where that is to be had."""
    times = before.shape[1]
    bytes_of = len(np.unique(np.concatenate([before, after]))) * classes * LANES * 8
    count = max(1, min(times // FEWEST, -(-bytes_of // CACHED)))
    parts = []
    for begin, end in itertools.pairwise(number * times // count for number in range(count + 1)):
        one, two = before[:, begin:end].copy(), after[:, begin:end].copy()  # the caller's stay what they are
        there = one >= 0
        models = np.unique(np.concatenate([one[there], two[there]]))
        one[there], two[there] = np.searchsorted(models, one[there]), np.searchsorted(models, two[there])
        parts.append(_Part(begin, models, one, two, fraction[:, begin:end].copy()))
    return parts
