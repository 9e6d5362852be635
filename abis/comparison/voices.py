# SPDX-License-Identifier: Apache-2.0
"""The duration of speech in two recordings, on which the evidence of a low score of two voices depends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["ENOUGH_SPEECH_MS", "balances_of_speech", "speech_ms"]

ENOUGH_SPEECH_MS = 10_000
"""Speech in the shorter recording of a pair; more speech than this does not make a low score stronger evidence."""

_MOST_S = 1e6  # of speech: a larger quality is taken as this


def speech_ms(qualities: Sequence[float | None]) -> npt.NDArray[np.int64]:
    """(n,) int64, milliseconds of speech from the qualities of voices, which are seconds; 0 where none is stated."""
    seconds = np.array([0.0 if quality is None else quality for quality in qualities], np.float64)
    return np.asarray(np.rint(1_000 * np.clip(seconds, 0, _MOST_S)), np.int64)


def balances_of_speech(
    probes: npt.NDArray[np.int64], references: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The shorter duration of speech of each pair as a part of :data:`ENOUGH_SPEECH_MS`, at most 1.

    A calibration that was fitted with it takes a low score of a short recording as weaker evidence.

    Args:
        probes: (n,) or (1,) int64, milliseconds.
        references: (n,) int64, milliseconds.

    Returns:
        (n,) float64, 0 to 1.
    """
    return np.asarray(np.minimum(1.0, np.minimum(probes, references) / ENOUGH_SPEECH_MS))
