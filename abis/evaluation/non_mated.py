# SPDX-License-Identifier: Apache-2.0
"""Rates of non-mated comparisons at each score: counted, and beyond the data from a fitted tail with its uncertainty.

Scores above a high threshold follow a generalised Pareto distribution (Pickands, Statistical inference using
extreme order statistics, Annals of Statistics 3(1), 1975). It is fitted by probability-weighted moments (Hosking
and Wallis, Parameter and quantile estimation for the generalized Pareto distribution, Technometrics 29(3), 1987,
section 3). Its uncertainty is measured by a bootstrap over subjects, as in :mod:`abis.evaluation.bootstrap`. Its shape
is at least 0: a negative shape would promise a score that no non-mated comparison can reach, which no number of pairs
can show. This is conservative, and more so the more of the highest scores the tail is fitted to:
docs/decisions/0016-scores-by-content.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.scoring.calibration import STEPS_A_DECADE, Calibration, NonMated

__all__ = ["NonMatedScores", "non_mated_table"]

COUNTED = 20
"""Least number of scores above a threshold for a counted rate."""
TAIL_SHARE, TAIL_LEAST, TAIL_MOST = 2e-3, 100, 300
"""Fraction of all scores that the tail is fitted to, and its least and greatest number of scores."""
REPLICATES = 400
CONFIDENCE = 0.95  # one-sided
_HEAVIEST = 0.5
"""Greatest shape; heavier tails have no variance, and the estimator fails for them."""
_DIGITS = 6  # of a rate, rounded up
_CHUNK = 1 << 22

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class NonMatedScores:
    """Raw scores of comparisons of different subjects, of one kind of templates.

    Attributes:
        sets: (n,) scores of each data set, for counted rates; every data set has the same weight.
        tail: (m,) scores for the fitted tail: those of ``sets``, and of further comparisons of the same kind.
        subjects: (m, 2) integers, subject numbers of the probe and the reference of each score of ``tail``. None:
            unknown, and comparisons are taken as independent.
        balances: (n,) balances of the scores of each data set in ``sets``, the result of
            :func:`abis.comparison.balance`. None: unknown.
    """

    sets: Sequence[Floats]
    tail: Floats
    subjects: npt.NDArray[np.integer[Any]] | None = None
    balances: Sequence[Floats | None] | None = None


def non_mated_table(populations: Sequence[NonMatedScores], curve: Calibration, *, seed: int = 0) -> NonMated:
    """Return the non-mated rates of a calibration: at each LLR, the highest rate of a population.

    The rates hold for LLRs with known balances and for LLRs of scores alone.

    Args:
        populations: scores of at least one population.
        curve: calibration from raw scores to LLRs; its own rates are ignored.
        seed: seed of the bootstrap.

    Raises:
        ValueError: the non-mated scores of a population are all equal.
    """
    start = math.floor(curve.lowest * STEPS_A_DECADE)
    steps = np.arange(start, math.ceil(curve.maximum * STEPS_A_DECADE) + 1)
    rates, counted, pairs = np.zeros((2, len(steps))), 0.0, 0
    for population in populations:
        own, down_to = _rates(population, curve, steps, np.random.default_rng(seed))
        rates, counted = np.maximum(rates, own), max(counted, down_to)
        pairs += len(population.tail)
    rates[:, 0] = 1.0
    likely, limits = (tuple(map(_up, own)) for own in rates.tolist())
    return NonMated(start, likely, limits, counted, pairs)


def _rates(
    population: NonMatedScores, curve: Calibration, steps: npt.NDArray[np.int64], random: np.random.Generator
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the (2, k) rates and upper limits at each step, and the lowest rate that was counted."""
    counted = np.mean([_counted(scores, None, curve, steps) for scores in population.sets], axis=0)
    if population.balances is not None:
        pairs = zip(population.sets, population.balances, strict=True)
        balanced = np.mean([_counted(scores, balance, curve, steps) for scores, balance in pairs], axis=0)
        counted = np.maximum(counted, balanced)
    highest = np.sort(np.concatenate([_highest(scores, COUNTED) for scores in population.sets]))[-COUNTED:]
    junction = float(highest[0])
    # The rate at the junction itself, not at the step below it.
    down_to = float(np.mean([(scores >= junction).mean() for scores in population.sets]))
    # A balance of 0 gives a raw score its highest LLR; for high scores the difference is small.
    raw = _inverse(lambda raw: curve.llr(raw, np.zeros(len(raw))), steps / STEPS_A_DECADE)
    beyond = raw > junction
    rates = np.tile(counted, (2, 1))
    rates[:, beyond] = down_to * _tail(population, junction, raw[beyond], random)
    rates = np.maximum(rates, float(len(population.tail)) ** -2.0)
    return np.maximum.accumulate(rates[:, ::-1], axis=1)[:, ::-1], down_to


