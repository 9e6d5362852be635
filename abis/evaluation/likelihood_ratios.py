# SPDX-License-Identifier: Apache-2.0
"""How good likelihood ratios are: Cllr and its part that no calibration could mend.

Brümmer, du Preez: Application-independent evaluation of speaker detection, Computer Speech & Language
20(2-3), 2006.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abis.evaluation.error_rates import FloatArray

__all__ = ["cllr", "min_cllr"]


def cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """The cost of log10 likelihood ratios, in bits (section 3 of the paper): 0 is perfect, 1 says nothing.

    Above 1 they mislead. Failed comparisons made no likelihood ratio: leave them out.

    Args:
        mated: (m,) log10 likelihood ratios of mated comparisons.
        non_mated: (n,) of non-mated comparisons.

    >>> cllr(np.array([0.0, 0.0]), np.array([0.0]))
    1.0
    """
    return float((_bits(-mated).mean() + _bits(non_mated).mean()) / 2)


def min_cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """The least Cllr that any increasing function of these scores has, in bits: what calibration leaves.

    By the pool-adjacent-violators algorithm (section 6 of the paper), both kinds weighing the same. Any
    scores will do, calibrated or not.
    """
    from sklearn.isotonic import isotonic_regression  # noqa: PLC0415 - a second to import

    score, place = np.unique(np.concatenate([mated, non_mated]), return_inverse=True)
    weight_mated = np.bincount(place[: len(mated)], minlength=len(score)) / len(mated)
    weight_non_mated = np.bincount(place[len(mated) :], minlength=len(score)) / len(non_mated)
    weight = weight_mated + weight_non_mated
    posterior = isotonic_regression(weight_mated / weight, sample_weight=weight, y_min=0, y_max=1)
    return float((weight * _entropy(posterior)).sum() / 2)


def _entropy(probability: FloatArray) -> FloatArray:
    """Of a yes with this probability, in bits; 0 * log 0 is 0."""
    no = 1 - probability
    yes_log, no_log = (np.log2(np.where(part > 0, part, 1)) for part in (probability, no))
    return -probability * yes_log - no * no_log


def _bits(against: FloatArray) -> npt.NDArray[np.float64]:
    """log2(1 + 10**against), of evidence of that many decades against the truth."""
    return np.asarray(np.logaddexp(0, against * np.log(10)) / np.log(2))
