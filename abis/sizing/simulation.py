# SPDX-License-Identifier: Apache-2.0
"""Simulate queues: requests arrive at random, wait for their turn, and are served.

Arrivals are a Poisson process, as of many people who act independently. Times of service are drawn from a measured
distribution. ``tests/test_sizing_simulation.py`` compares the results with closed forms.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["Distribution", "fork_join", "many_servers"]

FloatArray = npt.NDArray[np.float64]

WARM_UP = 0.2  # share of the requests that only fill the queues
_FACTORS = 1_024  # equally likely values that stand for the distribution of the factor


@dataclass(frozen=True, eq=False)
class Distribution:
    """A distribution given by quantiles, and uniform between two of them.

    Attributes:
        share: (k,) shares, ascending from 0 to 1.
        value: (k,) the value that each share of the distribution does not exceed, ascending.
    """

    share: FloatArray
    value: FloatArray

    @classmethod
    def of_percentiles(cls, percent: Sequence[float], value: Sequence[float]) -> Self:
        """Make a distribution from percentiles, which include the 0th and the 100th."""
        return cls(np.asarray(percent, np.float64) / 100, np.asarray(value, np.float64))

    @classmethod
    def constant(cls, value: float) -> Self:
        """Make a distribution of a single value."""
        return cls(np.array([0.0, 1.0]), np.array([value, value], np.float64))

    def at(self, share: npt.ArrayLike) -> FloatArray:
        """Quantiles at the shares given. Uniform random shares give random values of the distribution."""
        return np.interp(np.asarray(share, np.float64), self.share, self.value)

    def times(self, factor: float) -> Distribution:
        """The distribution of the values times a factor."""
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
    """Simulate searches in which every shard takes part.

    Each shard works on its searches one after the other, in the order of their arrival. A search ends when its last
    shard has finished it. The work of a search is the same for all shards, times a factor that differs between shards
    and has a mean of about 1.

    Args:
        rate: searches a second.
        work: seconds of a search on one shard.
        factor: a shard's time relative to the work of the search.
        shards: number of shards.
        requests: number of searches; the first fifth only fills the queues and is left out.
        seed: seed of all random numbers.

    Returns:
        (n,) seconds from arrival to answer. If ``rate * work.mean * factor.mean`` is 1 or more, the queues grow
        without limit, and so do these times with ``requests``.
    """
    generator = np.random.default_rng(seed)
    arrival = np.cumsum(generator.exponential(1 / rate, requests))
    seconds = work.at(generator.random(requests))
    factors = factor.at((np.arange(_FACTORS) + 0.5) / _FACTORS)
    finished = np.zeros(requests)
    for _ in range(shards):
        served = seconds * factors[generator.integers(_FACTORS, size=requests)]
        done = np.cumsum(served)
        # The recursion finished[i] = max(finished[i - 1], arrival[i]) + served[i], without a loop (Lindley 1952).
        own = done + np.maximum.accumulate(arrival - (done - served))
        np.maximum(finished, own, out=finished)
    return np.asarray(finished - arrival)[int(WARM_UP * requests) :]


def many_servers(
    rate: float, work: Distribution, *, servers: int, requests: int = 20_000, seed: int = 0
) -> FloatArray:
    """Simulate requests that any one of several servers takes, in the order of their arrival (M/G/c).

    Args:
        rate: requests a second.
        work: seconds of a request.
        servers: number of servers.
        requests: number of requests; the first fifth only fills the queue and is left out.
        seed: seed of all random numbers.

    Returns:
        (n,) seconds from arrival to answer. They grow with ``requests`` if ``rate * work.mean >= servers``.
    """
    generator = np.random.default_rng(seed)
    arrival = np.cumsum(generator.exponential(1 / rate, requests))
    seconds = work.at(generator.random(requests))
    free = [0.0] * servers  # a heap of the times at which the servers become free
    finished = np.empty(requests)
    for i, (arrived, served) in enumerate(zip(arrival.tolist(), seconds.tolist(), strict=True)):
        finished[i] = max(free[0], arrived) + served
        heapq.heapreplace(free, finished[i])
    return np.asarray(finished - arrival)[int(WARM_UP * requests) :]
