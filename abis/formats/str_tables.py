# SPDX-License-Identifier: Apache-2.0
"""DNA profiles and allele frequencies as tables: CSV, with commas, semicolons or tabs between the cells.

Profiles come in two layouts, told apart by the first row:

- *One row a person*: a column with the sample's id, and one column for each locus with alleles such as ``9/9.3``, or
  two columns for each locus (``TH01 1``, ``TH01 2``, or the same name twice).
- *One row a locus*, as genotyping software exports them: columns ``Sample Name``, ``Marker``, ``Allele 1``,
  ``Allele 2``.

Decimals have a point or a comma. A cell that is empty, ``0``, ``-``, ``.`` or ``NA`` holds no allele. Other columns are
passed over. docs/dna.md shows examples.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from abis.errors import AbisError, FormatError, TemplateError
from abis.template import StrProfile
from abis.template.alleles import LOCI, AlleleFrequencies, allele_in_tenths, locus_named
from abis.text import SafeCsv, unescaped_cell

__all__ = ["ProfileRow", "is_table", "only_profile", "read_frequencies", "read_profiles", "write_profiles"]

_LEAST_LOCI = 5  # columns named after loci that make a table one of profiles
_DELIMITERS = (";", "\t", ",")
_NOTHING = {"", "0", "-", ".", "NA", "N/A", "NAN"}
_SAMPLE = re.compile(r"(sample|specimen|subject|person)?[ _.-]*(name|id|no|number)?", re.IGNORECASE)
_LOCUS = re.compile(r"marker|locus|locus[ _]?name", re.IGNORECASE)
_ALLELE = re.compile(r"allele[ _.-]*\d*", re.IGNORECASE)
_NAMED_AFTER_PLACE = re.compile(
    r"D\d{1,2}S\d+", re.IGNORECASE
)  # as most loci are, after chromosome and number
_SECOND = re.compile(r"(?P<locus>.+?)[ _.-]+(?:allele[ _.-]*)?[12ab]", re.IGNORECASE)
_BETWEEN_ALLELES = re.compile(r",?\s+|[/|]")
_LONGEST_FIRST_ROW = 65_536  # bytes


@dataclass(frozen=True)
class ProfileRow:
    """What a table holds of one sample.

    Attributes:
        sample: id of the sample; "" where the table has no ids.
        place: where it stands, such as ``line 3``.
        profile: the profile; None where there is a fault.
        fault: what is wrong; "" where nothing is.
    """

    sample: str
    place: str
    profile: StrProfile | None
    fault: str = ""


def is_table(data: bytes) -> bool:
    """Whether the bytes begin as a table of profiles does."""
    first = data[:_LONGEST_FIRST_ROW].removeprefix(b"\xef\xbb\xbf").splitlines()[:1]
    try:
        text = first[0].decode() if first else ""
        names = next(csv.reader([text], delimiter=_delimiter_of(text)), [])
        if any(_LOCUS.fullmatch(name.strip()) for name in names):
            return any(_ALLELE.fullmatch(name.strip()) for name in names)
        is_of_frequencies = bool(names) and _ALLELE.fullmatch(names[0].strip()) is not None
        loci = {locus for name in names if (locus := _column_locus(name))}
        return not is_of_frequencies and len(loci) >= _LEAST_LOCI
    except (UnicodeDecodeError, csv.Error):
        return False
    except TemplateError:  # an unknown locus: reading says which
        return True


def read_profiles(data: bytes) -> Iterator[ProfileRow]:
    """The profiles in a table, in the order of first appearance. A faulty one is a row with its fault.

    Args:
        data: the whole table, UTF-8.

    Raises:
        FormatError: the table as a whole cannot be read: not UTF-8, no column of loci, or a locus with three columns.
    """
    names, rows = _table(data)
    markers = [place for place, name in enumerate(names) if _LOCUS.fullmatch(name)]
    if markers:
        yield from _by_locus(names, rows, markers[0])
    else:
        yield from _by_person(names, rows)


def only_profile(rows: Iterable[ProfileRow]) -> StrProfile:
    """The profile of a file of one sample.

    Raises:
        FormatError: it is faulty, or there are no or several samples: ``abis dna enroll`` takes many.
    """
    found = list(rows)
    for row in found:
        if row.profile is None:
            raise FormatError(f"{row.place}: {row.fault}")
        if len(found) == 1:
            return row.profile
    raise FormatError(f"the file has {len(found)} samples; expected one (`abis dna enroll` takes many)")


def write_profiles(profiles: Mapping[str, StrProfile]) -> bytes:
    """A table with one row a sample; :func:`read_profiles` reads it without loss.

    Args:
        profiles: by the id of the sample.
    """
    text = io.StringIO()
    table = SafeCsv(text)
    table.row(["sample", *LOCI])
    for sample, profile in profiles.items():
        genotypes = profile.genotypes
        alleles = ("/".join(genotypes[name]) if name in genotypes else "" for name in LOCI)
        table.row([sample, *alleles])
    return text.getvalue().encode()


def read_frequencies(
    data: bytes, *, population: str | None = None, people: int | None = None
) -> AlleleFrequencies:
    """The allele frequencies in a table: a row for each allele, a column for each locus.

    The first column of the head is called ``Allele``. A row ``N`` has the number of people sampled at each locus, and a
    row ``Population`` (before or after the head) the name of the population. Empty cells and 0 are alleles not seen.

    Args:
        data: the whole table, UTF-8.
        population: name of the population, if the table has no row ``Population``.
        people: number of people sampled, if the table has no row ``N``.

    Raises:
        FormatError: naming the line: an allele or a frequency is no number, a locus or an allele stands twice, or the
            population or number of people is missing.
    """
    lines = _rows(data)
    named, counts, head = population, dict[str, int](), list[str | None]()
    found: dict[str, dict[int, float]] = {}
    for number, row in lines:
        first = row[0].strip()
        try:
            if first.lower() == "population" and len(row) > 1:
                named = row[1].strip() if population is None else population
            elif not head:
                head = _frequency_head(row)
                found = {locus: {} for locus in head if locus is not None}
            elif first.upper() in ("N", "N="):
                counts = {
                    locus: _count(cell)
                    for locus, cell in zip(head, row[1:], strict=False)
                    if locus is not None and cell.strip()
                }
            else:
                _check_width(row, len(head) + 1)
                _add_frequencies(found, head, row)
        except AbisError as error:
            raise FormatError(f"line {number}: {error}") from None
    if named is None:
        raise FormatError("the population is not named; add a row `Population,NAME`, or state the name")
    for locus in found:
        if people is not None:
            counts[locus] = people
        elif locus not in counts:
            raise FormatError(f"{locus}: no number of people; add a row `N`, or state the number")
    try:
        return AlleleFrequencies(named, counts, {locus: own for locus, own in found.items() if own})
    except AbisError as error:
        raise FormatError(str(error)) from None


# --- tables -----------------------------------------------------------------------------------------------


def _rows(data: bytes) -> list[tuple[int, list[str]]]:
    """Rows that are not empty, with the numbers of their lines."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"byte {error.start}: not UTF-8; save the table as CSV UTF-8") from None
    first = next((line for line in text.splitlines() if line.strip(" \t,;")), "")
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter_of(_widest(text) or first))
    try:
        found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise FormatError(f"line {reader.line_num}: {error}") from None
    if not found:
        raise FormatError("the table is empty")
    return found


