# SPDX-License-Identifier: Apache-2.0
"""``abis explain``: the evidence in a comparison of two fingers or two irises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from abis.cli.arguments import AsJson, Dpi, FingerPosition, check_output
from abis.cli.console import note, out, print_json, tell
from abis.cli.images import ImageOptions, Reader, picture, reader
from abis.comparison import balance as balance_of
from abis.errors import FormatError
from abis.files import write_whole
from abis.scoring.calibration import Calibrations
from abis.template import Template
from abis.template.modality import MODALITIES, modality_of

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def explain(
    probe: Annotated[Path, typer.Argument(metavar="PROBE", help="Template or image of one finger or eye.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Template or image of another.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Draw both as SVG: lines join paired minutiae; bits of irises that agree are green.",
        ),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    as_json: AsJson = False,
) -> None:
    """Compare two fingers or two irises, and print the terms of the score."""
    check_output(output, ".svg")
    images = ImageOptions(position, dpi)
    with reader([probe, reference], images) as files:
        first, second = _read_one(files, probe), _read_one(files, reference)
    explained = modality_of(first).explained
    if explained is None or modality_of(second) is not modality_of(first):
        raise FormatError(f"{first} and {second}: expected two of {_known()}")
    found = explained(first, second)
    balance = balance_of(first, [second])
    score = float(Calibrations.of().for_templates([first, second]).llr([found.raw], balance)[0])
    if output is not None:
        pictures = picture(probe, first.position), picture(reference, second.position)
        svg = found.draw(f"{probe.name} and {reference.name}: score {score:.1f}", pictures)
        write_whole(output, svg.encode())
        note(f"drawn in {output}")
    if as_json:
        print_json({"score": score, "raw": found.raw, **found.details, "terms": found.terms})
        return
    tell(f"score {score:.1f} (raw {found.raw:.2f}); {found.summary}")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in found.terms.items():
        table.add_row(name, f"{value:.4g}")
    out.print(table)


def _read_one(files: Reader, file: Path) -> Template:
    templates = files.read(file)
    if len(templates) != 1 or modality_of(templates[0]).explained is None:
        raise FormatError(f"{file}: holds {', '.join(map(str, templates))}; expected one of {_known()}")
    return templates[0]


def _known() -> str:
    return ", ".join(modality.name for modality in MODALITIES if modality.explained is not None)
