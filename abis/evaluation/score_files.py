# SPDX-License-Identifier: Apache-2.0
"""Read and write score files: CSV, Parquet or npz files with one row for each comparison.

Columns, with the same names in all three formats:

- ``score``: a number, larger means more similar; empty, NaN or ``-inf`` for a failed comparison.
- ``probe_subject`` and ``reference_subject``, names or numbers of the subjects: a comparison is mated if both
  are equal. Or ``mated``, 0 or 1.
- ``balance``, optional: balance of the two templates, 0 to 1 (:func:`abis.comparison.balance`).
- ``probe`` and ``reference``, optional: names of the samples. In a file with ``mated`` and without subjects, samples
  that mated comparisons connect, directly or through other samples, are of one subject.

Other columns are ignored. Files are read in parts, which bounds the memory for text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError
from abis.evaluation.findings import Findings, Pair, assess, pairs_of
from abis.evaluation.folder import Evaluation
from abis.evaluation.score_tables import Column, Columns, read_columns
from abis.evaluation.scores import FAILED, Scores
from abis.scoring.calibration import Calibration
from abis.text import SafeCsv

__all__ = ["ScoreFile", "evaluate_scores", "read_scores", "write_scores"]

_HEADER = ("probe", "reference", "mated", "score", "raw")
_CHUNK = 1 << 16  # rows of text in one part, which bounds the memory
_SUBJECTS = ("probe_subject", "reference_subject")
_SAMPLES = ("probe", "reference")
_MOST_NUMBERS = 1 << 26  # greatest subject number that a lookup table is used for
_TRUTH = {"1": True, "0": False, "true": True, "false": False}


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """The comparisons of a score file.

    Attributes:
        name: name of the file.
        scores: scores of the n comparisons, with their subjects.
        subjects: number of subjects. None: the file has neither subjects nor samples, and each comparison is given
            subjects of its own.
        samples: names of the samples by number; empty if the file has no samples.
        probe: (n,) int32, sample number of each probe. None: the file has no samples.
        reference: (n,) int32, sample number of each reference. None: the file has no samples.
        balance: (n,) float64, balance of the templates. None: the file has no balances.
        calibrated: whether the scores are log10 likelihood ratios: the file has a column ``raw``, as files of
            :func:`write_scores` have.
        failed: number of comparisons without a score.
    """

    name: str
    scores: Scores
    subjects: int | None
    samples: tuple[str, ...]
    probe: npt.NDArray[np.int32] | None
    reference: npt.NDArray[np.int32] | None
    balance: npt.NDArray[np.float64] | None
    calibrated: bool
    failed: int


def read_scores(
    path: Path,
    *,
    column: Sequence[str] = ("score",),
    progress: Callable[[int, int], None] | None = None,
) -> ScoreFile:
    """Read a score file (CSV, Parquet or npz); :mod:`abis.evaluation.score_files` describes its columns.

    CSV takes 20 bytes of memory for each comparison, and more time than Parquet and npz. Parquet needs
    ``pip install abis[parquet]``.

    Args:
        path: file whose name ends in .csv, .parquet or .npz.
        column: possible names of the column of scores; the first one that the file has is read. Default: ``score``.
        progress: function that is called with the number of bytes or rows read and their total. None: no calls.

    Raises:
        FormatError: a column is missing, a value is not valid, or ``mated`` contradicts itself; the message names the
            file and the row.
        AbisError: the file is Parquet and pyarrow is not installed.
        OSError: the file cannot be read.
    """
    builder = _ScoreFileBuilder(path)
    for columns in read_columns(
        path, (*column, "score", "mated", "raw", "balance", *_SUBJECTS, *_SAMPLES), progress
    ):
        builder.extend(_with_scores_of(path, column, columns))
    return builder.finish()


def _with_scores_of(path: Path, column: Sequence[str], columns: Columns) -> Columns:
    """Return the columns, with the column of scores under the name ``score``."""
    found = next((name for name in column if name in columns), None)
    if found is None:
        raise FormatError(
            f"{path}: no column {' or '.join(map(repr, column))}; there are {', '.join(columns)}"
        )
    return columns if found == "score" else {**columns, "score": columns[found]}


def evaluate_scores(
    path: Path,
    *,
    calibration: Calibration | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Measure the error rates of a score file.

    Args:
        path: file whose name ends in .csv, .parquet or .npz; see :func:`read_scores`.
        calibration: calibration of the scores to log10 likelihood ratios. None: the scores are evaluated as they are.
        seed: seed of the bootstrap.
        progress: function that is called with the number of bytes or rows read and their total. None: no calls.

    Raises:
        FormatError: the file is not a valid score file; see :func:`read_scores`.
        AbisError: the file is Parquet and pyarrow is not installed.
        OSError: the file cannot be read.
        ValueError: there is no mated or no non-mated comparison, or ``calibration`` is given and the scores are
            likelihood ratios already.
    """
    file = read_scores(path, progress=progress)
    scores = file.scores
    if calibration is not None:
        if file.calibrated:
            raise ValueError(f"{path}: scores are likelihood ratios already; omit the calibration")
        made = scores.score > FAILED
        score = np.full(len(scores), FAILED)
        score[made] = calibration.llr(
            scores.score[made], None if file.balance is None else file.balance[made]
        )
        scores = Scores(score, scores.probe_subject, scores.reference_subject)
    calibrated = file.calibrated or calibration is not None
    protocol, cllr, min_cllr = assess(
        "score file", scores, calibrated=calibrated, calibration=calibration, seed=seed
    )
    probe, reference = file.probe, file.reference
    worst: tuple[Pair, ...] = ()
    if probe is not None and reference is not None:
        worst = pairs_of(
            file.samples,
            None,
            lambda place: (int(probe[place]), int(reference[place])),
            scores,
            protocol.summary.rates,
        )
    return Findings(
        name=path.name,
        compared="the pairs of a score file",
        unit="comparisons" if file.subjects is None else "subjects",
        samples=len(file.samples) or None,
        subjects=file.subjects,
        from_files=False,
        failures=(),
        ignored=(),
        protocols=(protocol,),
        calibrated=calibrated,
        cllr=cllr,
        min_cllr=min_cllr,
        worst=worst,
    )


