# SPDX-License-Identifier: Apache-2.0
"""Threads over many items in order, the number of available cores, and processes that leave Ctrl-C to their parent."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from itertools import chain, islice
from multiprocessing import resource_tracker
from typing import TypeVar

from abis import _core

__all__ = ["available_cores", "in_parallel", "leave_ctrl_c_to_parent", "processes_without_ctrl_c"]

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def in_parallel(
    function: Callable[[_Given], _Made], things: Iterable[_Given], *, threads: int = 0
) -> Generator[_Made, None, None]:
    """Call a function for each item in several threads, and yield the results in the order of the items.

    No more than two items a thread are taken ahead. If the iteration ends early, by an error, by Ctrl-C or because it
    is closed, calls under way are waited for and no others are begun.

    Args:
        function: called in several threads at once. An exception is raised where the result was due.
        things: the items, taken in the thread that iterates.
        threads: number of threads; 0 uses one for each available core.

    Yields:
        The result for each item.

    >>> list(in_parallel(str.upper, ["a", "b", "c"]))
    ['A', 'B', 'C']
    """
    source = iter(things)
    first = list(islice(source, 2))
    if len(first) < 2:  # a new thread may cost more than one item: FAISS makes a team for each thread
        yield from map(function, first)
        return
    threads = threads or available_cores()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="abis")
    waiting: deque[Future[_Made]] = deque()
    try:
        for thing in chain(first, source):
            # With the context of the iteration: audit.acting counts there.
            waiting.append(pool.submit(copy_context().run, function, thing))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def processes_without_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C from processes that start in the ``with`` block.

    A terminal sends SIGINT to all processes, and a process that is just starting would answer with a traceback. The
    processes call :func:`leave_ctrl_c_to_parent` first. If SIGINT comes during the block, it takes effect at its end.
    Outside of the main thread the block has no effect.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the process that multiprocessing starts first lifts the block
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def leave_ctrl_c_to_parent() -> None:
    """Ignore SIGINT in this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def available_cores() -> int:
    """CPU cores that this process may use: 1 or more.

    They are the cores that the calling thread may run on, but no more than the CPU quota of its control group pays for
    (Linux, cgroup version 2 or 1; rounded up). The core counts in the same way where ``threads`` is 0.
    """
    return _core.available_cores("/")
