# SPDX-License-Identifier: Apache-2.0
"""95 % intervals from the replicates of a bootstrap; the rule of three where no error was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Estimate", "interval", "mean_estimate"]

_TAIL_PERCENT = 2.5


@dataclass(frozen=True)
class Estimate:
    """An error rate measured, a fraction in [0, 1], and its 95 % interval.

    Attributes:
        value: as measured.
        low, high: the interval; see :func:`interval`.
        replicates: (b,) the same rate in each replicate.
        trials: comparisons in which the error could have happened.
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
    """The 95 % interval of an error rate.

    The middle 95 % of the replicates, widened to hold ``value`` where the bootstrap is biased; where no
    error was seen, at least up to ``3 / trials``: the rule of three (ISO/IEC 19795-1:2006, 6.6), which takes
    the comparisons as independent; and where nothing but errors were, likewise at least down to 1 minus that.

    Args:
        value: the rate as measured.
        replicates: (b,) the same rate in each replicate; NaN in one that cannot tell.
        trials: comparisons in which the error could have happened.
    """
    # A replicate that drew one subject only has no non-mated comparison, hence no rate.
    rates = replicates[np.isfinite(replicates)]
    ends = np.percentile(rates, [_TAIL_PERCENT, 100 - _TAIL_PERCENT]) if len(rates) else (0.0, 1.0)
    unseen_above = 3 / trials if value == 0 else 0.0
    unseen_below = 1 - 3 / trials if value == 1 else 1.0
    low = max(0.0, min(float(ends[0]), value, unseen_below))
    return low, min(1.0, max(float(ends[1]), value, unseen_above))


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of rates measured on different subjects, e.g. over the sets of a competition."""
    return Estimate(
        value=float(np.mean([estimate.value for estimate in estimates])),
        replicates=np.mean([estimate.replicates for estimate in estimates], axis=0),
        trials=sum(estimate.trials for estimate in estimates),
    )
