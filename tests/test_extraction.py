# SPDX-License-Identifier: Apache-2.0
"""Templates from images: the networks, the steps before and after them, and images without a template."""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from extra import PIL
from hypothesis import given, settings
from hypothesis import strategies as st
from prints import png, ridges

from abis.comparison import cosine, explain
from abis.errors import AbisError, ExtractionError, FormatError
from abis.extraction import Extraction, ExtractionNote, extract, extract_many, fingers
from abis.extraction import workers as workers_room
from abis.extraction._onnx import initializer, model, node, tensor_info
from abis.extraction.cache import Cache
from abis.extraction.extracting import ExtractionSettings, extract_all
from abis.extraction.images import read_images
from abis.extraction.models import finger_extractor
from abis.extraction.records import read as read_record
from abis.extraction.resizing import resize
from abis.extraction.workers import Extractors
from abis.formats import is_image, read, read_file
from abis.template import Embedding, Minutiae, Position

RIGHT = Position.RIGHT_INDEX
Maps = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]
SETS = [("fvc2002_db1_b", 500), ("fvc2002_db2_b", 569), ("fvc2004_db3_b", 512)]


@pytest.fixture(scope="module")
def finger() -> Minutiae:
    template = extract(png(ridges(1)), position=RIGHT)
    assert isinstance(template, Minutiae)
    return template


@pytest.fixture(scope="module")
def portraits(data: Path) -> Path:
    return data / "images" / "lfw_fold1"


def face(image: bytes, **options: Any) -> Embedding:
    template = extract(image, position=Position.FACE, **options)
    assert isinstance(template, Embedding)
    return template


def likeness(first: Embedding, second: Embedding) -> float:
    return float(cosine(first, second.vector[np.newaxis])[0])


# --- fingers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dpi"), SETS)
def test_certain_minutiae_are_those_of_pyfing(data: Path, name: str, dpi: int) -> None:
    """Pyfing, which keeps minutiae of a confidence of 0.6 or more, made the templates beside the images.

    benchmarks/accuracy/check_leader.py compares them all.
    """
    for sample in ("101_1", "107_3"):
        image = (data / "images" / name / f"{sample}.tif").read_bytes()
        ours = extract(image, position=Position.UNKNOWN_FINGER, dpi=dpi)
        (theirs,) = read_file(data / "fingerprints" / "leader" / name / f"{sample}.fmr")
        assert isinstance(ours, Minutiae)
        assert isinstance(theirs, Minutiae)
        certain = ours.quality >= theirs.quality.min()
        assert len(theirs) == certain.sum()
        assert ours.quality.min() >= 10
        for column in ("x", "y", "kind", "quality"):
            np.testing.assert_array_equal(getattr(ours, column)[certain], getattr(theirs, column))
        turn = (ours.direction[certain] - theirs.direction + 180) % 360 - 180
        assert np.abs(turn).max() <= 1.40625 / 2 + 1 / 64  # theirs are rounded to units of 1.40625 degrees
        assert (ours.width, ours.height, ours.resolution) == (theirs.width, theirs.height, theirs.resolution)


def test_a_finger_is_found_again_where_it_lies_elsewhere(finger: Minutiae) -> None:
    moved = extract(png(ridges(1, shift=(13, 9))), position=RIGHT)
    other = extract(png(ridges(2)), position=RIGHT)
    assert isinstance(moved, Minutiae)
    assert isinstance(other, Minutiae)
    assert explain(finger, moved).score > 20
    assert explain(finger, other).score < 2


@pytest.mark.parametrize("dpi", [300, 1000])
def test_the_stated_resolution_is_taken_into_account(finger: Minutiae, dpi: int) -> None:
    template = extract(png(resize(ridges(1), dpi / 500)), position=RIGHT, dpi=dpi)
    assert isinstance(template, Minutiae)
    assert template.resolution == (round(dpi / 2.54),) * 2
    assert template.width == round(320 * dpi / 500)
    assert explain(finger, template).score > 15


