# SPDX-License-Identifier: Apache-2.0
"""Bootstrap over subjects: the DET curve that other subjects from the same source might have given.

Scores that share a subject are not independent, on either side of a comparison. So subjects are drawn
anew, with replacement, and a comparison then counts as often as its two subjects were drawn: w(a) * w(b)
times where it is non-mated, w(a) times where it is mated. Where probes and references are of the same
people, that is the subsets bootstrap of Bolle, Ratha, Pankanti: Error analysis of pattern recognition
systems, CVIU 93(1), 2004, on both sides at once; where they are of different people, every draw is one
of probe subjects and one of reference subjects, the two-way bootstrap of Owen: The pigeonhole bootstrap,
Annals of Applied Statistics 1(2), 2007.

Mated comparisons and the highest non-mated scores are counted one by one, and so are all where they are a
few million. Of more non-mated scores the lower ones, the *bulk*, are counted to first order: w(a) * w(b) =
1 + (w(a) - 1) + (w(b) - 1) + (w(a) - 1) * (w(b) - 1), and the last term, whose mean is zero and whose parts
are uncorrelated (Hoeffding's decomposition), is left out. Of c pairs of S subjects it is about S / 4c of the
variance where subjects differ at all; the cut is made where that is below a four-hundredth. Where scores
depend on no subject it is a third; but the two-way bootstrap then has three times the true variance (see
Owen), and the interval stays on the safe side.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from abis.evaluation.error_rates import ErrorRates, FloatArray, equal_error_rate
from abis.evaluation.scores import Scores
from abis.parallel import available_cores

__all__ = ["REPLICATES", "DetReplicates", "bootstrap"]

REPLICATES = 1000
"""Draws of a bootstrap: the ends of a 95 % interval are then the 25th values from either side."""

_ONE_BY_ONE = 4_000_000  # non-mated scores that are always counted one by one: a second of work
_PAIRS_A_SUBJECT = 100  # at least so many times the subjects are; see above
_FEWEST_SUBJECTS = 1000  # of fewer the first order is off by more than a thousandth
_BLOCK = 250  # replicates counted in one pass: their rows of counts stay in the processor's caches
_SLICE = 1 << 20  # comparisons placed in one call: Ctrl-C is heard in between
_CELLS = 1 << 14  # of the table that finds a score's place among the thresholds
_BULK_BINS = 256  # multiplied at a time
_MOST_COUNTS = 1 << 26  # of subjects and bins: 256 MB a core

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class DetReplicates:
    """The DET curve of every replicate of a bootstrap.

    Attributes:
        threshold: (k,) ascending, the last one infinite.
        fmr: (b, k); NaN where a replicate holds no non-mated comparison.
        fnmr: (b, k).
    """

    threshold: FloatArray
    fmr: npt.NDArray[np.float64]
    fnmr: npt.NDArray[np.float64]

    def eer(self) -> npt.NDArray[np.float64]:
        """(b,) the equal error rate of each replicate."""
        return np.where(np.isnan(self.fmr[:, 0]), np.nan, equal_error_rate(self.fmr, self.fnmr))

    def fnmr_at_fmr(self, fmr: float) -> npt.NDArray[np.float64]:
        """(b,) the FNMR of each replicate at its own first threshold with an FMR of at most ``fmr``."""
        first = (self.fmr > fmr).sum(axis=1, keepdims=True)
        rates = np.take_along_axis(self.fnmr, first, axis=1)[:, 0]
        return np.where(np.isnan(self.fmr[:, 0]), np.nan, rates)

    def at(self, threshold: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(b,) FMR and (b,) FNMR of each replicate at the next higher threshold there is."""
        place = np.searchsorted(self.threshold, np.array(threshold, self.threshold.dtype))
        return self.fmr[:, place], self.fnmr[:, place]


