# SPDX-License-Identifier: Apache-2.0
"""The store: transactions, the log of changes, and clear errors."""

import multiprocessing
import os
import random
import sqlite3
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from people import LEFT, RIGHT, everything, face, finger

from abis.errors import AlreadyEnrolled, NotEnrolled, StoreError, TemplateError
from abis.formats import native
from abis.gallery import Gallery
from abis.store import SCHEMA_VERSION, Enrollment, Mark, State, Status, Store, checking
from abis.store.database import _keep_log
from abis.template import Position, Template
from abis.text import has_control_characters


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/store.sqlite"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def content(store: Store) -> dict[tuple[str, str], list[Template]]:
    """Everything, by subject_id and encounter_id."""
    found: dict[tuple[str, str], list[Template]] = {}
    for subject_id in store.subject_ids():
        for reference in store.references(subject_id):
            found.setdefault((subject_id, reference.encounter_id), []).append(reference.template)
    return found


def test_what_is_enrolled_is_there_again(database: str) -> None:
    store = Store(database)
    store.enroll([Enrollment("a", everything(1)), Enrollment("b", [face(2)], "2024")])
    store.close()
    store = Store(database)
    assert content(store) == {("a", "1"): list(everything(1)), ("b", "2024"): [face(2)]}
    assert list(store.subject_ids()) == ["a", "b"]
    assert ("a" in store, "c" in store, 5 in store) == (True, False, False)
    assert store.templates_by_position() == {RIGHT: 1, LEFT: 1, Position.FACE: 2}
    store.close()


def test_removal_leaves_the_store_as_before(store: Store) -> None:
    store.enroll([Enrollment("a", everything(1))])
    before, counts = content(store), store.state()
    store.enroll([Enrollment("b", everything(2)), Enrollment("a", [face(1, 1)], "later")])
    store.remove("b")
    store.remove("a", "later")
    after = store.state()
    assert content(store) == before
    assert (after.subjects, after.encounters, after.templates) == (1, 1, 3)
    assert after.change == counts.change + 4


def test_the_subject_goes_with_its_last_encounter(store: Store) -> None:
    store.enroll([Enrollment("a", [face(1)], "first"), Enrollment("a", [face(1, 1)], "second")])
    store.remove("a", "first")
    assert "a" in store
    store.remove("a", "second")
    assert "a" not in store
    assert store.state().subjects == 0


def test_keys_are_never_given_twice(store: Store) -> None:
    store.enroll([Enrollment("a", [face(1)])])
    (first,) = store.references("a")
    store.remove("a")
    store.enroll([Enrollment("a", [face(1)])])
    (second,) = store.references("a")
    assert second.subject > first.subject
    assert second.encounter > first.encounter


@pytest.mark.parametrize(
    "bad",
    [
        [Enrollment("a", [face(1)])],
        [Enrollment("new", [face(2)]), Enrollment("a", [face(1)])],
        [Enrollment("new", [face(2)]), Enrollment("new", [face(2)])],
        [Enrollment("new", [face(2)], "x"), Enrollment("new", [face(2)], "x")],
        [Enrollment("a", [face(1)], "1")],
    ],
)
def test_a_batch_is_enrolled_as_a_whole_or_not_at_all(store: Store, bad: list[Enrollment]) -> None:
    store.enroll([Enrollment("a", [face(1)])])
    before, state = content(store), store.state()
    with pytest.raises(AlreadyEnrolled, match="is enrolled already"):
        store.enroll(bad)
    assert (content(store), store.state()) == (before, state)


