# SPDX-License-Identifier: Apache-2.0
"""What de-duplication answers: pairs and clusters, small frozen records that print well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from abis.answers import Answer
from abis.scoring.fusion import Evidence

__all__ = ["Cluster", "DuplicatePair", "Duplicates"]


@dataclass(frozen=True)
class DuplicatePair(Answer):
    """Two subjects that may be one person.

    Attributes:
        subject_id: who was enrolled first ...
        other_id: ... and who after; a score is that of a search for the second among all.
        score: log10 likelihood ratio, the sum over ``evidence``.
        threshold: which it reaches.
        evidence: what each position says; ``encounter_id`` is one of the first subject's.
        cluster: number of its cluster, from 1.
        is_weak: it links two families of its cluster; see :mod:`abis.deduplication.clusters`.
    """

    subject_id: str
    other_id: str
    score: float
    threshold: float
    evidence: tuple[Evidence, ...]
    cluster: int
    is_weak: bool

    def __str__(self) -> str:
        weak = "  weak" if self.is_weak else ""
        return (
            f"{self.cluster:7}  {self.subject_id:20}  {self.other_id:20}  {self.score:6.1f}  "
            f"{self.threshold:9.1f}  {', '.join(map(str, self.evidence))}{weak}"
        )


@dataclass(frozen=True)
class Cluster:
    """Subjects that pairs connect, directly or over others.

    Attributes:
        number: from 1, in the order in which to look at them.
        families: its subject_ids, divided where only weak links hold it together, the largest first.
        pairs: the highest score first.
    """

    number: int
    families: tuple[tuple[str, ...], ...]
    pairs: tuple[DuplicatePair, ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """All of its subject_ids."""
        return tuple(subject for family in self.families for subject in family)


@dataclass(frozen=True, repr=False)
class Duplicates(Answer, Sequence[DuplicatePair]):
    """The result of :meth:`Gallery.deduplicate`: a sequence of pairs, cluster by cluster, surest first.

    Attributes:
        clusters: by the highest score of a pair in them, equal ones in the order of enrolment.
        gallery_size: subjects in the gallery.
        searched: subjects that were held against all others: all, or the new ones.
        fpir: false positive identification rate asked for; None where a threshold was.
        change: number of the last change of the gallery that was taken in: the next ``since``.
    """

    clusters: tuple[Cluster, ...]
    gallery_size: int
    searched: int
    fpir: float | None
    change: int

    @property
    def pairs(self) -> tuple[DuplicatePair, ...]:
        """All pairs, in the order in which to look at them."""
        return tuple(pair for cluster in self.clusters for pair in cluster.pairs)

    def __len__(self) -> int:
        return sum(len(cluster.pairs) for cluster in self.clusters)

    @overload
    def __getitem__(self, index: int) -> DuplicatePair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[DuplicatePair, ...]: ...
    def __getitem__(self, index: int | slice) -> DuplicatePair | tuple[DuplicatePair, ...]:
        return self.pairs[index]

    def __repr__(self) -> str:
        return f"Duplicates({self.summary()})"

    def __str__(self) -> str:
        lines = [f"{'cluster':>7}  {'subject':20}  {'other':20}  {'score':>6}  threshold  evidence"]
        lines += [str(pair) for pair in self.pairs]
        return "\n".join([*(lines if len(lines) > 1 else []), self.summary()])

    def summary(self) -> str:
        """One line: how much was found, among whom."""
        return (
            f"{_counted(len(self), 'pair')} in {_counted(len(self.clusters), 'cluster')}; "
            f"{self.searched:,} of {self.gallery_size:,} subjects held against all others, as of change {self.change:,}"
        )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