def test_a_template_takes_seven_bytes_a_minutia_and_has_a_quality(finger: Minutiae) -> None:
    units = finger.direction * 32
    assert (units == np.rint(units)).all()
    few = extract(png(ridges(1, minutiae=6)), position=RIGHT)
    assert isinstance(few, Minutiae)
    assert finger.finger_quality is not None
    assert few.finger_quality is not None
    assert finger.finger_quality > few.finger_quality


def found(confidences: list[float], monkeypatch: pytest.MonkeyPatch) -> Minutiae:
    """The template of an image in which the network finds minutiae of these confidences."""
    peaks = np.zeros((300, 300), np.float32)
    peaks[20 : 20 + 8 * len(confidences) : 8, 50] = confidences
    maps: Maps = (peaks, np.ones((2, 300, 300), np.float32), np.ones_like(peaks))
    monkeypatch.setattr(fingers, "_run", lambda _: maps)
    return fingers.extract_minutiae(np.zeros((300, 300), np.uint8), dpi=500, position=RIGHT)


def test_few_certain_minutiae_beside_many_uncertain_ones_are_a_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    template = found([0.9, 0.7, 0.65, *[0.11] * 20, 0.09], monkeypatch)
    assert template.quality.tolist() == [90, 70, 65, *[11] * 20]
    assert template.extractor == fingers.EXTRACTOR
    with pytest.raises(ExtractionError, match=r"confidences of 6 minutiae add up to 1\.9; expected at least"):
        found([0.9, *[0.2] * 5], monkeypatch)
    with pytest.raises(ExtractionError, match=r"a confidence of 0\.17 on average, expected 0\.25 or more"):
        found([0.9, 0.7, *[0.11] * 20], monkeypatch)


def test_finger_quality_is_never_negative_and_grows_with_what_is_certain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prints = ([0.25] * 12, [0.4] * 30, [0.95] * 12, [*[0.95] * 30, *[0.25] * 4], [0.95] * 30)
    qualities = [found(confidences, monkeypatch).finger_quality for confidences in prints]
    known = [quality for quality in qualities if quality is not None]
    assert known == sorted(set(known))
    assert len(known) == len(prints)


@pytest.mark.parametrize(
    ("image", "options", "reason"),
    [
        (np.full((300, 300), 200, np.uint8), {}, "no finger found: not one minutia"),
        (np.full((20, 300), 200, np.uint8), {}, "20x300|300x20"),
        (ridges(1), {"dpi": 20}, "resolution is 20 dpi; expected 100 to 5000"),
        (ridges(1, minutiae=0)[:120, :120], {}, "no finger found"),
    ],
)
def test_no_finger_is_an_outcome_with_a_reason(
    image: npt.NDArray[np.uint8], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ExtractionError, match=reason):
        extract(png(image), position=RIGHT, **options)


# --- faces --------------------------------------------------------------------------------------------


def test_two_portraits_of_one_person_are_more_alike_than_of_two(portraits: Path) -> None:
    names = ("Abel_Pacheco_0001", "Abel_Pacheco_0004", "Akhmed_Zakayev_0001")
    first, second, other = (face((portraits / f"{name}.jpg").read_bytes()) for name in names)
    assert first.model == "sface_2021dec"
    assert likeness(first, second) > 0.4 > likeness(first, other) + 0.2


@pytest.mark.parametrize("change", ["turned", "large", "small", "grey", "close"])
def test_the_face_is_aligned_whatever_the_image(portraits: Path, change: str) -> None:
    image: PIL.Image.Image = PIL.Image.open(portraits / "Abel_Pacheco_0001.jpg")
    before = face(png(np.asarray(image)))
    match change:
        case "turned":
            image = image.rotate(25, PIL.Image.Resampling.BICUBIC, expand=True)
        case "large":
            image = image.resize((1500, 1500), PIL.Image.Resampling.BICUBIC)
        case "small":
            image = image.resize((150, 150), PIL.Image.Resampling.BICUBIC)
        case "grey":
            image = image.convert("L")
        case "close":
            image = image.crop((65, 60, 190, 190)).resize((2000, 2000), PIL.Image.Resampling.BICUBIC)
    (after,) = extract_all(png(np.asarray(image)), ExtractionSettings(Position.FACE)).templates
    assert isinstance(after, Embedding)
    assert likeness(before, after) > 0.7


