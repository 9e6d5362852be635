# SPDX-License-Identifier: Apache-2.0
"""Does the quality that extractors state predict error? The error-versus-discard characteristic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.comparison.modality import quality_of
from abis.evaluation.scores import FAILED, check_scores
from abis.template import Template

__all__ = ["ErrorVersusDiscard", "discard_of", "error_versus_discard"]

_AT_FIRST = 0.1  # FNMR with nothing discarded: errors enough for a curve, however good the templates
_LEAST_MATED = 50  # of which five are errors at first


@dataclass(frozen=True, eq=False)
class ErrorVersusDiscard:
    """FNMR of the comparisons that are left when those of the lowest quality are discarded.

    P. Grother and E. Tabassi, Performance of Biometric Quality Measures, IEEE TPAMI 29(4), 2007; ISO/IEC 29794-1.
    A measure that knows nothing leaves the FNMR where it is; the best possible brings it to zero as soon as its
    first value is discarded.

    Attributes:
        discarded: (k,) part of the comparisons discarded, ascending from 0; of equal quality all or none are.
        fnmr: (k,) of the others.
        quality: (k,) lowest quality that is kept.
        threshold: score from which a comparison is a match, the same for all.
    """

    discarded: npt.NDArray[np.float64]
    fnmr: npt.NDArray[np.float64]
    quality: npt.NDArray[np.float64]
    threshold: float

    def at(self, discarded: float) -> float:
        """FNMR where at most this part is discarded."""
        return float(self.fnmr[self.place(discarded)])

    def place(self, discarded: float) -> int:
        """In the arrays, of the most that can be discarded up to this part."""
        return int(np.searchsorted(self.discarded, discarded, side="right")) - 1


def error_versus_discard(
    score: npt.NDArray[np.floating[Any]], quality: npt.NDArray[np.floating[Any]], *, fnmr: float
) -> ErrorVersusDiscard:
    """The characteristic of a quality measure.

    Args:
        score: (n,) mated scores; -inf where the comparison failed.
        quality: (n,) of each comparison: the lower of its two samples', larger is better; -inf where a sample
            failed to be extracted.
        fnmr: at which to begin: the threshold is the lowest score that at least this part of the scores is below.

    Raises:
        ValueError: the lengths differ, a value is NaN, there is none, or ``fnmr`` is not between 0 and 1.

    >>> curve = error_versus_discard(np.array([1.0, 5, 6, 7]), np.array([10.0, 40, 30, 20]), fnmr=0.25)
    >>> curve.discarded, curve.fnmr
    (array([0.  , 0.25, 0.5 , 0.75]), array([0.25, 0.  , 0.  , 0.  ]))
    """
    check_scores("score", score)
    check_scores("quality", quality)
    if len(score) != len(quality) or not len(score):
        raise ValueError(f"{len(score)} scores and {len(quality)} qualities; expected as many, at least one")
    if not 0 < fnmr < 1:
        raise ValueError(f"fnmr is {fnmr}; expected a rate between 0 and 1")
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
    """The characteristic of the quality that templates state, from a threshold at an FNMR of 10 %.

    Args:
        templates: of the samples; None where one failed, which is of the lowest quality.
        probe: (n,) place of the first sample of each mated comparison.
        reference: (n,) of the second.
        score: (n,) theirs.

    Returns:
        None where a template states no quality, no two differ in it, or there are too few comparisons or
        too many that failed.
    """
    stated = [-np.inf if template is None else quality_of(template) for template in templates]
    if len(score) < _LEAST_MATED or None in stated or np.mean(score == FAILED) >= _AT_FIRST:
        return None
    quality = np.array(stated, np.float64)
    lower = np.minimum(quality[probe], quality[reference])
    return error_versus_discard(score, lower, fnmr=_AT_FIRST) if lower.min() < lower.max() else None
