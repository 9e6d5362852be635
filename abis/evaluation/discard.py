# SPDX-License-Identifier: Apache-2.0
"""Error-versus-discard characteristic: how well the quality that extractors state predicts errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.errors import ArgumentError
from abis.evaluation.scores import FAILED, check_scores
from abis.template import Template
from abis.template.modality import quality_of

__all__ = ["ErrorVersusDiscard", "discard_of", "error_versus_discard"]

_AT_FIRST = 0.1  # FNMR before any comparison is discarded; gives enough errors for a curve
_LEAST_MATED = 50  # mated comparisons; five are errors at an FNMR of 10 %


@dataclass(frozen=True, eq=False)
class ErrorVersusDiscard:
    """FNMR of the comparisons that remain when those of the lowest quality are discarded.

    P. Grother and E. Tabassi, Performance of Biometric Quality Measures, IEEE TPAMI 29(4), 2007; ISO/IEC 29794-1.
    A quality without information leaves the FNMR unchanged. The best possible quality reaches an FNMR of zero when a
    fraction of comparisons equal to the initial FNMR is discarded.

    Attributes:
        discarded: (k,) fraction of comparisons discarded, ascending from 0. Comparisons of equal quality are
            discarded together.
        fnmr: (k,) FNMR of the comparisons that remain.
        quality: (k,) lowest quality that remains.
        threshold: threshold of the comparisons, the same at every fraction.
    """

    discarded: npt.NDArray[np.float64]
    fnmr: npt.NDArray[np.float64]
    quality: npt.NDArray[np.float64]
    threshold: float

    def at(self, discarded: float) -> float:
        """Return the FNMR after discarding at most the fraction ``discarded`` of the comparisons."""
        return float(self.fnmr[self.place(discarded)])

    def place(self, discarded: float) -> int:
        """Return the place in the arrays of the greatest fraction discarded that is at most ``discarded``."""
        return int(np.searchsorted(self.discarded, discarded, side="right")) - 1


def error_versus_discard(
    score: npt.NDArray[np.floating[Any]], quality: npt.NDArray[np.floating[Any]], *, fnmr: float
) -> ErrorVersusDiscard:
    """Compute the error-versus-discard characteristic of a quality measure.

    Args:
        score: (n,) mated scores; -inf for a comparison that failed.
        quality: (n,) quality of each comparison: the lower quality of its two samples, larger is better; -inf if a
            sample has no template.
        fnmr: FNMR before any comparison is discarded, between 0 and 1. The threshold is the lowest score above at
            least this fraction of the scores.

    Raises:
        ValueError: the lengths differ or are 0, a value is NaN, or ``fnmr`` is not between 0 and 1.

    >>> curve = error_versus_discard(np.array([1.0, 5, 6, 7]), np.array([10.0, 40, 30, 20]), fnmr=0.25)
    >>> curve.discarded, curve.fnmr
    (array([0.  , 0.25, 0.5 , 0.75]), array([0.25, 0.  , 0.  , 0.  ]))
    """
    check_scores("score", score)
    check_scores("quality", quality)
    if len(score) != len(quality) or not len(score):
        raise ValueError(
            f"{len(score)} scores and {len(quality)} qualities; expected equal counts of at least one"
        )
    if not 0 < fnmr < 1:
        raise ArgumentError(f"fnmr is {fnmr}; expected a rate between 0 and 1")
    ascending = np.sort(score)
    threshold = float(ascending[min(int(np.ceil(fnmr * len(score))), len(score) - 1)])
    order = np.argsort(quality, kind="stable")
    kept_quality = quality[order].astype(np.float64)
    first = np.flatnonzero(np.append(True, kept_quality[1:] > kept_quality[:-1]))
    errors_kept = np.cumsum((score[order] < threshold)[::-1])[::-1]
    kept = len(score) - first
    return ErrorVersusDiscard(
        discarded=first / len(score),
        fnmr=errors_kept[first] / kept,
        quality=kept_quality[first],
        threshold=threshold,
    )


def discard_of(
    templates: Sequence[Template | None],
    probe: npt.NDArray[np.integer[Any]],
    reference: npt.NDArray[np.integer[Any]],
    score: npt.NDArray[np.floating[Any]],
) -> ErrorVersusDiscard | None:
    """Compute the characteristic of the quality that templates state, at a threshold with an FNMR of 10 %.

    Args:
        templates: templates of all samples; None for a failed sample, which has the lowest quality.
        probe: (n,) place in ``templates`` of the probe of each mated comparison.
        reference: (n,) place in ``templates`` of the reference of each mated comparison.
        score: (n,) score of each mated comparison; -inf for one that failed.

    Returns:
        The characteristic. None: a template states no quality, all qualities are equal, there are fewer than 50
        comparisons, or 10 % of them or more failed.
    """
    stated = [-np.inf if template is None else quality_of(template) for template in templates]
    if len(score) < _LEAST_MATED or None in stated or np.mean(score == FAILED) >= _AT_FIRST:
        return None
    quality = np.array(stated, np.float64)
    lower = np.minimum(quality[probe], quality[reference])
    return error_versus_discard(score, lower, fnmr=_AT_FIRST) if lower.min() < lower.max() else None
