# SPDX-License-Identifier: Apache-2.0
"""Score files in three formats, and embeddings: the same content is read, and errors say what is wrong and where."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abis.errors import FormatError
from abis.evaluation import evaluate_embeddings, evaluate_scores, read_scores
from abis.evaluation.embeddings import all_scores, read_embeddings
from abis.evaluation.protocols import all_pairs
from abis.scoring.calibration import shipped

COLUMNS = {
    "probe": ["a1", "a1", "b1", "a2"],
    "reference": ["a2", "b1", "b2", "b2"],
    "mated": [1, 0, 1, 0],
    "score": [3.5, -1.0, np.nan, 0.25],
}


def save(path: Path, columns: dict[str, list[object]]) -> Path:
    """As CSV, Parquet or npz, by the name's ending."""
    match path.suffix:
        case ".csv":
            with path.open("w", newline="") as file:
                table = csv.writer(file)
                table.writerow(columns)
                table.writerows(zip(*columns.values(), strict=True))
        case ".parquet":
            import pyarrow as pa  # noqa: PLC0415 - an extra
            from pyarrow import parquet  # noqa: PLC0415

            parquet.write_table(pa.table(columns), path, row_group_size=2)
        case ".npz":
            np.savez(path, **{name: np.array(column) for name, column in columns.items()})  # type: ignore[arg-type]
    return path


ENDINGS = pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])


@ENDINGS
def test_names_and_truth_make_subjects(tmp_path: Path, ending: str) -> None:
    file = read_scores(save(tmp_path / f"scores{ending}", COLUMNS))  # type: ignore[arg-type]
    assert file.scores.score.tolist() == [3.5, -1, -np.inf, 0.25]
    assert file.scores.mated.tolist() == [True, False, True, False]
    # a1 and a2 are one subject by the first row, b1 and b2 by the third: so the last row's are a and b.
    assert len(np.unique([file.scores.probe_subject, file.scores.reference_subject])) == 2
    assert (file.subjects, file.calibrated, file.failed) == (2, False, 1)
    assert [file.samples[i] for i in file.probe] == COLUMNS["probe"]  # type: ignore[union-attr]


@ENDINGS
@pytest.mark.parametrize("names", [["x", "y", "x"], [7, 9, 7], [7, -9, 7], [10**12, 7, 10**12]])
def test_subjects_may_be_named_or_numbered(tmp_path: Path, ending: str, names: list[object]) -> None:
    columns = {
        "probe_subject": names,
        "reference_subject": [names[0]] * 3,
        "score": [1.0, 2.0, 3.0],
    }
    file = read_scores(save(tmp_path / f"scores{ending}", columns))  # type: ignore[arg-type]
    assert file.scores.mated.tolist() == [True, False, True]
    assert file.subjects == 2
    assert file.scores.probe_subject.max() == 1


@ENDINGS
def test_without_names_comparisons_stand_alone(tmp_path: Path, ending: str) -> None:
    columns = {name: COLUMNS[name] for name in ("mated", "score")}
    file = read_scores(save(tmp_path / f"scores{ending}", columns))  # type: ignore[arg-type]
    assert file.scores.mated.tolist() == [True, False, True, False]
    assert file.subjects is None
    assert len(np.unique([file.scores.probe_subject, file.scores.reference_subject])) == 6


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.booleans()), min_size=1, max_size=60))
def test_all_formats_are_read_alike(tmp_path: Path, rows: list[tuple[float, bool]]) -> None:
    columns: dict[str, list[object]] = {
        "score": [row[0] for row in rows],
        "mated": [int(row[1]) for row in rows],
    }
    first, *others = (
        read_scores(save(tmp_path / f"scores{ending}", columns)) for ending in (".csv", ".parquet", ".npz")
    )
    assert first.scores.score.tolist() == columns["score"]
    for other in others:
        np.testing.assert_array_equal(other.scores.score, first.scores.score)
        np.testing.assert_array_equal(other.scores.mated, first.scores.mated)


