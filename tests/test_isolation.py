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
        (READ + "os.abort()", "died of it"),
        ("import os; os.abort()", "died of it"),
        (READ + "os.write(1, (2**60).to_bytes(8))", "nonsense"),
        (READ + "os.write(1, (5).to_bytes(8) + b'hello')", "nonsense"),
        (READ + "a = b'{\"pages\": [[[9, 9], null]]}\\n'; os.write(1, len(a).to_bytes(8) + a)", "nonsense"),
        (READ + "a = b'{\"pages\": [[[-9, -9], null]]}\\n'; os.write(1, len(a).to_bytes(8) + a)", "nonsense"),
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
