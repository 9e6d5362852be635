# SPDX-License-Identifier: Apache-2.0
"""Imports and exports: each record of a source is enrolled, already there, or in quarantine."""

from __future__ import annotations

import base64
import csv
import dataclasses
import gzip
import io
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from format_records import cbeff
from hypothesis import given
from hypothesis import strategies as st
from people import LEFT, RIGHT, everything, face, finger
from traces import found_in, runs

from abis.errors import FormatError, NotEnrolled, StoreError
from abis.formats import Format, native, write
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.store import Enrollment, Mark, Store, erasure, lifecycle
from abis.store.encryption import MasterKey
from abis.store.import_journal import Journal
from abis.store.import_records import Record, Rejected, Sample, digest
from abis.store.quarantine import remove_quarantined_before
from abis.template import Minutiae, Position, Template
from abis.transfer.enrolling import Look
from abis.transfer.exporting import export
from abis.transfer.importing import import_records, retry
from abis.transfer.preparation import prepare, prepare_batch
from abis.transfer.reconciliation import ImportReport, reconcile
from abis.transfer.sources import open_path
from abis.transfer.sources.gallery import GallerySource
from abis.transfer.sources.query import QuerySource
from abis.transfer.sources.source import Progress, Source

NAMES = re.compile(r"(?P<subject>[^_]+)(_.*)?")
AWKWARD = ["Nguyễn Thị Ánh", 'a,b"c;d', "../etc", "e\u0301", "é", " ", "=1+1", "\U0001d518" * 255]
"""Ids that files, tables and databases get wrong when they can."""

People = dict[str, Sequence[Template]]