def _widest(text: str) -> str:
    """The longest of the first lines: a row `Population,NAME` before the head is short."""
    return max(text.splitlines()[:3], key=len, default="")


def _delimiter_of(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _table(data: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    (_, head), *rows = _rows(data)
    return [name.strip() for name in head], rows


def _column_locus(name: str) -> str | None:
    """The locus that a column is of; None where it is of none, or of a marker that is left out.

    Raises:
        TemplateError: the name is formed as that of a locus, but is unknown.
    """
    fit = _SECOND.fullmatch(name.strip())
    spellings = [name] if fit is None else [name, fit["locus"]]
    for spelling in spellings:
        try:
            return locus_named(spelling)
        except TemplateError:
            if spelling == spellings[-1] and _NAMED_AFTER_PLACE.fullmatch(spelling.strip()):
                raise
    return None


def _alleles(cell: str) -> list[str]:
    """The alleles in a cell, as text."""
    return [part for part in _BETWEEN_ALLELES.split(cell.strip()) if part.upper() not in _NOTHING]


def _by_person(names: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> Iterator[ProfileRow]:
    columns: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        try:
            locus = _column_locus(name)
        except TemplateError as error:
            raise FormatError(f"column {at + 1}: {error}; or leave the column out") from None
        if locus is not None:
            columns.setdefault(locus, []).append(at)
    if not columns:
        raise FormatError(f"no column is named after a locus; expected some of {', '.join(LOCI)}")
    for locus, places in columns.items():
        if len(places) > 2:
            raise FormatError(f"locus {locus} has {len(places)} columns; expected one or two")
    sample_at = _sample_column(names, {place for places in columns.values() for place in places})
    for number, row in rows:
        sample, place = _sample(row, sample_at), f"line {number}"
        try:
            _check_width(row, len(names))
            genotypes = {}
            for locus, places in columns.items():
                cells = [_alleles(row[at]) if at < len(row) else [] for at in places]
                if len(places) == 2 and max(map(len, cells)) > 1:
                    raise FormatError(f"locus {locus} stands twice, with two alleles each")
                if alleles := [allele for cell in cells for allele in cell]:
                    genotypes[locus] = alleles
            yield ProfileRow(sample, place, StrProfile(genotypes=genotypes))
        except AbisError as error:
            yield ProfileRow(sample, place, None, str(error))


def _by_locus(
    names: Sequence[str], rows: Sequence[tuple[int, list[str]]], marker_at: int
) -> Iterator[ProfileRow]:
    alleles_at = [place for place, name in enumerate(names) if _ALLELE.fullmatch(name)]
    if not alleles_at:
        raise FormatError(
            "there is a column of loci, but none of alleles; expected `Allele 1` and `Allele 2`"
        )
    sample_at = _sample_column(names, {marker_at, *alleles_at})
    samples: dict[str, dict[str, list[str]]] = {}
    places: dict[str, str] = {}
    faults: dict[str, str] = {}
    for number, row in rows:
        sample = _sample(row, sample_at)
        own = samples.setdefault(sample, {})
        places.setdefault(sample, f"line {number}")
        name = row[marker_at].strip() if marker_at < len(row) else ""
        alleles = [allele for at in alleles_at if at < len(row) for allele in _alleles(row[at])]
        if name in own:
            faults.setdefault(sample, f"line {number}: locus {name} stands twice")
        else:
            own[name] = alleles
    for sample, genotypes in samples.items():
        try:
            if sample in faults:
                raise FormatError(faults[sample])
            typed = {name: alleles for name, alleles in genotypes.items() if alleles}
            yield ProfileRow(sample, places[sample], StrProfile(genotypes=typed))
        except AbisError as error:
            yield ProfileRow(sample, places[sample], None, str(error))


def _check_width(row: Sequence[str], width: int) -> None:
    if any(cell.strip() for cell in row[width:]):
        raise FormatError(
            f"{len(row)} cells; expected {width} as in the first row. If decimals have a comma, the cells must be "
            "separated by semicolons or tabs"
        )


def _sample_column(names: Sequence[str], others: set[int]) -> int | None:
    return next(
        (at for at, name in enumerate(names) if at not in others and _SAMPLE.fullmatch(name) and name), None
    )


def _sample(row: Sequence[str], at: int | None) -> str:
    return "" if at is None or at >= len(row) else unescaped_cell(row[at].strip())


# --- frequencies ------------------------------------------------------------------------------------------


def _frequency_head(row: Sequence[str]) -> list[str | None]:
    """The locus of each column after the first; None for markers that are left out."""
    if row[0].strip().lower() not in ("allele", "alleles"):
        raise FormatError(f"the first column is called {row[0].strip()!r}; expected 'Allele'")
    head = [locus_named(name) if name.strip() else None for name in row[1:]]
    known = [locus for locus in head if locus is not None]
    if not known:
        raise FormatError(f"no column is named after a locus; expected some of {', '.join(LOCI)}")
    for locus in known:
        if known.count(locus) > 1:
            raise FormatError(f"locus {locus} has {known.count(locus)} columns; expected one")
    return head


def _add_frequencies(
    found: Mapping[str, dict[int, float]], head: Sequence[str | None], row: Sequence[str]
) -> None:
    cells = [
        (locus, cell.strip())
        for locus, cell in zip(head, row[1:], strict=False)
        if locus is not None and cell.strip().upper() not in _NOTHING
    ]
    if not cells:  # an allele of markers that are left out, such as X of amelogenin
        return
    allele = allele_in_tenths(row[0])
    for locus, cell in cells:
        try:
            frequency = float(cell.replace(",", "."))
        except ValueError:
            raise FormatError(f"{locus}: frequency {cell!r} is not a number") from None
        if not 0 <= frequency <= 1:
            raise FormatError(f"{locus}: frequency {cell!r}; expected 0 to 1, not per cent")
        if allele in found[locus]:
            raise FormatError(f"{locus}: allele {row[0].strip()} stands twice")
        if frequency > 0:
            found[locus][allele] = frequency


def _count(cell: str) -> int:
    if not cell.strip().isdecimal() or not int(cell) > 0:
        raise FormatError(f"number of people {cell.strip()!r}; expected a whole number above 0")
    return int(cell)
