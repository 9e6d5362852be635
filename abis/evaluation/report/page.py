# SPDX-License-Identifier: Apache-2.0
"""The report as one self-contained HTML page: no script, no network, no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from abis.errors import AbisError
from abis.evaluation.findings import Findings, Pair
from abis.evaluation.intervals import Estimate
from abis.evaluation.report import plots, tables
from abis.evaluation.report.printing import as_pdf, as_png
from abis.evaluation.report.provenance import ReportProvenance
from abis.evaluation.report.words import interval, number_of, percent, sentences
from abis.evaluation.report.worst_pairs import DrawnPair, drawn_pair
from abis.files import write_whole

__all__ = ["ENDINGS", "check_ending", "page", "write_report"]

ENDINGS = (".html", ".pdf", ".png")
"""Endings of the files that :func:`write_report` writes."""

_MOST_NAMES = 20  # of ignored files on the page


def write_report(path: Path, findings: Findings, source: ReportProvenance) -> None:
    """Write the report on findings as one self-contained HTML page, as PDF, or as one PNG image.

    The HTML page is for screen, phone and print. PDF and PNG show it as printed on A4.

    Args:
        path: file to write, which ends in .html, .pdf or .png; an existing file is replaced.
        findings: the findings of an evaluation.
        source: provenance of the findings, as :func:`abis.evaluation.report.provenance` returns it.

    Raises:
        AbisError: the file has another ending, or what the report needs is not installed:
            ``pip install abis[report]``, and the library Pango for PDF and PNG.
        OSError: the file cannot be written.
    """
    check_ending(path)
    html = page(findings, source)
    match path.suffix.lower():
        case ".pdf":
            content = as_pdf(html)
        case ".png":
            content = as_png(html)
        case _:
            content = html.encode()
    write_whole(path, content)


def check_ending(path: Path) -> None:
    """Check the ending of a report's file.

    Raises:
        AbisError: it is none of :data:`ENDINGS`.
    """
    if path.suffix.lower() not in ENDINGS:
        raise AbisError(f"report {path}: the ending is {path.suffix!r}; expected {', '.join(ENDINGS)}")


def page(findings: Findings, source: ReportProvenance) -> str:
    """Return the report on findings as the HTML text of one page.

    Args:
        findings: the findings of an evaluation.
        source: provenance of the findings.

    Raises:
        AbisError: matplotlib is not installed.
    """
    found = findings.identification
    reliability = findings.main.reliability if findings.cllr is not None else None
    return _template().render(
        findings=findings,
        found=found,
        source=source,
        style=Markup(_text("style.css")),  # ours, so it needs no escaping
        sentences=list(sentences(findings)),
        key_figures=list(_key_figures(findings)),
        tables=tables,
        plots={
            "det": plots.det(findings),
            "distributions": plots.distributions(findings),
            "thresholds": plots.thresholds(findings),
            "reliability": None if reliability is None else plots.reliability(findings, reliability),
            "cmc": None if found is None else plots.cmc(findings, found),
            "identification_det": None if found is None else plots.identification_det(findings, found),
            "discard": None if findings.discard is None else plots.discard(findings, findings.discard),
        },
        worst=list(_worst(findings)),
        ignored=findings.ignored[:_MOST_NAMES],
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"anchor": _anchor, "interval": interval, "percent": percent, "svg_url": _svg_url}
    environment.globals["number_of"] = number_of
    return environment.from_string(_text("report.html"))


def _text(name: str) -> str:
    return files("abis.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def _anchor(title: str) -> str:
    return "-".join(re.findall("[a-z]+", title.lower()))


def _svg_url(svg: str) -> str:
    """Return an SVG document as the URL of an image, which keeps its ids apart from those of other figures."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _key_figures(findings: Findings) -> Iterator[tuple[str, Estimate]]:
    main = findings.main
    yield "EER", main.eer
    yield "FNMR at FMR 1\xa0% (FMR100)", main.fmr100
    yield "FNMR at FMR 0.1\xa0% (FMR1000)", main.fmr1000
    yield "FNMR with no false match (ZeroFMR)", main.zero_fmr
    if findings.identification is not None:
        yield "FNIR at rank 1", findings.identification.rank_1


def _worst(findings: Findings) -> Iterator[tuple[str, Sequence[DrawnPair], Sequence[Pair]]]:
    """Yield, of each kind of pairs, a title, the pairs that can be shown, and the others, which are listed."""
    for mated, title in (
        (True, "Mated pairs with the lowest scores"),
        (False, "Non-mated pairs with the highest scores"),
    ):
        pairs = [pair for pair in findings.worst if pair.mated is mated]
        drawn = [drawn_pair(pair, findings) for pair in pairs]
        if pairs:
            yield (
                title,
                [drawing for drawing in drawn if drawing is not None],
                [pair for pair, drawing in zip(pairs, drawn, strict=True) if drawing is None],
            )
