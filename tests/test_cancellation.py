# SPDX-License-Identifier: Apache-2.0
"""Searches that are cancelled by another thread end without a result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from people import RIGHT, everything, finger

import abis
from abis.comparison import FingerReferences
from abis.errors import Cancelled
from abis.parallel.cancellation import Cancellation, check_cancelled


class Watched(Cancellation):
    """Says that it was asked, and answers once it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    @property
    def is_cancelled(self) -> bool:
        self.asked.set()
        assert self._cancelled.wait(60)
        return True


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[abis.Gallery]:
    with abis.Gallery.open(tmp_path_factory.mktemp("gallery")) as gallery:
        gallery.enroll_many(abis.Enrollment(f"p{n}", everything(n)) for n in range(20))
        yield gallery


def test_a_loop_of_the_core_ends() -> None:
    references = FingerReferences()
    references.extend([finger(1, RIGHT), finger(1, RIGHT, 1)])
    pairs = np.zeros(50_000, np.int64), np.ones(50_000, np.int64)  # seconds of work: it polls each 50 ms
    cancellation = Cancellation()
    cancellation.cancel()
    with cancellation.covering(), pytest.raises(Cancelled):
        references.compare_pairs(*pairs, threads=2)
    assert (references.compare_pairs(pairs[0][:9], pairs[1][:9], threads=2) > 0).all()


@pytest.mark.parametrize("exact", [False, True])
def test_an_identification_ends_when_another_thread_cancels_it(gallery: abis.Gallery, exact: bool) -> None:
    cancellation = Watched()
    ended: list[BaseException] = []

    def search() -> None:
        try:
            with cancellation.covering():
                gallery.identify(everything(3, 1), exact=exact)
        except Cancelled as error:
            ended.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    assert cancellation.asked.wait(60)
    cancellation.cancel()
    thread.join()
    assert len(ended) == 1
    assert gallery.identify(everything(3, 1), exact=exact)[0].subject_id == "p3"


def test_a_batch_of_searches_ends_in_all_threads(gallery: abis.Gallery) -> None:
    cancellation = Cancellation()
    results = gallery.identify_many(everything(n, 1) for n in range(40))
    with cancellation.covering():
        next(results)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            list(results)


def test_blocks_nest_and_end(tmp_path: Path) -> None:
    outer, inner = Cancellation(), Cancellation()
    inner.cancel()
    with outer.covering():
        with inner.covering(), pytest.raises(Cancelled):
            check_cancelled()
        check_cancelled()
    with inner.covering(), abis.Gallery.open(tmp_path) as gallery:
        gallery.enroll("p", everything(1))  # changes are not cancelled
        assert gallery.verify(everything(1, 1), "p").match