def test_of_several_faces_the_large_central_one_is_taken_and_that_is_said(portraits: Path) -> None:
    large = PIL.Image.open(portraits / "Abel_Pacheco_0001.jpg").crop((50, 50, 200, 200)).resize((400, 400))
    small = PIL.Image.open(portraits / "Akhmed_Zakayev_0001.jpg").crop((50, 50, 200, 200)).resize((150, 150))
    both = PIL.Image.new("RGB", (900, 400))
    both.paste(small, (0, 0))
    both.paste(large, (300, 0))
    with pytest.warns(ExtractionNote, match="2 faces; the large central one was taken"):
        found = face(png(np.asarray(both)))
    assert likeness(found, face(png(np.asarray(large)))) > 0.9
    assert extract_all(png(np.asarray(both)), ExtractionSettings(Position.FACE)).note.startswith("2 faces")


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (PIL.Image.Transpose.ROTATE_90, "turned by 270 degrees"),
        (PIL.Image.Transpose.ROTATE_180, "turned by 180 degrees"),
        (PIL.Image.Transpose.ROTATE_270, "turned by 90 degrees"),
    ],
)
def test_a_turned_portrait_is_turned_back_and_that_is_said(
    portraits: Path, turn: PIL.Image.Transpose, said: str
) -> None:
    for name in ("Abel_Pacheco_0001", "Akhmed_Zakayev_0001"):
        image = PIL.Image.open(portraits / f"{name}.jpg")
        (upright,) = extract_all(png(np.asarray(image)), ExtractionSettings(Position.FACE)).templates
        made = extract_all(png(np.asarray(image.transpose(turn))), ExtractionSettings(Position.FACE))
        assert made.note == f"the image was {said}"
        assert made.templates == (upright,)


def covered(image: PIL.Image.Image) -> PIL.Image.Image:
    PIL.ImageDraw.Draw(image).rectangle((60, 95, 190, 130), fill=(90, 90, 90))
    return image


