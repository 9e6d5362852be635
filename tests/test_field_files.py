# SPDX-License-Identifier: Apache-2.0
"""Files as they are found in the field: padded, encoded as text, wrapped in transactions, or made for cards."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abis import compare, read
from abis.errors import FormatError
from abis.formats import Format, ansi_nist, iso_19794_2_2005, iso_19794_2_2011, read_file, write, xyt
from abis.formats import iso_19794_2_cards as cards
from abis.formats.inputs import as_bytes, decode_text
from abis.template import Minutiae, MinutiaKind, Position

FINGER = Minutiae(
    x=[10, 60, 90],
    y=[20, 80, 15],
    direction=[45, 270, 90],
    kind=[1, 2, 0],
    quality=[91, 60, 70],
    width=100,
    height=100,
    position=Position.RIGHT_INDEX,
)
RECORD = iso_19794_2_2005.write([FINGER])
PLAIN_2005 = 28  # bytes of the headers before the minutiae


# --- imperfect records --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["padded_zero.iso", "padded_rubbish.iso", "length_too_large.iso"])
def test_imperfect_records_are_read_leniently_and_refused_strictly(cases: Path, name: str) -> None:
    with pytest.raises(FormatError):
        read(cases / name)
    found = read(cases / name, lenient=True)
    assert found == read(cases / "template.iso")
    assert len(found.notes) == 1
    assert read(cases / "template.iso", lenient=True).notes == ()


@pytest.mark.parametrize("module", [iso_19794_2_2005, iso_19794_2_2011])
def test_minutiae_that_cannot_be_are_dropped(module: type) -> None:
    record = bytearray(module.write([FINGER]))  # type: ignore[attr-defined]
    place = record.index(b"\x40\x0a\x00\x14")  # ending at 10, 20
    record[place : place + 4] = b"\x7f\xff\x00\x14"
    with pytest.raises(FormatError, match="minutia 0: x=16383 outside width 100"):
        read(bytes(record))
    found = read(bytes(record), lenient=True)
    assert found.notes == ("view 0: 1 of 3 minutiae dropped: outside the image, or impossible",)
    (template,) = found
    assert isinstance(template, Minutiae)
    assert template.x.tolist() == [60, 90]


@pytest.mark.parametrize(
    "format", [f for f in Format if f.name[:4] in ("ISO_", "ANSI") and "CARD" not in f.name]
)
def test_padding_and_impossible_qualities_lose_nothing(format: Format) -> None:  # noqa: A002
    record = write([FINGER], format)
    assert read(record, lenient=True) == read(record)
    padded = read(record + bytes(40), lenient=True)
    assert padded == read(record)
    assert padded.notes == ("40 bytes after the record dropped",)
    worse = record.replace(bytes([91]), bytes([150]), 1)
    (template,) = read(worse, lenient=True)
    assert isinstance(template, Minutiae)
    assert len(template) == 3


@given(cut=st.integers(1, 100), extra=st.binary(max_size=8))
def test_records_cut_short_are_never_completed(cut: int, extra: bytes) -> None:
    """Lenient reading passes over what loses nothing; missing minutiae are still a fault."""
    short = RECORD[: max(12, len(RECORD) - cut)]
    try:
        found = read(short, lenient=True)
    except FormatError:
        return
    assert found.notes
    assert found == (FINGER,)


def test_xyt_of_other_writers() -> None:
    lines = [f"{n} {n + 1} {n % 360} {n % 100}" for n in range(300)]
    text = ("\ufeff" + "\r\n".join(lines[:2]) + "\r\n\r\n" + "\n".join(lines[2:])).encode()
    with pytest.raises(FormatError):
        read(text)
    found = read(text, lenient=True)
    assert found.notes == (
        "byte order mark dropped",
        "1 blank lines passed over",
        "the best 255 of 300 minutiae kept",
    )
    (template,) = found
    assert isinstance(template, Minutiae)
    assert sorted(template.quality.tolist()) == sorted(sorted(n % 100 for n in range(300))[-255:])
    assert read(b"1 2 3\n4 5 6\n", lenient=True).notes == ()
    assert xyt.read(b"\n1 2 3\n", repairs=[]) == xyt.read(b"1 2 3\n")


def test_a_template_of_several_fingers_is_noted() -> None:
    side = np.arange(120)
    slap = Minutiae(x=side * 5, y=side, direction=side, width=800, height=500)
    assert read(iso_19794_2_2005.write([slap])).notes == (
        "120 minutiae on 41 mm: probably several fingers in one image; cut them apart",
    )


def test_a_reading_is_pickled_with_its_notes() -> None:
    found = read(RECORD + b"\0", lenient=True)
    again = pickle.loads(pickle.dumps(found))
    assert (again, again.notes) == (found, found.notes)


# --- texts and buffers ---------------------------------------------------------------------------------


def test_texts_of_all_dresses_stand_for_the_same_record(cases: Path) -> None:
    (expected,) = read(cases / "template.iso")
    for name in ("base64.txt", "hex.txt"):
        assert read_file(cases / name) == (expected,)
    with (cases / "encodings.csv").open(encoding="utf-8", newline="") as file:
        found = {row["subject_id"]: decode_text(row["template"]) for row in csv.DictReader(file)}
    assert len(found) == 6
    assert set(found.values()) == {found["standard"]}
    assert len(read(found["standard"])) == 1


@given(st.binary(min_size=1, max_size=80), st.sampled_from(["\n", "\r\n", " ", ""]), st.booleans())
def test_decoding_undoes_encoding(data: bytes, separator: str, padded: bool) -> None:
    for whole in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        text = whole if padded else whole.rstrip("=")
        lines = separator.join(text[at : at + 20] for at in range(0, len(text), 20))
        if not all(character in "0123456789abcdefABCDEF" for character in text):
            assert decode_text(lines) == decode_text(lines.encode()) == decode_text("\ufeff" + lines) == data
    for text in (data.hex(), data.hex().upper(), "0x" + data.hex(), data.hex(" ")):
        assert decode_text(text) == data


@pytest.mark.parametrize("text", ["*", "Rk1S*", "Rk1SA", "é", "=AAA", "AA=A"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="neither"):
        decode_text(text)


def test_buffers_paths_and_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.fmr"
    path.write_bytes(RECORD)
    with path.open("rb") as file:
        for given_record in (bytearray(RECORD), memoryview(RECORD), path, io.BytesIO(RECORD), file):
            assert read(given_record) == (FINGER,)
    with pytest.raises(TypeError, match=r"not text; for a file's name pass a pathlib\.Path"):
        read(str(path))  # type: ignore[arg-type]
    with path.open("r", encoding="latin-1") as text, pytest.raises(TypeError, match="binary mode"):
        as_bytes(text)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not int"):
        read(5)  # type: ignore[arg-type]


# --- card formats -------------------------------------------------------------------------------------


def test_card_formats_keep_places_directions_and_kinds() -> None:
    normal = write([FINGER], Format.ISO_19794_2_CARD_NORMAL)
    compact = write([FINGER], Format.ISO_19794_2_CARD_COMPACT)
    assert (len(normal), len(compact)) == (15, 9)
    for data, read_card, per_cm, unit in (
        (normal, cards.read_normal, 1000, 1.40625),
        (compact, cards.read_compact, 100, 5.625),
    ):
        (found,) = read_card(data, position=Position.RIGHT_INDEX)
        assert found.kind.tolist() == [MinutiaKind.ENDING, MinutiaKind.BIFURCATION, MinutiaKind.OTHER]
        assert np.abs(found.direction - FINGER.direction).max() <= unit / 2
        millimetres = np.stack([found.x, found.y]) * 10 / per_cm
        assert np.abs(millimetres - np.stack([FINGER.x, FINGER.y]) * 10 / 197).max() <= 5 / per_cm
        assert write([found], Format.ISO_19794_2_CARD_NORMAL)[2:4] == normal[2:4] or per_cm == 100
        wrapped = b"\x7f\x2e" + bytes([len(data) + 2]) + b"\x81" + bytes([len(data)]) + data
        assert read_card(wrapped, position=Position.RIGHT_INDEX) == (found,)


def test_card_formats_compare_as_their_source_does(data: Path) -> None:
    first, second = (
        read_file(data / "fingerprints" / "leader" / "fvc2002_db1_b" / f"101_{n}.fmr")[0] for n in (1, 2)
    )
    assert isinstance(first, Minutiae)
    (normal,) = cards.read_normal(cards.write_normal([first]), position=first.position)
    (compact,) = cards.read_compact(cards.write_compact([first]), position=first.position)
    own, by_normal, by_compact = (float(compare(t, [second])[0]) for t in (first, normal, compact))
    assert abs(by_normal - own) < 1
    assert by_compact > 4


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (bytes(7), "7 bytes are no multiple of the 5"),
        (bytes(5 * 256), "256 minutiae; a template holds at most 255"),
        (b"\xc0\x00\x00\x00\x00", "kind"),
        (b"\x7f\x2e\x05\x99\x00\x00", "are left"),
        (b"\x7f\x2e\x03\x99\x01\x00", "holds tag 99"),
    ],
)
def test_faulty_cards_are_refused(data: bytes, fault: str) -> None:
    with pytest.raises(FormatError, match=fault):
        cards.read_normal(data)


def test_cards_hold_one_small_template() -> None:
    wide = dataclasses.replace(FINGER, width=800, x=np.array([10, 60, 700], np.uint16))
    with pytest.raises(FormatError, match=r"a minutia at x = 35\.5 mm; the format reaches to 25\.5 mm"):
        cards.write_compact([wide])
    with pytest.raises(FormatError, match="2 templates to write; a card format holds exactly one"):
        cards.write_normal([FINGER, FINGER])


# --- transactions -------------------------------------------------------------------------------------


def transaction(data: Path, name: str) -> bytes:
    return (data / "conformance" / "ansi_nist" / name).read_bytes()


def test_one_finger_is_the_same_in_all_feature_sets(data: Path) -> None:
    """NIST's samples describe one finger by the standard set, by IAFIS' and by M1."""
    names = ("type-9-13-m1.an2", "type-9-14-std.an2", "type-9-4-iafis.an2")
    m1, standard, iafis = (read(transaction(data, name))[0] for name in names)
    assert isinstance(m1, Minutiae)
    assert {t.position for t in (m1, standard, iafis)} == {Position.LEFT_MIDDLE}
    assert len(m1) == 48
    assert compare(standard, [iafis]) > 8
    assert compare(m1, [standard]) > 6
    turned = dataclasses.replace(m1, direction=(m1.direction + 180) % 360)
    assert compare(turned, [standard]) < 0


def test_transactions_of_other_kinds(data: Path) -> None:
    efs = read(transaction(data, "type9-efs.an2k"))
    assert len(efs) == 8
    assert len({t.position for t in efs}) == 8
    assert [len(t) for t in read(transaction(data, "type9.an2k")) if isinstance(t, Minutiae)] == [28]
    with pytest.raises(
        FormatError, match=r"without minutiae of a finger \(types of its records: 2, 4, 7, 8, 10"
    ):
        read(transaction(data, "valid1.9.an2"))


def test_a_transaction_without_minutiae_says_so(cases: Path) -> None:
    """It was taken for ``.xyt``, which begins with a digit, too."""
    for lenient in (False, True):
        with pytest.raises(FormatError, match="ANSI/NIST-ITL"):
            read(cases / "transaction.an2", lenient=lenient)


@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 400), st.booleans())
def test_damaged_transactions_are_refused_or_read(place: int, value: int, cut: int, lenient: bool) -> None:
    fields = b"\x1d".join(
        [
            b"9.001:000",
            b"9.002:01",
            b"9.003:4",
            b"9.004:S",
            b"9.006:02",
            b"9.012:001\x1f01000200045\x1f00\x1fA\x1e002\x1f01100210135\x1f00\x1fB",
        ]
    )
    second = fields.replace(b"9.001:000", b"9.001:%03d" % (len(fields) + 1)) + b"\x1c"
    head = b"1.001:000\x1d1.002:0500\x1d1.003:1\x1f1\x1e9\x1f00\x1c"
    whole = bytearray(head.replace(b"1.001:000", b"1.001:%03d" % len(head)) + second)
    assert len(read(bytes(whole))[0]) == 2  # type: ignore[arg-type]
    whole[place % len(whole)] = value
    damaged = bytes(whole)[: len(whole) - cut % len(whole)]
    try:
        assert read(damaged, lenient=lenient)
    except FormatError:
        return


def test_images_of_transactions_are_extracted(data: Path) -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("wsq")
    from abis.extraction.images import read_images  # noqa: PLC0415

    for name, size in (("type-9-13-m1.an2", (768, 800)), ("type-9-4-iafis.an2", (768, 800))):
        (image,) = read_images(transaction(data, name))
        assert image.pixels.shape == size
        assert image.position == Position.LEFT_MIDDLE
        assert image.record_dpi == pytest.approx(500, abs=1)
    thumb, face, _ = read_images(transaction(data, "valid1.9.an2"))
    assert (thumb.position, face.position) == (Position.RIGHT_THUMB, Position.FACE)
    with pytest.raises(FormatError, match="without images of fingers or faces"):
        read_images(transaction(data, "type9-15.an2k"))


def test_transactions_are_told_by_their_beginning() -> None:
    assert ansi_nist.is_transaction(b"1.001:00000090")
    assert ansi_nist.is_transaction(b"1.01:165")
    assert not ansi_nist.is_transaction(b"1 001 90\n")
