# SPDX-License-Identifier: Apache-2.0
"""Learn to fuse the scores of several matchers, from comparisons that are known as mated or non-mated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.fitting import TrainingScores, fit_curve
from abis.evaluation.likelihood_ratios import cllr
from abis.scoring.calibration import bent_line
from abis.scoring.matcher_fusion import QualityWeight, ScoreFusion, ScoreInput

__all__ = ["METHODS", "FusionTrial", "MatcherScores", "best_fusion", "learn_fusion", "try_fusions"]

MatcherScores: TypeAlias = Mapping[str, npt.NDArray[np.float64]]
"""(n,) scores by the name of the matcher; NaN is a missing score."""

_KNOTS = 65
_DENSITY_POINTS = 513
_FOLDS = 5
_PENALTY = 1e-3  # weight of the squared distance of the parameters from their start
_CRITERION_FMR = 1e-3


def learn_fusion(
    scores: MatcherScores,
    mated: npt.NDArray[np.bool_],
    *,
    method: str = "sum",
    qualities: MatcherScores | None = None,
) -> ScoreFusion:
    """Learn the fusion of several matchers' scores by one of four methods.

    - ``sum``: the curve of :class:`abis.scoring.calibration.Calibration` turns each matcher's scores into log10
      likelihood ratios, which are added. This is correct for independent matchers.
    - ``logistic``: the same curves, with weights and an offset by logistic regression. Correlated matchers get weights
      below 1. A missing score is evidence if failures are more frequent in mated or in non-mated comparisons.
    - ``density``: the likelihood ratio is the quotient of two smoothed densities. The pool-adjacent-violators algorithm
      makes it rise with the score. It is level where mated or non-mated scores are absent, which limits the evidence
      of a single high score. The log10 likelihood ratios are added.
    - ``quality``: ``logistic``, with weights that depend linearly on the quality of the samples.

    Args:
        scores: (n,) scores by matcher, NaN for a missing score.
        mated: (n,) bool, whether each comparison is mated.
        method: one of :data:`METHODS`. Default: ``sum``.
        qualities: (n,) qualities by matcher, on any scale, NaN if unknown; matchers may be left out. Only for the
            method ``quality``. None: no qualities.

    Raises:
        ValueError: a matcher has no mated or no non-mated scores, its mated scores are not higher on average, or the
            method ``quality`` has no qualities.
    """
    if method == "density":
        curves = {name: _density_ratio(name, raw, mated) for name, raw in scores.items()}
    else:
        curves = {name: _line(name, raw, mated) for name, raw in scores.items()}
    inputs = tuple(ScoreInput(name, *knots, weight=1.0, missing=0.0) for name, knots in curves.items())
    if method in ("sum", "density"):
        return ScoreFusion(method, inputs, offset=0.0)
    if method == "quality":
        known = {name: own for name, own in (qualities or {}).items() if np.isfinite(own).any()}
        if not known:
            raise ValueError("no qualities; expected those of at least one matcher for the method 'quality'")
        inputs = tuple(
            replace(one, quality=_quality(one.name, known[one.name])) if one.name in known else one
            for one in inputs
        )
    return _weighted(method, inputs, scores, mated, qualities or {})


METHODS = ("sum", "logistic", "density", "quality")
"""Methods of fusion, the simplest first; ``quality`` needs qualities."""


@dataclass(frozen=True)
class FusionTrial:
    """Cross-validated error rates of a method of fusion.

    Attributes:
        method: one of :data:`METHODS`.
        cllr: Cllr of the fused log10 likelihood ratios, in bits.
        eer: equal error rate, a fraction.
        fnmr: FNMR at an FMR of 0.1 %, a fraction.
    """

    method: str
    cllr: float
    eer: float
    fnmr: float


def try_fusions(
    scores: MatcherScores,
    probe_subject: npt.NDArray[np.integer[Any]],
    reference_subject: npt.NDArray[np.integer[Any]],
    *,
    qualities: MatcherScores | None = None,
    seed: int = 0,
) -> list[FusionTrial]:
    """Cross-validate every method over subjects; no subject of a tested comparison is in the fit.

    Args:
        scores: (n,) scores by matcher, NaN for a missing score.
        probe_subject: (n,) integers, subject number of each probe.
        reference_subject: (n,) integers, subject number of each reference. A comparison is mated if both are equal.
        qualities: (n,) qualities by matcher, NaN if unknown; matchers may be left out. None: the method ``quality``
            is not tried.
        seed: seed of the assignment of subjects to the five parts.
    """
    mated = probe_subject == reference_subject
    trials = []
    quality = qualities or {}
    for method in METHODS if quality else METHODS[:-1]:
        fused, tested = np.full(len(mated), np.nan), np.zeros(len(mated), np.bool_)
        for learn, test in _folds(probe_subject, reference_subject, seed):
            fusion = learn_fusion(
                {name: raw[learn] for name, raw in scores.items()},
                mated[learn],
                method=method,
                qualities={name: own[learn] for name, own in quality.items()},
            )
            fused[test] = fusion(
                {name: raw[test] for name, raw in scores.items()},
                {name: own[test] for name, own in quality.items()},
            )
            tested |= test
        tested &= ~np.isnan(fused)
        rates = ErrorRates(fused[tested & mated], fused[tested & ~mated])
        fnmr = rates.at_fmr(_CRITERION_FMR).fnmr
        trials.append(FusionTrial(method, cllr(rates.mated, rates.non_mated), rates.eer, fnmr))
    return trials


def best_fusion(trials: list[FusionTrial]) -> str:
    """Return the method with the lowest FNMR at an FMR of 0.1 %; the simplest one if several are equal."""
    return min(trials, key=lambda trial: (trial.fnmr, METHODS.index(trial.method))).method


def _folds(
    probe: npt.NDArray[np.integer[Any]],
    reference: npt.NDArray[np.integer[Any]],
    seed: int,
) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    subjects = np.unique(np.concatenate([probe, reference]))
    part = np.random.default_rng(seed).permutation(len(subjects)) % _FOLDS
    probe_part, reference_part = (part[np.searchsorted(subjects, side)] for side in (probe, reference))
    for fold in range(_FOLDS):
        yield (
            (probe_part != fold) & (reference_part != fold),
            (probe_part == fold) & (reference_part == fold),
        )


# --- curves ---------------------------------------------------------------------------------------------

_Knots: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]


def _kinds(
    name: str, raw: npt.NDArray[np.float64], mated: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    present = ~np.isnan(raw)
    kinds = raw[present & mated], raw[present & ~mated]
    if not all(len(kind) for kind in kinds):
        raise ValueError(
            f"{name}: no scores of {'non-mated' if len(kinds[0]) else 'mated'} comparisons to learn from"
        )
    return kinds


def _line(name: str, raw: npt.NDArray[np.float64], mated: npt.NDArray[np.bool_]) -> _Knots:
    """Return the curve of a calibration fitted to one matcher's scores, at equidistant knots."""
    own, strange = _kinds(name, raw, mated)
    numbers = fit_curve([TrainingScores(name, own, strange)])
    low, high = min(own.min(), strange.min()), max(own.max(), strange.max())
    knots = np.linspace(low - (high - low) / 4, high + (high - low) / 4, 4 * _KNOTS)
    return tuple(knots.tolist()), tuple(np.maximum.accumulate(bent_line(knots, *numbers)).tolist())


