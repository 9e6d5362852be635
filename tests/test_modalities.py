# SPDX-License-Identifier: Apache-2.0
"""What a gallery does, with templates of each modality alone and of all of them together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eyes import code
from format_records import cbeff

import abis
from abis.comparison import raw_scores
from abis.comparison.dna import DnaModel
from abis.comparison.kind import Kind
from abis.deduplication.pairing import Criterion, find_pairs
from abis.deduplication.tiles import Tile
from abis.formats import native
from abis.formats._native_many import read_many
from abis.gallery.internals import Internals
from abis.index.segments import Entry, Segment
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import Calibrations, shipped
from abis.scoring.dna import DnaCalibration
from abis.synthetic import Population
from abis.synthetic.dna import draw_profiles, made_up_frequencies
from abis.template import Embedding, Position, StrProfile, Template
from abis.template.modality import MODALITIES, modality_at, modality_of
from abis.transfer.sources import open_path

Make = Callable[[int, int], list[Template]]
"""The templates of a person, of a capture."""

PEOPLE = Population(seed=1, fingers=(Position.RIGHT_INDEX,))


def fingers_and_face(person: int, capture: int) -> list[Template]:
    ((_, templates),) = PEOPLE.encounters([person], capture)
    return list(templates)


def finger(person: int, capture: int) -> list[Template]:
    return [t for t in fingers_and_face(person, capture) if t.position.is_finger]


def face(person: int, capture: int) -> list[Template]:
    return [t for t in fingers_and_face(person, capture) if t.position == Position.FACE]


def voice(person: int, capture: int) -> list[Template]:
    vector = np.random.default_rng(person).standard_normal(128)
    vector += 0.3 * np.random.default_rng([person, capture]).standard_normal(128)
    return [Embedding(vector=vector, model="made-up-voice", position=Position.VOICE, quality=12.5)]


def eyes(person: int, capture: int) -> list[Template]:
    return [
        code(2 * person, flips=0.05, capture=capture, shift=capture % 3, position=Position.LEFT_EYE),
        code(2 * person + 1, flips=0.05, capture=capture, position=Position.RIGHT_EYE),
    ]


def unknown_eye(person: int, capture: int) -> list[Template]:
    return [code(person, flips=0.05, capture=capture, position=Position.UNKNOWN_EYE)]


FREQUENCIES = made_up_frequencies()
PROFILES = draw_profiles(FREQUENCIES, 50)


def dna(person: int, capture: int) -> list[Template]:
    """A profile of which each capture lacks other loci; the second has a drop-out, too."""
    alleles = PROFILES[person].copy()
    place = next(place for place in range(24) if alleles[place, 0] != alleles[place, 1])
    alleles[np.random.default_rng([person, capture]).choice(np.setdiff1d(np.arange(24), place), 4)] = 0
    if capture == 1:
        alleles[place, 1] = alleles[place, 0]
    return [StrProfile.of_alleles(alleles)]


def everything(person: int, capture: int) -> list[Template]:
    return [
        *(*fingers_and_face(person, capture), *eyes(person, capture)),
        *(*voice(person, capture), *dna(person, capture)),
    ]


VOICES = replace(shipped("embedding"), kind="voice-made-up-voice")
PROFILE_SCORES = DnaCalibration.of(DnaModel(FREQUENCIES))
CALIBRATIONS = Calibrations.of([VOICES, PROFILE_SCORES])


def opened(path: Path) -> abis.Gallery:
    """A gallery with calibrations of the modalities that have none shipped."""
    gallery = abis.Gallery.open(path)
    gallery.calibrate(VOICES)
    gallery.calibrate(PROFILE_SCORES)
    return gallery


NAMES = re.compile(r"(?P<subject>[^_]+)(_.*)?")

EACH = pytest.mark.parametrize(
    "make", [finger, face, voice, eyes, unknown_eye, dna, everything], ids=lambda make: make.__name__
)


@EACH
def test_a_template_is_kept_and_read_as_it_was(make: Make) -> None:
    for template in make(1, 0):
        stored = native.write(template)
        assert native.read(stored) == template
        assert read_many([stored, stored]) == [template, template]
        modality = modality_of(template)
        assert modality is modality_at(template.position)
        assert modality in MODALITIES
        for length in range(len(stored)):
            with pytest.raises(abis.FormatError):
                native.read(stored[:length])


@EACH
def test_the_order_of_two_templates_does_not_matter(make: Make) -> None:
    for one, other in zip(make(1, 0), make(1, 1), strict=True):
        calibration = CALIBRATIONS.for_template(one)
        assert raw_scores(one, [other], calibration=calibration) == raw_scores(
            other, [one], calibration=calibration
        )
        assert Kind.of(one).is_comparable(Kind.of(other))
        assert len(raw_scores(one, [])) == 0


@EACH
def test_a_gallery_enrolls_finds_verifies_and_removes(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "gallery"
    with opened(path) as gallery:
        for person in range(30):
            gallery.enroll(f"person {person}", make(person, 0))
        before = [gallery.identify(make(person, 1), max_candidates=3) for person in range(5)]
        for person, found in enumerate(before):
            assert found[0].subject_id == f"person {person}"
            exact = gallery.identify(make(person, 1), max_candidates=3, exact=True)
            assert [(c.subject_id, c.score) for c in exact] == [(c.subject_id, c.score) for c in found]
            own = gallery.verify(make(person, 1), f"person {person}", fmr=0.5)
            assert own.score == found[0].score
            assert gallery.verify(make(person, 1), f"person {(person + 1) % 30}", fmr=0.5).score < own.score
        gallery.remove("person 0")
        assert gallery.identify(make(0, 1), max_candidates=1)[0].subject_id != "person 0"
        gallery.enroll("person 0", make(0, 0))
    with abis.Gallery.open(path) as gallery:
        again = gallery.identify(make(3, 1), max_candidates=1)
        assert (again[0].subject_id, again[0].score) == (before[3][0].subject_id, before[3][0].score)


@EACH
def test_evidence_is_of_each_position_and_adds_up(make: Make, tmp_path: Path) -> None:
    with opened(tmp_path / "gallery") as gallery:
        gallery.enroll("a", make(1, 0))
        found = gallery.verify(make(1, 1), "a", fmr=0.5)
    assert sorted(e.position for e in found.evidence) == sorted(t.position for t in make(1, 1))


@EACH
def test_what_is_exported_and_imported_is_the_same_gallery(make: Make, tmp_path: Path) -> None:
    probe = make(2, 1)
    with opened(tmp_path / "gallery") as gallery:
        for person in range(5):
            gallery.enroll(f"person {person}", make(person, 0))
        expected = [(c.subject_id, c.score) for c in gallery.identify(probe)]
        for destination in ("people.tar", "people"):
            report = gallery.export_records(tmp_path / destination)
            assert (report.subjects, report.templates, report.refused) == (5, 5 * len(probe), ())
    for destination in ("people.tar", "people"):
        with opened(tmp_path / f"from {destination}") as other:
            read = other.import_records(open_path(tmp_path / destination, pattern=NAMES))
            assert (read.enrolled, read.quarantined) == (5, 0)
            assert [(c.subject_id, c.score) for c in other.identify(probe)] == expected


@EACH
def test_snapshots_keep_it_and_erasure_leaves_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(save=1))  # small galleries are worth files too
    with opened(tmp_path / "gallery") as gallery:
        for person in range(9):
            gallery.enroll(f"person {person}", make(person, 0))
        expected = gallery.identify(make(2, 1), max_candidates=3)
    assert list((tmp_path / "gallery" / "derived").glob("*.segment"))
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "of", None)  # nothing is prepared again
        with opened(tmp_path / "gallery") as gallery:
            assert gallery.identify(make(2, 1), max_candidates=3).candidates == expected.candidates
    stored = [native.write(template)[-40:] for template in make(2, 0)]
    with opened(tmp_path / "gallery") as gallery:
        gallery.erase("person 2")
        assert gallery.identify(make(2, 1))[0].subject_id != "person 2"
    for file in (tmp_path / "gallery").rglob("*"):
        if file.is_file():
            assert [part for part in stored if part in file.read_bytes()] == [], file


@EACH
def test_an_encounter_is_merged_moved_and_replaced(make: Make, tmp_path: Path) -> None:
    with opened(tmp_path / "gallery") as gallery:
        gallery.enroll("a", make(1, 0))
        gallery.enroll("b", make(2, 0))
        gallery.enroll("c", make(1, 1))
        gallery.merge("c", "a")
        assert gallery.identify(make(1, 2))[0].subject_id == "a"
        gallery.replace("b", make(3, 0))
        assert gallery.identify(make(3, 1))[0].subject_id == "b"
        assert gallery.check() == []
        assert len(gallery.export_subject("a").templates) == 2 * len(make(1, 0))


@EACH
def test_a_duplicate_is_found(make: Make, tmp_path: Path) -> None:
    with opened(tmp_path / "gallery") as gallery:
        for person in range(12):
            gallery.enroll(f"person {person}", make(person, 0))
        gallery.enroll("again", make(4, 1))
        found = gallery.deduplicate(fpir=0.1)
        assert {"again", "person 4"} in [{pair.subject_id, pair.other_id} for pair in found.pairs]


def test_the_first_look_at_pairs_of_irises_loses_none() -> None:
    def tile(capture: int) -> Tile:
        entries = (Entry(n, n, template) for n in range(1, 41) for template in eyes(n, capture))
        return Tile.of([Segment.of(0, 41, entries)])

    calibrations = Calibrations.of()
    every, chosen = (
        find_pairs(tile(1), tile(0), criterion, calibrations, ordered=False)
        for criterion in (Criterion(5_000, threshold=3.0, exact=True), Criterion(5_000, threshold=3.0))
    )
    assert [(pair.probe, pair.reference) for pair in every] == [(n, n) for n in range(1, 41)]
    assert chosen == every


def test_an_unknown_eye_is_found_among_left_and_right_ones(tmp_path: Path) -> None:
    with opened(tmp_path / "gallery") as gallery:
        for person in range(20):
            gallery.enroll(f"person {person}", eyes(person, 0))
        probe = code(2 * 7 + 1, flips=0.05, capture=5, position=Position.UNKNOWN_EYE)
        assert gallery.identify([probe])[0].subject_id == "person 7"


def test_codes_of_another_model_or_shape_are_never_compared() -> None:
    own = code(1)
    for other in (code(1, model="other"), code(1, shape=(8, 64, 4))):
        assert not Kind.of(own).is_comparable(Kind.of(other))
        with pytest.raises(abis.TemplateError, match=r"model|shape"):
            raw_scores(own, [other])


def test_calibrations_are_named_after_the_modality() -> None:
    names = {Kind.of(t).calibrated_as for t in everything(1, 0)}
    assert names == {
        "minutiae-leader-0.1",
        "embedding-synthetic",
        "voice-made-up-voice",
        "iris-made-up",
        "dna",
    }
    assert Calibrations.of().for_kind("iris-made-up").kind == "iris"


@pytest.mark.parametrize(("make", "advice"), [(voice, "abis calibrate"), (dna, "abis dna frequencies")])
def test_what_has_no_calibration_is_refused_with_advice(make: Make, advice: str, tmp_path: Path) -> None:
    """Neither a voice nor a DNA profile is ever scored by the calibration of faces, or another shipped one."""
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        for person in range(3):
            gallery.enroll(f"person {person}", [*finger(person, 0), *make(person, 0)])
        for action in (
            lambda: gallery.identify(make(1, 1)),
            lambda: gallery.identify([*finger(1, 1), *make(1, 1)]),
            lambda: gallery.identify(make(1, 1), exact=True),
            lambda: next(gallery.identify_many([make(1, 1), make(2, 1)])),
            lambda: gallery.verify(make(1, 1), "person 1"),
            lambda: gallery.compare(make(1, 1), make(1, 0)),
            gallery.deduplicate,
            lambda: gallery.enroll("new", make(4, 0), unique=True),
            lambda: abis.compare(make(1, 0)[0], make(1, 1)),
        ):
            with pytest.raises(abis.NotCalibrated, match=advice):
                action()
        assert "new" not in gallery
        assert gallery.identify(finger(1, 1))[0].subject_id == "person 1"  # other evidence is scored
        assert gallery.verify(finger(1, 1), "person 1", fmr=0.5).score > 0


def test_a_gallery_keeps_its_frequencies_as_a_calibration(tmp_path: Path) -> None:
    with opened(tmp_path / "gallery") as gallery:
        gallery.enroll("a", dna(1, 0))
        before = gallery.verify(dna(1, 2), "a").score
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        assert gallery.calibration(dna(1, 0)[0]) == PROFILE_SCORES
        assert gallery.verify(dna(1, 2), "a").score == before
        assert before == pytest.approx(abis.compare(dna(1, 0)[0], dna(1, 2), calibration=PROFILE_SCORES)[0])
        gallery.calibrate(DnaCalibration.of(DnaModel(FREQUENCIES, theta=0.1)))
        assert gallery.verify(dna(1, 2), "a").score < before


def test_dna_adds_to_other_evidence(tmp_path: Path) -> None:
    with opened(tmp_path / "gallery") as gallery:
        gallery.enroll("a", [*finger(1, 0), *dna(1, 0)])
        both = gallery.verify([*finger(1, 1), *dna(1, 1)], "a").score
        assert both == pytest.approx(sum(gallery.verify(one, "a").score for one in (finger(1, 1), dna(1, 1))))
        others = gallery.verify([*finger(1, 1), *dna(2, 1)], "a")  # an exclusion, which may be a mistake
        assert others.evidence[-1].score == pytest.approx(-3, abs=1e-5)


def test_the_first_look_at_pairs_of_profiles_loses_none() -> None:
    def tile(capture: int) -> Tile:
        entries = (Entry(n, n, template) for n in range(1, 41) for template in dna(n, capture))
        return Tile.of([Segment.of(0, 41, entries)])

    every, chosen = (
        find_pairs(tile(1), tile(0), criterion, CALIBRATIONS, ordered=False)
        for criterion in (Criterion(5_000, threshold=3.0, exact=True), Criterion(5_000, threshold=3.0))
    )
    assert [(pair.probe, pair.reference) for pair in every] == [(n, n) for n in range(1, 41)]
    assert chosen == every


def test_little_speech_makes_a_low_score_weaker_evidence(tmp_path: Path) -> None:
    calibration = replace(VOICES, minimum=-2.0, equal_minimum=-3.0)
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        gallery.calibrate(calibration)
        (own,), (other,) = voice(1, 0), voice(2, 0)
        assert isinstance(own, Embedding)
        assert isinstance(other, Embedding)
        gallery.enroll("long", [own])
        gallery.enroll("short", [replace(own, quality=1.0)])
        gallery.enroll("unknown", [replace(own, quality=None)])
        verified = {name: gallery.verify([other], name).score for name in ("long", "short", "unknown")}
        found = {c.subject_id: c.score for c in gallery.identify([other])}
    assert verified == found
    assert verified["long"] < -1.5 < verified["short"] < verified["unknown"] < 0.5


@EACH
def test_a_cbeff_document_holds_the_stored_form(make: Make) -> None:
    for template in make(1, 0):
        assert abis.read(cbeff(native.write(template))) == (template,)
