# SPDX-License-Identifier: Apache-2.0
"""``abis dna``: allele frequencies, and tables of DNA profiles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import AsJson, GalleryPath, files_in
from abis.cli.console import Faults, note, print_json, tell
from abis.cli.enrolment import BATCH, enroll_all
from abis.cli.opening import open_existing, open_or_create
from abis.comparison.dna import DnaModel, Relationship
from abis.errors import AbisError, FormatError
from abis.files import write_whole
from abis.formats import codis, read_file
from abis.formats.str_tables import ProfileRow, read_frequencies, read_profiles, write_profiles
from abis.scoring.calibration import compare as compare_templates
from abis.scoring.dna import DnaCalibration
from abis.store import Enrollment
from abis.template import StrProfile
from abis.text import counted
from abis.transfer.profiles import stored_profiles

__all__ = ["commands"]

commands = typer.Typer()
dna = typer.Typer(
    no_args_is_help=True, help="Keep allele frequencies, and enroll, compare and export DNA profiles."
)
commands.add_typer(dna, name="dna")

Table = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE",
        help="CSV with a column Allele and one for each locus, a row N (people sampled) and a row Population.",
    ),
]
Population = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the population, if TABLE has no row Population.")
]
People = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of people sampled, if TABLE has no row N.")
]
Theta = Annotated[
    float,
    typer.Option(
        metavar="THETA", help="Coancestry coefficient: 0.01, or 0.03 for a small isolated population."
    ),
]
DropOut = Annotated[
    float, typer.Option(metavar="RATE", help="Chance that an allele is missing at a locus of two profiles.")
]
DropIn = Annotated[
    float, typer.Option(metavar="RATE", help="Chance that an allele is added at a locus of two profiles.")
]
MixUp = Annotated[
    float,
    typer.Option(
        metavar="RATE", help="Chance that a sample is not of the person on its label; your measured rate."
    ),
]


@dna.command()
def frequencies(
    gallery: GalleryPath,
    table: Table,
    *,
    population: Population = None,
    people: People = None,
    theta: Theta = 0.01,
    drop_out: DropOut = 1e-3,
    drop_in: DropIn = 1e-3,
    mix_up: MixUp = 1e-3,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the calibration as JSON too, for `abis evaluate`."
        ),
    ] = None,
) -> None:
    """Keep the allele frequencies of a population with a gallery; create the gallery if it does not exist."""
    calibration = _calibration(table, population, people, (theta, drop_out, drop_in, mix_up))
    if output is not None:
        write_whole(output, calibration.to_json().encode())
    with open_or_create(gallery) as opened:
        opened.calibrate(calibration)
    found = calibration.model.frequencies
    tell(f"{gallery} now scores DNA by the frequencies of {found.population} at {len(found.loci)} loci.")


@dna.command()
def enroll(
    gallery: GalleryPath,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES...", help="Tables of profiles (CSV), or CODIS messages; docs/dna.md."),
    ],
    *,
    encounter: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Name of this session; known subjects get a further encounter."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Enroll one subject for each sample of the files; create the gallery if it does not exist.

    The id of a sample is the subject id. A faulty sample is reported, and the others go on.
    """
    faults = Faults()
    enrolled = 0

    def read() -> Iterator[Enrollment]:
        for file in files_in(files):
            for row in _rows_of(file):
                if row.profile is None or not row.sample:
                    faults.add(f"{file}, {row.place}: {row.fault or 'the sample has no id'}")
                else:
                    yield Enrollment(row.sample, [row.profile], encounter)

    def refuse(error: AbisError) -> None:
        faults.add(error)

    with open_or_create(gallery) as opened:
        source = read()
        while batch := list(islice(source, BATCH)):
            for part in enroll_all(opened, batch, None, refuse):
                enrolled += len(part)
        size = len(opened)
    if as_json:
        print_json({"enrolled": enrolled, "failed": faults.count, "subjects": size})
    else:
        failed = f"; {faults.count:,} failed" if faults.count else ""
        tell(f"{enrolled:,} enrolled{failed}. {gallery} holds {counted(size, 'subject')}.")
    faults.exit_if_any()


