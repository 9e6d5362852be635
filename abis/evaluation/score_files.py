# SPDX-License-Identifier: Apache-2.0
"""Score files: one row a comparison, as CSV, Parquet or npz; written, and read in bounded memory.

Columns, of the same names in all three:

- ``score``: a number, larger = more alike; empty, NaN or ``-inf`` where the comparison failed.
- The truth, in one of two ways: ``probe_subject`` and ``reference_subject``, whose equality makes a comparison
  mated; or ``mated``, 0 or 1.
- ``probe`` and ``reference``: names of the samples; where only ``mated`` says what is true, samples that mated
  comparisons join, directly or by others, are of one subject.

Other columns are left alone.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from abis.calibration import Calibration
from abis.errors import AbisError, FormatError
from abis.evaluation.archives import open_npz
from abis.evaluation.findings import Findings, Pair, assess, pairs_of
from abis.evaluation.folder import Evaluation
from abis.evaluation.scores import FAILED, Scores

__all__ = ["ENDINGS", "ScoreFile", "evaluate_scores", "read_scores", "write_scores"]

ENDINGS = (".csv", ".parquet", ".npz")

_HEADER = ("probe", "reference", "mated", "score", "raw")
_CHUNK = 1 << 16  # rows turned into or made from text at a time, so that memory stays bounded
_SUBJECTS = ("probe_subject", "reference_subject")
_SAMPLES = ("probe", "reference")
_TRUTH = {"1": True, "0": False, "true": True, "false": False}

Column: TypeAlias = Sequence[Any] | npt.NDArray[Any]
Columns: TypeAlias = Mapping[str, Column]


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """The comparisons of a score file.

    Attributes:
        name: of the file.
        scores: and whose templates were compared.
        samples: the names of samples, by number; empty where the file does not say.
        probe, reference: (n,) int32 numbers of samples, or None.
        drawn: what the bootstrap is to draw: "subjects", or "comparisons" where the file tells nothing of
            subjects, and every comparison has two of its own.
        calibrated: whether the scores are log10 likelihood ratios: files that abis wrote have a column
            ``raw`` beside them.
        failed: comparisons without a score.
    """

    name: str
    scores: Scores
    samples: tuple[str, ...]
    probe: npt.NDArray[np.int32] | None
    reference: npt.NDArray[np.int32] | None
    drawn: str
    calibrated: bool
    failed: int


def read_scores(path: Path, *, progress: Callable[[int, int], None] | None = None) -> ScoreFile:
    """Read a score file; what its columns are stands at the head of this module.

    CSV needs 20 bytes of memory a comparison and takes some seconds a million; Parquet (needs
    ``pip install abis[parquet]``) and npz are quick.

    Args:
        path: ends in .csv, .parquet or .npz.
        progress: called with the bytes or rows read, and their total.

    Raises:
        FormatError: naming the file, the row and what is wrong with it; where ``mated`` contradicts itself.
        AbisError: where pyarrow is missing.
        OSError: where the file cannot be read.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FormatError(f"{path}: no score file; expected a name that ends in {', '.join(ENDINGS)}")
    builder = _Builder(path)
    for columns in reader(path, progress):
        builder.extend(columns)
    return builder.finish()


