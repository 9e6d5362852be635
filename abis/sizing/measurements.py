# SPDX-License-Identifier: Apache-2.0
"""The constants of sizing as benchmarks measured them, and their extension to other galleries and probes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np

from abis.errors import AbisError
from abis.sizing.simulation import Distribution

__all__ = ["KINDS", "VERSION", "MeasurementSource", "Measurements", "PerSubject"]

KINDS = ("one_finger", "two_fingers", "face", "two_fingers_face")
"""The kinds of probes whose searches were measured."""

VERSION: Literal[1] = 1
"""Version of the file of constants."""


@dataclass(frozen=True)
class PerSubject:
    """Bytes or seconds for each subject, and for each of its fingers and faces."""

    subject: float
    finger: float
    face: float

    def of(self, fingers: int, faces: int) -> float:
        """The amount for a subject with these numbers of fingers and faces."""
        return self.subject + fingers * self.finger + faces * self.face

    def times(self, factor: float) -> PerSubject:
        """Each of the three amounts times a factor."""
        return PerSubject(self.subject * factor, self.finger * factor, self.face * factor)


@dataclass(frozen=True)
class MeasurementSource:
    """The run of a benchmark that constants come from."""

    script: str
    subjects: int
    cpu: str
    cores: int
    simd: str
    software: str
    date: str

    def __str__(self) -> str:
        return (
            f"{self.script}, {self.subjects:,} subjects, {self.cpu}, {self.cores} cores, "
            f"{self.simd.upper().replace('AVX', 'AVX-').replace('AVX-2', 'AVX2')}, {self.software}, {self.date}"
        )


@dataclass(frozen=True)
class Measurements:
    """Measured constants, and what they mean for galleries of other sizes and other templates.

    Attributes:
        subjects: two or more sizes of galleries in which searches were measured, ascending.
        median_s: for each kind of probe, median seconds of a search with a non-mated probe by one thread, by size.
        spread: for each kind, the times of different probes relative to their median, at the largest size.
        jitter: for each kind, the times of one repeated search relative to their median, at the largest size.
        busy_cores, busy_slowdown: cores that searched at once, and the factor by which that slowed each of them.
        memory_bytes, store_bytes, derived_bytes: in RAM, on disk in the store, and on disk as snapshots.
        enroll_s: seconds to prepare and store a subject by one thread.
        open_s, build_s: seconds a subject with two fingers and a face to open a gallery by one process, with and
            without snapshots.
        verify: seconds of a verification by one thread.
        verify_cpu_s: processor seconds of a verification, if many are verified at a time.
        log_bytes: bytes of the audit log for each verification that is logged.
        import_s, import_cores: seconds to import a subject with two fingers and a face, and the cores in use.
        sources: the runs of benchmarks that measured this.
    """

    subjects: tuple[int, ...]
    median_s: Mapping[str, tuple[float, ...]]
    spread: Mapping[str, Distribution]
    jitter: Mapping[str, Distribution]
    busy_cores: int
    busy_slowdown: float
    memory_bytes: PerSubject
    store_bytes: PerSubject
    derived_bytes: PerSubject
    enroll_s: PerSubject
    open_s: float
    build_s: float
    verify: Distribution
    verify_cpu_s: float
    log_bytes: float
    import_s: float
    import_cores: int
    sources: tuple[MeasurementSource, ...]

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Read a file that ``benchmarks/scale/sizing.py`` wrote; by default the one that comes with abis.

        Raises:
            AbisError: the file is something else. The message says what is missing or wrong.
        """
        if path is None:
            name, content = "measured.json", (files("abis.sizing") / "measured.json").read_bytes()
        else:
            name, content = os.fspath(path), Path(path).read_bytes()
        try:
            return cls.from_json(msgspec.json.decode(content))
        except ValueError as error:  # msgspec's errors are of this kind
            raise AbisError(f"{name}: {error}; expected the output of benchmarks/scale/sizing.py") from None

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Validate the content of such a file.

        Raises:
            ValueError: the content is something else.
        """
        file = msgspec.convert(content, _File)
        search, percent = file.search, file.percent
        subjects = tuple(search.subjects)
        if len(subjects) < 2 or list(subjects) != sorted({*subjects}) or subjects[0] < 1:
            raise ValueError(f"search.subjects is {search.subjects}; expected two or more, ascending")
        for kind in KINDS:
            seconds = search.median_s.get(kind, [])
            if len(seconds) != len(subjects) or not min(seconds) > 0:
                raise ValueError(
                    f"search.median_s.{kind} is {seconds}; expected {len(subjects)} times above 0"
                )
        if percent[:1] != [0] or percent[-1:] != [100] or percent != sorted({*percent}):
            raise ValueError(f"percent is {percent}; expected to ascend from 0 to 100")
        return cls(
            subjects=subjects,
            median_s={kind: tuple(search.median_s[kind]) for kind in KINDS},
            spread={kind: _distribution(percent, search.spread.get(kind, [])) for kind in KINDS},
            jitter={kind: _distribution(percent, search.jitter.get(kind, [])) for kind in KINDS},
            busy_cores=search.busy_cores,
            busy_slowdown=search.busy_slowdown,
            memory_bytes=file.memory_bytes,
            store_bytes=file.store_bytes,
            derived_bytes=file.derived_bytes,
            enroll_s=file.enroll_s,
            open_s=file.open_s,
            build_s=file.build_s,
            verify=_distribution(percent, file.verify_s),
            verify_cpu_s=file.verify_cpu_s,
            log_bytes=file.log_bytes,
            import_s=file.import_s,
            import_cores=file.import_cores,
            sources=tuple(file.sources),
        )

    def search_s(self, subjects: float, fingers: int, faces: int) -> float:
        """Median seconds of a search by one thread in a gallery of a given size.

        Linear between the measured sizes; beyond the largest, the last line continues; below the smallest, the time
        at the smallest. Each finger beyond the second takes as long as the second one did.
        """
        if not fingers:
            return self._median("face", subjects)
        second = self._median("two_fingers", subjects) - self._median("one_finger", subjects)
        pair = self._median("two_fingers_face" if faces else "two_fingers", subjects)
        return pair + (fingers - 2) * second

    def _median(self, kind: str, subjects: float) -> float:
        sizes, seconds = self.subjects, self.median_s[kind]
        if subjects <= sizes[-1]:
            return float(np.interp(subjects, sizes, seconds))
        slope = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
        return seconds[-1] + slope * (subjects - sizes[-1])

    def kind(self, fingers: int, faces: int) -> str:
        """The measured kind of probe that is most similar, for the spread of times."""
        if not fingers:
            return "face"
        if faces:
            return "two_fingers_face"
        return "one_finger" if fingers == 1 else "two_fingers"


class _Search(msgspec.Struct):
    """The searches in a file of constants."""

    subjects: list[int]
    median_s: dict[str, list[float]]
    spread: dict[str, list[float]]
    jitter: dict[str, list[float]]
    busy_cores: int
    busy_slowdown: float


class _File(msgspec.Struct):
    """A file of constants."""

    version: Literal[1]
    percent: list[float]
    search: _Search
    memory_bytes: PerSubject
    store_bytes: PerSubject
    derived_bytes: PerSubject
    enroll_s: PerSubject
    open_s: float
    build_s: float
    verify_s: list[float]
    verify_cpu_s: float
    log_bytes: float
    import_s: float
    import_cores: int
    sources: list[MeasurementSource]


def _distribution(percent: list[float], values: list[float]) -> Distribution:
    if len(values) != len(percent) or values != sorted(values) or values[0] < 0:
        raise ValueError(f"{values}: expected {len(percent)} percentiles, ascending")
    return Distribution.of_percentiles(percent, values)
