# SPDX-License-Identifier: Apache-2.0
"""For any bytes, a reader raises FormatError or returns valid templates."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
from format_records import RECORD_FORMATS, records
from hypothesis import given, settings
from hypothesis import strategies as st

from abis import formats
from abis.errors import FormatError
from abis.formats import native, xyt
from abis.formats._native_many import read_many
from abis.formats._stored_many import stored_forms
from abis.template import Embedding, Minutiae, StrProfile, Template

RECORDS = records()
READERS = [formats.read, native.read, xyt.read, *(module.read for module in RECORD_FORMATS)]
BEGINNINGS = [b"", b"FMR\0 20\0", b"FMR\0020\0", b"FMR\0030\0", b"FMR\0035\0", b"\xabIS\1", b"1 2 3\n"]


def read_or_refuse(data: bytes) -> tuple[Template, ...] | None:
    """What is read, checked to be whole; None where it was refused as it should be."""
    (stored,) = stored_forms([data], [])
    lenient: tuple[Template, ...] | None = None
    try:
        found = lenient = formats.read(data, lenient=True)
        assert stored == [(t.position, native.write(t)) for t in found]
    except FormatError:
        assert isinstance(stored, FormatError)
    try:
        templates = formats.read(data)
    except FormatError:
        if data.startswith(native.MAGIC):
            with pytest.raises(FormatError):
                read_many([data])
        return None
    if data.startswith(native.MAGIC):
        assert tuple(read_many([data])) == templates
    assert templates
    assert templates == lenient
    for template in templates:  # the stored form is lossless for valid templates
        assert native.read(native.write(template)) == template
    return templates


def sizes(templates: tuple[Template, ...]) -> list[int]:
    return [
        len(t)
        if isinstance(t, Minutiae | StrProfile)
        else len(t.vector)
        if isinstance(t, Embedding)
        else t.bits.size
        for t in templates
    ]


@pytest.mark.parametrize(("name", "record"), RECORDS)
def test_every_cut_is_noticed(name: str, record: bytes) -> None:
    for length in range(len(record)):
        if name != "xyt" or length < 5:  # a shorter text of whole numbers is one, too
            assert read_or_refuse(record[:length]) is None


@pytest.mark.parametrize(("name", "record"), RECORDS)
def test_a_flipped_byte_changes_no_count(name: str, record: bytes) -> None:
    """It may change a value to another valid one, but no view or minutia appears or goes silently."""
    expected = sizes(formats.read(record))
    for offset in range(len(record)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            changed = bytearray(record)
            changed[offset] ^= flip
            templates = read_or_refuse(bytes(changed))
            assert templates is None or sizes(templates) == expected, (name, offset, flip)


@given(
    record=st.sampled_from([record for _, record in RECORDS]),
    edits=st.lists(
        st.tuples(
            st.sampled_from(["flip", "cut", "insert", "double"]), st.integers(0, 2**16), st.binary(max_size=6)
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=300, deadline=None)
def test_edited_records(record: bytes, edits: list[tuple[str, int, bytes]]) -> None:
    for edit, place, new in edits:
        offset = place % (len(record) + 1)
        after = {"flip": offset + len(new), "cut": offset + 1 + len(new), "insert": offset, "double": 0}[edit]
        record = record[:offset] + (b"" if edit == "cut" else new) + record[after:]
    read_or_refuse(record)


@given(beginning=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_bytes(beginning: bytes, rest: bytes) -> None:
    read_or_refuse(beginning + rest)


@pytest.mark.parametrize("reader", READERS)
@given(data=st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_to_any_reader(reader: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(FormatError):
        reader(data)


@given(text=st.text(alphabet="0123456789 \t\r\n-+._eE", max_size=60))
@settings(deadline=None)
def test_any_text(text: str) -> None:
    read_or_refuse(text.encode())


def test_records_of_another_format_are_refused_by_each_reader() -> None:
    for module in (*RECORD_FORMATS, native, xyt):
        own = module.__name__.rpartition(".")[2]
        for name, record in RECORDS:
            if name != own:
                with pytest.raises(FormatError):
                    module.read(record)


def test_long_nonsense_is_refused_quickly() -> None:
    """Counts and lengths are checked before anything of their size is made."""
    nonsense = random.Random(5).randbytes(1_000_000)
    for beginning in BEGINNINGS:
        assert read_or_refuse(beginning + nonsense) is None
        assert read_or_refuse(beginning + b"\xff" * 1_000_000) is None
    assert read_or_refuse(b"1 2 3\n" * 200_000) is None
