# SPDX-License-Identifier: Apache-2.0
"""Read files of templates and files of images in the same way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abis.cli.arguments import compile_pattern, files_in, group_by_subject, moved, subject_folders
from abis.cli.console import Faults, say
from abis.errors import AbisError, ExtractionError
from abis.formats import holds_image, holds_sound, read_file
from abis.template import Position, Template
from abis.template.modality import modality_at

if TYPE_CHECKING:
    from abis.extraction.workers import ExtractionTask, Extractors

__all__ = ["ImageOptions", "Reader", "files_by_subject", "picture", "read_all", "reader", "reading"]

_LONGEST_NUMBER = 3  # digits that may follow a position in a file's name


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
        if not (holds_image(file) or holds_sound(file)):
            found = read_file(file)
            for note in found.notes:
                say(f"{file}: {note}")
            return tuple(self._positioned(template, file) for template in found)
        extractors = self._started()
        self._submit_ahead(extractors)
        task = self._tasks.pop(file, None) or self._submit(extractors, file)
        extraction = extractors.result(task)
        if extraction.reason is not None:
            raise ExtractionError(f"{file}: {extraction.reason}")
        if extraction.note:
            say(f"{file}: {extraction.note}")
        return extraction.templates

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
            if file not in self._tasks and (holds_image(file) or holds_sound(file)):
                self._tasks[file] = self._submit(extractors, file)

    def _submit(self, extractors: Extractors, file: Path) -> ExtractionTask:
        from abis.extraction.extracting import ExtractionSettings  # noqa: PLC0415 - an extra, for images only

        options = self._options
        return extractors.submit(
            file,
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
    groups, misfits = group_by_subject(files_in(paths), pattern, subject_folders(paths))
    for file in misfits:
        faults.add(
            f"{file}: the file name does not match; give --pattern to say which part is the subject id"
        )
    return groups


def position_in(name: str) -> Position | None:
    """The position that a file's name ends with: 0042_right_index, 0042-left-thumb_2, 0042_face, 0042_left_eye."""
    words = name.lower().replace("-", "_").split("_")
    if len(words) > 1 and words[-1].isdecimal() and len(words[-1]) <= _LONGEST_NUMBER:
        words.pop()
    for count in (2, 1):
        try:
            return Position["_".join(words[-count:]).upper().replace("_IRIS", "_EYE")]
        except KeyError:
            continue
    return None


def picture(file: Path, position: Position) -> str | None:
    """What a drawing shows of the image of a file, as a data URL of a grey PNG; None if the file is not an image."""
    if not holds_image(file):
        return None
    from abis.extraction.images import png_url, read_images  # noqa: PLC0415 - an extra, for images only

    return png_url(modality_at(position).view(read_images(file.read_bytes())[0]))
