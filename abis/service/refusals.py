# SPDX-License-Identifier: Apache-2.0
"""Why a request is not answered as asked: a status of HTTP and a sentence for the caller."""

from __future__ import annotations

from abis.errors import (
    AbisError,
    AlreadyEnrolled,
    DuplicateFound,
    ExtractionError,
    NotEnrolled,
    StoreError,
)

__all__ = ["RETRY_AFTER_S", "Refusal", "at", "refusal_of"]

RETRY_AFTER_S = 2
"""What ``Retry-After`` says, seconds, where a request may be sent again."""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A request cannot be answered as asked.

    Attributes:
        status: of the HTTP answer.
        message: what is wrong, where, and what was expected.
        headers: of the HTTP answer, beside those it has anyway.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        if status in (429, 503):
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))


def at(field: str, error: Exception) -> Refusal:
    """The refusal of a request because of one of its fields.

    Args:
        field: as a path in the message, ``biometricData[0].template``.
        error: what is wrong with its value.
    """
    refused = refusal_of(error)
    return Refusal(refused.status, f"{field}: {refused.message}", refused.headers)


def refusal_of(error: Exception) -> Refusal:  # noqa: PLR0911 - one for each kind
    """The refusal that says what an error says; 500 without its message where the error was not foreseen."""
    match error:
        case Refusal():
            return error
        case NotEnrolled():
            return Refusal(404, str(error))
        case AlreadyEnrolled() | DuplicateFound():
            return Refusal(409, str(error))
        case ExtractionError():
            return Refusal(422, str(error))
        case StoreError():  # its message names the database
            return Refusal(503, "the gallery's store does not answer; send the request again")
        case AbisError() | ValueError():
            return Refusal(400, str(error))
        case RecursionError():
            return Refusal(400, "the message is nested too deeply")
        case _:
            return Refusal(500, "unexpected error")
