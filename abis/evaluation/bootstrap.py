# SPDX-License-Identifier: Apache-2.0
"""Bootstrap over subjects: DET curves of other samples of subjects from the same source.

Scores that share a subject are not independent. So the bootstrap draws subjects with replacement. With w(a) draws of
subject a, a mated comparison of a counts w(a) times, and a non-mated comparison of a and b counts w(a) * w(b) times.
If probes and references are of the same subjects, this is the subsets bootstrap (Bolle, Ratha, Pankanti: Error analysis
of pattern recognition systems, CVIU 93(1), 2004) on both sides at once. If they are of different subjects, probe
subjects and reference subjects are drawn independently: the two-way bootstrap (Owen: The pigeonhole bootstrap, Annals
of Applied Statistics 1(2), 2007).

Mated comparisons and the highest non-mated scores are counted one by one. Up to four million non-mated scores, all of
them are. Of more, the lower scores, the *bulk*, are counted to first order: w(a) * w(b) = 1 + (w(a) - 1) + (w(b) - 1) +
(w(a) - 1) * (w(b) - 1), without the last term. Its mean is zero, and its parts are uncorrelated (Hoeffding's
decomposition). For c pairs of S subjects it is about S / 4c of the variance if scores depend on subjects; the bulk
begins where that is below 1/400. If scores do not depend on subjects, it is a third of the variance. The two-way
bootstrap then has three times the true variance (see Owen), so the interval remains conservative.
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

__all__ = ["REPLICATES", "Counting", "DetReplicates", "bootstrap"]

REPLICATES = 1000
"""Replicates of a bootstrap; the ends of a 95 % interval are the 25th lowest and the 25th highest."""

_PAIRS_A_SUBJECT = 100  # least pairs counted one by one, for each subject; see above
_BLOCK = 250  # replicates counted in one pass; their counts fit in the CPU caches
_CELLS = 1 << 14  # cells of the table that locates a score among the thresholds
_BULK_BINS = 256  # bins of the bulk multiplied in one step

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Counting:
    """Which comparisons are counted one by one, and how many at once.

    Attributes:
        one_by_one: number of non-mated scores, the highest ones, that are always counted one by one.
        fewest_subjects: number of subjects below which all scores are; the error of the first order is then above
            1/1000.
        most_counts: greatest number of subjects times bins of the bulk; 2**26 are 256 MB a core. Above it, all scores
            are counted one by one.
        at_once: comparisons placed in one call; Ctrl-C takes effect between calls.
        threads: number of threads; 0: one for each core. The result does not depend on it.
    """

    one_by_one: int = 4_000_000
    fewest_subjects: int = 1000
    most_counts: int = 1 << 26
    at_once: int = 1 << 20
    threads: int = 0


@dataclass(frozen=True, eq=False)
class DetReplicates:
    """The DET curve of every replicate of a bootstrap.

    Attributes:
        threshold: (k,) ascending thresholds; the last one is infinite.
        fmr: (b, k) FMR of each replicate at each threshold; NaN in a replicate without a non-mated comparison.
        fnmr: (b, k) FNMR of each replicate at each threshold.
    """

    threshold: FloatArray
    fmr: npt.NDArray[np.float64]
    fnmr: npt.NDArray[np.float64]

    def eer(self) -> npt.NDArray[np.float64]:
        """Return the (b,) equal error rate of each replicate."""
        return np.where(np.isnan(self.fmr[:, 0]), np.nan, equal_error_rate(self.fmr, self.fnmr))

    def fnmr_at_fmr(self, fmr: float) -> npt.NDArray[np.float64]:
        """Return the (b,) FNMR of each replicate at its own lowest threshold with an FMR of at most ``fmr``."""
        first = (self.fmr > fmr).sum(axis=1, keepdims=True)
        rates = np.take_along_axis(self.fnmr, first, axis=1)[:, 0]
        return np.where(np.isnan(self.fmr[:, 0]), np.nan, rates)

    def at(self, threshold: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the (b,) FMR and FNMR of each replicate at the lowest threshold of the curve from ``threshold`` up."""
        place = np.searchsorted(self.threshold, np.array(threshold, self.threshold.dtype))
        return self.fmr[:, place], self.fnmr[:, place]


