# SPDX-License-Identifier: Apache-2.0
"""How close a comparison comes to deciding otherwise."""

import numpy as np
import numpy.typing as npt


class Edges:
    """Collects how far each yes-or-no decision is from its threshold.

    The core computes in float32, the oracle in float64. Where a value lies within rounding of a threshold, each
    may rightly decide another way, and their results cannot be held against each other: :attr:`near` tells.
    """

    def __init__(self) -> None:
        self._margin = np.inf

    def note(self, distance: npt.ArrayLike, rounding: float) -> None:
        """Takes in how far values lie from a threshold, and how far rounding may carry them."""
        self._margin = min(self._margin, float(np.min(np.abs(distance), initial=np.inf)) / rounding)

    def note_order(self, values: npt.ArrayLike, rounding: float) -> None:
        """The same for values whose order matters. Equal ones are made of equal input: in float32 too."""
        gaps = np.diff(np.sort(np.asarray(values)))
        self.note(gaps[gaps > 0], rounding)

    @property
    def near(self) -> bool:
        """True where some decision may fall either way."""
        return self._margin < 1
