# SPDX-License-Identifier: Apache-2.0
"""The errors abis raises. Each message says what is wrong, where, and what was expected."""

from __future__ import annotations

__all__ = [
    "AbisError",
    "AlreadyEnrolled",
    "ExtractionError",
    "FormatError",
    "NotEnrolled",
    "ShardUnavailable",
    "StoreError",
    "TemplateError",
]


class AbisError(Exception):
    """Base of every error that abis raises on purpose."""


class TemplateError(AbisError, ValueError):
    """A template's content breaks its own rules, e.g. ``minutia 17: x=4100 outside width 500``."""


class FormatError(AbisError, ValueError):
    """Bytes are not what an interchange format says they should be.

    Attributes:
        offset: byte at which the fault was found, or None where the fault has no single place.
    """

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"byte {offset}: {message}")
        self.offset = offset


class ExtractionError(AbisError, ValueError):
    """No template could be made of an image, e.g. ``no face found``."""


class NotEnrolled(AbisError, KeyError):  # noqa: N818 - reads as the sentence it says
    """The subject (or encounter) asked for is not in the gallery."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0]) if self.args else ""


class AlreadyEnrolled(AbisError, ValueError):  # noqa: N818
    """The subject (or encounter) to be enrolled is in the gallery already."""


class StoreError(AbisError, OSError):
    """The gallery's store cannot be opened, read or written, or its content is not ours."""


class ShardUnavailable(StoreError):  # noqa: N818
    """A shard of a cluster does not answer, so that there is no complete answer; it may do so later."""
