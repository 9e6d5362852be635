# SPDX-License-Identifier: Apache-2.0
"""Voices of one model, packed for search: embeddings, and how much speech each was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from abis.comparison.voices import balances_of_speech, speech_ms
from abis.index.embedding_index import EmbeddingIndex, EmbeddingProbe
from abis.scoring.calibration import Calibration
from abis.template import Embedding

__all__ = ["VoiceIndex"]


class VoiceIndex(EmbeddingIndex):
    """Voices of one model and dimension, slot by slot from 0. Immutable; safe to search from any number of threads.

    Args:
        vectors: (n, d) float16, n at least 1, of unit length up to rounding.
        codes: (n, b) uint8, from :func:`abis.index.embedding_index.encode`; None computes them.
        speech: (n,) int64, milliseconds of speech; None for 0, which is unknown.
    """

    def __init__(
        self,
        vectors: NDArray[np.float16],
        codes: NDArray[np.uint8] | None = None,
        speech: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(vectors, codes)
        self._speech = np.zeros(len(vectors), np.int64) if speech is None else speech

    @classmethod
    def of(cls, templates: Sequence[Embedding]) -> Self:
        """An index of voices of one dimension, at least one, slot by slot in their order."""
        vectors = np.array([voice.vector for voice in templates], np.float16)
        return cls(vectors, speech=speech_ms([voice.quality for voice in templates]))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        """An index of the given slots of other indexes, in their order."""
        return cls(
            np.concatenate([part.vectors[slots] for part, slots in parts]),
            np.concatenate([part.codes[slots] for part, slots in parts]),
            np.concatenate([part.speech[slots] for part, slots in parts]),
        )

    @staticmethod
    def ready(template: Embedding, calibration: Calibration) -> EmbeddingProbe:
        """Prepare a probe once for many indexes and calls. Its evidence is by the calibration, not by that of faces."""
        return EmbeddingProbe.of(template, calibration)

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""
        return super().memory_bytes + self._speech.nbytes

    @property
    def speech(self) -> NDArray[np.int64]:
        """(n,) int64, milliseconds of speech of each; 0 where unknown."""
        return self._speech

    def balance(self, probe: Embedding, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """(m,) float64, :func:`abis.comparison.voices.balances_of_speech` of a voice and some slots."""
        return balances_of_speech(speech_ms([probe.quality]), self._speech[slots])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`from_arrays` needs to make the same index."""
        return super().arrays() | {"speech": self._speech}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of.

        Raises:
            ValueError: if the arrays do not belong together.
        """
        index, speech = super().from_arrays(arrays), arrays["speech"]
        if speech.dtype != np.int64 or speech.shape != (len(index),):
            raise ValueError(
                f"speech is {speech.dtype} of shape {speech.shape}; expected int64 of ({len(index)},)"
            )
        index._speech = speech
        return index
