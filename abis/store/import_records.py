# SPDX-License-Identifier: Apache-2.0
"""Records of an import: as a source holds them, and ready to be enrolled.

They are named tuples, because millions of them are sent between processes.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from abis.store import StoredEnrollment

__all__ = ["DUPLICATE", "UNCHECKED", "Prepared", "Record", "Rejected", "Sample", "digest"]


DUPLICATE = "is a duplicate of"
"""Beginning of the reason if the record's person is enrolled under another subject_id."""

UNCHECKED = "may be a duplicate"
"""Beginning of the reason if too few subjects could be compared with the record to say that it is none."""


class Sample(NamedTuple):
    """Bytes that should be a template record, as the source holds them.

    Attributes:
        place: where in the source: a file's name, a row's number.
        content: the bytes, or base64 text; None where the source has none.
        position: of the finger or face as the source states it: a name, an ISO code, or None.
    """

    place: str
    content: bytes | str | None
    position: str | int | None = None

    def __repr__(self) -> str:  # never the content: templates stay out of logs
        size = (
            "no content" if self.content is None else f"{type(self.content).__name__} of {len(self.content)}"
        )
        return f"Sample({self.place!r}, {size}, {self.position!r})"


PlainRecord = tuple[Any, ...]


class Record(NamedTuple):
    """One record of a source, which is enrolled or quarantined as a whole.

    Attributes:
        subject_id: the source's subject id, unchecked and of any type.
        encounter_id: the source's encounter id, unchecked and of any type; None if the source has none.
        samples: samples in the order of the source.
        end: position of the source after this record, in units of the source.
        fault: fault that the source found, or None.
        labels: labels of the subject.
    """

    subject_id: object
    encounter_id: object
    samples: tuple[Sample, ...]
    end: int
    fault: str | None = None
    labels: tuple[str, ...] = ()

    def plain(self) -> PlainRecord:
        """The same as tuples, which go to another process in a third of the time."""
        return *self[:2], tuple(map(tuple, self.samples)), *self[3:]

    @classmethod
    def of_plain(cls, plain: PlainRecord) -> Record:
        """Return the record of the tuples of :meth:`plain`."""
        subject_id, encounter_id, samples, *more = plain
        return cls(subject_id, encounter_id, tuple(map(Sample._make, samples)), *more)

    @property
    def place(self) -> str:
        """Place of the record's first sample in the source."""
        return self.samples[0].place if self.samples else f"record ending at {self.end}"


class Rejected(NamedTuple):
    """A record that cannot be enrolled, and the reason."""

    reason: str


Prepared = StoredEnrollment | Rejected
"""What becomes of a record."""


def digest(record: Record) -> bytes:
    """SHA-256 over everything in a record that its enrolment depends on."""
    contents = [sample.content for sample in record.samples]
    heads = [
        (sample.position, type(content).__name__, len(content or b""))
        for sample, content in zip(record.samples, contents, strict=True)
    ]
    sha256 = hashlib.sha256(
        repr((record.subject_id, record.encounter_id, record.fault, record.labels, heads)).encode()
    )
    for content in contents:
        if content:
            sha256.update(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    return sha256.digest()
