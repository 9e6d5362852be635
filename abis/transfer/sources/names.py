# SPDX-License-Identifier: Apache-2.0
"""Read the subject of a file from its name, and combine the files of one encounter into a record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import NamedTuple

from abis.formats.names import SUBJECT_IN_NAME
from abis.store.import_records import Record, Sample

__all__ = ["NamedSample", "Names", "records_of"]


class NamedSample(NamedTuple):
    """A sample, its subject and the subject's labels; ``end`` is the number of samples of the source up to this one."""

    subject_id: object
    encounter_id: object
    sample: Sample
    end: int
    fault: str | None = None
    labels: tuple[str, ...] = ()


class Names:
    """Reads subject, encounter and position from file names.

    Args:
        expression: regular expression with the group ``subject``, optionally ``encounter`` and ``position``. It must
            match the whole name without its ending, or, if it contains a ``/``, the whole path within the source. None
            takes the name of the folder in ``SUBJECT/FILE``, else what :func:`abis.formats.names.subject_in` finds.
    """

    def __init__(self, expression: re.Pattern[str] | None = None) -> None:
        self.pattern = SUBJECT_IN_NAME if expression is None else expression.pattern
        self._by_folder = expression is None
        self._expression = expression or re.compile(SUBJECT_IN_NAME)

    def named(self, path: str, content: bytes | None, end: int, fault: str | None = None) -> NamedSample:
        """A file of the source as a sample."""
        pure = PurePosixPath(path)
        if self._by_folder and len(pure.parts) == 2:
            return NamedSample(pure.parts[0], None, Sample(path, content), end, fault)
        stem = str(pure.with_suffix("")) if "/" in self.pattern else pure.stem
        fit = self._expression.fullmatch(stem)
        if fit is None or not fit["subject"]:
            fault = fault or f"{path}: its name does not say whose it is; the pattern is {self.pattern}"
            return NamedSample(None, None, Sample(path, content), end, fault)
        groups = fit.groupdict()
        sample = Sample(path, content, groups.get("position"))
        return NamedSample(fit["subject"], groups.get("encounter"), sample, end, fault)


def records_of(samples: Iterable[NamedSample]) -> Iterator[Record]:
    """Samples of one subject and encounter that stand together make a record; a faulty one faults it.

    Each sample without a subject is a record of its own.
    """
    for (subject_id, encounter_id, _), group in groupby(samples, _whose):
        own = list(group)
        labels = [label for named in own for label in named.labels]
        yield Record(
            subject_id,
            encounter_id,
            tuple([named.sample for named in own]),
            own[-1].end,
            next((named.fault for named in own if named.fault is not None), None),
            tuple(dict.fromkeys(labels)) if labels else (),
        )


def _whose(named: NamedSample) -> tuple[object, object, int]:
    subject_id = named.subject_id
    is_alone = not isinstance(subject_id, str) or not subject_id
    return subject_id, named.encounter_id, named.end if is_alone else 0
