# SPDX-License-Identifier: Apache-2.0
"""Compare some subjects with some others, within a gallery or between machines: pairs that may be one person.

All pairs get a first look, some a second look, and few are compared in full:

1. *First look.* Finds fingers that have minutiae in common, by hashing of their codes, and faces with near sketches.
   One position is enough to make a pair a candidate, so a person who returns with another face, or without one, is
   found by a finger.
2. *Second look.* Adds up the evidence of all positions of a candidate: the pose on which fingers agree, and the
   likelihood ratios of faces.
3. *Full comparison*, calibration and fusion, bit-identical to those of a search.

Whether a pair is found depends on its two subjects and the criterion only, not on other subjects. So the result does
not depend on the portions, their order or the machine.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from abis.deduplication.tiles import Tile, expanded
from abis.errors import ArgumentError, check_real
from abis.scoring import fusion
from abis.scoring.calibration import Calibrations
from abis.scoring.fusion import Comparisons, Evidence
from abis.scoring.thresholds import Compared, check_rate, threshold_for_fpir

__all__ = ["Criterion", "FoundPair", "find_pairs"]

# What passes, and what is lost by it: benchmarks/scale/deduplication.py, docs/deduplication.md. Natural log units.
_ALL_PASS = 2_000  # subjects: up to here all pairs get a second look
_OF_SCORE = 0.45  # the part of the threshold that the second look must reach
_LN_OF_10 = math.log(10)
_AT_ONCE = 2_000_000  # pairs of templates looked at or compared at a time: about 200 MB


@dataclass(frozen=True)
class Criterion:
    """Decides which pairs are listed.

    Attributes:
        gallery_size: number of subjects in all.
        fpir: false positive identification rate of each subject's search among all. None if there is a threshold.
        threshold: least score of a pair, whatever was compared. None if there is a rate.
        exact: compare all pairs in full.

    Raises:
        ArgumentError: there is neither a rate nor a threshold, or both, or one is out of its range.
    """

    gallery_size: int
    fpir: float | None = None
    threshold: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        if (self.fpir is None) == (self.threshold is None):
            raise ArgumentError("expected a false positive identification rate or a threshold, one of them")
        if self.fpir is not None:
            check_rate("fpir", self.fpir)
        if self.threshold is not None:
            what = "a finite log10 likelihood ratio"
            check_real("threshold", self.threshold, above=-math.inf, highest=sys.float_info.max, what=what)

    def threshold_of(self, compared: Compared) -> float:
        """The least score of a pair that was compared by these calibrations."""
        if self.threshold is not None:
            return self.threshold
        assert self.fpir is not None
        return threshold_for_fpir(self.fpir, max(self.gallery_size, 1), compared)

    @property
    def passes_all(self) -> bool:
        """True if all pairs pass the first look."""
        return self.exact or self.gallery_size <= _ALL_PASS

    @property
    def second_least(self) -> float:
        """Least evidence of all positions at the second look, natural log units."""
        if self.threshold is not None:
            return _OF_SCORE * self.threshold * _LN_OF_10
        assert self.fpir is not None
        return _OF_SCORE * math.log(max(self.gallery_size, 1) / self.fpir)


@dataclass(frozen=True)
class FoundPair:
    """Two subjects that may be one person.

    Attributes:
        probe: key of the subject whose templates were the probe.
        reference: key of the other subject.
        score: log10 likelihood ratio of a search for the probe among the references.
        threshold: the threshold that the score reaches.
        evidence: the part of each position; ``encounter_id`` is the encounter's key in digits.
    """

    probe: int
    reference: int
    score: float
    threshold: float
    evidence: tuple[Evidence, ...]

    @property
    def encounters(self) -> set[int]:
        """Keys of the encounters in the evidence."""
        return {int(one.encounter_id) for one in self.evidence}

    def with_names(self, encounters: Mapping[int, str]) -> FoundPair:
        """The same with names of encounters in the evidence; ``encounters`` contains all their keys."""
        named = (replace(one, encounter_id=encounters[int(one.encounter_id)]) for one in self.evidence)
        return replace(self, evidence=tuple(named))


def find_pairs(
    probes: Tile,
    references: Tile,
    criterion: Criterion,
    calibrations: Calibrations,
    *,
    ordered: bool,
    tables_of_probes: bool = False,
) -> list[FoundPair]:
    """Find the pairs of a probe and a reference whose scores reach the threshold.

    The references' tables take about 300 bytes a minutia, and candidates take memory too. Use about 2,000 probes with
    30,000 references at a time.

    Args:
        probes: subjects, for example a batch of another shard.
        references: other subjects, or the same.
        criterion: decides which pairs are listed.
        calibrations: of the kinds of both.
        ordered: True if both are of one gallery: finds each pair once, with the smaller key as reference. False
            compares each probe with each reference.
        tables_of_probes: make the tables of the first look from the probes, for few probes against many references. A
            few in a thousand of the pairs that pass the first look differ; scores do not. Not with ``ordered``.

    Returns:
        Pairs in the order of probes and references.

    Raises:
        ValueError: ``ordered`` and ``tables_of_probes`` are both True.
    """
    if ordered and tables_of_probes:
        raise ValueError("tables of probes and ordered; expected one of them")
    if criterion.passes_all:
        places = _all_pairs(probes, references, ordered)
    else:
        places = _first_look(
            probes, references, criterion, calibrations, ordered=ordered, tables_of_probes=tables_of_probes
        )
    found: list[FoundPair] = []
    for start, end in _portions(probes.templates[places[:, 0]] * references.templates[places[:, 1]]):
        mine, theirs = places[start:end].T
        some = np.stack([probes.subjects[mine], references.subjects[theirs]], axis=1)
        if not criterion.exact:
            some = some[_second_look(probes, references, some, calibrations) >= criterion.second_least]
        found += _compared(probes, references, some, criterion, calibrations)
    return found


def _all_pairs(probes: Tile, references: Tile, ordered: bool) -> NDArray[np.int64]:
    """(p, 2) places of subjects in the tiles."""
    mine, theirs = probes.subjects, references.subjects
    counts = np.searchsorted(theirs, mine, "left") if ordered else np.full(len(mine), len(theirs))
    second = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([np.repeat(np.arange(len(mine)), counts), second], axis=1)


def _first_look(
    probes: Tile,
    references: Tile,
    criterion: Criterion,
    calibrations: Calibrations,
    *,
    ordered: bool,
    tables_of_probes: bool,
) -> NDArray[np.int64]:
    """(p, 2) places of subjects in the tiles, in order: the pairs that pass by at least one position."""
    found = [np.empty(0, np.int64)]
    size = len(references.subjects)
    for probe, reference in probes.comparable(references):
        limits = np.full(len(probe), len(reference), np.int64)
        if ordered:
            limits = np.searchsorted(reference.subjects, probe.subjects, "left").astype(np.int64)
        first, second = probe.looks.near(
            probe.side,
            reference.side,
            limits,
            criterion.gallery_size,
            calibrations,
            tables_of_probes=tables_of_probes,
        )
        mine = np.searchsorted(probes.subjects, probe.subjects)
        theirs = np.searchsorted(references.subjects, reference.subjects)
        found.append(mine[first] * size + theirs[second])
    pairs = np.sort(np.concatenate(found))
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.stack([pairs // max(1, size), pairs % max(1, size)], axis=1)


def _portions(weights: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of pairs with about _AT_ONCE pairs of templates each, or of one pair."""
    ends = np.cumsum(weights)
    start = done = 0
    while start < len(weights):
        end = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
        yield start, end
        start, done = end, int(ends[end - 1])