def evaluate_scores(
    path: Path,
    *,
    calibration: Calibration | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """The error rates of a score file.

    Args:
        path: see :func:`read_scores`.
        calibration: turns its scores into log10 likelihood ratios; none is needed for files that abis wrote.
        seed: of the bootstrap.
        progress: as in :func:`read_scores`.

    Raises:
        FormatError, AbisError, OSError: as :func:`read_scores`.
        ValueError: where all comparisons are mated or none is; where a calibration is given for scores that
            are likelihood ratios already.
    """
    file = read_scores(path, progress=progress)
    scores = file.scores
    if calibration is not None:
        if file.calibrated:
            raise ValueError(f"{path}: scores are likelihood ratios already; give no calibration for them")
        made = scores.score > FAILED
        score = np.full(len(scores), FAILED)
        score[made] = calibration.llr(scores.score[made])
        scores = Scores(score, scores.probe_subject, scores.reference_subject)
    calibrated = file.calibrated or calibration is not None
    protocol, cllr, min_cllr = assess("score file", scores, calibrated=calibrated, seed=seed)
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
    subjects = None
    if file.drawn == "subjects":
        subjects = len(np.union1d(np.unique(scores.probe_subject), np.unique(scores.reference_subject)))
    return Findings(
        name=path.name,
        compared="the pairs of a score file",
        unit=file.drawn,
        samples=len(file.samples) or None,
        subjects=subjects,
        failures=(),
        ignored=(),
        protocols=(protocol,),
        calibrated=calibrated,
        cllr=cllr,
        min_cllr=min_cllr,
        worst=worst,
    )


def write_scores(path: Path, evaluation: Evaluation, *, all_pairs: bool = False) -> int:
    """Write the scores of the FVC protocol, or of every unordered pair, as CSV; returns how many.

    Columns: ``probe`` and ``reference`` (file stems), ``mated`` (0 or 1), ``score`` (log10 likelihood
    ratio) and ``raw`` (comparison score), both with all their digits; ``-inf`` where a template failed to
    be read.
    """
    names = [sample.name for sample in evaluation.data_set.samples]
    chosen = np.arange(len(evaluation.raw)) if all_pairs else np.flatnonzero(evaluation.fvc)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_HEADER)
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            table.writerows(
                (names[probe], names[reference], int(mated), score, f"{raw:.9g}")
                for probe, reference, mated, score, raw in zip(
                    evaluation.probe[part].tolist(),
                    evaluation.reference[part].tolist(),
                    evaluation.mated[part].tolist(),
                    evaluation.score[part].tolist(),
                    evaluation.raw[part].tolist(),
                    strict=True,
                )
            )
    return len(chosen)


# --- reading ------------------------------------------------------------------------------------------------


class _Builder:
    """Puts the parts of a file together, names as numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.numbers: dict[str, dict[str, int]] = {"subject": {}, "sample": {}}
        self.parts: dict[str, list[npt.NDArray[Any]]] = {}
        self.calibrated = False

    def extend(self, columns: Columns) -> None:
        """Check the columns of some rows, and keep what is needed of them."""
        if self.rows == 0:
            self._check_header(columns)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise FormatError(f"{self.path}: columns of different lengths: {lengths}")
        kept: dict[str, npt.NDArray[Any]] = {"score": self._scores(columns["score"])}
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
        """All parts as one."""
        if self.rows == 0:
            raise FormatError(f"{self.path}: holds no comparison")
        columns = {name: self._joined(name) for name in tuple(self.parts)}
        score = columns["score"]
        failed = np.isneginf(score)
        probe, reference = columns.get("probe"), columns.get("reference")
        drawn = "subjects"
        if "probe_subject" in columns:
            subjects = (columns["probe_subject"], columns["reference_subject"])
        elif probe is not None and reference is not None:
            subjects = self._joined_by_mates(probe, reference, columns["mated"])
        else:
            drawn = "comparisons"
            number = np.arange(len(score), dtype=np.uint32)
            subjects = (number, np.where(columns["mated"], number, number + np.uint32(len(score))))
        return ScoreFile(
            name=self.path.name,
            scores=Scores(score, *subjects),
            samples=tuple(self.numbers["sample"]),
            probe=probe,
            reference=reference,
            drawn=drawn,
            calibrated=self.calibrated,
            failed=int(failed.sum()),
        )

    def _joined(self, name: str) -> npt.NDArray[Any]:
        parts = self.parts.pop(name)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _check_header(self, columns: Columns) -> None:
        if "score" not in columns:
            raise FormatError(f"{self.path}: no column 'score'; there are {', '.join(columns)}")
        if not ("mated" in columns or all(name in columns for name in _SUBJECTS)):
            raise FormatError(
                f"{self.path}: nothing says which comparisons are mated; expected a column 'mated', or "
                f"'probe_subject' and 'reference_subject'; there are {', '.join(columns)}"
            )
        self.calibrated = "raw" in columns

    def _scores(self, column: Column) -> npt.NDArray[np.floating[Any]]:
        score: npt.NDArray[np.floating[Any]]
        if isinstance(column, np.ndarray) and column.dtype.kind in "iuf":
            score = column.astype(np.float32 if column.dtype == np.float32 else np.float64)
        else:
            score = np.array([self._number(row, text) for row, text in enumerate(column)])
        score[np.isnan(score)] = FAILED
        if np.isposinf(score).any():
            row = self.rows + int(np.flatnonzero(np.isposinf(score))[0])
            raise FormatError(f"{self.path}, row {row + 1}: score is inf; expected a finite one, or none")
        return score

    def _number(self, row: int, text: Any) -> float:
        try:
            return float(text) if text not in ("", None) else math.nan
        except (TypeError, ValueError):
            raise FormatError(
                f"{self.path}, row {self.rows + row + 1}: score is {text!r}; expected a number"
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

    def _numbered(self, kind: str, column: Column) -> npt.NDArray[np.int32]:
        numbers = self.numbers[kind]
        if isinstance(column, np.ndarray) and column.dtype.kind == "f":
            raise FormatError(
                f"{self.path}: the {kind}s are {column.dtype}; expected names or whole numbers, none missing"
            )
        if isinstance(column, np.ndarray) and column.dtype.kind in "iuUS":
            values, place = np.unique(column, return_inverse=True)
            own = [numbers.setdefault(str(value), len(numbers)) for value in values.tolist()]
            return np.array(own, np.int32)[place]
        return np.array([numbers.setdefault(str(value), len(numbers)) for value in column], np.int32)

    def _joined_by_mates(
        self, probe: npt.NDArray[np.int32], reference: npt.NDArray[np.int32], mated: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Subjects as the sets of samples that mated comparisons join."""
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
                f"{self.path}, row {wrong[0] + 1}: {pair} are not mated, but other rows make them one subject's"
            )
        return subjects


