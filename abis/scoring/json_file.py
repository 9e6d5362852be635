# SPDX-License-Identifier: Apache-2.0
"""Values that are saved as JSON files: calibrations and fusions of matchers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from abis.errors import FormatError
from abis.files import write_whole

__all__ = ["JsonFile", "decode", "encode"]

_Document = TypeVar("_Document", bound=msgspec.Struct)
_NUMBERS = re.compile(r"\[[^][{}\"]+\]")


class JsonFile(ABC):
    """A value with JSON text; each class states its text, and this one reads and writes the file."""

    @abstractmethod
    def to_json(self) -> str:
        """Return the value as JSON text; :meth:`from_json` restores it without loss."""

    @classmethod
    @abstractmethod
    def from_json(cls, text: str) -> Self:
        """Return the value of the JSON text of :meth:`to_json`.

        Raises:
            FormatError: the text is something else; the message names the field.
        """

    def save(self, path: Path) -> None:
        """Write the value to a file as JSON (:meth:`to_json`); an existing file is replaced.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(path, self.to_json().encode(), mode=0o666)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a value from a file of :meth:`save`.

        Raises:
            FormatError: the file is something else; the message names the file and the field.
            OSError: the file cannot be read.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (FormatError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: {error}") from error


class _DocumentHead(msgspec.Struct):
    """The first two fields of every document."""

    format: str
    version: int


def encode(document: msgspec.Struct) -> str:
    """Return a document as JSON text with a line for each field; a list of numbers stays on one line."""
    text = msgspec.json.format(msgspec.json.encode(document).decode(), indent=2)
    return _NUMBERS.sub(lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def decode(
    text: str,
    kind: str,
    documents: dict[int, type[_Document]],
    *,
    command: str,
) -> _Document:
    """Read a document from JSON text, and check its fields.

    Args:
        text: JSON text.
        kind: content of the document's field ``format``, such as "abis calibration".
        documents: type of the document for each version that is read.
        command: command that writes such documents, for the message.

    Raises:
        FormatError: the text is not JSON, is of another format or version, or a field is missing, unknown or of another
            type. The message names the field.
    """
    try:
        head = msgspec.json.decode(text, type=_DocumentHead)
        if head.format == kind and head.version in documents:
            return msgspec.json.decode(text, type=documents[head.version])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise FormatError(f"not an {kind}: {error}; expected the output of `{command}`") from error
    raise FormatError(
        f"has format {head.format!r}, version {head.version}; expected {kind!r}, version {_either(documents)}"
    )


def _either(versions: Collection[int]) -> str:
    return " or ".join(map(str, sorted(versions)))
