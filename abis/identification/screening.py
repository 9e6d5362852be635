# SPDX-License-Identifier: Apache-2.0
"""Screening: which subjects of a gallery are worth a full comparison. Three looks, each dearer and at fewer subjects.

The first look takes every reference. Fingers give evidence for each of them; of embeddings FAISS gives the nearest,
with their evidence, and the evidence of the last of these is an upper bound for all others. The second and third look
take the subjects that are left. The evidence of a subject adds up before each cut: of several references for one
position of the probe the best counts, and the evidence of the positions is summed. So a subject passes if
all its positions say a little, though none of them says much.

A few of the best subjects take all looks first. If the caller finds a certain match among them, the search ends there.
Of the others, those without the evidence that mates have do not pass a look.

A probe that is one face alone needs no further looks: the nearest subjects are compared in full.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.comparison import contents
from abis.identification.nearest import largest, nearest
from abis.index.finger_index import FingerIndex
from abis.index.segments import Block, Index, NearestProbe, Probe, Segment, comparable_blocks
from abis.template import Minutiae, Template

__all__ = ["Cuts", "Screening", "look_together"]

# What passes, and what is lost by it: benchmarks/speed/{finger_index,faces}.py, benchmarks/scale/scale.py.
_OF_FIRST = (1.0, 0.075, 0.005)  # the same as a share of the subjects that pass the first look
_POOR = 2_600  # content: a finger with less is weaker evidence, and more subjects pass the first look ...
_MOST_EFFORT = 8.0  # ... up to this factor
_OF_PORTION = 1 / 30  # subjects of the first portion in a large gallery, as a share of those of the last
_FLOORS = (5.0, 8.0, 5.0)  # natural log units: evidence of fingers that all others need to pass
_OF_FIRST_LOOK = 0.5  # weight of the evidence of the first look in the second cut
_OF_NEAREST = 0.03  # of the share of one finger: the first look separates embeddings better than fingers

_idle: list[_core.Tally] = []  # tallies that no search uses: new memory for the evidence of a gallery is slow


@dataclass(frozen=True)
class Cuts:
    """How many subjects pass the first, the second and the third look.

    Attributes:
        first: largest number of subjects that pass the first look.
        second: largest number of subjects that pass the second look.
        third: largest number of subjects that pass the third look.
        best: number of subjects that pass each look whatever their evidence is, and that the first portion takes.
        by_evidence: all others need as much evidence as mates have, and the second cut weighs the evidence of the
            first look as well. False passes the largest numbers by each look alone.
        least: of every search, the least numbers of subjects that pass the three looks, so that small galleries pass as
            a whole.
        least_best: of every search, the least numbers in ``best``.
        least_nearest: of every search for embeddings or irises, the least number of subjects that pass the first look.
    """

    least: ClassVar[tuple[int, int, int]] = (1_000, 300, 100)
    least_best: ClassVar[tuple[int, int, int]] = (1_000, 300, 20)
    least_nearest: ClassVar[int] = 700
    first: int
    second: int
    third: int
    best: tuple[int, int, int] = (1_000, 300, 20)
    by_evidence: bool = False

    @classmethod
    def at(cls, share: float, *, probe: Sequence[Template], subjects: int, wanted: int) -> Cuts:
        """The cuts of a search.

        Args:
            share: largest share of the gallery that passes the first look of one good finger, above 0; 1 passes all
                subjects, whatever the probe and the evidence.
            probe: templates of the probe. More subjects pass for a poor finger, fewer for several positions.
            subjects: number of subjects in the gallery.
            wanted: number of candidates asked for.
        """
        passing = subjects if share == 1 else min(1.0, share * _effort(probe)) * subjects
        if not any(isinstance(template, Minutiae) for template in probe):
            count = max(10 * wanted, cls.least_nearest + int(passing))
            return cls(count, count, count)
        first, second, third = (
            max(least, 10 * wanted, int(part * passing))
            for least, part in zip(cls.least, _OF_FIRST, strict=True)
        )
        portion = int(_OF_PORTION * first)
        best = (
            max(cls.least_best[0], portion),
            max(cls.least_best[1], portion // 10),
            max(cls.least_best[2], 2 * wanted),
        )
        by_evidence = share < 1 and all(isinstance(template, Minutiae) for template in probe)
        return cls(first, second, third, best, by_evidence)

    def of_first_portion(self) -> Cuts:
        """The cuts of a first portion, which is enough if it contains a certain match."""
        first, second, third = map(min, (self.first, self.second, self.third), self.best)
        return replace(self, first=first, second=second, third=third)

    def passing(self, look: int, evidence: NDArray[np.float32]) -> NDArray[np.int64]:
        """Indices of the subjects that pass a look, in order.

        Args:
            look: 0, 1 or 2 for the first, the second or the third look.
            evidence: (m,) float32, natural log units; -inf if nothing is comparable.
        """
        chosen = largest(evidence, (self.first, self.second, self.third)[look])
        if not self.by_evidence:
            return chosen
        rated = chosen[evidence[chosen] >= _FLOORS[look]]
        return (
            rated if len(rated) >= self.best[look] else largest(evidence, min(len(chosen), self.best[look]))
        )


class Screening:
    """The screening of one probe.

    Args:
        segments: references of the gallery.
        probe: templates of any positions.
        cuts: how many subjects pass each look; of equal evidence, the smaller keys pass.
        span: all keys of subjects are below it.
        among: sorted keys of the subjects to search; None searches all.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        probe: Sequence[Probe],
        cuts: Cuts,
        *,
        span: int,
        among: NDArray[np.int64] | None = None,
    ) -> None:
        self._positions = _by_position(segments, probe)
        self._first, self._others = _apart(self._positions)
        self._cuts = cuts
        self._span = span
        self._among = among
        self._tally: _core.Tally | None = None  # holds the first look for the first portion

    @property
    def has_fingers(self) -> bool:
        """True if a position of the probe is a finger."""
        return any(not _tells_nearest(alternatives) for alternatives in self._positions)

    def shortlists(self) -> Generator[NDArray[np.int64], None, None]:
        """The subjects to compare in full: first a few of the best, then all that pass.

        Of several fingers, the one with the most content takes the first look for the first portion, together with
        the embeddings; the second and third look take all positions. If the first portion contains a certain match,
        the caller stops. Otherwise the other fingers take the first look as well.

        Yields:
            Sorted keys of subjects, once or twice; the second portion contains subjects of the first again.
        """
        if len(self._positions) == 1 and not self.has_fingers:
            near = nearest(_sides_of(self._positions[0]), self._cuts.first, self._among)
            yield _closer_looks(
                self._positions, near.subjects, near.similarities.astype(np.float32), self._cuts
            )
            return
        if self._tally is None:
            look_together([self])
        tally, self._tally = self._tally, None
        assert tally is not None
        try:
            few = self._cuts.of_first_portion()
            if self._others or few.first < self._cuts.first:
                subjects = tally.largest(few.first, self._among)
                if len(subjects) == few.first:  # else all subjects pass: the first portion would save nothing
                    yield _closer_looks(self._positions, subjects, tally.evidence_of(subjects), few)
            for alternatives in self._others:
                _first_look([(tally, alternatives)])
            subjects = tally.largest(self._cuts.first, self._among)
            yield _closer_looks(self._positions, subjects, tally.evidence_of(subjects), self._cuts)
        finally:
            _idle.append(tally)

    def _begin(self) -> tuple[_core.Tally, list[_Side]] | None:
        """Look at the embeddings of the first portion; gives what the look at its finger needs, if there is one."""
        tally = self._tally = _borrowed()
        tally.begin(self._span)
        finger = None
        for alternatives in self._first:
            if _tells_nearest(alternatives):
                tally.next_position()
                _look_at_nearest(tally, alternatives, self._cuts.first, self._among)
            else:
                finger = alternatives  # the last position
        return None if finger is None else (tally, finger)


