"""Compiled CPU loops for distances that need every pair's affinity in every sample.

Square roots of probabilities are packed into *panels*, ``(panel, sample, class, model)`` with ``WIDTH`` neighbouring
models in the last place, and a *tile* of pairs of panels is worked off by one thread. Imports numba.
"""

import math
from typing import no_type_check

import numpy as np

from landscape_cli.compute.predictions.vector_code import (
    ALIGNMENT,
    GROUP,
    LANES,
    NOTHING_SINGLE,
    ROWS,
    SMALLEST_DOUBLE,
    WIDTH,
    bits_of,
    compiled,
    exponentials,
    float_of,
    fused,
    inlined,
    multiply_affinities,
    multiply_single_affinities,
)
from landscape_cli.compute.predictions.vector_math import FRACTION, ONE, half_angle, logarithm

SPLIT = WIDTH // ROWS
SEGMENT = 2560
"""Numbers of a model (samples × classes) between two logarithms of a pair's product. Fixed, so that the sums of a
pair do not depend, to the last bit, on how many models there are beside it."""
RESIDENT, QUICK_RESIDENT = 10240, 40960  # bytes of a panel worked off before the next comes: they stay in a cache
SPARE = ALIGNMENT // 8
NEGLIGIBLE = 60.0  # e⁻⁶⁰ of a sum is far below its last digit


