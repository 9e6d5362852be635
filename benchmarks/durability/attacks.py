# SPDX-License-Identifier: Apache-2.0
"""Do known attacks on a gallery succeed?

    python benchmarks/durability/attacks.py --json attacks.json

Each attack runs in a folder of its own and tests whether the harm was done: whether a stranger verifies as the victim,
for example. An attack that forges rows with mended checksums also runs as a *control* on a gallery without encryption,
which promises no protection. The control must succeed; otherwise the attack proves nothing. The exit code is 1 if an
attack succeeds, if a control fails, or if an attack is refused for another reason than expected.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import sqlalchemy as sa

from abis import AnswerPolicy, Disclosure, Outcome
from abis.deduplication.writing import write_duplicates
from abis.errors import AbisError
from abis.formats import native
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import shipped
from abis.store import Enrollment, Status
from abis.store.audit import chained
from abis.store.encryption import MasterKey
from abis.store.import_journal import Journal
from abis.store.stored_form import Place, with_checksum
from abis.store.tags import RowTags
from abis.template import Position, Template
from abis.transfer.importing import import_records, retry
from abis.transfer.sources import open_path
from benchmarks.durability.crash import person
from benchmarks.lib.common import options, print_table, write

KEY = MasterKey(bytes(range(32)))
NAMES = re.compile(r"(?P<subject>[^_]+)_(?P<encounter>.+)")
STRANGER = 66  # the attacker's own templates

COLUMNS = {
    "subjects": "key subject_id templates level status status_reason status_time labels next encounters",
    "settings": "name content",
}
"""Columns that the tag of a row is over, where they are not all columns of the table in their order."""

Run = Callable[[Path, MasterKey | None], bool | str]
"""An attack in an empty folder; True if the harm was done. A text tells what was measured, and that no harm was done.
An :class:`AbisError` is a refusal."""


@dataclass(frozen=True)
class Attack:
    """An attack and its protection.

    Attributes:
        what: what the attacker does.
        expected: what abis does about it.
        run: the attack.
        error: regular expression that the message of the refusal must match; empty if the attack is not refused but has
            no effect. A refusal for another reason would prove nothing.
        control: whether it must succeed without encryption.
    """

    what: str
    expected: str
    run: Run
    error: str = ""
    control: bool = False


ATTACKS: list[Attack] = []


def attack(what: str, expected: str, *, error: str = "", control: bool = False) -> Callable[[Run], Run]:
    """Add a function to the attacks."""

    def add(run: Run) -> Run:
        ATTACKS.append(Attack(what, expected, run, error, control))
        return run

    return add


# ------------------------------------------------------------------------ write access to the database


@contextmanager
def database_of(gallery: Path) -> Iterator[sa.Connection]:
    """Plain SQL, as an attacker writes it."""
    engine = sa.create_engine(f"sqlite:///{gallery}/store.sqlite")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def mend(connection: sa.Connection, table: str) -> None:
    """Write the checksums of a table anew, as an attacker can who has read the source."""
    names = [column["name"] for column in sa.inspect(connection).get_columns(table)]
    own = COLUMNS[table].split() if table in COLUMNS else [name for name in names if name != "checksum"]
    for row in connection.exec_driver_sql(f"SELECT {', '.join(own)} FROM {table}").all():
        tag, _ = RowTags().of(table, row)
        update = sa.text(f"UPDATE {table} SET checksum = :tag WHERE {own[0]} = :key")
        connection.execute(update, {"tag": tag, "key": row[0]})


def opened(folder: Path, key: MasterKey | None) -> Gallery:
    """The gallery under attack, without its references."""
    return Gallery.open(folder / "g", key=key, load=False)


def make(folder: Path, key: MasterKey | None) -> None:
    """A victim, another subject, and one whose identity is terminated."""
    with opened(folder, key) as gallery:
        gallery.enroll("victim", person(1), labels=["north"])
        gallery.enroll("other", person(2), level=1)
        gallery.enroll("gone", person(3))
        gallery.set_status("gone", Status.TERMINATED, reason="fraud")


def verifies(folder: Path, key: MasterKey | None, templates: Sequence[Template], subject_id: str) -> bool:
    """Whether a claim matches."""
    with opened(folder, key) as gallery:
        return gallery.verify(templates, subject_id).outcome == Outcome.MATCH


@attack(
    "forge an unsealed template of the victim",
    "refused when read",
    error="template 1 .* not sealed",
    control=True,
)
def forged_template(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    finger = person(STRANGER)[0]
    forged = with_checksum(native.write(finger), Place(1, 1, Position.RIGHT_INDEX, "victim"))
    with database_of(folder / "g") as connection:
        connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 1"), {"d": forged})
    return verifies(folder, key, [finger], "victim")


@attack(
    "forge it, and state that the gallery is being encrypted",
    "refused when opened",
    error="table gallery is damaged or forged",
)
def forged_template_while_encrypting(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    finger = person(STRANGER)[0]
    forged = with_checksum(native.write(finger), Place(1, 1, Position.RIGHT_INDEX, "victim"))
    with database_of(folder / "g") as connection:
        connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 1"), {"d": forged})
        connection.exec_driver_sql("UPDATE gallery SET reseal_from = 1")
        mend(connection, "gallery")
    return verifies(folder, key, [finger], "victim")


@attack(
    "make a terminated identity active",
    "refused when read",
    error="table subjects is damaged or forged",
    control=True,
)
def forged_status(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with database_of(folder / "g") as connection:
        connection.exec_driver_sql(
            "UPDATE subjects SET status = 0, status_reason = '' WHERE subject_id = 'gone'"
        )
        mend(connection, "subjects")
    return verifies(folder, key, person(3), "gone")


@attack(
    "raise a subject's assurance level",
    "refused when read",
    error="table subjects is damaged or forged",
    control=True,
)
def forged_level(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with database_of(folder / "g") as connection:
        connection.exec_driver_sql("UPDATE subjects SET level = 3 WHERE subject_id = 'other'")
        mend(connection, "subjects")
    with opened(folder, key) as gallery:
        return gallery.subject("other").level == 3


@attack("replace a calibration", "refused when read", error="setting 'calibration.* is damaged or forged")
def forged_calibration(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with opened(folder, key) as gallery:
        gallery.calibrate(shipped("minutiae-mindtct"))
    content = json.loads(shipped("minutiae-mindtct").to_json()) | {"name": "lenient"}
    with database_of(folder / "g") as connection:
        update = sa.text("UPDATE settings SET content = :c WHERE name LIKE 'calibration:%'")
        connection.execute(update, {"c": json.dumps(content)})
        mend(connection, "settings")
    return verifies(folder, key, person(1), "victim")


@attack("put back an earlier row of a subject", "found by abis check")
def earlier_row(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    names = [*COLUMNS["subjects"].split(), "checksum"]
    with database_of(folder / "g") as connection:
        row = connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM subjects WHERE key = 2").one()
    with opened(folder, key) as gallery:
        gallery.set_status("other", Status.LOCKED, reason="card lost")
    with database_of(folder / "g") as connection:
        update = ", ".join(f"{name} = :{name}" for name in names)
        connection.execute(sa.text(f"UPDATE subjects SET {update} WHERE key = 2"), row._asdict())
    with opened(folder, key) as gallery:
        return not gallery.check()


@attack(
    "move a template and its key from another gallery of the same master key",
    "refused when opened",
    error="does not open the data key",
)
def transplant(folder: Path, key: MasterKey | None) -> bool:
    stranger = person(STRANGER)
    with Gallery.open(folder / "staging", key=key, load=False) as gallery:
        gallery.enroll("victim", stranger)
    with opened(folder, key) as gallery:
        gallery.enroll("victim", person(1))
    with database_of(folder / "staging") as connection:
        data = connection.exec_driver_sql("SELECT data FROM templates WHERE key = 1").scalar_one()
        wrapped = connection.exec_driver_sql("SELECT wrapped FROM data_keys WHERE number = 1").scalar_one()
    with database_of(folder / "g") as connection:
        connection.execute(sa.text("UPDATE data_keys SET wrapped = :w WHERE number = 1"), {"w": wrapped})
        connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 1"), {"d": data})
    return verifies(folder, key, stranger[:1], "victim")


@attack(
    "replace a quarantined record by an unsealed template, which retry enrolls",
    "refused when read",
    error="kept bytes 1 are not sealed",
)
def forged_quarantine(folder: Path, key: MasterKey | None) -> bool:
    (folder / "in").mkdir()
    (folder / "in" / "victim_1.abis").write_bytes(b"no template")
    content = native.write(person(STRANGER)[0])
    head = zlib.crc32(content, zlib.crc32(b"kept" + (1).to_bytes(8, "big"))).to_bytes(4, "big")
    with opened(folder, key) as gallery:
        store = gallery.internals.store
        assert import_records(open_path(folder / "in", pattern=NAMES), store).quarantined == 1
        with database_of(folder / "g") as connection:
            update = sa.text("UPDATE kept SET data = :d WHERE key = 1")
            connection.execute(update, {"d": b"\0" + head + content})
        journal = Journal(store)
        for record in list(journal.quarantine()):
            retry(store, journal, record)
        return "victim" in gallery


@attack("write a snapshot that omits a person", "not used")
def forged_snapshot(folder: Path, key: MasterKey | None) -> bool:
    with mock.patch.object(Internals, "sizes", WorkSizes(segment=12, save=1)):
        with Gallery.open(folder / "g", key=key) as gallery:
            gallery.enroll_many(Enrollment(f"s{n}", person(n)) for n in range(8))
        manifest = folder / "g" / "derived" / "manifest.json"
        content = json.loads(manifest.read_text())
        content["files"][0] = content["files"][1] | {"after": 0, "last": 12}
        manifest.write_text(json.dumps(content))
        with Gallery.open(folder / "g", key=key) as gallery:
            return "s1" not in [found.subject_id for found in gallery.identify(person(1))]


@attack(
    "forge a removal in the log of changes, so that searches miss a subject",
    "refused when read",
    error="says that encounter 1 was removed",
)
def forged_change(folder: Path, key: MasterKey | None) -> bool:
    with Gallery.open(folder / "g", key=key) as gallery:
        gallery.enroll("a", person(1))
        gallery.enroll("b", person(2))
        with opened(folder, key) as other:
            other.enroll("c", person(3))
        with database_of(folder / "g") as connection:
            connection.exec_driver_sql("UPDATE changes SET operation = 2, encounter = 1 WHERE number = 3")
        return "a" not in [found.subject_id for found in gallery.identify(person(1))]


@attack("put back an earlier database", "found by abis check")
def rollback(folder: Path, key: MasterKey | None) -> bool:
    with mock.patch.dict(os.environ, ABIS_ANCHORS=str(folder / "anchors")):
        with opened(folder, key) as gallery:
            gallery.enroll("a", person(1))
        shutil.copytree(folder / "g", folder / "earlier")
        with opened(folder, key) as gallery:
            gallery.enroll("b", person(2))
        shutil.rmtree(folder / "g")
        (folder / "earlier").rename(folder / "g")
        with opened(folder, key) as gallery:
            return not gallery.check()


# ----------------------------------------------------------------------------- what was valid once, put back


def rows_of(connection: sa.Connection, table: str, where: str) -> list[dict[str, object]]:
    """Rows as an attacker copies them."""
    return [
        dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table} WHERE {where}").mappings()
    ]


def put_back(connection: sa.Connection, table: str, rows: Sequence[dict[str, object]]) -> None:
    """Insert rows again, in place of those with the same key."""
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(sa.text(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({values})"), row)


@attack(
    "put back a removed encounter, and delete another's templates so that the counters agree",
    "refused when a search finds it",
    error="the encounters of subject 'victim' are not those that were enrolled",
)
def removed_encounter(folder: Path, key: MasterKey | None) -> bool:
    with opened(folder, key) as gallery:
        gallery.enroll("victim", person(1))
        gallery.enroll("victim", person(STRANGER), encounter_id="fraud")
        gallery.enroll("other", person(2))
    with database_of(folder / "g") as connection:
        encounter = rows_of(connection, "encounters", "key = 2")
        templates = rows_of(connection, "templates", "encounter = 2")
    with opened(folder, key) as gallery:
        gallery.remove("victim", encounter_id="fraud")
    with database_of(folder / "g") as connection:
        put_back(connection, "encounters", encounter)
        put_back(connection, "templates", templates)
        connection.exec_driver_sql("DELETE FROM templates WHERE encounter = 3")
    with Gallery.open(folder / "g", key=key) as gallery:
        return "victim" in [found.subject_id for found in gallery.identify(person(STRANGER))]


@attack(
    "put back a quarantined record that was erased, so that a retry enrolls it",
    "refused when read",
    error="the records in quarantine are not all those that were written last",
)
def erased_quarantine(folder: Path, key: MasterKey | None) -> bool:
    (folder / "in").mkdir()
    (folder / "in" / "victim_1.abis").write_bytes(native.write(person(STRANGER)[0]))
    tables = {"quarantine": "key = 1", "quarantined_samples": "record = 1", "kept": "key = 1"}
    with opened(folder, key) as gallery:
        gallery.enroll("victim", person(1))
        store = gallery.internals.store
        assert import_records(open_path(folder / "in", pattern=NAMES), store).quarantined == 1
        with database_of(folder / "g") as connection:
            rows = {table: rows_of(connection, table, where) for table, where in tables.items()}
        gallery.erase("victim")
        with database_of(folder / "g") as connection:
            for table, own in rows.items():
                put_back(connection, table, own)
        assert gallery.check(), "check tells, too"
        journal = Journal(store)
        for record in list(journal.quarantine()):
            retry(store, journal, record)
        return "victim" in gallery


@attack("move the journal of a stopped import forward, so that records are skipped", "the import begins anew")
def forged_journal(folder: Path, key: MasterKey | None) -> bool:
    (folder / "in").mkdir()
    for name in "abcd":
        (folder / "in" / f"{name}_1.abis").write_bytes(native.write(person(ord(name))[0]))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with opened(folder, key) as gallery:
        store = gallery.internals.store
        with suppress(KeyboardInterrupt):
            import_records(open_path(folder / "in", pattern=NAMES), store, batch=1, watch=stop)
        with database_of(folder / "g") as connection:
            connection.exec_driver_sql('UPDATE imports SET "end" = 3')
            connection.exec_driver_sql('UPDATE import_batches SET "end" = 3')
        import_records(open_path(folder / "in", pattern=NAMES), store)
        return len(gallery) < 4


@attack("put back an earlier answer policy", "refused when read", error="settings .* are damaged or forged")
def earlier_policy(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with opened(folder, key) as gallery:
        gallery.set_answer_policy(AnswerPolicy(Disclosure.FULL))
    with database_of(folder / "g") as connection:
        rows = rows_of(connection, "settings", "name = 'disclosure'")
    with opened(folder, key) as gallery:
        gallery.set_answer_policy(AnswerPolicy(Disclosure.DECISION))
    with database_of(folder / "g") as connection:
        put_back(connection, "settings", rows)
    with opened(folder, key) as gallery:
        return bool(gallery.verify(person(1), "victim").evidence)


@attack(
    "copy a lenient calibration from another gallery of the same master key",
    "refused when read",
    error="setting 'calibration.* is damaged or forged",
)
def foreign_calibration(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with Gallery.open(folder / "staging", key=key, load=False) as gallery:
        gallery.calibrate(shipped("minutiae-mindtct"))
    with database_of(folder / "staging") as connection:
        rows = rows_of(connection, "settings", "name LIKE 'calibration:%'")
    with database_of(folder / "g") as connection:
        put_back(connection, "settings", rows)
    return verifies(folder, key, person(1), "victim")


@attack(
    "swap the labels of two subjects",
    "refused when read",
    error="not all subjects with the label 'south' are found",
)
def swapped_labels(folder: Path, key: MasterKey | None) -> bool:
    with Gallery.open(folder / "g", key=key) as gallery:
        gallery.enroll("a", person(1), labels=["north"])
        gallery.enroll("b", person(2), labels=["south"])
        with database_of(folder / "g") as connection:
            swap = "UPDATE labels SET label = CASE label WHEN 'north' THEN 'south' ELSE 'north' END"
            connection.exec_driver_sql(swap)
        return "a" in [found.subject_id for found in gallery.identify(person(1), labels=["south"])]


@attack("swap the encounters of two subjects", "refused when read", error="template 4 is damaged")
def swapped_encounters(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with database_of(folder / "g") as connection:
        connection.exec_driver_sql(
            "UPDATE encounters SET subject = 3 - subject, encounter_id = encounter_id || key WHERE key < 3"
        )
    return verifies(folder, key, person(2), "victim")


@attack("swap a subject's two fingers", "refused when read", error="template 1 is damaged")
def swapped_positions(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with database_of(folder / "g") as connection:
        connection.exec_driver_sql("UPDATE templates SET position = 9 - position WHERE key < 3")
    return verifies(folder, key, person(1), "victim")


@attack("rewrite the audit log, hashes and all", "found by abis check")
def rewritten_log(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with database_of(folder / "g") as connection:
        before = b""
        for row in rows_of(connection, "audit", "1 ORDER BY number"):
            fields = [value for name, value in row.items() if name != "hash"]
            fields[2] = "someone else"
            before = chained(before, fields)  # type: ignore[arg-type]
            update = sa.text("UPDATE audit SET actor = 'someone else', hash = :hash WHERE number = :number")
            connection.execute(update, {"hash": before, "number": row["number"]})
        connection.execute(sa.text("UPDATE gallery SET audit_hash = :hash"), {"hash": before.hex()})
        mend(connection, "gallery")
    try:
        with opened(folder, key) as gallery:
            return not gallery.check()
    except AbisError:
        return False


@attack("put back an earlier snapshot, which holds a removed person", "the person is not found")
def earlier_snapshot(folder: Path, key: MasterKey | None) -> bool:
    with mock.patch.object(Internals, "sizes", WorkSizes(segment=12, save=1)):
        with Gallery.open(folder / "g", key=key) as gallery:
            gallery.enroll_many(Enrollment(f"s{n}", person(n)) for n in range(8))
        shutil.copytree(folder / "g" / "derived", folder / "earlier")
        with Gallery.open(folder / "g", key=key) as gallery:
            gallery.remove("s1")
        shutil.rmtree(folder / "g" / "derived")
        (folder / "earlier").rename(folder / "g" / "derived")
        with Gallery.open(folder / "g", key=key) as gallery:
            return "s1" in [found.subject_id for found in gallery.identify(person(1))]


@attack("put pipes and links in the place of a snapshot's files", "they are not opened")
def pipes_in_cache(folder: Path, key: MasterKey | None) -> bool:
    small = mock.patch.object(Internals, "sizes", WorkSizes(save=1))
    with small, Gallery.open(folder / "g", key=key) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", person(n)) for n in range(3))
    cache, other = folder / "g" / "derived", folder / "other"
    other.write_bytes(b"of another user")
    for number, path in enumerate(sorted(cache.iterdir())):
        path.unlink()
        if number % 2:
            os.mkfifo(path)
        else:
            path.symlink_to(other)
    with Gallery.open(folder / "g", key=key) as gallery:
        found = "s1" in [found.subject_id for found in gallery.identify(person(1))]
    return not found or other.read_bytes() != b"of another user"


@attack("put links, devices and absolute names into an archive", "each is quarantined without content")
def links_in_archive(folder: Path, key: MasterKey | None) -> bool:
    (folder / "secret_1.abis").write_bytes(native.write(person(1)[0]))
    with tarfile.open(folder / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"a{ord(kind)}_1.abis")
            member.type, member.linkname = kind, str(folder / "secret_1.abis")
            archive.addfile(member)
    return _read_from_outside(folder, key, folder / "a.tar", 4)


# -------------------------------------------------------------------------------------- import sources


@attack("name files outside of the source in a manifest", "each is quarantined without content")
def path_traversal(folder: Path, key: MasterKey | None) -> bool:
    (folder / "in").mkdir()
    (folder / "secret").write_bytes(native.write(person(1)[0]))
    (folder / "in" / "link").symlink_to(folder / "secret")
    (folder / "in" / "away").symlink_to(folder)
    paths = ["../secret", str(folder / "secret"), "link", "away/secret", "/proc/self/environ", "/dev/zero"]
    with (folder / "in" / "m.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["subject_id", "path"])
        rows.writerows((f"s{n}", path) for n, path in enumerate(paths))
    return _read_from_outside(folder, key, folder / "in" / "m.csv", len(paths))


@attack("put links and pipes into a folder", "each is quarantined without content")
def links_and_pipes(folder: Path, key: MasterKey | None) -> bool:
    (folder / "in").mkdir()
    (folder / "secret").write_bytes(native.write(person(1)[0]))
    (folder / "in" / "a_1.abis").symlink_to(folder / "secret")
    os.mkfifo(folder / "in" / "b_1.abis")
    return _read_from_outside(folder, key, folder / "in", 2)


def _read_from_outside(folder: Path, key: MasterKey | None, source: Path, refused: int) -> bool:
    with opened(folder, key) as gallery:
        store = gallery.internals.store
        report = import_records(open_path(source, pattern=NAMES), store)
        contents = [sample.content for one in Journal(store).quarantine() for sample in one.record.samples]
        assert report.quarantined + report.enrolled == refused
        return bool(report.enrolled) or any(content is not None for content in contents)


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header.tobuf() + content + bytes(-len(content) % tarfile.BLOCKSIZE)


@attack("import an archive with a header of 64 MiB", "the header is passed over")
def huge_header(folder: Path, key: MasterKey | None) -> bool:
    template, size = native.write(person(1)[0]), 2**26
    with (folder / "a.tar").open("wb") as file:
        header = tarfile.TarInfo("header")
        header.size, header.type = size, tarfile.XHDTYPE
        file.write(header.tobuf())
        file.seek(size, os.SEEK_CUR)
        file.write(_member("b_1.abis", template) + _member("c_1.abis", template))
        file.write(bytes(2 * tarfile.BLOCKSIZE))
    with opened(folder, key) as gallery:
        tracemalloc.start()
        report = import_records(open_path(folder / "a.tar", pattern=NAMES), gallery.internals.store)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak > size // 2 or not report.complete or report.enrolled == 0


@attack("import a small archive that unpacks to 120 MiB", "the import stops; the database stays small")
def archive_bomb(folder: Path, key: MasterKey | None) -> bool:
    with gzip.open(folder / "bomb.tar.gz", "wb", compresslevel=6) as file:
        for number in range(120):
            file.write(_member(f"s{number}_1.abis", bytes(2**20)))
    with opened(folder, key) as gallery:
        store = gallery.internals.store
        try:
            import_records(open_path(folder / "bomb.tar.gz", pattern=NAMES), store)
        except AbisError:
            return (store.disk_bytes() or 0) > 2**23
        return True


@attack("import a subject of 700 templates, which would slow each search", "at most 500 are enrolled")
def many_templates(folder: Path, key: MasterKey | None) -> bool:
    each = native.write(person(1)[2])
    with tarfile.open(folder / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(700):
            header = tarfile.TarInfo(f"a/{number}")
            header.size = len(each)
            header.pax_headers = {"ABIS.subject_id": "a", "ABIS.encounter_id": str(number // 100)}
            archive.addfile(header, io.BytesIO(each))
    with opened(folder, key) as gallery:
        store = gallery.internals.store
        import_records(open_path(folder / "a.tar", pattern=NAMES), store)
        return not 0 < len(store.references("a")) <= 500


# ----------------------------------------------------------------------------------- callers and values


@attack("enroll ids with control characters", "refused")
def control_characters(folder: Path, key: MasterKey | None) -> bool:
    taken = []
    with opened(folder, key) as gallery:
        for name in ("a\x1b[2J", "a\nb", "a\u202eb", "\x9b2J"):
            try:
                gallery.enroll(name, person(1))
            except AbisError:
                continue
            taken.append(name)
    return bool(taken)


@attack("enroll ids that are formulas of spreadsheets", "escaped in CSV files")
def formulas(folder: Path, key: MasterKey | None) -> bool:
    with opened(folder, key) as gallery:
        for name in ('=HYPERLINK("x")', "+1", "@SUM(A1)"):
            gallery.enroll(name, person(1))
        write_duplicates(gallery.deduplicate(threshold=0.0), folder / "pairs.csv")
        gallery.export_records(folder / "out")
    rows: list[dict[str, str]] = []
    for path in (folder / "pairs.csv", folder / "out" / "manifest.csv"):
        with path.open(newline="") as file:
            rows += csv.DictReader(file)
    cells = [row[name] for row in rows for name in ("subject_id", "other_id") if name in row]
    assert cells
    return any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


@attack("alter a template after its checks, and enroll it", "refused", error="altered after it was made")
def altered_template(folder: Path, key: MasterKey | None) -> bool:
    face = person(1)[2]
    vector: np.ndarray = face.vector  # type: ignore[union-attr]
    vector.flags.writeable = True
    vector[:] = np.nan
    with opened(folder, key) as gallery:
        gallery.enroll("a", [face])
        return True


@attack("alter an unpickled template", "its arrays cannot be written")
def unpickled_template(folder: Path, key: MasterKey | None) -> bool:
    again = pickle.loads(pickle.dumps(person(1)[0]))
    return any(value.flags.writeable for value in vars(again).values() if isinstance(value, np.ndarray))


@attack("read scores of a gallery that tells decisions only", "answers are equal")
def scores_of_decisions(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with opened(folder, key) as gallery:
        full = {repr(gallery.verify(person(n), "victim").score) for n in (4, 5, 6)}
        gallery.set_answer_policy(AnswerPolicy(Disclosure.DECISION))
        told = {repr(gallery.verify(person(n), "victim")) for n in (4, 5, 6)}
    assert len(full) > 1, "the probes must differ in their scores"
    return len(told) > 1


@attack("try 30 probes on one subject, over restarts", "paused after three failures")
def guesses(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with opened(folder, key) as gallery:
        gallery.set_answer_policy(AnswerPolicy(failures=3))
    outcomes = []
    for start in range(10, 40, 10):
        with opened(folder, key) as gallery:
            outcomes += [gallery.verify(person(n), "victim").outcome for n in range(start, start + 10)]
    return outcomes.count(Outcome.PAUSED) != len(outcomes) - 3


@attack(
    "find a score by asking for decisions at many rates",
    "refused where the policy names the rate",
    error="decides verifications at 1e-06 only",
)
def many_rates(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with opened(folder, key) as gallery:
        gallery.set_answer_policy(AnswerPolicy(Disclosure.DECISION, fmr=1e-6))
        return len({gallery.verify(person(4), "victim", fmr=10.0**-n).outcome for n in range(9)}) > 1


@attack("ask for more candidates than the policy allows", "refused", error="returns at most 1")
def many_candidates(folder: Path, key: MasterKey | None) -> bool:
    make(folder, key)
    with opened(folder, key) as gallery:
        gallery.set_answer_policy(AnswerPolicy(max_candidates=1))
        return len(gallery.identify(person(1), max_candidates=3)) > 1


# ----------------------------------------------------------------------------------------------- images


def _png(width: int, height: int) -> bytes:
    """A PNG file that states a size and holds no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@attack("read a small image that states 10 gigapixels", "refused", error="too large to be one of a finger")
