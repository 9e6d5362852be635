# SPDX-License-Identifier: Apache-2.0
"""Galleries of earlier releases open, hold what they held, and have the schema of new ones."""

import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from people import processes

from abis.errors import StoreError
from abis.gallery import Gallery
from abis.store import SCHEMA_VERSION, Mark, Status, Store
from abis.store.encryption import MasterKey
from abis.store.import_journal import Journal
from abis.store.lifecycle import keys_with_labels
from abis.template import Embedding, Minutiae, Position, Template

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ["0.1.0", "schema-2", "schema-3", "schema-2-encrypted", "schema-3-encrypted"]
KEY = MasterKey(bytes(range(32)))


def key_of(version: str) -> MasterKey | None:
    return KEY if version.endswith("encrypted") else None


def finger(n: int, position: Position) -> Minutiae:
    return Minutiae(
        x=[10 * n, 60, 70 + n],
        y=[20, 80, 30],
        direction=[90, 270, 45.5],
        width=100,
        height=100,
        position=position,
    )


def face(n: int) -> Embedding:
    return Embedding(vector=[0.6, 0.8 * (-1) ** n, 0, 0], model="golden")


HELD: dict[tuple[str, str], list[Template]] = {
    ("079203001234", "1"): [finger(1, Position.RIGHT_INDEX), finger(2, Position.LEFT_INDEX), face(1)],
    ("Đặng Văn Lâm", "2024-01-31"): [face(2)],
    ("079203001234", "renewal"): [face(3)],
}


def written_by(version: str, database: str) -> None:
    """Fill an empty database with what a release wrote."""
    url = sa.make_url(database)
    script = (GOLDEN / f"{version}-{url.get_backend_name()}.sql").read_text(encoding="utf-8")
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(url.database))
        connection.executescript(script)
        connection.close()
    else:
        engine = sa.create_engine(url)
        with engine.begin() as server:
            server.exec_driver_sql(script)
        engine.dispose()


def content(database: str, key: MasterKey | None = None) -> dict[tuple[str, str], list[Template]]:
    """All that a gallery holds."""
    store = Store(database, key=key)
    found: dict[tuple[str, str], list[Template]] = {}
    tail = store.tail(Mark(), limit=100)
    names = store.names({t.subject for t in tail.enrolled})
    for t in tail.enrolled:
        found.setdefault((names[t.subject], t.encounter_id), []).append(t.template)
    store.close()
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_earlier_release_wrote_is_read(database: str, version: str) -> None:
    written_by(version, database)
    key = key_of(version)
    others: dict[tuple[str, str], list[Template]] = {}
    if version != "0.1.0":
        others = {("zz", "1"): [face(6)], ("AA", "1"): [face(7)]}
    with Gallery.open(database, key=key) as gallery:
        assert gallery.info().schema_version == SCHEMA_VERSION
        assert gallery.check() == []
        assert content(database, key) == HELD | others
        before = gallery.info()
        assert gallery.verify([face(2)], "Đặng Văn Lâm", fmr=0.5)
        gallery.enroll("new", [face(5)])
        found = gallery.identify([finger(1, Position.RIGHT_INDEX)])
        assert found[0].subject_id == "079203001234"
        after = gallery.info()
        assert (after.change, after.subjects) == (before.change + 1, before.subjects + 1)
        assert gallery.check() == []
    assert content(database, key) == HELD | others | {("new", "1"): [face(5)]}


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_status_labels_and_levels_outlive_a_migration(database: str, version: str) -> None:
    written_by(version, database)
    with Gallery.open(database, load=False, key=key_of(version)) as gallery:
        assert gallery.subject("zz").status == Status.LOCKED
        assert gallery.subject("079203001234").labels == ("north",)
        assert gallery.subject("Đặng Văn Lâm").labels == ("north", "south")
        assert gallery.subject("Đặng Văn Lâm").level == 2
        north, _ = keys_with_labels(gallery.internals.store, ["north"])
        assert set(gallery.internals.store.names(north.tolist()).values()) == {"079203001234", "Đặng Văn Lâm"}


