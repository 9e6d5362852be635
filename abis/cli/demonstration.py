# SPDX-License-Identifier: Apache-2.0
"""``abis demo``: people made up, enrolled, searched for and verified, and what came of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import typer
from rich.table import Table

from abis.cli.console import out, progress_bar, say
from abis.gallery import Gallery
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Embedding, Position, Template

__all__ = ["demo"]

_FPIR = 1e-3  # of searches for strangers, the part that may return somebody
_FMR = 1e-6  # of impostors, the part that may be taken for who they claim to be
_CHUNK = 1000  # people made up, then enrolled, at a time

_KINDS: Mapping[str, Callable[[Template], bool]] = {
    "one finger": lambda template: template.position == Position.RIGHT_INDEX,
    "a face": lambda template: isinstance(template, Embedding),
    "two fingers + face": lambda _: True,
}

_Probe: TypeAlias = Sequence[Template]


@dataclass(frozen=True)
class _People:
    """Who is enrolled, and what they and strangers show on a later day.

    Attributes:
        population: numbers below ``enrolled`` are in the gallery, the others are strangers.
        enrolled: how many are.
    """

    population: Population
    enrolled: int

    def pairs(self, most: int, kind: str) -> Iterator[tuple[str, _Probe, _Probe]]:
        """The name and a probe of somebody enrolled, and a stranger's probe, ``most`` times."""
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
    """What is asked of the gallery again and again.

    Attributes:
        title: of the table of answers.
        headings: of its columns: for enrolled people, for strangers, the time.
        right_for_enrolled: asks with a name and the probe of this person; is the answer right?
        right_for_stranger: asks with a name and the probe of somebody who is not enrolled; likewise.
        most: how often at most, with each kind of probe.
        seconds: for how long at most, likewise.
    """

    title: str
    headings: tuple[str, str, str]
    right_for_enrolled: Callable[[str, _Probe], bool]
    right_for_stranger: Callable[[str, _Probe], bool]
    most: int
    seconds: float


def demo(subjects: int, seed: int) -> None:
    """All of it, in a gallery that is thrown away."""
    start = time.perf_counter()
    say(f"Making up {subjects:,} people with two index fingers and a face each. The first time takes longer.")
    people = _People(Population(seed=seed), subjects)
    with tempfile.TemporaryDirectory(prefix="abis-demo-") as folder:
        try:
            with Gallery.open(Path(folder) / "demo.abis") as gallery:
                _enroll(gallery, people)
                _show_one(gallery, people)
                for question in _questions(gallery, subjects):
                    _ask(question, people)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the demo's gallery is gone, nothing is kept") from None
    typer.echo(
        "\nA rate asked for is a promise, kept with a margin: what does not reach it is no match.\n"
        "No error in 100 means: below 3 %, with 95 % confidence.\n"
        "These people are made up, after statistics of real prints and faces; `abis evaluate` tells what\n"
        f"your own data gives. All of this took {time.perf_counter() - start:.0f} seconds."
    )


def _questions(gallery: Gallery, subjects: int) -> tuple[_Question, _Question]:
    def finds(name: str, probe: _Probe) -> bool:
        found = gallery.identify(probe, fpir=_FPIR)
        return bool(found) and found[0].subject_id == name

    return (
        _Question(
            title=f"Who is this, among {subjects:,}? 1 in 1,000 strangers may be taken for one.",
            headings=("enrolled: found", "strangers: not found", "time each"),
            right_for_enrolled=finds,
            right_for_stranger=lambda _, probe: not gallery.identify(probe, fpir=_FPIR),
            most=min(100, subjects),
            seconds=12.0,
        ),
        _Question(
            title="Is this the person it claims to be? Of impostors, 1 in 1,000,000 may pass.",
            headings=("true claim: match", "false claim: no match", "time each"),
            right_for_enrolled=lambda name, probe: gallery.verify(probe, name, fmr=_FMR).match,
            right_for_stranger=lambda name, probe: not gallery.verify(probe, name, fmr=_FMR).match,
            most=min(1000, subjects),
            seconds=2.5,
        ),
    )


def _enroll(gallery: Gallery, people: _People) -> None:
    people.population.templates(0)  # compiles the code that makes people up
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
    table.add_row("a second: safe on disk, ready to be found", f"{info.subjects / seconds:,.0f} people")
    table.add_row("memory", f"{info.memory_bytes / info.subjects / 1000:.1f} kB a person")
    table.add_row("disk", f"{(info.disk_bytes or 0) / info.subjects / 1000:.1f} kB a person")
    out.print(table)


def _show_one(gallery: Gallery, people: _People) -> None:
    name, probe, _ = next(people.pairs(1, "two fingers + face"))
    typer.echo(
        f"\n{name} comes back, shows two fingers and a face, and says no name. The gallery's answer:\n\n"
        f"{gallery.identify(probe, max_candidates=3)}\n\n"
        "A score of 6 says that such likeness is a million times likelier if it is the same person.\n"
    )


def _ask(question: _Question, people: _People) -> None:
    """Ask with each kind of probe, for enrolled people and strangers in turn, and print the answers."""
    table = Table(title=question.title, title_justify="left")
    table.add_column("shown")
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
