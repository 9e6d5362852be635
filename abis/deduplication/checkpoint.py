# SPDX-License-Identifier: Apache-2.0
"""What a job has found so far, in a file: after a kill at any moment it goes on with the next portion.

A line of JSON for what was asked, then one for every portion that is done, synced to disk. A line that a kill cut
short is dropped. Keys of subjects, scores and positions are in it; names and templates are not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from abis.deduplication.pairing import FoundPair
from abis.errors import StoreError
from abis.files import private_stream
from abis.scoring.fusion import Evidence
from abis.template import Position

__all__ = ["Checkpoint"]


class Checkpoint:
    """The pairs of portions, by their number.

    Args:
        path: of the file; None keeps them in memory alone.
        asked: what decides what is found. Where there is a file, it must say the same ...
        as_of: ... but for these, which stay as they were when the job began.

    Attributes:
        as_of: as of which state of the gallery the job runs.
        resumed: portions that were done before.

    Raises:
        StoreError: where the file is of another job, or no checkpoint.
    """

    def __init__(self, path: Path | None, asked: Mapping[str, Any], as_of: Mapping[str, int]) -> None:
        self._path = path
        self._done: dict[int, list[FoundPair]] = {}
        self.as_of = dict(as_of)
        self._stream = None
        if path is None:
            self.resumed = 0
            return
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if whole:
            self._read(path, whole, asked)
        self.resumed = len(self._done)
        with self._errors():
            self._stream = private_stream(path)
            self._stream.truncate(sum(map(len, whole)))
            self._stream.seek(0, os.SEEK_END)
            if not whole:
                self._write({"abis_deduplication": 1, "asked": dict(asked), "as_of": self.as_of})

    def __contains__(self, portion: int) -> bool:
        return portion in self._done

    def __getitem__(self, portion: int) -> Sequence[FoundPair]:
        return self._done[portion]

    def add(self, portion: int, pairs: Sequence[FoundPair]) -> None:
        """A portion is done; once this has returned it stays so."""
        self._done[portion] = list(pairs)
        if self._stream is not None:
            self._write([portion, [_written(pair) for pair in pairs]])

    def remove(self) -> None:
        """The job is done, and what it found is elsewhere."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, path: Path, lines: Sequence[bytes], asked: Mapping[str, Any]) -> None:
        try:
            head = json.loads(lines[0])
            if head["abis_deduplication"] != 1:
                raise ValueError
            before, self.as_of = head["asked"], head["as_of"]
            for line in lines[1:]:
                portion, pairs = json.loads(line)
                self._done[portion] = [_read(pair) for pair in pairs]
        except (KeyError, TypeError, ValueError):
            raise StoreError(f"{path}: is not the checkpoint of a de-duplication, or damaged") from None
        if before != dict(asked):
            differing = ", ".join(
                f"{name} {before.get(name)!r}, now {asked.get(name)!r}"
                for name in sorted({*before, *asked})
                if before.get(name) != asked.get(name)
            )
            raise StoreError(
                f"{path}: is of a job that was asked something else ({differing}); "
                "ask the same to go on with it, or remove the file to begin anew"
            )

    def _write(self, content: object) -> None:
        assert self._stream is not None
        with self._errors():
            self._stream.write(json.dumps(content, separators=(",", ":")).encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self._path}: the checkpoint cannot be written: {error.strerror}") from error


def _written(pair: FoundPair) -> list[Any]:
    """Numbers as JSON holds them: a float comes back as it was, to the bit."""
    evidence = [
        [int(e.position), e.score, e.raw, e.encounter_id, int(e.reference_position)] for e in pair.evidence
    ]
    return [pair.probe, pair.reference, pair.score, pair.threshold, evidence]


def _read(content: Sequence[Any]) -> FoundPair:
    probe, reference, score, threshold, rows = content
    evidence = tuple(
        Evidence(Position(position), own_score, raw, encounter, Position(other))
        for position, own_score, raw, encounter, other in rows
    )
    return FoundPair(probe, reference, score, threshold, evidence)
