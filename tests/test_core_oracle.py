# SPDX-License-Identifier: Apache-2.0
"""The C++ comparison against its NumPy twin in tests/oracle, step by step and as a whole."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fingers import mated, scattered, strange
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle.comparison import TERMS, Comparison, compare, prepare
from oracle.constants import read_constants
from oracle.score import bound, score
from oracle.similarity import similarities, similarity_of

import abis
from abis import _core
from abis.comparison import explain
from abis.template import Minutiae

any_template = st.one_of(scattered(), strange())
any_pair = st.one_of(mated(), mated(turn=20), st.tuples(any_template, any_template))


def test_constants_are_read_as_the_compiler_reads_them() -> None:
    header = """
inline constexpr float kThird = 1 / 3.0F, kTwo = 2;  // F makes it single precision
inline constexpr int kHalf = 1 / 2;
inline constexpr float kTenth = 0.1 * kTwo;
inline constexpr float kTurn = degrees_to_units(90) - parameters::kTwo;
inline int function() { return 1; }
"""
    assert read_constants(header) == {
        "kThird": float(np.float32(1) / np.float32(3)),
        "kTwo": 2.0,
        "kHalf": 0,
        "kTenth": float(np.float32(0.2)),
        "kTurn": 62.0,
    }


@settings(deadline=None, max_examples=60)
@given(any_template)
def test_preparation_is_equal(template: Minutiae) -> None:
    core = _core.prepare(*columns(template))
    minutiae, words = prepare(template)
    for name in ("x", "y", "direction", "kind", "reliability", "order"):
        np.testing.assert_array_equal(core[name], getattr(minutiae, name), err_msg=name)
    np.testing.assert_array_equal(core["cylinders"], words)


@settings(deadline=None, max_examples=60)
@given(any_pair)
def test_similarities_are_equal(pair: tuple[Minutiae, Minutiae]) -> None:
    probe, reference = pair
    expected = similarities(prepare(probe)[1], prepare(reference)[1])
    np.testing.assert_array_equal(_core.similarities(*columns(probe), *columns(reference)), expected)


@settings(deadline=None, max_examples=30)
@given(mated())
def test_similarity_is_the_papers_for_equally_many_bits(pair: tuple[Minutiae, Minutiae]) -> None:
    """[MCC, equation 19] itself; where one cylinder has fewer bits set, the core's is larger."""
    first, second = (prepare(template)[1] for template in pair)
    bits = [np.unpackbits(words.view(np.uint8), axis=1).astype(np.float64) for words in (first, second)]
    differing = np.linalg.norm(bits[0][:, None] - bits[1], axis=2)
    length, other_length = np.linalg.norm(bits[0], axis=1)[:, None], np.linalg.norm(bits[1], axis=1)
    described = length * other_length > 0
    paper = 1 - (differing / np.where(described, length + other_length, 1))
    ours = similarity_of(similarities(first, second))
    byte_step = 0.035  # at most, where the similarity is nearly 1
    assert (ours >= paper - byte_step)[described].all()
    same = described & (length == other_length)
    np.testing.assert_allclose(ours[same], paper[same], atol=byte_step)


@settings(deadline=None, max_examples=150)
@given(any_pair)
def test_comparison_agrees(pair: tuple[Minutiae, Minutiae]) -> None:
    expected = compare(*pair)
    assume(not expected.edges.near)
    assert_same_comparison(*pair, expected)


@pytest.mark.parametrize("extractor", ["leader", "fingerjetfx", "mindtct"])
def test_comparison_agrees_on_real_fingers(data: Path, extractor: str) -> None:
    agreed = 0
    stems = ("101_1", "101_2", "101_3", "102_1", "110_8")
    pairs = [(a, b) for k, a in enumerate(stems) for b in stems[k + 1 :]]
    for folder in sorted((data / "fingerprints" / extractor).iterdir())[::3]:
        templates = {stem: real_template(folder, stem) for stem in stems}
        for a, b in pairs:
            expected = compare(templates[a], templates[b])
            if not expected.edges.near:
                assert_same_comparison(templates[a], templates[b], expected)
                agreed += 1
    assert agreed > len(pairs)  # of three times as many; the others are too close to call in float32


def assert_same_comparison(probe: Minutiae, reference: Minutiae, expected: Comparison) -> None:
    found = explain(probe, reference)
    terms = expected.terms
    log_units = 1e-4 * (1 + terms["support"] + terms["missed"])  # the score holds a difference of the two
    absolute = {"support": log_units}
    assert set(found.terms) == set(TERMS)
    for name in TERMS:
        assert found.terms[name] == pytest.approx(terms[name], rel=1e-4, abs=absolute.get(name, 1e-6)), name
    assert found.score == pytest.approx(expected.score, rel=1e-4, abs=log_units)
    if len(probe) and len(reference):  # the score of the core's own terms, more sharply
        most = bound(found.terms, min(len(probe), len(reference)))
        assert found.score == pytest.approx(min(score(found.terms), most), rel=1e-5, abs=1e-5)
    assert {(a, b) for a, b in found.pairs.tolist()} == expected.pairs


def real_template(folder: Path, stem: str) -> Minutiae:
    (file,) = folder.glob(f"{stem}.*")
    (template,) = abis.read(file.read_bytes())
    assert isinstance(template, Minutiae)
    return template


def columns(
    m: Minutiae,
) -> tuple[
    npt.NDArray[np.uint16],
    npt.NDArray[np.uint16],
    npt.NDArray[np.float32],
    npt.NDArray[np.uint8],
    npt.NDArray[np.uint8],
    int,
    int,
]:
    return (m.x, m.y, m.direction, m.kind, m.quality, *m.resolution)
