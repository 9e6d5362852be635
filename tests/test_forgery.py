# SPDX-License-Identifier: Apache-2.0
"""An attacker may write to the database of an encrypted gallery, and has not its master key: no forgery is believed.

Each test is an attack that once succeeded. Checksums are mended as the attacker would mend them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from people import RIGHT, everything, face, finger

from abis.errors import AbisError, StoreError
from abis.formats import native
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import shipped
from abis.store import Enrollment, Status, Store
from abis.store.encryption import MasterKey
from abis.store.import_journal import Journal
from abis.store.import_records import Record, Sample
from abis.store.stored_form import Place, with_checksum
from abis.store.tags import RowTags
from abis.template import Position
from abis.transfer.importing import import_records, retry
from abis.transfer.sources.names import NamedSample, records_of
from abis.transfer.sources.source import Progress, Source

KEY = MasterKey(bytes(range(32)))
SUBJECT = "key, subject_id, templates, level, status, status_reason, status_time, labels, next, encounters"


@contextmanager
def database_of(url: str) -> Iterator[sa.Connection]:
    """Plain SQL, as an attacker writes it."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def mend(connection: sa.Connection, table: str, key: str = "key") -> None:
    """Write checksums anew, as anyone can who has read the source."""
    names = [c["name"] for c in sa.inspect(connection).get_columns(table)]
    columns = {
        "subjects": SUBJECT.replace(",", ""),
        "encounters": "key subject encounter_id enrolled",
        "settings": "name content",
        "label_totals": "label subjects keys",
    }.get(table, " ".join(n for n in names if n != "checksum"))
    own = columns.split()
    for row in connection.exec_driver_sql(f"SELECT {', '.join(own)} FROM {table}").all():
        tag, _ = RowTags().of(table, row)
        update = sa.text(f"UPDATE {table} SET checksum = :tag WHERE {own[0]} = :key")
        connection.execute(update, {"tag": tag, "key": row[0]})


def opened(database: str) -> Gallery:
    return Gallery.open(database, key=KEY, load=False)


@pytest.fixture
def victim(database: str) -> str:
    """A gallery with a victim, another subject and one that is terminated."""
    with opened(database) as gallery:
        gallery.enroll("victim", everything(1), labels=["north"])
        gallery.enroll("other", everything(2), level=1)
        gallery.enroll("gone", everything(3))
        gallery.set_status("gone", Status.TERMINATED, reason="fraud")
    return database


@pytest.mark.parametrize("lowered", [False, True])
def test_a_forged_plain_template_is_refused_though_the_gallery_says_that_it_is_being_encrypted(
    victim: str, lowered: bool
) -> None:
    forged = with_checksum(native.write(finger(66)), Place(1, 1, RIGHT, "victim"))
    with database_of(victim) as connection:
        connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 1"), {"d": forged})
        connection.exec_driver_sql("UPDATE gallery SET reseal_from = 1")
        if lowered:
            mend(connection, "gallery")
    with pytest.raises(StoreError, match="damaged"), opened(victim) as gallery:
        assert not gallery.verify([finger(66)], "victim")
    with pytest.raises(StoreError, match="damaged or forged"), opened(victim) as gallery:
        gallery.reseal()


def test_a_plain_template_is_refused_while_a_new_data_key_seals_all(victim: str) -> None:
    forged = with_checksum(native.write(finger(66)), Place(9, 3, Position.FACE, "gone"))

    class StoppedError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StoppedError

    with opened(victim) as gallery:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Internals, "sizes", WorkSizes(reseal=2))
            with pytest.raises(StoppedError):
                gallery.rotate_data_key(progress=stop)
        with database_of(victim) as connection:
            connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 9"), {"d": forged})
        with pytest.raises(StoreError, match="not sealed, in an encrypted gallery"):
            gallery._store.claimed(["gone"])


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE subjects SET status = 0, status_reason = '' WHERE subject_id = 'gone'", "subjects"),
        ("UPDATE subjects SET level = 3 WHERE subject_id = 'other'", "subjects"),
        ("UPDATE encounters SET subject = 1, encounter_id = '2' WHERE key = 2", "encounters"),
        ("UPDATE label_totals SET keys = 2", "label_totals"),
    ],
)
def test_status_level_owners_and_labels_are_not_forged_by_mended_checksums(
    victim: str, statement: str, table: str
) -> None:
    with database_of(victim) as connection:
        connection.exec_driver_sql(statement)
        mend(connection, table)
    with opened(victim) as gallery:
        assert any("forged" in str(fault) for fault in gallery.check())
        asked: list[Callable[[], object]] = [
            lambda: gallery.subject("gone"),
            lambda: gallery.subject("other"),
            lambda: gallery.verify(everything(2), "other"),
            lambda: gallery.identify(everything(1), labels=["north"]),
        ]
        refused = 0
        for ask in asked:
            try:
                ask()
            except StoreError:
                refused += 1
        assert refused


