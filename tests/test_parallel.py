# SPDX-License-Identifier: Apache-2.0
"""Work on all cores: results in order, a few items ahead, and a clean end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from abis import _core
from abis.parallel import available_cores, in_parallel, processes_without_ctrl_c


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


GROUPS = {
    "none": ({}, None),
    "v2, the container's own": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
    "v2, no limit": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
    "v2, less than a core": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "20000 100000"}, 1),
    "v2, of a group above": (
        {
            "proc/self/cgroup": "0::/system.slice/abis.service",
            "sys/fs/cgroup/system.slice/cpu.max": "100000 100000",
            "sys/fs/cgroup/system.slice/abis.service/cpu.max": "max 100000",
        },
        1,
    ),
    "v1": (
        {
            "proc/self/cgroup": "4:memory:/a\n3:cpu,cpuacct:/a\n0::/a",
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
        },
        1,
    ),
    "v1, no limit": (
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        None,
    ),
    "v1, seen from a container by the host's path": (
        {
            "proc/self/cgroup": "3:cpu:/docker/4711",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        1,
    ),
    "damaged": ({"proc/self/cgroup": "0:\n:::\n0::/", "sys/fs/cgroup/cpu.max": "a b"}, None),
    "a period of nothing": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "100 0"}, None),
    "more than there are": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "1e9 1"}, None),
}


@pytest.mark.parametrize(("files", "limit"), GROUPS.values(), ids=GROUPS)
def test_cores_are_no_more_than_the_cpu_quota_pays_for(
    files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert _core.available_cores(str(tmp_path)) == min(every, limit or every)


def test_cores_are_those_that_the_core_counts() -> None:
    assert available_cores() == _core.available_cores("/") >= 1