@pytest.mark.parametrize(
    ("degrade", "said"),
    [
        (lambda image: image.filter(PIL.ImageFilter.GaussianBlur(8)), "blurred: sharpness"),
        (lambda image: image.point(lambda value: value // 10), "too dark or too pale: contrast"),
        (covered, "covered: "),
    ],
)
def test_a_poor_portrait_is_refused_unless_it_is_allowed(
    portraits: Path, degrade: Callable[[PIL.Image.Image], PIL.Image.Image], said: str
) -> None:
    """The embeddings of strangers' poor portraits are alike; benchmarks/accuracy/degraded_faces.py measures how."""
    poor = png(np.asarray(degrade(PIL.Image.open(portraits / "Abel_Pacheco_0001.jpg"))))
    with pytest.raises(ExtractionError, match=f"quality too low: the portrait is {said}"):
        face(poor)
    with pytest.warns(ExtractionNote, match=f"quality too low: the portrait is {said}"):
        assert isinstance(face(poor, allow_poor=True), Embedding)


def test_a_covered_mouth_is_no_reason_to_refuse(portraits: Path) -> None:
    """Strangers with masks match no more often than others do."""
    image = PIL.Image.open(portraits / "Abel_Pacheco_0001.jpg")
    PIL.ImageDraw.Draw(image).rectangle((70, 135, 180, 250), fill=(90, 90, 90))
    assert isinstance(face(png(np.asarray(image))), Embedding)


@pytest.mark.parametrize("folder", ["iris/casia_v1", "images/lfw_fold1"])
def test_an_eye_or_a_face_is_not_taken_for_a_finger(data: Path, folder: str) -> None:
    """Minutiae are found everywhere, but the network is not certain of them: most images are refused."""
    files = sorted(path for path in (data / folder).rglob("*") if path.suffix in {".png", ".jpg"})
    made = extract_many(files[3 :: len(files) // 5][:5], position=RIGHT, workers=1)
    assert sum("no finger found" in (outcome.reason or "") for outcome in made) >= 3


def test_no_face_is_an_outcome_with_a_reason() -> None:
    with pytest.raises(ExtractionError, match="no face found"):
        face(png(ridges(1)))


def test_another_network_names_itself_in_the_template(tmp_path: Path, portraits: Path) -> None:
    """A network that does next to nothing: the mean colour of three bands."""
    path = tmp_path / "bands.onnx"
    path.write_bytes(
        model(
            name="bands",
            opset=20,
            nodes=[
                node("AveragePool", ["x"], ["y"], {"kernel_shape": [56, 112], "strides": [56, 112]}),
                node("Reshape", ["y", "shape"], ["z"], {}),
            ],
            initializers=[initializer("shape", np.array([1, 6]))],
            inputs=[tensor_info("x", ["n", 3, 112, 112])],
            outputs=[tensor_info("z", [1, 6])],
        )
    )
    image = (portraits / "Abel_Pacheco_0001.jpg").read_bytes()
    found = face(image, face_model=path)
    assert found.model.startswith("bands-")
    assert len(found.vector) == 6
    assert found.quality is not None
    assert found.quality <= np.sqrt(6)  # pixels are scaled to -1 to 1
    path.write_bytes(b"no network")
    with pytest.raises(ExtractionError, match="not a network"):
        face(image, face_model=tmp_path / "." / ".." / tmp_path.name / "bands.onnx")


# --- images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("TIFF", {}),
        ("PNG", {}),
        ("BMP", {}),
        ("JPEG", {"quality": 95}),
        ("JPEG2000", {}),
        ("WSQ", {}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
    ],
)
def test_images_of_all_kinds_are_read(kind: str, options: dict[str, Any]) -> None:
    pixels = ridges(3)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind, **options)
    assert is_image(file.getvalue()[:16])
    (image,) = read_images(file.getvalue())
    assert image.grey().shape == pixels.shape
    assert np.abs(image.grey().astype(int) - pixels).mean() < (
        12 if kind in {"JPEG", "JPEG2000", "WSQ"} else 1.1
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "CMYK"])
def test_images_of_all_depths_are_read(mode: str) -> None:
    grey = PIL.Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (40, 1)))
    image = (
        PIL.Image.fromarray((np.asarray(grey).astype(np.uint16) << 8) + 7)
        if mode == "I;16"
        else grey.convert(mode)
    )
    file = io.BytesIO()
    image.save(file, "TIFF")
    (found,) = read_images(file.getvalue())
    assert np.abs(found.grey().astype(int) - np.asarray(grey)).mean() < (100 if mode == "1" else 1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16, 24, 32])
def test_the_depth_of_a_grey_image_is_that_of_its_content(bits: int) -> None:
    """Scanners store 8, 10 or 12 bits in 16; shifting all by 8 made such images black."""
    grey = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    deep = (grey.astype(np.uint64) << (bits - 8)).astype(np.int32 if bits > 16 else np.uint16)
    if bits == 32:
        deep = (grey.astype(np.float64) * 2**24).astype(np.float32)
    file = io.BytesIO()
    PIL.Image.fromarray(deep).save(file, "TIFF")
    (found,) = read_images(file.getvalue())
    np.testing.assert_array_equal(found.grey(), grey)


