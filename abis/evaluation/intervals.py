# SPDX-License-Identifier: Apache-2.0
"""95 % intervals by bootstrap over subjects; the rule of three where no error was seen.

Scores that share a subject are not independent, on either side of a comparison. So subjects are drawn
anew, with replacement, and a comparison then counts as often as its two subjects were drawn: w(a) * w(b)
times where it is non-mated, w(a) times where it is mated. Where probes and references are of the same
people, that is the subsets bootstrap of Bolle, Ratha, Pankanti: Error analysis of pattern recognition
systems, CVIU 93(1), 2004, on both sides at once; where they are of different people, every draw is one
of probe subjects and one of reference subjects, the two-way bootstrap of Owen: The pigeonhole bootstrap,
Annals of Applied Statistics 1(2), 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from abis.evaluation.error_rates import ErrorRates, FloatArray, equal_error_rate
from abis.evaluation.scores import Scores

__all__ = ["REPLICATES", "DetReplicates", "Estimate", "bootstrap", "mean_estimate"]

REPLICATES = 1000
"""Draws of a bootstrap: the ends of a 95 % interval are then the 25th values from either side."""

_BLOCK = 250  # replicates counted in one pass: their rows of counts stay in the processor's caches
_CELLS = 1 << 14  # of the table that finds a score's place among the thresholds
_TAIL_PERCENT = 2.5


@dataclass(frozen=True)
class Estimate:
    """An error rate measured, a fraction in [0, 1], and its 95 % interval.

    Attributes:
        value: as measured.
        low, high: the interval: the middle 95 % of the replicates, widened to hold ``value`` where the
            bootstrap is biased; where no error was seen, at least up to ``3 / trials``: the rule of three
            (ISO/IEC 19795-1:2006, 6.6), which takes the comparisons as independent.
        replicates: (b,) the same rate in each replicate.
        trials: comparisons in which the error could have happened.
    """

    value: float
    low: float = field(init=False)
    high: float = field(init=False)
    replicates: npt.NDArray[np.float64] = field(repr=False, compare=False)
    trials: int

    def __post_init__(self) -> None:
        # A replicate that drew one subject only has no non-mated comparison, hence no rate.
        rates = self.replicates[np.isfinite(self.replicates)]
        ends = np.percentile(rates, [_TAIL_PERCENT, 100 - _TAIL_PERCENT]) if len(rates) else (0.0, 1.0)
        unseen = 3 / self.trials if self.value == 0 else 0.0
        object.__setattr__(self, "low", min(float(ends[0]), self.value))
        object.__setattr__(self, "high", min(1.0, max(float(ends[1]), self.value, unseen)))

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % [{100 * self.low:.2f}, {100 * self.high:.2f}]"


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of rates measured on different subjects, e.g. over the sets of a competition."""
    return Estimate(
        value=float(np.mean([estimate.value for estimate in estimates])),
        replicates=np.mean([estimate.replicates for estimate in estimates], axis=0),
        trials=sum(estimate.trials for estimate in estimates),
    )


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


def bootstrap(scores: Scores, *, replicates: int = REPLICATES, seed: int = 0) -> DetReplicates:
    """Draw the subjects anew ``replicates`` times, and count the errors at every threshold each time.

    Costs about n * replicates / 10**10 seconds on one core, and runs on all cores; the result does not
    depend on how many they are. Memory: some 40 bytes a threshold and replicate, 2 bytes a comparison, and
    a sorted copy of the scores.

    Args:
        scores: of at least one mated and one non-mated comparison.
        replicates: how many times.
        seed: of the random draws.
    """
    mated = scores.mated
    threshold = ErrorRates(scores.score[mated], scores.score[~mated]).det_thresholds()
    bins = _bins(scores.score, threshold)
    subjects = 1 + max(int(scores.probe_subject.max()), int(scores.reference_subject.max()))
    present = np.zeros(subjects, dtype=bool)
    present[scores.probe_subject] = present[scores.reference_subject] = True

    starts = range(0, replicates, _BLOCK)
    seeds = np.random.SeedSequence(seed).spawn(len(starts))

    def count(start: int) -> npt.NDArray[np.int64]:
        weight = _draw(present, min(_BLOCK, replicates - start), seeds[start // _BLOCK])
        counts = np.zeros((2, len(threshold), weight.shape[1]), dtype=np.int32)
        _count(bins, scores.probe_subject, scores.reference_subject, weight, counts)
        # From the highest threshold down: comparisons with a score at or above each.
        return np.cumsum(counts[:, ::-1], axis=1, dtype=np.int64)[:, ::-1]

    with ThreadPoolExecutor() as pool:
        matches = np.concatenate(list(pool.map(count, starts)), axis=2)
    non_mated_matches, mated_matches = (kind.T for kind in matches)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as promised
        fmr = non_mated_matches / non_mated_matches[:, :1]
        fnmr = (mated_matches[:, :1] - mated_matches) / mated_matches[:, :1]
    return DetReplicates(threshold, fmr, fnmr)


def _bins(score: FloatArray, threshold: FloatArray) -> npt.NDArray[np.uint16]:
    """(n,) place of the highest threshold at or below each score; the lowest threshold is below all."""
    finite = threshold[np.isfinite(threshold)]
    if len(finite) == 0:  # every comparison failed
        return np.zeros(len(score), dtype=np.uint16)
    edges = np.linspace(float(finite[0]), float(finite[-1]), _CELLS + 1)
    start = np.maximum(np.searchsorted(threshold, edges[:-1], side="right") - 1, 0)
    bins = np.empty(len(score), dtype=np.uint16)
    cells_per_unit = _CELLS / max(edges[-1] - edges[0], 1e-300)
    _place(bins, score, threshold, start, (edges[0], cells_per_unit))
    return bins


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
def _count(
    bins: npt.NDArray[np.uint16],
    probe_subject: npt.NDArray[np.integer[Any]],
    reference_subject: npt.NDArray[np.integer[Any]],
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
