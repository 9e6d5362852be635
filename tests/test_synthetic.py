# SPDX-License-Identifier: Apache-2.0
"""Synthetic populations: reproducible, valid, and similar to real ones in what a matcher sees."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abis.formats import native
from abis.synthetic import Population
from abis.synthetic.finger import make_fingers
from abis.template import MAX_MINUTIAE, Embedding, Minutiae, MinutiaKind, Position

NUMBERS = st.integers(0, 2**62)
FINGER_POSITIONS = st.sampled_from([p for p in Position if p.is_finger and p != Position.UNKNOWN_FINGER])


def _prints(subjects: range, impression: int = 0) -> list[Minutiae]:
    columns = Population().finger_columns(subjects, Position.RIGHT_INDEX, impression)
    return [columns.template(row) for row in range(len(columns))]


def _stored(population: Population, subjects: range) -> list[str]:
    """What a store would hold of these subjects' second impressions."""
    return [native.write(one).hex() for _, made in population.encounters(subjects, 1) for one in made]


class TestSameTemplates:
    def test_in_any_order_block_and_size(self) -> None:
        population = Population(seed=5)
        subjects = [3, 2_000_000_000, 0, 1500, 3]
        among_few = list(population.encounters(subjects, 1))
        assert among_few[0] == among_few[4]
        assert dict(among_few) == {population.subject_id(i): population.templates(i, 1) for i in subjects}
        among_many = dict(population.encounters(range(1600), 1))
        for i in (0, 3, 1500):
            assert among_many[population.subject_id(i)] == population.templates(i, 1)

    def test_in_another_process(self) -> None:
        script = (
            "from abis.formats import native; from abis.synthetic import Population;"
            "made = Population(9).encounters(range(20), 1);"
            "print(*(native.write(one).hex() for _, templates in made for one in templates))"
        )
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert other.stdout.split() == _stored(Population(9), range(20))

    def test_in_threads(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: _stored(Population(6), range(50)), range(8)))
        assert made == 8 * made[:1]

    def test_eyes_too(self) -> None:
        population = Population(5, fingers=(), face=False, eyes=(Position.LEFT_EYE, Position.RIGHT_EYE))
        among_few = dict(population.encounters([3, 1500], 1))
        assert [t.position for t in among_few[population.subject_id(3)]] == list(population.eyes)
        assert among_few[population.subject_id(1500)] == population.templates(1500, 1)
        assert all(native.read(native.write(t)) == t for t in population.templates(3))
        with pytest.raises(ValueError, match="eyes"):
            Population(eyes=(Position.UNKNOWN_EYE,))

    def test_whatever_the_other_positions(self) -> None:
        left_first = Population(4, fingers=(Position.LEFT_INDEX, Position.RIGHT_INDEX), face=False)
        right, left, _ = Population(4).templates(11)
        assert left_first.templates(11) == (left, right)

    @given(seed=NUMBERS, subject=NUMBERS, impression=st.integers(0, 1000))
    @settings(max_examples=30, deadline=None)
    def test_but_others_for_other_numbers(self, seed: int, subject: int, impression: int) -> None:
        made = Population(seed).templates(subject, impression)
        assert made != Population(seed + 1).templates(subject, impression)
        assert made != Population(seed).templates(subject + 1, impression)
        assert made != Population(seed).templates(subject, impression + 1)
        assert made[0] != made[1]


class TestPrints:
    @given(seed=NUMBERS, subject=NUMBERS, impression=st.integers(0, 1000), position=FINGER_POSITIONS)
    @settings(max_examples=100, deadline=None)
    def test_look_as_an_extractor_would_have_them(
        self, seed: int, subject: int, impression: int, position: Position
    ) -> None:
        (template,) = Population(seed, fingers=(position,), face=False).templates(subject, impression)
        assert isinstance(template, Minutiae)
        assert template.position == position
        assert len(template) <= MAX_MINUTIAE
        assert (np.diff(template.y.astype(int)) >= 0).all()
        assert (template.direction % 1.40625 == 0).all()
        assert set(template.kind) <= {MinutiaKind.ENDING, MinutiaKind.BIFURCATION}
        points = np.stack([template.x, template.y], axis=1).astype(float)
        apart = np.linalg.norm(points[:, None] - points, axis=2)[np.triu_indices(len(points), 1)]
        assert (apart >= 6).all()

    def test_have_as_many_minutiae_as_real_ones(self) -> None:
        prints = _prints(range(500))
        counts = np.array([len(template) for template in prints])
        assert 45 <= counts.mean() <= 57  # LEADER on six FVC sets, from a confidence of 0.1 on: 51
        assert 12 <= counts.std() <= 24
        certain = np.array([(template.quality >= 60).sum() for template in prints])
        assert 30 <= certain.mean() <= 42  # 36

    def test_are_by_the_extractor_of_images(self) -> None:
        fingers = pytest.importorskip("abis.extraction.fingers")
        for template in _prints(range(100)):
            assert template.extractor == fingers.EXTRACTOR
            assert template.quality.min() >= 10  # the least confidence that abis.extraction keeps

    def test_have_minutiae_along_a_smooth_flow(self) -> None:
        turns, is_same_sense, endings = [], [], []
        for template in _prints(range(200)):
            points = np.stack([template.x, template.y], axis=1).astype(float)
            first, second = np.triu_indices(len(points), 1)
            near = np.linalg.norm(points[first] - points[second], axis=1) < 30
            turn = np.abs((template.direction[first] - template.direction[second] + 180) % 360 - 180)[near]
            turns.append(np.minimum(turn, 180 - turn))
            is_same_sense.append(turn < 90)
            endings.append(template.kind == MinutiaKind.ENDING)
        assert 6 <= np.median(np.concatenate(turns)) <= 15  # real: 10; random directions: 45
        assert 0.53 <= np.concatenate(is_same_sense).mean() <= 0.70  # real: 0.6; random: 0.5
        assert 0.55 <= np.concatenate(endings).mean() <= 0.72  # real: 0.65

    def test_of_one_finger_are_more_alike_than_of_two(self) -> None:
        subjects = range(25)
        probes, references = _prints(subjects, 1), _prints(subjects, 0)
        mated = np.array([_agreeing(a, b) for a, b in zip(probes, references, strict=True)])
        non_mated = np.array([_agreeing(a, b) for a, b in zip(probes, references[1:], strict=False)])
        assert np.median(mated) > 2 * np.median(non_mated)
        assert (mated[:, None] > non_mated).mean() > 0.9

    def test_say_where_they_are_in_doubt(self) -> None:
        """Minutiae of low quality are found again less often."""
        found, quality = [], []
        for probe, reference in zip(_prints(range(40), 1), _prints(range(40), 0), strict=True):
            is_found = _alignment(probe, reference)
            if is_found.sum() >= 12:
                found.append(is_found)
                quality.append(probe.quality)
        confidence, is_found = np.concatenate(quality), np.concatenate(found)
        shares = [
            is_found[(confidence >= low) & (confidence < high)].mean()
            for low, high in ((0, 30), (30, 60), (60, 85), (85, 101))
        ]
        assert (np.diff(shares) > 0.03).all(), shares


