# SPDX-License-Identifier: Apache-2.0
"""Fills the tables of the documentation with the figures that benchmarks wrote.

A table is a Jinja template. The name of a results file, without its ending and with ``_`` for ``-``, is a
mapping of its figures: ``{{ crash["kills"] | f(0) }}`` for the number ``kills`` of
``benchmarks/results/crash.json``. A figure that is missing is an error, so a table cannot keep a figure
that the benchmark no longer writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from jinja2 import Environment, StrictUndefined

from benchmarks.lib.common import ROOT

__all__ = ["README_TEMPLATE", "RESULTS", "filled", "provenance", "readme_with_figures"]

RESULTS = ROOT / "benchmarks" / "results"
README_TEMPLATE = ROOT / "docs" / "readme-figures.md"
_BEGIN, _END = (
    "<!-- figures: made from benchmarks/results by tests/documents.py -->\n",
    "<!-- end of figures -->\n",
)

_Figures: TypeAlias = Mapping[str, float | int | str]


def filled(template: str, names: Iterable[str]) -> str:
    """Fill a template with the figures of some results files.

    Args:
        template: Jinja template. Filters: ``f(digits)`` prints a number with thousands separators,
            ``percent(digits)`` a share as a percentage, ``interval(key, digits)`` the 95 % interval of a figure.
        names: results files, without ``.json``.

    Raises:
        OSError: a file does not exist.
        jinja2.TemplateError: a figure is missing, or the template is wrong.
    """
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters.update(f=_number, percent=_percent, interval=_interval)
    figures = {name.replace("-", "_"): _read(name) for name in names}
    return environment.from_string(template).render(figures)


def provenance(name: str) -> str:
    """Where the figures of a results file come from: hardware, versions, date and seed."""
    figures = _read(name)
    simd = str(figures["simd"]).upper().replace("AVX512", "AVX-512")
    where = f"{figures['cpu']}, cores: {figures['cores']}, {simd}"
    return (
        f"{where}; {figures['software']}; {figures.get('date', 'date not recorded')}; seed {figures['seed']}"
    )


def readme_with_figures(readme: str) -> str:
    """The README with its table of figures made anew."""
    template = README_TEMPLATE.read_text(encoding="utf-8")
    names = [path.stem for path in sorted(RESULTS.glob("*.json"))]
    before, _, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"README has no {_BEGIN.strip()} followed by {_END.strip()}")
    return f"{before}{_BEGIN}\n{filled(template, names).strip()}\n\n{_END}{after}"


def _read(name: str) -> _Figures:
    content: _Figures = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _number(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:,.{digits}f} %"


def _interval(figures: _Figures, key: str, digits: int = 2) -> str:
    """Of a figure ``key``, whose interval is ``key_low`` and ``key_high``."""
    low, high = float(figures[f"{key}_low"]), float(figures[f"{key}_high"])
    return f"[{low:,.{digits}f}, {high:,.{digits}f}]"
