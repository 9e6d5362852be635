# SPDX-License-Identifier: Apache-2.0
"""NIST ``.xyt``: minutiae as lines of text, as NBIS writes them for its matcher.

A line is ``x y theta [quality]``, whole numbers. The origin is the bottom left corner of the image and y
runs upwards from 1: a minutia on image row r of an image of height h has y = h - r. Theta is degrees 0 to
359, anticlockwise from the positive x axis, pointing the other way than ISO/IEC 19794-2:2005 does (NIST
Special Publication 500-245, NBIS user's guide, mindtct; it is NBIS's native form, not that of its option
``-m1``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from abis.errors import FormatError, TemplateError
from abis.formats._cursor import Repairs
from abis.template import MAX_MINUTIAE, NO_QUALITY, Minutiae, Position

__all__ = ["read", "write"]

_COLUMNS = (("x", 16383), ("y", 16383), ("theta", 359), ("quality", 100))  # each with its largest value
_MAX_DIGITS = 5  # of any number
_HALF_TURN = 180
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read(
    data: bytes,
    *,
    width: int | None = None,
    height: int | None = None,
    resolution: tuple[int, int] = (197, 197),
    position: Position = Position.UNKNOWN_FINGER,
    repairs: Repairs = None,
) -> tuple[Minutiae, ...]:
    """The one template in the text; no bytes at all are a template without minutiae.

    The format names neither image size nor resolution nor finger: give what you know.

    Args:
        data: the text.
        width: of the image, in pixels; None: just wide enough for the minutiae.
        height: of the image, in pixels; None: up to the uppermost minutia. Rows are then counted from
            there, which shifts the whole template and changes no comparison.
        resolution: of the image, x and y in pixels per centimetre.
        position: the finger.
        repairs: a list reads leniently: a byte order mark and blank lines are passed over, and of more than 255 lines
            those of the best quality are kept; what was done is appended.

    Raises:
        FormatError: saying in which line what was found and what was expected.
    """
    if data.startswith(_BYTE_ORDER_MARK) and repairs is not None:
        data = data.removeprefix(_BYTE_ORDER_MARK)
        repairs.append("byte order mark dropped")
    lines = data.split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) > MAX_MINUTIAE and repairs is None:
        raise FormatError(
            f"{len(lines)} lines; a template holds at most {MAX_MINUTIAE} minutiae: keep the best", offset=0
        )
    rows: list[list[int]] = []
    offset = blank = 0
    for number, line in enumerate(lines, start=1):
        if repairs is not None and not line.strip():
            blank += 1
        else:
            rows.append(_numbers(line, number, offset, columns=len(rows[0]) if rows else None))
        offset += len(line) + 1
    if repairs is not None:
        if blank:
            repairs.append(f"{blank} blank lines passed over")
        rows = _best(rows, repairs)
    table = np.array(rows, np.int64).reshape(len(rows), len(rows[0]) if rows else 3)
    x, y, theta = table[:, 0], table[:, 1], table[:, 2]
    if width is None:
        width = int(x.max(initial=0)) + 1
    top = int(y.max(initial=1)) if height is None else height
    if height is None:
        height = top + 1 - int(y.min(initial=1))  # NBIS begins with 1, others may begin with 0
    try:
        template = Minutiae(
            x=x,
            y=top - y,
            direction=(theta + _HALF_TURN) % 360,
            quality=table[:, 3] if table.shape[1] == 4 else None,
            width=width,
            height=height,
            resolution=resolution,
            position=position,
        )
    except TemplateError as error:
        raise FormatError(f"{error} (minutia 0 is line 1)") from None
    return (template,)


def _best(rows: list[list[int]], repairs: list[str]) -> list[list[int]]:
    """As many rows as a template holds, those of the best quality, in their order; the first ones without qualities."""
    if len(rows) <= MAX_MINUTIAE:
        return rows
    repairs.append(f"the best {MAX_MINUTIAE} of {len(rows)} minutiae kept")
    order = sorted(range(len(rows)), key=lambda number: -rows[number][3] if len(rows[number]) > 3 else 0)
    return [rows[number] for number in sorted(order[:MAX_MINUTIAE])]


def write(templates: Sequence[Minutiae]) -> bytes:
    """One template as text.

    Lost: kinds, image size, resolution, finger and its quality; directions are rounded to degrees. Minutia
    qualities are left out where none is known; beside known ones, an unknown one is written as 0.

    Raises:
        FormatError: there is not exactly one template.
    """
    if len(templates) != 1:
        raise FormatError(f"{len(templates)} templates to write; NIST .xyt holds exactly one")
    (template,) = templates
    columns = [
        template.x.astype(np.int64),
        template.height - template.y.astype(np.int64),
        np.rint(template.direction.astype(np.float64) + _HALF_TURN).astype(np.int64) % 360,
    ]
    is_known = template.quality != NO_QUALITY
    if is_known.any():
        columns.append(np.where(is_known, template.quality, 0).astype(np.int64))
    return "".join(f"{' '.join(map(str, row))}\n" for row in np.column_stack(columns).tolist()).encode()


def _numbers(line: bytes, number: int, offset: int, columns: int | None) -> list[int]:
    """The numbers of one line, checked against the range of each column."""
    words = line.split()
    if len(words) not in ((3, 4) if columns is None else (columns,)):
        expected = "3 or 4" if columns is None else f"{columns} as in line 1"
        raise FormatError(f"line {number} has {len(words)} words; expected {expected}", offset=offset)
    values = []
    for word, (name, high) in zip(words, _COLUMNS, strict=False):
        if not word.isdigit() or len(word) > _MAX_DIGITS or int(word) > high:
            shown = word[:16].decode("ascii", "backslashreplace")
            raise FormatError(
                f"line {number}: {name} is {shown!r}; expected a whole number, 0 to {high}", offset=offset
            )
        values.append(int(word))
    return values
