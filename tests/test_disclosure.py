# SPDX-License-Identifier: Apache-2.0
"""Answer policies are kept with the gallery: what answers disclose, and how many failed verifications are allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from people import everything, face

from abis import AnswerPolicy, Claim, Disclosure, DuplicateFound, Outcome
from abis.gallery import Gallery
from abis.identification.search import SearchOptions
from abis.results import Verification
from abis.store import Status
from abis.store.encryption import MasterKey
from abis.verification.policy import Policy


@pytest.fixture
def gallery(database: str) -> Iterator[Gallery]:
    with Gallery.open(database, key=MasterKey(bytes(32))) as gallery:
        for person in range(4):
            gallery.enroll(f"s{person}", everything(person))
        yield gallery


def again(database: str) -> Gallery:
    return Gallery.open(database, load=False, key=MasterKey(bytes(32)))


def test_by_default_everything_is_told(gallery: Gallery) -> None:
    assert gallery.answer_policy == AnswerPolicy(Disclosure.FULL, 1_000_000, None)
    assert gallery.verify(everything(1, 1), "s1").evidence[0].raw > 0


@pytest.mark.parametrize("disclosure", [Disclosure.ROUNDED, Disclosure.DECISION])
def test_less_is_told_and_decided_the_same(gallery: Gallery, database: str, disclosure: Disclosure) -> None:
    probes = [list(everything(n, 1))[: 1 + n % 3] for n in range(4)]
    before = [gallery.verify(probe, f"s{n}") for n, probe in enumerate(probes)]
    listed = [[c.subject_id for c in gallery.identify(probe, fpir=1e-3)] for probe in probes]
    gallery.set_answer_policy(AnswerPolicy(disclosure))
    with again(database) as other:
        assert other.answer_policy.disclosure == disclosure
        results = [other.verify(probe, f"s{n}") for n, probe in enumerate(probes)]
        many = other.verify_many(Claim(f"s{n}", probe) for n, probe in enumerate(probes))
        assert list(many) == results
        for result, full in zip(results, before, strict=True):
            assert result.outcome == full.outcome
            assert all(each.raw == 0 for each in result.evidence)
            if disclosure is Disclosure.ROUNDED:
                assert result.score == math.floor(full.score)
                assert all(each.score == math.floor(each.score) for each in result.evidence)
            else:
                assert (result.score, result.threshold, result.evidence) == (0, 0, ())
        for probe, expected in zip(probes, listed, strict=True):
            found = other.identify(probe, fpir=1e-3)
            assert {c.subject_id for c in found} == set(expected)
            assert [c.rank for c in found] == list(range(1, len(found) + 1))
            assert all(c.score == math.floor(c.score) for c in found)
        with pytest.raises(DuplicateFound) as caught:
            other.enroll("new", everything(2, 1), unique=True)
        assert all(c.score == math.floor(c.score) for c in caught.value.candidates)
        if disclosure is Disclosure.DECISION:
            with pytest.raises(ValueError, match="decisions only; give the fpir"):
                other.identify(probes[0])
    assert any(entry.operation == "set_answer_policy" for entry in gallery.audit_log())


def test_candidates_are_capped(gallery: Gallery) -> None:
    gallery.set_answer_policy(AnswerPolicy(max_candidates=2))
    assert len(gallery.identify(everything(1), max_candidates=2)) == 2
    with pytest.raises(ValueError, match="max_candidates is 3; this gallery returns at most 2"):
        gallery.identify(everything(1), max_candidates=3)


def test_callers_cannot_find_a_score_by_asking_for_many_rates(gallery: Gallery, database: str) -> None:
    probe = everything(1, 1)
    gallery.set_answer_policy(AnswerPolicy(Disclosure.DECISION, fmr=1e-6, fpir=1e-3))
    with again(database) as other:
        assert other.verify(probe, "s1"), "1e-6 is the default"
        assert other.verify(probe, "s1", policy=Policy(fmr=1e-6, face_fmr=1e-6)).match
        assert other.identify(probe, fpir=1e-3)
        with pytest.raises(
            ValueError, match=r"fmr is 0\.001; this gallery decides verifications at 1e-06 only"
        ):
            other.verify(probe, "s1", fmr=1e-3)
        with pytest.raises(ValueError, match=r"face_fmr is 0\.01"):
            other.verify(probe, "s1", policy=Policy(face_fmr=1e-2))
        with pytest.raises(ValueError, match=r"fmr is 0\.001"):
            other.verify_many([Claim("s1", probe)], fmr=1e-3)
        for options in ({"fpir": 1e-4}, {}, {"fpir": 1e-3, "gallery_size": 10**6}):
            with pytest.raises(ValueError, match=r"decides searches at an fpir of 0\.001"):
                other.identify(probe, **options)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match=r"decides searches at an fpir of 0\.001"):
                next(other.identify_many([probe], **options))  # type: ignore[arg-type]
        with pytest.raises(DuplicateFound):
            other.enroll("new", everything(2, 1), unique=True)  # the rate of an enrolment is the operator's


@pytest.mark.parametrize("options", [{"max_candidates": 10**30}, {"gallery_size": 10**400}])
def test_numbers_beyond_all_reason_are_refused_in_words(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a number of more than 30 digits; expected"):
        SearchOptions(**options)  # type: ignore[arg-type]


def test_failures_in_a_row_pause_a_subject_also_after_a_restart(gallery: Gallery, database: str) -> None:
    gallery.set_answer_policy(AnswerPolicy(failures=3, pause_s=900))
    stranger, mate = everything(77), everything(1, 1)
    for _ in range(2):
        assert gallery.verify(stranger, "s1").outcome == Outcome.NON_MATCH
    assert gallery.verify(mate, "s1"), "a match clears the count"
    for _ in range(2):
        assert gallery.verify(stranger, "s1").outcome == Outcome.NON_MATCH
    with again(database) as other:
        assert other.verify(stranger, "s1").outcome == Outcome.NON_MATCH
    with again(database) as other:
        paused = other.verify(mate, "s1")
        assert (paused.outcome, paused.evidence, paused.score) == (Outcome.PAUSED, (), 0)
        assert "too many failed verifications; none before 2" in paused.reason
        assert other.verify(everything(2, 1), "s2"), "others go on"
        assert other.check() == []
    gallery.remove("s1")
    gallery.enroll("s1", everything(1))
    assert gallery.verify(mate, "s1"), "another subject of the same id begins anew"
    assert gallery.check() == []


def test_many_tries_at_once_are_no_more_tries(gallery: Gallery) -> None:
    gallery.set_answer_policy(AnswerPolicy(failures=5))
    claims = [Claim("s1", everything(70 + n % 9)) for n in range(600)]
    outcomes = [result.outcome for result in gallery.verify_many(claims)]
    assert outcomes.count(Outcome.NON_MATCH) == 5
    assert outcomes.count(Outcome.PAUSED) == 595


def test_what_was_not_compared_is_no_failure(gallery: Gallery) -> None:
    gallery.set_answer_policy(AnswerPolicy(failures=1))
    gallery.set_status("s1", Status.LOCKED, reason="card lost")
    gallery.enroll("other model", [face(5, model="another")])

    def outcome(subject_id: str) -> Verification:
        return gallery.verify([face(1, 1)], subject_id)

    for _ in range(3):
        assert outcome("s1").outcome == Outcome.LOCKED
        assert outcome("other model").outcome == Outcome.NOTHING_COMPARABLE
    gallery.set_status("s1", Status.ACTIVE, reason="card found")
    assert gallery.verify(everything(1, 1), "s1")


@pytest.mark.parametrize(
    "values",
    [{"disclosure": "all"}, {"max_candidates": 0}, {"failures": 0}, {"pause_s": 0.0}, {"pause_s": 1e6}],
)
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|is not a valid"):
        AnswerPolicy(**values)  # type: ignore[arg-type]