def image_bomb(folder: Path, key: MasterKey | None) -> bool:
    from abis.extraction.images import read_images  # noqa: PLC0415 - an extra

    read_images(_png(100_000, 100_000))
    return True


EXTRACT = """
import json, resource, sys, time
from abis.extraction.extracting import ExtractionSettings, extract_all
data = sys.stdin.buffer.read()
start = time.process_time()
found = extract_all(data, ExtractionSettings())
own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"reason": found.reason, "seconds": time.process_time() - start + children.ru_utime,
    "megabytes": (own.ru_maxrss + children.ru_maxrss) // 1024}))
"""
MOST_SECONDS, MOST_MEGABYTES = 90, 3_000  # of one file, in processor time on any machine of today


def extracted(data: bytes) -> bool | str:
    """Extract a file in a process; True if that takes more than a file may take, else what it took."""
    command = [sys.executable, "-c", EXTRACT]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True, env=os.environ)
    took = json.loads(done.stdout)
    if took["seconds"] > MOST_SECONDS or took["megabytes"] > MOST_MEGABYTES:
        return True
    return f"{took['seconds']:.0f} s, {took['megabytes']:,} MB: {took['reason']}"


@attack("extract a record of 250 kB that states 100 dpi: 6 megapixels at 500 dpi", "refused")
def low_resolution(folder: Path, key: MasterKey | None) -> bool | str:
    from benchmarks.durability.fuzz_images import finger_record  # noqa: PLC0415 - an extra

    return extracted(finger_record(bytes(500 * 500), 500, 500, compression=0, dpi=100))


