# SPDX-License-Identifier: Apache-2.0
"""The index of embeddings: exact scores, and codes that find the nearest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from people import face

from abis.comparison import cosine
from abis.index.embedding_index import (
    EmbeddingIndex,
    EmbeddingProbe,
    encode,
    evidence_of_cosines,
)
from abis.index.rotation import rotated, rotated_dimension, signs
from abis.template import Embedding


def test_embeddings_are_compared_on_their_stored_precision() -> None:
    people = [face(person) for person in range(50)]
    index = EmbeddingIndex.of(people)
    probe = face(7, 1)
    expected = cosine(probe, np.stack([t.vector for t in people]))
    np.testing.assert_array_equal(index.compare(probe), expected)
    np.testing.assert_array_equal(index.compare(probe, np.array([7, 3])), expected[[7, 3]])
    assert len(index) == 50


@pytest.mark.parametrize("dimension", [1, 3, 32, 128, 512, 700, 1024, 2048])
def test_a_code_names_the_nearest_corners(dimension: int) -> None:
    """By the definition, without the fast transform, of vectors with equal components, too."""
    turned = rotated_dimension(dimension)
    hadamard: NDArray[np.floating[Any]] = np.ones((1, 1))
    while len(hadamard) < turned:
        hadamard = np.kron([[1.0, 1.0], [1.0, -1.0]], hadamard)
    first, second = signs(turned).astype(np.float64)
    vectors = np.zeros((20, turned))
    vectors[:, :dimension] = units(dimension)[:20]
    components = (hadamard @ (second[:, np.newaxis] * (hadamard @ (first * vectors).T))).T / turned
    np.testing.assert_allclose(rotated(units(dimension)[:20]), components, atol=1e-5)
    eights = components.astype(np.float32).reshape(20, -1, 8)
    codes = encode(units(dimension)[:20])
    assert codes.shape == (20, min(turned, 1024) // 16)
    eights = eights[:, : 2 * codes.shape[1]]
    corners = np.stack([codes & 15, codes >> 4], axis=2).reshape(20, -1)
    named = np.take_along_axis(eights, (corners & 7)[:, :, np.newaxis], axis=2)[:, :, 0]
    np.testing.assert_allclose(np.abs(named), np.abs(eights).max(axis=2), atol=1e-6)
    np.testing.assert_array_equal(corners & 8, 8 * (named < 0))
    own = np.abs(rotated(units(dimension)[:20])).reshape(20, -1, 8)[:, : 2 * codes.shape[1]]
    np.testing.assert_array_equal(corners & 7, own.argmax(axis=2))  # of equal ones the first


def units(dimension: int) -> NDArray[np.float16]:
    """(200, dimension), of unit length."""
    vectors = np.random.default_rng(dimension).normal(size=(200, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float16)


def sums(index: EmbeddingIndex, probe: EmbeddingProbe) -> NDArray[np.float64]:
    """What the probe's components say of the corners of each code, by the definition."""
    corners = np.stack([index.codes & 15, index.codes >> 4], axis=2).reshape(len(index), -1)
    groups = probe.components.reshape(-1, 8)
    table = np.concatenate([groups, -groups], axis=1).astype(np.float64)
    return np.asarray(table[np.arange(len(groups)), corners].sum(axis=1))


@pytest.mark.parametrize("dimension", [1, 32, 128, 512, 700, 1024, 2048, 4096])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 200])
def test_the_nearest_are_those_of_the_exact_sums(dimension: int, n: int) -> None:
    """Any number of references, any number asked for, any dimension: FAISS rounds nothing."""
    index = EmbeddingIndex(units(dimension)[:n])
    for template in (Embedding(vector=units(dimension)[0], model="any"), face(1, dimension=dimension)):
        probe = EmbeddingProbe.of(template)
        expected = probe.cosine_of_step * sums(index, probe)
        for count in (1, 2, 30, 200):
            cosines, slots = index.nearest(probe, count)
            assert len(cosines) == len(set(slots.tolist())) == min(count, n)
            np.testing.assert_array_equal(cosines, expected[slots])
            np.testing.assert_array_equal(cosines, np.sort(expected)[::-1][:count])


