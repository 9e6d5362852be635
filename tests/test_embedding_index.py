# SPDX-License-Identifier: Apache-2.0
"""Embeddings packed for search: exact where it counts, and never far from it where it is cheap."""

from pathlib import Path

import numpy as np
import pytest
from people import face

from abis.comparison import cosine
from abis.embedding_index import EmbeddingIndex, EmbeddingProbe, _signs, sketch
from abis.template import Embedding


def test_embeddings_are_compared_on_their_stored_precision() -> None:
    people = [face(person) for person in range(50)]
    index = EmbeddingIndex.of(people)
    probe = face(7, 1)
    expected = cosine(probe, np.stack([t.vector for t in people]))
    np.testing.assert_array_equal(index.compare(probe), expected)
    np.testing.assert_array_equal(index.compare(probe, np.array([7, 3])), expected[[7, 3]])
    assert len(index) == 50


@pytest.mark.parametrize("dimension", [1, 3, 32, 128, 512, 700])
def test_sketches_tell_the_angle(dimension: int) -> None:
    """The share of bits that differ is the angle as a share of pi, to within four standard deviations."""
    rng = np.random.default_rng(dimension)
    vectors = rng.normal(size=(200, dimension)).astype(np.float32)
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    sketches = sketch(units)
    assert sketches.shape == (200, 64 if dimension <= 512 else 128)
    differ = np.unpackbits(sketches[0] ^ sketches[1:], axis=1).mean(axis=1)
    cosines = np.clip(units[1:].astype(np.float32) @ units[0].astype(np.float32), -1, 1)
    independent = min(dimension, 8 * sketches.shape[1])
    assert np.abs(differ - np.arccos(cosines) / np.pi).max() < 4 * 0.5 / np.sqrt(independent)


def test_a_sketch_is_what_it_has_always_been() -> None:
    """Files hold sketches: another rotation must show. Bits by the definition, without the fast transform."""
    hadamard = np.array([[(-1) ** (i & j).bit_count() for j in range(512)] for i in range(512)], np.float64)
    signs = _signs(512).astype(np.float64)
    vector = face(1, dimension=512).vector
    rotated = hadamard @ (signs[1] * (hadamard @ (signs[0] * vector)))
    np.testing.assert_array_equal(np.unpackbits(sketch(vector[np.newaxis])[0]), rotated > 0)
    assert sketch(vector[np.newaxis])[0, :4].tolist() == [83, 64, 175, 80]


def test_a_mate_is_among_the_first_by_its_sketch(data: Path) -> None:
    """Of real faces: everyone's first image is enrolled, later ones are probes."""
    with np.load(data / "faces" / "lfw_arcface_mobile_512.npz") as faces:
        vectors, identity = faces["embeddings"], faces["identity"]
    _, first = np.unique(identity, return_index=True)
    index = EmbeddingIndex(vectors[first])
    probes = np.setdiff1d(np.arange(len(vectors)), first)[::25]
    behind = []
    for n in probes:
        probe = Embedding(vector=vectors[n], model="mobile")
        scores, evidence = index.compare(probe), index.sift(EmbeddingProbe.of(probe))
        behind.append(int((evidence > evidence[scores.argmax()]).sum()))
    assert len(behind) > 250
    assert max(behind) < 100  # a shortlist has a thousand or more


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
        np.testing.assert_array_equal(other.sift(own), expected.sift(own))
        np.testing.assert_array_equal(other.sift(own, np.array([1])), expected.sift(own, np.array([1])))
        np.testing.assert_array_equal(other.refine(own, np.array([1])), expected.refine(own, np.array([1])))
        assert other.memory_bytes == expected.memory_bytes == 4 * (64 + 64)


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    good = EmbeddingIndex.of([face(1), face(2)]).arrays()
    for name, bad in (
        ("vectors", good["vectors"].astype(np.float32)),
        ("vectors", good["vectors"][0]),
        ("vectors", good["vectors"][:1]),
        ("sketches", good["sketches"][:, :-1]),
        ("sketches", good["sketches"].astype(np.uint16)),
    ):
        with pytest.raises(ValueError, match="expected"):
            EmbeddingIndex.from_arrays(good | {name: bad})
