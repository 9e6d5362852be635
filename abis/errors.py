# SPDX-License-Identifier: Apache-2.0
"""The errors abis raises. Each message says what is wrong, where, and what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "AbisError",
    "AlreadyEnrolled",
    "ArgumentError",
    "Cancelled",
    "DuplicateFound",
    "ExtractionError",
    "FormatError",
    "NotCalibrated",
    "NotEnrolled",
    "ShardUnavailable",
    "StoreError",
    "TemplateError",
]


class AbisError(Exception):
    """Base of every error that abis raises on purpose."""


class ArgumentError(AbisError, ValueError):
    """An argument has a value that cannot be, such as an empty id or a rate above 1."""


class Cancelled(AbisError):  # noqa: N818 - reads as the sentence it says
    """The work was cancelled by :class:`abis.cancellation.Cancellation` before it had a result."""


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


class NotCalibrated(AbisError, ValueError):  # noqa: N818
    """Templates were to be scored whose kind has no calibration, and abis ships none, e.g. voices and DNA."""


class NotEnrolled(AbisError, KeyError):  # noqa: N818 - reads as the sentence it says
    """The subject (or encounter) asked for is not in the gallery."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0]) if self.args else ""


class AlreadyEnrolled(AbisError, ValueError):  # noqa: N818
    """The subject (or encounter) to be enrolled is in the gallery already."""


class DuplicateFound(AbisError, ValueError):  # noqa: N818
    """Whoever was to be enrolled as somebody new seems to be enrolled under another subject_id.

    Attributes:
        subject_id: that was to be enrolled.
        candidates: who it may be, as :meth:`abis.Gallery.identify` lists them, best first.
    """

    def __init__(self, subject_id: str, candidates: Sequence[Any]) -> None:
        best = candidates[0]
        more = f", and {len(candidates) - 1} more" if len(candidates) > 1 else ""
        about = ""
        if best.threshold is not None:  # else: the gallery discloses decisions only
            about = f" (score {best.score:.1f}, threshold {best.threshold:.1f})"
        super().__init__(
            f"subject {subject_id!r} is not enrolled: it seems to be {best.subject_id!r}{more}{about}"
        )
        self.subject_id = subject_id
        self.candidates = tuple(candidates)

    def __reduce__(self) -> tuple[Any, ...]:  # exceptions are made anew of their message
        return DuplicateFound, (self.subject_id, self.candidates)


class StoreError(AbisError, OSError):
    """The gallery's store cannot be opened, read or written, or its content is not ours."""


class ShardUnavailable(StoreError):  # noqa: N818
    """A shard of a cluster does not answer, so that there is no complete answer; it may do so later."""
