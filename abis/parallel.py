# SPDX-License-Identifier: Apache-2.0
"""A function over many things on all cores, in order, a few ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain, islice
from typing import TypeVar

__all__ = ["available_cores", "in_parallel"]

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


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
