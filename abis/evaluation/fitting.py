# SPDX-License-Identifier: Apache-2.0
"""Fit a calibration to raw scores of comparisons that are known as mated or non-mated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.evaluation.non_mated import NonMatedScores, non_mated_table
from abis.scoring.calibration import Calibration, Provenance, bent_line

__all__ = ["TrainingScores", "fit", "fit_curve"]

_BINS = 1 << 14  # more scores than this are fitted through their histogram
_STEPS = 200
_LONGEST_STEP = 2.0  # in each parameter; limits steps far from the optimum
_CONVERGED = 1e-12  # relative change of the loss


@dataclass(frozen=True, eq=False)
class TrainingScores:
    """Raw scores of the mated and non-mated comparisons of one data set.

    Attributes:
        name: name of the data set.
        mated: (m,) mated scores, m > 0.
        non_mated: (n,) non-mated scores, n > 0.
        non_mated_subjects: (n, 2) integers, subject numbers of the probe and the reference of each non-mated score.
            None: unknown, and comparisons are taken as independent.
        mated_balance: (m,) balance of the templates of each mated score, the result of
            :func:`abis.comparison.balance`. None: unknown.
        non_mated_balance: (n,) balance of the templates of each non-mated score. It is None if and only if
            ``mated_balance`` is None.

    Raises:
        ValueError: scores are empty or not finite, or balances are outside 0 to 1 or of another shape.
    """

    name: str
    mated: npt.NDArray[np.floating[Any]]
    non_mated: npt.NDArray[np.floating[Any]]
    non_mated_subjects: npt.NDArray[np.integer[Any]] | None = None
    mated_balance: npt.NDArray[np.floating[Any]] | None = None
    non_mated_balance: npt.NDArray[np.floating[Any]] | None = None

    def __post_init__(self) -> None:
        for kind in ("mated", "non_mated"):
            scores = getattr(self, kind)
            if scores.ndim != 1 or len(scores) == 0 or not np.isfinite([scores.min(), scores.max()]).all():
                raise ValueError(
                    f"{self.name}: {kind} scores are of shape {scores.shape}; expected (n,) finite numbers, n > 0"
                )
            balance = getattr(self, f"{kind}_balance")
            if (balance is None) != (self.mated_balance is None) or (
                balance is not None
                and (balance.shape != scores.shape or not (0 <= balance.min() <= balance.max() <= 1))
            ):
                raise ValueError(
                    f"{self.name}: balances of {kind} scores are not {scores.shape} numbers, 0 to 1"
                )


def fit(
    training: Sequence[TrainingScores],
    *,
    kind: str,
    non_mated: Sequence[NonMatedScores] | None = None,
    date: str,
    software: str,
    script: str,
) -> Calibration:
    """Fit a calibration to raw scores by logistic regression.

    Every data set has the same weight, and so have its mated and its non-mated scores. With equal weights of both
    kinds, the log odds of the regression are the log likelihood ratio.

    ``slope``, ``offset`` and ``minimum`` minimise the cross-entropy (Cllr) of all data sets together. The targets are
    those of Platt (Probabilistic outputs for support vector machines, 1999, section 2.2), which keep the parameters
    finite if mated and non-mated scores do not overlap. The targets follow from the scores of all data sets: those of
    a single small data set would make the slope too low. The optimum is found by Fisher scoring with the damping of
    Levenberg and Marquardt, because the curve is not linear in ``minimum``.

    ``minimum`` is at least -log10(m) for m mated scores, because m scores cannot show that an event is rarer than one
    in m. By the same argument, n non-mated scores support LLRs up to log10(n), where counts can confirm the line.
    National galleries need LLRs beyond that. So the line continues up to ``maximum`` = 2 * log10(n); LLRs above
    log10(n) are extrapolated.

    ``equal_minimum`` is fitted in the same way, with slope and offset fixed, if all data sets have balances.

    Args:
        training: raw scores of at least one data set.
        kind: kind of templates, as :func:`abis.scoring.calibration.kind_of` names it.
        non_mated: populations on which to count non-mated rates; at each LLR the highest rate of a population holds.
            None: the non-mated scores of all data sets are one population.
        date: date of the fit for the provenance, ISO 8601.
        software: name and version of the software that computed the raw scores, for the provenance.
        script: script or command that repeats the fit, for the provenance.

    Raises:
        ValueError: mated scores are not higher than non-mated scores on average.
    """
    slope, offset, minimum, maximum = fit_curve(training)
    curve = Calibration(
        kind=kind,
        slope=slope,
        offset=offset,
        minimum=minimum,
        equal_minimum=_fit_equal_minimum(training, slope, offset, maximum),
        maximum=maximum,
        non_mated=None,
        provenance=Provenance(
            data=tuple(scores.name for scores in training),
            mated=sum(len(scores.mated) for scores in training),
            non_mated=sum(len(scores.non_mated) for scores in training),
            date=date,
            software=software,
            script=script,
        ),
    )
    populations = [_population(training)] if non_mated is None else non_mated
    return replace(curve, non_mated=non_mated_table(populations, curve))


def fit_curve(training: Sequence[TrainingScores]) -> tuple[float, float, float, float]:
    """Fit the curve of a calibration, without its rates; see :func:`fit`.

    Args:
        training: raw scores of at least one data set.

    Returns:
        Slope, offset, minimum and maximum.

    Raises:
        ValueError: mated scores are not higher than non-mated scores on average.
    """
    non_mated_count = sum(len(scores.non_mated) for scores in training)
    targets = _targets(training)
    parts = [_weighted(scores, targets, share=1 / len(training)) for scores in training]
    raw, target, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    maximum = 2 * math.log10(max(non_mated_count, 10))
    lowest = _lowest(training)

    centre = float(np.average(raw, weights=weight))
    spread = math.sqrt(float(np.average((raw - centre) ** 2, weights=weight)))
    if not np.average((raw - centre) * (target - 0.5), weights=weight) > 0:
        raise ValueError(
            "mated scores are not higher than non-mated scores on average; larger scores must mean more similar"
        )

    standard = (raw - centre) / spread

    def numbers(point: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        """Return slope, offset and minimum for standardised scores; every point gives valid ones."""
        return math.exp(point[0]), float(point[1]), lowest / (1 + math.exp(-point[2]))

    def log_odds(point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return bent_line(standard, *numbers(point), maximum) * math.log(10)

    slope, offset, minimum = numbers(_fisher_scoring(log_odds, np.zeros(3), target, weight))
    return slope / spread, offset - slope / spread * centre, minimum, maximum


def _fit_equal_minimum(
    training: Sequence[TrainingScores], slope: float, offset: float, maximum: float
) -> float | None:
    """Fit the minimum at a balance of 1; None if a data set has no balances."""
    columns = []
    for scores in training:
        for kind, aim in zip(("mated", "non_mated"), _targets(training), strict=True):
            own, own_balance = getattr(scores, kind), getattr(scores, f"{kind}_balance")
            if own_balance is None:
                return None
            share = 1 / len(training) / 2 / len(own)
            columns.append((own, own_balance, np.full(len(own), aim), np.full(len(own), share)))
    raw, balance, target, weight = (np.concatenate(c).astype(np.float64) for c in zip(*columns, strict=True))
    lowest = _lowest(training)

    def minimum(point: npt.NDArray[np.float64]) -> float:
        return lowest / (1 + math.exp(-point[0]))

    def log_odds(point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return bent_line(raw, slope, offset, minimum(point) * balance, maximum) * math.log(10)

    return minimum(_fisher_scoring(log_odds, np.zeros(1), target, weight))


def _targets(training: Sequence[TrainingScores]) -> tuple[float, float]:
    """Return Platt's targets: the probabilities of a mate that mated and non-mated scores are fitted to."""
    mated, non_mated = (sum(len(getattr(s, kind)) for s in training) for kind in ("mated", "non_mated"))
    return 1 - 1 / (mated + 2), 1 / (non_mated + 2)


