# SPDX-License-Identifier: Apache-2.0
"""Encryption in the store: keys, the binding of a template to its place, and the protection of its content."""

import os
import stat
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from people import RIGHT, everything, face, processes

from abis.errors import StoreError
from abis.formats import native
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.store import Enrollment
from abis.store.encryption import Cipher, KeyRing, MasterKey, new_data_key
from abis.store.stored_form import Place, with_checksum

KEY = MasterKey(bytes(range(32)))
OTHER = MasterKey(bytes(32))


@pytest.fixture(scope="module")
def cipher() -> Cipher:
    keys = {number: new_data_key(KEY, "g", number) for number in (0, 1, 2)}
    return Cipher(KEY, lambda: KeyRing("g", 2, keys))


@given(st.binary(max_size=300), st.binary(max_size=40))
@settings(deadline=None)
def test_what_is_sealed_opens_in_its_place_only(cipher: Cipher, plain: bytes, context: bytes) -> None:
    sealed = cipher.seal(plain, context)
    assert cipher.open(sealed, context) == plain
    assert cipher.seal(plain, context) != sealed, "nonces are random"
    with pytest.raises(StoreError, match="damaged, or belong to another"):
        cipher.open(sealed, context + b"x")


def test_any_damage_to_sealed_bytes_is_noticed(cipher: Cipher) -> None:
    sealed = cipher.seal(b"minutiae", b"place")
    for at in range(len(sealed)):
        for damaged in (sealed[:at], sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]):
            with pytest.raises(StoreError, match=r"sealed|data key"):
                cipher.open(damaged, b"place")


def test_the_newest_key_seals_and_new_ones_are_met(cipher: Cipher) -> None:
    keys = {number: new_data_key(KEY, "g", number) for number in (0, 1)}

    def ring() -> KeyRing:
        return KeyRing("g", max(keys), keys)

    reader, writer = Cipher(KEY, ring), Cipher(KEY, ring)
    keys[2] = new_data_key(KEY, "g", 2)
    writer.refresh()
    assert (reader.current, writer.current) == (1, 2)
    assert reader.open(writer.seal(b"plain", b""), b"") == b"plain"
    assert reader.current == 2
    sealed = reader.seal(b"plain", b"")
    keys[3] = new_data_key(KEY, "g", 3)
    del keys[2]
    reader.refresh()
    assert reader.current == 3
    assert reader.open(sealed, b"") == b"plain"  # of a state of the store from before the rotation ended
    with pytest.raises(StoreError, match="sealed by data key 2, which is not there"):
        Cipher(KEY, ring).open(sealed, b"")


