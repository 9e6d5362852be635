# SPDX-License-Identifier: Apache-2.0
"""How good likelihood ratios are: Cllr and its part that no calibration could mend.

Brümmer, du Preez: Application-independent evaluation of speaker detection, Computer Speech & Language
20(2-3), 2006.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abis.evaluation.error_rates import FloatArray, ascending

__all__ = ["cllr", "min_cllr"]

_PART = 1 << 20  # scores worked on at a time, for memory's sake


def cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """The cost of log10 likelihood ratios, in bits (section 3 of the paper): 0 is perfect, 1 says nothing.

    Above 1 they mislead. Failed comparisons made no likelihood ratio: leave them out.

    Args:
        mated: (m,) log10 likelihood ratios of mated comparisons.
        non_mated: (n,) of non-mated comparisons.

    >>> cllr(np.array([0.0, 0.0]), np.array([0.0]))
    1.0
    """
    return (_mean_bits(mated, -1) + _mean_bits(non_mated, 1)) / 2


def min_cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """The least Cllr that any increasing function of these scores has, in bits: what calibration leaves.

    By the pool-adjacent-violators algorithm (section 6 of the paper), both kinds weighing the same. Any
    scores will do, calibrated or not. Quick where they are sorted.
    """
    from sklearn.isotonic import isotonic_regression  # noqa: PLC0415 - a second to import

    weight_mated, weight_non_mated = _levels(ascending(mated), ascending(non_mated))
    weight = weight_mated + weight_non_mated
    posterior = isotonic_regression(weight_mated / weight, sample_weight=weight, y_min=0, y_max=1)
    return float((weight * _entropy(posterior)).sum() / 2)


def _levels(
    mated: FloatArray, non_mated: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The share of mated and of non-mated scores at each level, ascending.

    A level is a mated score or all non-mated scores between two; an increasing function that fits best is
    constant on such a run, since all of it is alike.
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
    """Of a yes with this probability, in bits; 0 * log 0 is 0."""
    no = 1 - probability
    yes_log, no_log = (np.log2(np.where(part > 0, part, 1)) for part in (probability, no))
    return -probability * yes_log - no * no_log


def _mean_bits(llr: FloatArray, sign: int) -> float:
    """The mean of log2(1 + 10**(sign * llr)): ``sign`` says which way is against the truth."""
    total = 0.0
    for start in range(0, len(llr), _PART):
        against = sign * llr[start : start + _PART].astype(np.float64)
        total += float((np.logaddexp(0, against * np.log(10)) / np.log(2)).sum())
    return total / len(llr)
