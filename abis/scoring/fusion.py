# SPDX-License-Identifier: Apache-2.0
"""Fuse the comparisons of a subject into one score: alternatives are averaged, independent evidence is added.

Every comparison has a calibrated log10 likelihood ratio (LLR). Comparisons of one probe position with one subject are
*alternatives*: an unknown finger with ten fingers, one finger with the references of several encounters, several
impressions of one finger in the probe. Their likelihood ratios are averaged. The mean of likelihood ratios is a
likelihood ratio: its expectation over non-mated subjects is 1. Different positions of the probe are taken as
independent, and their LLRs are added. A position that was not compared adds nothing. The threshold of the sum is the
subject of :mod:`abis.scoring.thresholds`.

A fused score depends on its LLRs only: not on the order of templates, the other subjects, or the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abis.answers import Answer
from abis.comparison.exact import log10, power_of_10
from abis.comparison.kind import Kind
from abis.scoring.calibration import Calibration, Calibrations, kind_of
from abis.template import Position, Template

__all__ = ["Comparisons", "Evidence", "alternatives", "compared_by", "explain", "explain_each", "fuse"]


@dataclass(frozen=True)
class Comparisons:
    """One probe template compared with n references of one position.

    Attributes:
        position: position of the probe template.
        reference_position: position of the references.
        subject: (n,) int64, the caller's number of the subject of each reference.
        encounter: (n,) int64, the caller's number of the encounter of each reference.
        raw: (n,) float32, comparison scores.
        llr: (n,) float64, log10 likelihood ratios of the scores.
        calibration: calibration from ``raw`` to ``llr``.
    """

    position: Position
    reference_position: Position
    subject: NDArray[np.int64]
    encounter: NDArray[np.int64]
    raw: NDArray[np.float32]
    llr: NDArray[np.float64]
    calibration: Calibration

    @classmethod
    def of(
        cls,
        probe: Template,
        reference: Kind,
        *,
        subject: NDArray[np.int64],
        encounter: NDArray[np.int64],
        raw: NDArray[np.float32],
        balance: NDArray[np.float64] | None,
        calibrations: Calibrations,
    ) -> Comparisons:
        """Calibrate the raw scores of one probe template with references of one kind.

        Args:
            probe: probe template.
            reference: kind of all references.
            subject: (n,) int64, the caller's number of the subject of each reference.
            encounter: (n,) int64, the caller's number of the encounter of each reference.
            raw: (n,) float32, comparison scores.
            balance: (n,) float64, the result of :func:`abis.comparison.balance`. None: unknown.
            calibrations: the calibrations in force.
        """
        calibration = calibrations.for_pair(kind_of(probe), reference.calibrated_as)
        llr = calibration.llr(raw, balance)
        return cls(probe.position, reference.position, subject, encounter, raw, llr, calibration)

    def __len__(self) -> int:
        return len(self.raw)

    def where(self, chosen: NDArray[np.bool_]) -> Comparisons:
        """Return the comparisons at which ``chosen``, an (n,) mask, is True."""
        return Comparisons(
            self.position,
            self.reference_position,
            self.subject[chosen],
            self.encounter[chosen],
            self.raw[chosen],
            self.llr[chosen],
            self.calibration,
        )


@dataclass(frozen=True)
class Evidence(Answer):
    """The part of a subject's score that one position of the probe contributes.

    Attributes:
        position: position of the probe.
        score: log10 likelihood ratio; a subject's score is the sum over its evidence.
        raw: comparison score of the best reference.
        encounter_id: encounter of the best reference.
        reference_position: position of the best reference; differs from ``position`` only for unknown fingers.
    """

    position: Position
    score: float
    raw: float
    encounter_id: str
    reference_position: Position

    def __str__(self) -> str:
        other = "" if self.position == self.reference_position else f" ({self.reference_position.name})"
        return f"{self.position.name} {self.score:.1f}{other}"


def fuse(comparisons: Iterable[Comparisons], count: int) -> NDArray[np.float64]:
    """Fuse comparisons into one score for each subject.

    Args:
        comparisons: comparisons of any probe positions, with subject numbers from 0 to ``count - 1``.
        count: number of subjects.

    Returns:
        (count,) float64, log10 likelihood ratios; NaN for subjects without a comparison.
    """
    total = np.zeros(count)
    compared = np.zeros(count, np.bool_)
    for group in _by_position(comparisons):
        subject = np.concatenate([c.subject for c in group])
        llr = alternatives(subject, np.concatenate([c.llr for c in group]), count)
        has = ~np.isnan(llr)
        total[has] += llr[has]
        compared |= has
    total[~compared] = np.nan
    return total


def compared_by(
    comparisons: Iterable[Comparisons], subjects: NDArray[np.int64]
) -> tuple[list[list[list[Calibration]]], NDArray[np.int64]]:
    """Group subjects by the positions and calibrations of their comparisons, which determine the threshold.

    Args:
        comparisons: comparisons of any probe positions.
        subjects: (m,) int64, ascending subject numbers.

    Returns:
        The groups, each as :data:`abis.scoring.thresholds.Compared`; and (m,) int64, the group of each subject.
    """
    counts: dict[tuple[Position, Calibration], NDArray[np.int64]] = {}
    for c in comparisons:
        place = np.searchsorted(subjects, c.subject)
        known = place < len(subjects)
        known[known] = subjects[place[known]] == c.subject[known]
        own = np.bincount(place[known], minlength=len(subjects))
        key = c.position, c.calibration
        counts[key] = counts[key] + own if key in counts else own
    way = np.zeros(len(subjects), np.int64)
    for own in counts.values():  # numbered anew after each, so that numbers stay small
        way = np.unique(way * (1 + own.max(initial=0)) + own, return_inverse=True)[1]
    ways = []
    for first in np.unique(way, return_index=True)[1].tolist():
        compared: dict[Position, list[Calibration]] = {}
        for (position, calibration), own in counts.items():
            if own[first]:
                compared.setdefault(position, []).extend([calibration] * int(own[first]))
        ways.append(list(compared.values()))
    return ways, way


def explain(
    comparisons: Iterable[Comparisons], subject: int, encounter_ids: Mapping[int, str]
) -> tuple[Evidence, ...]:
    """Return the evidence behind one subject's score of :func:`fuse`, one item for each probe position.

    Args:
        comparisons: comparisons with this subject; those with other subjects are ignored.
        subject: number of the subject in ``comparisons``.
        encounter_ids: encounter id by encounter number, for every encounter of the subject.
    """
    own = [c.where(c.subject == subject) for c in comparisons]
    return explain_each(own, encounter_ids).get(subject, ())


def explain_each(
    comparisons: Iterable[Comparisons], encounter_ids: Mapping[int, str]
) -> dict[int, tuple[Evidence, ...]]:
    """Return the evidence behind the score of every subject that has a comparison.

    Args:
        comparisons: comparisons with any subjects.
        encounter_ids: encounter id by encounter number, for every encounter in ``comparisons``.

    Returns:
        The evidence by subject number, one item for each probe position.
    """
    evidence: dict[int, tuple[Evidence, ...]] = {}
    for group in _by_position(comparisons):
        for subject, one in _evidence(group, encounter_ids):
            evidence[subject] = (*evidence.get(subject, ()), one)
    return evidence


def alternatives(subject: NDArray[np.int64], llr: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the log10 of the mean likelihood ratio of each subject.

    Args:
        subject: (n,) int64, subject numbers from 0 to ``count - 1`` in any order.
        llr: (n,) float64, finite log10 likelihood ratios.
        count: number of subjects.

    Returns:
        (count,) float64; NaN for subjects that do not occur. The LLR of a subject that occurs once is unchanged.
    """
    mean = np.full(count, np.nan)
    mean[subject] = llr
    several = np.bincount(subject, minlength=count)[subject] > 1
    if not several.any():
        return mean
    subject, llr = subject[several], llr[several]
    order = np.lexsort(
        (llr, subject)
    )  # the sum of sorted values does not depend on the order of the arguments
    subject, llr = subject[order], llr[order]
    start = np.flatnonzero(np.diff(subject, prepend=-1))
    size = np.diff(start, append=len(subject))
    run = np.repeat(np.arange(len(start)), size)
    largest = llr[start + size - 1]
    total = np.bincount(run, weights=power_of_10(llr - largest[run]))  # adds in order, from 0
    mean[subject[start]] = largest + log10(total / size)
    return mean