def look_together(screenings: Sequence[Screening]) -> None:
    """Take the first look for the first portion of several screenings, which need not be of the same view.

    Fingers of several probes are looked for in one pass over the references of a segment.
    """
    begun = [screening._begin() for screening in screenings]
    _first_look([one for one in begun if one is not None])


def _borrowed() -> _core.Tally:
    """An idle tally, or a new one if all are in use."""
    try:
        return _idle.pop()  # asking first whether there is one would race with other searches
    except IndexError:
        return _core.Tally()


class _Side(NamedTuple):
    """A template of the probe and the blocks it may be compared with."""

    probe: Probe
    blocks: Sequence[Block]


def _tells_nearest(alternatives: Sequence[_Side]) -> bool:
    return alternatives[0].probe.tells_nearest


def _sides_of(alternatives: Sequence[_Side]) -> list[tuple[NearestProbe, Sequence[Block]]]:
    return [(side.probe.prepared, side.blocks) for side in alternatives]


def _first_look(looks: Sequence[tuple[_core.Tally, Sequence[_Side]]]) -> None:
    """Add up the evidence of one finger position for all subjects, for each tally and the templates of the position."""
    for tally, _ in looks:
        tally.next_position()
    most = max((len(alternatives) for _, alternatives in looks), default=0)
    for number in range(most):  # a tally takes one template at a time
        blocks: dict[int, tuple[Block, list[_core.Tally], list[Any]]] = {}
        for tally, alternatives in looks:
            for (_, prepared), own in alternatives[number : number + 1]:
                for block in own:
                    _, tallies, probes = blocks.setdefault(id(block), (block, [], []))
                    tallies.append(tally)
                    probes.append(prepared)
        for block, tallies, probes in blocks.values():
            assert isinstance(block.index, FingerIndex)
            block.index.tally(tallies, probes, block.subjects, is_run=block.is_run, gone=block.gone)


