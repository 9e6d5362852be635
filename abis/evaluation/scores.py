# SPDX-License-Identifier: Apache-2.0
"""The scores of many comparisons, and whose templates were compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FAILED", "Scores", "check_scores", "pooled", "separate"]

FAILED = -np.inf
"""The score of a comparison that could not be made: a non-match at every threshold."""


_PART = 1 << 20


@dataclass(frozen=True, eq=False)
class Scores:
    """One score per comparison, and the subjects on both sides; mated where they are the same.

    What counts as a subject is what one holds to be independent: a finger in the FVC sets, where nobody
    says which fingers are of one person; a person where that is known.

    Attributes:
        score: (n,) float32 or float64, larger = more alike; :data:`FAILED` where there is none.
        probe_subject: (n,) integers from 0 up.
        reference_subject: (n,) integers from 0 up, in the same numbering.

    Raises:
        ValueError: where the shapes or dtypes differ from these, or a score is NaN or plus infinity.
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
                raise ValueError(f"{name} holds {subject.min()}; subjects are numbered from 0")

    def __len__(self) -> int:
        return len(self.score)

    @property
    def mated(self) -> npt.NDArray[np.bool_]:
        """(n,) True where both templates are of one subject."""
        return np.asarray(self.probe_subject == self.reference_subject)

    def select(self, where: npt.NDArray[np.bool_]) -> Scores:
        """The comparisons where ``where``, an (n,) mask, is True."""
        return Scores(self.score[where], self.probe_subject[where], self.reference_subject[where])


def separate(scores: Scores) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]:
    """The mated and the non-mated scores, a copy of each in their order; in parts, for memory's sake."""
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
    """The scores of several data sets together; subjects of different sets are different subjects."""
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
    """Refuse what is not (n,) float32 or float64 scores, each finite or :data:`FAILED`."""
    if score.ndim != 1 or score.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} is {score.dtype} of shape {score.shape}; expected (n,) float32 or float64")
    # The maximum is NaN where any score is: one pass, and no mask as long as the scores.
    if len(score) and not score.max() < np.inf:
        first = int(np.flatnonzero(~(score < np.inf))[0])
        raise ValueError(
            f"{name} {first} is {score[first]}; expected a finite score, or -inf where there is none"
        )
