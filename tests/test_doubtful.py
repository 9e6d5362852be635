# SPDX-License-Identifier: Apache-2.0
"""Templates of two fingers, and embeddings made to match many people, are distinguished from others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from people import face

import abis
from abis.formats import native
from abis.gallery import Gallery
from abis.store import Enrollment
from abis.template import Embedding, Minutiae
from abis.template.superposition import coherence, superimposed
from abis.transfer.sources import open_path


def finger(flow: float, seed: int = 0, n: int = 45, extractor: str = "") -> Minutiae:
    """A finger whose ridges run in one direction, with some noise, either way along."""
    dice = np.random.default_rng(seed)
    direction = flow + dice.normal(0, 10, n) + 180 * dice.integers(0, 2, n)
    return Minutiae(
        x=dice.integers(40, 260, n),
        y=dice.integers(40, 360, n),
        direction=np.float32(np.rint(direction / 2) * 2 % 360),
        width=300,
        height=400,
        extractor=extractor,
    )


def union(one: Minutiae, other: Minutiae) -> Minutiae:
    return Minutiae(
        x=np.concatenate([one.x, other.x]),
        y=np.concatenate([one.y, other.y]),
        direction=np.concatenate([one.direction, other.direction]),
        width=300,
        height=400,
        extractor=one.extractor,
    )


@pytest.mark.parametrize("extractor", ["", "leader-0.1"])
def test_two_fingers_in_one_template_are_told(extractor: str) -> None:
    one, other, alike = (
        finger(flow, seed, extractor=extractor) for flow, seed in ((20, 1), (110, 2), (20, 3))
    )
    assert superimposed(one) == superimposed(union(one, alike)) == ""
    assert "probably of two fingers" in superimposed(union(one, other))
    assert coherence(union(one, alike)) > coherence(union(one, other)) + 0.5


def test_coherence_does_not_depend_on_place_turn_resolution_or_way_along() -> None:
    one = union(finger(20, 1), finger(110, 2))
    turned = Minutiae(x=one.y, y=299 - one.x, direction=(one.direction + 90) % 360, width=400, height=300)
    fine = Minutiae(
        x=one.x * 2,
        y=one.y * 2,
        direction=(one.direction + 180) % 360,
        width=600,
        height=800,
        resolution=(394, 394),
    )
    assert coherence(turned) == pytest.approx(coherence(one))
    assert coherence(fine) == pytest.approx(coherence(one))
    assert coherence(finger(0, n=0)) == coherence(finger(0, n=1)) == 1.0


def test_at_most_one_real_print_in_a_thousand_is_doubtful(data: Path) -> None:
    files = [
        path for name in ("leader", "fingerjetfx") for path in (data / "fingerprints" / name).glob("*/*.fmr")
    ]
    assert len(files) > 1_000
    doubtful = sum(
        bool(superimposed(t)) for path in files for t in abis.read(path.read_bytes(), lenient=True)
    )
    assert doubtful <= len(files) / 1_000


def test_the_log_and_the_report_of_an_import_tell(tmp_path: Path) -> None:
    both = union(finger(20, 1), finger(110, 2))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b_1.abis").write_bytes(native.write(both))
    (tmp_path / "in" / "c_1.abis").write_bytes(native.write(finger(20, 1)))
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.enroll("a", [both])
        gallery.replace("a", [both])
        report = gallery.import_records(open_path(tmp_path / "in"))
        told = [entry.outcome for entry in gallery.audit_log() if "doubtful" in entry.outcome]
    assert len(told) == 3
    assert all("probably of two fingers" in outcome for outcome in told)
    (repair,) = report.repairs
    assert "b_1.abis: 90 minutiae" in repair
    assert report.enrolled == 2


def test_a_face_that_was_made_to_match_many_is_told(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    mean = dice.normal(size=64) / 8
    people = 0.15 * mean + dice.normal(size=(1_500, 64)) / 8

    def embedding(vector: np.ndarray) -> Embedding:
        return Embedding(vector=vector, model="test")

    with Gallery.open(tmp_path) as gallery:
        gallery.enroll_many(Enrollment(str(n), [embedding(vector)]) for n, vector in enumerate(people[:999]))
        assert gallery.unusual([embedding(mean)]) == [], "too few to say"
        gallery.enroll_many(Enrollment(f"more {n}", [embedding(v)]) for n, v in enumerate(people[999:1_400]))
        assert gallery.unusual([embedding(vector) for vector in people[1_400:]]) == []
        assert gallery.unusual([embedding(people[0])]) == [], (
            "an enrolled face is not unusual for its own reference"
        )
        (words,) = gallery.unusual([finger(20), face(1), embedding(mean + 0.02 * people[0])])
        assert "FACE embedding resembles unusually many subjects" in words
