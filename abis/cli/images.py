# SPDX-License-Identifier: Apache-2.0
"""Read files of templates and files of images in the same way."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abis.cli.arguments import (
    STANDARD_INPUT,
    compile_pattern,
    files_in,
    group_by_subject,
    moved,
    subject_folders,
)
from abis.cli.console import Faults, note
from abis.errors import AbisError, ExtractionError, FormatError
from abis.evaluation.datasets import data_files
from abis.formats import holds_image, holds_sound, read, read_file
from abis.formats.names import position_in
from abis.template import Position, Template
from abis.template.modality import modality_at

if TYPE_CHECKING:
    from abis.extraction.workers import ExtractionTask, Extractors

__all__ = ["ImageOptions", "Reader", "files_by_subject", "picture", "read_all", "reader", "reading"]


@dataclass(frozen=True)
class ImageOptions:
    """The options of a command about images.

    Attributes:
        position: position of all files; None takes it from the record or from a name such as 0042_right_index.
        dpi: resolution of finger images in pixels per inch; None for the default of :func:`abis.extraction.extract`.
        face_model: network for face images; None for SFace.
        cache: folder that keeps the extracted templates; None keeps none.
        pattern: regular expression for names, whose group ``position``, if there is one, states the position.
        voice_model: speaker model for recordings.
    """

    position: Position | None = None
    dpi: float | None = None
    face_model: Path | None = None
    cache: Path | None = None
    pattern: str | None = None
    voice_model: Path | None = None

    def position_of(self, file: Path) -> Position | None:
        """The position of a file: stated for all, by the pattern's group ``position``, or at the end of its name."""
        if self.position is not None:
            return self.position
        expression = None if self.pattern is None else compile_pattern(self.pattern)
        fit = expression.fullmatch(file.stem) if expression and "position" in expression.groupindex else None
        return position_in(f"_{fit['position']}" if fit and fit["position"] else file.stem)


@contextmanager
def reader(files: Sequence[Path], options: ImageOptions) -> Iterator[Reader]:
    """A reader of these files; it is quickest if they are read in this order."""
    with ExitStack() as stack:
        yield Reader(files, options, stack)


@contextmanager
def reading(
    folders: Sequence[Path], options: ImageOptions, progress: Callable[[int, int], None]
) -> Iterator[Callable[[Path], tuple[Template, ...]]]:
    """A function that reads a file of the folders and reports progress; files should be read in the order of names."""
    files = [path for folder in folders for path in data_files(folder)]
    place = {file: number for number, file in enumerate(files, 1)}
    with reader(files, options) as opened:

        def read_next(file: Path) -> tuple[Template, ...]:
            templates = opened.read(file)
            progress(place.get(file, 0), len(files))
            return templates

        yield read_next


class Reader:
    """Reads files; templates are extracted from images ahead of their turn, so that all processes are busy.

    The processes start with the first image, and end with the stack.
    """

    def __init__(self, files: Sequence[Path], options: ImageOptions, stack: ExitStack) -> None:
        self._ahead = deque(files)
        self._workers = 1 if len(files) == 1 else 0
        self._tasks: dict[Path, ExtractionTask] = {}
        self._options = options
        self._stack = stack
        self._extractors: Extractors | None = None
        self._standard_input: bytes | None = None

    def read_all(self, files: Sequence[Path]) -> tuple[Template, ...]:
        """The templates of all of these files.

        Raises:
            FormatError: naming a file that is not of its format.
            ExtractionError: naming an image from which no template could be extracted, and the reason.
            OSError: a file cannot be read.
        """
        return tuple(template for file in files for template in self.read(file))

    def read(self, file: Path) -> tuple[Template, ...]:
        """The templates of one file; raises as :meth:`read_all` does."""
        content = self._content(file)
        if not (holds_image(content) or holds_sound(content)):
            found = read(content) if isinstance(content, bytes) else read_file(file)
            for remark in found.notes:
                note(f"{file}: {remark}")
            return tuple(self._positioned(template, file) for template in found)
        extractors = self._started()
        self._submit_ahead(extractors)
        task = self._tasks.pop(file, None) or self._submit(extractors, file)
        extraction = extractors.result(task)
        if extraction.reason is not None:
            raise ExtractionError(f"{file}: {extraction.reason}")
        if extraction.note:
            note(f"{file}: {extraction.note}")
        return extraction.templates

    def is_image(self, file: Path) -> bool:
        """Whether a file, ``-`` included, holds an image or a recording, and no template."""
        content = self._content(file)
        return holds_image(content) or holds_sound(content)

    def _content(self, file: Path) -> Path | bytes:
        """The file, or for ``-`` what standard input holds, which is read once."""
        if file != STANDARD_INPUT:
            return file
        if self._standard_input is None:
            self._standard_input = sys.stdin.buffer.read()
            if not self._standard_input:
                raise FormatError("standard input is empty; expected a template or an image")
        return self._standard_input

    def _positioned(self, template: Template, file: Path) -> Template:
        """The template at the position stated by the command or, if it states none itself, by the file's name."""
        position = self._options.position
        if position is None and template.position.is_open:
            named = self._options.position_of(file)
            position = named if named is not None and named.is_comparable(template.position) else None
        return moved(template, position, file)

    def _started(self) -> Extractors:
        if self._extractors is None:
            try:
                from abis.extraction.workers import Extractors  # noqa: PLC0415 - an extra, for images only
            except ModuleNotFoundError as error:
                raise AbisError(f"images or recordings are among the files; {error}") from None
            extractors = Extractors(workers=self._workers, cache=self._options.cache)
            self._extractors = self._stack.enter_context(extractors)
        return self._extractors

    def _submit_ahead(self, extractors: Extractors) -> None:
        while self._ahead and len(self._tasks) < extractors.ahead:
            file = self._ahead.popleft()
            if file == STANDARD_INPUT or file in self._tasks:
                continue
            if holds_image(file) or holds_sound(file):
                self._tasks[file] = self._submit(extractors, file)

    def _submit(self, extractors: Extractors, file: Path) -> ExtractionTask:
        from abis.extraction.extracting import ExtractionSettings  # noqa: PLC0415 - an extra, for images only

        options = self._options
        return extractors.submit(
            self._content(file),
            ExtractionSettings(
                options.position_of(file), options.dpi, options.face_model, voice_model=options.voice_model
            ),
        )


def read_all(files: Sequence[Path], images: ImageOptions) -> tuple[Template, ...]:
    """The templates of all files, and of the files in folders among them; raises as :meth:`Reader.read_all` does."""
    found = files_in(files)
    with reader(found, images) as templates_of:
        return templates_of.read_all(found)


def files_by_subject(paths: Sequence[Path], pattern: str | None, faults: Faults) -> dict[str, list[Path]]:
    """The files of each subject among files and folders; names that do not match the pattern are reported as faults."""
    if STANDARD_INPUT in paths:
        raise AbisError("standard input has no name that states its subject")
    groups, misfits = group_by_subject(files_in(paths), pattern, subject_folders(paths))
    for file in misfits:
        faults.add(
            f"{file}: the file name does not match; give --pattern to say which part is the subject id"
        )
    return groups


def picture(file: Path, position: Position) -> str | None:
    """What a drawing shows of the image of a file, as a data URL of a grey PNG; None if the file is not an image."""
    if not holds_image(file):
        return None
    from abis.extraction.images import png_url, read_images  # noqa: PLC0415 - an extra, for images only

    return png_url(modality_at(position).view(read_images(file.read_bytes())[0]))
