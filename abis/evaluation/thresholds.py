# SPDX-License-Identifier: Apache-2.0
"""Thresholds with a promised error rate, to be checked against measured error rates."""

from __future__ import annotations

from dataclasses import dataclass

from abis.evaluation.intervals import Estimate
from abis.scoring.calibration import Calibration, shipped
from abis.scoring.thresholds import threshold_for_fmr, threshold_for_fpir

__all__ = ["GALLERY_SIZES", "CheckedPromise", "Promise", "promises"]

GALLERY_SIZES = (10_000, 1_000_000, 50_000_000)
"""Numbers of enrolled subjects for which an FPIR is promised."""

_FMRS = (1e-2, 1e-3, 1e-4, 1e-6)
_FPIR = 1e-2


@dataclass(frozen=True)
class Promise:
    """A threshold and the error rate that it promises.

    Attributes:
        rate: promised FMR or FPIR, a fraction.
        gallery_size: number of subjects searched, if ``rate`` is an FPIR. None: ``rate`` is an FMR.
        threshold: the threshold, a log10 likelihood ratio.
    """

    rate: float
    gallery_size: int | None
    threshold: float

    def __str__(self) -> str:
        percent = f"{100 * self.rate:.6f}".rstrip("0").rstrip(".")
        if self.gallery_size is None:
            return f"FMR {percent} %"
        return f"FPIR {percent} % among {self.gallery_size:,}"


@dataclass(frozen=True)
class CheckedPromise:
    """A promise and the error rates measured at its threshold.

    Attributes:
        promise: the threshold and its promised rate.
        fmr: measured false match rate, with its 95 % interval.
        fnmr: measured false non-match rate, with its 95 % interval.
    """

    promise: Promise
    fmr: Estimate
    fnmr: Estimate


def promises(calibration: Calibration | None) -> tuple[Promise, ...]:
    """Return the thresholds for FMRs from 1 % to 0.0001 %, and for an FPIR of 1 % at :data:`GALLERY_SIZES`.

    Args:
        calibration: calibration of the scores, each of one comparison. None: unknown, and thresholds follow from
            Markov's inequality.
    """
    compared = [[shipped("embedding") if calibration is None else calibration]]
    return (
        *(Promise(fmr, None, threshold_for_fmr(fmr, compared)) for fmr in _FMRS),
        *(Promise(_FPIR, size, threshold_for_fpir(_FPIR, size, compared)) for size in GALLERY_SIZES),
    )