@attack("extract the largest image that is not refused", "at most 90 s and 3,000 MB")
def largest_image(folder: Path, key: MasterKey | None) -> bool | str:
    from benchmarks.durability.fuzz_images import finger_record  # noqa: PLC0415 - an extra

    side = int((fingers_pixels() / 25) ** 0.5)
    noise = np.random.default_rng(0).integers(0, 256, side * side, dtype=np.uint8)
    return extracted(finger_record(noise.tobytes(), side, side, compression=0, dpi=100))


@attack("extract a record of 16 kB with 60 images that are large at 500 dpi", "at most 90 s and 3,000 MB")
def many_views(folder: Path, key: MasterKey | None) -> bool | str:
    import PIL.Image  # noqa: PLC0415 - an extra

    from benchmarks.durability.fuzz_images import finger_record, saved  # noqa: PLC0415

    side = int((fingers_pixels() / 25) ** 0.5)
    image = saved(PIL.Image.new("1", (side, side), 1), "PNG", optimize=True)
    record = finger_record(image, side, side, compression=5, dpi=100, views=60)
    assert len(record) < 20_000
    return extracted(record)


def fingers_pixels() -> int:
    """Pixels at 500 dpi of the largest finger image that is not refused."""
    from abis.extraction import fingers  # noqa: PLC0415 - an extra

    return fingers._MOST_PIXELS


