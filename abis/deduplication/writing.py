# SPDX-License-Identifier: Apache-2.0
"""Write pairs to a Parquet, CSV or JSON file, chosen by the name's ending. Equal results give equal files."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from abis.deduplication.results import DuplicatePair, Duplicates
from abis.errors import AbisError
from abis.files import write_whole
from abis.template import Position
from abis.text import SafeCsv

__all__ = ["ENDINGS", "check_ending", "write_duplicates"]

_COLUMNS = ("cluster", "family", "other_family", "subject_id", "other_id", "score", "threshold", "weak")


def write_duplicates(duplicates: Duplicates, path: Path) -> None:
    """Write one row for each pair, in the order to look at them.

    Args:
        duplicates: result of a de-duplication.
        path: ``NAME.parquet``, ``NAME.csv`` or ``NAME.json``.

    Raises:
        AbisError: the name has another ending, or pyarrow is missing.
        OSError: the file cannot be written.
    """
    check_ending(path)
    write_whole(path, ENDINGS[path.suffix.lower()](duplicates))


def check_ending(path: Path) -> None:
    """Refuse a name whose ending is no known format, or one whose library is missing."""
    if path.suffix.lower() not in ENDINGS:
        raise AbisError(f"{path}: expected a name that ends in {', '.join(ENDINGS)}")
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def _rows(duplicates: Duplicates) -> list[tuple[DuplicatePair, dict[str, Any]]]:
    rows = []
    for cluster in duplicates.clusters:
        family = {subject: number for number, own in enumerate(cluster.families, 1) for subject in own}
        for p in cluster.pairs:
            of = (p.cluster, family[p.subject_id], family[p.other_id])
            columns = (*of, p.subject_id, p.other_id, p.score, p.threshold, p.is_weak)
            rows.append((p, dict(zip(_COLUMNS, columns, strict=True))))
    return rows


def _evidence(pair: DuplicatePair) -> list[dict[str, Any]]:
    return [
        {
            "position": e.position.name,
            "score": e.score,
            "raw": e.raw,
            "encounter_id": e.encounter_id,
            "reference_position": e.reference_position.name,
        }
        for e in pair.evidence
    ]


def _about(duplicates: Duplicates) -> dict[str, Any]:
    return {
        "gallery_size": duplicates.gallery_size,
        "searched": duplicates.searched,
        "fpir": duplicates.fpir,
        "change": duplicates.change,
    }


def _json(duplicates: Duplicates) -> bytes:
    pairs = [row | {"evidence": _evidence(pair)} for pair, row in _rows(duplicates)]
    text = json.dumps(_about(duplicates) | {"pairs": pairs}, indent=1, ensure_ascii=False)
    return (text + "\n").encode()


def _csv(duplicates: Duplicates) -> bytes:
    """A column for each position that was compared; empty for pairs that lack it.

    Ids that a spreadsheet would take for formulas are escaped.
    """
    rows = _rows(duplicates)
    positions = [p.name for p in sorted({Position(e.position) for pair, _ in rows for e in pair.evidence})]
    stream = StringIO(newline="")
    header = [*_COLUMNS, *positions]
    writer = SafeCsv(stream)
    writer.row(header)
    for pair, row in rows:
        own = {e.position.name: e.score for e in pair.evidence}
        cells = row | own | {"weak": "yes" if pair.is_weak else "no"}
        writer.row(cells.get(name) for name in header)
    return stream.getvalue().encode()


def _parquet(duplicates: Duplicates) -> bytes:
    pyarrow, parquet = _pyarrow()
    text, number = pyarrow.string(), pyarrow.float64()
    evidence = pyarrow.struct(
        [
            ("position", text),
            ("score", number),
            ("raw", number),
            ("encounter_id", text),
            ("reference_position", text),
        ]
    )
    types = (*3 * (pyarrow.int64(),), text, text, number, number, pyarrow.bool_())
    schema = pyarrow.schema(
        [*zip(_COLUMNS, types, strict=True), ("evidence", pyarrow.list_(evidence))],
        metadata={"abis": json.dumps(_about(duplicates))},
    )
    rows = [row | {"evidence": _evidence(pair)} for pair, row in _rows(duplicates)]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), sink)
    return bytes(sink.getvalue())


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise AbisError("Parquet files need pyarrow: pip install abis[parquet]") from None
    return pyarrow, parquet


ENDINGS: dict[str, Callable[[Duplicates], bytes]] = {".parquet": _parquet, ".csv": _csv, ".json": _json}
"""The endings of file names, and the function that makes the content of each."""
