# SPDX-License-Identifier: Apache-2.0
"""Export a gallery as files that other systems read, and that can be imported again."""

from __future__ import annotations

import io
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from abis.answers import Answer
from abis.errors import AbisError, FormatError
from abis.files import private_stream, publish
from abis.formats import Format, write
from abis.store import Mark, Store
from abis.template import Template
from abis.template.modality import modality_of
from abis.text import SafeCsv
from abis.transfer.sources.archive import ENCOUNTER, POSITION, SUBJECT, is_archive

__all__ = ["ExportReport", "check_destination", "encoded_file", "export"]

_TEMPLATES = 10_000  # read, and to Parquet written, at once: some 5 MB
_FILES = 1_000  # of one folder
_COLUMNS = ("subject_id", "encounter_id", "position")

Watch = Callable[[int, int], None]
"""Is called with the templates written so far, and how many there are."""


@dataclass(frozen=True, repr=False)
class ExportReport(Answer):
    """The result of an export.

    Attributes:
        templates: each is a file, or a row.
        refused: templates that the format cannot hold, with the reason: ``(place, reason)``.
    """

    subjects: int
    encounters: int
    templates: int
    refused: tuple[tuple[str, str], ...]


class _Row(NamedTuple):
    """A template to write."""

    number: int
    subject_id: str
    encounter_id: str
    position: str
    data: bytes
    ending: str

    @property
    def path(self) -> str:
        """A unique name that every file system can hold, for any subject_id."""
        return f"{self.number // _FILES:06d}/{self.number:09d}.{self.ending}"


def export(
    store: Store, destination: Path, *, finger_format: Format = Format.NATIVE, watch: Watch | None = None
) -> ExportReport:
    """Write all templates of a gallery in the order of enrolment, as of the beginning or later.

    Args:
        store: of the gallery.
        destination: file or folder to create: ``NAME.parquet``, ``NAME.tar``, ``NAME.tar.gz``, or a folder, which
            gets a ``manifest.csv``. It appears when it is whole.
        finger_format: of finger templates; the stored form loses nothing. Embeddings are always in it.
        watch: called with the progress.

    Raises:
        FileExistsError: the destination exists.
        OSError, StoreError: it cannot be written, or the gallery not read.
    """
    subjects: set[int] = set()
    refused = []
    encounters = number = 0
    last_encounter = None
    total = store.state().templates
    with _writer(destination) as writer:
        mark, complete = Mark(), False
        while not complete:
            tail = store.tail(mark, limit=_TEMPLATES)
            names = store.names({stored.subject for stored in tail.enrolled})
            for stored in tail.enrolled:
                if stored.subject not in names:  # has been removed since
                    continue
                subject_id, position = names[stored.subject], stored.template.position.name
                try:
                    data, ending = encoded_file(stored.template, finger_format)
                except FormatError as error:
                    refused.append((f"subject {subject_id!r}, {position}", str(error)))
                    continue
                number += 1
                writer.add(_Row(number, subject_id, stored.encounter_id, position, data, ending))
                subjects.add(stored.subject)
                encounters += stored.encounter != last_encounter
                last_encounter = stored.encounter
            mark, complete = tail.mark, tail.complete
            if watch is not None:
                watch(number, total)
    return ExportReport(len(subjects), encounters, number, tuple(refused))


def encoded_file(template: Template, finger_format: Format) -> tuple[bytes, str]:
    """The bytes of a file, and its ending: a finger in the format, any other template in the stored form.

    Raises:
        FormatError: the format cannot hold the template.
    """
    own = finger_format if finger_format in modality_of(template).formats() else Format.NATIVE
    return write([template], own), own.ending


def check_destination(destination: Path) -> None:
    """Check that a destination does not exist and has an ending of an export.

    Raises:
        FileExistsError: the destination exists.
        AbisError: its name has an ending that is none of an export.
    """
    name = destination.name.lower()
    if name.endswith("zst"):
        raise AbisError(f"{destination}: archives are written plain or with gzip, not with Zstandard")
    if name.endswith(".csv"):
        raise AbisError(f"{destination}: name a folder; it gets a manifest.csv and the files beside it")
    ending = destination.suffix.lower()
    if ending[1:].isalpha() and ending != ".parquet" and not is_archive(destination):
        raise AbisError(
            f"{destination}: nothing is exported as {ending}; expected a name that ends in .parquet, .tar or .tar.gz, "
            "or the name of a folder, without an ending"
        )
    if destination.exists():
        raise FileExistsError(f"{destination}: exists already")


