# SPDX-License-Identifier: Apache-2.0
"""Sketches of faces: their bits estimate the angle, and FAISS finds the near ones among many pairs."""

import numpy as np
import pytest
from people import face

from abis.deduplication.sketches import near, sketch
from abis.index.rotation import signs


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
    """Another rotation must show. Bits by the definition, without the fast transform."""
    hadamard = np.array([[(-1) ** (i & j).bit_count() for j in range(512)] for i in range(512)], np.float64)
    first, second = signs(512).astype(np.float64)
    vector = face(1, dimension=512).vector
    rotated = hadamard @ (second * (hadamard @ (first * vector)))
    np.testing.assert_array_equal(np.unpackbits(sketch(vector[np.newaxis])[0]), rotated > 0)
    assert sketch(vector[np.newaxis])[0, :4].tolist() == [83, 64, 175, 80]


def test_near_ones_are_found_each_with_each() -> None:
    people = sketch(np.stack([face(person, dimension=512).vector for person in range(40)]))
    again = sketch(np.stack([face(person, 1, dimension=512).vector for person in range(5, 20)]))
    first, second = near(again, people, 0.0)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) >= {(n, n + 5) for n in range(15)}
    assert (np.diff(first) >= 0).all()
    assert len(near(again, people, 1e6)[0]) == len(near(again, people[:0], 0.0)[0]) == 0