class TestFingers:
    def test_of_one_subject_are_alike(self) -> None:
        subjects = np.arange(1000)
        right, left = make_fingers(0, subjects, 2), make_fingers(0, subjects, 7)
        assert 0.5 < np.corrcoef(right.dryness, left.dryness)[0, 1] < 0.7
        assert not np.array_equal(right.x, left.x)

    def test_of_two_hands_are_mirrored(self) -> None:
        """Loops open towards the little finger: what leans right on one hand leans left on the other."""
        lean = {}
        for thumb in (Position.RIGHT_THUMB, Position.LEFT_THUMB):
            fingers = make_fingers(0, np.arange(2000), int(thumb))
            real = np.arange(fingers.x.shape[1]) < fingers.counts[:, None]
            below = real & (fingers.y < 20) & (fingers.y > -60)  # about a loop's core and its way out
            lean[thumb] = np.sin(2 * fingers.direction[below]).mean()
        assert lean[Position.RIGHT_THUMB] < -0.1
        assert lean[Position.LEFT_THUMB] > 0.1


class TestFaces:
    def test_have_cosines_like_real_ones(self) -> None:
        population = Population()
        first, second = (population.face_vectors(range(1500), k).astype(np.float32) for k in (0, 1))
        np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-3)
        mated = np.einsum("nd,nd->n", first, second)
        assert 0.57 < np.median(mated) < 0.66  # LFW: 0.61
        assert 0.33 < np.percentile(mated, 5) < 0.46  # 0.41
        non_mated = (first @ first.T)[np.triu_indices(len(first), 1)]
        assert abs(non_mated.mean()) < 0.01  # 0.005
        assert 0.060 < non_mated.std() < 0.072  # 0.066
        assert 0.20 < np.percentile(non_mated, 99.9) < 0.25  # 0.226

    def test_have_no_component_that_stands_out(self) -> None:
        spread = Population().face_vectors(range(1500)).astype(np.float32).std(axis=0)
        assert spread.max() < 1.25 * spread.min()

    def test_are_templates_of_their_own_model(self) -> None:
        face = Population(fingers=()).templates(1)[0]
        assert isinstance(face, Embedding)
        assert (face.model, face.position, len(face.vector)) == ("synthetic", Position.FACE, 512)


class TestDoor:
    @pytest.mark.parametrize("seed", [-1, 2**63])
    def test_seed(self, seed: int) -> None:
        with pytest.raises(ValueError, match="expected 0 to"):
            Population(seed)

    @pytest.mark.parametrize("position", [Position.UNKNOWN_FINGER, Position.FACE])
    def test_finger(self, position: Position) -> None:
        with pytest.raises(ValueError, match=f"{position.name} is not one of the ten fingers"):
            Population(fingers=(position,))

    def test_subject_and_impression(self) -> None:
        with pytest.raises(ValueError, match="subject is -3"):
            Population().templates(-3)
        with pytest.raises(ValueError, match="impression is -1"):
            Population().templates(3, impression=-1)

    def test_nobody(self) -> None:
        assert list(Population().encounters([])) == []
        assert len(Population().finger_columns([], Position.LEFT_THUMB)) == 0
        assert Population().face_vectors([]).shape == (0, 512)


def _agreeing(probe: Minutiae, reference: Minutiae) -> int:
    return int(_alignment(probe, reference).sum())


def _alignment(probe: Minutiae, reference: Minutiae) -> npt.NDArray[np.bool_]:
    """Which probe minutiae have a mate under the one-pair alignment that gives most of them one."""
    ours = probe.x - 1j * probe.y.astype(float)
    theirs = reference.x - 1j * reference.y.astype(float)
    best = np.zeros(len(ours), bool)
    for i, j in np.ndindex(len(ours), len(theirs)):
        turn = (reference.direction[j] - probe.direction[i] + 180) % 360 - 180
        if abs(turn) > 40:
            continue
        moved = theirs[j] + (ours - ours[i]) * np.exp(1j * np.radians(turn))
        near = np.abs(moved[:, None] - theirs) < 12
        angle = np.abs((probe.direction[:, None] + turn - reference.direction + 180) % 360 - 180)
        has_mate = (near & (angle < 20)).any(axis=1)
        if has_mate.sum() > best.sum():
            best = has_mate
    return best
