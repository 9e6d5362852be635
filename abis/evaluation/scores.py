# SPDX-License-Identifier: Apache-2.0
"""The scores of many comparisons, with the subjects of probes and references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FAILED", "Scores", "check_scores", "pooled", "separate"]

FAILED = -np.inf
"""Score of a failed comparison: a non-match at every threshold."""


_PART = 1 << 20


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n comparisons, with the subject of each probe and reference; a pair of one subject is mated.

    Subjects are the units that the bootstrap takes as independent: persons where they are known, and fingers in the
    FVC sets, which do not state the persons.

    Attributes:
        score: (n,) float32 or float64, larger means more similar; :data:`FAILED` for a failed comparison.
        probe_subject: (n,) integers, subject number of each probe, from 0.
        reference_subject: (n,) integers, subject number of each reference, in the numbering of ``probe_subject``.

    Raises:
        ValueError: a shape or dtype differs from these, a subject number is negative, or a score is NaN or plus
            infinity.
    """

    score: npt.NDArray[np.floating[Any]]
    probe_subject: npt.NDArray[np.integer[Any]]
    reference_subject: npt.NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        check_scores("score", self.score)
        for name in ("probe_subject", "reference_subject"):
            subject = getattr(self, name)
            if subject.shape != self.score.shape or subject.dtype.kind not in "iu":
                raise ValueError(
                    f"{name} is {subject.dtype} of shape {subject.shape}; "
                    f"expected integers of shape {self.score.shape}"
                )
            if len(subject) and subject.min() < 0:
                raise ValueError(f"{name} contains {subject.min()}; expected subjects numbered from 0")

    def __len__(self) -> int:
        return len(self.score)

    @property
    def mated(self) -> npt.NDArray[np.bool_]:
        """(n,) True for each mated comparison."""
        return np.asarray(self.probe_subject == self.reference_subject)

    def select(self, where: npt.NDArray[np.bool_]) -> Scores:
        """Return the comparisons at which ``where``, an (n,) mask, is True."""
        return Scores(self.score[where], self.probe_subject[where], self.reference_subject[where])


def separate(scores: Scores) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]:
    """Return copies of the mated and of the non-mated scores, in order; the masks are built in parts to save memory."""
    parts = [slice(start, start + _PART) for start in range(0, len(scores), _PART)]
    masks = ((part, scores.probe_subject[part] == scores.reference_subject[part]) for part in parts)
    mated = np.concatenate([scores.score[part][mask] for part, mask in masks] or [scores.score[:0]])
    non_mated = np.empty(len(scores) - len(mated), scores.score.dtype)
    done = 0
    for part in parts:
        chosen = scores.score[part][scores.probe_subject[part] != scores.reference_subject[part]]
        non_mated[done : done + len(chosen)] = chosen
        done += len(chosen)
    return mated, non_mated


def pooled(parts: Sequence[Scores]) -> Scores:
    """Return the scores of several data sets as one; subjects of different data sets are different subjects."""
    offset = 0
    probe, reference = [], []
    for part in parts:
        probe.append(part.probe_subject.astype(np.int32) + offset)
        reference.append(part.reference_subject.astype(np.int32) + offset)
        offset = int(max(probe[-1].max(initial=offset - 1), reference[-1].max(initial=offset - 1))) + 1
    return Scores(
        np.concatenate([part.score for part in parts]), np.concatenate(probe), np.concatenate(reference)
    )


def check_scores(name: str, score: npt.NDArray[np.floating[Any]]) -> None:
    """Raise ValueError unless ``score`` is (n,) float32 or float64, each finite or :data:`FAILED`.

    Args:
        name: name of the scores, for the message.
        score: the scores to check.
    """
    if score.ndim != 1 or score.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} is {score.dtype} of shape {score.shape}; expected (n,) float32 or float64")
    # The maximum is NaN if any score is NaN. It takes one pass and no mask in memory.
    if len(score) and not score.max() < np.inf:
        first = int(np.flatnonzero(~(score < np.inf))[0])
        raise ValueError(
            f"{name} {first} is {score[first]}; expected a finite score, or -inf for a failed comparison"
        )
