# SPDX-License-Identifier: Apache-2.0
"""``abis demo --images``: one's own images enrolled, searched for and verified, and what came of it."""

from __future__ import annotations

import tempfile
import time
from itertools import groupby
from pathlib import Path

import typer
from rich.table import Table

from abis.cli.console import out, progress_bar, say
from abis.cli.images import ImageOptions, reading
from abis.errors import AbisError
from abis.evaluation import DataSet, Sample, read_folder
from abis.gallery import Gallery
from abis.store import Enrollment

__all__ = ["demo"]

_FMR = 1e-4
_MOST_FAILURES = 10  # named one by one


def demo(folder: Path, images: ImageOptions) -> None:
    """The first impression of each finger or person is enrolled, the others are searched for and verified."""
    start = time.perf_counter()
    data_set = _read(folder, images)
    first, others = _divided(data_set)
    typer.echo(
        f"{data_set.name}: {len(data_set.samples):,} images, "
        f"{len(data_set.failures):,} of which no template could be made; read in {time.perf_counter() - start:.1f} s"
    )
    for failure in data_set.failures[:_MOST_FAILURES]:
        typer.echo(f"  {failure.reason}")
    if len(data_set.failures) > _MOST_FAILURES:
        typer.echo(f"  and {len(data_set.failures) - _MOST_FAILURES:,} more")
    if data_set.failures and not first:
        raise AbisError(
            f"{folder}: no template could be made of any image; --position says what they show, --dpi how finely"
        )
    if not others or len(first) < 2:
        raise AbisError(
            f"{folder}: two or more fingers or people are needed, one of them with two or more images"
        )
    with (
        tempfile.TemporaryDirectory(prefix="abis-demo-") as home,
        Gallery.open(Path(home) / "demo.abis") as gallery,
    ):
        gallery.enroll_many([Enrollment(s.finger, (s.template,)) for s in first if s.template is not None])
        _show_one(gallery, others[0])
        _ask(gallery, first, others)


def _read(folder: Path, images: ImageOptions) -> DataSet:
    try:
        with progress_bar("reading") as progress, reading((folder,), images, progress) as read:
            return read_folder(folder, read=read)
    except ValueError as error:
        raise AbisError(str(error)) from error


def _divided(data_set: DataSet) -> tuple[list[Sample], list[Sample]]:
    """The first sample of each finger of which there is a template, and all later ones of those fingers."""
    first, others = [], []
    for _, samples in groupby(data_set.samples, key=lambda sample: sample.finger):
        good = [sample for sample in samples if sample.template is not None]
        first.extend(good[:1])
        others.extend(good[1:])
    return first, others


def _show_one(gallery: Gallery, probe: Sample) -> None:
    assert probe.template is not None
    typer.echo(
        f"\n{len(gallery):,} are enrolled, by their first image each. Who is {probe.name}? The gallery's answer:\n\n"
        f"{gallery.identify([probe.template], max_candidates=3)}\n"
    )


def _ask(gallery: Gallery, first: list[Sample], others: list[Sample]) -> None:
    """Search for each later image; claim to be who it is, and to be the one enrolled next."""
    names = [sample.finger for sample in first]
    after = dict(zip(names, [*names[1:], names[0]], strict=True))
    found = matches = false_matches = 0
    seconds = 0.0
    with progress_bar("asking") as progress:
        for done, sample in enumerate(others, 1):
            assert sample.template is not None
            probe = [sample.template]
            begin = time.perf_counter()
            candidates = gallery.identify(probe, max_candidates=1)
            seconds += time.perf_counter() - begin
            found += bool(candidates) and candidates[0].subject_id == sample.finger
            matches += gallery.verify(probe, sample.finger, fmr=_FMR).match
            false_matches += gallery.verify(probe, after[sample.finger], fmr=_FMR).match
            progress(done, len(others))
    table = Table(title=f"The other {len(others):,} images", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("searched for: the right one came first", f"{found:,} of {len(others):,}")
    table.add_row("time a search", f"{1000 * seconds / len(others):.1f} ms")
    table.add_row(f"true claims: match at FMR {_FMR:g}", f"{matches:,} of {len(others):,}")
    table.add_row("false claims: match", f"{false_matches:,} of {len(others):,}")
    out.print(table)
    say("`abis evaluate` measures error rates on the same folder.")
