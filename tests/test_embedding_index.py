# SPDX-License-Identifier: Apache-2.0
"""Embeddings packed for search: exact where it counts, and never far from it where it is cheap."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from people import face

from abis._core import Tally
from abis.comparison import cosine
from abis.embedding_index import EmbeddingIndex, EmbeddingProbe, encode
from abis.rotation import rotated, rotated_dimension, signs
from abis.template import Embedding


def test_embeddings_are_compared_on_their_stored_precision() -> None:
    people = [face(person) for person in range(50)]
    index = EmbeddingIndex.of(people)
    probe = face(7, 1)
    expected = cosine(probe, np.stack([t.vector for t in people]))
    np.testing.assert_array_equal(index.compare(probe), expected)
    np.testing.assert_array_equal(index.compare(probe, np.array([7, 3])), expected[[7, 3]])
    assert len(index) == 50


@pytest.mark.parametrize("dimension", [1, 32, 128, 512, 700, 1024])
def test_codes_tell_the_cosine(dimension: int) -> None:
    """To within five standard deviations of what a code of so many components leaves out."""
    rng = np.random.default_rng(dimension)
    vectors = rng.normal(size=(200, dimension))
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    probe = Embedding(vector=units[0], model="any")
    cosines = EmbeddingIndex(units).compare(probe)
    assert np.abs(by_code(probe, units) - cosines).max() < 5 * 1.3 / np.sqrt(rotated_dimension(dimension))


def by_code(probe: Embedding, vectors: NDArray[np.float16]) -> NDArray[np.float64]:
    """(n,) cosines by the definition of a code: of each eight rotated components the sign of the largest."""
    (mine,), theirs = rotated(probe.vector[np.newaxis]), rotated(vectors)
    eights = theirs.reshape(len(vectors), -1, 8)
    corners = np.sign(eights) * (np.abs(eights) == np.abs(eights).max(axis=2, keepdims=True))
    # Only one of equal ones is the largest: those of a vector that has but one component.
    corners /= np.abs(corners).sum(axis=2, keepdims=True)
    size = np.sqrt(mine.size) / (eights.shape[1] * 1.7834)
    found: NDArray[np.float64] = size * (corners.reshape(len(vectors), -1) @ mine.astype(np.float64))
    return found


def test_the_first_look_is_what_codes_tell() -> None:
    """Who comes first by the core, of any number of references, is who does by the definition."""
    people = [face(person, dimension=512) for person in range(100)]
    probe = EmbeddingProbe.of(face(7, 1, dimension=512))
    for n in (1, 15, 16, 17, 100):
        index = EmbeddingIndex.of(people[:n])
        order = np.argsort(-by_code(probe.template, np.stack([t.vector for t in people[:n]])))
        for count in (1, 5):
            tally = Tally()
            tally.begin(n)
            tally.next_position()
            index.tally(tally, probe, np.arange(n, dtype=np.uint32), is_run=True, gone=None)
            assert tally.largest(count, None).tolist() == sorted(order[:count].tolist())


def test_a_code_is_what_it_has_always_been() -> None:
    """Files hold codes: another rotation must show. By the definition, without the fast transform."""
    hadamard = np.array([[(-1) ** (i & j).bit_count() for j in range(512)] for i in range(512)], np.float64)
    first, second = signs(512).astype(np.float64)
    vector = face(1, dimension=512).vector
    eights = (hadamard @ (second * (hadamard @ (first * vector)))).reshape(64, 8)
    corners = [n + 8 * (eight[n] < 0) for eight in eights for n in [np.abs(eight).argmax()]]
    code = encode(vector[np.newaxis])[0]
    assert np.stack([code & 15, code >> 4], axis=1).ravel().tolist() == corners
    assert code[:4].tolist() == [135, 192, 21, 189]


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
