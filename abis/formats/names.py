# SPDX-License-Identifier: Apache-2.0
"""What the name of a file says: the subject, the position, the impression. One rule for all commands.

``0042_right_index_2`` is an image of the right index finger of subject 0042; ``David_Beckham_0001`` and
``David_Beckham_face`` are of subject David_Beckham. In ``FOLDER/SUBJECT/FILE`` the folder names the subject.
"""

from __future__ import annotations

import re

from abis.template import Position

__all__ = ["IMPRESSION_IN_NAME", "SUBJECT_IN_NAME", "position_in", "subject_in"]

_PARTS = "|".join(sorted({"iris", *(word for p in Position for word in p.name.lower().split("_"))}))

SUBJECT_IN_NAME = (
    rf"(?P<subject>[^_]*?\d[^_]*?(?=(?:-(?i:{_PARTS}))*(?:_|$))"
    rf"|[^\d_][^_]*?(?:_.*?)??(?=(?:[_-](?i:{_PARTS}))*(?:_\d{{1,4}})?$))(?:[_-].*)?"
)
"""Pattern of a file's name without its ending. An id with a digit ends before the first underscore, or before a hyphen
and a position. Any other name, such as a person's, ends before the position and the number at its end, if they are
there."""

IMPRESSION_IN_NAME = r"(?P<finger>.+)_(?P<impression>[^_]+)"
"""Pattern for evaluations, where the fingers of a subject are told apart: the impression follows the last underscore,
the subject, with the position if it is stated, precedes it."""

_LONGEST_NUMBER = 3  # digits that may follow a position in a file's name
_EXPRESSION = re.compile(SUBJECT_IN_NAME)


def subject_in(name: str) -> str | None:
    """The subject that a file's name without its ending begins with; None if there is none.

    >>> [subject_in(name) for name in ("0042_right_index_2", "0042", "David_Beckham_0001", "P0_right", "anna_face")]
    ['0042', '0042', 'David_Beckham', 'P0', 'anna']
    """
    fit = _EXPRESSION.fullmatch(name)
    return None if fit is None else fit["subject"] or None


def position_in(name: str) -> Position | None:
    """The position that a file's name ends with, before a number if there is one; None if there is none.

    >>> position_in("0042_right_index"), position_in("0042-left-thumb_2"), position_in("0042")
    (<Position.RIGHT_INDEX: 2>, <Position.LEFT_THUMB: 6>, None)
    """
    words = name.lower().replace("-", "_").split("_")
    if len(words) > 1 and words[-1].isdecimal() and len(words[-1]) <= _LONGEST_NUMBER:
        words.pop()
    for count in (2, 1):
        try:
            return Position["_".join(words[-count:]).upper().replace("_IRIS", "_EYE")]
        except KeyError:
            continue
    return None
