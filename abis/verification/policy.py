# SPDX-License-Identifier: Apache-2.0
"""Requirements of a verification beside the score: assurance level, kinds of evidence, liveness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from abis.errors import check_integer
from abis.scoring.fusion import Evidence
from abis.scoring.thresholds import check_rate
from abis.template import Position

__all__ = ["Policy"]


@dataclass(frozen=True)
class Policy:
    """The requirements that a verification must meet to be a match.

    For a bank transfer above a limit, for example: ``Policy(level=2, fmr=1e-6, face_fmr=1e-6, liveness=True)``.

    Attributes:
        fmr: false match rate of the decision by all evidence together; above 0, at most 1.
        level: lowest assurance level of the subject, 0 to 9.
        face_fmr: false match rate that the face must reach by itself; None requires no face.
        fingers: least number of fingers with evidence, 0 to 10.
        liveness: require the verdict of a presentation attack detection (ISO/IEC 30107), which other software makes.
            A verdict of *failed* is refused under every policy.
    """

    fmr: float = 1e-6
    level: int = 0
    face_fmr: float | None = None
    fingers: int = 0
    liveness: bool = False

    def __post_init__(self) -> None:
        check_rate("fmr", self.fmr)
        if self.face_fmr is not None:
            check_rate("face_fmr", self.face_fmr)
        check_integer("level", self.level, 0, 9)
        check_integer("fingers", self.fingers, 0, 10)

    def unmet_before(self, *, level: int, liveness: bool | None) -> str:
        """The first requirement that is not met before the comparison, in words; empty if all are met."""
        if level < self.level:
            return f"assurance level {level}, expected {self.level} or more"
        if liveness is False:
            return "liveness verdict not passed"
        if self.liveness and liveness is None:
            return "no liveness verdict"
        return ""

    def unmet_by(self, evidence: Sequence[Evidence], face_threshold: float) -> str:
        """The first requirement that the evidence does not meet, in words; empty if all are met.

        Args:
            evidence: of each position.
            face_threshold: score that the face alone must reach, if a face is required.
        """
        fingers = sum(e.position.is_finger for e in evidence)
        if fingers < self.fingers:
            return f"evidence of {fingers} fingers, expected {self.fingers} or more"
        if self.face_fmr is not None:
            faces = [e.score for e in evidence if e.position == Position.FACE]
            if not faces:
                return "no evidence of a face"
            if max(faces) < face_threshold:
                return "the face alone does not reach its threshold"
        return ""
