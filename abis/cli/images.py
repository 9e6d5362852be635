# SPDX-License-Identifier: Apache-2.0
"""Files of templates and files of images, read alike."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abis.cli.arguments import moved
from abis.cli.console import say
from abis.errors import AbisError, ExtractionError
from abis.formats import is_image, read_file
from abis.template import Position, Template

if TYPE_CHECKING:
    from abis.extraction.workers import Extractors, Task

__all__ = ["ImageOptions", "Reader", "picture", "reader", "reading"]

_LONGEST_NUMBER = 3  # digits that may follow a position in a file's name


@dataclass(frozen=True)
class ImageOptions:
    """What was said about images.

    Attributes:
        position: what all files show; None leaves that to a record, or to a name such as 0042_right_index.
        dpi: pixels an inch of finger images; None as :func:`abis.extraction.extract` has it.
        face_model: another network than SFace.
        cache: a folder that keeps what was extracted.
    """

    position: Position | None = None
    dpi: float | None = None
    face_model: Path | None = None
    cache: Path | None = None


@contextmanager
def reader(files: Sequence[Path], options: ImageOptions) -> Iterator[Reader]:
    """What reads these files, best in this order."""
    with ExitStack() as stack:
        yield Reader(files, options, stack)


@contextmanager
def reading(
    folders: Sequence[Path], options: ImageOptions, progress: Callable[[int, int], None]
) -> Iterator[Callable[[Path], tuple[Template, ...]]]:
    """What reads the files of folders, in the order of their names, and tells how far it is."""
    files = [
        path
        for folder in folders
        for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    ]
    place = {file: number for number, file in enumerate(files, 1)}
    with reader(files, options) as opened:

        def read(file: Path) -> tuple[Template, ...]:
            templates = opened.read(file)
            progress(place.get(file, 0), len(files))
            return templates

        yield read


class Reader:
    """Reads files; images are extracted, as far ahead as keeps all processes busy.

    The processes start with the first image, and end with the stack they are given to.
    """

    def __init__(self, files: Sequence[Path], options: ImageOptions, stack: ExitStack) -> None:
        self._ahead = deque(files)
        self._workers = 1 if len(files) == 1 else 0
        self._tasks: dict[Path, Task] = {}
        self._options = options
        self._stack = stack
        self._extractors: Extractors | None = None

    def read_all(self, files: Sequence[Path]) -> tuple[Template, ...]:
        """The templates of all of these files.

        Raises:
            FormatError: naming a file that is not of its format.
            ExtractionError: naming an image of which no template could be made, and saying why.
            OSError: a file cannot be read.
        """
        return tuple(template for file in files for template in self.read(file))

    def read(self, file: Path) -> tuple[Template, ...]:
        """The templates of one file; raises as :meth:`read_all` does."""
        if not _holds_image(file):
            return tuple(moved(t, self._options.position, file) for t in read_file(file))
        extractors = self._started()
        self._submit_ahead(extractors)
        task = self._tasks.pop(file, None) or self._submit(extractors, file)
        extraction = extractors.result(task)
        if extraction.reason is not None:
            raise ExtractionError(f"{file}: {extraction.reason}")
        if extraction.note:
            say(f"{file}: {extraction.note}")
        return extraction.templates

    def _started(self) -> Extractors:
        if self._extractors is None:
            try:
                from abis.extraction.workers import Extractors  # noqa: PLC0415 - an extra, for images only
            except ModuleNotFoundError as error:
                raise AbisError(f"images are among the files; {error}") from None
            extractors = Extractors(workers=self._workers, cache=self._options.cache)
            self._extractors = self._stack.enter_context(extractors)
        return self._extractors

    def _submit_ahead(self, extractors: Extractors) -> None:
        while self._ahead and len(self._tasks) < extractors.ahead:
            file = self._ahead.popleft()
            if file not in self._tasks and _holds_image(file):
                self._tasks[file] = self._submit(extractors, file)

    def _submit(self, extractors: Extractors, file: Path) -> Task:
        from abis.extraction.extracting import Settings  # noqa: PLC0415 - an extra, for images only

        options = self._options
        position = position_in(file.stem) if options.position is None else options.position
        return extractors.submit(file, Settings(position, options.dpi, options.face_model))


def position_in(name: str) -> Position | None:
    """The position that a file's name ends with: 0042_right_index, 0042-left-thumb_2, 0042_face."""
    words = name.lower().replace("-", "_").split("_")
    if len(words) > 1 and words[-1].isdecimal() and len(words[-1]) <= _LONGEST_NUMBER:
        words.pop()
    for count in (2, 1):
        try:
            return Position["_".join(words[-count:]).upper()]
        except KeyError:
            continue
    return None


def picture(file: Path) -> str | None:
    """The file's image as a data URL that browsers show, grey PNG; None where it holds none."""
    if not _holds_image(file):
        return None
    from abis.extraction.images import as_png, read_images  # noqa: PLC0415 - an extra, for images only

    png = as_png(read_images(file.read_bytes())[0].grey())
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _holds_image(file: Path) -> bool:
    """Whether it does; what cannot be opened is told when it is read."""
    try:
        with file.open("rb") as opened:
            return is_image(opened.read(16))
    except OSError:
        return False
