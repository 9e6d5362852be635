# SPDX-License-Identifier: Apache-2.0
"""``abis demo --images``: enroll, identify and verify your own images, and print the results."""

from __future__ import annotations

import tempfile
import time
from itertools import groupby
from pathlib import Path

from rich.table import Table

from abis.cli.console import note, out, progress_bar, tell
from abis.cli.images import ImageOptions, reading
from abis.errors import AbisError
from abis.evaluation import DataSet, FolderSample, read_folder
from abis.gallery import Gallery
from abis.store import Enrollment

__all__ = ["demo_of_images"]

_FMR = 1e-4
_MOST_FAILURES = 10  # named one by one


def demo_of_images(folder: Path, images: ImageOptions) -> None:
    """Enroll the first impression of each finger or person; identify and verify the others."""
    start = time.perf_counter()
    data_set = _read(folder, images)
    first, others = _divided(data_set)
    tell(
        f"{data_set.name}: {len(data_set.samples):,} images, "
        f"{len(data_set.failures):,} failed to extract; read in {time.perf_counter() - start:.1f} s"
    )
    for failure in data_set.failures[:_MOST_FAILURES]:
        tell(f"  {failure.reason}")
    if len(data_set.failures) > _MOST_FAILURES:
        tell(f"  and {len(data_set.failures) - _MOST_FAILURES:,} more")
    if data_set.failures and not first:
        raise AbisError(
            f"{folder}: no template could be extracted from any image; check --position and --dpi"
        )
    if not others or len(first) < 2:
        raise AbisError(
            f"{folder}: expected two or more fingers or people, one of them with two or more images"
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


def _divided(data_set: DataSet) -> tuple[list[FolderSample], list[FolderSample]]:
    """The first sample with a template of each finger, and all later samples of these fingers."""
    first, others = [], []
    for _, samples in groupby(data_set.samples, key=lambda sample: sample.finger):
        good = [sample for sample in samples if sample.template is not None]
        first.extend(good[:1])
        others.extend(good[1:])
    return first, others


def _show_one(gallery: Gallery, probe: FolderSample) -> None:
    assert probe.template is not None
    tell(
        f"\n{len(gallery):,} are enrolled, by their first image each. The gallery finds for {probe.name}:\n\n"
        f"{gallery.identify([probe.template], max_candidates=3)}\n"
    )


def _ask(gallery: Gallery, first: list[FolderSample], others: list[FolderSample]) -> None:
    """Search for each later image; verify it against its own subject, and against the next one."""
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
    table.add_row("identify: mate at rank 1", f"{found:,} of {len(others):,}")
    table.add_row("time a search", f"{1000 * seconds / len(others):.1f} ms")
    table.add_row(f"verify, true claims: match at FMR {_FMR:g}", f"{matches:,} of {len(others):,}")
    table.add_row("verify, false claims: match", f"{false_matches:,} of {len(others):,}")
    out.print(table)
    note("`abis evaluate` measures error rates on the same folder.")
