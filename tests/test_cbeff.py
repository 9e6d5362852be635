# SPDX-License-Identifier: Apache-2.0
"""CBEFF documents of all modalities: templates written and read, and images that are extracted."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from eyes import code, eye
from people import face, finger
from shell import run
from test_iris import record_2011

from abis import formats
from abis.errors import FormatError
from abis.extraction.images import as_png, read_images
from abis.formats import cbeff, holds_image, native
from abis.template import Embedding, Position, Template

NAMESPACE = "http://standards.iso.org/iso-iec/19785/-3/ed-2/"


def document(*blocks: tuple[str, str, bytes]) -> bytes:
    """A BIR of (type, subtype, content)."""
    birs = "".join(
        f"<BIR><BDBInfo><Type>{kind}</Type><Subtype>{subtype}</Subtype></BDBInfo>"
        f"<BDB>{base64.b64encode(content).decode()}</BDB></BIR>"
        for kind, subtype, content in blocks
    )
    return f'<?xml version="1.0"?><BIR xmlns="{NAMESPACE}">{birs}</BIR>'.encode()


def test_templates_are_written_and_read() -> None:
    templates: list[Template] = [
        *(
            finger(1, position)
            for position in (Position.RIGHT_THUMB, Position.LEFT_LITTLE, Position.UNKNOWN_FINGER)
        ),
        face(1),
        *(code(2, position=p) for p in (Position.LEFT_EYE, Position.RIGHT_EYE, Position.UNKNOWN_EYE)),
    ]
    written = cbeff.write(templates, native.write)
    assert list(formats.read(written)) == templates
    assert b"Right Thumb" in written
    assert b"Left LittleFinger" in written
    assert not holds_image(written)
    voice = Embedding(vector=np.arange(9) - 3.5, model="m", position=Position.VOICE)
    with pytest.raises(FormatError, match="VOICE"):
        cbeff.write([voice], native.write)


def test_an_iris_takes_the_eye_that_the_subtype_states() -> None:
    unknown = native.write(code(1, position=Position.UNKNOWN_EYE))
    left = native.write(code(1, position=Position.LEFT_EYE))
    found = formats.read(document(("Iris", "Left", unknown), ("Iris", "", unknown), ("Iris", "Left", left)))
    assert [t.position for t in found] == [Position.LEFT_EYE, Position.UNKNOWN_EYE, Position.LEFT_EYE]
    with pytest.raises(FormatError, match=r"block 0 \(Iris Right\).*RIGHT_EYE.*LEFT_EYE"):
        formats.read(document(("Iris", "Right", left)))
    with pytest.raises(FormatError, match="RIGHT_THUMB"):
        formats.read(document(("Finger", "Right Thumb", unknown)))


def test_images_of_irises_are_taken_out_of_the_document_and_enrolled(tmp_path: Path) -> None:
    image = eye(1, size=(240, 320), radius=55.0, pupil=20.0)
    other = eye(2, size=(240, 320), radius=55.0, pupil=20.0)

    def record(label: int, picture: np.ndarray) -> bytes:
        return record_2011([(label, as_png(picture))], form=14, size=(320, 240))

    both = document(("Iris", "Left", record(0, image)), ("Iris", "Right", record(1, other)))
    assert holds_image(both)
    pictures = read_images(both)
    assert [picture.position for picture in pictures] == [Position.LEFT_EYE, Position.RIGHT_EYE]
    assert (pictures[0].pixels == image).all()
    file = tmp_path / "0042.xml"
    file.write_bytes(both)
    run("enroll", tmp_path / "gallery", file, code=0)
    again = tmp_path / "again_left_eye.png"
    again.write_bytes(as_png(eye(1, size=(240, 320), radius=55.0, pupil=20.0, capture=1)))
    result = run("identify", tmp_path / "gallery", again, "--json", code=0)
    assert '"0042"' in result.stdout


def test_a_document_without_images_or_templates_says_so() -> None:
    with pytest.raises(FormatError, match="no biometric data block"):
        formats.read(document())
    assert not holds_image(document())
    assert not holds_image(b"<BIR> is no XML")
    with pytest.raises(FormatError, match="well-formed"):
        cbeff.images(b"<BIR> is no XML")
