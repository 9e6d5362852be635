# SPDX-License-Identifier: Apache-2.0
"""Tables with a row for each template: the common part of CSV and Parquet manifests and SQL queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from abis.errors import FormatError
from abis.store.import_records import Sample
from abis.transfer.sources.files import LARGEST_FILE, RefusedFileError, read_inside
from abis.transfer.sources.names import NamedSample

__all__ = ["COLUMNS", "Columns"]

LARGEST_CELL = LARGEST_FILE * 4 // 3  # as base64

COLUMNS = ("subject_id", "encounter_id", "position", "template", "path", "labels")
"""What is read from a table. ``template`` holds the bytes, or base64 text; ``path`` names a file of them;
``labels`` are text with a ``;`` between them."""


class Columns(NamedTuple):
    """The place of each column in a row; None if the table lacks it.

    Attributes:
        folder: what paths must be inside of, and are relative to; None reads no files.
    """

    subject_id: int
    encounter_id: int | None
    position: int | None
    template: int | None
    path: int | None
    labels: int | None
    folder: Path | None

    @classmethod
    def of(cls, source: str, names: Sequence[str], folder: Path | None) -> Columns:
        """Find the columns by their names.

        Raises:
            FormatError: one that is needed is missing, or one is there twice.
        """
        found = {name: names.index(name) for name in COLUMNS if name in names}
        twice = [name for name in COLUMNS if names.count(name) > 1]
        if twice or "subject_id" not in found or not {"template", "path"} & found.keys():
            raise FormatError(
                f"{source}: columns are {', '.join(names) or 'none'}; expected subject_id, and template or "
                "path, and perhaps encounter_id, position and labels, each once"
            )
        return cls(
            found["subject_id"],
            found.get("encounter_id"),
            found.get("position"),
            found.get("template"),
            found.get("path"),
            found.get("labels"),
            folder,
        )

    def needed(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names of the columns to read."""
        return tuple(name for name in names if name in COLUMNS)

    def ignored(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names of the others."""
        return tuple(name for name in names if name not in COLUMNS)

    def sample(self, row: Sequence[object], place: str, end: int) -> NamedSample:
        """A row as a sample."""
        encounter_id = None if self.encounter_id is None else row[self.encounter_id]
        position = None if self.position is None else row[self.position]
        content = None if self.template is None else row[self.template]
        labels = None if self.labels is None else row[self.labels]
        fault = None
        if not (labels is None or isinstance(labels, str)):
            fault = f"{place}: labels is {type(labels).__name__}; expected text"
            labels = None
        if isinstance(content, memoryview):  # as some database drivers give binary columns
            content = content.tobytes()
        if not (content is None or isinstance(content, (bytes, str))):
            fault = f"{place}: template is {type(content).__name__}; expected bytes, or base64 text"
            content = str(content)
        if not (position is None or isinstance(position, (str, int))):
            fault = f"{place}: position is {type(position).__name__}; expected a name or a code"
            position = str(position)
        if not content and self.path is not None and row[self.path]:
            path = str(row[self.path])
            try:
                if self.folder is None:
                    raise RefusedFileError("no folder was given that files may be read from")
                content = read_inside(self.folder, path)
                place = f"{place}, {path}"
            except (OSError, RefusedFileError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                fault = f"{place}: {path}: {reason}"
        elif content is not None and len(content) > LARGEST_CELL:
            fault = f"{place}: template has {len(content):,} bytes; a template record has at most {LARGEST_FILE:,}"
            content = None
        return NamedSample(
            row[self.subject_id],
            None if encounter_id == "" else encounter_id,
            Sample(place, content or None, None if position == "" else position),
            end,
            fault,
            tuple(label.strip() for label in labels.split(";")) if labels else (),
        )