def test_large_files_are_read_in_parts(tmp_path: Path) -> None:
    n = 150_000
    generator = np.random.default_rng(0)
    columns: dict[str, list[object]] = {
        "probe_subject": generator.integers(300, size=n).tolist(),
        "reference_subject": generator.integers(300, size=n).tolist(),
        "score": generator.normal(size=n).tolist(),
    }
    calls: list[tuple[int, int]] = []
    file = read_scores(
        save(tmp_path / "scores.csv", columns), progress=lambda done, total: calls.append((done, total))
    )
    assert len(file.scores) == n
    assert len(calls) == 3
    same = read_scores(save(tmp_path / "scores.npz", columns))
    np.testing.assert_array_equal(file.scores.score, same.scores.score)
    np.testing.assert_array_equal(file.scores.mated, same.scores.mated)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no comparison; expected at least one row"),
        ("score,mated\n", "no comparison; expected at least one row"),
        ("raw,mated\n1,1\n", "no column 'score'; there are raw, mated"),
        ("score,probe\n1,a\n", "no column states which comparisons are mated"),
        ("score,mated\n1,1\nx,0\n", "row 2: score is 'x'"),
        ("score,mated\n1,1\n1,maybe\n", "row 2: mated is 'maybe'"),
        ("score,mated\n1,1\ninf,0\n", "row 2: score is inf"),
        ("score,mated\n1,1\n2\n", "line 3: 1 columns; expected 2"),
        ("probe,reference,score,mated\na,b,1,1\nb,c,1,1\na,c,1,0\n", "row 3: a and c are not mated, but"),
    ],
)
def test_bad_score_files_say_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=f"scores.csv.*{message}"):
        read_scores(path)


@pytest.mark.parametrize("name", ["scores.parquet", "scores.npz"])
def test_what_is_no_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FormatError, match=name):
        read_scores(path)
    with pytest.raises(FormatError, match="is not a score file"):
        read_scores(tmp_path / "scores.txt")


def test_arrays_must_be_of_one_length(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"score \(3,\), mated \(2,\); expected \(n,\) each"):
        read_scores(save(tmp_path / "scores.npz", {"score": [1.0, 2, 3], "mated": [0, 1]}))
    with pytest.raises(FormatError, match="no array 'score'; there are x"):
        read_scores(save(tmp_path / "scores.npz", {"x": [1.0]}))
    with pytest.raises(FormatError, match="no column 'score'; there are x"):
        read_scores(save(tmp_path / "scores.parquet", {"x": [1.0]}))


def test_missing_subjects_are_refused(tmp_path: Path) -> None:
    columns = {"probe_subject": [1, None], "reference_subject": [1, 2], "score": [1.0, 2.0]}
    with pytest.raises(FormatError, match="expected names or whole numbers, none missing"):
        read_scores(save(tmp_path / "scores.parquet", columns))  # type: ignore[arg-type]


def test_parquet_names_the_extra_it_needs(tmp_path: Path) -> None:
    path = save(tmp_path / "scores.parquet", COLUMNS)  # type: ignore[arg-type]
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\nfrom abis.errors import AbisError\nfrom abis.evaluation import read_scores\n"
        "try:\n    read_scores(Path(sys.argv[1]))\nexcept AbisError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "pip install abis[parquet]" in output


def some_scores(tmp_path: Path, **more: list[object]) -> Path:
    generator = np.random.default_rng(1)
    mated = [int(i % 3 == 0) for i in range(300)]
    score = (generator.normal(size=300) + 4 * np.array(mated)).tolist()
    return save(tmp_path / "scores.csv", {"score": score, "mated": mated} | more)


def test_a_calibration_makes_likelihood_ratios(tmp_path: Path) -> None:
    path = some_scores(tmp_path)
    calibration = shipped("minutiae")
    plain, calibrated = evaluate_scores(path), evaluate_scores(path, calibration=calibration)
    assert plain.main.eer.value == calibrated.main.eer.value
    assert (plain.cllr, plain.main.claims) == (None, ())
    assert calibrated.cllr is not None
    assert calibrated.cllr >= calibrated.min_cllr == pytest.approx(plain.min_cllr)
    assert len(calibrated.main.claims) == 7
    raw = calibration.llr(plain.main.rates.mated)
    np.testing.assert_array_equal(calibrated.main.rates.mated, raw)


