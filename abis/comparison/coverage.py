# SPDX-License-Identifier: Apache-2.0
"""Coverage: how many subjects could be compared. A change of the face network lowers it, for example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from abis.answers import Answer
from abis.text import counted

__all__ = ["Coverage"]


@dataclass(frozen=True)
class Coverage(Answer):
    """How many subjects could be compared with a probe, or with each other.

    Attributes:
        subjects: number of subjects searched.
        compared: number of these that have a template comparable with the probe. In a de-duplication: comparable with a
            template of every other subject.
        kinds: kinds of the other subjects' templates, each with its number of subjects. A subject may have several
            kinds.
    """

    subjects: int
    compared: int
    kinds: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """True if all subjects could be compared."""
        return self.compared == self.subjects

    def __add__(self, other: Coverage) -> Coverage:
        """The coverage of two galleries together."""
        kinds = {
            kind: self.kinds.get(kind, 0) + other.kinds.get(kind, 0) for kind in {**self.kinds, **other.kinds}
        }
        return Coverage(self.subjects + other.subjects, self.compared + other.compared, kinds)

    def __str__(self) -> str:
        if self.is_full:
            return f"all {counted(self.subjects, 'subject')} could be compared"
        kinds = ", ".join(f"{count:,} have {kind}" for kind, count in sorted(self.kinds.items()))
        missing = self.subjects - self.compared
        whole = counted(self.subjects, "subject")
        return f"{missing:,} of {whole} could not be compared{f': {kinds}' if kinds else ''}"