def test_what_is_not_there_cannot_be_removed_or_read(store: Store) -> None:
    store.enroll([Enrollment("a", [face(1)])])
    with pytest.raises(NotEnrolled, match="subject 'b' is not enrolled"):
        store.remove("b")
    with pytest.raises(NotEnrolled, match="subject 'a' has no encounter 'x'"):
        store.remove("a", "x")
    with pytest.raises(NotEnrolled, match="subject 'b' is not enrolled"):
        store.references("b")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", [face(1)]), ValueError, "subject_id has 0 characters; expected 1 to 255"),
        (("x" * 256, [face(1)]), ValueError, "subject_id has 256 characters"),
        (("a\0b", [face(1)]), ValueError, "not text"),
        (("\ud800", [face(1)]), ValueError, "not text"),
        ((7, [face(1)]), TypeError, "subject_id is a int; expected a string"),
        (("a", [face(1)], ""), ValueError, "encounter_id has 0 characters"),
        (("a", []), TemplateError, "no templates"),
        (("a", face(1)), TypeError, "one Embedding; expected a sequence"),
        (("a", [face(1), b"ISO"]), TypeError, "template 1 is a bytes"),
    ],
)
def test_bad_enrollments_are_refused_at_the_door(arguments, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        Enrollment(*arguments)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that many examples use one after the other."""
    if request.param == "sqlite":
        store = Store(url(tmp_path_factory.mktemp("shared")))
    else:
        store = Store(request.getfixturevalue("postgresql").new_database())
    yield store
    store.close()


@given(st.text(min_size=1, max_size=255).filter(lambda text: not has_control_characters(text)))
@settings(max_examples=30, deadline=None)
def test_any_text_is_a_subject_id(shared: Store, subject_id: str) -> None:
    shared.enroll([Enrollment(subject_id, [face(1)])])
    assert list(shared.subject_ids()) == [subject_id]
    shared.remove(subject_id)
    assert subject_id not in shared


class Follower:
    """Keeps a copy of a store by its tails, as the gallery does."""

    def __init__(self) -> None:
        self.mark = Mark()
        self.templates: dict[int, list[Template]] = {}  # by encounter
        self.known = State()

    def follow(self, store: Store, limit: int) -> None:
        complete = False
        while not complete:
            tail = store.tail(self.mark, limit=limit)
            for encounter in tail.removed:
                self.templates.pop(encounter, None)
            for reference in tail.enrolled:
                self.templates.setdefault(reference.encounter, []).append(reference.template)
            self.mark, self.known, complete = tail.mark, tail.state, tail.complete


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("enroll"), st.integers(0, 5), st.integers(0, 2)),
            st.tuples(st.just("remove"), st.integers(0, 5), st.integers(0, 3)),
            st.tuples(st.just("follow"), st.integers(1, 7), st.just(0)),
        ),
        max_size=30,
    )
)
@settings(max_examples=40, deadline=None)
def test_followers_miss_nothing(shared: Store, operations: list[tuple[str, int, int]]) -> None:
    for subject_id in list(shared.subject_ids()):
        shared.remove(subject_id)
    follower = Follower()
    for operation, number, detail in operations:
        try:
            if operation == "enroll":
                templates: list[Template] = [face(number, detail), finger(number)]
                shared.enroll([Enrollment(str(number), templates[: detail + 1], str(detail))])
            elif operation == "remove":
                shared.remove(str(number), str(detail) if detail < 3 else None)
            else:
                follower.follow(shared, number)
        except (AlreadyEnrolled, NotEnrolled):
            pass
    follower.follow(shared, 3)
    held: dict[int, list[Template]] = {}
    for subject_id in shared.subject_ids():
        for reference in shared.references(subject_id):
            held.setdefault(reference.encounter, []).append(reference.template)
    assert follower.templates == held
    assert follower.known == shared.state()
    assert (follower.known.encounters, follower.known.templates) == (
        len(held),
        sum(len(templates) for templates in held.values()),
    )


def test_names_are_looked_up_by_the_thousand(store: Store) -> None:
    store.enroll([Enrollment(f"s{n}", [face(n, dimension=2)], f"e{n}") for n in range(1200)])
    assert store.names(range(1300)) == {n + 1: f"s{n}" for n in range(1200)}
    named = store.named([2, 1201], [1, 1200, 1201])
    assert named.encounters == {1: "e0", 1200: "e1199"}
    assert (named.subjects, named.statuses) == ({2: "s1"}, {2: Status.ACTIVE})
    assert list(store.subject_ids()) == [f"s{n}" for n in range(1200)]


def test_calibrations_are_kept_by_kind(database: str) -> None:
    store = Store(database)
    assert store.calibration("minutiae") is None
    store.set_calibration("minutiae", "{}")
    store.set_calibration("embedding-é", '{"bend": 1}')
    store.set_calibration("minutiae", '{"bend": 2}')
    store.close()
    store = Store(database)
    assert store.calibration("minutiae") == '{"bend": 2}'
    assert store.calibration("embedding-é") == '{"bend": 1}'
    with pytest.raises(ValueError, match="kind has 0 characters"):
        store.calibration("")
    store.close()


def test_an_enrolment_says_what_it_wrote(store: Store) -> None:
    store.enroll([Enrollment("a", everything(1))])
    mark = store.tail(Mark(), limit=10).mark
    written = store.enroll([Enrollment("b", everything(2)), Enrollment("a", [face(1, 1)], "2")])
    assert (written.before, written.after) == (mark, store.tail(mark, limit=10).mark)
    assert written.owners == [(2, 2), (1, 3)]
    assert written.state == store.state()


def test_a_tail_ends_where_it_is_told(store: Store) -> None:
    store.enroll([Enrollment(f"s{n}", everything(n)) for n in range(3)])
    tail = store.tail(Mark(), limit=100, last=4)
    assert (len(tail.enrolled), tail.mark.template, tail.complete) == (4, 4, False)
    tail = store.tail(tail.mark, limit=100, last=99)
    assert (len(tail.enrolled), tail.mark.template, tail.complete) == (5, 9, True)


def test_snapshots_of_the_past_are_known(store: Store, tmp_path: Path) -> None:
    assert not store.knows_snapshot("one")
    store.remember_snapshot("one", tmp_path)
    for n in range(70):
        store.enroll([Enrollment(f"s{n}", [face(n, dimension=2)])])
        store.remember_snapshot(f"id{n}", tmp_path)
    assert (store.knows_snapshot("id69"), store.knows_snapshot("id6")) == (True, True)
    assert not store.knows_snapshot("one")


# ------------------------------------------------------------------------------------- what can be wrong


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the gallery is closed"):
        store.state()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    Store(url(tmp_path)).close()
    execute(tmp_path, f"UPDATE gallery SET schema_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match=f"schema version {SCHEMA_VERSION + 1} was written by a newer abis"):
        Store(url(tmp_path))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "CREATE TABLE citizens (name TEXT)",
            "not a gallery: it holds tables citizens, but no table gallery",
        ),
        ("CREATE TABLE gallery (name TEXT)", "no such column"),
    ],
)
def test_another_programs_database_is_refused(tmp_path: Path, statement: str, message: str) -> None:
    execute(tmp_path, statement)
    with pytest.raises(StoreError, match=message):
        Store(url(tmp_path))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"FMR\0 20\0" * 1000)
    with pytest.raises(StoreError, match=r"store\.sqlite: file is not a database"):
        Store(url(tmp_path))


def test_an_emptied_table_is_refused(tmp_path: Path) -> None:
    Store(url(tmp_path)).close()
    execute(tmp_path, "DELETE FROM gallery")
    with pytest.raises(StoreError, match="table gallery is empty; expected one row"):
        Store(url(tmp_path))


def test_a_damaged_template_is_named(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    store.enroll([Enrollment("a", everything(1))])
    execute(tmp_path, "UPDATE templates SET data = substr(data, 1, 20) WHERE key = 2")
    with pytest.raises(StoreError, match="template 2 is damaged: its checksum is wrong"):
        store.references("a")
    with pytest.raises(StoreError, match="template 2 is damaged: its checksum is wrong"):
        store.tail(Mark(), limit=10)
    store.close()


def test_a_damaged_database_is_an_error_and_no_crash(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    store.enroll([Enrollment(str(n), everything(n)) for n in range(50)])
    store.close()
    file = tmp_path / "store.sqlite"
    data = bytearray(file.read_bytes())
    data[4096 * 2 :] = b"\x5a" * (len(data) - 4096 * 2)
    file.write_bytes(data)
    with pytest.raises(StoreError, match=r"malformed|damaged"), Gallery.open(tmp_path):
        pass


def test_an_unusable_url_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot use the database URL"):
        Store("no such thing")
    with pytest.raises(StoreError, match="cannot use the database URL"):
        Store("martian://host/database")


def test_a_gallery_in_memory_is_refused() -> None:
    for memory in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(StoreError, match="a gallery needs a file"):
            Store(memory)


def test_commits_are_synced_to_disk(tmp_path: Path) -> None:
    """What kill -9 cannot show: the log is synced at each commit, so that a power failure takes nothing."""
    store = Store(url(tmp_path))
    with store.database._engine.connect() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    assert settings == ["wal", 2]
    store.close()


class Refused(sqlite3.Connection):
    """Refuses to keep a log, as SQLite does where another process begins to keep one just then."""

    code = sqlite3.SQLITE_BUSY
    refusals = 2

    def execute(self, sql: str, parameters: Sequence[str] = (), /) -> sqlite3.Cursor:  # type: ignore[override]
        if "journal_mode=WAL" in sql and self.refusals:
            self.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, parameters)


def test_a_new_file_that_another_process_opens_too_is_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a", factory=Refused)) as connection:
        _keep_log(connection)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with closing(sqlite3.connect(tmp_path / "b", factory=Refused)) as connection:
        connection.code = sqlite3.SQLITE_READONLY
        with pytest.raises(sqlite3.OperationalError):
            _keep_log(connection)
        assert connection.refusals == 1


def test_errors_hold_no_template(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    execute(tmp_path, "DROP TABLE templates")
    with pytest.raises(StoreError, match="no such table: templates") as caught:
        store.enroll([Enrollment("-".join("secret"), [finger(1)])])
    text = "".join(traceback.format_exception(caught.value))
    assert "s-e-c-r-e-t" not in text
    assert repr(native.write(finger(1))[:8])[2:-1] not in text
    store.close()


def execute(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "store.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Gallery.open(tmp_path / "g") as gallery:
            gallery.enroll("a", everything(1))
            gallery.backup(tmp_path / "copy")
            paths = [*(tmp_path / "g").rglob("*"), *(tmp_path / "copy").rglob("*.sqlite")]
            assert {path.name for path in paths} >= {"store.sqlite", "store.sqlite-wal"}
            assert [path for path in paths if path.is_file() and path.stat().st_mode & 0o077] == []
            assert (tmp_path / "g").stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)


def _asked_in_a_fork(store: Store, answers: Connection) -> None:
    try:
        answers.send(str("a" in store))
    except StoreError as error:
        answers.send(str(error))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_store_does_not_survive_a_fork(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_asked_in_a_fork, args=(store, there))
    process.start()
    assert "was opened before this process was forked" in here.recv()
    process.join()


def test_a_gallery_that_was_migrated_meanwhile_is_opened_again(database: str) -> None:
    store = Store(database)
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE gallery SET schema_version = {SCHEMA_VERSION + 1}")
    engine.dispose()
    with pytest.raises(StoreError, match="open it again, with a newer abis"):
        store.enroll([Enrollment("a", everything(1))])
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_subjects_form_a_chain_whatever_their_order(database: str, seed: int) -> None:
    """Enrolled and removed in any order, exactly the enrolled subjects are found; the index alone is not believed."""
    dice = random.Random(seed)
    names = [dice.choice(["", "é", "e\u0301", "Z", "a", "\U0001d518"]) + str(n) for n in range(60)]
    dice.shuffle(names)
    store = Store(database)
    present: set[str] = set()
    for _ in range(12):
        absent = sorted(set(names) - present)
        new = dice.sample(absent, min(len(absent), dice.choice([1, 3, 20])))
        store.enroll([Enrollment(name, [face(1)]) for name in new])
        present |= set(new)
        for name in dice.sample(sorted(present), dice.randint(0, len(present) // 2)):
            store.remove(name)
            present.remove(name)
        assert [name for name in names if name in store] == [name for name in names if name in present]
    assert list(checking.check(store)) == []
    victim = dice.choice(sorted(present))
    engine = sa.create_engine(database)
    with engine.begin() as connection:  # what a lost page of the index looks like
        hidden = sa.text("UPDATE subjects SET subject_id = '~' WHERE subject_id = :name")
        connection.execute(hidden, {"name": victim})
    engine.dispose()
    with pytest.raises(StoreError, match=r"damaged|does not show all"):
        assert victim in store
    with pytest.raises(StoreError, match=r"damaged|does not show all"):
        store.enroll([Enrollment(victim, [face(1)])])
    store.close()