def _lowest(training: Sequence[TrainingScores]) -> float:
    """Return the least LLR that the number of mated scores supports."""
    return -math.log10(max(sum(len(scores.mated) for scores in training), 10))


def _population(training: Sequence[TrainingScores]) -> NonMatedScores:
    """Return the non-mated scores of all data sets; subjects of different data sets are different subjects."""
    sets = [scores.non_mated for scores in training]
    balances = [scores.non_mated_balance for scores in training]
    subjects, offset = [], 0
    for scores in training:
        if scores.non_mated_subjects is None:
            return NonMatedScores(sets, np.concatenate(sets), balances=balances)
        subjects.append(scores.non_mated_subjects.astype(np.int64) + offset)
        offset = int(subjects[-1].max()) + 1
    return NonMatedScores(sets, np.concatenate(sets), np.concatenate(subjects), balances)


def _weighted(
    scores: TrainingScores, targets: tuple[float, float], *, share: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return raw scores, the target probability of each, and the weight of each."""
    columns = []
    for kind, target in zip((scores.mated, scores.non_mated), targets, strict=True):
        raw, count = _condensed(kind)
        columns.append((raw, np.full(len(raw), target), share / 2 * count / len(kind)))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))  # type: ignore[return-value]


def _condensed(
    scores: npt.NDArray[np.floating[Any]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return scores and their counts; many scores are replaced by the middles of narrow bins."""
    if len(scores) <= _BINS:
        return scores.astype(np.float64), np.ones(len(scores))
    count, edges = np.histogram(scores, bins=_BINS)
    full = count > 0
    return ((edges[:-1] + edges[1:]) / 2)[full], count[full].astype(np.float64)


def _fisher_scoring(
    curve: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    start: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the point at which ``curve``, natural log odds, has the least weighted cross-entropy with ``target``."""

    def loss(log_odds: npt.NDArray[np.float64]) -> float:
        return float(weight @ (np.logaddexp(0, log_odds) - target * log_odds))

    point, damping, nudge = start, 1e-3, 1e-6
    log_odds = curve(point)
    best = loss(log_odds)
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-log_odds))
        jacobian = np.stack(
            [
                (curve(point + step) - curve(point - step)) / (2 * nudge)
                for step in nudge * np.eye(len(point))
            ],
            axis=1,
        )
        gradient = jacobian.T @ (weight * (probability - target))
        information = (jacobian.T * (weight * probability * (1 - probability))) @ jacobian
        # Damping on the diagonal, with a floor for a parameter that no score depends on.
        diagonal = np.diag(np.diag(information) + 1e-12)
        step = np.linalg.solve(information + damping * diagonal, gradient)
        trial = point - np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        trial_odds = curve(trial)
        trial_loss = loss(trial_odds)
        if not trial_loss < best:
            damping *= 10
            if damping > 1e12:
                break
            continue
        converged = best - trial_loss < _CONVERGED * best
        point, log_odds, best, damping = trial, trial_odds, trial_loss, damping / 10
        if converged:
            break
    return point
