# SPDX-License-Identifier: Apache-2.0
"""A calibration fitted to one's own scores, and what that is worth: tried on subjects it has not seen."""

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
from abis.scoring.thresholds import threshold_for_fmr

__all__ = ["Quality", "Refit", "refit"]

CLAIMED_FMRS = (1e-2, 1e-3, 1e-4)
_FOLDS = 5


@dataclass(frozen=True)
class Quality:
    """How well likelihood ratios and thresholds keep what they promise.

    Attributes:
        cllr, min_cllr: in bits; see :mod:`abis.evaluation.likelihood_ratios`.
        fmr: the rate seen at the threshold for each of :data:`CLAIMED_FMRS`; None where so few non-mated
            scores cannot tell.
        fnmr: likewise, of mated ones.
    """

    cllr: float
    min_cllr: float
    fmr: tuple[float | None, ...]
    fnmr: tuple[float | None, ...]


@dataclass(frozen=True)
class Refit:
    """A calibration of one's own.

    Attributes:
        calibration: fitted to all scores.
        before: of the calibration in use, on the same scores; None where there is none.
        after: of fits like this one, each on subjects it was not fitted to.
        mated, non_mated: scores.
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
            self._line("  at best", "{:.4f}", lambda q: q.min_cllr),
        ]
        for place, fmr in enumerate(CLAIMED_FMRS):
            lines.append(
                self._line(f"FMR at the threshold for {fmr:.0e}", "{:.2e}", lambda q, k=place: q.fmr[k])
            )
            lines.append(self._line("  FNMR there", "{:.2%}", lambda q, k=place: q.fnmr[k]))
        table = self.calibration.non_mated
        assert table is not None
        lines += [
            "",
            "Refitted: five times on four fifths of the subjects, tested on the others. -: too few scores to tell.",
            f"Rates are counted down to {table.counted:.1e}; below, they are those of a fitted tail.",
        ]
        return "\n".join(lines)

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
    """Fit a calibration to raw scores, and cross-validate such fits over subjects.

    Args:
        scores: raw scores and their subjects; failed ones are left out.
        kind: of templates, as :func:`abis.scoring.calibration.kind_of` names them.
        name: of the data, for the provenance.
        in_use: the calibration that such scores have had so far.
        balance: (n,) of the templates, as :func:`abis.comparison.balance` gives it; None where nobody knows.
        seed: of the parts that subjects are dealt into.

    Raises:
        ValueError: where there are too few scores or subjects of either kind.
    """
    has_score = scores.score != FAILED
    made = _Compared(scores.select(has_score), None if balance is None else balance[has_score])
    mated = made.mated
    if not mated.any() or mated.all():
        raise ValueError(
            f"{name}: no {'non-mated' if mated.any() else 'mated'} scores; both kinds are needed"
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
        raise ValueError(f"{name}: too few subjects to test a calibration on some and fit it to the others")
    return Refit(_fitted(made, kind, name), before, _quality(tested), int(mated.sum()), int((~mated).sum()))


@dataclass(frozen=True, eq=False)
class _Compared:
    """Scores, and the balance of what was compared where it is known."""

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
    """Pooled over parts."""
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
    """Comparisons to fit to and to test on: both subjects of each are in the part, or both are not."""
    count = 1 + max(int(scores.probe_subject.max()), int(scores.reference_subject.max()))
    part = np.random.default_rng(seed).permutation(count) % _FOLDS
    probe, reference = part[scores.probe_subject], part[scores.reference_subject]
    return [((probe != k) & (reference != k), (probe == k) & (reference == k)) for k in range(_FOLDS)]