def _density_ratio(name: str, raw: npt.NDArray[np.float64], mated: npt.NDArray[np.bool_]) -> _Knots:
    """Return the rising quotient of two kernel densities (Silverman, Density Estimation, 1986, section 3.4.1)."""
    from sklearn.isotonic import isotonic_regression  # noqa: PLC0415 - a second to import

    own, strange = _kinds(name, raw, mated)
    points = np.linspace(min(own.min(), strange.min()), max(own.max(), strange.max()), _DENSITY_POINTS)
    # Half a score more of each kind, spread over all points, so that no density is zero.
    densities = [_density(points, kind) + 0.5 / len(kind) / len(points) for kind in (own, strange)]
    ratio = np.log10(densities[0] / densities[1])
    rising = isotonic_regression(ratio, sample_weight=densities[0] + densities[1])
    return tuple(points.tolist()), tuple(np.maximum.accumulate(rising).tolist())


def _density(points: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the fraction of the scores near each point, smoothed by a normal kernel."""
    step = points[1] - points[0]
    part = np.histogram(scores, bins=np.append(points - step / 2, points[-1] + step / 2))[0] / len(scores)
    quartiles = np.percentile(scores, [25, 75])
    spread = (
        min(float(scores.std()), float(quartiles[1] - quartiles[0]) / 1.349) or float(scores.std()) or step
    )
    width = max(0.9 * spread * len(scores) ** -0.2, step)
    kernel = np.exp(-0.5 * ((points[:, np.newaxis] - points) / width) ** 2)
    return np.asarray((kernel / kernel.sum(axis=0)) @ part)


def _quality(name: str, quality: npt.NDArray[np.float64]) -> QualityWeight:
    low, middle, high = np.nanpercentile(quality, [1, 50, 99]).tolist()
    return QualityWeight(name, 0.0, middle, low, high)


def _weighted(
    method: str,
    inputs: tuple[ScoreInput, ...],
    scores: MatcherScores,
    mated: npt.NDArray[np.bool_],
    qualities: MatcherScores,
) -> ScoreFusion:
    """Fit weights, evidence of missing scores and offset by least cross-entropy, with equal weights of both kinds."""
    from scipy.optimize import minimize  # noqa: PLC0415 - a while to import

    count = len(inputs)
    evidence = np.stack([one.evidence(scores[one.name]) for one in inputs], axis=1)
    missing = np.stack([np.isnan(scores[one.name]) for one in inputs], axis=1).astype(np.float64)
    by_quality = [k for k, one in enumerate(inputs) if one.quality is not None]
    spreads, more = [], []
    for k in by_quality:
        quality = inputs[k].quality
        assert quality is not None
        spreads.append((quality.high - quality.low) or 1.0)
        more.append(evidence[:, k] * quality.above_middle(qualities[inputs[k].name]) / spreads[-1])
    parts = [evidence, missing, np.ones((len(mated), 1)), *(column[:, np.newaxis] for column in more)]
    columns = np.concatenate(parts, axis=1) * math.log(10)
    weight = np.where(mated, 0.5 / mated.sum(), 0.5 / (~mated).sum())
    start = np.concatenate([np.ones(count), np.zeros(count + 1 + len(by_quality))])

    def loss(point: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        odds = columns @ point
        value = weight @ (np.logaddexp(0, odds) - mated * odds) + _PENALTY * ((point - start) ** 2).sum()
        gradient = columns.T @ (weight * (1 / (1 + np.exp(-odds)) - mated)) + 2 * _PENALTY * (point - start)
        return float(value), gradient

    # No weight is negative: a higher score is never evidence against a match.
    bounds = [(0.0, None)] * count + [(None, None)] * (len(start) - count)
    point = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
    learnt = tuple(replace(one, weight=point[k], missing=point[count + k]) for k, one in enumerate(inputs))
    slopes = {
        k: slope / spread
        for k, slope, spread in zip(by_quality, point[2 * count + 1 :], spreads, strict=True)
    }
    learnt = tuple(
        one if one.quality is None else replace(one, quality=replace(one.quality, slope=slopes[k]))
        for k, one in enumerate(learnt)
    )
    return ScoreFusion(method, learnt, offset=point[2 * count])