@dna.command()
def compare(
    one: Annotated[
        Path, typer.Argument(metavar="FILE", help="A profile: a table or message of one sample, or .abis.")
    ],
    other: Annotated[Path, typer.Argument(metavar="FILE", help="The other profile.")],
    *,
    frequencies: Annotated[
        Path, typer.Option(metavar="TABLE", help="Allele frequencies, as for `abis dna frequencies`.")
    ],
    population: Population = None,
    people: People = None,
    theta: Theta = 0.01,
    drop_out: DropOut = 1e-3,
    drop_in: DropIn = 1e-3,
    mix_up: MixUp = 1e-3,
    relatives: Annotated[
        bool, typer.Option("--relatives", help="Print the likelihood ratios of relatives, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two profiles, and print the likelihood ratio of each locus. Identical twins have equal profiles."""
    calibration = _calibration(frequencies, population, people, (theta, drop_out, drop_in, mix_up))
    model = calibration.model
    first, second = _profile(one), _profile(other)
    score = float(compare_templates(first, [second], calibration=calibration)[0])
    loci = model.explain(first, second)
    related = {
        kind.name.lower(): model.relative_llr(first, second, kind) for kind in Relationship if relatives
    }
    if as_json:
        print_json(
            {
                "score": score,
                "population": model.frequencies.population,
                "loci": [
                    {"locus": part.locus, "difference": part.difference, "llr": _finite(part.llr)}
                    for part in loci
                ],
                "relatives": {name: _finite(llr) for name, llr in related.items()},
            }
        )
        return
    for part in loci:
        tell(f"{part.locus:10}{part.llr:8.2f}  {part.difference}".rstrip())
    tell(
        f"score {score:.2f}: log10 likelihood ratio of one person against two unrelated ones "
        f"({model.frequencies.population}). Identical twins have equal profiles."
    )
    for name, llr in related.items():
        tell(f"{name.replace('_', ' ')} {llr:.2f}: log10 likelihood ratio against unrelated people")


@dna.command()
def export(
    gallery: GalleryPath,
    output: Annotated[
        Path, typer.Argument(metavar="FILE", help="New file: NAME.csv, or NAME.xml for a CODIS message.")
    ],
    *,
    destination: Annotated[
        str, typer.Option(metavar="ORI", help="CODIS: laboratory that the message is for.")
    ] = "",
    source: Annotated[str, typer.Option(metavar="ORI", help="CODIS: laboratory that it is from.")] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="CODIS: user that submits it.")] = "",
    category: Annotated[
        str, typer.Option(metavar="TEXT", help="CODIS: category of the specimens, such as 'Missing Person'.")
    ] = "Other",
) -> None:
    """Write all DNA profiles of a gallery to a table or a CODIS message. The file is not encrypted."""
    if output.exists():
        raise AbisError(f"{output} exists; name a new file")
    with open_existing(gallery) as opened:
        profiles: dict[str, StrProfile] = {}
        for subject_id, encounter_id, profile in stored_profiles(opened.internals.store):
            name = subject_id if subject_id not in profiles else f"{subject_id}:{encounter_id}"
            profiles[name] = profile
        opened.internals.record("export", "", f"{len(profiles)} DNA profiles")
    if output.suffix.lower() == ".xml":
        header = codis.Header(destination, source, user, datetime.now(), category)
        data = codis.write(profiles, header)
    elif output.suffix.lower() == ".csv":
        data = write_profiles(profiles)
    else:
        raise typer.BadParameter(f"{output}: expected a name that ends in .csv or .xml")
    write_whole(output, data, mode=0o600)
    note(f"{counted(len(profiles), 'profile')} written to {output}")


def _calibration(
    table: Path, population: str | None, people: int | None, rates: tuple[float, float, float, float]
) -> DnaCalibration:
    try:
        found = read_frequencies(table.read_bytes(), population=population, people=people)
    except FormatError as error:
        raise FormatError(f"{table}: {error}") from None
    return DnaCalibration.of(DnaModel(found, *rates))


def _rows_of(file: Path) -> Iterator[ProfileRow]:
    data = file.read_bytes()
    try:
        yield from codis.read(data) if codis.is_cmf(data) else read_profiles(data)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from None


def _profile(file: Path) -> StrProfile:
    match read_file(file):
        case (StrProfile() as profile,):
            return profile
    raise FormatError(f"{file}: holds no DNA profile; expected a table or message of one sample, or .abis")


def _finite(llr: float) -> float | None:
    """JSON has no infinity."""
    return llr if llr > -float("inf") else None
