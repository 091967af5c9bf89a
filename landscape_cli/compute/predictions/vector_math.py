"""Logarithm and arcsine without branches, so that loops over them become vector instructions.

numba calls the C library for these, one number at a time; written out they are five to ten times as fast. Each is
within a few units of the last place of float64. Imports numba: only the kernel modules beside it import this one.
"""

import math
from typing import no_type_check

import numpy as np

from landscape_cli.compute.predictions.vector_code import bits_of, float_of, fused, inlined

LN2 = 0.6931471805599453
FRACTION, ONE = (1 << 52) - 1, 1023 << 52
"""Bits of a float64 in [1, 2): those that differ, and those that all have."""
ODD_INVERSES = tuple(1 / (2 * k + 1) for k in range(11))
# arcsin(√z)/√z on 0 ≤ z ≤ ½: Chebyshev interpolation of degree 16, error 1e-15.
ARCSINE = (
    1.0000000000000004, 0.1666666666661266, 0.07500000010326971, 0.044642849352792925, 0.03038225261078325,
    0.02236479278135831, 0.017468338476864537, 0.01271115458012856, 0.021272381973439548, -0.045216406151762055,
    0.23748842691861086, -0.6963313293396542, 1.582877152468858, -2.5068911979542188, 2.7170663464162557,
    -1.7870148645071302, 0.5621827313559765,
)  # fmt: skip


@inlined
@no_type_check
def logarithm(fraction, exponent):
    """``log(fraction · 2^exponent)`` for 1 ≤ fraction < 2 and a whole exponent."""
    high = fraction > 1.4142135623730951
    number = 0.5 * fraction if high else fraction
    power = exponent + 1.0 if high else exponent
    root = (number - 1.0) / (number + 1.0)
    square = root * root
    series = ODD_INVERSES[10]
    for k in range(9, -1, -1):
        series = fused(series, square, ODD_INVERSES[k])
    return fused(power, LN2, 2.0 * root * series)


@inlined
@no_type_check
def natural_log(x):
    """``log x`` of a positive, normal number."""
    bits = bits_of(x)
    return logarithm(float_of((bits & FRACTION) | ONE), np.float64((bits >> 52) - 1023))


@inlined
@no_type_check
def half_angle(square):
    """``arcsin √square`` for 0 ≤ square ≤ ½: half the angle between unit vectors whose chord is ``2√square``."""
    series = ARCSINE[16]
    for k in range(15, -1, -1):
        series = fused(series, square, ARCSINE[k])
    return math.sqrt(square) * series
