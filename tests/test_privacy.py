# SPDX-License-Identifier: Apache-2.0
"""No template leaves by accident: not by files, free pages, logs, reprs or tracebacks; and who did what is told."""

import logging
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from people import everything, face, finger
from traces import found_in, runs

from abis.encryption import MasterKey
from abis.errors import NotEnrolled, StoreError
from abis.formats import native
from abis.gallery import Gallery
from abis.store import Enrollment, Status, Store
from abis.verification import Claim

KEY = MasterKey(bytes(range(32)))


@pytest.fixture
def gallery(database: str) -> Iterator[Gallery]:
    with Gallery.open(database) as gallery:
        yield gallery


def test_the_search_would_find_a_template(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enroll("a", everything(1))
    assert found_in(tmp_path / "g", runs(finger(1)))


def test_files_of_an_encrypted_gallery_hold_no_template(tmp_path: Path) -> None:
    people = {f"s{n}": everything(n) for n in range(20)}
    wanted = set().union(*(runs(t) for templates in people.values() for t in templates))
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        gallery.enroll_many(Enrollment(name, templates) for name, templates in people.items())
        gallery.identify(everything(3, 1))
        gallery.remove("s7")
        gallery.replace("s8", everything(8))
        gallery.merge("s9", "s10")
        assert found_in(tmp_path / "g", wanted) == set()
        gallery.compact()
        gallery.rotate_data_key()
        assert found_in(tmp_path / "g", wanted) == set()
    assert found_in(tmp_path / "g", wanted) == set()


def test_encrypting_a_gallery_leaves_nothing_plain(tmp_path: Path) -> None:
    wanted = set().union(*(runs(t) for n in range(30) for t in everything(n)))
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(30))
        assert gallery.encrypt(KEY) == 90
        assert gallery.verify(everything(3, 1), "s3")
    assert found_in(tmp_path / "g", wanted) == set()
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        assert gallery.check() == []


def test_what_is_erased_is_nowhere(tmp_path: Path) -> None:
    others = set().union(*(runs(t) for n in range(30) if n != 7 for t in everything(n)))
    wanted = set().union(*map(runs, everything(7))) - others
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(30))
        assert found_in(tmp_path / "g", wanted) == wanted
        tombstone = gallery.erase("s7")
        assert found_in(tmp_path / "g", wanted) == set(), "also while the gallery is open"
        assert "s7" not in gallery
        assert gallery.identify(everything(7, 1))[0].subject_id != "s7"
        with pytest.raises(NotEnrolled):
            gallery.erase("s7")
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        (*_, last) = gallery.audit_log(subject_id="s7")
        assert (last.operation, last.outcome) == ("erase", "1 encounters, 3 templates")
        assert (tombstone.audit, tombstone.audit_hash) == (last.number, last.hash)
        assert (tombstone.encounters, tombstone.templates, tombstone.erased) == (1, 3, last.time)
        assert gallery.check() == []


def test_erased_on_a_server_too(gallery: Gallery) -> None:
    gallery.enroll("a", everything(1))
    assert gallery.erase("a").templates == 3
    assert "a" not in gallery
    gallery.compact()
    assert gallery.check() == []


def test_a_servers_statistics_hold_no_template(gallery: Gallery, database: str) -> None:
    """Nothing would overwrite them when a subject is erased."""
    if database.startswith("sqlite"):
        pytest.skip("SQLite's statistics are counts")
    gallery.enroll_many(Enrollment(f"s{n}", [finger(n)]) for n in range(60))
    noted = "SELECT count(*) FROM pg_stats WHERE tablename = 'templates' AND attname = {!r}"
    engine = sa.create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:

        def count(column: str) -> int:
            return int(connection.exec_driver_sql(noted.format(column)).scalar_one())

        connection.exec_driver_sql("ANALYZE")
        assert (count("position"), count("data")) == (1, 0)
        connection.exec_driver_sql("ALTER TABLE templates ALTER COLUMN data SET STATISTICS -1")
        connection.exec_driver_sql("ANALYZE")
        assert count("data") == 1  # as in a gallery that an older abis made ...
    gallery.compact()
    with engine.connect() as connection:
        assert count("data") == 0  # ... until it is compact
    engine.dispose()


def test_an_erasure_waits_for_nobody_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from abis.store import erasure  # noqa: PLC0415

    monkeypatch.setattr(erasure, "_PATIENCE_S", 0.0)
    with Gallery.open(tmp_path, load=False) as gallery:
        gallery.enroll("a", everything(1))
        other = Store(f"sqlite:///{tmp_path}/store.sqlite")
        with other.database.reading() as connection:
            connection.exec_driver_sql("SELECT * FROM templates").fetchall()
            with pytest.raises(StoreError, match="somebody still reads"):
                gallery.erase("a")
        other.close()
        assert "a" not in gallery
        gallery.compact()


def test_encounters_grow_old_and_go(gallery: Gallery) -> None:
    gallery.enroll("a", everything(1))
    gallery.enroll("b", everything(2))
    between = datetime.now(UTC)
    gallery.enroll("a", [face(1, 1)], encounter_id="later")
    assert gallery.remove_older_than(between - timedelta(days=1)) == (0, 0)
    assert gallery.remove_older_than(between) == (2, 0)
    assert list(gallery) == ["a"]
    assert [e.encounter_id for e in gallery.subject("a").encounters] == ["later"]
    assert [e.operation for e in gallery.audit_log(subject_id="b")] == ["enroll", "expire"]
    assert gallery.check() == []
    with pytest.raises(ValueError, match="no time zone"):
        gallery.remove_older_than(datetime(2031, 1, 1))