def test_a_forged_calibration_is_refused(victim: str) -> None:
    honest = shipped("minutiae-mindtct").to_json()
    with opened(victim) as gallery:
        gallery.calibrate(shipped("minutiae-mindtct"))
    with database_of(victim) as connection:
        forged = json.dumps(json.loads(honest) | {"name": "everybody"})
        update = sa.text("UPDATE settings SET content = :c WHERE name LIKE 'calibration:%'")
        connection.execute(update, {"c": forged})
        mend(connection, "settings")
    with opened(victim) as gallery, pytest.raises(StoreError, match="forged"):
        gallery.verify(everything(1), "victim")


def test_a_calibration_that_was_taken_away_is_missed(victim: str) -> None:
    with opened(victim) as gallery:
        gallery.calibrate(shipped("minutiae-mindtct"))
    with database_of(victim) as connection:
        connection.exec_driver_sql("DELETE FROM settings")
    with opened(victim) as gallery, pytest.raises(StoreError, match=r"settings .* damaged or forged"):
        gallery.verify(everything(1), "victim")


def test_rows_of_an_earlier_time_do_not_fit(victim: str) -> None:
    """Their tags are valid: the subject's row, or the gallery's, tells that they are not of now."""
    tables = ("templates", "encounters", "subjects")

    def rows(connection: sa.Connection, table: str) -> list[dict[str, object]]:
        which = {"templates": "encounter = 1", "encounters": "subject = 1", "subjects": "key = 3"}[table]
        found = connection.exec_driver_sql(f"SELECT * FROM {table} WHERE {which}").mappings().all()
        return [dict(row) for row in found]

    with database_of(victim) as connection:
        old = {table: rows(connection, table) for table in tables}
    with opened(victim) as gallery:
        gallery.replace("victim", everything(9))
        gallery.set_status("gone", Status.ACTIVE, reason="appeal")
        assert gallery.check() == []
    with database_of(victim) as connection:
        connection.exec_driver_sql("DELETE FROM templates WHERE encounter = 4")
        connection.exec_driver_sql("DELETE FROM encounters WHERE key = 4")
        for table in ("encounters", "templates"):
            for row in old[table]:
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
    with opened(victim) as gallery:
        with pytest.raises(StoreError, match="are not those that were enrolled"):
            gallery.verify(everything(1), "victim")
        assert any("encounters are not those" in str(fault) for fault in gallery.check())


def test_an_earlier_row_of_a_subject_is_found_by_check(victim: str) -> None:
    with database_of(victim) as connection:
        columns = f"{SUBJECT}, checksum"
        row = connection.exec_driver_sql(f"SELECT {columns} FROM subjects WHERE key = 3").one()
    with opened(victim) as gallery:
        gallery.set_status("gone", Status.ACTIVE, reason="appeal")
        gallery.set_status("gone", Status.TERMINATED, reason="appeal lost")
    with database_of(victim) as connection:
        update = ", ".join(f"{name} = :{name}" for name in columns.split(", "))
        connection.execute(sa.text(f"UPDATE subjects SET {update} WHERE key = 3"), row._asdict())
    with opened(victim) as gallery:
        assert any("of an earlier time" in str(fault) for fault in gallery.check())


