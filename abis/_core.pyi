# SPDX-License-Identifier: Apache-2.0
# Types of the native core, bound in cpp/python. A template is passed as its columns. An array that is of another dtype,
# not contiguous or not aligned is a TypeError, never a silent copy. Using an object that another thread is changing is
# a RuntimeError, and so is changing an object that another thread is using.

from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

class _Detail(TypedDict):
    score: float
    terms: dict[str, float]
    pairs: npt.NDArray[np.uint8]

class _Prepared(TypedDict):
    x: npt.NDArray[np.int16]
    y: npt.NDArray[np.int16]
    direction: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.uint8]
    reliability: npt.NDArray[np.uint8]
    cylinders: npt.NDArray[np.uint64]
    order: npt.NDArray[np.uint8]

class References:
    def __init__(self) -> None: ...
    def append(
        self,
        x: npt.NDArray[np.uint16],
        y: npt.NDArray[np.uint16],
        direction: npt.NDArray[np.float32],
        kind: npt.NDArray[np.uint8],
        quality: npt.NDArray[np.uint8],
        counts: npt.NDArray[np.int64],
        resolutions: npt.NDArray[np.int32],
        threads: int,
    ) -> int: ...
    def remove(self, slots: npt.NDArray[np.int64]) -> None: ...
    def compare(
        self,
        x: npt.NDArray[np.uint16],
        y: npt.NDArray[np.uint16],
        direction: npt.NDArray[np.float32],
        kind: npt.NDArray[np.uint8],
        quality: npt.NDArray[np.uint8],
        resolution_x: int,
        resolution_y: int,
        slots: npt.NDArray[np.int64] | None,
        cutoff: float,
        threads: int,
    ) -> npt.NDArray[np.float32]: ...
    def compare_pairs(
        self,
        probes: npt.NDArray[np.int64],
        references: npt.NDArray[np.int64],
        threads: int,
    ) -> npt.NDArray[np.float32]: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

class FingerProbe:
    def __init__(
        self,
        x: npt.NDArray[np.uint16],
        y: npt.NDArray[np.uint16],
        direction: npt.NDArray[np.float32],
        kind: npt.NDArray[np.uint8],
        quality: npt.NDArray[np.uint8],
        resolution_x: int,
        resolution_y: int,
    ) -> None: ...

class FingerIndex:
    def __init__(self) -> None: ...
    def append(
        self,
        x: npt.NDArray[np.uint16],
        y: npt.NDArray[np.uint16],
        direction: npt.NDArray[np.float32],
        kind: npt.NDArray[np.uint8],
        quality: npt.NDArray[np.uint8],
        counts: npt.NDArray[np.int64],
        resolutions: npt.NDArray[np.int32],
        threads: int,
    ) -> int: ...
    def remove(self, slots: npt.NDArray[np.int64]) -> None: ...
    def screen(self, probe: FingerProbe, threads: int) -> npt.NDArray[np.float32]: ...
    def sift(
        self, probe: FingerProbe, slots: npt.NDArray[np.int64], threads: int
    ) -> npt.NDArray[np.float32]: ...
    def refine(
        self, probe: FingerProbe, slots: npt.NDArray[np.int64], threads: int
    ) -> npt.NDArray[np.float32]: ...
    def compare(
        self, probe: FingerProbe, slots: npt.NDArray[np.int64], threads: int
    ) -> npt.NDArray[np.float32]: ...
    def contents(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]: ...
    def columns(self) -> dict[str, npt.NDArray[Any]]: ...
    @staticmethod
    def from_columns(
        sizes: npt.NDArray[np.uint8],
        removed: npt.NDArray[np.uint8],
        first: npt.NDArray[np.uint64],
        second: npt.NDArray[np.uint64],
        x: npt.NDArray[np.int16],
        y: npt.NDArray[np.int16],
        direction: npt.NDArray[np.uint8],
        kind: npt.NDArray[np.uint8],
        reliability: npt.NDArray[np.uint8],
    ) -> FingerIndex: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

class Tally:
    def __init__(self) -> None: ...
    def begin(self, span: int) -> None: ...
    def next_position(self) -> None: ...
    def add_evidence(
        self,
        evidence: npt.NDArray[np.float32],
        subjects: npt.NDArray[np.uint32] | npt.NDArray[np.int64],
        is_run: bool,
        gone: npt.NDArray[np.bool_] | None,
    ) -> None: ...
    def largest(self, count: int, among: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]: ...
    def evidence_of(self, subjects: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]: ...

