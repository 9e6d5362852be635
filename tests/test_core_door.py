# SPDX-License-Identifier: Apache-2.0
"""The border between Python and the core: what it refuses, and what several threads may do at once."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import numpy as np
import pytest
from fingers import make_finger, make_impression

from abis import _core
from abis.comparison import FingerReferences
from abis.comparison.minutiae import columns, columns_of_many
from abis.deduplication.finger_tile import FingerTile
from abis.index.finger_index import COLUMNS, FingerIndex, ready

RNG = np.random.default_rng(7)
TEMPLATES = [make_impression(make_finger(RNG, n), RNG) for n in (40, 0, 7, 60, 25)]
PROBE = TEMPLATES[0]
NO_SLOTS = np.empty(0, np.int64)


def misaligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values, one byte off."""
    shifted = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return np.asarray(shifted)


def index() -> FingerIndex:
    return FingerIndex.of(TEMPLATES)


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[list[str]]:
    """Runs ``act`` when the core looks for signals, within the call that the block makes.

    Gives the list of what went wrong: the texts of the RuntimeErrors that ``act`` raised.
    """
    faults: list[str] = []

    def handle(*_: object) -> None:
        try:
            act()
        except RuntimeError as error:
            faults.append(str(error))
        else:
            faults.append("")

    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)  # of CPU time: what the call needs to begin is far less
    try:
        yield faults
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class EnoughError(Exception):
    """Ends a call that would take minutes."""


def ending(act: Callable[[], object]) -> Callable[[], None]:
    """``act``, and then the end of the call that it is in, unless it raises a RuntimeError itself."""

    def both() -> None:
        try:
            act()
        except RuntimeError as error:
            raise EnoughError(str(error)) from None
        raise EnoughError("")

    return both


MANY = np.zeros(5_000_000, np.int64)  # slots: minutes of full comparisons


@pytest.mark.parametrize("kind", [FingerIndex, FingerReferences])
def test_an_object_is_not_changed_while_it_is_used(kind: type[FingerIndex] | type[FingerReferences]) -> None:
    own = kind()
    own.extend(TEMPLATES)
    changes: list[Callable[[], object]] = [lambda: own.extend(TEMPLATES), lambda: own.remove(NO_SLOTS)]
    for change in changes:
        with (
            meanwhile(ending(change)),
            pytest.raises(EnoughError, match="another thread is using this object"),
        ):
            own.compare(PROBE, MANY, threads=1)
        assert len(own) == len(TEMPLATES)
    for change in changes:
        change()  # afterwards it may
    assert len(own) == 2 * len(TEMPLATES)


@pytest.mark.parametrize("kind", [FingerIndex, FingerReferences])
def test_an_object_is_not_used_while_it_is_changed(kind: type[FingerIndex] | type[FingerReferences]) -> None:
    own = kind()
    own.extend(TEMPLATES)
    minutiae, count = columns_of_many([PROBE])[:5], 50_000
    given = [*(np.tile(column, count) for column in minutiae), np.full(count, len(PROBE))]
    resolutions = np.full((count, 2), 197, np.int32)
    for use in (lambda: len(own), lambda: own.compare(PROBE, NO_SLOTS), lambda: own.memory_bytes):
        with (
            meanwhile(ending(use)),
            pytest.raises(EnoughError, match="another thread is changing this object"),
        ):
            own._core.append(*given, resolutions, 1)  # type: ignore[call-arg,arg-type]
        use()
    assert len(own) == len(TEMPLATES)


def test_an_object_may_be_used_while_it_is_used() -> None:
    own = index()
    expected = own.screen(PROBE)
    found: list[Any] = []
    with meanwhile(ending(lambda: found.append(own.screen(PROBE)))), pytest.raises(EnoughError, match=r"^$"):
        own.compare(PROBE, MANY, threads=1)
    np.testing.assert_array_equal(found, [expected])


def test_a_tally_is_used_by_one_thread_at_a_time() -> None:
    tally = _core.Tally()
    tally.begin(2_000_000)
    tally.next_position()
    refused = threading.Event()

    def use() -> None:
        for _ in range(10_000):  # until two threads meet, which is at once: the GIL is given up in the call
            try:
                tally.largest(5, None)
            except RuntimeError:
                refused.set()
            if refused.is_set():
                return

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused.is_set()
    assert tally.largest(5, None).size == 0


@pytest.mark.parametrize("method", ["sift", "refine"])
def test_slots_may_change_while_they_are_used(method: str) -> None:
    own = index()
    slots = np.zeros(200_000 if method == "refine" else 2_000_000, np.int64)
    expected = getattr(own, method)(PROBE, slots[:1])
    with meanwhile(lambda: slots.fill(2**40)) as done:
        found = getattr(own, method)(PROBE, slots, threads=1)  # has copied them before it looks for signals
    assert done == [""]
    assert (found == expected).all()


def test_four_threads_may_be_the_first_to_ask_what_is_near() -> None:
    arrays = FingerIndex.of(TEMPLATES * 40).arrays()
    limits = np.full(len(TEMPLATES) * 40, len(TEMPLATES) * 40, np.int64)
    expected = FingerTile(arrays).near(FingerTile(arrays), limits, 0.0)
    for _ in range(5):
        tile = FingerTile(arrays)
        together = threading.Barrier(4)
        found: list[Any] = []

        def ask(tile: FingerTile = tile, together: threading.Barrier = together, found: Any = found) -> None:
            together.wait()
            assert tile.memory_bytes > 0  # reads what the others make
            found.append(tile.near(tile, limits, 0.0, threads=2))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        for one in found:
            for column, other in zip(expected, one, strict=True):
                np.testing.assert_array_equal(column, other)


