# SPDX-License-Identifier: Apache-2.0
"""95 % intervals from the replicates of a bootstrap; the rule of three where no error was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Estimate", "mean_estimate"]

_TAIL_PERCENT = 2.5


@dataclass(frozen=True)
class Estimate:
    """An error rate measured, a fraction in [0, 1], and its 95 % interval.

    Attributes:
        value: as measured.
        low, high: the interval: the middle 95 % of the replicates, widened to hold ``value`` where the
            bootstrap is biased; where no error was seen, at least up to ``3 / trials``: the rule of three
            (ISO/IEC 19795-1:2006, 6.6), which takes the comparisons as independent.
        replicates: (b,) the same rate in each replicate.
        trials: comparisons in which the error could have happened.
    """

    value: float
    low: float = field(init=False)
    high: float = field(init=False)
    replicates: npt.NDArray[np.float64] = field(repr=False, compare=False)
    trials: int

    def __post_init__(self) -> None:
        # A replicate that drew one subject only has no non-mated comparison, hence no rate.
        rates = self.replicates[np.isfinite(self.replicates)]
        ends = np.percentile(rates, [_TAIL_PERCENT, 100 - _TAIL_PERCENT]) if len(rates) else (0.0, 1.0)
        unseen = 3 / self.trials if self.value == 0 else 0.0
        object.__setattr__(self, "low", min(float(ends[0]), self.value))
        object.__setattr__(self, "high", min(1.0, max(float(ends[1]), self.value, unseen)))

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % [{100 * self.low:.2f}, {100 * self.high:.2f}]"


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of rates measured on different subjects, e.g. over the sets of a competition."""
    return Estimate(
        value=float(np.mean([estimate.value for estimate in estimates])),
        replicates=np.mean([estimate.replicates for estimate in estimates], axis=0),
        trials=sum(estimate.trials for estimate in estimates),
    )
