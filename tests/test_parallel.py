# SPDX-License-Identifier: Apache-2.0
"""Many things on all cores: in order, a few ahead, and over when it is over."""

import threading
from collections.abc import Iterator

import pytest

from abis.parallel import in_parallel


def test_results_are_in_order_and_things_are_taken_a_few_ahead() -> None:
    taken: list[int] = []

    def things() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    for number, result in enumerate(in_parallel(lambda n: n * n, things(), threads=3)):
        assert result == number * number
        assert len(taken) <= number + 7
    assert len(taken) == 100


@pytest.mark.parametrize("count", [0, 1])
def test_one_thing_takes_no_thread(count: int) -> None:
    own = threading.current_thread()
    assert list(in_parallel(lambda _: threading.current_thread(), range(count))) == count * [own]


def test_several_are_worked_on_at_once() -> None:
    together = threading.Barrier(3, timeout=60)
    assert len(list(in_parallel(lambda _: together.wait(), range(9), threads=3))) == 9


def test_an_error_is_raised_where_its_result_was_due() -> None:
    begun = []

    def work(n: int) -> int:
        begun.append(n)
        return 1 // (n - 3)

    results = in_parallel(work, range(1_000), threads=2)
    assert [next(results) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(begun) < 20
    assert list(results) == []


def test_who_stops_asking_stops_the_work() -> None:
    begun: list[int] = []
    results = in_parallel(begun.append, range(1_000), threads=2)
    next(results)
    results.close()
    assert len(begun) < 20
    assert threading.active_count() < 10
