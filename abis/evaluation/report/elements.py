# SPDX-License-Identifier: Apache-2.0
"""Figures and tables of the report, as HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from abis.evaluation.intervals import Estimate
from abis.evaluation.report.words import interval, percent

__all__ = ["Cell", "cell", "figure", "table"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        figure: main text.
        small: text in small type after it; empty: none.
    """

    figure: str
    small: str = ""

    def html(self) -> str:
        """Return the content of the cell as escaped HTML."""
        small = f" <small>{escape(self.small)}</small>" if self.small else ""
        return f"{escape(self.figure)}{small}"


def cell(estimate: Estimate) -> Cell:
    """Return a cell with an error rate and its 95 % interval."""
    return Cell(percent(estimate.value), interval(estimate))


def figure(svg: str, alternative: str, caption: str) -> str:
    """Return an SVG document as an HTML figure; an image keeps its ids apart from those of other figures.

    Args:
        svg: SVG document.
        alternative: text alternative, plain text.
        caption: caption, HTML.
    """
    content = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><img src="data:image/svg+xml;base64,{content}" alt="{escape(alternative)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def table(
    title: str,
    note: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    *,
    words: int = 1,
) -> Iterator[str]:
    """Yield the HTML of a table; the first column has the row headings.

    Args:
        title: caption in bold type.
        note: rest of the caption.
        columns: column headings.
        rows: cells of each row, one for each column.
        words: number of columns from the left that are text; the others are numbers, aligned to the right.
    """
    name = "-".join(re.findall("[a-z]+", title.lower()))
    kinds = [' class="text"' if place < words else "" for place in range(len(columns))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(column)}</th>' for column, kind in zip(columns, kinds, strict=True)
    )
    yield f'<p class="caption" id="{name}"><b>{escape(title)}</b> {escape(note)}</p>'
    yield f'<div class="scroll"><table aria-labelledby="{name}">'
    yield f"<thead><tr>{head}</tr></thead><tbody>"
    for row in rows:
        first, *others = (one if isinstance(one, Cell) else Cell(one) for one in row)
        cells = "".join(f"<td{kind}>{one.html()}</td>" for one, kind in zip(others, kinds[1:], strict=True))
        yield f'<tr><th scope="row">{first.html()}</th>{cells}</tr>'
    yield "</tbody></table></div>"
