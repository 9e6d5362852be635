# SPDX-License-Identifier: Apache-2.0
"""Error rates of 1:N searches, compared with arithmetic by hand and with a simple twin."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import finger

from abis.evaluation import evaluate_folder, evaluate_searches, measure_identification, search
from abis.evaluation.protocols import all_pairs, first_enrolled
from abis.formats import Format, write

INF = np.inf
unhurried = settings(deadline=None)


def test_rates_worked_out_by_hand() -> None:
    # Subjects 0, 1, 2 are enrolled, 1 with two references; probes of 0, 1, 2 and twice of 9, who is not.
    score = np.array(
        [
            # 0   1   1   2
            [5.0, 1, 2, 3],  # of 0: rank 1
            [6.0, 1, 4, 3],  # of 1: best reference 4, behind 0: rank 2
            [1.0, 3, 1, 3],  # of 2: as high as 1, and ties speak against it: rank 2
            [2.0, 1, 3, 1],  # of 9: highest 3
            [0.0, 1, 1, 1],  # of 9: highest 1
        ]
    )
    found = search(score, np.array([0, 1, 2, 9, 9]), np.array([0, 1, 1, 2]), without_mate=False)
    assert (found.gallery_size, found.gallery_size_without_mate) == (3, 3)
    assert found.mate_rank.tolist() == [1, 2, 2]
    assert found.mate_score.tolist() == [5, 4, 3]
    assert found.highest.tolist() == [3, 1]
    # FNIR(N=3, R, T): at rank 1 only the first can be found; at rank 2 and T = 4 the first two.
    assert found.at_rank(1).fnmr([0.0, 5.0, 5.1]).tolist() == [2 / 3, 2 / 3, 1]
    assert found.at_rank(2).fnmr([3.0, 4.0]).tolist() == [0, 1 / 3]
    assert found.at_rank(2).fmr([1.0, 2.0, 3.1]).tolist() == [1, 0.5, 0]
    rates = measure_identification(found)
    assert rates.rank_1.value == pytest.approx(2 / 3)
    assert rates.cmc.hits.tolist() == pytest.approx([1 / 3, 1, 1])
    # With two searches without a mate, only an FPIR of none can be told from one of all.
    assert [row.wanted for row in rates.fnir_at] == [0]
    assert rates.fnir_at[0].threshold == np.nextafter(3, 4)
    assert rates.fnir_at[0].fnir.value == pytest.approx(2 / 3)


def test_failed_probes_and_references_are_missed() -> None:
    score = np.array([[-INF, -INF], [-INF, 2.0]])  # the first probe failed, and the first reference
    found = search(score, np.array([0, 1]), np.array([0, 1]), without_mate=True)
    assert found.mate_rank.tolist() == [0, 1]
    assert found.highest.tolist() == [-INF, -INF]
    assert measure_identification(found).rank_1.value == 0.5


@unhurried
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(1, 3), st.booleans())
def test_searches_are_those_of_a_naive_twin(
    seed: int, enrolled: int, references: int, without_mate: bool
) -> None:
    generator = np.random.default_rng(seed)
    reference_subject = generator.permutation(np.repeat(np.arange(enrolled), references))
    probe_subject = generator.integers(0, enrolled + 2, size=12)
    score = generator.integers(0, 6, size=(12, len(reference_subject))).astype(float)
    found = search(score, probe_subject, reference_subject, without_mate=without_mate)
    ranks, highest = [], []
    for row, subject in zip(score, probe_subject, strict=True):
        best = {s: max(row[reference_subject == s]) for s in range(enrolled)}
        if subject in best:
            ranks.append(1 + sum(best[s] >= best[subject] for s in best if s != subject))
        if without_mate or subject not in best:
            highest.append(max(best[s] for s in best if s != subject))
    assert found.mate_rank.tolist() == ranks
    assert found.highest.tolist() == highest


@unhurried
@given(st.integers(0, 2**32))
def test_intervals_hold_the_rates_and_curves_rise(seed: int) -> None:
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(6), 3)
    probe, reference = all_pairs(len(subject))
    score = generator.normal(2.0 * (subject[probe] == subject[reference]))
    found = first_enrolled(score, subject, seed=0)
    assert found is not None
    assert (found.gallery_size, found.mated, found.non_mated) == (6, 12, 12)
    for row in found.fnir_at:
        assert row.fpir <= row.wanted
        assert row.fnir.low <= row.fnir.value <= row.fnir.high
    assert (np.diff(found.cmc.hits) >= 0).all()
    assert (found.cmc.low <= found.cmc.hits).all()
    assert (found.cmc.hits <= found.cmc.high).all()
    assert found.cmc.hits[-1] == 1


def test_first_samples_are_enrolled() -> None:
    # Samples 0 and 1 are of subject 0, 2 and 3 of subject 1; pairs 01 02 03 12 13 23.
    subject = np.array([0, 0, 1, 1])
    found = first_enrolled(np.array([9.0, 1, 2, 5, 3, 4]), subject, seed=0)
    assert found is not None
    # Probe 1 against 0 and 2: 9 and 5. Probe 3 against 0 and 2: 2 and 4. Both first.
    assert found.rank_1.value == 0
    # Without their own: 5 and 2. At FPIR 0 the threshold is above 5, and 3's mate at 4 is missed.
    assert found.fnir_at[-1].fnir.value == 0.5


@pytest.mark.parametrize("subject", [[0, 0], [0, 1, 2]])
def test_no_searches_without_probes_and_strangers(subject: list[int]) -> None:
    pairs = len(subject) * (len(subject) - 1) // 2
    assert first_enrolled(np.zeros(pairs), np.array(subject), seed=0) is None


def templates(folder: Path, fingers: list[int], impressions: list[int]) -> Path:
    folder.mkdir()
    for person in fingers:
        for impression in impressions:
            record = write([finger(person, impression=impression)], Format.ISO_19794_2_2005)
            (folder / f"{person}_{impression}.fmr").write_bytes(record)
    return folder


def test_folders_are_searched(tmp_path: Path) -> None:
    probes = templates(tmp_path / "probes", [0, 1, 2, 3], [2, 3])
    gallery = templates(tmp_path / "gallery", [1, 2, 3, 4, 5], [0, 1])
    (gallery / "3_0.fmr").write_bytes(b"FMR\0")
    calls: list[tuple[int, int]] = []
    found = evaluate_searches(probes, gallery, progress=lambda done, total: calls.append((done, total)))
    rates = found.identification
    assert rates is not None
    assert (rates.gallery_size, rates.gallery_size_without_mate) == (5, 5)
    assert (rates.mated, rates.non_mated) == (6, 2)
    assert rates.rank_1.value == 0  # 3 is found by its other reference
    assert (found.main.mated, found.main.mated_failed) == (12, 2)
    assert (found.main.non_mated, found.main.non_mated_failed) == (68, 6)
    assert [failure.name for failure in found.failures] == ["3_0"]
    assert calls[-1] == (8, 8)
    assert "mated searches in 5 fingers, 2 non-mated" in str(found)


def test_without_strangers_everyone_is_one_as_well(tmp_path: Path) -> None:
    probes = templates(tmp_path / "probes", [1, 2], [2])
    gallery = templates(tmp_path / "gallery", [1, 2, 3], [0])
    rates = evaluate_searches(probes, gallery).identification
    assert rates is not None
    assert (rates.mated, rates.non_mated, rates.gallery_size_without_mate) == (2, 2, 2)


def test_searches_without_a_mate_are_an_error(tmp_path: Path) -> None:
    probes = templates(tmp_path / "probes", [1], [0])
    gallery = templates(tmp_path / "gallery", [2], [0])
    with pytest.raises(ValueError, match="expected at least one probe with a mate"):
        evaluate_searches(probes, gallery)


def test_a_folder_gives_the_same_searches_as_two(tmp_path: Path) -> None:
    both = templates(tmp_path / "both", [0, 1, 2, 3], [0, 1, 2])
    probes = templates(tmp_path / "probes", [0, 1, 2, 3], [1, 2])
    gallery = templates(tmp_path / "gallery", [0, 1, 2, 3], [0])
    one, two = (
        evaluate_folder(both).findings().identification,
        evaluate_searches(probes, gallery).identification,
    )
    assert one == two