class _Writer(ABC):
    """Writes beside the destination, and renames what is whole. Others may not read it: these are templates."""

    def __init__(self, destination: Path) -> None:
        check_destination(destination)
        self._destination = destination
        self._partial = destination.with_name(f".{destination.name}.partial")
        self._discard()
        self._stack = ExitStack()
        try:
            self.open(self._partial, self._stack)
        except BaseException:
            self._stack.close()
            self._discard()
            raise

    @abstractmethod
    def open(self, partial: Path, stack: ExitStack) -> None: ...

    @abstractmethod
    def add(self, row: _Row) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
            if kind is None:
                publish(self._partial, self._destination)
        finally:
            self._discard()

    def _discard(self) -> None:
        if self._partial.is_dir():
            shutil.rmtree(self._partial)
        else:
            self._partial.unlink(missing_ok=True)


class _FolderWriter(_Writer):
    """A file for each template, and a manifest of them."""

    def open(self, partial: Path, stack: ExitStack) -> None:
        partial.mkdir(mode=0o700, parents=True)
        manifest = stack.enter_context(
            io.TextIOWrapper(private_stream(partial / "manifest.csv"), encoding="utf-8", newline="")
        )
        self._rows = SafeCsv(manifest)
        self._rows.row([*_COLUMNS, "path"])
        self._folder: Path | None = None

    def add(self, row: _Row) -> None:
        path = self._partial / row.path
        if path.parent != self._folder:
            self._folder = path.parent
            self._folder.mkdir(mode=0o700)
        with private_stream(path, new=True) as file:
            file.write(row.data)
        self._rows.row([row.subject_id, row.encounter_id, row.position, row.path])


class _TarWriter(_Writer):
    """A member for each template; extended headers say whose it is."""

    def open(self, partial: Path, stack: ExitStack) -> None:
        partial.touch(mode=0o600)
        mode = "w:gz" if self._destination.name.lower().endswith("gz") else "w"
        self._archive: tarfile.TarFile = stack.enter_context(
            tarfile.open(partial, mode, format=tarfile.PAX_FORMAT)  # type: ignore[call-overload]  # noqa: SIM115
        )

    def add(self, row: _Row) -> None:
        member = tarfile.TarInfo(row.path)
        member.size = len(row.data)
        member.pax_headers = {SUBJECT: row.subject_id, ENCOUNTER: row.encounter_id, POSITION: row.position}
        self._archive.addfile(member, io.BytesIO(row.data))
        self._archive.members = []  # type: ignore[attr-defined]  # else all headers stay in memory


class _ParquetWriter(_Writer):
    """A row for each template, with its bytes."""

    def open(self, partial: Path, stack: ExitStack) -> None:
        try:
            import pyarrow  # noqa: PLC0415 - an extra
            import pyarrow.parquet  # noqa: PLC0415
        except ImportError:
            raise AbisError("Parquet files need pyarrow: pip install 'abis[parquet]'") from None
        self._arrow: Any = pyarrow
        fields = [(name, pyarrow.string()) for name in _COLUMNS]
        self._schema = pyarrow.schema([*fields, ("template", pyarrow.binary())])
        partial.touch(mode=0o600)
        compression = dict.fromkeys(_COLUMNS, "zstd") | {"template": "none"}  # it would win some percent
        self._file: Any = stack.enter_context(
            pyarrow.parquet.ParquetWriter(partial, self._schema, compression=compression)
        )
        self._rows: list[tuple[str, str, str, bytes]] = []
        stack.callback(self._flush)

    def add(self, row: _Row) -> None:
        self._rows.append((row.subject_id, row.encounter_id, row.position, row.data))
        if len(self._rows) == _TEMPLATES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [list(column) for column in zip(*self._rows, strict=True)]
            self._file.write_table(self._arrow.table(columns, schema=self._schema))
            self._rows = []


def _writer(destination: Path) -> _Writer:
    if destination.suffix.lower() == ".parquet":
        return _ParquetWriter(destination)
    if is_archive(destination):
        return _TarWriter(destination)
    return _FolderWriter(destination)