def netpbm(kind: bytes, image: npt.NDArray[np.uint8]) -> bytes:
    """A binary Netpbm file with a comment in its header."""
    height, width = image.shape
    head = b"P%s\n# made by a scanner\n%d %d\n" % (kind, width, height)
    match kind:
        case b"4":
            return head + np.packbits(image < 128, axis=1).tobytes()
        case b"5":
            return head + b"1023\n" + (image.astype(np.uint16) * 4).astype(">u2").tobytes()
        case _:
            return head + b"255\n" + np.repeat(image[..., np.newaxis], 3, axis=2).tobytes()


@pytest.mark.parametrize("kind", [b"4", b"5", b"6"])
def test_every_image_of_a_netpbm_file_is_read(kind: bytes) -> None:
    """The format allows several images one after the other; they are written so by netpbm's own tools."""
    images = [ridges(seed)[:200, : 191 + seed] for seed in (1, 2, 3)]
    found = read_images(b"".join(netpbm(kind, image) for image in images))
    assert [picture.grey().shape for picture in found] == [image.shape for image in images]
    if kind != b"4":
        for picture, image in zip(found, images, strict=True):
            assert np.abs(picture.grey().astype(int) - image).max() <= 1
    assert len(read_images(netpbm(kind, images[0]) + bytes(50))) == 1


def test_grey_values_of_no_depth_are_refused() -> None:
    for values in ([[0.0, np.nan]], [[-1.0, 5.0]], [[1e30, 0.0]]):
        file = io.BytesIO()
        PIL.Image.fromarray(np.array(values, np.float32)).save(file, "TIFF")
        with pytest.raises(ExtractionError, match="grey value"):
            read_images(file.getvalue())


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "GIF", "WEBP"])
def test_every_page_of_a_file_is_an_image(kind: str) -> None:
    pages = [PIL.Image.fromarray(ridges(seed)) for seed in (1, 2, 3)]
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    pages[0].save(file, kind, save_all=True, append_images=pages[1:], **options)
    found = read_images(file.getvalue())
    assert len(found) == 3
    for page, image in zip(pages, found, strict=True):
        assert np.abs(image.grey().astype(int) - np.asarray(page)).mean() < 3  # GIF's frames share a palette
    with pytest.raises(ExtractionError, match=r"the file holds several images; expected one \(extract_many"):
        extract(file.getvalue(), position=RIGHT)
    assert len(extract_all(file.getvalue(), ExtractionSettings(RIGHT)).templates) == 3


