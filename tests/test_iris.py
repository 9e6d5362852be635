# SPDX-License-Identifier: Apache-2.0
"""Iris codes: the template, their comparison against an oracle, and their extraction from images."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from eyes import code, eye
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shell import run

from abis.comparison.iris import explain_irises, iris_scores, packed, rotations
from abis.errors import ExtractionError, FormatError, TemplateError
from abis.template import IrisCode, Position

pytest.importorskip("wsq", reason="needs abis[extraction]")

from abis.extraction import extract
from abis.extraction.images import as_png, read_images
from abis.extraction.iris import extract_iris, locate

SHAPES = st.sampled_from([(8, 128, 2), (6, 128, 4), (4, 33, 2), (1, 1, 8), (16, 256, 4)])


def oracle(one: IrisCode, other: IrisCode) -> np.float32:
    """The score by its definition, bit by bit."""
    bits, mask = one.unpacked()
    best = None
    for shift in range(-rotations(one.columns), rotations(one.columns) + 1):
        own, counting = (np.roll(each, shift, axis=1) for each in other.unpacked())
        both = mask & counting
        n, different = int(both.sum()), int(((bits ^ own) & both).sum())
        score = (n - 2 * different) / math.sqrt(n) if n else None
        if score is not None and (best is None or score > best):
            best = score
    return np.float32(0.0 if best is None else best)


@given(SHAPES, st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.0, 0.3, 0.97, 1.0]))
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_the_definition(
    shape: tuple[int, int, int], first: int, second: int, hidden: float
) -> None:
    probe = code(first, shape=shape, hidden=hidden)
    reference = code(second, shape=shape, hidden=0.2, flips=0.1, capture=1)
    (score,) = iris_scores(probe, packed([reference]))
    assert score == oracle(probe, reference)
    assert score == iris_scores(reference, packed([probe]))[0]


@pytest.mark.parametrize("level", ["base", "avx2", "avx512bw", "avx512"])
def test_scores_are_equal_on_every_cpu(level: str) -> None:
    program = (
        "from abis.comparison.iris import iris_scores, packed\n"
        "from eyes import code\n"
        "codes = [code(k, flips=0.2, shape=s) for s in [(8, 128, 2)] for k in range(40)]\n"
        "print(iris_scores(codes[0], packed(codes)).tobytes().hex())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "ABIS_SIMD": level,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), *sys.path])),
        },
        check=False,
    )
    if "this CPU has" in found.stderr:
        pytest.skip(f"this CPU has no {level}")
    codes = [code(k, flips=0.2) for k in range(40)]
    assert found.stdout.strip() == iris_scores(codes[0], packed(codes)).tobytes().hex(), found.stderr


def test_a_turned_eye_scores_as_before_within_reach() -> None:
    reference = packed([code(1, hidden=0.0)])
    reach = rotations(128)
    assert reach == 8
    straight = iris_scores(code(1, hidden=0.0), reference)
    for shift in (-reach, -3, 5, reach):
        assert iris_scores(code(1, hidden=0.0, shift=shift), reference) == straight
    assert iris_scores(code(1, hidden=0.0, shift=reach + 1), reference) < straight / 5


def test_rows_choose_references() -> None:
    references = packed([code(k) for k in range(10)])
    probe = code(3, flips=0.1, capture=2)
    rows = np.array([7, 3, 3], np.int64)
    assert (iris_scores(probe, references, rows) == iris_scores(probe, references)[rows]).all()
    with pytest.raises(IndexError, match="10"):
        iris_scores(probe, references, np.array([10], np.int64))
    with pytest.raises(ValueError, match="multiple of 64"):
        iris_scores(code(1, shape=(6, 128, 4)), references)


def test_a_code_keeps_its_bits() -> None:
    rng = np.random.default_rng(1)
    bits, mask = rng.random((6, 128, 4)) < 0.5, rng.random((6, 128, 4)) < 0.5
    made = IrisCode(bits=bits, mask=mask, model="m", position=Position.RIGHT_EYE, quality=3.0)
    assert [each.tolist() for each in made.unpacked()] == [(bits & mask).tolist(), mask.tolist()]
    again = IrisCode.of_packed(
        bits=made.bits, mask=made.mask, shape=made.shape, model="m", position=made.position, quality=3.0
    )
    assert again == made
    assert hash(again) == hash(made)
    assert not made.bits.flags.writeable


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bits": np.zeros((3, 8, 1), bool)}, "multiple of 8"),
        ({"bits": np.zeros((8, 8), bool)}, "rows, columns, planes"),
        ({"bits": np.zeros((8, 8, 1), np.uint8)}, "uint8"),
        ({"bits": np.zeros((8, 8, 1), bool), "mask": np.zeros((8, 7, 1), bool)}, "mask is of shape"),
        ({"bits": np.zeros((8, 8, 1), bool), "position": Position.FACE}, "FACE is not an eye"),
        ({"bits": np.zeros((8, 8, 1), bool), "quality": math.nan}, "quality is nan"),
        ({"bits": np.zeros((64, 1025, 1), bool)}, "65536"),
        ({"bits": np.zeros((8, 8, 1), bool), "model": "x" * 256}, "256 bytes"),
    ],
)
def test_what_is_no_code_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        IrisCode(**{"model": "m"} | fields)  # type: ignore[arg-type]


def test_eyes_are_compared_with_their_own_side() -> None:
    left, right, unknown = Position.LEFT_EYE, Position.RIGHT_EYE, Position.UNKNOWN_EYE
    assert left.is_comparable(left)
    assert left.is_comparable(unknown)
    assert unknown.is_comparable(right)
    assert not left.is_comparable(right)
    assert not unknown.is_comparable(Position.UNKNOWN_FINGER)
    assert not Position.UNKNOWN_FINGER.is_comparable(left)


# --- extraction ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "centre", "pupil", "limbus"),
    [
        ((480, 640), (320.0, 240.0), 42.0, 110.0),
        ((240, 320), (160.0, 120.0), 20.0, 50.0),
        ((280, 320), (160.0, 140.0), 30.0, 105.0),
        ((480, 640), (230.0, 190.0), 55.0, 90.0),
        ((768, 1024), (512.0, 384.0), 70.0, 200.0),
    ],
    ids=["plain", "small", "large", "off the centre, wide pupil", "many pixels"],
)
def test_pupil_and_limbus_are_found(
    size: tuple[int, int], centre: tuple[float, float], pupil: float, limbus: float
) -> None:
    found = locate(eye(1, size=size, centre=centre, pupil=pupil, radius=limbus))
    # Lids hide the top and the bottom of the limbus, so its height is known less well.
    for contour, radius, tolerance in ((found.pupil, pupil, 0.03), (found.limbus, limbus, 0.06)):
        assert math.dist((contour.x, contour.y), centre) < 1 + tolerance * radius
        assert abs(contour.mean_radius - radius) < 1 + 0.03 * radius
    assert (~found.iris.visible[-16:-4, 352:416]).mean() > 0.6, "the upper lid is not masked"
    assert found.iris.visible[10:-10, 480:].mean() > 0.9, "the side of the iris is masked"


def test_two_images_of_an_eye_are_alike_and_those_of_two_are_not() -> None:
    reference = extract_iris(eye(1))
    scores = {
        "again": extract_iris(eye(1, capture=1)),
        "turned and moved": extract_iris(eye(1, turn=12.0, centre=(300.0, 250.0), capture=2)),
        "wider pupil": extract_iris(eye(1, pupil=55.0, capture=3)),
        "smaller": extract_iris(eye(1, size=(240, 320), radius=55.0, pupil=21.0, capture=4)),
    }
    mated = iris_scores(reference, packed(list(scores.values())))
    non_mated = iris_scores(reference, packed([extract_iris(eye(seed)) for seed in range(2, 6)]))
    assert mated.min() > 2 * non_mated.max(), dict(zip(scores, mated.tolist(), strict=True))


def test_brightness_and_contrast_change_little() -> None:
    image = eye(3)
    darker = (image * 0.6 + 20).astype(np.uint8)
    first, second = extract_iris(image), extract_iris(darker)
    (score,) = iris_scores(first, packed([second]))
    assert score > 0.9 * iris_scores(first, packed([first]))[0]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((480, 640), 128, np.uint8), "no iris"),
        (np.random.default_rng(1).integers(0, 255, (240, 320)).astype(np.uint8), "no iris"),
        (np.tile(np.arange(256, dtype=np.uint8), (200, 1)), "no iris"),
        (np.zeros((20, 30), np.uint8), "30x20"),
    ],
    ids=["flat", "noise", "ramp", "tiny"],
)
def test_what_shows_no_eye_is_an_error(image: npt.NDArray[np.uint8], words: str) -> None:
    with pytest.raises(ExtractionError, match=words):
        extract_iris(image)


def test_real_eyes_match_across_sessions(data: Path) -> None:
    """Of four eyes of CASIA-IrisV1, every first image of session 1 is nearest to session 2 of its own eye."""
    import PIL.Image  # noqa: PLC0415 - of an extra

    def extracted(name: str) -> IrisCode:
        path = data / "iris" / "casia_v1" / f"{name}.png"
        if not path.exists():
            pytest.skip("no irises in the data")
        return extract_iris(np.asarray(PIL.Image.open(path).convert("L")))

    names = [f"{number:03d}" for number in (2, 8, 24, 46)]
    references = packed([extracted(f"{name}_2_1") for name in names])
    for number, name in enumerate(names):
        assert iris_scores(extracted(f"{name}_1_1"), references).argmax() == number


@pytest.mark.parametrize("name", ["004_1_1", "004_2_3", "004_2_4", "019_1_1", "041_1_3", "041_2_2"])
def test_lashes_over_the_pupil_do_not_move_its_edge(data: Path, name: str) -> None:
    """The publisher painted the pupils over with one grey level, which tells where they are."""
    import PIL.Image  # noqa: PLC0415 - of an extra

    path = data / "iris" / "casia_v1" / f"{name}.png"
    if not path.exists():
        pytest.skip("no irises in the data")
    image = np.asarray(PIL.Image.open(path).convert("L"))
    levels, counts = np.unique(image[image < 60], return_counts=True)
    y, x = np.nonzero(image == levels[counts.argmax()])
    found = locate(image)
    assert math.dist((found.pupil.x, found.pupil.y), (x.mean(), y.mean())) < 2.5
    assert found.pupil.mean_radius == pytest.approx(math.sqrt(len(x) / math.pi), rel=0.07)
    assert abs(found.limbus.x - found.pupil.x) < 0.08 * found.limbus.mean_radius
    assert abs(found.limbus.y - found.pupil.y) < 0.08 * found.limbus.mean_radius


def test_a_ring_of_bright_iris_before_dark_crypts_ends_the_pupil() -> None:
    image = eye(1).astype(np.float32)
    y, x = np.mgrid[:480, :640]
    away = np.hypot(x - 320, y - 240)
    image[(away > 48) & (away < 54)] = 45  # crypts
    found = locate(np.asarray(ndimage.gaussian_filter(image, 0.8), np.uint8))
    assert found.pupil.mean_radius == pytest.approx(42, abs=2)


# --- explanation --------------------------------------------------------------------------------------


@given(st.integers(0, 4), st.integers(0, 4), st.integers(-8, 8), st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=20, deadline=None)
def test_the_explanation_counts_the_bits_of_the_score(
    first: int, second: int, shift: int, hidden: float
) -> None:
    probe = code(first, hidden=hidden)
    reference = code(second, flips=0.2, capture=1, shift=shift)
    found = explain_irises(probe, reference)
    assert found.score == iris_scores(probe, packed([reference]))[0]
    n, different = int(found.counted.sum()), int(found.differing.sum())
    assert not (found.differing & ~found.counted).any()
    assert found.score == pytest.approx((n - 2 * different) / math.sqrt(max(1, n)), rel=1e-6)
    if first == second and hidden == 0.0:
        assert found.turn == -shift


def test_codes_that_cannot_be_compared_are_not_explained() -> None:
    for other in (code(1, model="other"), code(1, shape=(8, 64, 2)), code(1, position=Position.RIGHT_EYE)):
        with pytest.raises(TemplateError):
            explain_irises(code(1), other)


def test_explain_draws_two_irises(tmp_path: Path) -> None:
    files = []
    for capture in (0, 1):
        files.append(tmp_path / f"7_left_eye_{capture}.png")
        files[-1].write_bytes(
            as_png(eye(7, capture=capture, turn=9.0 * capture, size=(240, 320), radius=55, pupil=20))
        )
    drawing = tmp_path / "pair.svg"
    result = run("explain", *files, "-o", drawing, "--json", code=0)
    found = json.loads(result.stdout)
    assert found["score"] > 3
    assert abs(found["turn_degrees"] + 9) < 3
    assert found["bits_differing"] < 0.35 * found["bits_counted"]
    root = ElementTree.parse(drawing).getroot()
    svg = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{svg}image")) == 4  # each picture twice, because it is a whole turn
    colours = [path.get("fill") for path in root.findall(f".//{svg}path")]
    assert {"#3a9a5b", "#d2453a"} <= set(colours)
    words = run("explain", *files, code=0).stdout
    assert f"{found['bits_differing']} of {found['bits_counted']} bits differ" in words


# --- image records ------------------------------------------------------------------------------------


def record_2011(images: list[tuple[int, bytes]], *, form: int, size: tuple[int, int]) -> bytes:
    """ISO/IEC 19794-6:2011."""
    views = b""
    for number, (label, image) in enumerate(images, 1):
        capture = bytes(14) + b"\1" + b"\x32\0\0\0\0"  # one block of quality
        head = struct.pack(">HBBBBHHB", number, label, 3, form, 0, *size, 8) + bytes(18)
        body = capture + head + struct.pack(">I", len(image)) + image
        views += struct.pack(">I", len(body) + 4) + body
    return b"IIR\0" + b"020\0" + struct.pack(">IHBB", len(views) + 16, len(images), 0, 1) + views


def record_2005(images: list[tuple[int, bytes]], *, form: int, size: tuple[int, int]) -> bytes:
    """ISO/IEC 19794-6:2005."""
    body = b""
    for label, image in images:
        body += struct.pack(">BH", label, 1) + struct.pack(">HBHHI", 1, 90, 0, 0, len(image)) + image
    head = struct.pack(">HBHHHHHHBB", 0, len(images), 45, 0, 0, form, *size, 8, 0) + bytes(16)
    return b"IIR\0" + b"010\0" + struct.pack(">I", 45 + len(body)) + head + body


@pytest.mark.parametrize("record", [record_2005, record_2011])
@pytest.mark.parametrize(("form", "raw"), [(2, True), (14, False)])
def test_iris_records_of_both_editions_are_read(record: Callable[..., bytes], form: int, raw: bool) -> None:
    image = eye(1, size=(240, 320), radius=55.0, pupil=20.0)
    content = image.tobytes() if raw else as_png(image)
    data = record([(1, content), (2, content), (0, content)], form=form, size=(320, 240))
    found = read_images(data)
    assert [one.position for one in found] == [
        Position.RIGHT_EYE,
        Position.LEFT_EYE,
        Position.UNKNOWN_EYE,
    ]
    assert all((one.pixels == image).all() for one in found)
    for length in range(len(data) - 3 * len(content), len(data), 997):
        with pytest.raises((FormatError, ExtractionError)):
            read_images(data[:length])


def test_a_record_is_extracted_at_its_own_eye() -> None:
    image = eye(1, size=(240, 320), radius=55.0, pupil=20.0)
    made = extract(record_2011([(2, as_png(image))], form=14, size=(320, 240)))
    assert made == extract_iris(image, position=Position.LEFT_EYE)
    assert extract(as_png(image), position=Position.RIGHT_EYE).position == Position.RIGHT_EYE
    with pytest.raises(ExtractionError, match="voice"):
        extract(as_png(image), position=Position.VOICE)