def _second_look(
    probes: Tile, references: Tile, pairs: NDArray[np.int64], calibrations: Calibrations
) -> NDArray[np.float64]:
    """(p,) evidence in natural log units, as in :mod:`abis.identification.screening`.

    Of several references for a position the best counts; the evidence of positions is summed.
    """
    total = np.zeros(len(pairs))
    comparable = sorted(probes.comparable(references), key=lambda parts: parts[0].kind.position)
    for _, own in groupby(comparable, key=lambda parts: parts[0].kind.position):
        best = np.full(len(pairs), -np.inf)
        for probe, reference in own:
            pair, first, second = expanded(probe, reference, pairs)
            evidence = probe.looks.evidence(probe.side, reference.side, first, second, calibrations)
            np.maximum.at(best, pair, evidence)
        total += np.where(best > -np.inf, best, 0.0)
    return total


def _compared(
    probes: Tile,
    references: Tile,
    pairs: NDArray[np.int64],
    criterion: Criterion,
    calibrations: Calibrations,
) -> list[FoundPair]:
    """The pairs whose scores reach the threshold."""
    comparisons = []
    for probe, reference in probes.comparable(references):
        pair, first, second = expanded(probe, reference, pairs)
        if len(pair):
            calibration = calibrations.for_pair(probe.kind.calibrated_as, reference.kind.calibrated_as)
            raw, balance = probe.looks.raw(probe.side, reference.side, first, second, calibration)
            encounters = reference.encounters[second]
            comparisons.append(
                Comparisons(
                    probe.kind.position,
                    reference.kind.position,
                    pair,
                    encounters,
                    raw,
                    calibration.llr(raw, balance),
                    calibration,
                )
            )
    scores = fusion.fuse(comparisons, len(pairs))
    compared = np.flatnonzero(~np.isnan(scores))
    ways, way = fusion.compared_by(comparisons, compared)
    thresholds = np.array([criterion.threshold_of(one) for one in ways])[way] if ways else np.empty(0)
    enough = scores[compared] >= thresholds
    chosen, limits = compared[enough], thresholds[enough]
    evidence = fusion.explain_each([c.where(np.isin(c.subject, chosen)) for c in comparisons], _Digits())
    return [
        FoundPair(int(pairs[row, 0]), int(pairs[row, 1]), float(scores[row]), limit, evidence[row])
        for row, limit in zip(chosen.tolist(), limits.tolist(), strict=True)
    ]


class _Digits(dict[int, str]):
    """The digits of each key as its name; the caller, who has the store, looks the names up."""

    def __missing__(self, key: int) -> str:
        return str(key)
