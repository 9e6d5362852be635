# SPDX-License-Identifier: Apache-2.0
"""Fit a calibration to the caller's scores, and cross-validate it on subjects that were not in the fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.evaluation.fitting import TrainingScores, fit
from abis.evaluation.likelihood_ratios import cllr, min_cllr
from abis.evaluation.scores import FAILED, Scores
from abis.scoring.calibration import Calibration
from abis.scoring.thresholds import threshold_for_fmr, unreachable

__all__ = ["Quality", "Refit", "refit"]

CLAIMED_FMRS = (1e-2, 1e-3, 1e-4)
"""FMRs at whose thresholds calibrations are tested."""

_FOLDS = 5
_USUAL_FMR = 1e-6  # of abis.Policy


@dataclass(frozen=True)
class Quality:
    """Measured quality of a calibration: the cost of its likelihood ratios and the error rates at its thresholds.

    Attributes:
        cllr: cost of the likelihood ratios, in bits; see :func:`abis.evaluation.cllr`.
        min_cllr: least cost of the same scores, in bits; see :func:`abis.evaluation.min_cllr`.
        fmr: measured FMR at the threshold for each of :data:`CLAIMED_FMRS`. None: too few non-mated scores to
            measure it.
        fnmr: measured FNMR at the same thresholds. None: too few non-mated scores to measure the FMR.
    """

    cllr: float
    min_cllr: float
    fmr: tuple[float | None, ...]
    fnmr: tuple[float | None, ...]


@dataclass(frozen=True)
class Refit:
    """A calibration fitted to the caller's scores, with its cross-validated quality.

    Attributes:
        calibration: calibration fitted to all scores.
        before: quality of the calibration in use on the same scores. None: no calibration is in use.
        after: quality of cross-validation fits, each tested on subjects that were not in the fit.
        mated: number of mated scores.
        non_mated: number of non-mated scores.
    """

    calibration: Calibration
    before: Quality | None
    after: Quality
    mated: int
    non_mated: int

    def __str__(self) -> str:
        lines = [
            f"{self.mated:,} mated and {self.non_mated:,} non-mated scores",
            "",
            f"{'':34}{'in use':>14}{'refitted':>14}",
            self._line("Cllr, bits", "{:.4f}", lambda q: q.cllr),
            self._line("  least Cllr", "{:.4f}", lambda q: q.min_cllr),
        ]
        for place, fmr in enumerate(CLAIMED_FMRS):
            lines.append(
                self._line(f"FMR at the threshold for {fmr:.0e}", "{:.2e}", lambda q, k=place: q.fmr[k])
            )
            lines.append(self._line("  FNMR", "{:.2%}", lambda q, k=place: q.fnmr[k]))
        table = self.calibration.non_mated
        assert table is not None
        lines += [
            "",
            "Refitted: five fits to four fifths of the subjects, each tested on the others. -: too few scores.",
            f"FMRs are counted down to {table.counted:.1e}; lower FMRs come from a fitted tail.",
        ]
        return "\n".join(lines)

    @property
    def unreachable(self) -> str:
        """That the threshold of ``abis verify``'s usual rate, 1e-6, cannot be reached, in words; else empty."""
        return unreachable(_USUAL_FMR, [[self.calibration]])

    def _line(self, label: str, form: str, value: Any) -> str:
        cells = []
        for quality in (self.before, self.after):
            found = None if quality is None else value(quality)
            cells.append("-" if found is None else form.format(found))
        return f"{label:34}{cells[0]:>14}{cells[1]:>14}"


