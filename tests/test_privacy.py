# SPDX-License-Identifier: Apache-2.0
"""Templates do not leak through files, free pages, logs, reprs or tracebacks, and the audit log is complete."""

import base64
import logging
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from people import everything, face, finger
from traces import found_in, runs

from abis.errors import AbisError, NotEnrolled, StoreError
from abis.formats import iso_19794_2_2005, native, read, xyt
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.store import Enrollment, Status, Store, transaction
from abis.store.encryption import MasterKey
from abis.store.import_journal import Journal
from abis.transfer.importing import import_records, retry
from abis.transfer.sources import open_path
from abis.verification import Claim

KEY = MasterKey(bytes(range(32)))
NAMES = re.compile(r"(?P<subject>[^_]+)(_.*)?")


@pytest.fixture
def gallery(database: str) -> Iterator[Gallery]:
    """An empty gallery in a database of each kind."""
    with Gallery.open(database) as opened:
        yield opened


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


def test_an_erasure_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from abis.store import erasure  # noqa: PLC0415

    monkeypatch.setattr(erasure, "_PATIENCE_S", 0.0)
    with Gallery.open(tmp_path, load=False) as gallery:
        gallery.enroll("a", everything(1))
        other = Store(f"sqlite:///{tmp_path}/store.sqlite")
        with other.database.reading() as connection:
            connection.exec_driver_sql("SELECT * FROM templates").fetchall()
            with pytest.raises(StoreError, match="another process still reads"):
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


