# SPDX-License-Identifier: Apache-2.0
"""Queues, event by event: how long requests take that arrive at random, wait for their turn, and are served.

Arrivals are a Poisson process: many people who know nothing of each other. Times of service are drawn from a
measured distribution. What comes out is held against closed forms in ``tests/test_sizing_simulation.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["Distribution", "fork_join", "many_servers"]

FloatArray = npt.NDArray[np.float64]

WARM_UP = 0.2  # share of the requests that only fill the queue
_FACTORS = 1_024  # equally likely values that stand for the distribution of the factor


@dataclass(frozen=True, eq=False)
class Distribution:
    """A distribution known by its quantiles; between two of them every value is as likely.

    Attributes:
        share: (k,) ascending from 0 to 1.
        value: (k,) ascending: what this share of the values does not exceed.
    """

    share: FloatArray
    value: FloatArray

    @classmethod
    def of_percentiles(cls, percent: Sequence[float], value: Sequence[float]) -> Self:
        """From percentiles, the 0th and the 100th among them."""
        return cls(np.asarray(percent, np.float64) / 100, np.asarray(value, np.float64))

    @classmethod
    def constant(cls, value: float) -> Self:
        """Always the same."""
        return cls(np.array([0.0, 1.0]), np.array([value, value], np.float64))

    def at(self, share: npt.ArrayLike) -> FloatArray:
        """Quantiles; of uniform random shares, random values."""
        return np.interp(np.asarray(share, np.float64), self.share, self.value)

    def times(self, factor: float) -> Distribution:
        """Of the values times a factor."""
        return Distribution(self.share, self.value * factor)

    @property
    def mean(self) -> float:
        """The expected value."""
        return float(np.sum(np.diff(self.share) * (self.value[1:] + self.value[:-1]) / 2))


def fork_join(
    rate: float,
    work: Distribution,
    factor: Distribution,
    *,
    shards: int,
    requests: int = 20_000,
    seed: int = 0,
) -> FloatArray:
    """Latencies of searches that every shard takes part in.

    Each shard works by itself, one search after the other in the order of their arrival; a search is over when
    its slowest shard is. How much work it is depends on the search, for all shards alike, times a factor that
    differs from shard to shard and has a mean of about 1.

    Args:
        rate: searches a second.
        work: seconds of a search on one shard.
        factor: of one shard against another.
        shards: how many.
        requests: how many are simulated; the first fifth is left out.
        seed: of everything random.

    Returns:
        (n,) seconds from arrival to answer. Where ``rate * work.mean * factor.mean`` is 1 or more there is no
        such distribution: they grow with ``requests``.
    """
    generator = np.random.default_rng(seed)
    arrival = np.cumsum(generator.exponential(1 / rate, requests))
    seconds = work.at(generator.random(requests))
    factors = factor.at((np.arange(_FACTORS) + 0.5) / _FACTORS)
    finished = _fork_join(arrival, seconds, factors, shards, generator)
    return np.asarray(finished - arrival)[int(WARM_UP * requests) :]


def many_servers(
    rate: float, work: Distribution, *, servers: int, requests: int = 20_000, seed: int = 0
) -> FloatArray:
    """Latencies of requests that any one of several servers takes, in the order of their arrival (M/G/c).

    Args:
        rate: requests a second.
        work: seconds of a request.
        servers: how many.
        requests: how many are simulated; the first fifth is left out.
        seed: of everything random.

    Returns:
        (n,) seconds from arrival to answer; they grow with ``requests`` where ``rate * work.mean >= servers``.
    """
    generator = np.random.default_rng(seed)
    arrival = np.cumsum(generator.exponential(1 / rate, requests))
    finished = _many_servers(arrival, work.at(generator.random(requests)), servers)
    return np.asarray(finished - arrival)[int(WARM_UP * requests) :]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _fork_join(
    arrival: FloatArray, seconds: FloatArray, factors: FloatArray, shards: int, generator: np.random.Generator
) -> FloatArray:
    free = np.zeros(shards)
    finished = np.empty(len(arrival))
    for i in range(len(arrival)):
        last = 0.0
        for shard in range(shards):
            factor = factors[int(generator.random() * len(factors))]
            free[shard] = max(free[shard], arrival[i]) + seconds[i] * factor
            last = max(last, free[shard])
        finished[i] = last
    return finished


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _many_servers(arrival: FloatArray, seconds: FloatArray, servers: int) -> FloatArray:
    free = np.zeros(servers)
    finished = np.empty(len(arrival))
    for i in range(len(arrival)):
        first = free.argmin()
        free[first] = max(free[first], arrival[i]) + seconds[i]
        finished[i] = free[first]
    return finished