@pytest.fixture
def people() -> People:
    return {f"P{person}": everything(person) for person in range(5)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Gallery.open(tmp_path / "gallery", load=False) as gallery:
        yield gallery.internals.store


def record(subject_id: object, *templates: Template, end: int = 1, encounter: object = None) -> Record:
    samples = tuple(Sample(f"s{n}", native.write(t)) for n, t in enumerate(templates))
    return Record(subject_id, encounter, samples, end)


class ListSource(Source):
    """Records from memory."""

    name = "a list"

    def __init__(self, *records: Record, fingerprint: str = "0") -> None:
        self._records = records
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def records(self, after: int) -> Iterator[Record]:
        yield from (record for record in self._records if record.end > after)

    def progress(self) -> Progress:
        return Progress(0, len(self._records))


def content(store: Store) -> dict[tuple[str, str], list[bytes]]:
    """The templates of each encounter, to the bit, in their order."""
    everything = store.tail(Mark(), limit=1_000_000).enrolled
    names = store.names({stored.subject for stored in everything})
    found: dict[tuple[str, str], list[bytes]] = {}
    for stored in everything:
        key = (names[stored.subject], stored.encounter_id)
        found.setdefault(key, []).append(native.write(stored.template))
    return found


def content_of(people: People, encounter_id: str = "1") -> dict[tuple[str, str], list[bytes]]:
    return {(name, encounter_id): [native.write(t) for t in own] for name, own in people.items()}


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    assert report.mismatches == ()
    return report.read, report.enrolled, report.already_there, report.quarantined


def reasons(store: Store) -> list[str]:
    return [found.reason for found in Journal(store).quarantine()]


# --- sources ------------------------------------------------------------------------------------------


def save_folder(folder: Path, people: People) -> Path:
    """A folder for the faces and fingers of each, as a legacy system may name them."""
    folder.mkdir()
    for name, templates in people.items():
        (folder / name[0]).mkdir(exist_ok=True)
        for number, template in enumerate(templates):
            (folder / name[0] / f"{name}_{number}.abis").write_bytes(native.write(template))
    return folder


def save_tar(path: Path, people: People, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, templates in people.items():
            for number, template in enumerate(templates):
                member = tarfile.TarInfo(f"prints/{name}_{number}.abis")
                data = native.write(template)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def save_csv(path: Path, people: People, *more: Sequence[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["subject_id", "encounter_id", "position", "template"])
        for name, templates in people.items():
            for t in templates:
                text = base64.b64encode(native.write(t)).decode()
                rows.writerow([name, "", t.position.name.lower().replace("_", "-"), text])
        rows.writerows(more)
    return path


def save_parquet(path: Path, people: People) -> Path:
    rows = [(name, int(t.position), native.write(t)) for name, templates in people.items() for t in templates]
    schema = [("subject_id", "string"), ("position", "int8"), ("template", "binary")]
    columns = [[row[n] for row in rows] for n in range(3)]
    table = pyarrow.table(columns, pyarrow.schema(schema))
    pyarrow.parquet.write_table(table, path, row_group_size=4)
    return path


def save_database(path: Path, people: People) -> tuple[str, str]:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE prints (citizen TEXT, fgp INTEGER, fmr BLOB)")
    rows = [(name, int(t.position), native.write(t)) for name, templates in people.items() for t in templates]
    connection.executemany("INSERT INTO prints VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    query = "SELECT citizen AS subject_id, fgp AS position, fmr AS template FROM prints ORDER BY rowid"
    return f"sqlite:///{path}", query


def save(kind: str, folder: Path, people: People) -> Path:
    """The people in a source of the kind, one that is a path."""
    match kind:
        case "folder":
            return save_folder(folder / "a", people)
        case "tar":
            return save_tar(folder / "b.tar", people)
        case "tar.gz":
            return save_tar(folder / "b.tar.gz", people, "w:gz")
        case "tar.zst":
            plain = save_tar(folder / "b.tar", people).read_bytes()
            (folder / "b.tar.zst").write_bytes(pyarrow.compress(plain, "zstd", asbytes=True))
            return folder / "b.tar.zst"
        case "csv":
            return save_csv(folder / "c.csv", people)
        case _:
            return save_parquet(folder / "d.parquet", people)


def source_of(kind: str, folder: Path, people: People) -> Source:
    """The people in a source of the kind."""
    match kind:
        case "gallery":
            other = Gallery.open(folder / "other", load=False)
            other.enroll_many(Enrollment(name, templates) for name, templates in people.items())
            return GallerySource(other.internals.store)
        case "query":
            return QuerySource(*save_database(folder / "e.db", people))
        case _:
            return open_path(save(kind, folder, people), pattern=NAMES)


KINDS = ["folder", "tar", "tar.gz", "tar.zst", "csv", "parquet", "gallery", "query"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_source_gives_the_same_gallery(
    tmp_path: Path, store: Store, people: People, kind: str
) -> None:
    source = source_of(kind, tmp_path, people)
    assert counts(import_records(source, store)) == (5, 5, 0, 0)
    assert content(store) == content_of(people)
    assert counts(import_records(source, store)) == (5, 0, 5, 0)
    assert content(store) == content_of(people)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_source_goes_on_after_any_record(tmp_path: Path, people: People, kind: str) -> None:
    source = source_of(kind, tmp_path, people)
    everything = list(source.records(0))
    assert [r.subject_id for r in everything] == list(people)
    ends = [r.end for r in everything]
    assert ends == sorted(set(ends))
    for number, end in enumerate(ends, 1):
        assert list(source.records(end)) == everything[number:]


def test_a_changed_source_has_another_fingerprint(tmp_path: Path, people: People) -> None:
    source = save_folder(tmp_path / "a", people)
    before = open_path(source, pattern=NAMES).fingerprint
    assert open_path(source, pattern=NAMES).fingerprint == before
    assert open_path(source, pattern=re.compile("(?P<subject>.*)")).fingerprint != before
    (source / "P" / "P0_0.abis").write_bytes(b"")
    assert open_path(source, pattern=NAMES).fingerprint != before


def test_names_may_say_encounter_and_position(tmp_path: Path, store: Store) -> None:
    (tmp_path / "in" / "P1").mkdir(parents=True)
    data = write([finger(1, stated=Position.UNKNOWN_FINGER)], Format.ISO_19794_2_2005)
    (tmp_path / "in" / "P1" / "2019 left-thumb.fmr").write_bytes(data)
    pattern = re.compile(r"(?P<subject>\w+)/(?P<encounter>\d+) (?P<position>[\w-]+)")
    assert counts(import_records(open_path(tmp_path / "in", pattern=pattern), store)) == (1, 1, 0, 0)
    (stored,) = store.references("P1")
    assert (stored.encounter_id, stored.template.position) == ("2019", Position.LEFT_THUMB)


def test_a_manifest_names_files_beside_it(tmp_path: Path, store: Store) -> None:
    (tmp_path / "p1.xml").write_bytes(cbeff(write([finger(1)], Format.ISO_19794_2_2011)))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,born,subject_id\np1.xml,1970,P1\nabsent.fmr,1971,P2\n", encoding="utf-8-sig")
    report = import_records(open_path(manifest, pattern=NAMES), store)
    assert counts(report) == (2, 1, 0, 1)
    assert report.ignored_columns == ("born",)
    assert "P1" in store
    assert reasons(store) == ["line 3: absent.fmr: No such file or directory"]


@pytest.mark.skipif(os.name != "posix", reason="special files")
def test_what_is_no_template_file_is_named_and_left_alone(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_folder(tmp_path / "in", {"P1": [face(1)]})
    (folder / "P2_film.mp4").write_bytes(bytes(2000))
    os.mkfifo(folder / "P3_fifo")
    (folder / "P4_link").symlink_to("absent")
    (folder / "P5_folder").symlink_to(".")
    (folder / ".P6").touch()
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.add(folder, "in")
    for module in ("archive", "files"):
        monkeypatch.setattr(f"abis.transfer.sources.{module}.LARGEST_FILE", 1000)
    assert counts(import_records(open_path(folder, pattern=NAMES), store)) == (5, 1, 0, 4)
    assert reasons(store) == [
        "P2_film.mp4: has 2,000 bytes; a template record has at most 1,000",
        "P3_fifo: is no regular file",
        "P4_link: leads over a link",
        "P5_folder: leads over a link",
    ]
    report = import_records(open_path(tmp_path / "b.tar", pattern=NAMES), store)
    assert counts(report) == (6, 0, 1, 5)  # there, a hidden file is a member as any other


def test_labels_come_along(tmp_path: Path, store: Store) -> None:
    text = base64.b64encode(native.write(face(1))).decode()
    rows = [
        "subject_id,labels,template",
        f"P1,north; coast,{text}",
        f"P1,coast,{text}",
        f"P2,;,{text}",
        "P3,x,!",
    ]
    (tmp_path / "m.csv").write_text("\n".join(rows))
    assert counts(import_records(open_path(tmp_path / "m.csv", pattern=NAMES), store)) == (3, 1, 0, 2)
    assert lifecycle.subject(store, "P1").labels == ("coast", "north")
    no_label, no_text = Journal(store).quarantine()
    assert no_label.reason == "line 4: label has 0 characters; expected 1 to 255"
    assert no_text.record.labels == ("x",)


@pytest.mark.parametrize("header", ["", "subject_id\n", "template,path\n", "subject_id,template,template\n"])
def test_a_table_without_the_columns_it_needs_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "m.csv").write_text(header)
    with pytest.raises(
        FormatError, match=r"m\.csv: columns are .*; expected subject_id, and template or path"
    ):
        open_path(tmp_path / "m.csv", pattern=NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_sources_are_complete_at_once(tmp_path: Path, store: Store, kind: str) -> None:
    report = import_records(source_of(kind, tmp_path, {}), store)
    assert counts(report) == (0, 0, 0, 0)
    assert report.complete


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_path(tmp_path / "absent.csv", pattern=NAMES)
    (tmp_path / "legacy.doc").touch()
    with pytest.raises(FormatError, match=r"legacy\.doc: not a folder; expected a folder, or a name"):
        open_path(tmp_path / "legacy.doc", pattern=NAMES)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst", "parquet"])
def test_a_damaged_source_stops_the_run_and_keeps_what_came_before(
    tmp_path: Path, store: Store, kind: str
) -> None:
    people = {f"P{person}": everything(person) for person in range(40)}
    path = save(kind, tmp_path, people)
    whole = path.read_bytes()
    for size in (len(whole) // 2, 3 * 1024, 600, 1):  # a tar has a header or a member every 512 bytes
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=rf"{re.escape(path.name)}: cannot be read on: "):
            import_records(open_path(path, pattern=NAMES), store, batch=1)
    found = content(store)
    assert found.items() <= content_of(people).items()
    path.write_bytes(whole)
    report = import_records(open_path(path, pattern=NAMES), store)
    assert counts(report) == (40, 40 - len(found), len(found), 0)
    assert content(store) == content_of(people)


# --- quarantine ---------------------------------------------------------------------------------------


def test_bad_records_are_kept_and_the_others_go_on(store: Store) -> None:
    good = record("P1", finger(1), end=1)
    bad = [
        (record("", finger(2), end=2), "s0: subject_id has 0 characters"),
        (record(None, finger(2), end=3), "s0: subject_id is missing"),
        (record(79203001234, finger(2), end=4), "s0: subject_id is the number 79203001234; expected text"),
        (record("x" * 256, finger(2), end=5), "subject_id has 256 characters"),
        (record("\0", finger(2), end=6), "holds a character that is not text"),
        (record("\udcff", finger(2), end=7), "holds a character that is not text"),
        (record("P2", finger(2), end=8, encounter=""), "encounter_id has 0 characters"),
        (record("P2", end=9), "record ending at 9: 0 templates; expected 1 to 100"),
        (Record("P2", None, (Sample("s", b"\0"),), 10), "s: byte 0: begins with b'\\x00'"),
        (Record("P2", None, (Sample("s", None),), 11), "s: no template"),
        (Record("P2", None, (Sample("s", "!"),), 12), "s: the template is neither base64 nor hexadecimal"),
        (
            Record("P2", None, (Sample("s", native.write(face(2)), 7),), 13),
            "LEFT_INDEX, but the record is of",
        ),
        (Record("P2", None, (Sample("s", native.write(face(2)), "nose"),), 14), "position 'nose' is none of"),
        (Record("P2", None, (Sample("s", b"x"),), 15, "a fault"), "a fault"),
        (Record("P2", None, (Sample("s", native.write(face(2))), Sample("t", b"")), 16), "t: byte 0"),
    ]
    last = record("P3", finger(3), end=17)
    report = import_records(ListSource(good, *(r for r, _ in bad), last), store)
    assert counts(report) == (17, 2, 0, 15)
    kept = list(Journal(store).quarantine())
    assert [found.record for found in kept] == [r for r, _ in bad]  # to the bit
    for found, (_, reason) in zip(kept, bad, strict=True):
        assert reason in found.reason
    assert list(store.subject_ids()) == ["P1", "P3"]


def test_the_same_source_again_adds_nothing_to_the_quarantine(store: Store) -> None:
    source = ListSource(
        Record("P1", None, (Sample("s", b"?"),), 1), Record("P1", None, (Sample("s", b"?"),), 2)
    )
    assert counts(import_records(source, store)) == (2, 0, 0, 2)
    assert counts(import_records(source, store)) == (2, 0, 0, 2)
    assert len(reasons(store)) == 2


def test_already_there_means_the_same_templates(store: Store) -> None:
    first = [record("P1", *everything(1), end=1), record("P2", finger(2), end=2, encounter="2001")]
    assert counts(import_records(ListSource(*first), store)) == (2, 2, 0, 0)
    again = [
        record("P1", *reversed(everything(1)), end=1),  # in any order
        record("P1", *everything(1), end=2, encounter="1"),
        record("P1", finger(1), end=3),
        record("P1", *everything(7), end=4),
        record("P1", *everything(7), end=5, encounter="2002"),  # another encounter is none of these
        record("P2", finger(2), end=6),  # has no encounter "1", and is not to get one unasked
        record("P2", finger(2), end=7, encounter="2001"),
        record("P3", finger(3), end=8),
        record("P3", finger(3), end=9),  # twice in the source
        record("P3", finger(4), end=10),
    ]
    report = import_records(ListSource(*again, fingerprint="1"), store)
    assert counts(report) == (10, 2, 4, 4)
    assert [found.record for found in Journal(store).quarantine()] == [again[n] for n in (2, 3, 5, 9)]
    assert "encounter '1' of subject 'P1' is enrolled with other templates" in reasons(store)[0]
    assert "a further encounter needs an encounter_id" in reasons(store)[2]


def test_retry_enrolls_what_can_be_by_now(store: Store) -> None:
    import_records(ListSource(record("P1", finger(1), end=1)), store)
    report = import_records(
        ListSource(record("P1", finger(9), end=1), record("P2", end=2), fingerprint="1"), store
    )
    assert counts(report) == (2, 0, 0, 2)
    journal = Journal(store)
    conflict, _ = journal.quarantine()
    assert "is enrolled with other templates" in (retry(store, journal, conflict) or "")
    store.remove("P1")
    assert retry(store, journal, conflict) is None
    assert [stored.template for stored in store.references("P1")] == [finger(9)]
    assert len(reasons(store)) == 1
    assert journal.quarantined(report.import_key) == 1


def test_quarantined_content_is_in_no_repr(store: Store) -> None:
    secret = b"minutiae of P1"
    import_records(ListSource(Record("P1", None, (Sample("s", b"\1" + secret),), 1)), store)
    (found,) = Journal(store).quarantine()
    assert found.record.samples[0].content == b"\1" + secret
    assert "minutiae" not in repr(found) + repr(found.record)


def test_rows_that_cannot_be_taken_apart_are_kept_as_they_are(tmp_path: Path, store: Store) -> None:
    people: People = {"P1": [face(1)], "P2": [face(2)]}
    path = save_csv(tmp_path / "m.csv", people)
    header, first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + first + b"P7;1\r\n\r\n" + b'P8,"x"y,,\n' + b"P\xff,,,AAAA\n" + second)
    assert counts(import_records(open_path(path, pattern=NAMES), store)) == (5, 2, 0, 3)
    kept = [found.record.samples[0].content for found in Journal(store).quarantine()]
    assert kept == [b"P7;1\r\n", b'P8,"x"y,,\n', "AAAA"]
    cells, quotes, text = reasons(store)
    assert cells == "line 3: 1 cells; expected 4 as in line 1"
    assert quotes.startswith("line 5: ")
    assert "holds a character that is not text" in text
    assert list(store.subject_ids()) == ["P1", "P2"]


# --- resuming, reconciling ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_nothing(store: Store, workers: int) -> None:
    records = [record(f"P{n}", finger(n % 9), face(n % 9), end=n) for n in range(1, 60)]
    watched = []
    report = import_records(
        ListSource(*records), store, workers=workers, watch=lambda read, _: watched.append(read), batch=7
    )
    assert counts(report) == (59, 59, 0, 0)
    assert watched == [7, 14, 21, 28, 35, 42, 49, 56, 59]
    assert list(store.subject_ids()) == [f"P{n}" for n in range(1, 60)]
    assert content(store) == content_of({f"P{n}": [finger(n % 9), face(n % 9)] for n in range(1, 60)})


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("stop", [0, 1, 5, 6, 11, 12])
def test_an_interrupted_import_goes_on_where_it_was(store: Store, stop: int, batch: int) -> None:
    records = [record(f"P{n}", finger(n), end=n) if n % 4 else record("", end=n) for n in range(1, 13)]

    class Stops(ListSource):
        def records(self, after: int) -> Iterator[Record]:
            for one in super().records(after):
                if one.end > stop:
                    raise KeyboardInterrupt
                yield one

    if stop < 12:
        with pytest.raises(KeyboardInterrupt):
            import_records(Stops(*records), store, batch=batch)
    report = import_records(ListSource(*records), store, batch=batch)
    assert counts(report) == (12, 9, 0, 3)
    assert report.resumed == (stop // batch * batch if stop < 12 else 0)
    assert store.state().subjects == 9


def test_two_processes_cannot_run_the_same_import(store: Store) -> None:
    records = [record(f"P{n}", finger(n), end=n) for n in range(1, 4)]

    class Overtaken(ListSource):
        def records(self, after: int) -> Iterator[Record]:
            for one in super().records(after):
                if one.end == 2:
                    import_records(ListSource(*records), store, batch=1)
                yield one

    with pytest.raises(StoreError, match="another process is running import 1"):
        import_records(Overtaken(*records), store, batch=1)
    assert content(store) == content_of({f"P{n}": [finger(n)] for n in range(1, 4)})


def test_a_subject_enrolled_meanwhile_is_a_conflict(store: Store) -> None:
    class Slow(ListSource):
        def records(self, after: int) -> Iterator[Record]:
            yield from super().records(after)
            store.enroll([Enrollment("P2", [finger(9)]), Enrollment("P3", [finger(3)])])

    records = [record(f"P{n}", finger(n), end=n) for n in range(1, 4)]
    assert counts(import_records(Slow(*records), store)) == (3, 1, 1, 1)


# --- refusing duplicates -------------------------------------------------------------------------------------


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "unique", load=False) as gallery:
        yield gallery


TWICE = [  # P4 is P1, P5 is P2 by another sensor, P6 is P3's further encounter under P3's name
    *(record(f"P{n}", *everything(n), end=n + 1) for n in range(4)),
    record("P4", *everything(1, 1), end=5),
    record("P5", finger(2, impression=1), end=6),
    record("P3", *everything(3, 1), end=7, encounter="2"),
    record("P6", *everything(6), end=8),
    record("P7", *everything(6, 1), end=9),
    record("P8", *everything(8), end=10),
]


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_a_person_under_two_names_is_imported_once(gallery: Gallery, batch: int) -> None:
    unique = gallery.internals.uniqueness(fpir=1e-3)
    report = import_records(ListSource(*TWICE), gallery.internals.store, unique=unique, batch=batch)
    assert counts(report) == (10, 7, 0, 3)
    assert list(gallery) == ["P0", "P1", "P2", "P3", "P6", "P8"]
    found = list(Journal(gallery.internals.store).quarantine())
    assert [f.record for f in found] == [TWICE[4], TWICE[5], TWICE[8]]  # with their bytes
    assert all(f.is_duplicate for f in found)
    names = [f.reason.split(", score ")[0] for f in found]
    assert names == [f"s0: is a duplicate of subject 'P{n}'" for n in (1, 2, 6)]

    again = import_records(
        ListSource(*TWICE), gallery.internals.store, unique=gallery.internals.uniqueness(fpir=1e-3)
    )
    assert counts(again) == (10, 0, 7, 3)
    assert len(list(Journal(gallery.internals.store).quarantine())) == 3
    assert gallery.check() == []


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_a_duplicate_has_the_score_of_a_search_for_it(gallery: Gallery, batch: int) -> None:
    """The arrival is the probe, wherever the batches end. This matters if the position of a finger is unknown."""
    unknown = Position.UNKNOWN_FINGER
    people = [
        record("P0", finger(0, RIGHT, stated=unknown), end=1),
        record("P1", *everything(1), end=2),
        record("P2", finger(2, RIGHT, stated=unknown), finger(2, LEFT, stated=unknown), end=3),
    ]
    again = [
        record("Q0", finger(0, RIGHT, 1), finger(0, LEFT, 1), end=4),
        record("Q1", finger(1, RIGHT, 1, stated=unknown), end=5),
        record("Q2", finger(2, RIGHT, 1), finger(2, LEFT, 1), end=6),
    ]
    import_records(
        ListSource(*people, *again),
        gallery.internals.store,
        unique=gallery.internals.uniqueness(fpir=1e-3),
        batch=batch,
    )
    assert list(gallery) == ["P0", "P1", "P2"]
    for own, found in zip(again, Journal(gallery.internals.store).quarantine(), strict=True):
        probe = [native.read(s.content) for s in own.samples if isinstance(s.content, bytes)]
        first = gallery.identify(probe, exact=True)[0]
        assert f"{first.subject_id!r}, score {first.score:.1f}, " in found.reason


def test_no_further_encounter_of_a_duplicate_brings_it_in(gallery: Gallery) -> None:
    records = [
        record("P1", *everything(1), end=1),
        record("P9", *everything(1, 1), end=2),
        record("P9", *everything(9), end=3, encounter="2"),  # as if it were too poor to be known
        record("P1", *everything(1, 2), end=4, encounter="2"),
    ]
    assert counts(
        import_records(
            ListSource(*records), gallery.internals.store, unique=gallery.internals.uniqueness(fpir=1e-3)
        )
    ) == (4, 2, 0, 2)
    assert list(gallery) == ["P1"]
    assert [f.record for f in Journal(gallery.internals.store).quarantine()] == records[1:3]


def test_another_rule_is_another_import(gallery: Gallery) -> None:
    class Broken(ListSource):
        def records(self, after: int) -> Iterator[Record]:
            yield from (r for r in super().records(after) if r.end < 4)
            raise OSError("the disk is gone")

    unique = gallery.internals.uniqueness(fpir=1e-4)
    with pytest.raises(OSError, match="is gone"):
        import_records(Broken(*TWICE), gallery.internals.store, unique=unique)
    lax = import_records(ListSource(*TWICE), gallery.internals.store)
    assert (lax.import_key, lax.resumed) == (2, 0)
    resumed = import_records(
        ListSource(*TWICE), gallery.internals.store, unique=gallery.internals.uniqueness(fpir=1e-4)
    )
    assert resumed.import_key == 1
    with pytest.raises(ValueError, match="fpir is 0"):
        gallery.internals.uniqueness(fpir=0)


class Slow:
    """Others are enrolled after it has looked, and before the transaction."""

    def __init__(self, gallery: Gallery, *others: Enrollment) -> None:
        self._gallery, self._others = gallery, list(others)
        self._unique = gallery.internals.uniqueness(fpir=1e-3, min_coverage=0.0)
        self.rule = self._unique.rule

    def look(self, batch: Sequence[Enrollment]) -> Look:
        found = self._unique.look(batch)
        self._gallery.internals.store.enroll(self._others)
        self._others.clear()
        return found


def test_who_comes_after_a_duplicate_that_is_found_late_is_no_duplicate_of_it(gallery: Gallery) -> None:
    one = record("P1", finger(1, RIGHT), finger(2, LEFT), end=1)
    other = record("P2", finger(2, LEFT, 1), end=2)
    slow = Slow(gallery, Enrollment("other", [finger(1, RIGHT, 2)]))
    assert counts(import_records(ListSource(one, other), gallery.internals.store, unique=slow)) == (
        2,
        1,
        0,
        1,
    )
    assert list(gallery) == ["other", "P2"]
    assert [found.record for found in Journal(gallery.internals.store).quarantine()] == [one]


def test_one_whom_others_enroll_meanwhile_is_a_duplicate_too(gallery: Gallery) -> None:
    slow = Slow(gallery, Enrollment("other 0", everything(0, 2)), Enrollment("other 8", everything(8, 2)))
    report = import_records(ListSource(*TWICE), gallery.internals.store, unique=slow)
    assert counts(report) == (10, 5, 0, 5)
    refused = {f.record.subject_id: f.reason for f in Journal(gallery.internals.store).quarantine()}
    assert list(refused) == ["P0", "P4", "P5", "P7", "P8"]
    assert "duplicate of subject 'other 8'" in refused["P8"]


def test_a_duplicate_leaves_the_quarantine_by_its_number_only(gallery: Gallery) -> None:
    import_records(
        ListSource(*TWICE), gallery.internals.store, unique=gallery.internals.uniqueness(fpir=1e-3)
    )
    journal = Journal(gallery.internals.store)
    first, *_ = journal.quarantine()
    assert (
        retry(gallery.internals.store, journal, first) is None
    )  # an operator has decided that they are two people
    assert "P4" in gallery
    assert len(list(journal.quarantine())) == 2


def test_tiles_follow_who_goes_and_who_comes_again(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(arrivals_tile=2))
    unique = gallery.internals.uniqueness(fpir=1e-3)
    gallery.enroll_many(Enrollment(f"P{n}", everything(n)) for n in range(5))

    def name(person: int) -> list[str]:
        found = unique.look([Enrollment("new", everything(person, 1))]).duplicates
        return [reason.split("'")[1] for reason in found.values()]

    assert [name(n) for n in range(6)] == [["P0"], ["P1"], ["P2"], ["P3"], ["P4"], []]
    gallery.remove("P1")
    gallery.replace("P2", everything(20))
    gallery.enroll("P3", everything(21), encounter_id="2")
    gallery.merge("P0", "P4")
    assert [name(n) for n in (0, 1, 2, 3, 20, 21)] == [["P4"], [], [], ["P3"], ["P2"], ["P3"]]


def test_a_mismatch_is_told(store: Store, tmp_path: Path) -> None:
    source = ListSource(record("P1", finger(1), end=1), record("", end=2))
    import_records(source, store)
    with sqlite3.connect(tmp_path / "gallery" / "store.sqlite") as connection:
        connection.execute("DELETE FROM quarantined_samples")
        connection.execute("DELETE FROM quarantine")
        connection.execute("UPDATE import_batches SET enrolled = 2")
        connection.execute("UPDATE imports SET finished = NULL")
    report = import_records(source, store)
    assert report.mismatches == (
        "batch 1: 2 records read are not the sum of the rest",
        "batch 1: 2 enrolled, but the log of changes has 1",
        "1 quarantined, but the quarantine holds 0",
    )
    assert "holds 0" in str(report)


def test_the_checksum_is_of_what_was_read(tmp_path: Path, people: People) -> None:
    def checksum(name: str, *records: Record) -> str:
        with Gallery.open(tmp_path / name, load=False) as gallery:
            return import_records(ListSource(*records), gallery.internals.store).sha256

    own = [record(f"P{n}", finger(n), end=n) for n in range(1, 4)]
    other = [*own[:2], own[2]._replace(samples=(Sample("s0", native.write(finger(4))),))]
    assert checksum("a", *own) == checksum("b", *own) != checksum("c", *other)


@given(st.data())
def test_different_records_have_different_digests(data: st.DataObject) -> None:
    contents = st.none() | st.binary(max_size=3) | st.text(max_size=3)
    samples = st.builds(Sample, st.just("s"), contents, st.none() | st.integers(0, 3) | st.text(max_size=2))
    ids = st.none() | st.text(max_size=2) | st.integers(0, 9)
    records = st.builds(Record, ids, ids, st.lists(samples, max_size=3).map(tuple), st.just(1))
    a, b = data.draw(records), data.draw(records)
    assert (digest(a) == digest(b)) == (a == b)


@given(st.lists(st.sampled_from(range(4)), max_size=6))
def test_a_batch_is_prepared_as_its_records_are(numbers: list[int]) -> None:
    choice = [
        record("P1", *everything(1)),
        record("", finger(1)),
        Record("P2", None, (Sample("s", b"1 2 3\n", "left-index"), Sample("t", b"?")), 1),
        Record(
            "P3",
            None,
            (Sample("s", base64.b64encode(write([finger(3)], Format.ISO_19794_2_2005)).decode()),),
            1,
        ),
    ]
    batch = [choice[n] for n in numbers]
    assert prepare_batch(batch).prepared == [prepare(one) for one in batch]


def test_a_position_is_given_to_minutiae_of_none() -> None:
    unknown = finger(1, stated=Position.UNKNOWN_FINGER)
    for stated in ("left-index", "LEFT_INDEX", "Left Index", "7", 7):
        prepared = prepare(Record("P1", None, (Sample("s", native.write(unknown), stated),), 1))
        assert not isinstance(prepared, Rejected)
        ((position, data),) = prepared.templates
        assert position == LEFT
        assert native.read(data) == dataclasses.replace(unknown, position=LEFT)


# --- export -------------------------------------------------------------------------------------------


@pytest.fixture
def awkward(store: Store) -> Store:
    """A gallery with ids of all sorts, several encounters, and templates of every kind."""
    odd = Minutiae(x=[1], y=[1], direction=[0.1], width=9, height=9, position=LEFT)
    for person, name in enumerate(AWKWARD):
        store.enroll([Enrollment(name, everything(person))])
        store.enroll([Enrollment(name, [odd, face(person, 1), face(person, 2)], encounter_id=AWKWARD[-2])])
    store.enroll([Enrollment("gone", [odd])])
    store.remove("gone")
    return store


@pytest.mark.parametrize("name", ["out", "out.tar", "out.tar.gz", "out.parquet"])
def test_what_is_exported_is_imported_to_the_bit(tmp_path: Path, awkward: Store, name: str) -> None:
    report = export(awkward, tmp_path / name)
    assert (report.subjects, report.encounters, report.templates) == (8, 16, 48)
    assert report.refused == ()
    path = tmp_path / name
    source = open_path(path / "manifest.csv" if path.is_dir() else path, pattern=NAMES)
    with Gallery.open(tmp_path / "other", load=False) as other:
        assert counts(import_records(source, other.internals.store)) == (16, 16, 0, 0)
        assert content(other.internals.store) == content(awkward)
    assert not list(tmp_path.glob(".*"))


def test_a_standard_format_loses_what_it_says(tmp_path: Path, store: Store) -> None:
    store.enroll([Enrollment("P1", everything(1))])
    assert export(store, tmp_path / "out", finger_format=Format.ISO_19794_2_2011).templates == 3
    with Gallery.open(tmp_path / "other", load=False) as other:
        import_records(open_path(tmp_path / "out" / "manifest.csv", pattern=NAMES), other.internals.store)
        right, left, photo = (stored.template for stored in other.internals.store.references("P1"))
    assert photo == face(1)
    for own, read in ((finger(1, RIGHT), right), (finger(1, LEFT), left)):
        assert isinstance(read, Minutiae)
        assert (read.position, list(read.x), list(read.y)) == (own.position, list(own.x), list(own.y))
        assert max(abs(read.direction - own.direction)) <= 360 / 256 / 2


def test_an_export_replaces_nothing_and_leaves_nothing_half(tmp_path: Path, store: Store) -> None:
    store.enroll([Enrollment("P1", everything(1))])
    (tmp_path / "out.tar").touch()
    with pytest.raises(FileExistsError):
        export(store, tmp_path / "out.tar")

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    for name in ("out", "new.tar", "out.parquet"):
        with pytest.raises(KeyboardInterrupt):
            export(store, tmp_path / name, watch=stop)
    assert {path.name for path in tmp_path.iterdir()} == {"gallery", "out.tar"}


def test_templates_on_disk_are_for_their_owner_alone(tmp_path: Path, store: Store) -> None:
    store.enroll([Enrollment("P1", everything(1))])
    for name in ("out", "out.tar", "out.parquet"):
        export(store, tmp_path / name)
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


# --- the disk -----------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
from abis.cli import app
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
app()
"""


def test_a_full_disk_is_said_and_the_import_goes_on_later(tmp_path: Path) -> None:
    some = [everything(person) for person in range(20)]
    people = {f"P{person}": some[person % 20] for person in range(3000)}
    source = save_parquet(tmp_path / "d.parquet", people)
    command = ["import", str(source), str(tmp_path / "g"), "--workers", "0"]
    full = subprocess.run(
        [sys.executable, "-c", LIMITED, "2000000", *command], capture_output=True, text=True, check=False
    )
    assert full.returncode == 2
    assert re.match(r"error: .*store\.sqlite: (disk I/O error|database or disk is full)", full.stderr)
    subprocess.run([sys.executable, "-m", "abis", *command], check=True, capture_output=True)
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        assert content(gallery.internals.store) == content_of(people)


def test_gzip_that_ends_early_is_damage(tmp_path: Path, people: People, store: Store) -> None:
    path = save_tar(tmp_path / "b.tar.gz", people, "w:gz")
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[:3000]))
    with pytest.raises(FormatError, match=r"b\.tar\.gz: cannot be read on: "):
        import_records(open_path(path, pattern=NAMES), store)


# --- encryption ---------------------------------------------------------------------------------------


def test_the_quarantine_of_an_encrypted_gallery_is_sealed_and_outlives_its_keys(tmp_path: Path) -> None:
    key = MasterKey(bytes(range(32)))
    secret = b"\1minutiae of nobody"
    refused = Record("P1", None, (Sample("s", secret),), 1)

    def is_readable_on_disk() -> bool:
        return any(secret[1:] in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    with Gallery.open(tmp_path / "plain", load=False) as gallery:
        import_records(ListSource(refused), gallery.internals.store)
        assert is_readable_on_disk()
        gallery.encrypt(key)
    with Gallery.open(tmp_path / "plain", key=key, load=False) as gallery:
        assert not is_readable_on_disk()
        import_records(ListSource(refused._replace(end=2), fingerprint="1"), gallery.internals.store)
        gallery.rotate_data_key()
        assert [
            found.record.samples[0].content for found in Journal(gallery.internals.store).quarantine()
        ] == [secret] * 2
        assert not is_readable_on_disk()
    with sqlite3.connect(tmp_path / "plain" / "store.sqlite") as connection:
        connection.execute("UPDATE kept SET data = substr(data, 1, 40)")
    with (
        Gallery.open(tmp_path / "plain", key=key, load=False) as gallery,
        pytest.raises(StoreError, match="damaged"),
    ):
        list(Journal(gallery.internals.store).quarantine())


def test_files_of_an_encrypted_gallery_hold_no_template_while_an_import_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Store, log, journal, quarantine, snapshots and a backup; stopped, gone on with, and in between."""
    monkeypatch.setattr(Internals, "sizes", WorkSizes(save=1))
    key = MasterKey(bytes(range(32)))
    records = [record(f"P{n}", *everything(n), end=n + 1) for n in range(40)]
    conflicts = [record(f"P{n}", *everything(n + 100), end=n + 41) for n in range(5)]
    source = ListSource(*records, *conflicts)
    wanted = set().union(*(runs(t) for n in (*range(40), *range(100, 105)) for t in everything(n)))
    folder = tmp_path / "g"

    def stop(read: int, _: Progress) -> None:
        assert found_in(folder, wanted) == set()
        if read == 20:
            raise KeyboardInterrupt

    with Gallery.open(folder, key=key, load=False) as gallery, pytest.raises(KeyboardInterrupt):
        import_records(source, gallery.internals.store, watch=stop, batch=10)
    assert found_in(folder, wanted) == set()
    with Gallery.open(folder, key=key) as gallery:
        report = import_records(source, gallery.internals.store, watch=lambda *_: None, batch=10)
        assert counts(report) == (45, 40, 0, 5)
        assert gallery.identify(everything(3, 1))[0].subject_id == "P3"
        gallery.backup(tmp_path / "backup")
        assert found_in(folder, wanted) == set()
    assert list((folder / "derived").glob("*.segment"))
    assert found_in(folder, wanted) == found_in(tmp_path / "backup", wanted) == set()


def test_what_is_erased_is_gone_from_the_quarantine(tmp_path: Path) -> None:
    others = set().union(*(runs(t) for n in (1, 2, 3) for t in everything(n)))
    conflict = record("P1", *everything(7), end=4)
    refused = record("P5", *everything(8), end=5)._replace(fault="a fault")
    wanted = set().union(*(runs(t) for n in (7, 8) for t in everything(n))) - others
    records = [record(f"P{n}", *everything(n), end=n) for n in (1, 2, 3)]
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        journal = Journal(gallery.internals.store)
        report = import_records(ListSource(*records, conflict, refused), gallery.internals.store)
        assert counts(report) == (5, 3, 0, 2)
        assert found_in(tmp_path / "g", wanted) == wanted
        (seen,) = gallery.export_subject("P1").quarantined
        assert seen.record == conflict
        tombstone = gallery.erase("P1")
        assert (tombstone.encounters, tombstone.templates, tombstone.quarantined) == (1, 3, 1)
        assert [found.record for found in journal.quarantine()] == [refused]
        tombstone = gallery.erase("P5")  # who was never enrolled
        assert (tombstone.encounters, tombstone.templates, tombstone.quarantined) == (0, 0, 1)
        assert found_in(tmp_path / "g", wanted) == set()
        assert list(gallery) == ["P2", "P3"]
        with pytest.raises(NotEnrolled):
            gallery.erase("P5")
        outcomes = [entry.outcome for entry in gallery.audit_log() if entry.operation == "erase"]
        assert outcomes == [
            "1 encounters, 3 templates, 1 records in quarantine",
            "0 encounters, 0 templates, 1 records in quarantine",
        ]
        assert gallery.check() == []
        again = import_records(ListSource(*records[1:], fingerprint="1"), gallery.internals.store)
        assert counts(again) == (2, 0, 2, 0)
        report = reconcile(gallery.internals.store, journal, report.import_key, resumed=0, ignored_columns=())
        assert counts(report) == (5, 3, 0, 2)


def test_a_quarantine_grows_old_and_goes(store: Store) -> None:
    import_records(ListSource(record("P1", finger(1), end=1), record("P2", end=2)), store)
    assert erasure.remove_older_than(store, datetime.now(UTC) - timedelta(days=1)) == (0, 0)
    assert len(reasons(store)) == 1
    with store.writing() as transaction:  # as a day later
        assert remove_quarantined_before(transaction, datetime.now(UTC) + timedelta(days=1)) == 1
    assert reasons(store) == []


def test_each_database_takes_an_import(database: str, tmp_path: Path) -> None:
    store = Store(database)
    bad = [
        Record(
            "\0\udcff",
            7,
            (Sample("\udcff\0", b"\0\xff", 3), Sample("t", "\udcff"), Sample("u", None)),
            90,
            "f\0",
        ),
        record("P1", finger(2), end=91),
    ]
    records = [record(f"Đỗ {n}", *everything(n % 4), end=n) for n in range(1, 31)] + [
        record("P1", finger(1), end=89)
    ]
    source = ListSource(*records, *bad)
    assert counts(import_records(source, store)) == (33, 31, 0, 2)
    assert counts(import_records(source, store)) == (33, 0, 31, 2)
    journal = Journal(store)
    first, second = journal.quarantine()
    assert first.record.samples[0].content == b"\0\xff"
    assert second.record == bad[1]
    store.remove("P1")
    assert retry(store, journal, second) is None
    assert len(list(journal.quarantine())) == 1
    export(store, tmp_path / "out.parquet")
    with Gallery.open(tmp_path / "other", load=False) as other:
        import_records(open_path(tmp_path / "out.parquet", pattern=NAMES), other.internals.store)
        assert content(other.internals.store) == content(store)
    store.close()
