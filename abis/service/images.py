# SPDX-License-Identifier: Apache-2.0
"""The service's door to :mod:`abis.extraction`, which comes with an extra of its own."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from abis.errors import ExtractionError
from abis.service.refusals import Refusal
from abis.template import Position, Template

try:
    import PIL.Image

    from abis.extraction import images as pictures
    from abis.extraction import records
    from abis.extraction.extracting import ExtractionSettings
    from abis.extraction.workers import Extractors
except ModuleNotFoundError:
    _IS_INSTALLED = False
else:
    _IS_INSTALLED = True
    _RECORDS = (records.FINGER, records.FACE, records.IRIS)

__all__ = ["Images"]


class Images:
    """Makes templates of images, in processes of their own: files come from anywhere. Safe for threads.

    Args:
        pixels: the most pixels of an image.
        seconds: the longest that an image may take.
        face_model: ONNX file of a face network; None: SFace.
        workers: processes; 0 is one a core, 1 is none but this one.
    """

    def __init__(
        self, *, pixels: int, seconds: float, face_model: Path | None = None, workers: int = 0
    ) -> None:
        self._pixels = pixels
        self._seconds = seconds
        self._face_model = face_model
        self._lock = threading.Lock()
        self._extractors = Extractors(workers=workers) if _IS_INSTALLED else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        if self._extractors is not None:
            self._extractors.__exit__(None, None, None)

    def templates_of(
        self, image: bytes, position: Position | None, dpi: float | None
    ) -> tuple[Template, ...]:
        """The templates of an image file, or of all images of an ISO/IEC 19794 record.

        Args:
            image: the file.
            position: what it shows; None where a record says so. A record of several positions says so itself.
            dpi: pixels an inch of a finger; None where a record says so, or where it is 500.

        Raises:
            Refusal: extraction is not installed, or the image takes too long.
            ExtractionError: no template can be made of it.
            FormatError: a record is not as its standard says.
        """
        if self._extractors is None:
            raise Refusal(400, "images are not accepted: abis[extraction] is not installed; send a template")
        views = records.read(image) if image.startswith(_RECORDS) else ()
        self._check_sizes([view.data for view in views if view.raw_size is None] if views else [image])
        if len({view.position for view in views}) > 1:
            position = None
        with self._lock:  # which starts the processes
            task = self._extractors.submit(image, ExtractionSettings(position, dpi, self._face_model))
        try:
            task.future.exception(self._seconds)
        except FutureTimeoutError:
            raise Refusal(503, f"extraction took longer than {self._seconds:g} s") from None
        made = self._extractors.result(task)
        if made.reason is not None:
            raise ExtractionError(made.reason)
        return made.templates

    def raw(self, content: bytes, width: int, height: int) -> bytes:
        """Pixels of one byte each, row by row from the top, as an image file.

        Raises:
            ExtractionError: where their number is another one.
        """
        if self._extractors is None:
            raise Refusal(400, "images are not accepted: abis[extraction] is not installed; send a template")
        if width < 1 or height < 1 or len(content) != width * height:
            raise ExtractionError(f"{len(content)} bytes; expected {width} x {height} of 8 bits a pixel")
        return pictures.as_png(np.frombuffer(content, np.uint8).reshape(height, width))

    def _check_sizes(self, files: Iterable[bytes]) -> None:
        """Refuse images by the size that their headers state."""
        for view in files:
            try:
                with PIL.Image.open(io.BytesIO(view)) as opened:  # reads the header alone
                    width, height = opened.size
            except Exception:
                continue
            if width * height > self._pixels:
                raise ExtractionError(
                    f"the image is {width}x{height}; at most {self._pixels} pixels are accepted"
                )
