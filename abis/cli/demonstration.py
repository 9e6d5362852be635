# SPDX-License-Identifier: Apache-2.0
"""``abis demo``: enroll, identify and verify synthetic people, and print the results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.table import Table

from abis.cli.arguments import CacheFolder, Dpi, FaceModel, FingerPosition
from abis.cli.console import note, out, progress_bar, tell
from abis.cli.demonstration_images import demo_of_images
from abis.cli.images import ImageOptions
from abis.gallery import Gallery
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Embedding, Position, Template

__all__ = ["commands"]

commands = typer.Typer()

_FPIR = 1e-3  # of non-mated searches
_FMR = 1e-6  # of impostors
_CHUNK = 1000  # people generated, then enrolled, at a time

_KINDS: Mapping[str, Callable[[Template], bool]] = {
    "one finger": lambda template: template.position == Position.RIGHT_INDEX,
    "a face": lambda template: isinstance(template, Embedding),
    "two fingers + face": lambda _: True,
}

_Probe: TypeAlias = Sequence[Template]


@dataclass(frozen=True)
class _People:
    """The enrolled people, and probes of them and of people who are not enrolled.

    Attributes:
        population: people with numbers below ``enrolled`` are in the gallery, the others are not.
        enrolled: number of enrolled people.
    """

    population: Population
    enrolled: int

    def pairs(self, most: int, kind: str) -> Iterator[tuple[str, _Probe, _Probe]]:
        """``most`` times: the id and a probe of an enrolled person, and a non-mated probe."""
        chosen = [k * self.enrolled // most for k in range(most)]
        strangers = range(self.enrolled, self.enrolled + most)
        for (name, own), (_, other) in zip(
            self.population.encounters(chosen, impression=1),
            self.population.encounters(strangers, impression=1),
            strict=True,
        ):
            yield name, list(filter(_KINDS[kind], own)), list(filter(_KINDS[kind], other))


@dataclass(frozen=True)
class _Question:
    """A question that is put to the gallery many times.

    Attributes:
        title: title of the table of answers.
        headings: of the columns for enrolled people, for people who are not enrolled, and for the time.
        right_for_enrolled: asks with an id and a mated probe; returns whether the answer is right.
        right_for_stranger: asks with an id and a non-mated probe; returns whether the answer is right.
        most: largest number of questions with each kind of probe.
        seconds: longest time with each kind of probe.
    """

    title: str
    headings: tuple[str, str, str]
    right_for_enrolled: Callable[[str, _Probe], bool]
    right_for_stranger: Callable[[str, _Probe], bool]
    most: int
    seconds: float


@commands.command()
def demo(
    *,
    subjects: Annotated[int, typer.Option(min=10, help="Number of synthetic people.")] = 10_000,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the people; the same seed makes the same people.")
    ] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Use the images in this folder instead, named <finger or person>_<impression>.*.",
        ),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    cache: CacheFolder = None,
) -> None:
    """Enroll synthetic people, search for them and for others, and print the results.

    Needs no data, takes less than a minute, and leaves nothing behind.
    """
    if folder is not None:
        demo_of_images(folder, ImageOptions(position, dpi, face_model, cache))
        return
    start = time.perf_counter()
    note(
        f"Generating {subjects:,} people with two index fingers and a face each. The first time takes longer."
    )
    people = _People(Population(seed=seed), subjects)
    with tempfile.TemporaryDirectory(prefix="abis-demo-") as home:
        try:
            with Gallery.open(Path(home) / "demo.abis") as gallery:
                _enroll(gallery, people)
                _show_one(gallery, people)
                for question in _questions(gallery, subjects):
                    _ask(question, people)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the gallery of the demo is removed") from None
    tell(
        "\nThe rates asked for are upper limits, kept with a margin.\n"
        "No error in 100 means an error rate below 3 %, with 95 % confidence.\n"
        "These people are synthetic, after statistics of real prints and faces; `abis evaluate` measures\n"
        f"error rates on your own data. All of this took {time.perf_counter() - start:.0f} seconds."
    )


def _questions(gallery: Gallery, subjects: int) -> tuple[_Question, _Question]:
    def finds(name: str, probe: _Probe) -> bool:
        found = gallery.identify(probe, fpir=_FPIR)
        return bool(found) and found[0].subject_id == name

    return (
        _Question(
            title=f"1:N among {subjects:,}: 1 in 1,000 non-mated searches may return a candidate.",
            headings=("enrolled: found", "not enrolled: not found", "time each"),
            right_for_enrolled=finds,
            right_for_stranger=lambda _, probe: not gallery.identify(probe, fpir=_FPIR),
            most=min(100, subjects),
            seconds=12.0,
        ),
        _Question(
            title="1:1: 1 in 1,000,000 impostors may match.",
            headings=("true claim: match", "false claim: no match", "time each"),
            right_for_enrolled=lambda name, probe: gallery.verify(probe, name, fmr=_FMR).match,
            right_for_stranger=lambda name, probe: not gallery.verify(probe, name, fmr=_FMR).match,
            most=min(1000, subjects),
            seconds=2.5,
        ),
    )


def _enroll(gallery: Gallery, people: _People) -> None:
    people.population.templates(0)  # compiles the generator
    seconds = 0.0
    with progress_bar("enrolling") as progress:
        for first in range(0, people.enrolled, _CHUNK):
            last = min(first + _CHUNK, people.enrolled)
            batch = [Enrollment(*person) for person in people.population.encounters(range(first, last))]
            begin = time.perf_counter()
            gallery.enroll_many(batch)
            seconds += time.perf_counter() - begin
            progress(last, people.enrolled)
    info = gallery.info()
    table = Table(title="Enrolled", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("people", f"{info.subjects:,}")
    table.add_row("templates", f"{sum(info.templates.values()):,}")
    table.add_row("a second: safe on disk, ready to be searched", f"{info.subjects / seconds:,.0f} people")
    table.add_row("memory", f"{info.memory_bytes / info.subjects / 1000:.1f} kB a person")
    table.add_row("disk", f"{(info.disk_bytes or 0) / info.subjects / 1000:.1f} kB a person")
    out.print(table)


def _show_one(gallery: Gallery, people: _People) -> None:
    name, probe, _ = next(people.pairs(1, "two fingers + face"))
    tell(
        f"\nPerson {name} returns and presents two fingers and a face, but no id. The gallery finds:\n\n"
        f"{gallery.identify(probe, max_candidates=3)}\n\n"
        "A score of 6 means that the evidence is a million times likelier if it is the same person.\n"
    )


def _ask(question: _Question, people: _People) -> None:
    """Ask with each kind of probe, mated and non-mated in turn, and print the answers."""
    table = Table(title=question.title, title_justify="left")
    table.add_column("probe")
    for heading in question.headings:
        table.add_column(heading, justify="right")
    for kind in _KINDS:
        right: list[bool] = []
        right_stranger: list[bool] = []
        seconds = 0.0
        with progress_bar(f"asking with {kind}") as progress:
            for name, own, other in people.pairs(question.most, kind):
                begin = time.perf_counter()
                right.append(question.right_for_enrolled(name, own))
                right_stranger.append(question.right_for_stranger(name, other))
                seconds += time.perf_counter() - begin
                progress(len(right), question.most)
                if seconds > question.seconds:
                    break
        table.add_row(
            kind,
            f"{sum(right):,} of {len(right):,}",
            f"{sum(right_stranger):,} of {len(right):,}",
            f"{1000 * seconds / (2 * len(right)):.1f} ms",
        )
    out.print(table)
