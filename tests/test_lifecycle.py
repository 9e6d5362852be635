# SPDX-License-Identifier: Apache-2.0
"""The life of a subject: status, labels, merging, moving and re-enrolment."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray
from people import LEFT, RIGHT, everything, face, finger

from abis.errors import AlreadyEnrolled, NotEnrolled
from abis.gallery import Gallery
from abis.results import Outcome
from abis.store import Enrollment, Mark, Status, Store, lifecycle
from abis.template import Position
from abis.verification import Claim
from abis.verification.policy import Policy


@pytest.fixture
def gallery(database: str) -> Iterator[Gallery]:
    """An empty gallery in a database of each kind."""
    with Gallery.open(database) as opened:
        yield opened


def test_a_subject_tells_what_is_known_of_it(gallery: Gallery) -> None:
    before = datetime.now(UTC)
    gallery.enroll("a", everything(1), labels=["north", "2024"], level=2)
    gallery.enroll("a", [face(1, 1)], encounter_id="renewal", labels=["north", "east"])
    subject = gallery.subject("a")
    assert (subject.status, subject.reason, subject.since, subject.level) == (Status.ACTIVE, "", None, 2)
    assert subject.labels == ("2024", "east", "north")
    assert [(e.encounter_id, e.positions) for e in subject.encounters] == [
        ("1", (RIGHT, LEFT, Position.FACE)),
        ("renewal", (Position.FACE,)),
    ]
    assert all(
        e.enrolled is not None and before <= e.enrolled <= datetime.now(UTC) for e in subject.encounters
    )
    with pytest.raises(NotEnrolled, match="subject 'b' is not enrolled"):
        gallery.subject("b")


@pytest.mark.parametrize(
    ("status", "outcome"), [(Status.LOCKED, "locked"), (Status.TERMINATED, "terminated")]
)
def test_an_identity_that_is_not_active_is_refused_yet_found(
    gallery: Gallery, status: Status, outcome: str
) -> None:
    gallery.enroll("a", everything(1))
    gallery.set_status("a", status, reason="card lost")
    result = gallery.verify(everything(1, 1), "a")
    assert (result.outcome, result.match, bool(result)) == (outcome, False, False)
    assert (result.score, result.evidence) == (0.0, ()), "likeness is not told"
    assert str(result) == outcome
    candidate = gallery.identify(everything(1, 1))[0]
    assert (candidate.subject_id, candidate.status) == ("a", status)
    assert str(candidate).endswith(outcome)
    subject = gallery.subject("a")
    assert (subject.status, subject.reason) == (status, "card lost")
    assert subject.since is not None
    gallery.set_status("a", Status.ACTIVE, reason="card found")
    assert gallery.verify(everything(1, 1), "a").outcome == Outcome.MATCH


POLICY = Policy(level=2, fmr=1e-3, face_fmr=0.5, fingers=1, liveness=True)


def test_a_policy_asks_for_level_evidence_and_liveness(gallery: Gallery) -> None:
    gallery.enroll("a", everything(1), level=1)
    probe = everything(1, 1)

    def outcome(liveness: bool | None = True, probe=probe) -> tuple[str, str]:  # type: ignore[no-untyped-def]
        result = gallery.verify(probe, "a", policy=POLICY, liveness=liveness)
        return str(result.outcome), result.reason

    assert outcome() == ("refused", "assurance level 1, expected 2 or more")
    gallery.set_level("a", 2)
    assert outcome() == ("match", "")
    assert outcome(None) == ("refused", "no liveness verdict")
    assert outcome(False) == ("refused", "liveness verdict not passed")
    assert outcome(probe=probe[:2]) == ("refused", "no evidence of a face")
    assert outcome(probe=[finger(1, RIGHT, 1), face(1, 1)]) == ("match", "")
    assert outcome(probe=everything(2)) == ("non-match", "")
    with pytest.raises(ValueError, match="both fmr and policy are given"):
        gallery.verify(probe, "a", fmr=0.1, policy=POLICY)
    strict = Policy(fmr=1e-3, face_fmr=1e-300)
    assert gallery.verify(probe, "a", policy=strict).reason == "the face alone does not reach its threshold"
    few = Policy(fmr=1.0, fingers=2)
    assert gallery.verify([face(1, 0)], "a", policy=few).reason == "evidence of 0 fingers, expected 2 or more"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"level": 10}, "level is 10"), ({"fingers": 11}, "fingers is 11"), ({"fmr": 0.0}, "fmr is 0")],
)
def test_a_policy_that_cannot_be_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Policy(**arguments)  # type: ignore[arg-type]


def test_many_claims_have_the_answers_of_each(gallery: Gallery) -> None:
    gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(30))
    gallery.enroll("s3", [finger(3, RIGHT, 2), face(3, 2)], encounter_id="2")
    gallery.set_status("s4", Status.LOCKED, reason="lost")
    claims = [Claim(f"s{n % 30}", everything(n % 30 if n % 3 else n, 1)[: 1 + n % 3]) for n in range(700)]
    together = list(gallery.verify_many(claims, fmr=1e-3))
    assert together == [gallery.verify(c.templates, c.subject_id, fmr=1e-3) for c in claims]
    assert {r.outcome for r in together} == {Outcome.MATCH, Outcome.NON_MATCH, Outcome.LOCKED}
    strangers = [Claim("nobody", [face(1)]), claims[1]]
    assert [r.outcome for r in gallery.verify_many(strangers)] == ["not enrolled", together[1].outcome]
    assert list(gallery.verify_many([])) == []
    assert [r.subject_id for r in together] == [c.subject_id for c in claims]
    (other,) = gallery.verify_many([Claim("s1", [face(1, model="other")])])
    assert (other.outcome, other.score) == (Outcome.NOTHING_COMPARABLE, 0.0)
    assert "cannot be compared with the references'" in other.reason
    with pytest.raises(TypeError, match=r"claims\[1\] is a tuple; expected abis\.Claim"):
        list(gallery.verify_many([claims[0], ("s1", [face(1)])]))  # type: ignore[list-item]


def test_a_failed_liveness_verdict_refuses_whatever_the_policy_asks_for(gallery: Gallery) -> None:
    gallery.enroll("a", everything(1))
    assert gallery.verify(everything(1, 1), "a", fmr=1e-3)
    refused = gallery.verify(everything(1, 1), "a", fmr=1e-3, liveness=False)
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "liveness verdict not passed")


def test_a_threshold_that_no_score_reaches_says_so(gallery: Gallery) -> None:
    gallery.enroll("a", [face(1)])
    result = gallery.verify([face(1)], "a", fmr=1e-40)
    assert result.outcome == Outcome.NON_MATCH
    assert "cannot be reached: scores of these comparisons stay below" in str(result)
    assert gallery.verify([face(2)], "a", fmr=1e-3).reason == ""


def test_labels_select_subjects(database: str) -> None:
    store = Store(database)
    store.enroll([Enrollment(f"s{n}", [face(n)], labels=["all", f"third{n % 3}"]) for n in range(9)])
    lifecycle.set_labels(store, "s0", ["north", "third1"])
    names = store.names(lifecycle.keys_with_labels(store, ["third1", "north", "none"])[0].tolist())
    assert sorted(names.values()) == ["s0", "s1", "s4", "s7"]
    assert lifecycle.keys_with_labels(store, ["all"])[0].tolist() == list(range(2, 10))
    assert lifecycle.keys_with_labels(store, [])[0].tolist() == []
    with pytest.raises(TypeError, match="labels is one string"):
        lifecycle.keys_with_labels(store, "all")
    store.close()


def test_two_that_are_one_are_merged(gallery: Gallery) -> None:
    gallery.enroll("old", everything(1), labels=["north"], level=2)
    gallery.enroll("double", [face(1, 1)], labels=["south"], level=1)
    gallery.enroll("double", [finger(1, LEFT, 1)], encounter_id="2031")
    gallery.set_status("double", Status.TERMINATED, reason="duplicate")
    assert gallery.merge("double", "old") == {"1": "double:1", "2031": "2031"}
    subject = gallery.subject("old")
    assert [e.encounter_id for e in subject.encounters] == ["1", "double:1", "2031"]
    assert (subject.status, subject.reason) == (Status.TERMINATED, "duplicate")
    assert (subject.labels, subject.level) == (("north", "south"), 2)
    assert "double" not in gallery
    assert len(gallery) == 1
    gallery.set_status("old", Status.ACTIVE, reason="clear")
    found = gallery.identify([finger(1, LEFT, 1)])
    assert [(c.subject_id, c.evidence[0].encounter_id) for c in found] == [("old", "2031")]
    assert gallery.check() == []
    with pytest.raises(ValueError, match="source and target are both 'old'"):
        gallery.merge("old", "old")
    with pytest.raises(NotEnrolled, match="subject 'double' is not enrolled"):
        gallery.merge("double", "old")


def test_a_merge_is_not_half_seen_by_a_search_by_label(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in between the references and the labels."""
    gallery.enroll("old", [finger(1, RIGHT)])
    gallery.enroll("double", [face(1)], labels=["south"])
    read = lifecycle.keys_with_labels
    merged: list[dict[str, str]] = []

    def after_a_merge(store: Store, labels: Sequence[str]) -> tuple[NDArray[np.int64], int]:
        if not merged:
            merged.append(gallery.merge("double", "old"))
        return read(store, labels)

    monkeypatch.setattr(lifecycle, "keys_with_labels", after_a_merge)
    (found,) = gallery.identify([finger(1, RIGHT, 1), face(1, 1)], labels=["south"])
    assert merged
    assert found.subject_id == "old"
    assert {evidence.position for evidence in found.evidence} == {RIGHT, Position.FACE}


