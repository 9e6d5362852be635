# SPDX-License-Identifier: Apache-2.0
"""The pairs that a job has found so far, in a file, so that a killed job continues with the next portion.

The file has a line of JSON for the question, then one for each finished portion, each synced to disk. A last line that
a kill cut short is dropped. The file contains keys of subjects, scores and positions, but no names and no templates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Self

import msgspec

from abis.deduplication.pairing import FoundPair
from abis.errors import StoreError
from abis.files import private_stream
from abis.scoring.fusion import Evidence
from abis.template import Position

__all__ = ["AsOf", "Checkpoint", "Question"]

_Key = Annotated[int, msgspec.Meta(ge=0)]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decides which pairs a job finds.

    Attributes:
        fpir: false positive identification rate; None if there is a threshold.
        threshold: least score of a pair; None if there is a rate.
        exact: compare all pairs in full.
        since: number of a change: only subjects enrolled after it are compared with all; None compares all.
    """

    fpir: float | None
    threshold: float | None
    exact: bool
    since: int | None


class AsOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of the gallery that a job runs on.

    Attributes:
        change: number of the store's last change.
        subjects: number of subjects.
        last_subject: no subject has a larger key.
        last_encounter: largest key of an encounter.
    """

    change: _Key
    subjects: _Key
    last_subject: _Key
    last_encounter: _Key


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of the file."""

    abis_deduplication: Literal[1]
    asked: Question
    as_of: AsOf


_EvidenceRow = tuple[Position, float, float, str, Position]
_PairRow = tuple[_Key, _Key, float, float, tuple[_EvidenceRow, ...]]
_Line = tuple[_Key, tuple[_PairRow, ...]]
_read_head = msgspec.json.Decoder(_Head).decode
_read_line = msgspec.json.Decoder(_Line).decode


class Checkpoint:
    """The pairs that were found, by the number of the portion.

    Args:
        path: of the file; None keeps the pairs in memory only.
        asked: the question. An existing file must have the same.
        as_of: the state of the gallery now; an existing file keeps its own.

    Attributes:
        as_of: the state of the gallery that the job runs on.
        resumed: number of portions that were finished by an earlier run.

    Raises:
        StoreError: the file belongs to another question, or is not a checkpoint.
    """

    def __init__(self, path: Path | None, asked: Question, as_of: AsOf) -> None:
        self._path = path
        self._done: dict[int, list[FoundPair]] = {}
        self.as_of = as_of
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
                self._write(_Head(1, asked, self.as_of))

    def __contains__(self, portion: int) -> bool:
        return portion in self._done

    def __getitem__(self, portion: int) -> Sequence[FoundPair]:
        return self._done[portion]

    def add(self, portion: int, pairs: Sequence[FoundPair]) -> None:
        """Note a finished portion. It is on disk when this returns."""
        self._done[portion] = list(pairs)
        if self._stream is not None:
            self._write((portion, [_row(pair) for pair in pairs]))

    def remove(self) -> None:
        """Delete the file, once the result of the job is stored elsewhere."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, path: Path, lines: Sequence[bytes], asked: Question) -> None:
        try:
            head = _read_head(lines[0])
            for line in lines[1:]:
                portion, rows = _read_line(line)
                self._done[portion] = [_pair(row) for row in rows]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StoreError(f"{path}: not the checkpoint of a de-duplication, or damaged: {error}") from None
        self.as_of = head.as_of
        if head.asked != asked:
            before, now = msgspec.structs.asdict(head.asked), msgspec.structs.asdict(asked)
            differing = ", ".join(
                f"{name} {before[name]!r}, now {now[name]!r}"
                for name in sorted(now)
                if before[name] != now[name]
            )
            raise StoreError(
                f"{path}: belongs to a job with other options ({differing}); "
                "give the same options to continue it, or remove the file to start again"
            )

    def _write(self, content: object) -> None:
        assert self._stream is not None
        with self._errors():
            self._stream.write(msgspec.json.encode(content) + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self._path}: the checkpoint cannot be written: {error.strerror}") from error


def _row(pair: FoundPair) -> _PairRow:
    """A pair as JSON holds it; a float comes back bit-identical."""
    evidence = tuple(
        (e.position, e.score, e.raw, e.encounter_id, e.reference_position) for e in pair.evidence
    )
    return pair.probe, pair.reference, pair.score, pair.threshold, evidence


def _pair(row: _PairRow) -> FoundPair:
    probe, reference, score, threshold, evidence = row
    return FoundPair(probe, reference, score, threshold, tuple(Evidence(*one) for one in evidence))
