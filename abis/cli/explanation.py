# SPDX-License-Identifier: Apache-2.0
"""``abis explain``: the evidence in a comparison of two fingers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from abis.cli.arguments import AsJson, Dpi, FingerPosition, check_output
from abis.cli.console import note, out, print_json, tell
from abis.cli.images import ImageOptions, Reader, picture, reader
from abis.comparison import balance as balance_of
from abis.comparison import explain as explain_comparison
from abis.comparison.drawing import draw_pair
from abis.errors import FormatError
from abis.files import write_whole
from abis.scoring.calibration import Calibrations
from abis.template import Minutiae

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def explain(
    probe: Annotated[Path, typer.Argument(metavar="PROBE", help="Template or image of one finger.")],
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Template or image of another finger.")
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Draw both fingers as SVG, with lines between paired minutiae.",
        ),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    as_json: AsJson = False,
) -> None:
    """Compare two fingers, and print the terms of the score."""
    check_output(output, ".svg")
    images = ImageOptions(position, dpi)
    with reader([probe, reference], images) as files:
        first, second = _read_finger(files, probe), _read_finger(files, reference)
    found = explain_comparison(first, second)
    balance = balance_of(first, [second])
    score = float(Calibrations.of().for_templates([first, second]).llr([found.score], balance)[0])
    if output is not None:
        svg = draw_pair(
            first,
            second,
            found.pairs,
            title=f"{probe.name} and {reference.name}: score {score:.1f}",
            pictures=(picture(probe), picture(reference)),
        )
        write_whole(output, svg.encode())
        note(f"drawn in {output}")
    if as_json:
        print_json(
            {
                "score": score,
                "raw": found.score,
                "pairs": found.pairs.tolist(),
                "terms": found.terms,
            }
        )
        return
    tell(
        f"score {score:.1f} (raw {found.score:.2f}); {len(found.pairs)} minutiae paired "
        f"of {len(first)} and {len(second)}"
    )
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in found.terms.items():
        table.add_row(name, f"{value:.4g}")
    out.print(table)


def _read_finger(files: Reader, file: Path) -> Minutiae:
    templates = files.read(file)
    if len(templates) != 1 or not isinstance(templates[0], Minutiae):
        raise FormatError(f"{file}: holds {', '.join(map(str, templates))}; expected one finger")
    return templates[0]