def tagged(pixels: npt.NDArray[np.uint8], kind: str, dpi: tuple[float, float]) -> bytes:
    """An image file that states a resolution; WSQ states it in its NISTCOM comment."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind, **({} if kind == "WSQ" else {"dpi": dpi}))
    data = file.getvalue()
    if kind != "WSQ":
        return data
    comment = f"NIST_COM 2\nPPI {dpi[0]:.0f}\n".encode()
    return data[:2] + b"\xff\xa8" + (2 + len(comment)).to_bytes(2, "big") + comment + data[2:]


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "BMP", "JPEG", "WSQ"])
def test_a_tag_is_used_near_500_asked_about_elsewhere_and_ignored_where_it_is_of_a_screen(kind: str) -> None:
    for stated, expected in ((72, 500), (96, 500), (491, 491), (500, 500), (509, 509)):
        (image,) = read_images(tagged(ridges(1), kind, (stated, stated)))
        assert image.finger_dpi() == (expected, "")
    for stated in (100, 300, 489, 511, 1000):
        (image,) = read_images(tagged(ridges(1), kind, (stated, stated)))
        with pytest.raises(ExtractionError, match=f"its tag says {stated} dpi, which may be wrong; state"):
            image.finger_dpi()
    if kind != "WSQ":
        (image,) = read_images(tagged(ridges(1), kind, (500, 300)))
        with pytest.raises(ExtractionError, match="its tag says 500 x 300 dpi"):
            image.finger_dpi()


def test_a_stated_resolution_goes_before_any_tag() -> None:
    image = tagged(ridges(1), "PNG", (1000, 1000))
    with pytest.raises(ExtractionError, match="its tag says 1000 dpi"):
        extract(image, position=RIGHT)
    extract(image, position=RIGHT, dpi=500)


@pytest.mark.parametrize(
    ("name", "asked"),
    [("ridges_300dpi_tag300.jpg", True), ("ridges_300dpi_tag300.png", True), ("ridges_500.png", False)],
)
def test_field_cases_of_resolutions(cases: Path, name: str, asked: bool) -> None:
    image = (cases / name).read_bytes()
    if asked:
        with pytest.raises(ExtractionError, match="its tag says 300 dpi, which may be wrong"):
            extract(image, position=RIGHT)
        assert isinstance(extract(image, position=RIGHT, dpi=300), Minutiae)
    else:
        assert isinstance(extract(image, position=RIGHT), Minutiae)


def test_a_slap_is_noted() -> None:
    one = ridges(1)
    slap = np.hstack([ridges(seed, minutiae=45) for seed in range(1, 5)])
    assert (
        "minutiae on 65 mm: probably several fingers"
        in extract_all(png(slap), ExtractionSettings(RIGHT)).note
    )
    assert extract_all(png(one), ExtractionSettings(RIGHT)).note == ""


def test_images_are_taken_from_buffers_paths_and_files(tmp_path: Path, finger: Minutiae) -> None:
    data = png(ridges(1))
    path = tmp_path / "finger.png"
    path.write_bytes(data)
    for given_image in (bytearray(data), memoryview(data), path, io.BytesIO(data)):
        assert extract(given_image, position=RIGHT) == finger
    with pytest.raises(TypeError, match=r"expected bytes, not text; for a file's name pass a pathlib\.Path"):
        extract(str(path), position=RIGHT)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"position is 'face'; expected an abis\.Position"):
        extract(data, position="face")  # type: ignore[arg-type]


def test_what_an_image_shows_must_be_said() -> None:
    with pytest.raises(ExtractionError, match="state its position"):
        extract(png(ridges(1)))


@settings(deadline=None)  # the first one starts the process that decodes
@given(
    st.binary(max_size=60),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"\xff\xd8\xff", b"\xff\xa0\xff"]),
)
def test_bytes_that_only_begin_as_an_image_are_refused(rest: bytes, beginning: bytes) -> None:
    with pytest.raises(ExtractionError, match="not an image that can be read"):
        read_images(beginning + rest)


def test_reading_an_image_as_a_template_says_what_to_do() -> None:
    with pytest.raises(FormatError, match=r"is an image, not a template; abis\.extraction"):
        read(png(ridges(1)))


# --- records ------------------------------------------------------------------------------------------


def finger_record_2005(images: list[npt.NDArray[np.uint8]], *, unit: int = 1, resolution: int = 500) -> bytes:
    """ISO/IEC 19794-4:2005, without compression: one view a finger."""
    blocks = b"".join(
        struct.pack(">IBBBBBHHB", 14 + image.size, 2 + i, 1, 1, 90, 0, image.shape[1], image.shape[0], 0)
        + image.tobytes()
        for i, image in enumerate(images)
    )
    head = struct.pack(">HHBB4HBBH", 0, 31, len(images), unit, *([resolution] * 4), 8, 0, 0)
    return b"FIR\x00010\0" + (14 + len(head) + len(blocks)).to_bytes(6, "big") + head + blocks


def face_record(jpeg: bytes, *, edition: int, landmarks: int = 2) -> bytes:
    """ISO/IEC 19794-5 of one portrait."""
    points = bytes(8 * landmarks)
    if edition == 2005:
        block = struct.pack(">H14x", landmarks) + points + bytes(12) + jpeg
        body = struct.pack(">H", 1) + struct.pack(">I", len(block) + 4) + block
        return b"FAC\x00010\0" + struct.pack(">I", len(body) + 12) + body
    block = bytes(14) + b"\1" + bytes(5) + struct.pack(">H15x", landmarks) + points + bytes(11)
    block += struct.pack(">I", len(jpeg)) + jpeg + b"more"
    body = struct.pack(">HBH", 1, 0, 0) + struct.pack(">I", len(block) + 4) + block
    return b"FAC\x00030\0" + struct.pack(">I", len(body) + 12) + body


def test_finger_records_state_position_and_resolution(finger: Minutiae) -> None:
    assert extract(finger_record_2005([ridges(1)])) == finger
    per_cm = finger_record_2005([ridges(1)], unit=2, resolution=197)
    assert read_record(per_cm)[0].dpi == pytest.approx(500.38)
    assert (
        extract(finger_record_2005([ridges(1)]), position=Position.LEFT_THUMB).position is Position.LEFT_THUMB
    )


def test_a_record_of_several_images_makes_several_templates() -> None:
    record = finger_record_2005([ridges(1), ridges(2)])
    (found,) = extract_many([record], workers=1)
    assert [t.position for t in found.templates] == [Position.RIGHT_INDEX, Position.RIGHT_MIDDLE]
    with pytest.raises(ExtractionError, match="holds several images; expected one"):
        extract(record)


@pytest.mark.parametrize("edition", [2005, 2011])
def test_face_records_of_both_editions(portraits: Path, edition: int) -> None:
    jpeg = (portraits / "Abel_Pacheco_0001.jpg").read_bytes()
    assert extract(face_record(jpeg, edition=edition)) == face(jpeg)


def test_records_of_other_software(data: Path) -> None:
    for name in ("Default__Auth__Left_Index.iso", "FingerPrintLeft_Index.iso"):
        made = extract_all((data / "conformance" / "finger_image" / name).read_bytes(), ExtractionSettings())
        (template,) = made.templates
        assert isinstance(template, Minutiae)
        assert made.note in ("", "its image states 1000 dpi; the record's 500 dpi are used")
        assert template.position is Position.LEFT_INDEX
        assert len(template) > 30


@given(st.integers(0, 80), st.integers(0, 255), st.integers(0, 80))
def test_records_with_faults_are_refused_or_read(place: int, value: int, cut: int) -> None:
    for record in (
        finger_record_2005([np.zeros((4, 6), np.uint8)]),
        face_record(b"\xff\xd8\xff", edition=2005),
        face_record(b"\xff\xd8\xff", edition=2011),
    ):
        changed = bytearray(record)
        changed[place % len(record)] = value
        for data in (bytes(changed), record[: len(record) - 1 - cut % len(record)]):
            try:
                assert read_record(data)
            except FormatError:
                continue


# --- batches ------------------------------------------------------------------------------------------


def test_a_batch_keeps_its_order_and_goes_on_after_failures(tmp_path: Path, finger: Minutiae) -> None:
    path = tmp_path / "finger.png"
    path.write_bytes(png(ridges(1)))
    images: list[bytes | Path] = [b"nothing", path, tmp_path / "absent.png", png(ridges(1))]
    found = list(extract_many(images, position=RIGHT, workers=2))
    assert found == list(extract_many(images, position=RIGHT, workers=1))
    assert [bool(each) for each in found] == [False, True, False, True]
    assert found[1].templates == found[3].templates == (finger,)
    assert found[0].reason == "not an image that can be read: of no known format"
    assert found[2].reason == "the file cannot be read: No such file or directory"


class Deadly(bytes):
    """An image that the process dies of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


