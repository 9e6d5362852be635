# SPDX-License-Identifier: Apache-2.0
"""A population of numbered subjects; the templates of a subject depend only on the seed and its number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abis.synthetic.face import MODEL, make_faces
from abis.synthetic.finger import make_fingers
from abis.synthetic.impression import SENSOR_HEIGHT, SENSOR_WIDTH, make_impressions
from abis.synthetic.iris import COLUMNS, PLANES, ROWS, IrisColumns, make_irises
from abis.template import Embedding, IrisCode, Minutiae, Position, Template

__all__ = ["MinutiaeColumns", "Population"]

EXTRACTOR = "leader-0.1"
"""The extractor whose templates the fingers resemble and whose calibration their scores get: EXTRACTOR of
abis.extraction.fingers."""

_BLOCK = 1024  # subjects made at a time: some 6 MB a finger, and the kernels' start costs nothing


@dataclass(frozen=True, eq=False)
class MinutiaeColumns:
    """Finger templates of n subjects as plain arrays; the minutiae of row i are ``[i, : counts[i]]``.

    Attributes:
        position: the finger.
        counts: (n,) int64, each at most 128.
        x: (n, 128) uint16, pixels from the left, 500 dpi.
        y: (n, 128) uint16, pixels from the top, 500 dpi.
        direction: (n, 128) float32, degrees in [0, 360).
        kind: (n, 128) uint8, codes of MinutiaKind.
        quality: (n, 128) uint8, confidence in percent, 10 to 98.
    """

    position: Position
    counts: npt.NDArray[np.int64]
    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    direction: npt.NDArray[np.float32]
    kind: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.counts)

    def template(self, row: int) -> Minutiae:
        """One row as a template, checked as any other."""
        n = int(self.counts[row])
        quality = self.quality[row, :n]
        return Minutiae(
            x=self.x[row, :n],
            y=self.y[row, :n],
            direction=self.direction[row, :n],
            kind=self.kind[row, :n],
            quality=quality,
            width=SENSOR_WIDTH,
            height=SENSOR_HEIGHT,
            position=self.position,
            finger_quality=int(quality.sum()) // n if n else 0,
            extractor=EXTRACTOR,
        )


@dataclass(frozen=True)
class Population:
    """Subjects numbered from 0, as many as you like, with fingers, a face and irises each.

    What subject, position and impression number give depends on the seed alone: not on the size of the
    population, the order of asking, the other positions, the process or the thread. Impression 0 is meant
    for the enrolment, 1 and up for probes. Templates are not real ones: docs/synthetic.md says how far
    from it.

    Attributes:
        seed: 0 to 2**63 - 1.
        fingers: positions each subject has, none of them UNKNOWN_FINGER.
        face: whether each subject has a face.
        eyes: positions of the irises each subject has, none of them UNKNOWN_EYE; none by default.

    >>> population = Population(seed=7)
    >>> [template.position.name for template in population.templates(123_456_789)]
    ['RIGHT_INDEX', 'LEFT_INDEX', 'FACE']
    >>> population.templates(5, impression=2) == population.templates(5, impression=2)
    True
    """

    seed: int = 0
    fingers: tuple[Position, ...] = (Position.RIGHT_INDEX, Position.LEFT_INDEX)
    face: bool = True
    eyes: tuple[Position, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; expected 0 to 2**63 - 1")
        for position in self.fingers:
            if not Position(position).is_finger or position == Position.UNKNOWN_FINGER:
                raise ValueError(f"{Position(position).name} is not one of the ten fingers")
        for position in self.eyes:
            if not Position(position).is_eye or position == Position.UNKNOWN_EYE:
                raise ValueError(f"{Position(position).name} is not one of the two eyes")

    def subject_id(self, subject: int) -> str:
        """The subject's name in a gallery: 12 digits, as the identity numbers of many countries.

        >>> Population().subject_id(42)
        '000000000042'
        """
        return f"{subject:012d}"

    def templates(self, subject: int, impression: int = 0) -> tuple[Template, ...]:
        """One subject's fingers, in the order of ``fingers``, face and irises: about 0.3 ms."""
        ((_, templates),) = self.encounters([subject], impression)
        return templates

    def encounters(
        self, subjects: Sequence[int], impression: int = 0
    ) -> Iterator[tuple[str, tuple[Template, ...]]]:
        """Subject ids and templates of many subjects, in order; made in blocks as they are asked for."""
        for start in range(0, len(subjects), _BLOCK):
            block = subjects[start : start + _BLOCK]
            fingers = [self.finger_columns(block, position, impression) for position in self.fingers]
            vectors = self.face_vectors(block, impression) if self.face else None
            irises = [self.iris_columns(block, position, impression) for position in self.eyes]
            for row, subject in enumerate(block):
                templates: list[Template] = [columns.template(row) for columns in fingers]
                if vectors is not None:
                    face = Embedding(vector=vectors[row], model=MODEL, position=Position.FACE)
                    templates.append(face)
                templates += [
                    IrisCode.of_packed(
                        bits=columns.bits[row],
                        mask=columns.mask[row],
                        shape=(ROWS, COLUMNS, PLANES),
                        model=MODEL,
                        position=position,
                    )
                    for columns, position in zip(irises, self.eyes, strict=True)
                ]
                yield self.subject_id(subject), tuple(templates)

    def finger_columns(
        self, subjects: Sequence[int], position: Position, impression: int = 0
    ) -> MinutiaeColumns:
        """One impression of a finger of each subject as plain arrays: the quick way to millions."""
        numbers = _numbers(subjects, impression)
        code = int(position)
        fingers = make_fingers(self.seed, numbers, code)
        return MinutiaeColumns(
            Position(position), *make_impressions(fingers, self.seed, numbers, code, impression)
        )

    def face_vectors(self, subjects: Sequence[int], impression: int = 0) -> npt.NDArray[np.float16]:
        """One impression of the face of each subject: (n, 512) float16, of unit length before rounding."""
        vectors = make_faces(self.seed, _numbers(subjects, impression), impression)
        units: npt.NDArray[np.float16] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
            np.float16
        )
        return units

    def iris_columns(self, subjects: Sequence[int], position: Position, impression: int = 0) -> IrisColumns:
        """One impression of an iris of each subject as plain arrays."""
        return make_irises(self.seed, _numbers(subjects, impression), int(position), impression)


def _numbers(subjects: Sequence[int], impression: int) -> npt.NDArray[np.int64]:
    numbers = np.asarray(subjects, np.int64)
    if len(numbers) and numbers.min() < 0:
        raise ValueError(f"subject is {numbers.min()}; expected 0 and up")
    if impression < 0:
        raise ValueError(f"impression is {impression}; expected 0 and up")
    return numbers
