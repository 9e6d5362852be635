# SPDX-License-Identifier: Apache-2.0
"""``abis extract``: files of templates from images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import AsJson, Dpi, FaceModel, FingerPosition, VoiceModel, files_in
from abis.cli.console import Faults, print_json, progress_bar
from abis.cli.images import ImageOptions, picture, reader
from abis.comparison.drawing import draw_finger
from abis.errors import ExtractionError, FormatError
from abis.files import private_folder, write_whole
from abis.formats import Format, read_file, write
from abis.template import Minutiae, Position, Template

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def extract(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="Images, recordings, or folders of them.")
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
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw the minutiae over each finger image: DIR/<name>.svg.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Extract templates from images and recordings: 0042_right_index.png becomes DIR/0042_right_index.abis.

    Templates that exist are kept: to go on after Ctrl-C, run the command again.
    """
    images = ImageOptions(position, dpi, face_model, voice_model=voice_model)
    faults = Faults()
    found = files_in(files)
    name, count = Counter(file.stem for file in found).most_common(1)[0]
    if count > 1:
        raise typer.BadParameter(f"{count} images would become {name}.abis")
    private_folder(output)
    wanted = [file for file in found if not _is_extracted(_path(output, file, 0), images.position)]
    extracted = 0
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
                    _write(templates, output, file)
                    extracted += 1
                progress(done, len(wanted))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {extracted:,} images are extracted; to go on, run the command again"
        ) from None
    skipped = len(found) - len(wanted)
    if as_json:
        print_json({"extracted": extracted, "skipped": skipped, "failed": faults.count})
    else:
        already = f"; {skipped:,} were already" if skipped else ""
        failed = f"; {faults.count:,} failed" if faults.count else ""
        typer.echo(f"{extracted:,} images extracted{already}{failed}. The templates are in {output}.")
    faults.exit_if_any()


def _draw(templates: Sequence[Template], output: Path, image: Path) -> None:
    """Draw the minutiae over the image, if it is the image of one finger."""
    match templates:
        case (Minutiae() as finger,):
            title = f"{image.name}: {len(finger)} minutiae, quality {finger.finger_quality}"
            svg = draw_finger(finger, title=title, picture=picture(image, finger.position))
            write_whole(output / f"{image.stem}.svg", svg.encode())


def _write(templates: Sequence[Template], output: Path, image: Path) -> None:
    """Write the first template last: if its file exists, all files exist."""
    for number in reversed(range(len(templates))):
        path = _path(output, image, number)
        write_whole(path, write([templates[number]], Format.NATIVE))


def _is_extracted(path: Path, position: Position | None) -> bool:
    """Whether a template is there, and of the position that is stated, if one is."""
    if not path.exists():
        return False
    return position is None or all(template.position == position for template in read_file(path))


def _path(output: Path, image: Path, number: int) -> Path:
    """The file of a template; further templates of one image are numbered from 2."""
    return output / (f"{image.stem}-{number + 1}.abis" if number else f"{image.stem}.abis")
