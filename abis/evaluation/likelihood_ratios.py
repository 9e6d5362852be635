# SPDX-License-Identifier: Apache-2.0
"""Cllr, the cost of likelihood ratios, and the part of it that no calibration can remove.

Brümmer, du Preez: Application-independent evaluation of speaker detection, Computer Speech & Language
20(2-3), 2006.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abis.evaluation.error_rates import FloatArray, ascending

__all__ = ["cllr", "min_cllr"]

_PART = 1 << 20  # scores in one step, which bounds the memory


def cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """Return Cllr, the cost of log10 likelihood ratios in bits a decision (section 3 of the paper).

    A cost of 0 is perfect, 1 is that of no information, and above 1 the likelihood ratios mislead. Failed comparisons
    have no likelihood ratio and must be left out.

    Args:
        mated: (m,) log10 likelihood ratios of mated comparisons.
        non_mated: (n,) log10 likelihood ratios of non-mated comparisons.

    >>> cllr(np.array([0.0, 0.0]), np.array([0.0]))
    1.0
    """
    return (_mean_bits(mated, -1) + _mean_bits(non_mated, 1)) / 2


def min_cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """Return the least Cllr in bits that an increasing function of the scores can reach: the cost after calibration.

    The function is found by the pool-adjacent-violators algorithm (section 6 of the paper), with equal weights of
    mated and non-mated scores. The scores need not be calibrated. Sorted scores take less time.

    Args:
        mated: (m,) scores of mated comparisons, on any scale.
        non_mated: (n,) scores of non-mated comparisons, on the same scale.
    """
    from sklearn.isotonic import isotonic_regression  # noqa: PLC0415 - a second to import

    weight_mated, weight_non_mated = _levels(ascending(mated), ascending(non_mated))
    weight = weight_mated + weight_non_mated
    posterior = isotonic_regression(weight_mated / weight, sample_weight=weight, y_min=0, y_max=1)
    return float((weight * _entropy(posterior)).sum() / 2)


def _levels(
    mated: FloatArray, non_mated: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the shares of mated and of non-mated scores at each level, in ascending order.

    A level is one mated score, or all non-mated scores between two adjacent mated scores. The best increasing function
    is constant on a level.
    """
    score, count = np.unique(mated, return_counts=True)
    below = np.searchsorted(non_mated, score)
    at_or_below = np.searchsorted(non_mated, score, side="right")
    share_mated = np.zeros(2 * len(score) + 1)
    share_mated[1::2] = count / len(mated)
    share_non_mated = np.empty(2 * len(score) + 1)
    share_non_mated[1::2] = at_or_below - below
    share_non_mated[::2] = np.append(below, len(non_mated)) - np.append(0, at_or_below)
    share_non_mated /= len(non_mated)
    some = share_mated + share_non_mated > 0
    return share_mated[some], share_non_mated[some]


def _entropy(probability: FloatArray) -> FloatArray:
    """Return the binary entropy of a probability in bits; 0 * log 0 is 0."""
    no = 1 - probability
    yes_log, no_log = (np.log2(np.where(part > 0, part, 1)) for part in (probability, no))
    return -probability * yes_log - no * no_log


def _mean_bits(llr: FloatArray, sign: int) -> float:
    """Return the mean of log2(1 + 10**(sign * llr)); ``sign`` is -1 for mated and 1 for non-mated comparisons."""
    total = 0.0
    for start in range(0, len(llr), _PART):
        against = sign * llr[start : start + _PART].astype(np.float64)
        total += float((np.logaddexp(0, against * np.log(10)) / np.log(2)).sum())
    return total / len(llr)