def test_an_encounter_under_a_wrong_name_is_moved(gallery: Gallery) -> None:
    gallery.enroll("a", everything(1))
    gallery.enroll("b", everything(2))
    gallery.enroll("a", [face(2, 1)], encounter_id="2031")
    gallery.move("2031", "a", "b")
    assert [e.encounter_id for e in gallery.subject("a").encounters] == ["1"]
    assert [e.encounter_id for e in gallery.subject("b").encounters] == ["1", "2031"]
    assert gallery.identify([face(2, 1)])[0].subject_id == "b"
    with pytest.raises(AlreadyEnrolled, match="encounter '1' of subject 'b' is enrolled already"):
        gallery.move("1", "a", "b")
    with pytest.raises(NotEnrolled, match="subject 'a' has no encounter '2031'"):
        gallery.move("2031", "a", "b")
    gallery.move("2031", "b", "a")
    assert gallery.check() == []


def test_enrolled_anew_a_subject_has_only_what_is_new(gallery: Gallery) -> None:
    gallery.enroll("a", everything(1), labels=["north"], level=2)
    gallery.enroll("a", [face(1, 1)], encounter_id="2")
    gallery.set_status("a", Status.LOCKED, reason="lost")
    gallery.replace("a", everything(5), encounter_id="anew")
    subject = gallery.subject("a")
    assert [e.encounter_id for e in subject.encounters] == ["anew"]
    assert (subject.labels, subject.level, subject.status) == (("north",), 2, Status.LOCKED)
    assert gallery.identify([face(5, 1)])[0].subject_id == "a"
    assert gallery.check() == []
    with pytest.raises(NotEnrolled):
        gallery.replace("b", everything(5))


def test_followers_see_moved_encounters_once(database: str) -> None:
    store = Store(database)
    store.enroll([Enrollment("a", everything(1)), Enrollment("b", everything(2))])
    mark = store.tail(Mark(), limit=100).mark
    before = {r.encounter for r in store.references("a")}
    lifecycle.merge(store, "a", "b")
    tail = store.tail(mark, limit=100)
    assert set(tail.removed) == before
    assert [t.template for t in tail.enrolled] == list(everything(1))
    store.close()
