# SPDX-License-Identifier: Apache-2.0
"""What thresholds on log10 likelihood ratios promise, to be held against what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from abis.evaluation.intervals import Estimate
from abis.scoring.calibration import Calibration, shipped
from abis.scoring.thresholds import threshold_for_fmr, threshold_for_fpir

__all__ = ["GALLERY_SIZES", "CheckedPromise", "Promise", "promises"]

GALLERY_SIZES = (10_000, 1_000_000, 50_000_000)
_FMRS = (1e-2, 1e-3, 1e-4, 1e-6)
_FPIR = 1e-2


@dataclass(frozen=True)
class Promise:
    """A threshold and the error rate it is set for.

    Attributes:
        rate: wanted, a fraction.
        gallery_size: subjects searched, where ``rate`` is an FPIR; None where it is an FMR.
        threshold: log10 likelihood ratio.
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
    """A promise, and the rates measured at its threshold, with 95 % intervals."""

    promise: Promise
    fmr: Estimate
    fnmr: Estimate


def promises(calibration: Calibration | None) -> tuple[Promise, ...]:
    """The thresholds one asks for: of some FMRs, and of an FPIR of 1 % at the sizes of real galleries.

    Args:
        calibration: of the scores, one comparison each; None where nobody knows, and thresholds rest on
            Markov's inequality.
    """
    compared = [[shipped("embedding") if calibration is None else calibration]]
    return (
        *(Promise(fmr, None, threshold_for_fmr(fmr, compared)) for fmr in _FMRS),
        *(Promise(_FPIR, size, threshold_for_fpir(_FPIR, size, compared)) for size in GALLERY_SIZES),
    )