def write_scores(path: Path, evaluation: Evaluation, *, all_pairs: bool = False) -> int:
    """Write the scores of an evaluation as CSV, and return the number of rows.

    Columns: ``probe`` and ``reference`` (names of files without ending), ``mated`` (0 or 1), ``score`` (log10
    likelihood ratio) and ``raw`` (comparison score), without loss of digits; ``-inf`` if a template could not be read.
    Comparisons of fingers and voices also have ``balance``. Without a calibration, ``score`` is the comparison score,
    and there is no column ``raw``.

    Args:
        path: CSV file to write; an existing file is replaced.
        evaluation: the evaluation of a folder.
        all_pairs: True: write every unordered pair. False (default): write the pairs of the FVC protocol.

    Raises:
        OSError: the file cannot be written.
    """
    names = [sample.name for sample in evaluation.data_set.samples]
    chosen = np.arange(len(evaluation.raw)) if all_pairs else np.flatnonzero(evaluation.fvc)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = SafeCsv(file, numbers=True)
        balance = evaluation.balance
        header = _HEADER if evaluation.calibrated else _HEADER[:-1]
        table.row(header if balance is None else (*header, "balance"))
        columns: list[npt.NDArray[Any]] = [
            *(evaluation.probe, evaluation.reference, evaluation.mated, evaluation.score),
            *((evaluation.raw,) if evaluation.calibrated else ()),
            *(() if balance is None else (balance,)),
        ]
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            table.rows(
                (names[probe], names[reference], int(mated), *_nine_digits(scores, raw=evaluation.calibrated))
                for probe, reference, mated, *scores in zip(
                    *(column[part].tolist() for column in columns), strict=True
                )
            )
    return len(chosen)


