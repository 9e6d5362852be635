# SPDX-License-Identifier: Apache-2.0
"""The process that decodes untrusted files: ``python -m abis.extraction.decoder``, started by ``isolation``.

Requests and answers go over standard input and output: eight bytes that give a length, then as many bytes. A request
is a letter that says what the file is decoded as, and the file. An answer is a line of JSON that describes the pages or
the sound, or says what is wrong; then their pixels or samples.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import BinaryIO

from abis.errors import ExtractionError
from abis.extraction.decoding import decode_pages
from abis.extraction.isolation import SOUND
from abis.extraction.sound import decode_sound
from abis.parallel import leave_ctrl_c_to_parent

_MEMORY = 4 * 2**30  # bytes of address space: images of the largest size allowed, decoded and scaled


def main() -> None:
    """Answer until the other end closes."""
    leave_ctrl_c_to_parent()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not answer
    for limit, value in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    while head := requests.read(8):
        content = requests.read(int.from_bytes(head))
        if len(head) < 8:
            return
        _answer(answers, content)


def _answer(answers: BinaryIO, content: bytes) -> None:
    decoded: list[bytes] = []
    said: dict[str, object] = {}
    try:
        if content[:1] == SOUND:
            sound = decode_sound(content[1:])
            decoded, said = [sound.samples.tobytes()], {"samples": len(sound.samples), "note": sound.note}
        else:
            pages = decode_pages(content[1:])
            decoded = [page.pixels.tobytes() for page in pages]
            said = {"pages": [(page.pixels.shape, page.dpi) for page in pages]}
    except ExtractionError as error:
        said = {"error": str(error)}
    except MemoryError:
        said, decoded = {"error": "the file is too large to be of a finger, a face or a voice"}, []
    answer = json.dumps(said).encode() + b"\n" + b"".join(decoded)
    answers.write(len(answer).to_bytes(8))
    answers.write(answer)
    answers.flush()


if __name__ == "__main__":
    main()
