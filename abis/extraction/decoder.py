# SPDX-License-Identifier: Apache-2.0
"""The process that decodes untrusted images: ``python -m abis.extraction.decoder``, started by ``isolation``.

Requests and answers go over standard input and output: eight bytes that give a length, then as many bytes. A request
is a file. An answer is a line of JSON that describes the pages, or says what is wrong, and their pixels.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import BinaryIO

from abis.errors import ExtractionError
from abis.extraction.decoding import decode_pages
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
    pixels: list[bytes] = []
    try:
        pages = decode_pages(content)
        pixels = [page.pixels.tobytes() for page in pages]
        said: dict[str, object] = {"pages": [(page.pixels.shape, page.dpi) for page in pages]}
    except ExtractionError as error:
        said = {"error": str(error)}
    except MemoryError:
        said, pixels = {"error": "the image is too large to be one of a finger or a face"}, []
    answer = json.dumps(said).encode() + b"\n" + b"".join(pixels)
    answers.write(len(answer).to_bytes(8))
    answers.write(answer)
    answers.flush()


if __name__ == "__main__":
    main()
