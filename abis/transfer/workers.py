# SPDX-License-Identifier: Apache-2.0
"""Prepare batches in worker processes, and return them in order.

Each worker has a pipe to this process and ends when the pipe is closed, also if this process is killed. So no worker is
left running.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection

from abis.errors import AbisError
from abis.parallel import leave_ctrl_c_to_parent, processes_without_ctrl_c
from abis.store import StoredEnrollment
from abis.store.import_records import Prepared, Record, Rejected
from abis.transfer.preparation import PreparedBatch, prepare_batch

__all__ = ["collected_by_hand", "prepare_all"]

Batch = Sequence[Record]


def prepare_all(batches: Iterable[Batch], workers: int) -> Generator[tuple[Batch, PreparedBatch], None, None]:
    """Yield each batch and its preparation, in order.

    Args:
        batches: as many as there are workers, and one more, are in memory at once.
        workers: processes besides this one; 0 does all of it here. They import the main module, as all
            processes of :mod:`multiprocessing` do: a script needs its ``if __name__ == "__main__"``.
    """
    if workers == 0:
        for batch in batches:
            yield batch, prepare_batch(batch)
        return
    with ExitStack() as stack:
        idle = deque(stack.enter_context(closing(_start(stack))) for _ in range(workers))
        busy: deque[tuple[Connection, Batch]] = deque()
        for batch in batches:
            finished = None
            if not idle:
                worker, finished = busy.popleft()
                prepared = _received(worker)
                idle.append(worker)
            worker = idle.popleft()
            worker.send([record.plain() for record in batch])
            busy.append((worker, batch))
            if finished is not None:  # only now, so that the worker does not wait while the batch is written
                yield finished, prepared
        for worker, batch in busy:
            yield batch, _received(worker)


def _start(stack: ExitStack) -> Connection:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there,), daemon=True)
    with processes_without_ctrl_c():
        process.start()
    there.close()
    stack.callback(process.join)  # after its pipe has been closed
    return here


@contextmanager
def collected_by_hand() -> Iterator[None]:
    """Stop Python's automatic garbage collection, which takes a fifth of the time among millions of records.

    The caller calls ``gc.collect(0)`` from time to time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _work(pipe: Connection) -> None:
    leave_ctrl_c_to_parent()
    gc.disable()
    try:
        while True:
            gc.collect(0)
            batch = prepare_batch([Record.of_plain(plain) for plain in pipe.recv()])
            plain = [(isinstance(one, Rejected), *one) for one in batch.prepared]
            pipe.send((plain, batch.sha256, batch.repairs))
    except (EOFError, ConnectionError):  # the other process has ended or closed its pipe
        return


def _received(worker: Connection) -> PreparedBatch:
    try:
        plain, sha256, repairs = worker.recv()
    except (EOFError, ConnectionError):
        raise AbisError("a worker process exited unexpectedly; see its output above") from None
    prepared: list[Prepared] = [
        Rejected(*one) if is_rejected else StoredEnrollment(*one) for is_rejected, *one in plain
    ]
    return PreparedBatch(prepared, sha256, repairs)