@pytest.mark.parametrize("dimension", [1, 32, 128, 512, 700, 1024, 2048])
def test_an_estimate_is_near_the_cosine(dimension: int) -> None:
    """To within five standard deviations of what a code leaves out, and right on average."""
    probe = Embedding(vector=units(dimension)[0], model="any")
    mates = units(dimension)[:1] * np.float16(0.8) + np.float16(0.6) * units(dimension)
    vectors = np.concatenate([units(dimension), mates / np.linalg.norm(mates, axis=1, keepdims=True)])
    index = EmbeddingIndex(vectors.astype(np.float16))
    estimates, slots = index.nearest(EmbeddingProbe.of(probe), len(index))
    cosines = index.compare(probe, slots)
    deviation = 1.3 / np.sqrt(min(rotated_dimension(dimension), 1024))
    assert np.abs(estimates - cosines).max() < 5 * deviation
    if dimension > 1:
        assert abs((estimates - cosines)[np.abs(cosines) < 0.9].mean()) < deviation / 2


def test_evidence_grows_with_the_cosine() -> None:
    evidence = evidence_of_cosines(np.linspace(-1.5, 1.5, 4001))
    assert evidence.dtype == np.float32
    assert (np.diff(evidence) >= 0).all()
    assert evidence[0] < 0 < evidence[-1]


@pytest.mark.parametrize("level", ["NONE", "AVX2", "AVX512"])
def test_the_nearest_are_the_same_on_every_cpu(level: str) -> None:
    """FAISS at another level, in another process: codes, estimates and slots to the bit."""
    expected = nearest_of_all()
    script = "import json, test_embedding_index as t; print(json.dumps(t.nearest_of_all()))"
    environment = os.environ | {
        "FAISS_SIMD_LEVEL": level,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]]),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode and "SIMD" in done.stderr:
        pytest.skip(f"FAISS does not run at {level} on this machine")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


def nearest_of_all() -> list[object]:
    """What :func:`test_the_nearest_are_the_same_on_every_cpu` compares."""
    index = EmbeddingIndex(units(512))
    probe = EmbeddingProbe.of(face(7, 1, dimension=512))
    return [index.codes.tolist(), [array.tolist() for array in index.nearest(probe, 50)]]


def test_a_code_is_what_it_has_always_been() -> None:
    """Files hold codes: another rotation must show."""
    assert encode(face(1, dimension=512).vector[np.newaxis])[0, :4].tolist() == [135, 192, 21, 189]


def test_a_mate_is_among_the_first_by_its_code(data: Path) -> None:
    """Of real faces: everyone's first image is enrolled, later ones are probes."""
    with np.load(data / "faces" / "lfw_arcface_mobile_512.npz") as faces:
        vectors, identity = faces["embeddings"], faces["identity"]
    _, first = np.unique(identity, return_index=True)
    index = EmbeddingIndex(vectors[first])
    probes = np.setdiff1d(np.arange(len(vectors)), first)[::25]
    found = 0
    for n in probes:
        probe = EmbeddingProbe.of(Embedding(vector=vectors[n], model="mobile"))
        found += (
            int(index.compare(probe).argmax()) in index.nearest(probe, 300)[1]
        )  # a search takes more than 700
    assert found == len(probes) > 250


def test_joined_and_saved_it_is_the_same() -> None:
    people = [face(person) for person in range(30)]
    index = EmbeddingIndex.of(people)
    parts = [
        (EmbeddingIndex.of(people[5:]), np.array([3, 1])),
        (index, np.arange(2, 4)),
        (index, np.array([])),
    ]
    joined = EmbeddingIndex.joined([(part, slots.astype(np.int64)) for part, slots in parts])
    expected = EmbeddingIndex.of([people[8], people[6], people[2], people[3]])
    again = EmbeddingIndex.from_arrays(joined.arrays())
    probe = face(6, 1)
    own = EmbeddingProbe.of(probe)
    for other in (joined, again):
        np.testing.assert_array_equal(other.codes, expected.codes)
        np.testing.assert_array_equal(other.sift(own, np.array([1])), expected.sift(own, np.array([1])))
        np.testing.assert_array_equal(other.refine(own, np.array([1])), expected.refine(own, np.array([1])))
        assert other.memory_bytes == expected.memory_bytes == 4 * 64 + 32 * 32


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    good = EmbeddingIndex.of([face(1), face(2)]).arrays()
    for name, bad in (
        ("vectors", good["vectors"].astype(np.float32)),
        ("vectors", good["vectors"][0]),
        ("vectors", good["vectors"][:1]),
        ("codes", good["codes"][:, :-1]),
        ("codes", good["codes"].astype(np.uint16)),
    ):
        with pytest.raises(ValueError, match="expected"):
            EmbeddingIndex.from_arrays(good | {name: bad})