def _read_csv(path: Path, progress: Callable[[int, int], None] | None) -> Iterator[Columns]:
    with path.open("rb") as raw:
        total = path.stat().st_size
        lines = (line.decode("utf-8-sig" if number == 0 else "utf-8") for number, line in enumerate(raw))
        table = csv.reader(lines)
        try:
            header = [name.strip() for name in next(table, [])]
            for rows in _chunks(table):
                if short := next((i for i, row in enumerate(rows) if len(row) != len(header)), None):
                    last = table.line_num - len(rows) + short + 1
                    raise FormatError(
                        f"{path}, line {last}: {len(rows[short])} columns; expected {len(header)}"
                    )
                yield dict(zip(header, zip(*rows, strict=True), strict=True))
                if progress is not None:
                    progress(raw.tell() if raw.seekable() else 0, total)
        except (csv.Error, UnicodeDecodeError) as error:
            raise FormatError(f"{path}, line {table.line_num + 1}: {error}") from error


def _chunks(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    chunk = []
    for row in rows:
        if row:
            chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _read_parquet(path: Path, progress: Callable[[int, int], None] | None) -> Iterator[Columns]:
    parquet = _pyarrow_parquet()
    try:
        file = parquet.ParquetFile(path)
    except ValueError as error:  # pyarrow's errors are
        raise FormatError(f"{path}: {error}") from error
    known = {"score", "mated", "raw", *_SUBJECTS, *_SAMPLES}
    wanted = [name for name in file.schema_arrow.names if name in known]
    done = 0
    for batch in file.iter_batches(batch_size=1 << 20, columns=wanted):
        done += batch.num_rows
        yield {name: batch.column(name).to_numpy(zero_copy_only=False) for name in wanted}
        if progress is not None:
            progress(done, file.metadata.num_rows)


def _pyarrow_parquet() -> ModuleType:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise AbisError("Parquet files need pyarrow: pip install abis[parquet]") from None
    return parquet  # type: ignore[no-any-return]


def _read_npz(path: Path, progress: Callable[[int, int], None] | None) -> Iterator[Columns]:
    with open_npz(path) as archive:
        columns = {name: archive[name] for name in archive.files}
    for name, column in columns.items():
        if column.ndim != 1:
            raise FormatError(f"{path}: {name} is of shape {column.shape}; expected (n,)")
    yield columns
    if progress is not None:
        progress(1, 1)
