# SPDX-License-Identifier: Apache-2.0
"""95 % intervals from the replicates of a bootstrap, and by the rule of three if no error occurred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Estimate", "interval", "mean_estimate"]

_TAIL_PERCENT = 2.5


@dataclass(frozen=True)
class Estimate:
    """A measured error rate, a fraction in [0, 1], and its 95 % interval.

    Attributes:
        value: measured rate.
        low: lower end of the interval; see :func:`interval`.
        high: upper end of the interval.
        replicates: (b,) rate in each replicate of the bootstrap.
        trials: number of comparisons or searches in which the error could occur.
    """

    value: float
    low: float = field(init=False)
    high: float = field(init=False)
    replicates: npt.NDArray[np.float64] = field(repr=False, compare=False)
    trials: int

    def __post_init__(self) -> None:
        low, high = interval(self.value, self.replicates, self.trials)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % [{100 * self.low:.2f}, {100 * self.high:.2f}]"


def interval(value: float, replicates: npt.NDArray[np.float64], trials: int) -> tuple[float, float]:
    """Return the lower and upper end of the 95 % interval of an error rate.

    The interval contains the middle 95 % of the replicates and ``value``. If ``value`` is 0, it extends at least to
    ``3 / trials``, the rule of three (ISO/IEC 19795-1:2006, 6.6), which takes comparisons as independent. If
    ``value`` is 1, it extends at least down to ``1 - 3 / trials``.

    Args:
        value: measured rate.
        replicates: (b,) rate in each replicate of the bootstrap; NaN in a replicate without such comparisons.
        trials: number of comparisons or searches in which the error could occur.
    """
    # A replicate with a single subject has no non-mated comparison, so its rate is NaN.
    rates = replicates[np.isfinite(replicates)]
    ends = np.percentile(rates, [_TAIL_PERCENT, 100 - _TAIL_PERCENT]) if len(rates) else (0.0, 1.0)
    unseen_above = 3 / trials if value == 0 else 0.0
    unseen_below = 1 - 3 / trials if value == 1 else 1.0
    low = max(0.0, min(float(ends[0]), value, unseen_below))
    return low, min(1.0, max(float(ends[1]), value, unseen_above))


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of rates measured on different subjects, such as the data sets of a competition.

    Args:
        estimates: at least one estimate; all have the same number of replicates.
    """
    return Estimate(
        value=float(np.mean([estimate.value for estimate in estimates])),
        replicates=np.mean([estimate.replicates for estimate in estimates], axis=0),
        trials=sum(estimate.trials for estimate in estimates),
    )
