# SPDX-License-Identifier: Apache-2.0
"""Many images at once, in processes of their own.

A process, and not a thread, for each core: networks are C++ code, and if a process dies, one image fails and not the
run. Each process has files decoded by a process without secrets (:mod:`abis.extraction.isolation`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

from abis.errors import AbisError
from abis.extraction.cache import Cache
from abis.extraction.extracting import Extraction, ExtractionSettings, extract_all
from abis.parallel import available_cores, leave_ctrl_c_to_parent, processes_without_ctrl_c
from abis.template import Position

__all__ = ["ExtractionTask", "Extractors", "extract_many"]

_FEW = 8  # images that are read in less time than processes take to start
_AHEAD = 2  # images a worker that are handed out before their results are asked for


def extract_many(
    images: Iterable[bytes | os.PathLike[str]],
    *,
    position: Position | None = None,
    dpi: float | None = None,
    face_model: Path | None = None,
    allow_poor: bool = False,
    voice_model: Path | None = None,
    workers: int = 0,
    cache: Path | None = None,
) -> Iterator[Extraction]:
    """What comes of each image, in their order. A failure is an outcome with a reason, not an exception.

    For more than a few images, processes are started, unless ``workers`` is 1: a script then calls this below
    ``if __name__ == "__main__":``.

    Args:
        images: files, by their content or path; see :func:`abis.extraction.extract`. Taken as they are needed.
        position: what all of them show; None for records of ISO/IEC 19794, which state it.
        dpi: pixels an inch of all finger images; None takes a record's own, else 500.
        face_model: an ONNX file of another face network than SFace.
        allow_poor: make templates of poor portraits too, with a note.
        voice_model: an ONNX file of a speaker model, for recordings.
        workers: how many processes; 0 is one a core, or none but this one for up to 8 images; 1 is none but this one.
        cache: a folder that keeps what was extracted, made where it is not; not encrypted.
    """
    settings = ExtractionSettings(position, dpi, face_model, allow_poor, voice_model)
    source = iter(images)
    first = list(islice(source, _FEW + 1))
    if workers == 0 and len(first) <= _FEW:
        workers = 1
    with Extractors(workers=workers, cache=cache) as extractors:
        tasks: deque[ExtractionTask] = deque()
        for image in chain(first, source):
            tasks.append(extractors.submit(image, settings))
            if len(tasks) > extractors.ahead:
                yield extractors.result(tasks.popleft())
        while tasks:
            yield extractors.result(tasks.popleft())


@dataclass
class ExtractionTask:
    """An image that was handed out."""

    image: bytes | Path
    settings: ExtractionSettings
    future: Future[Extraction]


class Extractors:
    """Processes that extract; a context manager.

    Attributes:
        ahead: how many tasks keep all processes busy.
    """

    def __init__(self, *, workers: int = 0, cache: Path | None = None) -> None:
        self._workers = workers or available_cores()
        self._cache = cache
        self._pool: ProcessPoolExecutor | None = None
        self.ahead = 0 if self._workers == 1 else _AHEAD * self._workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, image: bytes | os.PathLike[str], settings: ExtractionSettings) -> ExtractionTask:
        """Hand an image out."""
        given = image if isinstance(image, bytes) else Path(image)
        return ExtractionTask(given, settings, self._start(given, settings))

    def result(self, task: ExtractionTask) -> Extraction:
        """What came of it; waits for that.

        Raises:
            AbisError: a network's file is not installed or cannot be run.
        """
        try:
            return task.future.result()
        except BrokenProcessPool:  # some process died, on this image or another one
            return self._alone(task)

    def _start(self, image: bytes | Path, settings: ExtractionSettings) -> Future[Extraction]:
        if self._workers == 1:
            return _done_here(image, settings, self._cache)
        if self._pool is None:
            self._pool = _new_pool(self._workers)
        with processes_without_ctrl_c():  # a task may start one
            try:
                return self._pool.submit(_extract, image, settings, self._cache)
            except BrokenProcessPool:
                self._pool = _new_pool(self._workers)
                return self._pool.submit(_extract, image, settings, self._cache)

    def _alone(self, task: ExtractionTask) -> Extraction:
        """The image in a process of its own: if that dies too, it is this image's fault."""
        with _new_pool(1) as pool:
            try:
                with processes_without_ctrl_c():
                    first = pool.submit(available_cores)
                first.result()  # to see that processes start at all
            except BrokenProcessPool:
                raise AbisError(
                    "processes do not start: call extract_many below `if __name__ == '__main__':`, "
                    "or with workers=1"
                ) from None
            try:
                return pool.submit(_extract, task.image, task.settings, self._cache).result()
            except BrokenProcessPool:
                return Extraction((), reason="the process that read the image crashed")


def _new_pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=leave_ctrl_c_to_parent)


def _done_here(image: bytes | Path, settings: ExtractionSettings, cache: Path | None) -> Future[Extraction]:
    future: Future[Extraction] = Future()
    future.set_result(_extract(image, settings, cache))
    return future


def _extract(image: bytes | Path, settings: ExtractionSettings, cache: Path | None) -> Extraction:
    if isinstance(image, Path):
        try:
            image = image.read_bytes()
        except OSError as error:
            return Extraction((), reason=f"the file cannot be read: {error.strerror}")
    if cache is None:
        return extract_all(image, settings)
    kept = Cache(cache)
    key = kept.key(image, settings)
    if (known := kept.get(key)) is not None:
        return known
    extraction = extract_all(image, settings)
    try:
        kept.put(key, extraction)
    except OSError as error:
        raise AbisError(f"{cache}: what was extracted cannot be kept: {error.strerror}") from None
    return extraction