def test_a_subject_sees_all_there_is_of_it(gallery: Gallery) -> None:
    gallery.enroll("a", everything(1), labels=["north"])
    gallery.enroll("b", everything(2))
    with gallery.acting("officer", purpose="right of access"):
        export = gallery.export_subject("a")
    assert export.subject == gallery.subject("a")
    assert export.templates == tuple(("1", t) for t in everything(1))
    assert [(e.operation, e.actor) for e in export.log] == [("enroll", ""), ("export", "officer")]


# -------------------------------------------------------------------------------------------- audit log


def test_the_log_says_who_did_what_to_whom(gallery: Gallery) -> None:
    with gallery.acting("m.tran", purpose="enrolment"):
        gallery.enroll("a", everything(1))
        gallery.verify(everything(1, 1), "a")
        gallery.identify(everything(2, 1))
        list(gallery.verify_many([Claim("a", everything(3)), Claim("b", everything(3))]))
    gallery.verify(everything(1, 1), "a")  # nobody is said to act
    gallery.set_status("a", Status.LOCKED, reason="lost")
    gallery.remove("a")
    told = [(e.actor, e.purpose, e.operation, e.subject_id, e.outcome) for e in gallery.audit_log()]
    by_tran = "m.tran", "enrolment"
    assert told == [
        (*by_tran, "enroll", "a", "encounter 1"),
        (*by_tran, "verify", "a", "match"),
        (*by_tran, "identify", "", "1 candidates"),
        (*by_tran, "verify", "a", "non-match"),
        (*by_tran, "verify", "b", "not enrolled"),
        ("", "", "set_status", "a", "locked: lost"),
        ("", "", "remove", "a", "subject"),
    ]
    numbers = [e.number for e in gallery.audit_log()]
    assert numbers == list(range(1, 8))
    assert [e.number for e in gallery.audit_log(after=5)] == [6, 7]
    assert "m.tran (enrolment): verify a match" in str(next(gallery.audit_log(after=1)))


def test_who_acts_is_of_the_thread(gallery: Gallery) -> None:
    with gallery.acting("one", purpose="p"):
        thread = threading.Thread(target=gallery.enroll, args=("a", everything(1)))
        thread.start()
        thread.join()
        with gallery.acting("two", purpose="q"):
            gallery.enroll("b", everything(2))
        gallery.enroll("c", everything(3))
    assert [(e.subject_id, e.actor) for e in gallery.audit_log()] == [("a", ""), ("b", "two"), ("c", "one")]
    with pytest.raises(ValueError, match="actor is ''"), gallery.acting("", purpose="p"):
        pass


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE audit SET actor = 'somebody else' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit SET subject_id = 's9' WHERE number = 1", "entry 1 was changed"),
        ("DELETE FROM audit WHERE number = 2", "entry 2 is missing"),
        ("DELETE FROM audit WHERE number = 5", "ends with entry 4, expected 5"),
        (
            "UPDATE audit SET hash = (SELECT hash FROM audit WHERE number = 1) WHERE number = 5",
            "entry 5 was changed",
        ),
    ],
)
def test_a_log_that_was_tampered_with_is_told(database: str, statement: str, message: str) -> None:
    with Gallery.open(database, load=False) as gallery:
        for n in range(5):
            gallery.enroll(f"s{n}", [face(n)])
        number, last, faults = gallery.check_audit()
        assert (number, last, faults) == (5, list(gallery.audit_log())[-1].hash, [])
        engine = sa.create_engine(database)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()
        (fault,) = gallery.check_audit()[2]
        assert message in fault.what
        assert fault in gallery.check()


# ------------------------------------------------------------------------------ logs, reprs, tracebacks


def test_no_template_is_in_what_is_said(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """Everything that a failing gallery says: messages, tracebacks with causes, logs, reprs."""
    caplog.set_level(logging.DEBUG)
    template = finger(1)
    said: list[object] = []
    store = Store(database)
    gallery = Gallery(store)
    gallery.enroll("a", [template])
    said += [
        gallery,
        store,
        template,
        gallery.subject("a"),
        gallery.identify([template]),
        list(gallery.audit_log()),
    ]
    said += [Enrollment("a", [template]), Claim("a", [template]), gallery.export_subject("a"), KEY]
    said += [store.references("a"), store.claimed(["a"])]
    engine = sa.create_engine(database)
    for statement in (
        "UPDATE gallery SET last_template = 0",  # the next key is taken
        "UPDATE templates SET position = 3",
        "DROP TABLE templates",
    ):
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        for act in (
            lambda: gallery.enroll(f"new{len(said)}", [template]),
            lambda: gallery.verify([template], "a"),
            lambda: gallery.replace("a", [template]),
        ):
            try:
                act()
            except StoreError as error:
                said.append("".join(traceback.format_exception(error)))
    engine.dispose()
    gallery.close()
    text = "\n".join(map(repr, said)) + "\n".join(map(str, said)) + caplog.text
    assert "StoreError" in text
    data = native.write(template)
    for form in (repr(data[20:28])[2:-1], data[20:28].hex(), ", ".join(map(str, template.x[:4].tolist()))):
        assert form not in text
    assert np.array2string(template.x[:4])[1:-1] not in text
