# SPDX-License-Identifier: Apache-2.0
"""The process that has untrusted files decoded: ``python -m abis.extraction.decoder``, started by ``isolation``.

Requests and answers go over standard input and output: eight bytes that give a length, then as many bytes. A request
is a letter that says what the file is decoded as, and the file. An answer is a line of JSON that describes the pages or
the sound, or says what is wrong; then their pixels or samples.

Each file is decoded in a process of its own, forked for it. A decoder that crashes, or that a file takes over,
therefore reaches no other file.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

from abis.errors import ExtractionError
from abis.extraction.decoding import MOST_BYTES, decode_pages
from abis.extraction.isolation import SOUND, WORDS
from abis.extraction.sound import decode_sound, load_decoders
from abis.parallel import leave_ctrl_c_to_parent

_MEMORY = 4 * 2**30  # bytes of address space: images of the largest size allowed, decoded and scaled
_CPU_S = 20  # processor time of one file, which other load does not use up; the largest take some 5
_TOO_LARGE = "the image is too large to be one of a finger or a face"


def main() -> None:
    """Answer until the other end closes."""
    leave_ctrl_c_to_parent()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not answer
    while len(head := requests.read(8)) == 8:
        content = requests.read(int.from_bytes(head))
        if content[:1] == SOUND:
            load_decoders()  # once, and not in each process that is forked
        answer = _decoded_alone(content, closing=(0, answers.fileno()))
        answers.write(len(answer).to_bytes(8))
        answers.write(answer)
        answers.flush()


def _decoded_alone(content: bytes, closing: tuple[int, ...]) -> bytes:
    """The answer to a request, by a new process that has none of the files of ``closing``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for file in (*closing, reading):
                os.close(file)
            _limit()
            with os.fdopen(writing, "wb") as stream:
                for part in _answer(content):
                    stream.write(part)
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(writing)
    answer = bytearray()
    with os.fdopen(reading, "rb") as stream:
        while len(answer) <= MOST_BYTES and (some := stream.read(2**20)):
            answer += some
    _, status = os.waitpid(child, 0)
    if status == 0 and len(answer) <= MOST_BYTES:
        return bytes(answer)
    what = WORDS.get(content[:1], "file")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return _said({"error": f"the {what} takes more than {_CPU_S} seconds of processor time to decode"})
    return _said({"error": f"the process that decoded the {what} crashed"})


def _limit() -> None:
    """Limit what this process may use."""
    limits = [
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, _CPU_S, _CPU_S + 1),
    ]
    if _address_space() < _MEMORY:  # else a sanitizer has reserved terabytes, and every allocation would fail
        limits.append((resource.RLIMIT_AS, _MEMORY, _MEMORY))
    for limit, soft, hard in limits:
        resource.setrlimit(limit, (soft, hard))


def _address_space() -> int:
    """Bytes of address space that this process has reserved; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _answer(content: bytes) -> list[bytes]:
    try:
        if content[:1] == SOUND:
            sound = decode_sound(content[1:])
            return [_said({"samples": len(sound.samples), "note": sound.note}), sound.samples.tobytes()]
        pages = decode_pages(content[1:])
        pixels = [page.pixels.tobytes() for page in pages]
    except ExtractionError as error:
        return [_said({"error": str(error)})]
    except MemoryError:
        return [_said({"error": _TOO_LARGE})]
    return [_said({"pages": [(page.pixels.shape, page.dpi) for page in pages]}), *pixels]


def _said(what: dict[str, object]) -> bytes:
    return json.dumps(what).encode() + b"\n"


if __name__ == "__main__":
    main()
