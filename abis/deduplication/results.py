# SPDX-License-Identifier: Apache-2.0
"""The results of de-duplication: pairs and clusters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import overload

from abis.answers import Answer
from abis.comparison.coverage import Coverage
from abis.deduplication.clusters import Link, grouped
from abis.scoring.fusion import Evidence
from abis.text import counted

__all__ = ["DuplicateCluster", "DuplicatePair", "Duplicates"]


@dataclass(frozen=True)
class DuplicatePair(Answer):
    """Two subjects that may be one person.

    Attributes:
        subject_id: the subject that was enrolled first.
        other_id: the subject that was enrolled later. The score is that of a search for this one among all.
        score: log10 likelihood ratio, the sum over ``evidence``.
        threshold: the threshold that the score reaches.
        evidence: the part of each position; ``encounter_id`` belongs to the first subject.
        cluster: number of the pair's cluster, from 1.
        is_weak: True if the pair links two families of its cluster; see :mod:`abis.deduplication.clusters`.
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


@dataclass(frozen=True, repr=False)
class DuplicateCluster(Answer):
    """Subjects that are connected by pairs, directly or through others.

    Attributes:
        number: from 1, in the order to look at clusters.
        families: subject_ids of the cluster, divided where only weak pairs connect them; the largest family first.
        pairs: pairs of the cluster, the highest score first.
    """

    number: int
    families: tuple[tuple[str, ...], ...]
    pairs: tuple[DuplicatePair, ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """All subject_ids of the cluster."""
        return tuple(subject for family in self.families for subject in family)


@dataclass(frozen=True, repr=False)
class Duplicates(Answer, Sequence[DuplicatePair]):
    """The result of :meth:`Gallery.deduplicate`: a sequence of pairs, cluster by cluster, surest first.

    Attributes:
        clusters: ordered by their highest score; of equal scores, in the order of enrolment.
        gallery_size: number of subjects in the gallery.
        searched: number of subjects that were compared with all others: all subjects, or the new ones.
        fpir: false positive identification rate asked for; None if a threshold was.
        change: number of the gallery's last change that was considered: ``since`` of the next run.
        coverage: number of subjects that could be compared with all others; None where it was not counted.
    """

    clusters: tuple[DuplicateCluster, ...]
    gallery_size: int
    searched: int
    fpir: float | None
    change: int
    coverage: Coverage | None = None

    @property
    def pairs(self) -> tuple[DuplicatePair, ...]:
        """All pairs, in the order to look at them."""
        return tuple(pair for cluster in self.clusters for pair in cluster.pairs)

    def without(self, pairs: Collection[frozenset[str]]) -> Duplicates:
        """The result without some pairs, clustered again: pairs that were decided to be two people, for example.

        Args:
            pairs: sets of two subject_ids; see :attr:`abis.deduplication.decisions.Decisions.two_people`.
        """
        left = [pair for pair in self.pairs if frozenset((pair.subject_id, pair.other_id)) not in pairs]
        ids = list(dict.fromkeys(own for pair in left for own in (pair.subject_id, pair.other_id)))
        number = {subject_id: n for n, subject_id in enumerate(ids)}
        groups = grouped([Link(number[p.subject_id], number[p.other_id], p.score) for p in left])
        clusters = (
            DuplicateCluster(
                cluster,
                tuple(tuple(ids[n] for n in family) for family in group.families),
                tuple(replace(left[n], cluster=cluster, is_weak=n in group.weak) for n in group.links),
            )
            for cluster, group in enumerate(groups, 1)
        )
        return replace(self, clusters=tuple(clusters))

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
        """One line: number of pairs and clusters, and what was compared."""
        gap = "" if self.coverage is None or self.coverage.is_full else f"; {self.coverage}"
        return (
            f"{counted(len(self), 'pair')} in {counted(len(self.clusters), 'cluster')}; "
            f"{self.searched:,} of {self.gallery_size:,} subjects compared with all others, "
            f"as of change {self.change:,}{gap}"
        )