def rotate(vectors: npt.NDArray[np.uint16], signs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
def screen_fingers(
    tallies: tuple[Tally, ...],
    index: FingerIndex,
    probes: tuple[FingerProbe, ...],
    subjects: npt.NDArray[np.uint32] | npt.NDArray[np.int64],
    is_run: bool,
    gone: npt.NDArray[np.bool_] | None,
    threads: int,
) -> None: ...
def contents(quality: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]: ...

class FingerTile:
    def __init__(
        self,
        sizes: npt.NDArray[np.uint8],
        removed: npt.NDArray[np.uint8],
        first: npt.NDArray[np.uint64],
        second: npt.NDArray[np.uint64],
        x: npt.NDArray[np.int16],
        y: npt.NDArray[np.int16],
        direction: npt.NDArray[np.uint8],
        kind: npt.NDArray[np.uint8],
        reliability: npt.NDArray[np.uint8],
        threads: int,
    ) -> None: ...
    def near(
        self, probes: FingerTile, begin: int, limits: npt.NDArray[np.int64], least: float, threads: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]: ...
    def refine(
        self,
        probes: FingerTile,
        probe: npt.NDArray[np.int64],
        reference: npt.NDArray[np.int64],
        threads: int,
    ) -> npt.NDArray[np.float32]: ...
    def compare(
        self,
        probes: FingerTile,
        probe: npt.NDArray[np.int64],
        reference: npt.NDArray[np.int64],
        threads: int,
    ) -> npt.NDArray[np.float32]: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

def compare_in_detail(
    x1: npt.NDArray[np.uint16],
    y1: npt.NDArray[np.uint16],
    direction1: npt.NDArray[np.float32],
    kind1: npt.NDArray[np.uint8],
    quality1: npt.NDArray[np.uint8],
    resolution_x1: int,
    resolution_y1: int,
    x2: npt.NDArray[np.uint16],
    y2: npt.NDArray[np.uint16],
    direction2: npt.NDArray[np.float32],
    kind2: npt.NDArray[np.uint8],
    quality2: npt.NDArray[np.uint8],
    resolution_x2: int,
    resolution_y2: int,
) -> _Detail: ...
def prepare(
    x: npt.NDArray[np.uint16],
    y: npt.NDArray[np.uint16],
    direction: npt.NDArray[np.float32],
    kind: npt.NDArray[np.uint8],
    quality: npt.NDArray[np.uint8],
    resolution_x: int,
    resolution_y: int,
) -> _Prepared: ...
def similarities(
    x1: npt.NDArray[np.uint16],
    y1: npt.NDArray[np.uint16],
    direction1: npt.NDArray[np.float32],
    kind1: npt.NDArray[np.uint8],
    quality1: npt.NDArray[np.uint8],
    resolution_x1: int,
    resolution_y1: int,
    x2: npt.NDArray[np.uint16],
    y2: npt.NDArray[np.uint16],
    direction2: npt.NDArray[np.float32],
    kind2: npt.NDArray[np.uint8],
    quality2: npt.NDArray[np.uint8],
    resolution_x2: int,
    resolution_y2: int,
) -> npt.NDArray[np.uint8]: ...
def dot_products(
    probe: npt.NDArray[np.uint16],
    rows: npt.NDArray[np.uint16],
    which: npt.NDArray[np.int64] | None,
    threads: int,
) -> npt.NDArray[np.float32]: ...
def dot_products_of_pairs(
    first: npt.NDArray[np.uint16],
    second: npt.NDArray[np.uint16],
    first_rows: npt.NDArray[np.int64],
    second_rows: npt.NDArray[np.int64],
    threads: int,
) -> npt.NDArray[np.float32]: ...
def available_cores(root: str) -> int: ...
def simd_level() -> str: ...
def set_poll(poll: Callable[[], object]) -> None: ...
def iris_scores(
    bits: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8],
    reach: int,
    references: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64] | None,
    threads: int,
) -> npt.NDArray[np.float32]: ...
def nearest_irises(
    probe: npt.NDArray[np.uint64], coarse: int, blocks: npt.NDArray[np.uint64], count: int, most: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]: ...
