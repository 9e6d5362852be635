# SPDX-License-Identifier: Apache-2.0
"""Embeddings packed for search: exact where it counts, and never far from it where it is cheap."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corners import sums
from numpy.typing import NDArray
from people import face

from abis._core import Tally
from abis.comparison import cosine
from abis.index.embedding_index import (
    EmbeddingIndex,
    EmbeddingProbe,
    _evidence_by_sum,
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


@pytest.mark.parametrize("dimension", [1, 3, 32, 128, 512, 700, 1024])
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
    assert codes.shape == (20, turned // 16)
    corners = np.stack([codes & 15, codes >> 4], axis=2).reshape(20, -1)
    named = np.take_along_axis(eights, (corners & 7)[:, :, np.newaxis], axis=2)[:, :, 0]
    np.testing.assert_allclose(np.abs(named), np.abs(eights).max(axis=2), atol=1e-6)
    np.testing.assert_array_equal(corners & 8, 8 * (named < 0))
    own = np.abs(rotated(units(dimension)[:20])).reshape(20, -1, 8)
    np.testing.assert_array_equal(corners & 7, own.argmax(axis=2))  # of equal ones the first


def units(dimension: int) -> NDArray[np.float16]:
    """(200, dimension), of unit length."""
    vectors = np.random.default_rng(dimension).normal(size=(200, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float16)


@pytest.mark.parametrize("dimension", [1, 32, 128, 512, 700, 1024])
def test_what_a_code_says_is_what_a_cosine_near_by_says(dimension: int) -> None:
    """To within five standard deviations of what a code of so many components leaves out, and right on average."""
    probe = Embedding(vector=units(dimension)[0], model="any")
    mates = units(dimension)[:1] * np.float16(0.8) + np.float16(0.6) * units(dimension)
    vectors = np.concatenate([units(dimension), mates / np.linalg.norm(mates, axis=1, keepdims=True)])
    index = EmbeddingIndex(vectors.astype(np.float16))
    said = _evidence_by_sum(index.codes.shape[1])[sums(index.codes, EmbeddingProbe.of(probe).corners)]
    deviation = 1.3 / np.sqrt(rotated_dimension(dimension))
    cosines = index.compare(probe)
    assert (said <= evidence_of_cosines(cosines + 5 * deviation)).all()
    assert (said >= evidence_of_cosines(cosines - 5 * deviation)).all()
    if dimension > 1:
        told = np.interp(said, evidence_of_cosines(STEPS), STEPS)
        assert abs((told - cosines)[np.abs(cosines) < 0.9].mean()) < deviation / 2


STEPS = np.linspace(-1, 1, 4001)


def test_the_first_look_is_what_codes_say() -> None:
    """Who comes first by the core, of any number of references, is who does by the sums."""
    people = [face(person, dimension=512) for person in range(100)]
    probe = EmbeddingProbe.of(face(7, 1, dimension=512))
    for n in (1, 15, 16, 17, 100):
        index = EmbeddingIndex.of(people[:n])
        order = np.argsort(-sums(index.codes, probe.corners), kind="stable")
        for count in (1, 5):
            tally = Tally()
            tally.begin(n)
            tally.next_position()
            index.tally(tally, probe, np.arange(n, dtype=np.uint32), is_run=True, gone=None)
            assert tally.largest(count, None).tolist() == sorted(order[:count].tolist())


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
    tally = Tally()
    for n in probes:
        probe = EmbeddingProbe.of(Embedding(vector=vectors[n], model="mobile"))
        tally.begin(len(index))
        tally.next_position()
        index.tally(tally, probe, np.arange(len(index), dtype=np.uint32), is_run=True, gone=None)
        found += int(index.compare(probe).argmax()) in tally.largest(300, None)  # a shortlist has a thousand
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
        assert other.memory_bytes == expected.memory_bytes == 4 * 64 + 16 * 32


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
