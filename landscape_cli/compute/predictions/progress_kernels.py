"""Compiled CPU loops for progress: one pass over a model's predictions, then a search over one number.

Imports numba. What is computed, and why a search by slope finds the global minimum, stands in ``progress``.
"""

import math
from typing import no_type_check

import numpy as np

from landscape_cli.compute.predictions.vector_code import LANES, compiled, exponentials, inlined, summing
from landscape_cli.compute.predictions.vector_math import half_angle, natural_log

CHUNK = 2048  # numbers of a model read at a time
EDGE = 1e-7
"""Nearer to an end of the geodesic than this, rounding decides on which side of it a model lies: it is at the end."""
PRECISION = 1e-10  # Newton's error is the square of its last step
ROUNDS = 80
FEW = 64


@summing
@no_type_check
def read_model(log_probs, model, labels, label_weight, other_weight, a, b, roots, lanes, sums):
    """Overlaps ``a = ⟨s, s₀⟩`` and ``b = ⟨s, s*⟩`` of each sample of a model, and sums over the samples.

    ``sums`` becomes errors, cross-entropies, and the distances ``−log b`` and ``−log a``. Returns the first sample that
    is no distribution, or −1. ``roots`` and ``lanes`` are room for a block of samples, classes outermost, so that each
    loop runs over many samples alike.
    """
    count, classes = log_probs.shape[1:]
    at_once = roots.shape[1]
    uniform = 1.0 / math.sqrt(classes)
    wrong, errors, loss, to_truth, to_ignorance = -1, 0, 0.0, 0.0, 0.0
    top, own, label, square, total, best = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5]
    for start in range(0, count, at_once):
        many = min(at_once, count - start)
        block = log_probs[model, start : start + many].reshape(-1)
        for c in range(classes):
            row = roots[c]
            for n in range(many):
                row[n] = 0.5 * block[n * classes + c]
        for n in range(many):
            own[n] = roots[labels[start + n], n]
            top[n] = roots[0, n]
            best[n] = square[n] = total[n] = 0.0
        for c in range(1, classes):
            for n in range(many):  # of several largest, the first counts
                larger = roots[c, n] > top[n]
                best[n] = np.float64(c) if larger else best[n]
                top[n] = roots[c, n] if larger else top[n]
        for n in range(many):
            errors += best[n] != labels[start + n]
        for c in range(classes):
            for n in range(many):
                roots[c, n] -= top[n]
            exponentials(roots.ctypes.data + c * at_once * 8, (many + LANES - 1) // LANES * LANES)
            for n in range(many):
                square[n] += roots[c, n] * roots[c, n]
                total[n] += roots[c, n]
        for n in range(many):
            label[n] = roots[labels[start + n], n]
            if not square[n] >= 1.0 and wrong < 0:  # the largest is 1 unless something is NaN or infinite
                wrong = start + n
        for n in range(many):
            length = 1.0 / math.sqrt(square[n])
            near = uniform * length * total[n]
            far = length * (label_weight * label[n] + other_weight * (total[n] - label[n]))
            a[start + n] = near
            b[start + n] = far
            loss += natural_log(square[n]) + 2.0 * (top[n] - own[n])
            to_ignorance -= natural_log(near)
        if other_weight > 0.0:
            for n in range(many):
                to_truth -= natural_log(b[start + n])
    sums[0], sums[1], sums[2], sums[3] = errors, loss, to_truth if other_weight > 0.0 else 0.5 * loss, to_ignorance
    return wrong


@summing
@no_type_check
def slope(u, v, q, angle):
    """First and second derivative of ``Σ arccos(u cos θ + v sin θ)``; ``q = 1 − u² − v²``."""
    cosine, sine = math.cos(angle), math.sin(angle)
    first, second = 0.0, 0.0
    for n in range(u.size):
        height = u[n] * cosine + v[n] * sine
        change = v[n] * cosine - u[n] * sine
        inverse = 1.0 / math.sqrt(q[n] + change * change + 1e-300)
        first -= change * inverse
        second += height * q[n] * inverse * inverse * inverse
    return first, second


@summing
@no_type_check
def mean_angle(u, v, q, angle):
    """``(1/N) Σ arccos(u cos θ + v sin θ)``, from the sine where the cosine is near 1."""
    cosine, sine = math.cos(angle), math.sin(angle)
    total = 0.0
    for n in range(u.size):
        height = u[n] * cosine + v[n] * sine
        change = v[n] * cosine - u[n] * sine
        square, other = q[n] + change * change, height * height
        near = square < other
        part = half_angle(min(square if near else other, 0.5))
        total += part if near else 0.5 * math.pi - part
    return total / u.size


@inlined
@no_type_check
def descend(u, v, q, whole, angle, precision):
    """The angle on [0, whole] at which the slope passes 0, from a first guess: to ``precision``, or an end exactly.

    Newton's method kept inside a bracket. A step out of it has the slope at that end looked at, once; a step that is
    no use, or two that have not halved the bracket, become a bisection.
    """
    low, high = 0.0, whole
    low_known, high_known = False, False
    previous = whole
    for turn in range(ROUNDS):
        value, curvature = slope(u, v, q, angle)
        if value == 0.0:
            return angle
        if value < 0.0:
            low = angle
        else:
            high = angle
        step = angle - value / curvature if curvature > 0.0 else -math.copysign(2.0 * whole, value)
        if step <= low:
            if not low_known and low == 0.0:
                low_known = True
                if slope(u, v, q, 0.0)[0] >= 0.0:
                    return 0.0
            step = 0.5 * (low + high)
        elif step >= high:
            if not high_known and high == whole:
                high_known = True
                if slope(u, v, q, whole)[0] <= 0.0:
                    return whole
            step = 0.5 * (low + high)
        if turn % 2 == 1:
            if high - low > 0.5 * previous:
                step = 0.5 * (low + high)
            previous = high - low
        if abs(step - angle) <= precision or high - low <= precision:
            return step
        angle = step
    return angle


@inlined
@no_type_check
def nearest(a, b, whole, u, v, q, few):
    """The angle on [0, whole] that is nearest to a model, from its overlaps; the rest is room to work in.

    A few of the samples, evenly spaced, give the first guess.
    """
    cosine, sine = math.cos(whole), 1.0 / math.sin(whole)
    for n in range(a.size):
        u[n] = a[n]
        v[n] = (b[n] - a[n] * cosine) * sine
        q[n] = max(0.0, 1.0 - u[n] * u[n] - v[n] * v[n])
    guess = 0.5 * whole
    step = a.size // FEW
    if step > 1:
        for n in range(FEW):
            few[0, n], few[1, n], few[2, n] = u[n * step], v[n * step], q[n * step]
        guess = descend(few[0], few[1], few[2], whole, guess, 1e-3)
        guess = min(max(guess, 1e-3 * whole), 0.999 * whole)
    angle = descend(u, v, q, whole, guess, PRECISION)
    if angle < EDGE:
        return 0.0
    return whole if whole - angle < EDGE else angle


@compiled
@no_type_check
def models_progress(log_probs, labels, whole, label_weight, other_weight, begin, end, out):
    """Rows ``begin … end`` of ``out``: progress, distance to the geodesic, and the means that :func:`read_model` sums.

    Returns the place ``model · N + sample`` of the first sample that is no distribution, or −1.
    """
    count, classes = log_probs.shape[1:]
    a, b, u, v, q = np.empty(count), np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    room, few = CHUNK // classes // LANES * LANES + LANES, np.empty((3, FEW))
    roots, lanes, sums = np.zeros((classes, room)), np.empty((6, room)), np.empty(4)
    for model in range(begin, end):
        wrong = read_model(log_probs, model, labels, label_weight, other_weight, a, b, roots, lanes, sums)
        if wrong >= 0:
            return model * count + wrong
        angle = nearest(a, b, whole, u, v, q, few)
        out[model, 0] = angle / whole
        out[model, 1] = mean_angle(u, v, q, angle)
        for k in range(4):
            out[model, 2 + k] = max(0.0, sums[k] / count)
    return -1


@compiled
@no_type_check
def models_overlaps(log_probs, labels, label_weight, other_weight, begin, end, first, second):
    """Rows ``begin … end`` of the overlaps ``first = ⟨s, s₀⟩`` and ``second = ⟨s, s*⟩``; returns as the other."""
    count, classes = log_probs.shape[1:]
    a, b = np.empty(count), np.empty(count)
    room = CHUNK // classes // LANES * LANES + LANES
    roots, lanes, sums = np.zeros((classes, room)), np.empty((6, room)), np.empty(4)
    for model in range(begin, end):
        wrong = read_model(log_probs, model, labels, label_weight, other_weight, a, b, roots, lanes, sums)
        if wrong >= 0:
            return model * count + wrong
        for n in range(count):
            first[model, n] = a[n]
            second[model, n] = b[n]
    return -1


@compiled
@no_type_check
def overlaps_progress(first, second, whole, begin, end, out):
    """Rows ``begin … end`` of ``out``: progress and distance to the geodesic, from overlaps."""
    count = first.shape[1]
    a, b, u, v, q = np.empty(count), np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    few = np.empty((3, FEW))
    for model in range(begin, end):
        for n in range(count):
            a[n] = first[model, n]
            b[n] = second[model, n]
        angle = nearest(a, b, whole, u, v, q, few)
        out[model, 0] = angle / whole
        out[model, 1] = mean_angle(u, v, q, angle)
