# SPDX-License-Identifier: Apache-2.0
"""Images by an attacker: what they do to their decoder costs one image, and never the process that asked."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest

PIL = pytest.importorskip("PIL.Image")
isolation = pytest.importorskip("abis.extraction.isolation")

from abis.errors import ExtractionError  # noqa: E402
from abis.extraction.images import as_png, read_images  # noqa: E402


def grey(side: int = 8) -> bytes:
    return as_png(np.arange(side * side, dtype=np.uint8).reshape(side, side))


def test_pixels_and_resolution_come_back_as_they_were() -> None:
    dice = np.random.default_rng(0)
    for shape in ((40, 30), (40, 30, 3)):
        pixels = dice.integers(0, 256, shape, dtype=np.uint8)
        file = io.BytesIO()
        PIL.fromarray(pixels).save(file, "PNG", dpi=(500, 500))
        (picture,) = read_images(file.getvalue())
        assert np.array_equal(picture.pixels, pixels)
        assert picture.dpi == pytest.approx((500, 500), abs=1e-2)


def test_what_is_no_image_is_said_and_the_next_one_is_read() -> None:
    with pytest.raises(ExtractionError, match="not an image"):
        read_images(b"no image")
    assert read_images(grey())[0].pixels.shape == (8, 8)


def test_an_animation_of_many_frames_is_refused() -> None:
    file = io.BytesIO()
    frames = [PIL.fromarray(np.full((4, 4), number % 256, np.uint8)) for number in range(258)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ExtractionError, match="more than 256 pages or frames"):
        read_images(file.getvalue())


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A decoder that does what an attacker makes it do."""
    original = subprocess.Popen

    def start(_: object, **options: object) -> object:
        return original([sys.executable, "-c", code], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(isolation.subprocess, "Popen", start)
    isolation._decoder.stop()


READ = "import sys, os; f = sys.stdin.buffer; f.read(int.from_bytes(f.read(8)));"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (READ + "os.abort()", "crashed"),
        ("import os; os.abort()", "crashed"),
        (READ + "os.write(1, (2**60).to_bytes(8))", "not valid"),
        (READ + "os.write(1, (5).to_bytes(8) + b'hello')", "not valid"),
        (READ + "a = b'{\"pages\": [[[9, 9], null]]}\\n'; os.write(1, len(a).to_bytes(8) + a)", "not valid"),
        (
            READ + "a = b'{\"pages\": [[[-9, -9], null]]}\\n'; os.write(1, len(a).to_bytes(8) + a)",
            "not valid",
        ),
        (READ + "f.read()", "more than 0 seconds"),
    ],
)
def test_a_decoder_that_dies_lies_or_hangs_costs_one_image(
    monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    with monkeypatch.context() as patch:
        stand_in(patch, code)
        if "seconds" in message:
            patch.setattr(isolation, "_TIME_S", 0.2)
        with pytest.raises(ExtractionError, match=message):
            read_images(grey())
    assert read_images(grey())[0].pixels.shape == (8, 8)


def test_the_decoder_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABIS_KEY", "secret")
    monkeypatch.setenv("PGPASSWORD", "secret")
    assert "secret" not in isolation._environment().values()
    assert os.environ["ABIS_KEY"] == "secret"


DIES = """
import os, time
from abis.extraction import decoder
real = decoder.decode_pages
def decode_pages(data):
    if data == b"die":
        os.abort()
    if data == b"half":
        os.write(5, b"half an answer")
        os.kill(os.getpid(), 9)
    return real(data)
decoder.decode_pages = decode_pages
decoder.main()
"""


def test_each_image_has_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What kills a decoder costs one image, and no process that imports the decoders has to be started again."""
    with monkeypatch.context() as patch:
        stand_in(patch, DIES)
        pids = set()
        for data in (b"die", b"half", b"die"):
            with pytest.raises(ExtractionError, match="the process that decoded the image crashed"):
                isolation.decode_isolated(data)
            assert read_images(grey())[0].pixels.shape == (8, 8)
            pids.add(isolation._decoder._process.pid)
        assert len(pids) == 1
    isolation._decoder.stop()


def test_a_decoder_that_never_ends_is_out_of_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = DIES.replace("os.abort()", "exec('while True: pass')").replace(
        "real =", "decoder._CPU_S = 1; real ="
    )
    with monkeypatch.context() as patch:
        stand_in(patch, loops)
        with pytest.raises(ExtractionError, match="more than 1 seconds of processor time"):
            isolation.decode_isolated(b"die")
        assert read_images(grey())[0].pixels.shape == (8, 8)
    isolation._decoder.stop()


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_decoder_that_hangs_is_killed_with_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = DIES.replace("os.abort()", "print(os.getpid(), file=open('/dev/stderr', 'w')); time.sleep(600)")
    with monkeypatch.context() as patch:
        stand_in(patch, hangs)
        read_images(grey())
        patch.setattr(isolation, "_TIME_S", 0.3)
        group = isolation._decoder._process.pid
        with pytest.raises(ExtractionError, match="more than 0 seconds"):
            isolation.decode_isolated(b"die")
        while is_alive(group):  # until the system has taken in both
            pass
    assert read_images(grey())[0].pixels.shape == (8, 8)