def test_an_image_that_a_process_dies_of_fails_alone() -> None:
    with Extractors(workers=2) as extractors:
        settings = ExtractionSettings(RIGHT)
        tasks = [extractors.submit(image, settings) for image in (b"a", Deadly(b"b"), b"c")]
        reasons = [extractors.result(task).reason for task in tasks]
        later = extractors.result(extractors.submit(b"d", settings)).reason
    assert reasons[1] == "the process that read the image crashed"
    assert reasons[0] == reasons[2] == later == "not an image that can be read: of no known format"


def test_a_script_without_its_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import abis\nfrom abis.extraction import extract_many\n"
        "print(list(extract_many([b'a'], position=abis.Position.FACE, workers=2)))\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "processes do not start: call extract_many below `if __name__ == '__main__':`" in run.stderr


def test_a_script_with_a_few_images_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import abis\nfrom abis.extraction import extract_many\n"
        "print([found.reason for found in extract_many([b'a', b'b'], position=abis.Position.FACE)])\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.count("not an image")) == (0, 2), run.stderr


def test_what_is_in_the_cache_is_not_made_again(
    tmp_path: Path, finger: Minutiae, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "a" / "cache"
    image = png(ridges(1))
    made = list(extract_many([image, b"nothing"], position=RIGHT, workers=1, cache=cache))
    assert made[0].templates == (finger,)
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}

    def fail(image: bytes, settings: ExtractionSettings) -> Extraction:
        raise AssertionError("extracted again")

    monkeypatch.setattr(workers_room, "extract_all", fail)
    assert list(extract_many([image, b"nothing"], position=RIGHT, workers=1, cache=cache)) == made
    with pytest.raises(AssertionError, match="extracted again"):
        list(extract_many([image], position=RIGHT, dpi=510, workers=1, cache=cache))
    for file in files:
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(AssertionError, match="extracted again"):
        list(extract_many([image], position=RIGHT, workers=1, cache=cache))


