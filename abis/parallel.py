# SPDX-License-Identifier: Apache-2.0
"""A function over many things on all cores, in order, a few ahead; and processes that leave Ctrl-C to their parent."""

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
    """Results in the order of the things, which are taken no further ahead than two a thread.

    Where the iteration ends early, by an error, Ctrl-C or because nobody asks for more, what has begun is
    waited for and the rest is not begun.

    Args:
        function: called in several threads at once; what it raises is raised where its result was due.
        things: taken in the thread that iterates.
        threads: how many; 0 is one a core.

    >>> list(in_parallel(str.upper, ["a", "b", "c"]))
    ['A', 'B', 'C']
    """
    source = iter(things)
    first = list(islice(source, 2))
    if len(first) < 2:  # making a thread may take longer than the thing: FAISS gives each its own team
        yield from map(function, first)
        return
    threads = threads or available_cores()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="abis")
    waiting: deque[Future[_Made]] = deque()
    try:
        for thing in chain(first, source):
            waiting.append(pool.submit(copy_context().run, function, thing))  # as who iterates: audit.acting
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def processes_without_ctrl_c() -> Iterator[None]:
    """Ctrl-C is held back from processes started meanwhile, which call :func:`leave_ctrl_c_to_parent` before all else.

    A terminal sends it to all of them, and a process that is just starting would answer with a traceback. Here it
    counts when they are started. Does nothing in other threads than the main one, which have no say in it.
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
    """Be deaf to it from now on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def available_cores() -> int:
    """CPU cores that this process may use: 1 or more.

    They are the cores that the calling thread may run on, but no more than the CPU quota of its control group pays for
    (Linux, cgroup version 2 or 1; rounded up). The core counts in the same way where ``threads`` is 0.
    """
    return _core.available_cores("/")