def test_likelihood_ratios_are_not_calibrated_again(tmp_path: Path) -> None:
    path = some_scores(tmp_path, raw=[0.0] * 300)
    assert evaluate_scores(path).cllr is not None
    with pytest.raises(ValueError, match="already"):
        evaluate_scores(path, calibration=shipped("minutiae"))


# --- embeddings ------------------------------------------------------------------------------------------


def embeddings(tmp_path: Path, **changes: object) -> Path:
    generator = np.random.default_rng(4)
    person = np.repeat(np.arange(5), 3)
    vectors = generator.normal(size=(5, 16))[person] + 0.3 * generator.normal(size=(15, 16))
    names = [f"Ann_{p}_{i % 3:04}" for i, p in enumerate(person)]
    path = tmp_path / "faces.npz"
    np.savez(path, **{"embeddings": vectors, "names": names} | changes)  # type: ignore[arg-type]
    return path


def test_embeddings_are_compared_with_each_other(tmp_path: Path) -> None:
    path = embeddings(tmp_path)
    images = read_embeddings(path)
    assert images.people == tuple(f"Ann_{p}" for p in range(5))
    scores = all_scores(images)
    probe, reference = all_pairs(15)
    assert (scores.probe_subject == images.person[probe]).all()
    assert (scores.reference_subject == images.person[reference]).all()
    found = evaluate_embeddings(path)
    assert (found.main.mated, found.main.non_mated) == (15, 90)
    assert found.identification is not None
    assert found.identification.rank_1.value == 0
    by_name = {(pair.probe, pair.reference): pair.score for pair in found.worst}
    place = {name: i for i, name in enumerate(images.names)}
    for (first, second), score in by_name.items():
        pair = int(np.flatnonzero((probe == place[first]) & (reference == place[second]))[0])
        assert scores.score[pair] == pytest.approx(score)


def test_listed_pairs_of_embeddings_are_compared(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("2\t1\nAnn_0\t0\t1\nAnn_1\t0\tAnn_2\t1\nAnn_3\t1\t2\nAnn_4\t0\tAnn_0\t2\n")
    found = evaluate_embeddings(embeddings(tmp_path), pairs=pairs)
    assert (found.main.mated, found.main.non_mated) == (2, 2)
    assert found.accuracy is not None
    assert (found.accuracy.mean, found.accuracy.folds) == (1, 2)
    np.savez(tmp_path / "other.npz", **{**np.load(embeddings(tmp_path)), "identity": ["Ann"] * 15})
    with pytest.raises(
        FormatError, match="Ann_1_0000 and Ann_2_0001 are listed as non-mated; expected mated, as in other"
    ):
        evaluate_embeddings(tmp_path / "other.npz", pairs=pairs)
    pairs.write_text("1\t1\nAnn_0\t0\t9\nAnn_1\t0\tAnn_2\t1\n")
    with pytest.raises(FormatError, match="'Ann_0_0009'"):
        evaluate_embeddings(embeddings(tmp_path), pairs=pairs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["a_1"]}, "expected .n, d. floating-point numbers and n names"),
        ({"embeddings": np.zeros((15, 4))}, "embedding 0, Ann_0_0000, has length 0"),
        ({"embeddings": np.zeros(15)}, "shape .15,."),
        ({"identity": ["a"]}, "1 identities; expected one for each of 15"),
    ],
)
def test_bad_embeddings_say_why(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_embeddings(embeddings(tmp_path, **changes))


def test_other_archives_are_no_embeddings(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", score=np.zeros(3))
    with pytest.raises(FormatError, match="no array named embeddings or names"):
        read_embeddings(tmp_path / "x.npz")


def test_balances_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("probe,reference,mated,score,balance\na,b,1,3.5,0.75\na,c,0,,\nb,c,0,-1,1\n")
    np.testing.assert_array_equal(read_scores(path).balance, [0.75, 0, 1])
    for wrong in ("1.5", "nan", "-0.1", ""):
        path.write_text(f"probe,reference,mated,score,balance\na,b,1,3.5,{wrong}\n")
        with pytest.raises(FormatError, match="row 1: balance is"):
            read_scores(path)
    path.write_text("probe,reference,mated,score,balance\na,b,1,3.5,much\n")
    with pytest.raises(FormatError, match="balance is 'much'; expected a number"):
        read_scores(path)