def _evidence(
    comparisons: Sequence[Comparisons], encounter_ids: Mapping[int, str]
) -> Iterator[tuple[int, Evidence]]:
    """Yield each subject's number and its evidence from one probe position."""
    subject = np.concatenate([c.subject for c in comparisons])
    raw = np.concatenate([c.raw for c in comparisons])
    llr = np.concatenate([c.llr for c in comparisons])
    encounter = np.concatenate([c.encounter for c in comparisons])
    position = np.repeat([c.reference_position for c in comparisons], [len(c) for c in comparisons])
    order = np.lexsort((position, encounter, -raw, -llr, subject))  # a total order: no tie remains
    best = order[np.flatnonzero(np.diff(subject[order], prepend=-1))]
    _, number = np.unique(subject, return_inverse=True)
    scores = alternatives(number, llr, len(best))
    columns = (subject[best], scores, raw[best], encounter[best], position[best])
    for key, score, best_raw, best_encounter, best_position in zip(
        *(c.tolist() for c in columns), strict=True
    ):
        yield (
            key,
            Evidence(
                position=comparisons[0].position,
                score=score,
                raw=best_raw,
                encounter_id=encounter_ids[best_encounter],
                reference_position=Position(best_position),
            ),
        )


def _by_position(comparisons: Iterable[Comparisons]) -> list[list[Comparisons]]:
    """Group comparisons by probe position, in ascending order of positions."""
    groups: dict[Position, list[Comparisons]] = {}
    for c in comparisons:
        groups.setdefault(c.position, []).append(c)
    return [groups[position] for position in sorted(groups)]