@compiled
@no_type_check
def pack(log_probs, panel, begin, samples, panels, norms):
    """Fill a panel with ``√p``, renormalised in float64, of samples ``begin …``; models that do not exist are uniform.

    For float32 panels ``norms[model]`` grows by ``Σ log ‖√p‖²``: what rounding did to the vectors' length.
    Returns the place ``model · N + sample`` of the first sample that is no distribution, or −1.
    """
    models, count, classes = log_probs.shape
    width = panels.shape[3]
    first = panel * width
    present = min(width, models - first)
    at_once = max(1, 256 // classes)  # loops over many lanes, and numbers that stay in the first-level cache
    # Rows one vector longer than needed: at a distance of 512 bytes they would all want the same few cache lines.
    roots = np.zeros((classes, at_once * width + LANES))
    top, scale, excess = np.empty(at_once * width), np.empty(at_once * width), np.empty(width)
    wrong = -1
    for start in range(0, samples, at_once):
        many = min(at_once, samples - start)
        lanes = many * width
        for n in range(many):
            for lane in range(present):
                for c in range(classes):
                    roots[c, n * width + lane] = 0.5 * log_probs[first + lane, begin + start + n, c]
            for lane in range(present, width):
                for c in range(classes):
                    roots[c, n * width + lane] = 0.0
        for k in range(lanes):
            top[k] = roots[0, k]
            scale[k] = 0.0
        for c in range(1, classes):
            for k in range(lanes):
                top[k] = roots[c, k] if roots[c, k] > top[k] else top[k]
        for c in range(classes):
            for k in range(lanes):
                roots[c, k] -= top[k]
            exponentials(roots.ctypes.data + c * roots.shape[1] * 8, lanes)
            for k in range(lanes):
                scale[k] += roots[c, k] * roots[c, k]
        for k in range(lanes):
            if not scale[k] >= 1.0 and wrong < 0:  # the largest is 1 unless something is NaN or infinite
                wrong = (first + k % width) * count + begin + start + k // width
        for k in range(lanes):
            scale[k] = 1.0 / math.sqrt(scale[k])
        for c in range(classes):
            for n in range(many):
                for lane in range(width):
                    panels[panel, start + n, c, lane] = roots[c, n * width + lane] * scale[n * width + lane]
        for n in range(many):
            for c in range(classes, panels.shape[2]):
                for lane in range(width):
                    panels[panel, start + n, c, lane] = 0.0
        if panels.itemsize == 4:
            for n in range(start, start + many):
                for lane in range(width):
                    excess[lane] = -1.0
                for c in range(classes):
                    for lane in range(width):
                        stored = np.float64(panels[panel, n, c, lane])
                        if stored < NOTHING_SINGLE:
                            panels[panel, n, c, lane] = 0.0
                        excess[lane] += stored * stored
                for lane in range(present):  # far below 1e-5, so that three terms of the logarithm are enough
                    off = excess[lane]
                    norms[first + lane] += off - off * off * (0.5 - off / 3.0)
    return wrong


@inlined
@no_type_check
def log_affinity(first, i, second, j, n):
    """``log Σ_c √(p q)`` of one pair in one sample, from log-probabilities: exact however small, −∞ if it is 0."""
    top, own, other = -np.inf, -np.inf, -np.inf
    for c in range(first.shape[2]):
        a, b = np.float64(first[i, n, c]), np.float64(second[j, n, c])
        top, own, other = max(top, 0.5 * (a + b)), max(own, a), max(other, b)
    if top == -np.inf:
        return -np.inf
    total, own_total, other_total = 0.0, 0.0, 0.0
    for c in range(first.shape[2]):
        a, b = np.float64(first[i, n, c]), np.float64(second[j, n, c])
        if 0.5 * (a + b) > top - NEGLIGIBLE:
            total += math.exp(0.5 * (a + b) - top)
        if a > own - NEGLIGIBLE:
            own_total += math.exp(a - own)
        if b > other - NEGLIGIBLE:
            other_total += math.exp(b - other)
    return top + math.log(total) - 0.5 * (own + math.log(own_total) + other + math.log(other_total))


@inlined
@no_type_check
def multiply_carefully(rows, cols, p, r, q, n, place, factors, exponents, extra, first, second, begin):
    """One sample of the block of pairs at ``place``, where some affinity is too small to be multiplied on, or 0.

    The same sums in the same order as in the register kernel; pairs below the range of float64 go through logarithms,
    and a pair that is infinite stays so without further work. Returns whether all pairs are.
    """
    affinity = np.empty(WIDTH)
    infinite = True
    for a in range(ROWS):
        for lane in range(WIDTH):
            affinity[lane] = 0.0
        for c in range(rows.shape[2]):
            own = rows[p, n, c, r + a]
            for lane in range(WIDTH):
                affinity[lane] = fused(own, cols[q, n, c, lane], affinity[lane])
        for lane in range(WIDTH):
            factor = affinity[lane] if affinity[lane] >= SMALLEST_DOUBLE else 1.0
            bits = bits_of(factors[place + a * WIDTH + lane] * factor)
            exponents[place + a * WIDTH + lane] += (bits >> 52) - 1023
            factors[place + a * WIDTH + lane] = float_of((bits & FRACTION) | ONE)
        for lane in range(WIDTH):
            k = place + a * WIDTH + lane
            i, j = p * WIDTH + r + a, q * WIDTH + lane
            if extra[k] < np.inf and i < first.shape[0] and j < second.shape[0]:
                if affinity[lane] < SMALLEST_DOUBLE:
                    extra[k] -= log_affinity(first, i, second, j, begin + n)
                infinite &= extra[k] == np.inf
    return infinite


@inlined
@no_type_check
def skip_to_alignment(vector):
    """How many numbers of 8 bytes lie before the first multiple of ``ALIGNMENT``."""
    return (-vector.ctypes.data % ALIGNMENT) // 8


@inlined
@no_type_check
def negative_logs(factors, exponents):
    """``−log`` of the products, in place."""
    for k in range(factors.size):
        factors[k] = -logarithm(factors[k], np.float64(exponents[k]))


@compiled
@no_type_check
def self_terms(panels, panel, samples, step, terms):
    """``terms[segment, model]``: the kernel's own reading of ``−Σ log⟨s, s⟩``, 0 but for rounding.

    The same sums in the same order as for a pair; subtracted from both sides of a pair, it makes equal models exactly
    0 apart.
    """
    product, square = np.empty(WIDTH), np.empty(WIDTH)
    first = panel * WIDTH
    for segment in range((samples + step - 1) // step):
        for lane in range(WIDTH):
            product[lane] = 1.0
        for n in range(segment * step, min(samples, (segment + 1) * step)):
            for lane in range(WIDTH):
                square[lane] = 0.0
            for c in range(panels.shape[2]):
                for lane in range(WIDTH):
                    square[lane] = fused(panels[panel, n, c, lane], panels[panel, n, c, lane], square[lane])
            for lane in range(WIDTH):
                product[lane] *= square[lane]
        for lane in range(min(WIDTH, terms.shape[1] - first)):
            bits = bits_of(product[lane])
            power = np.float64((bits >> 52) - 1023)
            terms[segment, first + lane] = -logarithm(float_of((bits & FRACTION) | ONE), power)


@compiled
@no_type_check
def exact_tile(
    rows, cols, row_from, row_to, col_from, col_to, samples, triangle, wanted, first, second, begin, own, other, out
):
    """Add ``−Σ_n log⟨s_i, s_j⟩`` of the pairs of a tile to ``out``, in float64; with ``triangle`` those with i ≤ j.

    ``wanted[row // ROWS, column // (2 WIDTH)]`` picks the blocks of pairs; empty, it picks all.
    """
    classes, block = rows.shape[2], ROWS * WIDTH
    groups, columns = (row_to - row_from) * SPLIT, col_to - col_from
    pairs = groups * columns * block
    factors, exponents = np.empty(pairs + SPARE), np.empty(pairs + SPARE, np.int64)
    factors, exponents = factors[skip_to_alignment(factors) :], exponents[skip_to_alignment(exponents) :]
    extra, infinite = np.zeros(pairs), np.zeros((columns, groups), np.bool_)
    step = max(1, SEGMENT // first.shape[2])
    size = classes * WIDTH * 8
    resident = max(1, RESIDENT // (size * GROUP) * GROUP)
    everything, careful = wanted.size == 0, False
    # Addresses in place of arrays: handing arrays on costs more here than a few hundred multiplications.
    row_base, col_base = rows.ctypes.data, cols.ctypes.data
    factor_base, exponent_base = factors.ctypes.data, exponents.ctypes.data
    for segment in range((samples + step - 1) // step):
        last = min(samples, (segment + 1) * step)
        for k in range(pairs):
            factors[k] = 1.0
            exponents[k] = 0
        for start in range(segment * step, last, resident):
            stop = min(last, start + resident)
            for col in range(columns):
                q = col_from + col
                col_side = col_base + q * cols.shape[1] * size
                for group in range(groups):
                    p, r = row_from + group // SPLIT, group % SPLIT * ROWS
                    if triangle and p > q:
                        break
                    if infinite[col, group] or not (everything or wanted[row_from * SPLIT + group, q // 2]):
                        continue
                    row_side = row_base + p * rows.shape[1] * size + r * 8
                    place = (col * groups + group) * block
                    n, alone = start, 0
                    while n < stop:  # all samples at once; after a group with too small an affinity, that group singly
                        done = multiply_affinities(
                            row_side + n * size, col_side + n * size, 1 if alone > 0 else stop - n, classes,
                            factor_base + place * 8, exponent_base + place * 8,
                        )  # fmt: skip
                        n += done
                        if alone > 0:
                            alone -= 1
                            if done == 0:
                                careful = True
                                infinite[col, group] = multiply_carefully(
                                    rows, cols, p, r, q, n, place, factors, exponents, extra, first, second, begin
                                )
                                n += 1
                        elif n < stop:
                            alone = min(GROUP, stop - n)
        negative_logs(factors[:pairs], exponents)
        for col in range(columns):
            left = (col_from + col) * WIDTH
            for group in range(groups):
                top = row_from * WIDTH + group * ROWS
                if (triangle and top >= left + WIDTH) or not (
                    everything or wanted[row_from * SPLIT + group, (col_from + col) // 2]
                ):
                    continue
                for a in range(min(ROWS, out.shape[0] - top)):
                    half, place = 0.5 * own[segment, top + a], (col * groups + group) * block + a * WIDTH
                    for lane in range(min(WIDTH, out.shape[1] - left)):
                        out[top + a, left + lane] += factors[place + lane] - (half + 0.5 * other[segment, left + lane])
    if careful:
        for col in range(columns):
            left = (col_from + col) * WIDTH
            for group in range(groups):
                top = row_from * WIDTH + group * ROWS
                for a in range(min(ROWS, out.shape[0] - top)):
                    place = (col * groups + group) * block + a * WIDTH
                    for lane in range(min(WIDTH, out.shape[1] - left)):
                        out[top + a, left + lane] += extra[place + lane]


@compiled
@no_type_check
def quick_tile(rows, cols, row_from, row_to, col_from, col_to, samples, triangle, wanted, classes, own, other, out):
    """Like :func:`exact_tile` from float32 panels, twice as fast; blocks it cannot do are marked in ``wanted``.

    ``own`` and ``other`` are the models' ``Σ log ‖s‖²`` over these samples, which rounding to float32 moved from 0.
    """
    padded, width = rows.shape[2], rows.shape[3]
    split, block = width // ROWS, ROWS * width
    size = padded * width * 4
    groups, columns = (row_to - row_from) * split, col_to - col_from
    pairs = groups * columns * block
    factors, exponents = np.empty(pairs + SPARE), np.empty(pairs + SPARE, np.int64)
    factors, exponents = factors[skip_to_alignment(factors) :], exponents[skip_to_alignment(exponents) :]
    step = max(1, 2 * SEGMENT // classes)  # float32 takes half the room
    resident = max(1, QUICK_RESIDENT // size)
    row_base, col_base = rows.ctypes.data, cols.ctypes.data
    factor_base, exponent_base = factors.ctypes.data, exponents.ctypes.data
    for segment in range((samples + step - 1) // step):
        last = min(samples, (segment + 1) * step)
        for k in range(pairs):
            factors[k] = 1.0
            exponents[k] = 0
        for start in range(segment * step, last, resident):
            count = min(resident, last - start)
            for col in range(columns):
                q = col_from + col
                col_side = col_base + (q * cols.shape[1] + start) * size
                for group in range(groups):
                    p, r = row_from + group // split, group % split * ROWS
                    if triangle and p > q:
                        break
                    if not wanted[row_from * split + group, q]:
                        row_side = row_base + (p * rows.shape[1] + start) * size + r * 4
                        place = (col * groups + group) * block * 8
                        wanted[row_from * split + group, q] = count > multiply_single_affinities(
                            row_side, col_side, count, padded, factor_base + place, exponent_base + place
                        )
        negative_logs(factors[:pairs], exponents)
        for col in range(columns):
            left = (col_from + col) * width
            for group in range(groups):
                top = row_from * width + group * ROWS
                if triangle and top >= left + width:
                    continue
                for a in range(min(ROWS, out.shape[0] - top)):
                    place = (col * groups + group) * block + a * width
                    for lane in range(min(width, out.shape[1] - left)):
                        out[top + a, left + lane] += factors[place + lane]
    for i in range(row_from * width, min(row_to * width, out.shape[0])):
        for j in range(col_from * width, min(col_to * width, out.shape[1])):
            out[i, j] += 0.5 * (own[i] + other[j])


@compiled
@no_type_check
def mark_close(out, width, triangle, threshold, wanted):
    """Mark in ``wanted`` the blocks of pairs with a sum under ``threshold``, and empty ``out`` where it is marked."""
    for group in range(wanted.shape[0]):
        for q in range(wanted.shape[1]):
            rows = range(group * ROWS, min((group + 1) * ROWS, out.shape[0]))
            cols = range(q * width, min((q + 1) * width, out.shape[1]))
            for i in rows:
                for j in cols:
                    if not (triangle and i >= j) and not out[i, j] >= threshold:
                        wanted[group, q] = True
            if wanted[group, q]:
                for i in rows:
                    for j in cols:
                        out[i, j] = 0.0


@compiled
@no_type_check
def angle_tile(rows, cols, row_from, row_to, col_from, col_to, samples, triangle, out):
    """Add ``Σ_n arccos⟨s_i, s_j⟩ = Σ_n 2 arcsin(‖s_i − s_j‖/2)`` of the pairs of a tile to ``out``."""
    classes = rows.shape[2]
    square, total = np.empty(WIDTH), np.empty(WIDTH)
    resident = max(1, RESIDENT // (classes * WIDTH * 8))
    for start in range(0, samples, resident):
        stop = min(samples, start + resident)
        for q in range(col_from, col_to):
            for i in range(row_from * WIDTH, min(row_to * WIDTH, out.shape[0])):
                p, r = i // WIDTH, i % WIDTH
                if triangle and p > q:
                    break
                total[:] = 0.0
                for n in range(start, stop):
                    for lane in range(WIDTH):
                        square[lane] = 0.0
                    for c in range(classes):
                        own = rows[p, n, c, r]
                        for lane in range(WIDTH):
                            apart = own - cols[q, n, c, lane]
                            square[lane] = fused(apart, apart, square[lane])
                    for lane in range(WIDTH):
                        total[lane] += 2.0 * half_angle(min(0.25 * square[lane], 0.5))
                for lane in range(WIDTH):
                    j = q * WIDTH + lane
                    if j < out.shape[1] and not (triangle and i > j):
                        out[i, j] += total[lane]


@compiled
@no_type_check
def mirror(out, row_from, row_to, col_from, col_to):
    """Finish a tile of a symmetric matrix: nothing below 0, 0 on the diagonal, and the tile's image below it."""
    for i in range(row_from, row_to):
        for j in range(max(i, col_from), col_to):
            value = max(out[i, j], 0.0) if i < j else 0.0
            out[i, j] = value
            out[j, i] = value
