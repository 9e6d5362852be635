# SPDX-License-Identifier: Apache-2.0
"""Random numbers by name: the stream of (seed, subject, position, impression) is the same in any order.

Numba compiles a kernel when it is first called and keeps it in its cache, where it notices changes of
the kernel's own file only: after a change of this file, touch the files that use it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["kernel", "normal", "normals", "poisson", "stream", "uniform"]

_Kernel = TypeVar("_Kernel", bound="Callable[..., Any]")


def kernel(function: _Kernel) -> _Kernel:
    """Compiles a function with numba; cached on disk where some folder can be written to."""
    try:
        compiled: _Kernel = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither this folder nor the user's can be written to
        compiled = numba.njit(nogil=True)(function)
    return compiled


# SplitMix64: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
# figure 17. One 64-bit word of state, so that starting a stream costs nothing.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


@kernel
def _mix(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> np.uint64(30))) * _MULTIPLIER_1
    word = (word ^ (word >> np.uint64(27))) * _MULTIPLIER_2
    return word ^ (word >> np.uint64(31))


@kernel
def stream(seed: int, subject: int, position: int, impression: int) -> npt.NDArray[np.uint64]:
    """The state, (1,) uint64, of the stream that these four numbers name."""
    state = np.empty(1, np.uint64)
    word = _mix(np.uint64(seed) + _STEP)
    word = _mix(word ^ (np.uint64(subject) + _STEP))
    word = _mix(word ^ (np.uint64(position) + _STEP))
    state[0] = _mix(word ^ (np.uint64(impression) + _STEP))
    return state


@kernel
def uniform(state: npt.NDArray[np.uint64]) -> float:
    """The stream's next number in [0, 1)."""
    state[0] += _STEP
    return float(_mix(state[0]) >> np.uint64(11)) * 2.0**-53


@kernel
def normal(state: npt.NDArray[np.uint64]) -> float:
    """The stream's next standard normal number (Box & Muller 1958, one of the two)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@kernel
def normals(state: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.float64]:
    """The stream's next n standard normal numbers, n even (both of each Box-Muller pair)."""
    numbers = np.empty(n)
    for k in range(0, n, 2):
        radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
        angle = 2.0 * math.pi * uniform(state)
        numbers[k] = radius * math.cos(angle)
        numbers[k + 1] = radius * math.sin(angle)
    return numbers


@kernel
def poisson(state: npt.NDArray[np.uint64], mean: float) -> int:
    """The stream's next Poisson number, for small means (Knuth, volume 2, 3.4.1)."""
    limit = math.exp(-mean)
    product = uniform(state)
    count = 0
    while product > limit:
        product *= uniform(state)
        count += 1
    return count