def test_a_master_key_is_written_once_and_for_its_owner(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "master.key"
    MasterKey.generate(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match=r"master\.key: File exists"):
        MasterKey.generate(file)
    wrapped = new_data_key(MasterKey.from_file(file), "g", 1)
    monkeypatch.setenv("ABIS_KEY_FILE", str(file))
    from_environment = MasterKey.from_environment()
    assert from_environment is not None
    assert len(from_environment.unwrap(wrapped, b"abis data key g 1")) == 32
    monkeypatch.setenv("ABIS_KEY", file.read_text())
    assert repr(MasterKey.from_environment()) == "MasterKey(ABIS_KEY)"
    with pytest.raises(StoreError, match=r"does not open the data key"):
        OTHER.unwrap(wrapped, b"abis data key g 1")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no base64!", "is not base64; expected 44"), (b"AAAA", "has 3 bytes; expected 32"), (b"", "has 0")],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        MasterKey.from_file(file)
    with pytest.raises(StoreError, match="No such file"):
        MasterKey.from_file(tmp_path / "absent")


def test_an_encrypted_gallery_opens_with_its_key_only(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        gallery.enroll("a", everything(1))
    for key, message in (
        (OTHER, "master key .* does not open the data key"),
        (None, "is encrypted; give its master key"),
    ):
        with pytest.raises(StoreError, match=message):
            Gallery.open(tmp_path / "g", key=key)
    with Gallery.open(tmp_path / "g", key=KEY) as gallery:
        assert gallery.identify([face(1, 1)])[0].subject_id == "a"
        assert gallery.verify(everything(1, 1), "a")
    with Gallery.open(tmp_path / "plain") as gallery:
        gallery.enroll("a", everything(1))
    with pytest.raises(StoreError, match="is not encrypted, but a master key was given"):
        Gallery.open(tmp_path / "plain", key=KEY)


class Hsm:
    """A key service that keeps the key to itself."""

    def __init__(self) -> None:
        self._key = MasterKey(os.urandom(32))
        self.works = True

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        return self._key.wrap(data_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        if not self.works:
            raise StoreError("the key service says no")
        return self._key.unwrap(wrapped, context)


def test_a_key_service_wraps_in_place_of_a_master_key(tmp_path: Path) -> None:
    hsm = Hsm()
    with Gallery.open(tmp_path, key=hsm) as gallery:
        gallery.enroll("a", everything(1))
    with Gallery.open(tmp_path, key=hsm) as gallery:
        assert gallery.verify(everything(1, 1), "a")
    hsm.works = False
    with pytest.raises(StoreError, match="data key 1: the key service says no"):
        Gallery.open(tmp_path, key=hsm)


# ---------------------------------------------------------------------------------------------- rotation


def numbers_of_keys(database: str) -> list[int]:
    engine = sa.create_engine(database)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT number FROM data_keys ORDER BY number").all()
    engine.dispose()
    return [row[0] for row in rows]


def test_a_new_data_key_seals_all_while_others_work(database: str) -> None:
    with Gallery.open(database, key=KEY, load=False) as gallery, Gallery.open(database, key=KEY) as other:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(10))
        seen: list[tuple[int, int]] = []

        def meanwhile(done: int, total: int) -> None:
            seen.append((done, total))
            other.enroll(f"new{len(seen)}", everything(20 + len(seen)))
            assert other.verify(everything(3, 1), "s3")

        assert gallery.rotate_data_key(progress=meanwhile) == 30
        assert numbers_of_keys(database) == [0, 2]
        assert seen[-1][0] == seen[-1][1]
        assert other.verify(everything(21, 1), "new1")
        assert other.identify([face(4, 1)])[0].subject_id == "s4"
        assert gallery.check() == []
        assert [e.operation for e in gallery.audit_log()][-2:] == ["reseal", "enroll"]
    with Gallery.open(database, key=KEY) as gallery:
        assert gallery.verify(everything(3, 1), "s3")


def keep_asking(database: str, pipe: Connection) -> None:
    """A reader: verifies and identifies those of before until it is told to stop; says each time that it did."""
    with Gallery.open(database, key=KEY) as gallery:
        rounds = 0
        while not pipe.poll():
            assert gallery.verify(everything(rounds % 10, 1), f"s{rounds % 10}")
            assert gallery.identify(everything(rounds % 10, 1))[0].subject_id == f"s{rounds % 10}"
            rounds += 1
            if rounds == 1:
                pipe.send(rounds)  # the rotation may begin
        newest = pipe.recv()
        assert gallery.identify(everything(newest, 1))[0].subject_id == f"new{newest}"
        pipe.send(rounds)


def keep_enrolling(database: str, pipe: Connection) -> None:
    """A writer: enrolls one each time that it is told to, without an answer, and says at the end which ones."""
    with Gallery.open(database, key=KEY, load=False) as gallery:
        pipe.send(None)
        enrolled: list[int] = []
        while pipe.recv():
            enrolled.append(100 + len(enrolled))
            gallery.enroll(f"new{enrolled[-1]}", everything(enrolled[-1]))
        pipe.send(enrolled)


def test_other_processes_read_and_enroll_while_a_new_data_key_seals_all(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(reseal=7))  # some transactions each, others in between
    with Gallery.open(database, key=KEY, load=False) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(10))
        context = processes()
        (reads, reader_end), (writes, writer_end) = context.Pipe(), context.Pipe()
        reader = context.Process(target=keep_asking, args=(database, reader_end))
        writer = context.Process(target=keep_enrolling, args=(database, writer_end))
        for process, here, there in ((reader, reads, reader_end), (writer, writes, writer_end)):
            process.start()
            there.close()
            here.recv()
        for _ in range(2):  # each process meets keys that it does not know, and loses some that it does
            gallery.rotate_data_key(progress=lambda *_: writes.send(True))
        writes.send(False)
        new = writes.recv()
        reads.send(new[-1])
        assert reads.recv() >= 1
        for process in (reader, writer):
            process.join()
            assert process.exitcode == 0
        assert list(gallery) == [*(f"s{n}" for n in range(10)), *(f"new{n}" for n in new)]
        assert len(new) >= 2 * 30 // 7
        assert numbers_of_keys(database) == [0, 3]
        assert gallery.check() == []


def test_a_rotation_that_was_stopped_goes_on_where_it_was(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(reseal=7))
    with Gallery.open(database, key=KEY, load=False) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(10))

        def stop(done: int, total: int) -> None:
            if done > total // 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            gallery.rotate_data_key(progress=stop)
        assert numbers_of_keys(database) == [0, 1, 2]
        assert gallery.check() == []
        with pytest.raises(StoreError, match="an earlier rotation is incomplete"):
            gallery.rotate_data_key()
    with Gallery.open(database, key=KEY, load=False) as gallery:
        assert all(gallery.verify(everything(n, 1), f"s{n}") for n in range(10))
        assert gallery.reseal() == 30 - 21
        assert numbers_of_keys(database) == [0, 2]
        assert gallery.reseal() == 0
        assert gallery.check() == []


