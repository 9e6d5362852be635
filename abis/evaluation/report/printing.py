# SPDX-License-Identifier: Apache-2.0
"""The report on paper: as PDF by WeasyPrint, and as one image of its pages."""

from __future__ import annotations

import io

import numpy as np

from abis.errors import AbisError

__all__ = ["as_pdf", "as_png"]

_DOTS_A_POINT = 2.0  # of the image: 144 dots an inch


def as_pdf(html: str) -> bytes:
    """Return the HTML page as a PDF file on A4 pages, by the page's style for print.

    Raises:
        AbisError: WeasyPrint or the library Pango is not installed.
    """
    try:
        import weasyprint  # noqa: PLC0415 - an extra, and a second to import
    except ImportError:
        raise AbisError("a report as PDF or PNG needs WeasyPrint: pip install abis[report]") from None
    except OSError as error:  # a shared library is missing
        raise AbisError(
            f"a report as PDF or PNG needs the library Pango (Debian: apt-get install libpangoft2-1.0-0): {error}"
        ) from None

    # The page refers to nothing outside of it.
    within = weasyprint.URLFetcher(allowed_protocols=["data"])
    return bytes(weasyprint.HTML(string=html, url_fetcher=within).write_pdf())


def as_png(html: str) -> bytes:
    """Return the HTML page as a PNG file: its A4 pages, one below the other.

    Raises:
        AbisError: WeasyPrint, pypdfium2 or the library Pango is not installed.
    """
    pdf = as_pdf(html)
    try:
        import PIL.Image  # noqa: PLC0415 - comes with matplotlib
        import pypdfium2  # noqa: PLC0415 - an extra
    except ImportError:
        raise AbisError("a report as PNG needs pypdfium2: pip install abis[report]") from None

    document = pypdfium2.PdfDocument(pdf)
    try:
        pages = [
            page.render(scale=_DOTS_A_POINT).to_numpy()[..., ::-1] for page in document
        ]  # blue comes first
    finally:
        document.close()
    file = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(np.vstack(pages))).save(file, "PNG", optimize=True)
    return file.getvalue()