@attack("crash the decoder of images", "refused; the calling process goes on", error="crashed")
def decoder_crash(folder: Path, key: MasterKey | None) -> bool:
    from abis.extraction import isolation  # noqa: PLC0415 - an extra
    from abis.extraction.images import read_images  # noqa: PLC0415

    start = subprocess.Popen

    def crashing(_: object, **given: object) -> object:
        code = "import sys, os; f = sys.stdin.buffer; f.read(int.from_bytes(f.read(8))); os.abort()"
        return start([sys.executable, "-c", code], **given)  # type: ignore[call-overload]

    isolation._decoder.stop()
    try:
        with mock.patch.object(subprocess, "Popen", crashing):
            read_images(_png(8, 8))
    finally:
        isolation._decoder.stop()
    return True


# ------------------------------------------------------------------------------------------------ files


@attack("read files of a gallery as another user, after a umask of 0", "no file is readable by others")
def modes(folder: Path, key: MasterKey | None) -> bool:
    before = os.umask(0)
    try:
        with mock.patch.object(Internals, "sizes", WorkSizes(save=1)):
            with Gallery.open(folder / "g", key=key, cache=folder / "cache") as gallery:
                gallery.enroll_many(Enrollment(f"s{n}", person(n)) for n in range(3))
            with opened(folder, key) as gallery:
                gallery.backup(folder / "backup")
                gallery.export_records(folder / "out")
    finally:
        os.umask(before)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert len(paths) > 10
    return any(stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths)


