# SPDX-License-Identifier: Apache-2.0
"""The queue simulation against closed forms."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from abis.sizing.simulation import Distribution, fork_join, many_servers

ONE = Distribution.constant(1.0)
SHARE = np.append(1 - np.exp(-np.linspace(0, 16, 4_001)), 1.0)
EXPONENTIAL = Distribution(SHARE, np.append(np.linspace(0, 16, 4_001), 17.0))  # of mean 1
REQUESTS = 400_000


def assert_is_mean(found: npt.NDArray[np.float64], expected: float) -> None:
    """Within four standard errors, by the means of batches: requests that follow each other are alike."""
    batches = found[: len(found) // 40 * 40].reshape(40, -1).mean(axis=1)
    error = batches.std(ddof=1) / math.sqrt(len(batches))
    assert error < 0.05 * expected, "the simulation is long enough to tell"
    assert abs(batches.mean() - expected) < 4 * error


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_of_random_times_is_m_m_1(load: float) -> None:
    found = fork_join(load, EXPONENTIAL, ONE, shards=1, requests=REQUESTS)
    assert_is_mean(found, 1 / (1 - load))
    # the whole distribution: exponential
    for share in (0.5, 0.95):
        assert np.quantile(found, share) == pytest.approx(-math.log(1 - share) / (1 - load), rel=0.05)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_of_constant_times_is_m_d_1(load: float) -> None:
    found = fork_join(load, ONE, ONE, shards=1, requests=REQUESTS)
    assert_is_mean(found, 1 + load / (2 * (1 - load)))  # Pollaczek and Khinchine


def test_the_measured_kind_of_distribution_is_m_g_1() -> None:
    work = Distribution.of_percentiles([0, 50, 95, 100], [0.5, 0.9, 2.0, 5.0])
    values = work.at((np.arange(100_000) + 0.5) / 100_000)
    assert work.mean == pytest.approx(values.mean(), rel=1e-6)
    rate = 0.7 / work.mean
    expected = work.mean + rate * float(np.mean(values**2)) / (2 * (1 - 0.7))
    assert_is_mean(fork_join(rate, work, ONE, shards=1, requests=REQUESTS), expected)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (3, 0.8), (16, 0.9)])
def test_many_servers_are_erlang_c(servers: int, load: float) -> None:
    rate = servers * load
    found = many_servers(rate, EXPONENTIAL, servers=servers, requests=REQUESTS)
    terms = [rate**k / math.factorial(k) for k in range(servers)]
    last = rate**servers / math.factorial(servers) / (1 - load)
    waits = last / (sum(terms) + last)
    assert_is_mean(found, 1 + waits / (servers - rate))


def test_without_load_a_search_takes_as_long_as_its_slowest_shard() -> None:
    found = fork_join(1e-6, ONE, EXPONENTIAL, shards=10, requests=100_000)
    assert_is_mean(found, sum(1 / k for k in range(1, 11)))  # the largest of ten exponentials


@pytest.mark.parametrize("load", [0.4, 0.8])
def test_two_shards_are_fork_and_join(load: float) -> None:
    """Flatto and Hahn 1984; Nelson and Tantawi 1988, equation 6."""
    found = fork_join(load, ONE, EXPONENTIAL, shards=2, requests=REQUESTS)
    assert_is_mean(found, (12 - load) / 8 / (1 - load))


def test_shards_that_do_not_differ_are_one() -> None:
    alone = fork_join(0.7, EXPONENTIAL, ONE, shards=1)
    assert np.array_equal(alone, fork_join(0.7, EXPONENTIAL, ONE, shards=8))


def test_beyond_the_limit_the_queue_grows_without_end() -> None:
    def last(load: float, requests: int) -> float:
        return float(fork_join(load, EXPONENTIAL, ONE, shards=1, requests=requests)[-1_000:].mean())

    assert last(1.2, 200_000) == pytest.approx(10 * last(1.2, 20_000), rel=0.2)
    assert last(1.2, 200_000) == pytest.approx(200_000 * (1 - 1 / 1.2), rel=0.05)
    assert last(0.8, 200_000) < 50


def test_the_same_seed_gives_the_same() -> None:
    first, again, other = (fork_join(0.5, EXPONENTIAL, EXPONENTIAL, shards=3, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