def shape(url: str) -> dict[str, object]:
    """Tables, columns, keys and indices."""
    engine = sa.create_engine(url)
    look = sa.inspect(engine)
    found: dict[str, object] = {}
    for table in sorted(look.get_table_names()):
        found[table] = (
            sorted(
                (c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in look.get_columns(table)
            ),
            look.get_pk_constraint(table)["constrained_columns"],
            sorted((i["name"] or "", i["column_names"]) for i in look.get_indexes(table)),
            sorted(k["constrained_columns"] for k in look.get_foreign_keys(table)),
            sorted(k["column_names"] for k in look.get_unique_constraints(table)),
        )
    engine.dispose()
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migrated_gallery_has_the_tables_of_a_new_one(
    version: str, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database.startswith("sqlite"):
        new = f"sqlite:///{tmp_path}/new.sqlite"
    else:
        new = request.getfixturevalue("postgresql").new_database()
    written_by(version, database)
    for url in (database, new):
        store = Store(url, key=key_of(version))
        if "-" in version.removeprefix("schema-") or version == "schema-3":
            Journal(store)  # those were written with an import
        store.close()
    assert shape(database) == shape(new)


def test_a_migration_that_fails_leaves_the_gallery_as_it_was(database: str) -> None:
    written_by("0.1.0", database)
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE settings (what INTEGER)")  # is in the way of the last step
    before = shape(database)
    with pytest.raises(StoreError, match=r"settings.* already exists"):
        Store(database)
    assert shape(database) == before
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE settings")
    engine.dispose()
    Store(database).close()


@pytest.mark.parametrize("version", ["schema-2-encrypted", "schema-3-encrypted", "schema-3"])
def test_calibrations_and_the_quarantine_outlive_a_migration(database: str, version: str) -> None:
    written_by(version, database)
    with Gallery.open(database, load=False, key=key_of(version)) as gallery:
        slope = gallery.calibration(finger(1, Position.RIGHT_INDEX)).slope
        assert slope == pytest.approx(0.8535785, rel=1e-6)  # of the calibration that the golden files hold
        (held,) = Journal(gallery._store).quarantine()
        assert (held.record.subject_id, held.record.samples[0].content) == ("bad", b"no template")


@pytest.mark.parametrize("version", ["schema-2-encrypted", "schema-3-encrypted"])
def test_an_encrypted_gallery_is_migrated_with_its_key_only(database: str, version: str) -> None:
    written_by(version, database)
    before = shape(database)
    for key in (None, MasterKey(bytes(32))):
        with pytest.raises(StoreError, match=r"give its master key|does not open"):
            Store(database, key=key)
    assert shape(database) == before
    Store(database, key=KEY).close()


def migrate(database: str, last: int) -> None:
    """Open a gallery, and kill this process after a number of statements."""
    count = 0

    def count_statement(*_: object) -> None:
        nonlocal count
        count += 1
        if count > last:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "before_cursor_execute", count_statement)
    Store(database, key=KEY).close()


def test_killed_at_any_moment_of_its_migration_a_gallery_is_all_of_before_or_all_of_after(
    tmp_path: Path,
) -> None:
    written_by("schema-3-encrypted", f"sqlite:///{tmp_path}/golden.sqlite")
    context = processes()
    for last in (0, 2, 3, 6, 9, 12, 16, 20, 25, 30, 35, 1000):
        database = tmp_path / f"{last}.sqlite"
        shutil.copy(tmp_path / "golden.sqlite", database)
        process = context.Process(target=migrate, args=(f"sqlite:///{database}", last))
        process.start()
        process.join()
        assert process.exitcode == (0 if last == 1000 else -signal.SIGKILL)
        with Gallery.open(f"sqlite:///{database}", load=False, key=KEY) as gallery:
            assert gallery.check() == []
            assert gallery.subject("zz").status == Status.LOCKED
