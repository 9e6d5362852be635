# SPDX-License-Identifier: Apache-2.0
"""Cancel a search that another thread is working on.

The core looks for Ctrl-C between blocks of its loops. With this module loaded it also asks whether the work of its
thread was cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from abis import _core
from abis.errors import Cancelled

__all__ = ["Cancellation", "check_cancelled"]


class Cancellation:
    """A request to end searches, made by another thread than the one that waits for them.

    Identifications in a :meth:`covering` block raise :class:`abis.errors.Cancelled` within some 50 ms of
    :meth:`cancel`, also in the threads that they use. Enrolments and other changes are not cancelled: each is one
    transaction. Safe for threads.

    >>> cancellation = Cancellation()
    >>> cancellation.cancel()
    >>> with cancellation.covering():
    ...     check_cancelled()
    Traceback (most recent call last):
    abis.errors.Cancelled: the work was cancelled
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End what runs in blocks of this object, and whatever enters one later."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled.is_set()

    @contextmanager
    def covering(self) -> Iterator[None]:
        """A block whose searches :meth:`cancel` ends."""
        token = _present.set(self)
        try:
            yield
        finally:
            _present.reset(token)


_present: ContextVar[Cancellation | None] = ContextVar("abis_cancellation", default=None)


def check_cancelled() -> None:
    """End here if the work of this thread was cancelled.

    Raises:
        Cancelled: it was.
    """
    present = _present.get()
    if present is not None and present.is_cancelled:
        raise Cancelled("the work was cancelled")


_core.set_poll(check_cancelled)