def refit(
    scores: Scores,
    *,
    kind: str,
    name: str,
    in_use: Calibration | None,
    balance: npt.NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Refit:
    """Fit a calibration to raw scores, and cross-validate the fit over subjects.

    Args:
        scores: raw scores and their subjects; failed comparisons are left out.
        kind: kind of templates, as :func:`abis.scoring.calibration.kind_of` names it.
        name: name of the data, for the provenance.
        in_use: calibration that is in use for such scores. None: no calibration is in use.
        balance: (n,) balance of each pair of templates, the result of :func:`abis.comparison.balance`. None: unknown.
        seed: seed of the assignment of subjects to the five parts.

    Raises:
        ValueError: there are too few mated or non-mated scores, or too few subjects.
    """
    has_score = scores.score != FAILED
    made = _Compared(scores.select(has_score), None if balance is None else balance[has_score])
    mated = made.mated
    if not mated.any() or mated.all():
        raise ValueError(
            f"{name}: no {'non-mated' if mated.any() else 'mated'} scores; expected both mated and non-mated scores"
        )
    before = None
    if in_use is not None:
        before = _quality([_Tested(in_use, made)])
    tested = []
    for learn, test in _folds(made.scores, seed):
        part = made.select(test)
        if 0 < int(part.mated.sum()) < len(part.mated):
            tested.append(_Tested(_fitted(made.select(learn), kind, name), part))
    if not tested:
        raise ValueError(f"{name}: too few subjects to fit a calibration to some and test it on the others")
    return Refit(_fitted(made, kind, name), before, _quality(tested), int(mated.sum()), int((~mated).sum()))


@dataclass(frozen=True, eq=False)
class _Compared:
    """Scores, and the balance of each pair of templates; None if the balance is unknown."""

    scores: Scores
    balance: npt.NDArray[np.float64] | None

    @property
    def mated(self) -> npt.NDArray[np.bool_]:
        return self.scores.mated

    def select(self, where: npt.NDArray[np.bool_]) -> _Compared:
        return _Compared(self.scores.select(where), None if self.balance is None else self.balance[where])


class _Tested:
    def __init__(self, calibration: Calibration, compared: _Compared) -> None:
        llr = calibration.llr(compared.scores.score, compared.balance)
        self.mated, self.non_mated = llr[compared.mated], llr[~compared.mated]
        self.thresholds = [threshold_for_fmr(fmr, [[calibration]]) for fmr in CLAIMED_FMRS]


def _quality(tested: list[_Tested]) -> Quality:
    """Return the quality over all tested parts together."""
    mated, non_mated = (np.concatenate([getattr(t, kind) for t in tested]) for kind in ("mated", "non_mated"))
    fmr: list[float | None] = []
    fnmr: list[float | None] = []
    for place, claimed in enumerate(CLAIMED_FMRS):
        if claimed * len(non_mated) < 1:
            fmr.append(None)
            fnmr.append(None)
            continue
        fmr.append(sum(int((t.non_mated >= t.thresholds[place]).sum()) for t in tested) / len(non_mated))
        fnmr.append(sum(int((t.mated < t.thresholds[place]).sum()) for t in tested) / len(mated))
    return Quality(cllr(mated, non_mated), min_cllr(mated, non_mated), tuple(fmr), tuple(fnmr))


def _fitted(compared: _Compared, kind: str, name: str) -> Calibration:
    scores, mated, balance = compared.scores, compared.mated, compared.balance
    subjects = np.stack([scores.probe_subject[~mated], scores.reference_subject[~mated]], axis=1)
    return fit(
        [
            TrainingScores(
                name,
                scores.score[mated],
                scores.score[~mated],
                subjects,
                None if balance is None else balance[mated],
                None if balance is None else balance[~mated],
            )
        ],
        kind=kind,
        date=datetime.now(UTC).date().isoformat(),
        software=f"abis {version('abis')}",
        script="abis calibrate",
    )


def _folds(scores: Scores, seed: int) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Return five pairs of masks, for the fit and for the test; both subjects of a comparison are on its side."""
    count = 1 + max(int(scores.probe_subject.max()), int(scores.reference_subject.max()))
    part = np.random.default_rng(seed).permutation(count) % _FOLDS
    probe, reference = part[scores.probe_subject], part[scores.reference_subject]
    return [((probe != k) & (reference != k), (probe == k) & (reference == k)) for k in range(_FOLDS)]