def _counted(
    scores: Floats, balance: Floats | None, curve: Calibration, steps: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the (k,) fraction of scores with an LLR at or above each step."""
    count = np.zeros(len(steps) + 1)
    for first in range(0, len(scores), _CHUNK):
        part = slice(first, first + _CHUNK)
        llr = curve.llr(scores[part], None if balance is None else balance[part])
        place = np.floor(llr * STEPS_A_DECADE).astype(np.int64) - steps[0]
        count += np.bincount(np.clip(place, 0, len(steps)), minlength=len(steps) + 1)
    return np.cumsum(count[::-1])[::-1][:-1] / len(scores)


def _tail(
    population: NonMatedScores, junction: float, raw: npt.NDArray[np.float64], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the (2, k) rate, and its upper limit, at which scores that reach ``junction`` reach each raw score."""
    scores = population.tail
    size = min(len(scores), max(TAIL_LEAST, min(TAIL_MOST, int(TAIL_SHARE * len(scores)))))
    threshold = min(float(_highest(scores, size).min()), junction)
    if not (scores > threshold).any():  # coarse scores, many of them equal
        threshold = float(scores[scores < threshold].max(initial=-math.inf))
    chosen = np.flatnonzero(scores >= threshold)
    excess = scores[chosen].astype(np.float64) - threshold
    order = np.argsort(excess)
    excess, chosen = excess[order], chosen[order]
    if not 0 < excess[-1] < math.inf:
        raise ValueError("the non-mated scores are all equal; expected different scores to fit a tail to")

    def beyond(raw: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        share = weight.sum() / len(weight)
        return np.asarray(share * _survival(raw - threshold, *_generalised_pareto(excess, weight)))

    once = np.ones(len(excess))
    replicates = [
        beyond(raw, weight)
        for weight in _weights(population.subjects, chosen, random)
        if np.count_nonzero(weight) >= COUNTED // 2
    ]
    likely = beyond(raw, once)
    upper = np.quantile([likely, *replicates], CONFIDENCE, axis=0)
    return np.stack([likely, np.maximum(upper, likely)]) / beyond(np.array([junction]), once)


def _weights(
    subjects: npt.NDArray[np.integer[Any]] | None,
    chosen: npt.NDArray[np.int64],
    random: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Return the (REPLICATES, len(chosen)) bootstrap weight of each score, by draws of subjects or else of scores."""
    if subjects is None:
        return random.poisson(1.0, (REPLICATES, len(chosen))).astype(np.float64)
    present = np.zeros(int(subjects.max()) + 1, np.bool_)
    present[subjects] = True
    number = np.cumsum(present) - 1
    first, second = number[subjects[chosen]].T
    count = int(present.sum())
    drawn = random.multinomial(count, np.full(count, 1 / count), size=REPLICATES)
    return np.asarray(drawn[:, first] * drawn[:, second], dtype=np.float64)


def _generalised_pareto(
    excess: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return shape and scale of ascending excesses; Hosking and Wallis' shape k is the negative of this shape."""
    total = weight.sum()
    above = 1 - (np.cumsum(weight) - weight / 2) / total
    mean = float(weight @ excess / total)
    moment = float(weight @ (above * excess) / total)
    shape = 2 - mean / (mean - 2 * moment) if mean > 2 * moment else 0.0
    if shape <= 0:
        return 0.0, mean
    shape = min(shape, _HEAVIEST)
    return shape, mean * (1 - shape)


def _survival(excess: npt.NDArray[np.float64], shape: float, scale: float) -> npt.NDArray[np.float64]:
    if shape < 1e-9:
        return np.exp(-excess / scale)
    return np.asarray((1 + shape * excess / scale) ** (-1 / shape))


def _highest(scores: Floats, count: int) -> Floats:
    return np.partition(scores, -count)[-count:] if len(scores) > count else scores


def _inverse(
    curve: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], llr: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the raw score at which the curve reaches each LLR; infinite if it never does."""
    low, high = np.full(len(llr), -1e6), np.full(len(llr), 1e6)
    for _ in range(100):
        middle = (low + high) / 2
        reached = curve(middle) >= llr
        high, low = np.where(reached, middle, high), np.where(reached, low, middle)
    return np.where(curve(high) >= llr, high, np.inf)


def _up(rate: float) -> float:
    """Return a rate rounded up to a few significant digits, for a readable file."""
    if rate <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(rate)) - _DIGITS + 1)
    return min(1.0, float(f"{math.ceil(rate / unit) * unit:.{_DIGITS}g}"))
