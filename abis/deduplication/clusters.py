# SPDX-License-Identifier: Apache-2.0
"""Group pairs into people, and mark the pairs that should not be trusted.

A *cluster* is a set of subjects connected by pairs. One false pair connects two people who have several subjects
each, so a cluster is also divided into *families*. Pairs are taken one by one, first the pairs whose subjects have
the most others in common, then by score. Two families are joined only if at least half of the possible pairs between
them were found. A pair whose subjects end in different families is *weak*: either the pair is false, or most pairs
are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Group", "Link", "grouped"]


class Link(NamedTuple):
    """A pair of subjects, which have any numbers, and its score."""

    first: int
    second: int
    score: float


class Group(NamedTuple):
    """A cluster.

    Attributes:
        links: numbers of its links, the highest score first.
        families: subjects of each family, ascending; the largest family first.
        weak: numbers of the links between families.
    """

    links: tuple[int, ...]
    families: tuple[tuple[int, ...], ...]
    weak: frozenset[int]


def grouped(links: Sequence[Link]) -> list[Group]:
    """Group links into clusters, ordered by their highest score.

    The result does not depend on the order of the links: of equal scores, the smaller subjects come first.

    >>> grouped([Link(1, 2, 9.0), Link(4, 3, 8.0), Link(2, 3, 7.0)])  # two pairs, and a weak one between them
    [Group(links=(0, 1, 2), families=((1, 2), (3, 4)), weak=frozenset({2}))]
    """
    order = sorted(range(len(links)), key=lambda n: (-links[n].score, sorted(links[n][:2])))
    clusters, families = _Families(), _Families()
    for link in links:
        clusters.connect(link.first, link.second)
        families.connect(link.first, link.second)
    for n in order:
        clusters.join(links[n].first, links[n].second)
    common = {n: families.in_common(links[n].first, links[n].second) for n in order}
    for n in sorted(order, key=lambda n: -common[n]):
        first, second, _ = links[n]
        if 2 * families.found(first, second) >= families.possible(first, second):
            families.join(first, second)
    by_cluster: dict[int, list[int]] = {}
    for n in order:
        by_cluster.setdefault(clusters.head[links[n].first], []).append(n)
    groups = []
    for cluster, own in by_cluster.items():
        heads = {families.head[subject] for subject in clusters.members[cluster]}
        members = (tuple(sorted(families.members[head])) for head in heads)
        weak = (n for n in own if families.head[links[n].first] != families.head[links[n].second])
        groups.append(
            Group(
                tuple(own),
                tuple(sorted(members, key=lambda family: (-len(family), family))),
                frozenset(weak),
            )
        )
    return groups


class _Families:
    """Sets of subjects that are joined step by step, and the number of links between them.

    Attributes:
        head: number of the set of each subject.
        members: subjects of each set.
    """

    def __init__(self) -> None:
        self.head: dict[int, int] = {}
        self.members: dict[int, list[int]] = {}
        self._links: dict[int, Counter[int]] = {}  # number of links from each set to each other

    def connect(self, first: int, second: int) -> None:
        """Note a link between two subjects, before any sets are joined."""
        for subject in (first, second):
            if subject not in self.head:
                self.head[subject] = subject
                self.members[subject] = [subject]
                self._links[subject] = Counter()
        self._links[first][second] += 1
        self._links[second][first] += 1

    def in_common(self, first: int, second: int) -> int:
        """Number of subjects linked to both of two subjects, before any sets are joined."""
        return len(self._links[first].keys() & self._links[second].keys())

    def found(self, first: int, second: int) -> int:
        """Number of links between the sets of two subjects."""
        return self._links[self.head[first]][self.head[second]]

    def possible(self, first: int, second: int) -> int:
        """Number of possible links between the sets of two subjects."""
        return len(self.members[self.head[first]]) * len(self.members[self.head[second]])

    def join(self, first: int, second: int) -> None:
        """Join the sets of two subjects."""
        small, large = sorted((self.head[first], self.head[second]), key=lambda head: len(self.members[head]))
        if small == large:
            return
        for subject in self.members[small]:
            self.head[subject] = large
        self.members[large] += self.members.pop(small)
        for other, count in self._links.pop(small).items():
            if other != large:
                self._links[large][other] += count
                self._links[other][large] += count
            self._links[other].pop(small, None)