@attack("search cache folders for templates of an erased subject", "their snapshots are gone")
def erased_in_cache(folder: Path, _: MasterKey | None) -> bool:
    """In a gallery that is not encrypted, so that the bytes can be searched for."""
    erased = person(7)
    needle = erased[2].vector.tobytes()  # type: ignore[union-attr]

    def found() -> bool:
        return any(needle in path.read_bytes() for path in folder.rglob("*") if path.is_file())

    with mock.patch.object(Internals, "sizes", WorkSizes(save=1)):
        with Gallery.open(folder / "g", cache=folder / "cache") as gallery:
            gallery.enroll("erased", erased)
            gallery.enroll("other", person(1))
        assert found()
        with opened(folder, None) as gallery:
            gallery.erase("erased")
    return found()


# -------------------------------------------------------------------------------------------------- all


@dataclass(frozen=True)
class Result:
    """What an attack did.

    Attributes:
        name: name of the attack's function; ends with ``_control`` for a control.
        what: what the attacker does.
        expected: what should happen.
        seen: what happened.
        good: whether that is what should happen.
    """

    name: str
    what: str
    expected: str
    seen: str
    good: bool


def carry_out(one: Attack, *, control: bool = False) -> Result:
    """Run an attack, or its control, in a folder of its own."""
    with tempfile.TemporaryDirectory() as made, mock.patch.dict(os.environ, ABIS_ANCHORS="off"):
        try:
            outcome = one.run(Path(made), None if control else KEY)
            succeeded = outcome is True
            seen = outcome if isinstance(outcome, str) else "succeeded" if succeeded else "no harm done"
            good = succeeded if control else not succeeded and not one.error
        except AbisError as error:
            seen = f"refused: {str(error).replace(made, '')}"
            good = not control and bool(one.error) and re.search(one.error, str(error)) is not None
        except Exception as error:
            seen, good = f"{type(error).__name__}: {error}", False
    name = f"{one.run.__name__}{'_control' if control else ''}"
    expected = "succeeds" if control else one.expected
    what = f"control, not encrypted: {one.what}" if control else one.what
    return Result(name, what, expected, seen, good)


def run() -> list[Result]:
    """All attacks and controls."""
    results = []
    for one in ATTACKS:
        results.append(carry_out(one))
        if one.control:
            results.append(carry_out(one, control=True))
    return results


def main() -> int:
    """Attack, print the table, write the outcomes."""
    arguments = options(__doc__ or "").parse_args()
    results = run()
    print_table(
        "Attacks on a gallery",
        ["attack", "expected", "seen", ""],
        [[r.what, r.expected, r.seen[:70], "" if r.good else "FAILED"] for r in results],
    )
    failed = sum(not r.good for r in results)
    figures: dict[str, float | int | str] = {
        "attacks": len(ATTACKS),
        "results": len(results),
        "failed": failed,
    }
    write(arguments.json, figures | {r.name: r.seen for r in results}, seed=arguments.seed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