def test_ctrl_c_ends_what_tables_are_made_for() -> None:
    tile = FingerTile(FingerIndex.of(TEMPLATES * 400).arrays())
    limits = np.full(len(tile), len(tile), np.int64)

    def interrupt() -> None:
        raise EnoughError

    def ask() -> None:
        for _ in repeat(None):
            tile.near(tile, limits, 0.0, threads=1)

    with meanwhile(interrupt), pytest.raises(EnoughError):
        ask()
    assert len(tile.near(tile, limits[:1], 0.0)[0]) > 0


@pytest.mark.parametrize("name", [name for name, dtype in COLUMNS.items() if np.dtype(dtype).itemsize > 1])
def test_arrays_that_are_not_aligned_are_refused(name: str) -> None:
    arrays = index().arrays()
    arrays[name] = misaligned(arrays[name])
    with pytest.raises(ValueError, match=rf"{name} is .*not aligned"):
        FingerIndex.from_arrays(arrays)
    with pytest.raises(TypeError):
        _core.FingerIndex.from_columns(*arrays.values())


def test_indices_that_are_not_aligned_are_refused() -> None:
    for call in (index().remove, lambda slots: index().sift(PROBE, slots)):
        with pytest.raises(TypeError, match=r"slots is .*not aligned"):
            call(misaligned(np.zeros(2, np.int64)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (2, np.nan, "direction must be 0 to 360 degrees"),
        (2, 360, "direction must be 0 to 360 degrees"),
        (2, -1e-9, "direction must be 0 to 360 degrees"),
        (3, 200, "kind must be 0 to 2"),
        (4, 101, "quality must be 0 to 100, or 255"),
        (5, 256, "a template holds 0 to 255 minutiae"),
        (5, -1, "a template holds 0 to 255 minutiae"),
        (5, 41, "counts add up to more minutiae than there are"),
        (6, 0, "resolution must be 1 to 65535"),
        (6, 2**30, "resolution must be 1 to 65535"),
    ],
)
@pytest.mark.parametrize("kind", [_core.FingerIndex, _core.References])
def test_templates_that_cannot_be_are_refused(
    kind: type[_core.FingerIndex] | type[_core.References], column: int, value: float, message: str
) -> None:
    given = [array.copy() for array in columns_of_many([TEMPLATES[0]])]
    given[column].flat[0] = value
    own = kind()
    with pytest.raises(ValueError, match=message):
        own.append(*given, 1)  # type: ignore[call-arg,arg-type]
    assert len(own) == 0
    one = [array.copy() if isinstance(array, np.ndarray) else array for array in columns(PROBE)]
    if column < 5:
        one[column].flat[0] = value  # type: ignore[union-attr]
    elif column == 6:
        one[5] = int(value)
    else:
        return
    for call in (_core.prepare, _core.FingerProbe):
        with pytest.raises(ValueError, match=message):
            call(*one)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [2**63 - 1, 2**62, 6])
def test_probes_beyond_the_last_are_refused(first: int) -> None:
    tile = FingerTile(index().arrays())
    with pytest.raises(ValueError, match="limits must be"):
        tile.near(tile, np.full(1, 5, np.int64), 0.0, first=first)


def test_a_tally_that_cannot_be_made_room_for_stays_as_it_was() -> None:
    own = index()
    probe = ready(PROBE)
    subjects = np.arange(len(own), dtype=np.uint32)
    tally = _core.Tally()
    tally.begin(len(own))
    tally.next_position()
    _core.screen_fingers((tally,), own._core, (probe,), subjects, True, None, 1)
    best = tally.largest(1, None)
    tally.next_position()
    with pytest.raises(ValueError, match="vector"):  # what memory lacks: tests/native/allocation_failures.cpp
        tally.begin(2**62)
    _core.screen_fingers((tally,), own._core, (probe,), subjects, True, None, 1)
    np.testing.assert_array_equal(tally.largest(1, None), best)
    np.testing.assert_array_equal(tally.largest(100, None), subjects)


def test_any_byte_but_0_marks_what_is_gone() -> None:
    own = index()
    gone = np.array([2, 0, 255, 0, 1], np.uint8).view(np.bool_)
    tally = _core.Tally()
    for subjects, is_run in ((np.arange(5), True), (np.arange(5)[::-1].copy(), False)):
        tally.begin(5)
        tally.next_position()
        _core.screen_fingers((tally,), own._core, (ready(PROBE),), subjects, is_run, gone, 1)
        np.testing.assert_array_equal(tally.largest(5, None), np.sort(subjects[[1, 3]]))


FORKED = """
import os, signal, sys
import numpy as np
from abis import _core

def column(dtype, n):
    return np.arange(n).astype(dtype)

n = 30
own = _core.References()
columns = (column(np.uint16, n), column(np.uint16, n), column(np.float32, n), np.ones(n, np.uint8), column(np.uint8, n))
counts, resolutions = np.full(1000, 30), np.full((1000, 2), 197, np.int32)
own.append(*(np.tile(c, 1000) for c in columns), counts, resolutions, 3)
expected = own.compare(*columns, 197, 197, None, -np.inf, 3)
child = os.fork()
if child == 0:
    signal.alarm(60)  # ends the child if it waits for threads that it does not have
    os._exit(not (own.compare(*columns, 197, 197, None, -np.inf, 3) == expected).all())
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
