# SPDX-License-Identifier: Apache-2.0
"""The steps that a search spends its time in, one thread each, at the SIMD level in use."""

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from abis import _core
from abis.comparison import FingerReferences, simd_level
from abis.comparison.kind import Kind
from abis.index.embedding_index import EmbeddingIndex, EmbeddingProbe
from abis.index.finger_index import FingerIndex, ready
from abis.scoring import fusion
from abis.scoring.calibration import Calibrations
from abis.synthetic import Population
from abis.template import Embedding, Minutiae, Position
from benchmarks.speed.first_look import fingers_of, synthetic_index

FINGERS = Population(seed=0, fingers=(Position.RIGHT_INDEX,), face=False)
COMPARED = 256
SCREENED = 65_536
CANDIDATES = 100_000


@pytest.fixture(scope="module", name="references")
def make_references() -> list[Minutiae]:
    """Fingers of some subjects."""
    return fingers_of(FINGERS, range(COMPARED), impression=0)


@pytest.fixture(scope="module", name="probes")
def make_probes() -> list[Minutiae]:
    """Second impressions of some of the subjects."""
    return fingers_of(FINGERS, range(16), impression=1)


def named(benchmark: BenchmarkFixture, items: int) -> BenchmarkFixture:
    """The benchmark with the SIMD level in its group, and how many items a round has."""
    benchmark.group = f"{benchmark.name} at {simd_level()}"
    benchmark.extra_info |= {"simd": simd_level(), "items": items}
    return benchmark


def test_preparing(benchmark: BenchmarkFixture, references: list[Minutiae]) -> None:
    """References made ready: their cylinders above all."""
    named(benchmark, COMPARED)(lambda: FingerReferences().extend(references, threads=1))


@pytest.mark.parametrize("cutoff", [np.inf, -np.inf], ids=["similarity", "full"])
def test_comparison(
    benchmark: BenchmarkFixture, references: list[Minutiae], probes: list[Minutiae], cutoff: float
) -> None:
    """Comparisons: with a cutoff that none reaches they end after the similarities of all pairs of minutiae."""
    packed = FingerReferences()
    packed.extend(references, threads=1)
    named(benchmark, COMPARED)(packed.compare, probes[0], cutoff=cutoff, threads=1)


@pytest.mark.parametrize("together", [1, 16])
def test_first_look(benchmark: BenchmarkFixture, probes: list[Minutiae], together: int) -> None:
    """The first look of one probe, and of several in one pass."""
    index = synthetic_index(SCREENED, seed=0)
    prepared = tuple(ready(probe) for probe in probes[:together])
    tallies = tuple(_core.Tally() for _ in prepared)
    subjects = np.arange(SCREENED, dtype=np.uint32)
    for tally in tallies:
        tally.begin(SCREENED)

    def look() -> None:
        for tally in tallies:
            tally.next_position()
        _core.screen_fingers(tallies, index._core, prepared, subjects, True, None, 1)

    named(benchmark, together * SCREENED)(look)


@pytest.mark.parametrize("method", ["sift", "refine", "compare"])
def test_closer_look(
    benchmark: BenchmarkFixture, references: list[Minutiae], probes: list[Minutiae], method: str
) -> None:
    """The second look, the third, and the full comparison of references in compact form."""
    index = FingerIndex.of(references)
    slots = np.arange(COMPARED)
    named(benchmark, COMPARED)(getattr(index, method), ready(probes[0]), slots, threads=1)


def test_look_at_embeddings(benchmark: BenchmarkFixture) -> None:
    """The nearest of 65,536 faces of 512 dimensions by their codes."""
    rng = np.random.default_rng(0)
    faces = [Embedding(vector=vector, model="benchmark") for vector in rng.normal(size=(SCREENED, 512))]
    index = EmbeddingIndex.of(faces)
    named(benchmark, SCREENED)(index.nearest, EmbeddingProbe.of(faces[0]), 100)


def test_likelihood_ratios(benchmark: BenchmarkFixture, probes: list[Minutiae]) -> None:
    """Raw scores to log10 likelihood ratios."""
    calibration = Calibrations.of().for_template(probes[0])
    raw = np.random.default_rng(0).normal(0, 3, CANDIDATES).astype(np.float32)
    named(benchmark, CANDIDATES)(calibration.llr, raw, np.ones(CANDIDATES))


def test_fusion(benchmark: BenchmarkFixture) -> None:
    """Scores of candidates by two fingers each."""
    rng = np.random.default_rng(0)
    population = Population(seed=0, fingers=(Position.RIGHT_INDEX, Position.LEFT_INDEX), face=False)
    ((_, templates),) = population.encounters(range(1))
    numbers = np.arange(CANDIDATES, dtype=np.int64)
    comparisons = [
        fusion.Comparisons.of(
            template,
            Kind.of(template),
            subject=numbers,
            encounter=numbers,
            raw=rng.normal(0, 3, CANDIDATES).astype(np.float32),
            balance=np.ones(CANDIDATES),
            calibrations=Calibrations.of(),
        )
        for template in templates
    ]
    fused: Any = named(benchmark, CANDIDATES)(fusion.fuse, comparisons, CANDIDATES)
    assert len(fused) == CANDIDATES
