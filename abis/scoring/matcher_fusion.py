# SPDX-License-Identifier: Apache-2.0
"""Fuse the scores of several matchers by a fusion that was learnt from scores with known truth.

A gallery does not use this module: it fuses by :mod:`abis.scoring.fusion`. This module is for scores of other
software, and for matchers that compare the same sample, whose evidence does not simply add.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from abis.errors import FormatError
from abis.scoring.json_file import JsonFile, decode, encode

__all__ = ["FAILED_SCORE", "QualityWeight", "ScoreFusion", "ScoreInput"]

FAILED_SCORE = -1.0
"""The score that many matchers write if a sample failed; a missing score if no other score is negative."""

_FORMAT = "abis fusion"


@dataclass(frozen=True)
class QualityWeight:
    """How a matcher's weight depends on the quality of what it compared.

    Attributes:
        name: name of the quality, a column of a score file.
        slope: added to the weight for each unit of quality above ``middle``.
        middle: quality at which the weight is unchanged.
        low, high: range of the qualities learnt from; others are clipped to it.

    Raises:
        ValueError: a number is not finite, or low, middle and high do not ascend.
    """

    name: str
    slope: float
    middle: float
    low: float
    high: float

    def __post_init__(self) -> None:
        numbers = (self.slope, self.middle, self.low, self.high)
        if not (all(map(math.isfinite, numbers)) and self.low <= self.middle <= self.high):
            raise ValueError(
                f"quality {self.name}: slope, middle, low, high are {numbers}; expected low <= middle <= high"
            )

    def above_middle(self, quality: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(n,) quality above ``middle``, clipped; 0 for NaN."""
        quality = np.asarray(quality, dtype=np.float64)
        return np.where(np.isnan(quality), 0.0, np.clip(quality, self.low, self.high) - self.middle)


@dataclass(frozen=True)
class ScoreInput:
    """The evidence in one matcher's scores.

    Attributes:
        name: name of the matcher.
        raw: (k,) ascending scores, the knots of the curve.
        llr: (k,) log10 likelihood ratios at the knots, not falling; linear between knots, constant beyond.
        weight: factor of the evidence; 1 if it is independent of the other matchers.
        missing: log10 likelihood ratio of a missing score; 0 is no evidence.
        quality: how the weight depends on quality; None if it does not.

    Raises:
        ValueError: the knots break these rules.
    """

    name: str
    raw: tuple[float, ...]
    llr: tuple[float, ...]
    weight: float
    missing: float
    quality: QualityWeight | None = None

    def __post_init__(self) -> None:
        raw, llr = np.array(self.raw, np.float64), np.array(self.llr, np.float64)
        if not (len(raw) == len(llr) > 1 and np.isfinite([raw, llr]).all()):
            raise ValueError(
                f"{self.name}: knots are {len(raw)} and {len(llr)} numbers; expected equal counts above 1, all finite"
            )
        if not ((np.diff(raw) > 0).all() and (np.diff(llr) >= 0).all()):
            raise ValueError(f"{self.name}: knots do not ascend")
        if not (self.weight >= 0 and math.isfinite(self.weight) and math.isfinite(self.missing)):
            raise ValueError(
                f"{self.name}: weight is {self.weight}, missing {self.missing}; expected 0 or more, finite"
            )

    def evidence(self, raw: npt.ArrayLike, quality: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """Return what scores add to the fused score.

        Args:
            raw: scores of any shape; NaN is a missing score.
            quality: qualities of the shape of ``raw``; NaN is an unknown quality. None: all are unknown.

        Returns:
            float64 log10 likelihood ratios of the shape of ``raw``, weighted.
        """
        raw = np.asarray(raw, dtype=np.float64)
        weight: Any = self.weight
        if self.quality is not None and quality is not None:
            weight = np.maximum(0, weight + self.quality.slope * self.quality.above_middle(quality))
        return np.where(np.isnan(raw), self.missing, weight * np.interp(raw, self.raw, self.llr))


@dataclass(frozen=True)
class ScoreFusion(JsonFile):
    """The fused score is the sum of its inputs' evidence; a missing score never counts as a low score.

    Attributes:
        method: name of the method that learnt the fusion; see :func:`abis.evaluation.learn_fusion`.
        inputs: one for each matcher.
        offset: added to the sum.
    """

    method: str
    inputs: tuple[ScoreInput, ...]
    offset: float

    def __call__(
        self, scores: Mapping[str, npt.ArrayLike], qualities: Mapping[str, npt.ArrayLike] | None = None
    ) -> npt.NDArray[np.float64]:
        """Fuse the scores of n comparisons.

        Args:
            scores: (n,) scores by matcher, NaN for a missing score; matchers may be left out.
            qualities: (n,) qualities by matcher, NaN if unknown; matchers may be left out.

        Returns:
            (n,) log10 likelihood ratios; NaN if no matcher has a score.

        Raises:
            ValueError: scores are of a matcher that the fusion was not learnt from.
        """
        unknown = scores.keys() - {one.name for one in self.inputs}
        if unknown:
            known = ", ".join(one.name for one in self.inputs)
            raise ValueError(
                f"the fusion was not learnt from scores of {', '.join(sorted(unknown))}; expected {known}"
            )
        if not scores:
            raise ValueError("no scores to fuse")
        count = len(np.asarray(next(iter(scores.values()))))
        total, present = np.full(count, self.offset), np.zeros(count, np.bool_)
        for one in self.inputs:
            raw = np.asarray(scores.get(one.name, np.full(count, np.nan)), dtype=np.float64)
            total += one.evidence(raw, (qualities or {}).get(one.name))
            present |= ~np.isnan(raw)
        return np.where(present, total, np.nan)

    def to_json(self) -> str:
        """Return the fusion as JSON text; :meth:`from_json` restores it without loss."""
        inputs = msgspec.convert([asdict(one) for one in self.inputs], tuple[_Input, ...])
        return encode(_FusionFile(_FORMAT, 2, self.method, inputs, self.offset))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a fusion from the JSON text of :meth:`to_json`.

        Args:
            text: JSON text of version 1, which has no qualities, or 2 of the format.

        Raises:
            FormatError: the text is not a fusion; the message states the field.
        """
        document = decode(text, _FORMAT, {1: _FusionFile, 2: _FusionFile}, command="abis fuse")
        try:
            return cls(document.method, tuple(_input(one) for one in document.inputs), document.offset)
        except ValueError as error:
            raise FormatError(f"fusion: {error}; expected the output of `abis fuse`") from error

    def names(self) -> Sequence[str]:
        """Names of the matchers."""
        return [one.name for one in self.inputs]


class _Quality(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of :class:`QualityWeight`."""

    name: str
    slope: float
    middle: float
    low: float
    high: float


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of :class:`ScoreInput`."""

    name: str
    raw: tuple[float, ...]
    llr: tuple[float, ...]
    weight: float
    missing: float
    quality: _Quality | None = None


class _FusionFile(msgspec.Struct, forbid_unknown_fields=True):
    """The file of a fusion."""

    format: str
    version: int
    method: str
    inputs: tuple[_Input, ...]
    offset: float


def _input(stored: _Input) -> ScoreInput:
    quality = None if stored.quality is None else QualityWeight(**msgspec.structs.asdict(stored.quality))
    return ScoreInput(**msgspec.structs.asdict(stored) | {"quality": quality})
