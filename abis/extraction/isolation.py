# SPDX-License-Identifier: Apache-2.0
"""Images and sound decoded in a process of their own: a decoder that crashes, hangs or eats memory costs one file.

Decoders are C code that reads untrusted files. :mod:`abis.extraction.decoder` forks a process for each file. What
comes back is checked, never unpickled.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np

from abis.errors import ExtractionError
from abis.extraction.decoding import MOST_BYTES, DecodedPage
from abis.extraction.sound import Sound

__all__ = ["IMAGE", "SOUND", "WORDS", "decode_isolated", "decode_sound_isolated"]

IMAGE, SOUND = b"I", b"S"
"""What a request begins with: what its file is decoded as."""

WORDS = {IMAGE: "image", SOUND: "recording"}
"""Words for messages."""

_TIME_S = 120.0  # until a decoder that hangs is given up; the decoder limits its processor time itself


class _PagesAnswer(msgspec.Struct):
    """What the process says of a file."""

    pages: list[tuple[list[int], tuple[float, float] | None]] = []
    error: str | None = None


class _SoundAnswer(msgspec.Struct):
    """What the process says of a recording."""

    samples: int = 0
    note: str = ""
    error: str | None = None


class _FailedError(Exception):
    """The process did not answer."""


_Answer = TypeVar("_Answer", _PagesAnswer, _SoundAnswer)
_Made = TypeVar("_Made")


class _Decoder:
    """The process, started when the first image comes, and again after it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the process that started it: none survives a fork

    def decode(self, data: bytes) -> tuple[DecodedPage, ...]:
        return self._decoded(IMAGE + data, _pages)

    def decode_sound(self, data: bytes) -> Sound:
        return self._decoded(SOUND + data, _sound)

    def _decoded(self, request: bytes, read: Callable[[bytearray], _Made]) -> _Made:
        with self._lock:
            try:
                return read(self._asked(request))
            except _FailedError as error:
                self.stop()
                raise ExtractionError(str(error)) from None
            except ExtractionError:
                raise  # what the process says of the image
            except BaseException:
                self.stop()  # Ctrl-C came, or an answer that is none: what follows is of no use
                raise

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the process that it has forked for an image
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()

    def _asked(self, data: bytes) -> bytearray:
        what = WORDS[data[:1]]
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + _TIME_S
        request = memoryview(len(data).to_bytes(8) + data)
        answer, expected = bytearray(), 8
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdin, selectors.EVENT_WRITE)
            selector.register(process.stdout, selectors.EVENT_READ)
            while len(answer) < expected:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise _FailedError(f"the {what} takes more than {_TIME_S:.0f} seconds to decode")
                for key, _ in ready:
                    if key.fileobj is process.stdin:
                        try:
                            request = request[os.write(key.fd, request[: 2**16]) :]
                        except BrokenPipeError:
                            raise _FailedError(f"the process that decoded the {what} crashed") from None
                        if not request:
                            selector.unregister(process.stdin)
                        continue
                    if not (some := os.read(key.fd, 2**20)):
                        raise _FailedError(f"the process that decoded the {what} crashed")
                    answer += some
                    if expected == 8 and len(answer) >= 8:
                        expected = 8 + int.from_bytes(answer[:8])
                        if expected > 8 + MOST_BYTES:
                            raise _FailedError(
                                f"the process that decoded the {what} sent an answer that is not valid"
                            )
        return answer[8:]

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "abis.extraction.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            close_fds=True,
            start_new_session=True,  # a process group, to be killed as a whole; and no Ctrl-C
        )
        self._owner = os.getpid()
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)


def _environment() -> dict[str, str]:
    """That of this process without its secrets: the decoder needs no key and no password."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ABIS_KEY", "PG"))}
    own |= {"OPENBLAS_NUM_THREADS": "1"}  # one thread, so that forking is safe
    return own | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _pages(answer: bytearray) -> tuple[DecodedPage, ...]:
    said, at = _said(answer, _PagesAnswer)
    pages = []
    for shape, dpi in said.pages:
        size = int(np.prod(shape, dtype=object))
        is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if not is_picture or min(shape) < 1 or at + size > len(answer):
            raise _FailedError("the process that decoded the image sent an answer that is not valid")
        pages.append(DecodedPage(np.frombuffer(answer, np.uint8, size, at).reshape(shape), dpi))
        at += size
    return tuple(pages)


def _sound(answer: bytearray) -> Sound:
    said, at = _said(answer, _SoundAnswer)
    if said.samples < 0 or at + 4 * said.samples != len(answer):
        raise _FailedError("the process that decoded the recording sent an answer that is not valid")
    return Sound(np.frombuffer(answer, np.float32, said.samples, at), said.note)


def _said(answer: bytearray, kind: type[_Answer]) -> tuple[_Answer, int]:
    """The line of JSON that an answer begins with, and where its content begins."""
    said_bytes, newline, _ = bytes(answer[: 2**20]).partition(b"\n")
    if not newline:
        raise _FailedError("the process that decoded the file sent an answer that is not valid")
    try:
        said = msgspec.json.decode(said_bytes, type=kind)
    except msgspec.DecodeError:
        raise _FailedError("the process that decoded the file sent an answer that is not valid") from None
    if said.error is not None:
        raise ExtractionError(said.error)
    return said, len(said_bytes) + 1


_decoder = _Decoder()
atexit.register(_decoder.stop)


def decode_isolated(data: bytes) -> tuple[DecodedPage, ...]:
    """:func:`abis.extraction.decoding.decode_pages` in another process, with limits of time and memory.

    Raises:
        ExtractionError: also where the decoder crashes or takes too long.
    """
    return _decoder.decode(data)


def decode_sound_isolated(data: bytes) -> Sound:
    """:func:`abis.extraction.sound.decode_sound` in another process, with limits of time and memory.

    Raises:
        ExtractionError: also where the decoder crashes or takes too long.
    """
    return _decoder.decode_sound(data)
