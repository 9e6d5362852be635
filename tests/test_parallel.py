# SPDX-License-Identifier: Apache-2.0
"""Many things on all cores: in order, a few ahead, and over when it is over."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from abis.parallel import in_parallel, processes_without_ctrl_c


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


STARTING = """
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from abis.parallel import leave_ctrl_c_to_parent, processes_without_ctrl_c

def main():
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=leave_ctrl_c_to_parent) as pool:
        try:
            with processes_without_ctrl_c():
                one = pool.submit(abs, -1)
                os.killpg(0, signal.SIGINT)  # as a terminal does, while they are starting
                print("still starting", flush=True)
            print("Ctrl-C was lost", flush=True)
        except KeyboardInterrupt:
            print("interrupted", one.result(), flush=True)

if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_ctrl_c_while_processes_start_is_for_their_parent_and_comes_after(tmp_path: Path) -> None:
    (tmp_path / "starting.py").write_text(STARTING)
    done = subprocess.run(
        [sys.executable, tmp_path / "starting.py"],
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("still starting\ninterrupted 1\n", "", 0)


def test_ctrl_c_is_as_before_when_processes_have_started() -> None:
    before = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with processes_without_ctrl_c():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert (signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, [])) == before
    others: list[bool] = []
    thread = threading.Thread(target=lambda: others.append(_starts_in_another_thread()))
    thread.start()
    thread.join()
    assert others == [True]


def _starts_in_another_thread() -> bool:
    with processes_without_ctrl_c():
        return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
