# SPDX-License-Identifier: Apache-2.0
"""Pairs become people: who hangs together, and which link of a chain should not be trusted.

A *cluster* is all subjects that pairs connect. One false pair is enough to connect two people of several
subjects each; so a cluster is also divided into *families*. Pairs are taken one after the other, first those whose
subjects have most others in common, of these the highest score first; two families become one only where at least
half of the pairs there could be between them have been found. A pair whose subjects end up in different families is
*weak*: either it is false, or most others are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Group", "Link", "grouped"]


class Link(NamedTuple):
    """A pair, its subjects by any number."""

    first: int
    second: int
    score: float


class Group(NamedTuple):
    """A cluster.

    Attributes:
        links: numbers of its links, the highest score first.
        families: its subjects, family by family, the largest first; in a family in their order.
        weak: numbers of the links between families.
    """

    links: tuple[int, ...]
    families: tuple[tuple[int, ...], ...]
    weak: frozenset[int]


def grouped(links: Sequence[Link]) -> list[Group]:
    """Clusters in the order in which to look at them: by the highest score of a pair in them.

    What comes out depends on the links alone, not on their order: of equal scores the one of the smaller
    subjects comes first.

    >>> grouped([Link(1, 2, 9.0), Link(4, 3, 8.0), Link(2, 3, 7.0)])  # two pairs, and what welds them
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
    """Sets of subjects that become fewer and larger, and how many links there are between them.

    Attributes:
        head: of each subject, the number of its set.
        members: of each set.
    """

    def __init__(self) -> None:
        self.head: dict[int, int] = {}
        self.members: dict[int, list[int]] = {}
        self._links: dict[int, Counter[int]] = {}  # of each set, to each other one

    def connect(self, first: int, second: int) -> None:
        """There is a link between two subjects; both are still alone."""
        for subject in (first, second):
            if subject not in self.head:
                self.head[subject] = subject
                self.members[subject] = [subject]
                self._links[subject] = Counter()
        self._links[first][second] += 1
        self._links[second][first] += 1

    def in_common(self, first: int, second: int) -> int:
        """How many are linked to both of two subjects; all are still alone."""
        return len(self._links[first].keys() & self._links[second].keys())

    def found(self, first: int, second: int) -> int:
        """How many links there are between the sets of two subjects."""
        return self._links[self.head[first]][self.head[second]]

    def possible(self, first: int, second: int) -> int:
        """How many there could be."""
        return len(self.members[self.head[first]]) * len(self.members[self.head[second]])

    def join(self, first: int, second: int) -> None:
        """Make one set of the sets of two subjects."""
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