def _nine_digits(scores: Sequence[float], *, raw: bool) -> Iterator[float]:
    """The scores of a row; the second is float32 where it is raw."""
    for place, score in enumerate(scores):
        yield float(f"{score:.9g}") if raw and place == 1 else score


# --- reading ------------------------------------------------------------------------------------------------


class _ScoreFileBuilder:
    """Collects the parts of a score file, and replaces names of subjects and samples by numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.numbers: dict[str, dict[str, int]] = {"subject": {}, "sample": {}}
        self.parts: dict[str, list[npt.NDArray[Any]]] = {}
        self.calibrated = False

    def extend(self, columns: Columns) -> None:
        """Check the columns of the next rows, and keep those that a :class:`ScoreFile` needs."""
        if self.rows == 0:
            self._check_header(columns)
        kept: dict[str, npt.NDArray[Any]] = {"score": self._scores(columns["score"])}
        if "balance" in columns:
            kept["balance"] = self._balances(columns["balance"], made=kept["score"] != FAILED)
        if all(name in columns for name in _SUBJECTS):
            kept |= {name: self._numbered("subject", columns[name]) for name in _SUBJECTS}
        else:
            kept["mated"] = self._truth(columns["mated"])
        if all(name in columns for name in _SAMPLES):
            kept |= {name: self._numbered("sample", columns[name]) for name in _SAMPLES}
        for name, part in kept.items():
            self.parts.setdefault(name, []).append(part)
        self.rows += len(kept["score"])

    def finish(self) -> ScoreFile:
        """Return all parts as one score file."""
        if self.rows == 0:
            raise FormatError(f"{self.path}: no comparison; expected at least one row")
        if all((part == FAILED).all() for part in self.parts["score"]):
            raise FormatError(f"{self.path}: none of its {self.rows} comparisons has a score")
        columns = {name: self._joined(name) for name in tuple(self.parts)}
        probe, reference = columns.get("probe"), columns.get("reference")
        if "probe_subject" in columns:
            *sides, subjects = _dense(columns.pop("probe_subject"), columns.pop("reference_subject"))
        elif probe is not None and reference is not None:
            *sides, subjects = _dense(*self._joined_by_mates(probe, reference, columns["mated"]))
        else:
            number = np.arange(self.rows, dtype=np.uint32)
            sides = [number, np.where(columns["mated"], number, number + np.uint32(self.rows))]
            subjects = None
        return ScoreFile(
            name=self.path.name,
            scores=Scores(columns["score"], *sides),
            subjects=subjects,
            samples=tuple(self.numbers["sample"]),
            probe=probe,
            reference=reference,
            balance=columns.get("balance"),
            calibrated=self.calibrated,
            failed=int(np.isneginf(columns["score"]).sum()),
        )

    def _joined(self, name: str) -> npt.NDArray[Any]:
        parts = self.parts.pop(name)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _check_header(self, columns: Columns) -> None:
        if "score" not in columns:
            raise FormatError(f"{self.path}: no column 'score'; there are {', '.join(columns)}")
        if not ("mated" in columns or all(name in columns for name in _SUBJECTS)):
            raise FormatError(
                f"{self.path}: no column states which comparisons are mated; expected a column 'mated', or "
                f"'probe_subject' and 'reference_subject'; there are {', '.join(columns)}"
            )
        self.calibrated = "raw" in columns

    def _scores(self, column: Column) -> npt.NDArray[np.floating[Any]]:
        score = self._numbers("score", column)
        score[np.isnan(score)] = FAILED
        if np.isposinf(score).any():
            row = self.rows + int(np.flatnonzero(np.isposinf(score))[0])
            raise FormatError(
                f"{self.path}, row {row + 1}: score is inf; expected a finite score, or none if it failed"
            )
        return score

    def _balances(self, column: Column, *, made: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        balance = self._numbers("balance", column).astype(np.float64)
        balance[~made] = 0
        if (wrong := np.flatnonzero(~((balance >= 0) & (balance <= 1)))).size:
            raise FormatError(
                f"{self.path}, row {self.rows + wrong[0] + 1}: balance is {balance[wrong[0]]}; expected 0 to 1"
            )
        return balance

    def _numbers(self, name: str, column: Column) -> npt.NDArray[np.floating[Any]]:
        """Return a column as numbers; NaN for an empty value."""
        if isinstance(column, np.ndarray) and column.dtype.kind in "iuf":
            return column.astype(np.float32 if column.dtype == np.float32 else np.float64)
        return np.array([self._number(name, row, text) for row, text in enumerate(column)])

    def _number(self, name: str, row: int, text: Any) -> float:
        try:
            return float(text) if text not in ("", None) else math.nan
        except (TypeError, ValueError):
            raise FormatError(
                f"{self.path}, row {self.rows + row + 1}: {name} is {text!r}; expected a number"
            ) from None

    def _truth(self, column: Column) -> npt.NDArray[np.bool_]:
        if isinstance(column, np.ndarray) and (
            column.dtype == np.bool_ or (column.dtype.kind in "iuf" and np.isin(column, (0, 1)).all())
        ):
            return column.astype(np.bool_)
        truth = np.empty(len(column), np.bool_)
        for row, text in enumerate(column):
            known = _TRUTH.get(str(text).strip().lower())
            if known is None:
                raise FormatError(
                    f"{self.path}, row {self.rows + row + 1}: mated is {str(text)!r}; expected 0 or 1"
                )
            truth[row] = known
        return truth

    def _numbered(self, kind: str, column: Column) -> npt.NDArray[np.integer[Any]]:
        if isinstance(column, np.ndarray) and column.dtype.kind == "f":
            raise FormatError(
                f"{self.path}: {kind}s are {column.dtype}; expected names or whole numbers, none missing"
            )
        if isinstance(column, np.ndarray) and column.dtype.kind in "iu" and kind == "subject":
            return column  # a number already
        numbers = self.numbers[kind]
        if isinstance(column, np.ndarray) and column.dtype.kind in "iuUS":
            values, place = np.unique(column, return_inverse=True)
            own = [numbers.setdefault(str(value), len(numbers)) for value in values.tolist()]
            return np.array(own, np.int32)[place]
        return np.array([numbers.setdefault(str(value), len(numbers)) for value in column], np.int32)

    def _joined_by_mates(
        self, probe: npt.NDArray[np.int32], reference: npt.NDArray[np.int32], mated: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return subject numbers, where samples that mated comparisons connect are of one subject."""
        from scipy.sparse import coo_array  # noqa: PLC0415 - a while to import
        from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

        n = len(self.numbers["sample"])
        edges = (np.ones(int(mated.sum()), np.bool_), (probe[mated], reference[mated]))
        subject = connected_components(coo_array(edges, shape=(n, n)), directed=False)[1].astype(np.int32)
        subjects = (subject[probe], subject[reference])
        if (wrong := np.flatnonzero((subjects[0] == subjects[1]) & ~mated)).size:
            names = tuple(self.numbers["sample"])
            pair = f"{names[probe[wrong[0]]]} and {names[reference[wrong[0]]]}"
            raise FormatError(
                f"{self.path}, row {wrong[0] + 1}: {pair} are not mated, but mated rows connect them as one subject"
            )
        return subjects


def _dense(
    probe: npt.NDArray[np.integer[Any]], reference: npt.NDArray[np.integer[Any]]
) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.integer[Any]], int]:
    """Renumber the subjects of both sides from 0 without gaps, in the smallest dtype; also return their number."""
    low, high = (int(end) for end in (min(probe.min(), reference.min()), max(probe.max(), reference.max())))
    if low < 0 or high >= _MOST_NUMBERS:  # such as numbers of identity cards
        values, place = np.unique(np.concatenate([probe, reference]), return_inverse=True)
        small = place.astype(np.min_scalar_type(len(values)))
        return small[: len(probe)], small[len(probe) :], len(values)
    present = np.zeros(high + 1, dtype=bool)
    present[probe] = present[reference] = True
    subjects = int(present.sum())
    number = (np.cumsum(present) - 1).astype(np.min_scalar_type(subjects))
    return number[probe], number[reference], subjects