def test_a_new_master_key_takes_the_place_of_the_old_one(database: str) -> None:
    with Gallery.open(database, key=KEY, load=False) as gallery, Gallery.open(database, key=KEY) as other:
        gallery.enroll("a", everything(1))
        gallery.rotate_master_key(OTHER)
        other.enroll("b", everything(2))  # has the data key in memory
    with pytest.raises(StoreError, match="does not open the data key"):
        Gallery.open(database, key=KEY)
    with Gallery.open(database, key=OTHER) as gallery:
        assert gallery.verify(everything(2, 1), "b")


def test_a_gallery_encrypted_meanwhile_is_opened_again(database: str) -> None:
    with Gallery.open(database, load=False) as gallery, Gallery.open(database, load=False) as other:
        gallery.enroll("a", everything(1))
        gallery.encrypt(KEY)
        with pytest.raises(StoreError, match="has been encrypted meanwhile"):
            other.enroll("b", everything(2))
        with pytest.raises(StoreError, match=r"damaged or forged|not encrypted|has been encrypted meanwhile"):
            other.verify(everything(1), "a")
        with pytest.raises(StoreError, match="is encrypted already"):
            gallery.encrypt(KEY)
    with Gallery.open(database, key=KEY, load=False) as gallery:
        assert gallery.verify(everything(1, 1), "a")


def test_what_is_not_encrypted_has_no_keys_to_rotate(database: str) -> None:
    with Gallery.open(database, load=False) as gallery:
        with pytest.raises(StoreError, match="is not encrypted"):
            gallery.rotate_data_key()
        with pytest.raises(StoreError, match="is not encrypted"):
            gallery.rotate_master_key(KEY)


@pytest.mark.parametrize(
    ("statement", "subject_id", "message"),
    [
        (
            "UPDATE templates SET data = (SELECT data FROM templates WHERE key = 4) WHERE key = 1",
            "a",
            "belong to another row",
        ),
        (
            "UPDATE encounters SET subject = 2, encounter_id = 'x' WHERE key = 1",
            "b",
            "belong to another row",
        ),
        ("UPDATE subjects SET subject_id = 'x' || subject_id", "xa", "table subjects is damaged or forged"),
        ("UPDATE templates SET data = substr(data, 1, 60) WHERE key = 1", "a", "damaged"),
    ],
)
def test_sealed_templates_cannot_change_places(
    database: str, statement: str, subject_id: str, message: str
) -> None:
    """Whoever can write to the database can remove templates, but not make one person of another."""
    with Gallery.open(database, key=KEY, load=False) as gallery:
        gallery.enroll("a", everything(1))
        gallery.enroll("b", everything(2))
        engine = sa.create_engine(database)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()
        with pytest.raises(StoreError, match=message):
            gallery.verify(everything(1), subject_id)
        assert any(message in fault.what for fault in gallery.check())


def test_plain_templates_are_not_taken_for_sealed_ones(database: str, tmp_path: Path) -> None:
    """A plain template that is put into the database of an encrypted gallery is refused."""
    place = Place(1, 1, RIGHT, "a")
    forged = with_checksum(native.write(everything(1)[0]), place)
    with Gallery.open(database, key=KEY, load=False) as gallery:
        gallery.enroll("a", everything(1))
        engine = sa.create_engine(database)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE templates SET data = :d WHERE key = 1"), {"d": forged})
        engine.dispose()
        with pytest.raises(StoreError, match="template 1 is damaged: not sealed, in an encrypted gallery"):
            gallery.verify(everything(1), "a")
