# SPDX-License-Identifier: Apache-2.0
"""A new modality takes classes of its own, a position and one row: this file adds gaits, as the docs say."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pytest
from numpy.typing import NDArray

import abis
from abis.comparison.comparators import Comparator, Compare
from abis.deduplication.looks import Looks, Rows, Side
from abis.errors import TemplateError
from abis.evaluation import evaluate_folder
from abis.formats import native
from abis.formats._cursor import Cursor
from abis.scoring.calibration import Calibration, shipped
from abis.template import Position, modality
from abis.template.modality import Modality

_HEADER = struct.Struct(">BB")  # position, strides
_CONTENT = 200


@dataclass(frozen=True, eq=False)
class Gait:
    """The lengths of some strides."""

    strides: NDArray[np.int8]
    position: Position

    def __post_init__(self) -> None:
        if not 1 <= len(self.strides) <= 255:
            raise TemplateError(f"{len(self.strides)} strides; expected 1 to 255")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gait) and self.strides.tobytes() == other.strides.tobytes()

    def __hash__(self) -> int:
        return hash(self.strides.tobytes())


def read_gait(cursor: Cursor, _: int) -> Any:
    position, count = _HEADER.unpack(cursor.take(_HEADER.size, "header"))
    strides = np.frombuffer(cursor.take(count, "strides"), np.int8)
    cursor.end()
    return Gait(strides, Position(position))


def write_gait(gait: Gait) -> bytes:
    return bytes([_CONTENT]) + _HEADER.pack(gait.position, len(gait.strides)) + gait.strides.tobytes()


def alike(first: NDArray[np.int8], second: NDArray[np.int8]) -> NDArray[np.float32]:
    """Cosines of rows."""
    one, other = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.asarray((one * other).sum(axis=-1) / lengths, np.float32)


def rows_of(gaits: Sequence[Gait]) -> NDArray[np.int8]:
    return np.array([gait.strides for gait in gaits])


def packed(references: Sequence[Gait]) -> Compare:
    rows = rows_of(references)
    return lambda probe, slots, _: alike(probe.strides, rows if slots is None else rows[slots])


class GaitProbe(NamedTuple):
    template: Gait

    def evidence_of(self, similarities: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(np.log(10) * shipped("embedding").llr(similarities), np.float32)


class GaitIndex:
    tells_nearest: ClassVar[bool] = True

    def __init__(self, rows: NDArray[np.int8]) -> None:
        self.rows = rows

    @classmethod
    def of(cls, templates: Sequence[Gait]) -> Self:
        return cls(rows_of(templates))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        return cls(np.concatenate([part.rows[slots] for part, slots in parts]))

    @staticmethod
    def ready(template: Gait, _: Calibration) -> GaitProbe:
        return GaitProbe(template)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def memory_bytes(self) -> int:
        return self.rows.nbytes

    def nearest(self, probe: GaitProbe, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        scores = self.compare(probe).astype(np.float64)
        slots = np.argsort(-scores, kind="stable")[:count]
        return scores[slots], slots

    def sift(self, probe: GaitProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.refine(probe, slots)

    def refine(self, probe: GaitProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        return probe.evidence_of(self.compare(probe, slots))

    def compare(self, probe: GaitProbe, slots: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        return alike(probe.template.strides, self.rows if slots is None else self.rows[slots])

    def balance(self, probe: Gait, slots: NDArray[np.int64]) -> None:
        return None

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"rows": self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(arrays["rows"])


class GaitLooks(Looks):
    def raw(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibration: Calibration
    ) -> tuple[NDArray[np.float32], None]:
        return alike(probe.arrays["rows"][first], reference.arrays["rows"][second]), None


@pytest.fixture(autouse=True)
def gait(monkeypatch: pytest.MonkeyPatch) -> Position:
    """The position and the row, for one test."""
    position = int.__new__(Position, 127)  # a line of the enumeration, in a real modality
    position._name_, position._value_ = "GAIT", 127
    monkeypatch.setitem(Position._value2member_map_, 127, position)
    monkeypatch.setitem(Position._member_map_, "GAIT", position)
    row = Modality(
        name="gait",
        template=Gait,  # type: ignore[arg-type]
        positions=(position,),
        calibration="gait",
        example=lambda: person(0, 0, position),
        model=lambda template: ("", len(template.strides)),
        quality=lambda template: None,
        stored_form=lambda: native.StoredForm((_CONTENT,), read_gait, write_gait),
        comparator=lambda: Comparator(
            packed, lambda probes, references, _: alike(rows_of(probes), rows_of(references))
        ),
        uncalibrated=lambda _: replace(shipped("embedding"), kind="gait"),
        index=lambda: GaitIndex,
        looks=GaitLooks,
    )
    monkeypatch.setattr(modality, "MODALITIES", (*modality.MODALITIES, row))
    return position


def person(number: int, capture: int, position: Position) -> Any:
    strides = np.random.default_rng(number).normal(0, 40, 60)
    strides += np.random.default_rng([number, capture]).normal(0, 8, 60)
    return Gait(np.clip(strides, -127, 127).astype(np.int8), position)


def test_a_gallery_enrolls_finds_verifies_and_keeps(gait: Position, tmp_path: Path) -> None:
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        for number in range(40):
            gallery.enroll(f"person {number}", [person(number, 0, gait)])
        found = gallery.identify([person(7, 1, gait)])
        assert found[0].subject_id == "person 7"
        assert found[0].evidence[0].position.name == "GAIT"
        assert gallery.verify([person(7, 1, gait)], "person 7", fmr=0.5).score == found[0].score
        assert gallery.verify([person(7, 1, gait)], "person 8", fmr=0.5).score < 0
        assert [t for _, t in gallery.export_subject("person 7").templates] == [person(7, 0, gait)]
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        again = gallery.identify([person(7, 1, gait)])
        assert [(c.subject_id, c.score) for c in again] == [(c.subject_id, c.score) for c in found]


def test_it_adds_to_other_evidence(gait: Position, tmp_path: Path) -> None:
    face = abis.Embedding(vector=np.random.default_rng(0).standard_normal(64), model="made-up")
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        gallery.enroll("a", [person(1, 0, gait), face])
        both = gallery.verify([person(1, 1, gait), face], "a", fmr=0.5)
        alone = [gallery.verify([one], "a", fmr=0.5).score for one in (person(1, 1, gait), face)]
    assert both.score == pytest.approx(sum(alone))


@pytest.mark.parametrize("exact", [True, False])
def test_duplicates_are_found(gait: Position, tmp_path: Path, *, exact: bool) -> None:
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        for number in range(30):
            gallery.enroll(f"person {number}", [person(number, 0, gait)])
        gallery.enroll("again", [person(3, 1, gait)])
        found = gallery.deduplicate(fpir=0.01, exact=exact)
    assert [{pair.subject_id, pair.other_id} for pair in found.pairs] == [{"again", "person 3"}]


def test_a_folder_is_evaluated(gait: Position, tmp_path: Path) -> None:
    for number in range(12):
        for capture in range(3):
            file = tmp_path / f"{number:03}_{capture}.abis"
            file.write_bytes(native.write(person(number, capture, gait)))
    found = evaluate_folder(tmp_path)
    assert found.all_against_all.eer.value < 0.05


def test_templates_of_different_shapes_are_not_compared(gait: Position) -> None:
    short: Any = Gait(np.arange(9, dtype=np.int8), gait)
    with pytest.raises(TemplateError, match="shape 60-d"):
        abis.compare(short, [person(1, 0, gait)])
    assert abis.compare(short, [short])[0] > 0
