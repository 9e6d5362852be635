# SPDX-License-Identifier: Apache-2.0
"""The formats: records written by other software, and the errors for faulty records."""

from __future__ import annotations

import doctest
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_records import EMPTY, FACE, FULL, PLAIN, annex_example, draft_2007, long_ansi_2004, records
from numpy.testing import assert_array_equal

from abis import formats
from abis.errors import FormatError
from abis.formats import (
    Format,
    ansi_378_2004,
    ansi_378_2009,
    cbeff,
    iso_19794_2_2005,
    iso_19794_2_2011,
    native,
    xyt,
)
from abis.template import NO_QUALITY, Embedding, Minutiae, MinutiaKind, Position

ISO_DEGREES, ANSI_DEGREES = 360 / 256, 2.0

EXAMPLES = {  # of the standards, with the degrees that a unit of direction has in each
    "ansi378v2004": ISO_DEGREES,  # its example is faulty, see ansi_378_2004.read
    "ansi378v2009": ANSI_DEGREES,
    "ansi378v2009am1": ANSI_DEGREES,
    "iso19794p2v2005": ISO_DEGREES,
    "iso19794p2v2011": ISO_DEGREES,
}

KINDS = {
    "OTHER": MinutiaKind.OTHER,
    "EITHER": MinutiaKind.OTHER,  # what ANSI calls it since 2009
    "ENDING": MinutiaKind.ENDING,
    "BIFURCATION": MinutiaKind.BIFURCATION,
}


def minutiae(path: Path) -> tuple[Minutiae, ...]:
    templates = formats.read_file(path)
    assert all(isinstance(template, Minutiae) for template in templates)
    return templates  # type: ignore[return-value]


# --- records by other people's software -------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_standards(data: Path, name: str) -> None:
    folder = data / "conformance" / "finger_minutiae"
    truth = json.loads((folder / f"{name}__{name}-sample.json").read_text())
    templates = minutiae(folder / f"{name}__{name}-sample.dat")
    assert len(templates) == len(truth["fingerprints"]) == 2
    for template, view in zip(templates, truth["fingerprints"], strict=True):
        assert_is_view(template, view, header=truth, degrees=EXAMPLES[name])


def assert_is_view(template: Minutiae, view: dict[str, Any], header: dict[str, Any], degrees: float) -> None:
    stated = header | view  # image size and resolution stand in the one or in the other
    assert template.position.name == view["position"]
    assert (template.width, template.height) == (stated["width"], stated["height"])
    assert template.resolution == (stated["resolutionX"], stated["resolutionY"])
    qualities = view.get("qrecords", [view])
    assert template.finger_quality == qualities[0]["quality"]
    points = view["minutiae"]
    assert template.x.tolist() == [point["positionX"] for point in points]
    assert template.y.tolist() == [point["positionY"] for point in points]
    assert template.direction.tolist() == [point["angle"] * degrees for point in points]
    assert template.kind.tolist() == [KINDS[point["type"]] for point in points]
    assert template.quality.tolist() == [point["quality"] for point in points]


def test_examples_agree_with_each_other(data: Path) -> None:
    """All describe the same two fingers, whatever unit their directions have.

    But for three directions of the first finger, which were mistyped or left alone when the others were
    converted from one unit to the other.
    """
    folder = data / "conformance" / "finger_minutiae"
    first, *others = [minutiae(folder / f"{name}__{name}-sample.dat") for name in EXAMPLES]
    for templates in others:
        for template, expected in zip(templates, first, strict=True):
            assert_array_equal(template.x, expected.x)
            assert_array_equal(template.y, expected.y)
            turned = (template.direction - expected.direction + 180) % 360 - 180
            assert np.count_nonzero(np.abs(turned) > ANSI_DEGREES) <= 3


def test_nist_records_hold_the_same_fingers(data: Path) -> None:
    """NIST's own records of the draft of 2007, whose header differs, and of 2004 and 2005."""
    folder = data / "conformance" / "finger_minutiae"
    published = minutiae(folder / "ansi378v2009__ansi378v2009-sample.dat")
    assert minutiae(folder / "fmr.ansi2007") == published
    assert minutiae(folder / "fmr.ansi2004")[:2] == published
    assert len(minutiae(folder / "fmr.ansi2004")) == 3
    for template, expected in zip(minutiae(folder / "fmr.iso2005"), published, strict=True):
        assert_array_equal(template.x, expected.x)
        assert_array_equal(template.quality, expected.quality)


