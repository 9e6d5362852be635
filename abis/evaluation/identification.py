# SPDX-License-Identifier: Apache-2.0
"""Error rates of 1:N searches, closed-set and open-set, after ISO/IEC 19795-1.

A mated search, one whose subject is enrolled, errs if the mate is not among the first R candidates or scores below the
threshold (FNIR). A non-mated search errs if any candidate reaches the threshold (FPIR). With a threshold below all
scores, 1 - FNIR as a function of R is the cumulative match characteristic (CMC).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.evaluation.bootstrap import REPLICATES
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.intervals import Estimate, interval
from abis.evaluation.scores import FAILED

__all__ = ["Cmc", "FnirAtFpir", "IdentificationRates", "SearchOutcomes", "measure_identification", "search"]

_FPIRS = (0.1, 0.01, 0.001)
_CMC_RANKS = 100  # length of the CMC at most

Floats = npt.NDArray[np.floating[Any]]
Subjects = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class SearchOutcomes:
    """Results of mated and non-mated searches of one gallery; a subject's score is that of its best reference.

    Attributes:
        gallery_size: number of enrolled subjects, N.
        gallery_size_without_mate: number of subjects compared in a non-mated search.
        mate_score: (m,) score of the mate in each mated search; -inf if the mate or the probe failed.
        mate_rank: (m,) rank of the mate: 1 plus the number of other subjects with an equal or higher score, so ties
            count against the system; 0 if the mate or the probe failed.
        mate_subject: (m,) number of the probe's subject in each mated search.
        highest: (k,) highest score in each non-mated search.
        highest_subject: (k,) number of the probe's subject in each non-mated search.
    """

    gallery_size: int
    gallery_size_without_mate: int
    mate_score: npt.NDArray[np.float64]
    mate_rank: npt.NDArray[np.int64]
    mate_subject: Subjects
    highest: npt.NDArray[np.float64]
    highest_subject: Subjects

    def at_rank(self, rank: int) -> ErrorRates:
        """Return the error rates if the first ``rank`` candidates are examined: ``fmr`` is FPIR, ``fnmr`` is FNIR.

        Args:
            rank: number of candidates examined, R, at least 1.

        Raises:
            ValueError: there is no mated search or no non-mated search.
        """
        listed = (self.mate_rank > 0) & (self.mate_rank <= rank)
        return ErrorRates(np.where(listed, self.mate_score, FAILED), self.highest)


@dataclass(frozen=True)
class FnirAtFpir:
    """The FNIR at an FPIR.

    Attributes:
        rank: number of candidates examined, R.
        wanted: FPIR asked for, a fraction.
        threshold: lowest threshold with an FPIR of at most ``wanted``.
        fpir: FPIR at the threshold.
        fnir: FNIR at the threshold, with its 95 % interval over the subjects of the probes.
    """

    rank: int
    wanted: float
    threshold: float
    fpir: float
    fnir: Estimate


@dataclass(frozen=True, eq=False)
class Cmc:
    """Cumulative match characteristic: the fraction of mates among the first ``rank`` candidates.

    Attributes:
        rank: (k,) ascending ranks from 1.
        hits: (k,) fraction of mated searches with the mate at this rank or before.
        low: (k,) lower end of the pointwise 95 % interval of ``hits``.
        high: (k,) upper end of the pointwise 95 % interval of ``hits``.
    """

    rank: npt.NDArray[np.int64]
    hits: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


@dataclass(frozen=True)
class IdentificationRates:
    """The error rates of 1:N searches.

    Attributes:
        gallery_size: number of enrolled subjects, N.
        gallery_size_without_mate: number of subjects compared in a non-mated search: N, or N - 1 if the probe's own
            subject is left out.
        mated: number of searches whose subject is enrolled.
        non_mated: number of searches whose subject is not enrolled or is left out.
        list_length: greatest number of candidates of a search, N.
        rank_1: FNIR at rank 1 without a threshold.
        fnir_at: FNIR at rank 1 and FPIRs of 10 %, 1 % and 0.1 %, where that allows at least one false positive; and
            at an FPIR of 0.
        cmc: the cumulative match characteristic up to rank 100.
        rates: error rates at every threshold: ``fmr`` is FPIR, ``fnmr`` is FNIR at rank 1.
    """

    gallery_size: int
    gallery_size_without_mate: int
    mated: int
    non_mated: int
    list_length: int
    rank_1: Estimate
    fnir_at: tuple[FnirAtFpir, ...]
    cmc: Cmc = field(repr=False, compare=False)
    rates: ErrorRates = field(repr=False, compare=False)


def search(
    rows: Iterable[Floats],
    probe_subject: Subjects,
    reference_subject: Subjects,
    *,
    without_mate: bool,
) -> SearchOutcomes:
    """Simulate searches from the scores of every probe with every reference.

    Args:
        rows: (g,) scores with every reference, for each probe; :data:`FAILED` for a comparison without a score.
        probe_subject: (p,) subject number of each probe.
        reference_subject: (g,) subject number of each reference.
        without_mate: True: every probe is also searched in the gallery without its own subject, as a non-mated
            search. False: the non-mated searches are those of probes whose subject has no reference.
    """
    order = np.argsort(reference_subject, kind="stable")
    enrolled, first = np.unique(reference_subject[order], return_index=True)
    place = np.searchsorted(enrolled, probe_subject)
    has_mate = enrolled[np.minimum(place, len(enrolled) - 1)] == probe_subject
    mate_score, mate_rank, mate_subject, highest, highest_subject = [], [], [], [], []
    for row, own, mated, subject in zip(
        rows, place.tolist(), has_mate.tolist(), probe_subject.tolist(), strict=True
    ):
        best = np.maximum.reduceat(row[order], first).astype(np.float64)
        if mated:
            score = best[own]
            best[own] = FAILED
            mate_score.append(score)
            mate_rank.append(0 if score == FAILED else 1 + int((best >= score).sum()))
            mate_subject.append(subject)
        if without_mate or not mated:
            highest.append(best.max(initial=FAILED))
            highest_subject.append(subject)
    return SearchOutcomes(
        gallery_size=len(enrolled),
        gallery_size_without_mate=len(enrolled) - int(without_mate),
        mate_score=np.array(mate_score, np.float64),
        mate_rank=np.array(mate_rank, np.int64),
        mate_subject=np.array(mate_subject, np.int64),
        highest=np.array(highest, np.float64),
        highest_subject=np.array(highest_subject, np.int64),
    )


def measure_identification(searches: SearchOutcomes, *, seed: int = 0) -> IdentificationRates:
    """Measure the error rates of searches, with 95 % intervals by bootstrap over the subjects of the probes.

    The bootstrap leaves the gallery unchanged.

    Args:
        searches: results of mated and non-mated searches.
        seed: seed of the bootstrap.

    Raises:
        ValueError: there is no mated search or no non-mated search.
    """
    rates = searches.at_rank(1)
    draws = _Draws(searches, seed)
    ranks = np.arange(1, min(searches.gallery_size, _CMC_RANKS) + 1)
    hit = (searches.mate_rank[:, None] > 0) & (searches.mate_rank[:, None] <= ranks)
    hits, replicates = hit.mean(axis=0), draws.mated_means(hit)
    trials = len(searches.mate_rank)
    ends = np.array([interval(*rank, trials) for rank in zip(hits.tolist(), replicates.T, strict=True)])

    def fnir_at(fpir: float) -> FnirAtFpir:
        point = rates.at_fmr(fpir)
        fnir = Estimate(value=point.fnmr, replicates=draws.fnir_at_fpir(fpir), trials=trials)
        return FnirAtFpir(1, fpir, point.threshold, point.fmr, fnir)

    return IdentificationRates(
        gallery_size=searches.gallery_size,
        gallery_size_without_mate=searches.gallery_size_without_mate,
        mated=trials,
        non_mated=len(searches.highest),
        list_length=searches.gallery_size,
        rank_1=Estimate(value=1 - float(hits[0]), replicates=1 - replicates[:, 0], trials=trials),
        fnir_at=tuple(fnir_at(fpir) for fpir in (*_FPIRS, 0.0) if not 0 < fpir * len(searches.highest) < 1),
        cmc=Cmc(ranks, hits, ends[:, 0], ends[:, 1]),
        rates=rates,
    )


class _Draws:
    """Bootstrap draws: how often the subject of each search's probe is drawn in each replicate."""

    def __init__(self, searches: SearchOutcomes, seed: int) -> None:
        probe_subjects = np.concatenate([searches.mate_subject, searches.highest_subject])
        subjects, place = np.unique(probe_subjects, return_inverse=True)
        generator = np.random.default_rng(seed)
        n = len(subjects)
        drawn = np.stack(
            [np.bincount(generator.integers(n, size=n), minlength=n) for _ in range(REPLICATES)]
        ).astype(np.uint8)
        mated = len(searches.mate_subject)
        listed = (searches.mate_rank > 0) & (searches.mate_rank <= 1)
        score = np.where(listed, searches.mate_score, FAILED)
        order, descending = np.argsort(score), np.argsort(-searches.highest)
        self._mate_score, self._highest = score[order], searches.highest[descending]
        self._mated = drawn[:, place[:mated]]
        self._mate_order = order
        self._non_mated = drawn[:, place[mated:][descending]]

    def mated_means(self, hit: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return the (b, k) fraction of mated searches with a hit in each replicate; ``hit`` is (m, k)."""
        with np.errstate(invalid="ignore"):
            means = self._mated.astype(np.float64) @ hit / self._mated.sum(axis=1, keepdims=True)
        return np.asarray(means)

    def fnir_at_fpir(self, fpir: float) -> npt.NDArray[np.float64]:
        """Return the (b,) FNIR at rank 1, at each replicate's own lowest threshold with an FPIR of at most ``fpir``."""
        fnir = np.full(len(self._mated), np.nan)
        for replicate, (mated, non_mated) in enumerate(zip(self._mated, self._non_mated, strict=True)):
            alarms = np.cumsum(non_mated, dtype=np.int64)
            if alarms[-1] == 0 or not mated.any():
                continue
            refused = int(np.searchsorted(alarms / alarms[-1], fpir, side="right"))
            ordered = mated[self._mate_order]
            if refused < len(alarms):
                below = int(np.searchsorted(self._mate_score, self._highest[refused], side="right"))
            else:
                below = int(np.searchsorted(self._mate_score, self._highest[-1]))
            fnir[replicate] = ordered[:below].sum(dtype=np.int64) / ordered.sum(dtype=np.int64)
        return fnir
