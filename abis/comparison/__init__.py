# SPDX-License-Identifier: Apache-2.0
"""Compare one probe with many references: raw scores. The Python interface of the C++ core."""

from abis.comparison.comparators import balance, raw_scores
from abis.comparison.minutiae import (
    Explanation,
    FingerReferences,
    balances,
    contents,
    cosine,
    cosines_of_pairs,
    explain,
    simd_level,
)

__all__ = [
    "Explanation",
    "FingerReferences",
    "balance",
    "balances",
    "contents",
    "cosine",
    "cosines_of_pairs",
    "explain",
    "raw_scores",
    "simd_level",
]