def bootstrap(
    scores: Scores,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    rates: ErrorRates | None = None,
    counting: Counting = Counting(),
) -> DetReplicates:
    """Draw the subjects with replacement, and count the errors at every threshold, once for each replicate.

    The bootstrap runs on all cores; the result does not depend on their number. Memory: about 40 bytes for each
    threshold and replicate, 10 bytes for each comparison counted one by one, and 4 bytes for each threshold of the
    bulk, subject and core. With fewer than a thousand subjects, or if the bulk does not fit in memory, all
    comparisons are counted one by one, which takes more time.

    Args:
        scores: scores of at least one mated and one non-mated comparison.
        replicates: number of replicates, b.
        seed: seed of the random draws.
        rates: error rates of ``scores``, which saves sorting the scores again. None: they are computed.
        counting: which comparisons are counted one by one, and how many at once.
    """
    rates = ErrorRates.of(scores) if rates is None else rates
    threshold = rates.det_thresholds()
    threads = counting.threads or available_cores()
    placed = _place_all(scores, rates, threshold, counting, threads)
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

    with ThreadPoolExecutor(threads) as pool:
        matches = np.concatenate(list(pool.map(count, starts)), axis=2)
    non_mated_matches, mated_matches = (kind.T for kind in matches)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as documented
        fmr = non_mated_matches / non_mated_matches[:, :1]
        fnmr = (mated_matches[:, :1] - mated_matches) / mated_matches[:, :1]
    return DetReplicates(threshold, fmr, fnmr)


@dataclass(frozen=True, eq=False)
class _Placed:
    """Comparisons and their bins; a bin is the place of the highest threshold at or below the score.

    Attributes:
        present: (subjects,) bool, whether a subject has a comparison.
        one_by_one: comparisons counted one by one, in parts of (bins, probe subjects, reference subjects).
        bulk: (subjects, bins) int32, number of comparisons of each subject, as probe or reference, in each of the
            lowest bins. It has no bins if all comparisons are counted one by one.
    """

    present: npt.NDArray[np.bool_]
    one_by_one: list[tuple[npt.NDArray[np.uint16], Integers, Integers]]
    bulk: npt.NDArray[np.int32]


def _place_all(
    scores: Scores, rates: ErrorRates, threshold: FloatArray, counting: Counting, workers: int
) -> _Placed:
    """Find the bin of every comparison, and count the comparisons of the bulk by subject and bin."""
    table = _table(threshold)
    subjects = 1 + max(int(scores.probe_subject.max()), int(scores.reference_subject.max()))
    cut = _bulk_bins(rates, threshold, subjects, counting)
    at_once = counting.at_once

    def place(worker: int) -> tuple[list[Any], npt.NDArray[np.int32]]:
        bulk = np.zeros((subjects, cut), np.int32)
        kept = []
        for start in range(worker * at_once, len(scores), workers * at_once):
            part = slice(start, start + at_once)
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


def _bulk_bins(rates: ErrorRates, threshold: FloatArray, subjects: int, counting: Counting) -> int:
    """Return the number of lowest bins that form the bulk."""
    one_by_one = max(counting.one_by_one, _PAIRS_A_SUBJECT * subjects)
    at_or_above = len(rates.non_mated) - np.searchsorted(rates.non_mated, threshold)
    bins = int((at_or_above >= one_by_one).sum()) - 1
    worthwhile = subjects >= counting.fewest_subjects and 0 < bins * subjects <= counting.most_counts
    return bins if worthwhile else 0


def _table(threshold: FloatArray) -> tuple[npt.NDArray[np.int64], tuple[float, float]]:
    """Return the table of :func:`_place`: the bin at the start of each cell, the first start, and cells per unit."""
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

    The sums are of whole numbers, which float64 adds exactly, so the result does not depend on the order.
    """
    off_one = weight.astype(np.float64) - 1
    total = matches[-bulk.shape[1] - 1].copy()
    for start in range(bulk.shape[1], 0, -_BULK_BINS):
        part = bulk[:, max(start - _BULK_BINS, 0) : start][:, ::-1].astype(np.float64)
        # Each pair is in two rows of ``part``, so the number of pairs is half the sum.
        counts = part.sum(axis=0)[:, None] / 2 + part.T @ off_one
        first = len(matches) - start
        rows = matches[first : first + len(counts)]
        np.cumsum(counts.astype(np.int64), axis=0, out=rows)
        rows += total
        # The count of a bin with few pairs can be negative; the maximum keeps the curve from falling.
        np.maximum.accumulate(np.maximum(rows, total), axis=0, out=rows)
        total = rows[-1].copy()


def _draw(
    present: npt.NDArray[np.bool_], replicates: int, seed: np.random.SeedSequence
) -> npt.NDArray[np.uint8]:
    """Return the (subjects, replicates) number of draws of each subject, practically never above 255."""
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
    """Find the bin of each score: start at the bin of its cell in the table, and step to the exact bin."""
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
    """Count non-mated comparisons in bins below ``cut`` in ``bulk``, and return the other comparisons."""
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