def bootstrap(
    scores: Scores, *, replicates: int = REPLICATES, seed: int = 0, rates: ErrorRates | None = None
) -> DetReplicates:
    """Draw the subjects anew ``replicates`` times, and count the errors at every threshold each time.

    A million comparisons and a thousand replicates cost a tenth of a second on one core, up to four
    million non-mated ones; each further hundred million cost some three seconds. It runs on all cores, and
    the result does not depend on how many they are. Memory: some 40 bytes a threshold and replicate, 10
    bytes a comparison that is counted one by one, and in the bulk 4 bytes a threshold, subject and core. Of
    fewer than a thousand subjects, or more than that has room for, all comparisons are counted one by one,
    which takes ten seconds of a core a hundred million.

    Args:
        scores: of at least one mated and one non-mated comparison.
        replicates: how many times.
        seed: of the random draws.
        rates: those of ``scores``, where they are known already; they take sorting.
    """
    rates = ErrorRates.of(scores) if rates is None else rates
    threshold = rates.det_thresholds()
    placed = _place_all(scores, rates, threshold)
    starts = range(0, replicates, _BLOCK)
    seeds = np.random.SeedSequence(seed).spawn(len(starts))

    def count(start: int) -> npt.NDArray[np.int64]:
        weight = _draw(placed.present, min(_BLOCK, replicates - start), seeds[start // _BLOCK])
        counts = np.zeros((2, len(threshold), weight.shape[1]), dtype=np.int32)
        for rows in placed.one_by_one:
            _count(*rows, weight, counts)
        # From the highest threshold down: comparisons with a score at or above each.
        matches = counts[:, ::-1].cumsum(axis=1, dtype=np.int64)
        if placed.bulk.shape[1]:
            _add_bulk(matches[0], placed.bulk, weight)
        return matches[:, ::-1]

    with ThreadPoolExecutor(available_cores()) as pool:
        matches = np.concatenate(list(pool.map(count, starts)), axis=2)
    non_mated_matches, mated_matches = (kind.T for kind in matches)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as promised
        fmr = non_mated_matches / non_mated_matches[:, :1]
        fnmr = (mated_matches[:, :1] - mated_matches) / mated_matches[:, :1]
    return DetReplicates(threshold, fmr, fnmr)


@dataclass(frozen=True, eq=False)
class _Placed:
    """Comparisons and their bins, the places of the highest thresholds at or below their scores.

    Attributes:
        present: (subjects,) whether a subject has any comparison.
        one_by_one: parts of (bins, probe subjects, reference subjects).
        bulk: (subjects, bins) int32, how often a subject is on either side of the comparisons of each of the
            lowest bins; of no bins where all are counted one by one.
    """

    present: npt.NDArray[np.bool_]
    one_by_one: list[tuple[npt.NDArray[np.uint16], Integers, Integers]]
    bulk: npt.NDArray[np.int32]


def _place_all(scores: Scores, rates: ErrorRates, threshold: FloatArray) -> _Placed:
    """Find every comparison's bin, and add up those of the bulk."""
    table = _table(threshold)
    subjects = 1 + max(int(scores.probe_subject.max()), int(scores.reference_subject.max()))
    cut = _bulk_bins(rates, threshold, subjects)
    workers = available_cores()

    def place(worker: int) -> tuple[list[Any], npt.NDArray[np.int32]]:
        bulk = np.zeros((subjects, cut), np.int32)
        kept = []
        for start in range(worker * _SLICE, len(scores), workers * _SLICE):
            part = slice(start, start + _SLICE)
            rows = (scores.probe_subject[part], scores.reference_subject[part])
            bins = np.empty(len(rows[0]), np.uint16)
            _place(bins, scores.score[part], threshold, *table)
            kept.append(_split(bins, *rows, cut, bulk) if cut else (bins, *rows))
        return kept, bulk

    with ThreadPoolExecutor(workers) as pool:
        shares = list(pool.map(place, range(workers)))
    bulk = shares[0][1]
    for _, own in shares[1:]:
        bulk += own
    one_by_one = [part for kept, _ in shares for part in kept]
    present: npt.NDArray[np.bool_] = np.asarray(bulk.any(axis=1))
    for _, probe, reference in one_by_one:
        present[probe] = present[reference] = True
    return _Placed(present, one_by_one, bulk)


def _bulk_bins(rates: ErrorRates, threshold: FloatArray, subjects: int) -> int:
    """How many of the lowest bins are the bulk."""
    one_by_one = max(_ONE_BY_ONE, _PAIRS_A_SUBJECT * subjects)
    at_or_above = len(rates.non_mated) - np.searchsorted(rates.non_mated, threshold)
    bins = int((at_or_above >= one_by_one).sum()) - 1
    worthwhile = subjects >= _FEWEST_SUBJECTS and 0 < bins * subjects <= _MOST_COUNTS
    return bins if worthwhile else 0


def _table(threshold: FloatArray) -> tuple[npt.NDArray[np.int64], tuple[float, float]]:
    """For :func:`_place`: the place at the start of each of many equal cells, their start and density."""
    finite = threshold[np.isfinite(threshold)].astype(np.float64)
    if len(finite) == 0:  # every comparison failed
        return np.zeros(1, np.int64), (0.0, 1.0)  # a density of 0 would make a failed score, -inf, NaN
    edges = np.linspace(finite[0], finite[-1], _CELLS + 1)
    start = np.maximum(np.searchsorted(threshold, edges[:-1], side="right") - 1, 0)
    return start, (float(edges[0]), _CELLS / max(float(edges[-1] - edges[0]), 1e-300))


def _add_bulk(
    matches: npt.NDArray[np.int64], bulk: npt.NDArray[np.int32], weight: npt.NDArray[np.uint8]
) -> None:
    """Add the bulk to the last rows of ``matches``, (bins, replicates) from the highest bin down.

    In whole numbers, which float64 adds exactly: the result does not depend on the order.
    """
    off_one = weight.astype(np.float64) - 1
    total = matches[-bulk.shape[1] - 1].copy()
    for start in range(bulk.shape[1], 0, -_BULK_BINS):
        part = bulk[:, max(start - _BULK_BINS, 0) : start][:, ::-1].astype(np.float64)
        # A pair stands in two rows of ``part``, so half its sum is the number of pairs.
        counts = part.sum(axis=0)[:, None] / 2 + part.T @ off_one
        first = len(matches) - start
        rows = matches[first : first + len(counts)]
        np.cumsum(counts.astype(np.int64), axis=0, out=rows)
        rows += total
        # A bin of few pairs may count less than nothing; no curve may fall for that.
        np.maximum.accumulate(np.maximum(rows, total), axis=0, out=rows)
        total = rows[-1].copy()


def _draw(
    present: npt.NDArray[np.bool_], replicates: int, seed: np.random.SeedSequence
) -> npt.NDArray[np.uint8]:
    """(subjects, replicates): how often each subject was drawn. More than 255 times does not happen."""
    generator = np.random.default_rng(seed)
    drawn = int(present.sum())
    weight = np.zeros((len(present), replicates), dtype=np.uint8)
    for replicate in range(replicates):
        weight[present, replicate] = np.bincount(generator.integers(drawn, size=drawn), minlength=drawn)
    return weight


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _place(
    bins: npt.NDArray[np.uint16],
    score: FloatArray,
    threshold: FloatArray,
    start: npt.NDArray[np.int64],
    cells: tuple[float, float],
) -> None:
    """Look up a place near each score's threshold in a table of equal cells, and walk the rest."""
    low, cells_per_unit = cells
    for i in range(len(score)):
        cell = min(max((score[i] - low) * cells_per_unit, 0.0), len(start) - 1.0)
        k = start[int(cell)]
        while threshold[k + 1] <= score[i]:
            k += 1
        while threshold[k] > score[i]:
            k -= 1
        bins[i] = k


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _mark(present: npt.NDArray[np.bool_], probe: Integers, reference: Integers) -> None:
    for i in range(len(probe)):
        present[probe[i]] = True
        present[reference[i]] = True


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _split(
    bins: npt.NDArray[np.uint16],
    probe: Integers,
    reference: Integers,
    cut: int,
    bulk: npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.uint16], Integers, Integers]:
    """Count non-mated comparisons below ``cut`` in ``bulk``, by subject and bin; return the others."""
    kept = np.empty(len(bins), np.int64)
    n = 0
    for i in range(len(bins)):
        if bins[i] >= cut or probe[i] == reference[i]:
            kept[n] = i
            n += 1
        else:
            bulk[probe[i], bins[i]] += 1
            bulk[reference[i], bins[i]] += 1
    return bins[kept[:n]], probe[kept[:n]], reference[kept[:n]]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _count(
    bins: npt.NDArray[np.uint16],
    probe_subject: Integers,
    reference_subject: Integers,
    weight: npt.NDArray[np.uint8],
    counts: npt.NDArray[np.int32],
) -> None:
    """Add each comparison's weights to ``counts``, by kind (0 non-mated, 1 mated), bin and replicate."""
    for i in range(len(bins)):
        probe = weight[probe_subject[i]]
        reference = weight[reference_subject[i]]
        if probe_subject[i] == reference_subject[i]:
            row = counts[1, bins[i]]
            for replicate in range(len(row)):
                row[replicate] += probe[replicate]
        else:
            row = counts[0, bins[i]]
            for replicate in range(len(row)):
                row[replicate] += probe[replicate] * reference[replicate]
