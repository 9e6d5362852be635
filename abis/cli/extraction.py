# SPDX-License-Identifier: Apache-2.0
"""``abis extract``: files of templates from images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import (
    STANDARD_INPUT,
    AsJson,
    Dpi,
    FaceModel,
    FingerFormat,
    FingerPosition,
    VoiceModel,
    check_output_folder,
    files_in,
)
from abis.cli.console import Faults, print_json, progress_bar, tell
from abis.cli.images import ImageOptions, picture, reader
from abis.comparison.drawing import draw_finger
from abis.errors import ExtractionError, FormatError
from abis.files import private_folder, write_whole
from abis.formats import Format, read_file
from abis.template import Minutiae, Position, Template
from abis.text import counted
from abis.transfer.exporting import encoded_file

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def extract(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...", help="Images, recordings, or folders of them; - reads standard input."
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the templates, one file a template."),
    ],
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    voice_model: VoiceModel = None,
    finger_format: FingerFormat = Format.NATIVE,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw the minutiae over each finger image: DIR/<name>.svg.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Extract templates from images and recordings: 0042_right_index.png becomes DIR/0042_right_index.abis.

    Templates among the files are written in the wanted format. Templates that exist in DIR are kept: to go on after
    Ctrl-C, run the command again.
    """
    check_output_folder(output, new=False)
    images = ImageOptions(position, dpi, face_model, voice_model=voice_model)
    faults = Faults()
    found = files_in(files)
    name, count = Counter(map(_name, found)).most_common(1)[0]
    if count > 1:
        raise typer.BadParameter(f"{count} images would become {name}.abis")
    if draw and STANDARD_INPUT in found:
        raise typer.BadParameter("--draw does not work on standard input, -")
    private_folder(output)
    wanted = [file for file in found if not _is_extracted(output, file, finger_format, images.position)]
    extracted = converted = 0
    try:
        with reader(wanted, images) as opened, progress_bar("extracting") as progress:
            for done, file in enumerate(wanted, 1):
                try:
                    templates = opened.read(file)
                except (ExtractionError, FormatError, OSError) as error:
                    faults.add(error)
                else:
                    if draw:
                        _draw(templates, output, file)
                    try:
                        _write(templates, output, file, finger_format)
                    except FormatError as error:
                        faults.add(f"{file}: {error}")
                        continue
                    is_image = opened.is_image(file)
                    extracted += is_image
                    converted += not is_image
                progress(done, len(wanted))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {extracted:,} images are extracted; to go on, run the command again"
        ) from None
    skipped = len(found) - len(wanted)
    if as_json:
        print_json(
            {"extracted": extracted, "converted": converted, "skipped": skipped, "failed": faults.count}
        )
    else:
        templates_too = f"; {counted(converted, 'template')} written" if converted else ""
        already = f"; {skipped:,} {'was' if skipped == 1 else 'were'} already" if skipped else ""
        failed = f"; {faults.count:,} failed" if faults.count else ""
        tell(
            f"{counted(extracted, 'image')} extracted{templates_too}{already}{failed}. "
            f"The templates are in {output}."
        )
    faults.exit_if_any()


def _draw(templates: Sequence[Template], output: Path, image: Path) -> None:
    """Draw the minutiae over the image, if it is the image of one finger."""
    match templates:
        case (Minutiae() as finger,):
            title = f"{image.name}: {len(finger)} minutiae, quality {finger.finger_quality}"
            svg = draw_finger(finger, title=title, picture=picture(image, finger.position))
            write_whole(output / f"{image.stem}.svg", svg.encode())


def _write(templates: Sequence[Template], output: Path, image: Path, finger_format: Format) -> None:
    """Write the first template last: if its file exists, all files exist."""
    for number in reversed(range(len(templates))):
        content, ending = encoded_file(templates[number], finger_format)
        write_whole(_path(output, image, number, ending), content)


def _is_extracted(output: Path, image: Path, finger_format: Format, position: Position | None) -> bool:
    """Whether a template is there, and of the position that is stated, if one is."""
    for ending in {finger_format.ending, Format.NATIVE.ending}:
        path = _path(output, image, 0, ending)
        if path.exists():
            try:
                return position is None or all(each.position == position for each in read_file(path))
            except FormatError:  # a card format, which is not told by its content
                return True
    return False


def _path(output: Path, image: Path, number: int, ending: str) -> Path:
    """The file of a template; further templates of one image are numbered from 2."""
    return output / (f"{_name(image)}-{number + 1}.{ending}" if number else f"{_name(image)}.{ending}")


def _name(image: Path) -> str:
    return "stdin" if image == STANDARD_INPUT else image.stem