def _look_at_nearest(
    tally: _core.Tally, alternatives: Sequence[_Side], count: int, among: NDArray[np.int64] | None
) -> None:
    """The evidence of the nearest subjects; for all others that of the last of these, which is an upper bound."""
    near = nearest(_sides_of(alternatives), count, among)
    if not len(near.subjects):
        return
    evidence: NDArray[np.float32] = alternatives[0].probe.prepared.evidence_of(near.similarities)
    if not near.is_all:
        for _, blocks in alternatives:
            for block in blocks:
                bound = np.full(len(block), evidence.min(), np.float32)
                tally.add_evidence(bound, block.subjects, block.is_run, block.gone)
    tally.add_evidence(evidence, near.subjects, False, None)


_Look = Callable[[Index, Any, NDArray[np.int64]], NDArray[np.float32]]


def _sift(index: Index, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    return index.sift(prepared, slots)


def _refine(index: Index, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    return index.refine(prepared, slots)


def _closer_looks(
    positions: Sequence[Sequence[_Side]],
    subjects: NDArray[np.int64],
    first: NDArray[np.float32],
    cuts: Cuts,
) -> NDArray[np.int64]:
    """The subjects that pass all looks, of those that are among the best by their evidence of the first look."""
    chosen = cuts.passing(0, first)
    subjects, first = subjects[chosen], first[chosen]
    if len(subjects) > cuts.second:
        evidence = _closer_look(_sift, positions, subjects)
        if cuts.by_evidence:
            evidence += np.float32(_OF_FIRST_LOOK) * first
        subjects = subjects[cuts.passing(1, evidence)]
    if len(subjects) > cuts.third:
        subjects = subjects[cuts.passing(2, _closer_look(_refine, positions, subjects))]
    return subjects


def _closer_look(
    look: _Look,
    positions: Sequence[Sequence[_Side]],
    subjects: NDArray[np.int64],
) -> NDArray[np.float32]:
    """(len(subjects),) float32, evidence of some subjects; -inf if nothing is comparable."""
    total = np.zeros(len(subjects), np.float32)
    compared = np.zeros(len(subjects), np.bool_)
    for alternatives in positions:
        best = np.full(len(subjects), -np.inf, np.float32)
        for (_, prepared), blocks in alternatives:
            for block in blocks:
                slots = block.slots_of(subjects)
                if len(slots):
                    rows = block.rows_of(slots, subjects)
                    np.maximum.at(best, rows, look(block.index, prepared, slots))
        known = best > -np.inf
        total[known] += best[known]
        compared |= known
    total[~compared] = -np.inf
    return total


def _by_position(segments: Sequence[Segment], probe: Sequence[Probe]) -> list[list[_Side]]:
    """The sides of each position of the probe, in the order of positions."""
    sides = [_Side(one, list(comparable_blocks(segments, one.template))) for one in probe]
    sides.sort(key=lambda side: side.probe.template.position)
    return [list(group) for _, group in groupby(sides, key=lambda side: side.probe.template.position)]


def _apart(positions: Sequence[list[_Side]]) -> tuple[list[list[_Side]], list[list[_Side]]]:
    """The positions whose first look tells the nearest, and the finger with the most content; the other fingers."""
    fingers = [p for p in positions if not _tells_nearest(p)]
    others = [p for p in positions if _tells_nearest(p)]
    fingers.sort(key=lambda own: -max(_contents([side.probe.template for side in own])))
    return others + fingers[:1], fingers[1:]


def _effort(probe: Sequence[Template]) -> float:
    """The factor of the share: 1 for one good finger, more for a poor one, less for several positions or none."""
    content = _contents(probe)
    if not content:
        return _OF_NEAREST
    positions = len({template.position for template in probe})
    if len(content) < len(probe):
        return 1 / positions
    return min(_MOST_EFFORT, max(1.0, (_POOR / max(1, *content)) ** 2)) / positions


def _contents(templates: Iterable[Template]) -> list[int]:
    """The content of each finger, in which uncertain minutiae count less (:func:`abis.comparison.contents`)."""
    found: list[int] = contents([one for one in templates if isinstance(one, Minutiae)]).tolist()
    return found
