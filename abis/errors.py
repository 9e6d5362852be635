# SPDX-License-Identifier: Apache-2.0
"""The errors abis raises. Each message says what is wrong, where, and what was expected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

__all__ = [
    "AbisError",
    "AlreadyEnrolled",
    "ArgumentError",
    "ArgumentTypeError",
    "Cancelled",
    "DuplicateFound",
    "ExtractionError",
    "FormatError",
    "NotCalibrated",
    "NotEnrolled",
    "ShardUnavailable",
    "StoreError",
    "TemplateError",
    "UnreachableThreshold",
    "check_integer",
    "check_real",
]

_LONG_DIGITS = 30
_LONG = 10**_LONG_DIGITS
_LONG_TEXT = 80  # characters of a value that a message shows


class AbisError(Exception):
    """Base of every error that abis raises on purpose.

    Attributes:
        subject_id: the subject that the error is about; None where it is about none.
    """

    subject_id: str | None = None

    def about(self, subject_id: str | None) -> Self:
        """State the subject that the error is about, and return the error, to raise it."""
        self.subject_id = subject_id
        return self


class ArgumentError(AbisError, ValueError):
    """An argument has a value that cannot be, such as an empty id or a rate above 1."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument has a wrong type, such as a number for an id or a text for a rate."""


class Cancelled(AbisError):  # noqa: N818 - reads as the sentence it says
    """The work was cancelled by :class:`abis.parallel.cancellation.Cancellation` before it had a result."""


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
    """Templates cannot be scored without a calibration, and abis ships none for them: voices and DNA, for example."""


class NotEnrolled(AbisError, KeyError):  # noqa: N818 - reads as the sentence it says
    """The subject (or encounter) asked for is not in the gallery."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0]) if self.args else ""


class AlreadyEnrolled(AbisError, ValueError):  # noqa: N818
    """The subject (or encounter) to be enrolled is in the gallery already."""


class DuplicateFound(AbisError, ValueError):  # noqa: N818
    """A person to be enrolled as new seems to be enrolled under another subject_id.

    Attributes:
        subject_id: the subject that was to be enrolled.
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


class UnreachableThreshold(UserWarning):
    """A threshold lies above every score that a calibration gives: even identical templates do not match."""


def check_integer(name: str, value: object, lowest: int, highest: int) -> None:
    """Raise unless a value is a whole number within limits; whole numbers of NumPy are allowed.

    Args:
        name: name of the argument, for the message.
        value: what was given.
        lowest: least value allowed.
        highest: largest value allowed.

    Raises:
        ArgumentTypeError: the value is no whole number.
        ArgumentError: it is outside the limits.
    """
    if not isinstance(value, Integral):
        raise ArgumentTypeError(f"{name} is {_shown(value)}; expected a whole number")
    if not lowest <= int(value) <= highest:
        raise ArgumentError(f"{name} is {_shown(value)}; expected {lowest:,} to {highest:,}")


def check_real(name: str, value: object, *, above: float | None, highest: float, what: str) -> None:
    """Raise unless a value is a number up to ``highest``, above ``above``, or from 0 on where that is None.

    Args:
        name: name of the argument, for the message.
        value: what was given.
        above: number that the value must be above; None: 0 is allowed, and nothing below it.
        highest: largest value allowed.
        what: the expected value, for the message.

    Raises:
        ArgumentTypeError: the value is no number.
        ArgumentError: it is outside the limits, or not a number (NaN).
    """
    if not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} is {_shown(value)}; expected {what}")
    number = float(value)
    if math.isnan(number) or number > highest or (number < 0 if above is None else number <= above):
        raise ArgumentError(f"{name} is {_shown(value)}; expected {what}")


def _shown(value: object) -> str:
    """A value for a message, however long."""
    if isinstance(value, Integral):
        number = int(value)
        return str(number) if abs(number) < _LONG else f"a number of more than {_LONG_DIGITS} digits"
    if isinstance(value, Real):
        return str(value)
    text = repr(value)
    return text if len(text) <= _LONG_TEXT else type(value).__name__