def test_encounters_of_a_wrong_clock_stay_and_are_told(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Ahead:
        @staticmethod
        def now(zone: tzinfo) -> datetime:
            return datetime.now(zone) + timedelta(days=400)

    with monkeypatch.context() as patch:
        patch.setattr(transaction, "datetime", Ahead)
        gallery.enroll("late", everything(1))
    (fault,) = gallery.check()
    assert "1 encounters have a time of enrolment in the future" in str(fault)
    assert gallery.remove_older_than(datetime.now(UTC)) == (0, 0)
    assert "1 encounters have a time of enrolment in the future" in caplog.text
    gallery.replace("late", everything(1))
    assert gallery.check() == []


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
    gallery.verify(everything(1, 1), "a")  # no actor is named
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
    gallery = Gallery(Internals(store, None))
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


def said_by(act: Callable[[], object]) -> str:
    """The traceback of what an act raises, with causes and notes, and the error's repr."""
    with pytest.raises((AbisError, TypeError)) as caught:
        act()
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def shows(text: str, data: bytes) -> bool:
    """Whether 12 bytes of some data in a row are in a text: in hexadecimal, base64, or as Python prints bytes."""
    forms = {data[at : at + 12].hex() for at in range(len(data) - 11)}
    forms |= {repr(data[at : at + 12])[2:-1] for at in range(len(data) - 11)}
    coded = base64.b64encode(data).decode()
    forms |= {coded[at : at + 16] for at in range(len(coded) - 15)}
    return any(form in text for form in forms)


def test_the_search_of_texts_would_find_a_template() -> None:
    data = native.write(finger(1))
    for text in (repr(data[30:60]), data[31:50].hex(), base64.b64encode(data[33:90]).decode()):
        assert shows(f"it is {text}.", data[30:90]), text


def test_a_bad_template_is_refused_without_being_shown(
    gallery: Gallery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever refuses one: enroll_many, verify_many, identify, the readers, an import, its quarantine."""
    caplog.set_level(logging.DEBUG)
    templates = {n: native.write(finger(n)) for n in range(4)}
    files = [iso_19794_2_2005.write([finger(n)]) for n in range(4)] + [xyt.write([finger(0)])]
    raw: Any = [templates[1]]
    people = [Enrollment("a", [finger(0)]), Enrollment("b", [finger(1), face(1)])]
    gallery.enroll_many(people)
    said = [
        said_by(lambda: gallery.enroll_many(Enrollment(n, t) for n, t in [("c", [finger(2)]), ("d", raw)])),
        said_by(lambda: gallery.enroll_many(people)),
        said_by(lambda: gallery.enroll("e", [finger(1, impression=1)], unique=True)),
        said_by(lambda: list(gallery.verify_many([Claim("a", raw)]))),
        said_by(lambda: gallery.verify(raw, "a")),
        said_by(lambda: gallery.identify(raw)),
    ]
    strange = Claim("b", [face(2, model="another")])
    said.append(repr(list(gallery.verify_many([Claim("a", [finger(0)]), strange]))))
    said.append(repr(list(gallery.verify_many([Claim("a", [finger(0)]), Claim("z", [finger(0)])]))))
    for data in files:
        for damaged in (data[:-9], data[:40] + b"\xff" * 8 + data[48:], b"?" + data):
            said += [said_by(partial(read, damaged))]
    bad = [base64.b64encode(data).decode() for data in (files[1][:-9], templates[2], templates[3][:-4])]
    rows = [f"e,,{bad[0]}", f"a,,{bad[1]}", f"f,,{bad[2]}", f"g,,{bad[1][:-3]}%%", f"h,left-index,{bad[1]}"]
    (tmp_path / "legacy.csv").write_text("\n".join(["subject_id,position,template", *rows]))
    report = import_records(open_path(tmp_path / "legacy.csv", pattern=NAMES), gallery.internals.store)
    quarantined = list(Journal(gallery.internals.store).quarantine())
    assert len(quarantined) == report.quarantined == 5
    said += [str(report), repr(report), repr(quarantined), *(found.reason for found in quarantined)]
    said += map(str, gallery.audit_log())
    text = "\n".join(said) + caplog.text
    for data in (*templates.values(), *files):
        assert not shows(text, data[24:])  # behind what many of a kind begin with
    for n in range(4):
        x, y = finger(n).x.astype(int).tolist(), finger(n).y.astype(int).tolist()
        for three in (x[5:8], y[5:8], (x[5], y[5])):
            assert not any(glue.join(map(str, three)) in text for glue in (", ", ",", " "))


def test_files_of_jobs_beside_an_encrypted_gallery_hold_no_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint of a de-duplication, what it writes, and what an import with --unique holds back."""
    monkeypatch.setattr(Internals, "sizes", WorkSizes(save=1))
    people = {f"s{n}": everything(n // 2, n % 2) for n in range(30)}
    wanted = set().union(*(runs(t) for templates in people.values() for t in templates))
    (tmp_path / "people").mkdir()
    for name, templates in people.items():
        for number, template in enumerate(templates):
            (tmp_path / "people" / f"{name}_{number}.abis").write_bytes(native.write(template))
    folder = tmp_path / "g"
    checkpoint = folder / "pairs.checkpoint"

    def stop(done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with Gallery.open(folder, key=KEY) as gallery:
        report = import_records(
            open_path(tmp_path / "people", pattern=NAMES),
            gallery.internals.store,
            unique=gallery.internals.uniqueness(fpir=1e-4),
        )
        assert (report.enrolled, report.quarantined) == (15, 15)
        assert found_in(folder, wanted) == set()
        for found in list(Journal(gallery.internals.store).quarantine()):
            assert retry(gallery.internals.store, Journal(gallery.internals.store), found) is None
        with pytest.raises(KeyboardInterrupt):
            gallery.deduplicate(checkpoint=checkpoint, progress=stop)
        assert checkpoint.stat().st_size > 1000
        gallery.identify(everything(3, 1))
        assert found_in(folder, wanted) == set()
    segments = list((folder / "derived").glob("*.segment"))
    assert segments
    assert all(file.read_bytes()[8] == 1 for file in segments), (
        "sealed: codes of minutiae are not in the stored form"
    )
    assert found_in(folder, wanted) == set()