def test_cache_keys_differ_by_all_that_matters(tmp_path: Path) -> None:
    network = tmp_path / "net.onnx"
    network.write_bytes(b"1")
    said = [
        ExtractionSettings(),
        ExtractionSettings(RIGHT),
        ExtractionSettings(RIGHT, 500),
        ExtractionSettings(Position.FACE),
        ExtractionSettings(Position.FACE, None, network),
    ]
    keys = {Cache(tmp_path).key(image, settings) for image in (b"1", b"2") for settings in said}
    assert len(keys) == 2 * len(said)


# --- networks and pixels ------------------------------------------------------------------------------


def test_the_graph_of_the_finger_network_is_valid() -> None:
    onnx = pytest.importorskip("onnx")
    from abis.extraction.leader_graph import leader_graph  # noqa: PLC0415
    from abis.extraction.models import _file  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = leader_graph(_file("pyfing", "models/LEADER.weights.h5"))
        onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)


def test_the_finger_network_takes_any_size() -> None:
    for height, width in ((32, 64), (96, 32)):
        peaks, direction, kind = finger_extractor().run(
            None, {"image": np.zeros((1, 1, height, width), np.float32)}
        )
        assert peaks.shape == kind.shape == (1, 1, height, width)
        assert direction.shape == (1, 2, height, width)


def test_a_missing_network_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from abis.extraction import models  # noqa: PLC0415

    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(AbisError, match=r"pip install 'abis\[extraction\]'"):
        models.face_detector.__wrapped__()


def test_resizing_is_opencvs_bicubic() -> None:
    """cv2.resize(image, None, fx=500/569, fy=500/569, interpolation=cv2.INTER_CUBIC), of OpenCV 5.0."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)
    expected = [
        [93, 150, 208, 211, 248, 48, 144],
        [68, 244, 178, 169, 211, 61, 47],
        [154, 240, 100, 110, 82, 107, 1],
        [35, 181, 89, 75, 121, 38, 94],
        [71, 51, 140, 120, 108, 110, 228],
    ]
    assert resize(image, 500 / 569).tolist() == expected


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 255), st.floats(0.2, 4))
def test_resizing_keeps_what_is_plain(height: int, width: int, grey: int, scale: float) -> None:
    plain = resize(np.full((height, width), grey, np.uint8), scale)
    assert plain.shape == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert (plain == grey).all()
