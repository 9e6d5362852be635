# SPDX-License-Identifier: Apache-2.0
"""Powers and logarithms by operations that IEEE 754 rounds alike everywhere: the same bits on every CPU.

NumPy's own ``log10`` and ``power`` differ in the last bit between SIMD levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["log10", "power_of_10"]

_LOG2_OF_10 = 3.321928094887362
_LOG10_OF_2 = 0.3010299956639812
_LOG10_OF_E = 0.4342944819032518
_LN_OF_2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476


def power_of_10(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """10**x for x <= 0."""
    x = np.maximum(x, -400.0)  # 10**-400 is 0 already
    exponent = np.rint(x * _LOG2_OF_10)
    fraction = (x * _LOG2_OF_10 - exponent) * _LN_OF_2  # within 0.35: Taylor to x**13 is exact to 1e-17
    power = np.ones_like(x)
    for n in range(13, 0, -1):
        power = 1.0 + power * fraction / n
    result: NDArray[np.float64] = np.ldexp(power, exponent.astype(np.int32))
    return result


def log10(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log10 of positive numbers; exact for 1."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, 2 * mantissa, mantissa)
    exponent = exponent - low
    s = (mantissa - 1) / (mantissa + 1)  # within 0.172: ln = 2 artanh(s), its series to s**21 exact to 1e-17
    series = np.zeros_like(s)
    for n in range(21, 0, -2):
        series = series * s * s + 1.0 / n
    result: NDArray[np.float64] = exponent * _LOG10_OF_2 + 2 * s * series * _LOG10_OF_E
    return result
