# SPDX-License-Identifier: Apache-2.0
"""Powers and logarithms with bit-identical results on every CPU.

They use only operations whose rounding IEEE 754 defines. ``numpy.log10`` and ``numpy.power`` differ in the last bit
between instruction sets.
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
    """Return 10**x.

    Args:
        x: float64 exponents of any shape, at most 0.

    Returns:
        float64 of the shape of ``x``.
    """
    x = np.maximum(x, -400.0)  # 10**-400 is 0 in float64
    exponent = np.rint(x * _LOG2_OF_10)
    fraction = (x * _LOG2_OF_10 - exponent) * _LN_OF_2  # within 0.35: Taylor to x**13 is exact to 1e-17
    power = np.ones_like(x)
    for n in range(13, 0, -1):
        power = 1.0 + power * fraction / n
    result: NDArray[np.float64] = np.ldexp(power, exponent.astype(np.int32))
    return result


def log10(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the base-10 logarithm; exactly 0 at 1.

    Args:
        x: float64 numbers above 0, of any shape.

    Returns:
        float64 of the shape of ``x``.
    """
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
