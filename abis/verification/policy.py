# SPDX-License-Identifier: Apache-2.0
"""What a decision needs beside a score: an assurance level, certain evidence, a living person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from abis.scoring.fusion import Evidence
from abis.scoring.thresholds import threshold_for_fmr
from abis.template import Position

__all__ = ["Policy"]


@dataclass(frozen=True)
class Policy:
    """What is asked for before a verification may be a match.

    A transfer above a limit: ``Policy(level=2, fmr=1e-6, face_fmr=1e-6, liveness=True)``.

    Attributes:
        fmr: false match rate to decide at, by all evidence together; above 0, at most 1.
        level: assurance level the subject must have at least, 0 to 9.
        face_fmr: false match rate that the face must reach by itself; None: no face is asked for.
        fingers: how many fingers there must be evidence of.
        liveness: whether the caller must hand in the verdict of a presentation attack detection (ISO/IEC 30107).
            A verdict of *failed* is refused under every policy. Detection itself is not this engine's.
    """

    fmr: float = 1e-6
    level: int = 0
    face_fmr: float | None = None
    fingers: int = 0
    liveness: bool = False

    def __post_init__(self) -> None:
        threshold_for_fmr(self.fmr, [])
        if self.face_fmr is not None:
            threshold_for_fmr(self.face_fmr, [])
        if not 0 <= self.level <= 9:
            raise ValueError(f"level is {self.level}; expected 0 to 9")
        if not 0 <= self.fingers <= 10:
            raise ValueError(f"fingers is {self.fingers}; expected 0 to 10")

    def unmet_before(self, *, level: int, liveness: bool | None) -> str:
        """What is missing before anything is compared, in words; empty where nothing is."""
        if level < self.level:
            return f"assurance level {level}, expected {self.level} or more"
        if (
            liveness is False
        ):  # whatever the policy asks for: somebody measured it, and it is against the claim
            return "liveness verdict not passed"
        if self.liveness and liveness is None:
            return "no liveness verdict"
        return ""

    def unmet_by(self, evidence: Sequence[Evidence], face_threshold: float) -> str:
        """What the evidence lacks, in words; empty where nothing is.

        Args:
            evidence: by position.
            face_threshold: that the face alone must reach, where one is asked for.
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
