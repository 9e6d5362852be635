# SPDX-License-Identifier: Apache-2.0
"""The constants of sizing, as the benchmarks measured them, and what follows for other galleries and probes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np

from abis.errors import AbisError
from abis.sizing.simulation import Distribution

__all__ = ["KINDS", "Measurements", "PerSubject", "Source"]

KINDS = ("one_finger", "two_fingers", "face", "two_fingers_face")
"""What is shown in the searches measured."""

VERSION = 1
_EXPECTED = "expected what benchmarks/scale/sizing.py writes"


@dataclass(frozen=True)
class PerSubject:
    """An amount for every subject, finger and face: bytes or seconds."""

    subject: float
    finger: float
    face: float

    def of(self, fingers: int, faces: int) -> float:
        """The amount of a subject with these."""
        return self.subject + fingers * self.finger + faces * self.face

    def times(self, factor: float) -> PerSubject:
        """Of everything so many times as much."""
        return PerSubject(self.subject * factor, self.finger * factor, self.face * factor)


@dataclass(frozen=True)
class Source:
    """A run of a benchmark that constants are from."""

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
    """What was measured, and what it means for galleries of other sizes and makes.

    Attributes:
        subjects: sizes at which searches were measured, ascending; two or more.
        median_s: kind -> median seconds of a search by one thread that finds nobody, at each size.
        spread: kind -> times of different probes against their median, at the largest size.
        jitter: kind -> times of the same search against their median, likewise.
        busy_cores, busy_slowdown: how many cores searched at once, and how much slower each was for it.
        memory_bytes, store_bytes, derived_bytes: in RAM; on disk in the store; on disk as snapshots.
        enroll_s: to prepare and to store a subject, one thread.
        open_s, build_s: for each subject of two fingers and a face, from snapshots and without; one process.
        verify: seconds of a verification by one thread.
        verify_cpu_s: of processor time, where many are verified at a time.
        log_bytes: of the audit log, each verification that is logged.
        import_s, import_cores: for each subject of two fingers and a face imported; on how many cores.
        sources: the runs.
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
    sources: tuple[Source, ...]

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Read a file as ``benchmarks/scale/sizing.py`` writes it; by default the one that comes with abis.

        Raises:
            AbisError: where it is no such file; says what is missing or wrong.
        """
        if path is None:
            name, text = "measured.json", (files("abis.sizing") / "measured.json").read_text(encoding="utf-8")
        else:
            name, text = os.fspath(path), Path(path).read_text(encoding="utf-8")
        try:
            return cls.from_json(json.loads(text))
        except KeyError as error:
            raise AbisError(
                f"{name}: {error.args[0]!r} is missing; expected what benchmarks/scale/sizing.py writes"
            ) from None
        except (TypeError, ValueError, AttributeError) as error:
            raise AbisError(f"{name}: {error}; expected what benchmarks/scale/sizing.py writes") from None

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """From the content of such a file.

        Raises:
            KeyError, TypeError, ValueError: where it is something else.
        """
        if content["version"] != VERSION:
            raise ValueError(f"version is {content['version']!r}; expected {VERSION}")
        search, percent = content["search"], content["percent"]
        subjects = tuple(int(n) for n in search["subjects"])
        if len(subjects) < 2 or list(subjects) != sorted({*subjects}) or subjects[0] < 1:
            raise ValueError(f"search.subjects is {search['subjects']}; expected two or more, ascending")
        median_s = {kind: tuple(float(s) for s in search["median_s"][kind]) for kind in KINDS}
        for kind, seconds in median_s.items():
            if len(seconds) != len(subjects) or not min(seconds) > 0:
                raise ValueError(
                    f"search.median_s.{kind} is {seconds}; expected {len(subjects)} times above 0"
                )
        if percent[0] != 0 or percent[-1] != 100 or percent != sorted({*percent}):
            raise ValueError(f"percent is {percent}; expected to ascend from 0 to 100")
        return cls(
            subjects=subjects,
            median_s=median_s,
            spread={kind: _distribution(percent, search["spread"][kind]) for kind in KINDS},
            jitter={kind: _distribution(percent, search["jitter"][kind]) for kind in KINDS},
            busy_cores=int(search["busy_cores"]),
            busy_slowdown=float(search["busy_slowdown"]),
            **{
                name: PerSubject(**{key: float(value) for key, value in content[name].items()})
                for name in ("memory_bytes", "store_bytes", "derived_bytes", "enroll_s")
            },
            open_s=float(content["open_s"]),
            build_s=float(content["build_s"]),
            verify=_distribution(percent, content["verify_s"]),
            verify_cpu_s=float(content["verify_cpu_s"]),
            log_bytes=float(content["log_bytes"]),
            import_s=float(content["import_s"]),
            import_cores=int(content["import_cores"]),
            sources=tuple(Source(**source) for source in content["sources"]),
        )

    def search_s(self, subjects: float, fingers: int, faces: int) -> float:
        """Median seconds of a search by one thread among so many subjects.

        Between the sizes measured along straight lines; above the largest the last of them goes on; below the
        smallest it takes as long as there. Each finger beyond the second takes as long as the second did.
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
        """The kind measured that is nearest to such a probe: its times are spread alike."""
        if not fingers:
            return "face"
        if faces:
            return "two_fingers_face"
        return "one_finger" if fingers == 1 else "two_fingers"


def _distribution(percent: list[float], values: list[float]) -> Distribution:
    if len(values) != len(percent) or values != sorted(values) or values[0] < 0:
        raise ValueError(f"{values}: expected {len(percent)} percentiles, ascending")
    return Distribution.of_percentiles(percent, values)
