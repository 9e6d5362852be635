# SPDX-License-Identifier: Apache-2.0
"""Fitting a calibration to raw scores of comparisons whose truth is known."""

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

_BINS = 1 << 14  # scores beyond this many are fitted through their histogram
_STEPS = 200
_LONGEST_STEP = 2.0  # in each parameter: far from the optimum the information is no guide
_CONVERGED = 1e-12  # of the loss, relative


@dataclass(frozen=True, eq=False)
class TrainingScores:
    """Raw scores of one data set, of comparisons whose truth is known.

    Attributes:
        name: of the data set.
        mated: (m,) not empty.
        non_mated: (n,) not empty.
        non_mated_subjects: (n, 2) integers, whose templates were compared; None where nobody knows, and each
            comparison is taken as one of two subjects of its own.
        mated_balance: (m,) of the templates, as :func:`abis.comparison.balance` gives it; None where nobody knows.
        non_mated_balance: (n,) likewise; there is either both or none.
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
                raise ValueError(f"{self.name}: {kind} scores are not (n,) finite numbers, n > 0")
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
    """Fit a calibration by logistic regression, every data set weighing the same, and in it both kinds.

    With both kinds weighing the same, the log odds that the regression models are the log likelihood ratio.
    ``slope``, ``offset`` and ``minimum`` are those of least cross-entropy (least Cllr) against the targets
    of Platt (Probabilistic outputs for support vector machines, 1999, section 2.2), which scores without
    any overlap cannot drive to infinity; they are those of all sets together, since a set on its own would
    hold the slope down to what its few hundred mated scores can tell. It is found by Fisher scoring, the
    usual iteration of logistic regression, damped after Levenberg and Marquardt, for ``minimum`` is not
    linear.

    ``minimum`` is not allowed below -log10 of the mated scores there were: no set of m scores can tell that
    a thing is rarer than one in m. By the same argument the n non-mated scores bear out an LLR of log10(n)
    at the most; up to there the line can be checked by counting. A system whose thresholds are error rates
    at national scale must say something beyond, and the line, which is all there is, is followed to
    ``maximum`` = 2 * log10(n), and no further: past log10(n), LLRs are extrapolation.

    Where all sets tell balances, ``equal_minimum`` is fitted likewise, slope and offset being what they are.

    Args:
        training: at least one set.
        kind: of templates, as :func:`abis.scoring.calibration.kind_of` names them.
        non_mated: what to count non-mated rates on, population by population; the worst holds. By default the
            non-mated scores of all sets are one population.
        date: of the fit, for the provenance; so are ``software`` and ``script``.
        software: what made the raw scores.
        script: what called this.

    Raises:
        ValueError: where non-mated scores are not the lower ones on average.
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
    """Slope, offset, minimum and maximum of a calibration, as :func:`fit` finds them."""
    non_mated_count = sum(len(scores.non_mated) for scores in training)
    targets = _targets(training)
    parts = [_weighted(scores, targets, share=1 / len(training)) for scores in training]
    raw, target, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    maximum = 2 * math.log10(max(non_mated_count, 10))
    lowest = _lowest(training)

    centre = float(np.average(raw, weights=weight))
    spread = math.sqrt(float(np.average((raw - centre) ** 2, weights=weight)))
    if not np.average((raw - centre) * (target - 0.5), weights=weight) > 0:
        raise ValueError("mated scores are not higher than non-mated ones on average: nothing to calibrate")

    standard = (raw - centre) / spread

    def numbers(point: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        """Slope, offset and minimum, for standardised scores; any point gives possible ones."""
        return math.exp(point[0]), float(point[1]), lowest / (1 + math.exp(-point[2]))

    def log_odds(point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return bent_line(standard, *numbers(point), maximum) * math.log(10)

    slope, offset, minimum = numbers(_fisher_scoring(log_odds, np.zeros(3), target, weight))
    return slope / spread, offset - slope / spread * centre, minimum, maximum


def _fit_equal_minimum(
    training: Sequence[TrainingScores], slope: float, offset: float, maximum: float
) -> float | None:
    """The minimum of templates that hold equally much, where sets tell balances."""
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
    """The probabilities of being mated that mated and non-mated scores are fitted to."""
    mated, non_mated = (sum(len(getattr(s, kind)) for s in training) for kind in ("mated", "non_mated"))
    return 1 - 1 / (mated + 2), 1 / (non_mated + 2)


def _lowest(training: Sequence[TrainingScores]) -> float:
    """The least LLR that so many mated scores can bear out."""
    return -math.log10(max(sum(len(scores.mated) for scores in training), 10))


def _population(training: Sequence[TrainingScores]) -> NonMatedScores:
    """The non-mated scores of all sets; subjects of different sets are different ones."""
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
    """Raw scores, the probability of being mated that each is fitted to, and what each weighs."""
    columns = []
    for kind, target in zip((scores.mated, scores.non_mated), targets, strict=True):
        raw, count = _condensed(kind)
        columns.append((raw, np.full(len(raw), target), share / 2 * count / len(kind)))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))  # type: ignore[return-value]


def _condensed(
    scores: npt.NDArray[np.floating[Any]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The scores and how often each occurs; many scores as the middles of narrow bins."""
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
    """The point at which ``curve``, natural log odds, has the least weighted cross-entropy to ``target``."""

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
