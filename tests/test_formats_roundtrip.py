# SPDX-License-Identifier: Apache-2.0
"""Templates that are written and read again are equal, or rounded as the format documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from format_records import RECORD_FORMATS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abis import formats
from abis.errors import TemplateError
from abis.formats import (
    Format,
    ansi_378_2004,
    ansi_378_2009,
    ansi_378_2009_am1,
    iso_19794_2_2005,
    iso_19794_2_2011,
    native,
    xyt,
)
from abis.formats._native_many import read_many
from abis.formats._stored_many import at_position, stored_forms
from abis.template import MAX_MINUTIAE, NO_QUALITY, Embedding, Minutiae, Position

FINGERS = [position for position in Position if position.is_finger]
DEGREE_UNIT = {
    iso_19794_2_2005: 360 / 256,
    iso_19794_2_2011: 360 / 256,
    ansi_378_2004: 2.0,
    ansi_378_2009: 2.0,
    ansi_378_2009_am1: 2.0,
}
KEEP_EXTRACTOR = (iso_19794_2_2011, ansi_378_2009, ansi_378_2009_am1)
ZERO_IS_UNKNOWN = (iso_19794_2_2005, ansi_378_2004)  # quality 0 says "not reported"

EXTRACTORS = ("", "leader-0.1", "another's ₂")

side = st.integers(1, 16383)
resolution = st.integers(1, 65535)
image: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"width": side, "height": side, "resolution": st.tuples(resolution, resolution)}
)
any_direction = st.floats(0, 360, exclude_max=True, width=32)


@st.composite
def templates(
    draw: st.DrawFn,
    *,
    image: dict[str, Any],
    direction: st.SearchStrategy[float] = any_direction,
    lowest_quality: int = 0,
    extractors: Sequence[str] = ("",),
) -> Minutiae:
    quality = st.integers(lowest_quality, 100)
    minutia = st.tuples(
        st.integers(0, image["width"] - 1),
        st.integers(0, image["height"] - 1),
        direction,
        st.integers(0, 2),
        quality | st.just(NO_QUALITY),
    )
    rows = draw(
        st.lists(minutia, max_size=12) | st.lists(minutia, min_size=1, max_size=1).map(lambda r: r * 255)
    )
    x, y, angle, kinds, qualities = zip(*rows, strict=True) if rows else ((),) * 5
    return Minutiae(
        x=x,
        y=y,
        direction=angle,
        kind=kinds,
        quality=qualities,
        position=draw(st.sampled_from(FINGERS)),
        finger_quality=draw(quality | st.none()),
        extractor=draw(st.sampled_from(extractors)),
        **image,
    )


def in_units_of(degrees: float) -> st.SearchStrategy[float]:
    return st.integers(0, round(360 / degrees) - 1).map(lambda units: units * degrees)


@pytest.mark.parametrize("module", RECORD_FORMATS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_records_lose_nothing_that_they_can_hold(module: Any, data: st.DataObject) -> None:
    direction = in_units_of(DEGREE_UNIT[module])
    lowest_quality = 1 if module in ZERO_IS_UNKNOWN else 0
    shared = data.draw(image)
    views = tuple(
        data.draw(
            templates(
                image=shared if module in ZERO_IS_UNKNOWN else data.draw(image),
                direction=direction,
                lowest_quality=lowest_quality,
                extractors=("", "leader-0.1") if module in KEEP_EXTRACTOR else ("",),
            )
        )
        for _ in range(data.draw(st.integers(1, 4)))
    )
    record = module.write(views)
    assert module.read(record) == views
    assert formats.read(record) == views


@pytest.mark.parametrize("module", RECORD_FORMATS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_records_round_to_the_nearest(module: Any, data: st.DataObject) -> None:
    given_template = data.draw(templates(image=data.draw(image)))
    (read,) = module.read(module.write([given_template]))
    turned = (read.direction.astype(float) - given_template.direction + 180) % 360 - 180
    assert np.abs(turned).max(initial=0) <= DEGREE_UNIT[module] / 2 + 1e-4
    expected_quality, expected_view = given_template.quality, given_template.finger_quality
    if module in ZERO_IS_UNKNOWN:
        expected_quality, expected_view = np.maximum(expected_quality, 1), expected_view or None
    assert read == Minutiae(
        x=given_template.x,
        y=given_template.y,
        direction=read.direction,
        kind=given_template.kind,
        quality=expected_quality,
        width=given_template.width,
        height=given_template.height,
        resolution=given_template.resolution,
        position=given_template.position,
        finger_quality=expected_view,
    )


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_xyt_loses_what_it_says(data: st.DataObject) -> None:
    size = data.draw(image)
    written = data.draw(templates(image=size))
    (read,) = xyt.read(xyt.write([written]), position=written.position, **size)
    is_known = written.quality != NO_QUALITY
    expected = np.where(is_known, written.quality, 0) if is_known.any() else written.quality
    assert read == Minutiae(
        x=written.x,
        y=written.y,
        direction=np.rint(written.direction) % 360,
        quality=expected,
        position=written.position,
        **size,
    )
    (placed,) = formats.read(xyt.write([written])) if len(written) else (read,)
    assert isinstance(placed, Minutiae)
    assert np.array_equal(np.diff(placed.y.astype(int)), np.diff(written.y.astype(int)))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_stored_form_loses_nothing_of_minutiae(data: st.DataObject) -> None:
    direction = data.draw(st.sampled_from([any_direction, *map(in_units_of, (360 / 256, 2.0, 1.0, 1 / 32))]))
    template = data.draw(templates(image=data.draw(image), direction=direction, extractors=EXTRACTORS))
    assert native.read(native.write(template)) == template
    assert formats.read(formats.write([template], Format.NATIVE)) == (template,)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_many_of_the_stored_form_are_read_as_one_by_one(data: st.DataObject) -> None:
    fingers = st.deferred(
        lambda: templates(image=data.draw(image), direction=data.draw(directions), extractors=EXTRACTORS)
    )
    directions = st.sampled_from([any_direction, in_units_of(1 / 32)])
    faces = st.builds(
        Embedding,
        vector=st.lists(st.floats(-10, 10, width=16), min_size=2, max_size=3).filter(any),
        model=st.sampled_from(["", "é", "another"]),
        quality=st.none() | st.just(0.5),
    )
    mixed = data.draw(st.lists(st.one_of(fingers, faces), max_size=8))
    read = read_many([native.write(template) for template in mixed])
    assert read == mixed
    for template in read:
        columns = (
            ["vector"] if isinstance(template, Embedding) else ["x", "y", "direction", "kind", "quality"]
        )
        one_by_one = native.read(native.write(template))
        for name in columns:
            column = getattr(template, name)
            assert not column.flags.writeable
            assert column.dtype == getattr(one_by_one, name).dtype
        assert repr(template) == repr(one_by_one)


@pytest.mark.parametrize("direction", [-0.0, 359.99997, 1 / 64, 1e-45])
def test_stored_form_loses_no_bit_of_a_direction(direction: float) -> None:
    template = Minutiae(x=[0], y=[0], direction=[direction], width=1, height=1)
    assert native.read(native.write(template)) == template


@given(
    vector=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=15).filter(any),
    repeat=st.sampled_from([1, 100]),
    model=st.text(max_size=60),
    quality=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
@settings(max_examples=100, deadline=None)
@example(vector=[5e-324, 5e-324], repeat=1, model="", quality=None)
def test_stored_form_loses_nothing_of_embeddings(
    vector: list[float], repeat: int, model: str, quality: float | None
) -> None:
    values = vector * repeat + [-value for value in vector] * (repeat - 1)  # long ones of both signs
    template = Embedding(vector=values, model=model, quality=quality)
    assert native.read(native.write(template)) == template


@pytest.mark.parametrize(
    ("vector", "fault"),
    [
        (np.full(512, 130, np.uint8), "unsigned numbers"),
        (np.arange(3, dtype=np.uint16), "unsigned numbers"),
        (np.linspace(0, 1, 16), "of one sign"),
        (np.linspace(-1, -0.1, 512, dtype=np.float32), "of one sign"),
    ],
)
def test_vectors_with_a_zero_point_are_refused(vector: Any, fault: str) -> None:
    """Their cosines are near 1 for all pairs: quantised vectors of two people scored 12.7."""
    with pytest.raises(TemplateError, match=fault):
        Embedding(vector=vector, model="m")


def test_stored_vectors_of_one_sign_are_still_read() -> None:
    """Galleries enrolled by earlier releases may hold some."""
    vector = np.zeros(512)
    vector[:2] = 1, -1e-3
    stored = bytearray(native.write(Embedding(vector=vector, model="m")))
    stored[-2 * 511 : -2 * 510] = b"\0\0"
    assert native.read(bytes(stored)).vector.min() == 0  # type: ignore[union-attr]


def test_stored_form_of_the_largest_embedding() -> None:
    generator = np.random.default_rng(7)
    template = Embedding(vector=generator.standard_normal(65535), model="é" * 127)
    assert native.read(native.write(template)) == template


@pytest.mark.parametrize("module", RECORD_FORMATS)
def test_records_keep_no_extractor_that_abis_does_not_know(module: Any) -> None:
    template = Minutiae(x=[1], y=[1], direction=[0], width=9, height=9, extractor="another's")
    (read,) = module.read(module.write([template]))
    assert read.extractor == ""


def test_stored_forms_of_minutiae_whose_extractor_is_known_are_taken_as_they_are() -> None:
    template = Minutiae(x=[1], y=[1], direction=[0], width=9, height=9, extractor="leader-0.1")
    record = native.write(template)
    assert stored_forms([record], []) == [[(0, record)]]
    moved = at_position(record, Position.LEFT_RING)
    assert native.read(moved).position is Position.LEFT_RING
    assert read_many([moved, record]) == [native.read(moved), template]


@pytest.mark.parametrize("module", RECORD_FORMATS)
def test_as_many_minutiae_as_there_can_be(module: Any) -> None:
    side = np.arange(MAX_MINUTIAE)
    template = Minutiae(x=side, y=side, direction=side % 4 * 90, width=255, height=255)
    assert module.read(module.write([template])) == (template,)