def test_every_record_of_three_extractors(data: Path) -> None:
    """Against the plainest possible parser; two records have a view quality of 0, all of SecuGen's too."""
    paths = [
        *(data / "fingerprints").glob("[!t]*/*/*.fmr"),
        *(data / "fingerprints" / "secugen").glob("*/*.iso"),
        *(data / "conformance" / "finger_minutiae" / "fingerjetfx").iterdir(),
    ]
    assert len(paths) == 640 + 640 + 160 + 9
    for path in paths:
        (template,) = minutiae(path)
        record = path.read_bytes()
        assert (template.width, template.height, *template.resolution) == struct.unpack(">4H", record[14:22])
        assert (template.position, template.finger_quality or 0) == (record[24], record[26])
        rows = list(struct.iter_unpack(">HHBB", record[28 : 28 + 6 * record[27]]))
        assert template.x.tolist() == [kind_x % 2**14 for kind_x, _, _, _ in rows], path
        assert template.kind.tolist() == [kind_x // 2**14 for kind_x, _, _, _ in rows], path
        assert template.y.tolist() == [y for _, y, _, _ in rows], path
        assert template.direction.tolist() == [unit * ISO_DEGREES for _, _, unit, _ in rows], path
        assert template.quality.tolist() == [quality or NO_QUALITY for _, _, _, quality in rows], path


def test_every_nist_xyt(data: Path) -> None:
    paths = list((data / "fingerprints" / "mindtct").glob("*/*.xyt"))
    assert len(paths) == 640
    for path in paths:
        (template,) = minutiae(path)
        rows = np.loadtxt(path, ndmin=2)
        assert_array_equal(template.x, rows[:, 0])
        assert_array_equal(template.y, rows[:, 1].max() - rows[:, 1])
        assert_array_equal((template.direction - rows[:, 2]) % 360, np.full(len(rows), 180))
        assert_array_equal(template.quality, rows[:, 3])


def test_xyt_lies_on_the_minutiae_of_an_iso_extractor(data: Path) -> None:
    """The axes and the direction of .xyt, as two extractors saw the same 80 images."""
    offsets, turns = [], []
    for path in (data / "fingerprints" / "mindtct" / "fvc2002_db1_b").glob("*.xyt"):
        (iso,) = minutiae(data / "fingerprints" / "leader" / "fvc2002_db1_b" / f"{path.stem}.fmr")
        (nist,) = xyt.read(path.read_bytes(), width=iso.width, height=iso.height)
        place, other = (np.stack([t.x, t.y], axis=1).astype(float) for t in (nist, iso))
        distance = np.linalg.norm(place[:, None] - other, axis=2)
        nearest = distance.argmin(axis=1)
        near = np.flatnonzero((distance.min(axis=1) < 5) & (nist.quality >= 40))
        offsets += list(place[near] - other[nearest[near]])
        turns += list((nist.direction[near] - iso.direction[nearest[near]] + 180) % 360 - 180)
    assert len(turns) > 1000
    assert np.abs(np.mean(offsets, axis=0)).max() < 1.5  # pixels
    assert np.mean(np.abs(turns) < 22.5) > 0.95


# --- telling formats apart --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "record"), records())
def test_format_is_told_by_content(name: str, record: bytes) -> None:
    module = getattr(formats, name)
    if module is native:
        expected: object = (native.read(record),)
    elif module is cbeff:
        expected = cbeff.read(record, formats.read)
    else:
        expected = module.read(record)
    assert formats.read(record) == expected


def test_record_with_the_long_length_field() -> None:
    record = long_ansi_2004()
    assert len(record) > 2**16
    assert len(formats.read(record)) == 45


def test_many_views_do_not_turn_iso_into_ansi() -> None:
    """From 65536 bytes on, the first two bytes of ISO's length are those of a short ANSI length."""
    fingers = [
        Minutiae(x=[1] * 255, y=[1] * 255, direction=[0] * 255, width=9, height=9, position=position)
        for position in (Position.RIGHT_THUMB, Position.RIGHT_INDEX, Position.RIGHT_MIDDLE)
    ]
    templates = tuple(fingers * 15)
    record = iso_19794_2_2005.write(templates)
    assert len(record) > 2**16
    assert formats.read(record) == templates


def test_draft_of_2007_and_published_2009_read_alike() -> None:
    assert formats.read(draft_2007()) == (PLAIN, FULL)


def test_a_record_of_two_standards_at_once_is_refused() -> None:
    """Bytes made to obey both standards of version 030: no field says which is meant."""
    record = b"FMR\x00030\0" + struct.pack(
        ">IHBI B8x xHHB BBHHBHH BB75xH2x",
        *(126, 1, 0, 111),  # record length; ISO: a view of 111 bytes; ANSI: vendor 1, product 0, device 111
        *(1, 9, 999, 0),  # ANSI: one view, image of 9x999
        *(5, 0, 0x0501, 3, 0, 0x0100, 60 << 8),  # ISO: finger 5, 256x15360; ANSI: one minutia of quality 60
        *(0x50, 15, 2),  # ISO: 15 minutiae of 5 bytes, extended data of 2; ANSI: extended data of 80
    )
    (iso,), (ansi,) = iso_19794_2_2011.read(record), ansi_378_2009.read(record)
    assert (len(iso), len(ansi)) == (15, 1)
    with pytest.raises(FormatError, match="obeys both ISO/IEC 19794-2:2011 and ANSI/INCITS 378-2009"):
        formats.read(record)


def test_read_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "thumb.fmr"
    path.write_bytes(iso_19794_2_2005.write([PLAIN]))
    assert formats.read_file(path) == (PLAIN,)
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(FormatError, match=r"thumb\.fmr: byte 0: begins with b'%PDF-1.7") as caught:
        formats.read_file(str(path))
    assert caught.value.offset == 0


# --- errors -----------------------------------------------------------------------------------------------


def edited(record: bytes, offset: int, replacement: bytes) -> bytes:
    return record[:offset] + replacement + record[offset + len(replacement) :]


ISO = iso_19794_2_2005.write([PLAIN])  # header of 24 bytes, view header of 4, three minutiae of 6
ISO_2011 = iso_19794_2_2011.write([PLAIN])
ANSI = ansi_378_2004.write([PLAIN])  # header of 26 bytes
NATIVE = native.write(PLAIN)
XYT = xyt.write([PLAIN])

FAULTS = [
    (b"", 0, r"is empty; expected a template record"),
    (b"%PDF-1.7", 0, r"begins with b'%PDF-1\.7', as no supported format does"),
    (ISO[:-1], 8, "record length is 48, but there are 47 bytes"),
    (ISO + b"\0", 48, "1 bytes follow where the record should end"),
    (ISO[:11], 8, "record length needs 4 bytes, but only 3 are left"),
    (
        edited(ISO, 4, b"040\0"),
        4,
        r"version of the finger minutiae record is b'040\\x00'; expected b' 20\\x00'",
    ),
    (edited(ISO, 14, b"\0\0"), 28, "view 0: width is 0; expected a whole number from 1 to 16383"),
    (
        edited(ISO, 18, b"\0\0"),
        28,
        "view 0: x resolution in pixels/cm is 0; expected a whole number from 1 to 65535",
    ),
    (edited(ISO, 22, b"\0"), 22, "number of finger views is 0; expected at least 1"),
    (edited(ISO, 22, b"\2"), 48, "finger position needs 1 bytes, but only 0 are left"),
    (edited(ISO, 24, b"\15"), 24, "finger position is 13; expected 0 to 10"),
    (edited(ISO, 26, b"\145"), 26, "finger quality is 101; expected 0 to 100, or 254 or 255"),
    (edited(ISO, 27, b"\4"), 28, "view 0: its 4 minutiae needs 24 bytes, but only 20 are left"),
    (edited(ISO, 27, b"\2"), 42, "view 0: its extended data needs 61 bytes, but only 6 are left"),
    (edited(ISO, 40, b"\100\144"), 28, "view 0: minutia 2: x=100 outside width 100"),
    (edited(ISO, 36, b"\x80\x50"), 28, "view 0: minutia 1: y=32848 outside height 120"),
    (edited(ISO, 28, b"\xc0"), 28, r"view 0: minutia 0: kind=3 is no MinutiaKind \(0 to 2\)"),
    (edited(ISO, 33, b"\x80"), 28, "view 0: minutia 0: quality=128 is neither 0 to 100 nor 255"),
    (edited(ANSI, 34, b"\xb4"), 30, r"view 0: minutia 0: direction=360.0 outside \[0, 360\) degrees"),
    (edited(ANSI, 4, b"0"), 4, "version is 020, that of the standard's faulty example, and no direction is"),
    (edited(NATIVE, 3, b"\2"), 3, "stored form of version 2; this abis reads version 1"),
    (edited(NATIVE, 4, b"\x63"), 4, "content is 99; expected one of 1, 2, 3, 4, 5, 6"),
    (edited(NATIVE, 5, b"\13"), 5, "position is 11, which is none"),
    (edited(NATIVE, 5, b"\40"), 5, "position FACE is not a finger"),
    (NATIVE + b"\0", len(NATIVE), "1 bytes follow where the record should end"),
    (edited(native.write(FACE), -7, b"\xff"), 17, "model's name is no UTF-8: invalid start byte"),
    (native.write(FACE)[:-2] + b"\x3c\0", 5, r"vector is of length [\d.]+; expected unit length"),
    (native.write(FACE)[:-2] + b"\x7c\0", 5, "vector element 2 is inf"),
    (b"1 2 3\n4 5\n", 6, "line 2 has 2 words; expected 3 as in line 1"),
    (b"1 2 3 4 5\n", 0, "line 1 has 5 words; expected 3 or 4"),
    (b"1 2 360\n", 0, "line 1: theta is '360'; expected a whole number, 0 to 359"),
    (b"1 -2 3\n", 0, "line 1: y is '-2'; expected a whole number, 0 to 16383"),
    (b"1 2 3 " + b"9" * 5000, 0, "line 1: quality is '9999999999999999'; expected a whole number"),
    (XYT * 100, 0, "300 lines; a template holds at most 255 minutiae"),
]


@pytest.mark.parametrize(("record", "offset", "message"), FAULTS)
def test_error_says_what_and_where(record: bytes, offset: int, message: str) -> None:
    with pytest.raises(FormatError, match=f"^byte {offset}: {message}") as caught:
        formats.read(record)
    assert caught.value.offset == offset


FAULTS_OF_2011 = [
    (edited(ISO_2011, 14, b"\2"), 14, "certification flag is 2; expected 0 to 1"),
    (edited(ISO_2011, 18, b"\0"), 15, "view 0 states a length of 0 bytes, but holds 49"),
    (edited(ISO_2011, 45, b"\x70"), 45, "minutia size is 7 bytes; expected 5 or 6"),
]


@pytest.mark.parametrize(("record", "offset", "message"), FAULTS_OF_2011)
def test_error_of_a_version_that_two_standards_have(record: bytes, offset: int, message: str) -> None:
    with pytest.raises(FormatError, match=f"^byte {offset}: {message}"):
        iso_19794_2_2011.read(record)
    both = (
        rf"^neither ISO/IEC 19794-2:2011 \(byte {offset}: {message}\) nor ANSI/INCITS 378-2009 \(byte \d+: "
    )
    with pytest.raises(FormatError, match=both):
        formats.read(record)
    with pytest.raises(FormatError, match=r"^byte 8: record length is \d+, but there are \d+ bytes$"):
        formats.read(record[:-1])  # they agree on that


def test_truncated_files_say_so(data: Path) -> None:
    for bytes_missing, name in enumerate(["1_byte", "2_bytes", "3_bytes"], start=1):
        path = data / "fingerprints" / "truncated" / f"101_1_truncate_{name}.iso"
        with pytest.raises(FormatError, match=f"length is 30, but there are {30 - bytes_missing} bytes$"):
            formats.read_file(path)


def test_xyt_outside_the_given_image() -> None:
    with pytest.raises(FormatError, match=r"minutia 1: x=60 outside width 50 \(minutia 0 is line 1\)"):
        xyt.read(XYT, width=50, height=120)


@pytest.mark.parametrize("form", Format)
def test_nothing_to_write(form: Format) -> None:
    with pytest.raises(FormatError, match=r"templates to write"):
        formats.write([], form)


@pytest.mark.parametrize("form", [form for form in Format if form is not Format.NATIVE])
def test_only_the_stored_form_holds_embeddings(form: Format) -> None:
    with pytest.raises(FormatError, match=f"^{form.value} does not hold templates of a face"):
        formats.write([FACE], form)


@pytest.mark.parametrize("form", [Format.NATIVE, Format.XYT])
def test_formats_of_one_template(form: Format) -> None:
    with pytest.raises(FormatError, match=r"2 templates to write; .* holds exactly one"):
        formats.write([PLAIN, FULL], form)


@pytest.mark.parametrize("form", [Format.ISO_19794_2_2005, Format.ANSI_378_2004])
def test_records_of_one_image_size(form: Format) -> None:
    wider = Minutiae(x=[1], y=[1], direction=[0], width=101, height=120)
    with pytest.raises(
        FormatError, match="template 1 is 101x120 at 197x197 px/cm, but template 0 is 100x120"
    ):
        formats.write([PLAIN, wider], form)


@pytest.mark.parametrize(
    "form", [form for form in Format if form.value.startswith(("ISO", "ANSI")) and "card" not in form.value]
)
def test_more_views_of_a_finger_than_view_numbers(form: Format) -> None:
    assert formats.read(formats.write([FULL] * 16 + [PLAIN], form)) == (FULL,) * 16 + (PLAIN,)
    with pytest.raises(FormatError, match="template 16 is view 17 of LEFT_INDEX; a record holds at most 16"):
        formats.write([FULL] * 17, form)


# --- what standards say differently -----------------------------------------------------------------------


def test_qualities_that_are_not_known() -> None:
    unknown = edited(edited(ISO, 26, b"\377"), 33, b"\376")  # the codes of later standards, in an early one
    assert iso_19794_2_2005.read(unknown) == (PLAIN,)
    worst = edited(iso_19794_2_2011.write([FULL]), 19 + 15, b"\0")
    assert iso_19794_2_2011.read(worst)[0].finger_quality == 0  # where 254 says "not known", 0 is the worst


def test_extended_data_of_the_last_view_may_be_misstated_by_two_bytes() -> None:
    record = iso_19794_2_2005.write([PLAIN, EMPTY])
    for stated, is_read in [(0, False), (1, False), (2, True), (4, True), (6, True), (7, False)]:
        extended = record[:-1] + bytes([stated]) + b"\1\2\3\4"
        whole = edited(extended, 8, struct.pack(">I", len(extended)))
        if is_read:
            assert iso_19794_2_2005.read(whole) == (PLAIN, EMPTY)
        else:
            with pytest.raises(FormatError, match=r"extended data needs|bytes follow"):
                iso_19794_2_2005.read(whole)


def test_faulty_example_version_is_read_only_where_it_proves_its_unit() -> None:
    (template,) = ansi_378_2004.read(annex_example())
    assert template.direction[0] == 200 * ISO_DEGREES


def test_unusual_whitespace_in_xyt() -> None:
    assert formats.read(b"\t10  20 270\r\n60 80 90 \r\n\r\n") == formats.read(b"10 20 270\n60 80 90")


def test_xyt_of_nothing_is_a_template_without_minutiae() -> None:
    (template,) = xyt.read(b"")
    assert len(template) == 0
    assert xyt.read(b"", width=100, height=120) == (EMPTY,)


def test_stored_form_is_compact() -> None:
    assert len(native.write(PLAIN)) == 16 + 7 * len(PLAIN)
    assert len(native.write(FACE)) == 17 + len("demo") + 2 * len(FACE.vector)


def test_stored_form_stays_as_it_is() -> None:
    """Version 1, byte for byte: galleries on disk are of it."""
    assert native.write(FULL) == bytes.fromhex(
        "ab4953 01 01 07 0064 0078 00c5 00c5 50 02" + "4005 0077 07 0b40" + "8063 0001 64 1680"
    )
    third = Embedding(vector=[0.0, -2.0], model="é")
    assert native.write(third) == bytes.fromhex("ab4953 01 03 20 7ff8000000000000 0002 02 c3a9 0000 bc00")


def test_documented_examples_are_true() -> None:
    page = Path(__file__).parents[1] / "docs" / "formats.md"
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 10
    assert result.failed == 0


def test_nothing_is_no_record() -> None:
    with pytest.raises(FormatError, match="byte 0: is empty"):
        formats.read(b"")
