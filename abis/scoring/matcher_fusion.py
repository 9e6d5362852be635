# SPDX-License-Identifier: Apache-2.0
"""Scores of several matchers of one comparison become one: a fusion that was learnt from scores of known truth.

A gallery needs none of this: it fuses by :mod:`abis.scoring.fusion`. This is for scores from elsewhere, and for
matchers that look at the same sample, whose evidence does not simply add.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError

__all__ = ["FAILED_SCORE", "QualityWeight", "ScoreFusion", "ScoreInput"]

FAILED_SCORE = -1.0
"""What many matchers write where a sample failed; taken as missing where no other score is negative."""

_FORMAT = "abis fusion"
_VERSION = 2
_READ_VERSIONS = (1, 2)
"""Version 1 knew nothing of qualities."""


@dataclass(frozen=True)
class QualityWeight:
    """How a matcher's weight depends on the quality of what it compared.

    Attributes:
        name: of the quality, as a column of a score file.
        slope: added to the weight for a unit of quality above ``middle``.
        middle: the quality at which the weight is what it is without.
        low, high: qualities beyond are taken as these: no more was seen.

    Raises:
        ValueError: where these are not finite or not in order.
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
        """(n,) 0 where there is none."""
        quality = np.asarray(quality, dtype=np.float64)
        return np.where(np.isnan(quality), 0.0, np.clip(quality, self.low, self.high) - self.middle)


@dataclass(frozen=True)
class ScoreInput:
    """What one matcher's scores are worth.

    Attributes:
        name: of the matcher.
        raw: (k,) ascending scores at which the curve has its knots.
        llr: (k,) log10 likelihood ratios there, which do not fall; straight between, level beyond.
        weight: what its evidence counts beside the others'; 1 where it is independent of them.
        missing: what it says where there is no score; 0 is nothing.
        quality: how the weight depends on quality; None where it does not.

    Raises:
        ValueError: where the knots break these rules.
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
                f"{self.name}: knots are {len(raw)} and {len(llr)} numbers; expected as many, finite"
            )
        if not ((np.diff(raw) > 0).all() and (np.diff(llr) >= 0).all()):
            raise ValueError(f"{self.name}: knots do not ascend")
        if not (self.weight >= 0 and math.isfinite(self.weight) and math.isfinite(self.missing)):
            raise ValueError(
                f"{self.name}: weight is {self.weight}, missing {self.missing}; expected 0 or more, finite"
            )

    def evidence(self, raw: npt.ArrayLike, quality: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """What scores add to the fused one, any shape; NaN is a missing score, or a quality that nobody knows."""
        raw = np.asarray(raw, dtype=np.float64)
        weight: Any = self.weight
        if self.quality is not None and quality is not None:
            weight = np.maximum(0, weight + self.quality.slope * self.quality.above_middle(quality))
        return np.where(np.isnan(raw), self.missing, weight * np.interp(raw, self.raw, self.llr))


@dataclass(frozen=True)
class ScoreFusion:
    """The fused score is the sum of what its inputs say; no score never counts as a low one.

    Attributes:
        method: that it was learnt by, as :func:`abis.evaluation.learn_fusion` calls it.
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
            scores: by matcher, (n,) scores each, NaN where there is none; a matcher may be left out as a whole.
            qualities: by matcher, (n,) of what it compared, NaN where nobody knows; any may be left out.

        Returns:
            (n,) log10 likelihood ratios; NaN where no matcher has a score.

        Raises:
            ValueError: where scores are of a matcher that this fusion has not seen.
        """
        unknown = scores.keys() - {one.name for one in self.inputs}
        if unknown:
            known = ", ".join(one.name for one in self.inputs)
            raise ValueError(f"no scores of {', '.join(sorted(unknown))} were learnt from; expected {known}")
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
        """The fusion as JSON text; :meth:`from_json` reads it back."""
        return json.dumps({"format": _FORMAT, "version": _VERSION} | asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            FormatError: saying what is wrong with it.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            if content.pop("format") != _FORMAT or content.pop("version") not in _READ_VERSIONS:
                raise FormatError(f"no fusion of version {' or '.join(map(str, _READ_VERSIONS))}")
            inputs = tuple(_input(one) for one in content.pop("inputs"))
            return cls(inputs=inputs, **content)
        except FormatError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FormatError(f"no fusion: {error}") from error

    def save(self, path: Path) -> None:
        """Write :meth:`to_json` to a file."""
        path.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by :meth:`save`; raises as :meth:`from_json`, naming the file."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (FormatError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: {error}") from error

    def names(self) -> Sequence[str]:
        """Of its matchers."""
        return [one.name for one in self.inputs]


def _input(content: dict[str, Any]) -> ScoreInput:
    quality = content.get("quality")
    return ScoreInput(
        **content
        | {"raw": tuple(content["raw"]), "llr": tuple(content["llr"])}
        | {"quality": None if quality is None else QualityWeight(**quality)}
    )