def test_keys_and_rows_of_another_gallery_under_one_master_key_are_refused(
    database: str, tmp_path: Path
) -> None:
    """A staging gallery, in which anyone may enroll, and the real one."""
    staging = tmp_path / "staging"
    with Gallery.open(staging, key=KEY, load=False) as gallery:
        gallery.enroll("victim", everything(66))
    with opened(database) as gallery:
        gallery.enroll("victim", everything(1))
    with database_of(f"sqlite:///{staging}/store.sqlite") as connection:
        data = connection.exec_driver_sql("SELECT data FROM templates WHERE key = 1").scalar_one()
        wrapped = connection.exec_driver_sql("SELECT wrapped FROM data_keys WHERE number = 1").scalar_one()
    with database_of(database) as connection:
        made = {"w": wrapped, "n": 2}
        connection.execute(sa.text("INSERT INTO data_keys VALUES (:n, :w, 0)"), made)
        # The number of the key stands in the clear: sealed by "data key 2".
        foreign = data[:3] + (2).to_bytes(4, "big") + data[7:]
        connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 1"), {"d": foreign})
    with pytest.raises(StoreError, match="data key 2 is not of this gallery"):
        opened(database)
    with database_of(database) as connection:
        connection.exec_driver_sql("DELETE FROM data_keys WHERE number = 2")
        connection.execute(sa.text("UPDATE data_keys SET wrapped = :w WHERE number = 1"), {"w": wrapped})
        connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 1"), {"d": data})
    with pytest.raises(StoreError, match="does not open the data key"):
        opened(database)


class OneRecord(Source):
    """A source of one record, of a faulty template."""

    name = "one record"

    def __init__(self, subject_id: str, content: bytes) -> None:
        self._sample = NamedSample(subject_id, None, Sample("row 1", content), 1)

    @property
    def fingerprint(self) -> None:
        return None

    def records(self, after: int) -> Iterator[Record]:
        return records_of([self._sample])

    def progress(self) -> Progress:
        return Progress(1, 1)


def enroll_all(store: Store, journal: Journal) -> None:
    for record in list(journal.quarantine()):
        retry(store, journal, record)


@pytest.mark.parametrize("attack", ["plain bytes", "other subject", "other bytes"])
def test_what_was_forged_in_quarantine_is_not_enrolled(database: str, attack: str) -> None:
    content = native.write(finger(66))
    with opened(database) as gallery:
        import_records(OneRecord("victim", b"no template"), gallery._store)
        import_records(OneRecord("attacker", content[:-1]), gallery._store)
    with database_of(database) as connection:
        if attack == "plain bytes":
            head = zlib.crc32(content, zlib.crc32(b"kept" + (1).to_bytes(8, "big"))).to_bytes(4, "big")
            connection.execute(
                sa.text("UPDATE kept SET data = :d WHERE key = 1"), {"d": b"\0" + head + content}
            )
        elif attack == "other subject":
            connection.exec_driver_sql("UPDATE quarantine SET subject_id = '\"victim\"' WHERE key = 2")
        else:
            connection.exec_driver_sql("UPDATE quarantined_samples SET kept = 2 WHERE record = 1")
    with opened(database) as gallery:
        journal = Journal(gallery._store)
        with pytest.raises(StoreError, match=r"not sealed|forged"):
            enroll_all(gallery._store, journal)
        assert "victim" not in gallery


def test_a_forged_snapshot_hides_no_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forged snapshot is refused, and so is an old one whose manifest states a later change."""
    monkeypatch.setattr(Internals, "sizes", WorkSizes(segment=12, save=1))
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(8))
    manifest = tmp_path / "g" / "derived" / "manifest.json"
    content = json.loads(manifest.read_text())
    assert len(content["files"]) == 2
    content["files"][0] = content["files"][1] | {"after": 0, "last": 12}
    if "digest" in content:
        del content["digest"]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        content["digest"] = digest
    manifest.write_text(json.dumps(content))
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        assert gallery.identify(everything(1, 1))[0].subject_id == "s1"
        with pytest.raises(AbisError, match="s1"):
            gallery.enroll("again", everything(1, 1), unique=True)


def test_a_forged_line_in_the_log_of_changes_hides_no_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(save=1))
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        gallery.enroll("a", everything(1))
        gallery.enroll("b", everything(2))
        with opened(str(tmp_path / "g")) as other:
            other.enroll("c", everything(3))
        with database_of(f"sqlite:///{tmp_path}/g/store.sqlite") as connection:
            connection.exec_driver_sql("UPDATE changes SET operation = 2, encounter = 1 WHERE number = 3")
        with pytest.raises(StoreError, match="encounter 1 was removed; it is there"):
            gallery.identify(everything(1, 1))


def test_a_copy_is_the_same_gallery_and_may_use_its_snapshot(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        gallery.enroll("a", [face(1)])
    shutil.copytree(tmp_path / "g", tmp_path / "copy")
    with Gallery.open(tmp_path / "copy", key=KEY) as gallery:
        assert gallery.verify([face(1, 1)], "a", fmr=0.5)
        assert gallery.check() == []
