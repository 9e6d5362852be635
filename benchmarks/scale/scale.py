# SPDX-License-Identifier: Apache-2.0
"""How soon, how surely and at what cost is a subject found among a million, and how does that grow?

Most subjects are synthetic, with two index fingers and a face each. Hidden among them are people with real
templates: impression 1 of two fingers of an FVC set, extracted from its images by abis.extraction, joined with
a face of Labeled Faces in the Wild. Their probes are impressions 2 to 8 and further images. More faces of that
set are enrolled with synthetic fingers. A mate is *lost* if an exhaustive search has it at rank 1 and the search
does not find it. Only probes without their mate at rank 1 are compared with all subjects. With --one-finger every
subject has its right index alone.

Galleries and the results of searches stay in the folder, so an interrupted run continues. Searches use one
thread, exhaustive ones all.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.progress import track

from abis.gallery import Gallery
from abis.index.snapshots import recipe
from abis.store import Enrollment
from abis.synthetic import Population
from abis.synthetic.face import MODEL
from abis.template import Embedding, Minutiae, Position, Template
from benchmarks.lib.common import (
    SETS,
    optional,
    options,
    print_table,
    public_data,
    resident_bytes,
    wilson,
    write,
)
from benchmarks.lib.images import extracted_set

IMPRESSIONS = 8  # of each finger in a set; the first is enrolled
CHUNK = 5_000  # subjects made, then enrolled, at a time
FPIR = 0.01  # false positive identification rate asked for
QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)  # of times, in percent
REPEATED, REPEATS = 10, 7  # probes of each kind searched again, and how often
PARTS = 20_000  # subjects of the galleries that tell what a finger and a face take
STRICT_SETS = ("fvc2002_db1_b", "fvc2002_db2_b", "fvc2004_db3_b")
KINDS: Mapping[str, Callable[[Template], bool]] = {
    "one finger": lambda t: t.position == Position.RIGHT_INDEX,
    "two fingers": lambda t: isinstance(t, Minutiae),
    "face": lambda t: isinstance(t, Embedding),
    "two fingers + face": lambda _: True,
}

Figures = dict[str, float | int | str]
Templates = tuple[Template, ...]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Person:
    """A subject with real templates: those enrolled, and later captures."""

    subject_id: str
    enrolled: Templates
    probes: Sequence[Templates]


@dataclass(frozen=True)
class Plan:
    """Who is in a gallery: the first of ``people``, spread evenly among synthetic subjects."""

    seed: int
    size: int
    one_finger: bool = False

    @property
    def folder(self) -> str:
        return f"seed{self.seed}-{self.size}{'-one-finger' * self.one_finger}"

    @property
    def population(self) -> Population:
        """The population of the synthetic subjects."""
        if self.one_finger:
            return Population(seed=self.seed, fingers=(Position.RIGHT_INDEX,), face=False)
        return Population(seed=self.seed)

    @property
    def kinds(self) -> list[str]:
        """What the gallery is searched by."""
        return ["one finger"] if self.one_finger else list(KINDS)

    def people(self) -> list[Person]:
        everyone = real_people(self.seed)
        if self.one_finger:
            kept = KINDS["one finger"]
            everyone = [
                Person(one.subject_id, tuple(filter(kept, one.enrolled)), one.probes)
                for one in everyone
                if any(map(kept, one.probes[0] if one.probes else ()))
            ]
        return everyone[: self.size // 2]

    def enrollments(self, first: int, last: int) -> Iterator[Enrollment]:
        """Numbers ``first`` to ``last - 1``."""
        people = self.people()
        place = {k * self.size // len(people): person for k, person in enumerate(people)}
        numbers = range(first, last)
        crowd = dict(
            zip(
                [n for n in numbers if n not in place],
                self.population.encounters([n for n in numbers if n not in place]),
                strict=True,
            )
        )
        for n in numbers:
            if n in place:
                yield Enrollment(place[n].subject_id, place[n].enrolled)
            else:
                yield Enrollment(*crowd[n])


def main() -> None:
    """Make and search every gallery, print the tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "abis-scale")
    parser.add_argument("--faces", type=int, default=1_000, metavar="N", help="probes by face (1,000)")
    parser.add_argument(
        "--non-mated", type=int, default=200, metavar="N", help="number of non-mated probes (200)"
    )
    parser.add_argument("--one-finger", action="store_true", help="every subject has its right index alone")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.03], metavar="SHARE")
    parser.add_argument(
        "--again",
        action="store_true",
        help="search anew, whatever searches of an earlier run are in the folder",
    )
    parser.add_argument(
        "--exhaustive-probes",
        type=int,
        default=60,
        metavar="K",
        help="compare K probes of each kind that did not find their mate with all subjects, taken evenly (60)",
    )
    arguments = parser.parse_args()
    figures: Figures = {}
    with optional("real_people", figures):
        for size in arguments.subjects:
            plan = Plan(arguments.seed, size, arguments.one_finger)
            folder = arguments.folder / plan.folder
            folder.mkdir(parents=True, exist_ok=True)
            if arguments.again:
                for note in (*folder.glob("searches-*.jsonl"), *folder.glob("repeats-*.json")):
                    note.unlink()
            figures |= {f"n{size}_{name}": value for name, value in measured(folder, plan, arguments).items()}
        if not arguments.one_finger:
            figures |= parts(arguments.folder, arguments.seed)
        kinds = Plan(arguments.seed, 0, arguments.one_finger).kinds
        figures |= growth(figures, kinds, arguments.subjects, arguments.shares)
        print_results(figures, kinds, arguments.subjects, arguments.shares)
    write(arguments.json, figures, seed=arguments.seed)


def measured(folder: Path, plan: Plan, arguments: Any) -> Figures:
    """All figures of one size; what is in the folder already is not made again."""
    figures = in_process(enroll, folder, plan)
    figures |= open_twice(folder, plan)
    for share in arguments.shares:
        rows = in_process(search, folder, plan, share, arguments.faces, arguments.non_mated)
        again = [] if plan.one_finger else repeat(folder, plan, share)  # whose second copy may not find room
        exact = in_process(compare_with_everyone, folder, plan, rows, arguments.exhaustive_probes)
        for kind in plan.kinds:
            own = [row for row in rows if row["kind"] == kind]
            found = summary(own, exact)
            if again:
                found |= steadiness([row for row in again if row["kind"] == kind])
            figures |= {f"{label(kind)}_at{share:g}_{k}": v for k, v in found.items()}
    return figures


# ------------------------------------------------------------------------------------- the real people


@cache
def real_people(seed: int) -> list[Person]:
    """People with real fingers, set by set in turn; then people with only a real face."""
    faces = real_faces()
    population = Population(seed=seed)
    people = []
    for name in SETS:
        by_finger: dict[str, dict[str, Minutiae]] = {}
        for s in extracted_set(public_data("images").parent, name).samples:
            assert isinstance(s.template, Minutiae)
            by_finger.setdefault(s.finger, {})[s.impression] = s.template
        fingers = list(by_finger.values())
        for number, (right, left) in enumerate(zip(fingers, fingers[1:] + fingers[:1], strict=True)):
            own = faces.pop(0)
            captures: list[Templates] = [
                (
                    at(Position.RIGHT_INDEX, right[str(i)]),
                    at(Position.LEFT_INDEX, left[str(i)]),
                    own[(i - 1) % len(own)],
                )
                for i in range(1, IMPRESSIONS + 1)
            ]
            people.append(Person(f"{name}/{number}", captures[0], captures[1:]))
    for number, own in enumerate(faces):
        fingers_only = population.templates(2**40 + number)[:2]  # not among the synthetic subjects
        people.append(Person(f"lfw/{number}", (*fingers_only, own[0]), [(face,) for face in own[1:]]))
    return people


def real_faces() -> list[list[Embedding]]:
    """Images of each person, those with most images first."""
    with np.load(public_data("faces", "lfw_arcface_mobile_512.npz")) as found:
        vectors, identity = found["embeddings"], found["identity"]
    people = [np.flatnonzero(identity == person) for person in np.unique(identity)]
    people.sort(key=len, reverse=True)
    return [[Embedding(vector=vectors[n], model=MODEL) for n in images] for images in people]


def at(position: Position, m: Minutiae) -> Minutiae:
    """The same minutiae as of another finger."""
    return replace(m, position=position)


# ---------------------------------------------------------------------------------------------- the work


def enroll(folder: Path, plan: Plan) -> Figures:
    """Make the gallery, or the rest of it; the time to make subjects up is left out."""
    note = folder / "enrolled.json"
    seconds = json.loads(note.read_text()) if note.exists() else {}
    with Gallery.open(folder / "gallery", load=False) as gallery:
        start = len(gallery)
        for first in progress(range(start, plan.size, CHUNK), f"enrolling {plan.size:,}"):
            batch = list(plan.enrollments(first, min(first + CHUNK, plan.size)))
            begin = time.perf_counter()
            gallery.enroll_many(batch)
            seconds[str(first)] = (time.perf_counter() - begin) / len(batch)
            note.write_text(json.dumps(seconds))
        disk = gallery.info().disk_bytes or 0
    return {
        "enroll_subjects_per_s": 1 / float(np.mean(list(seconds.values()))),
        "disk_store_bytes_per_subject": disk / plan.size,
    }


def open_twice(folder: Path, plan: Plan) -> Figures:
    """Open without and with what was prepared; the first only if it has not been done."""
    note = folder / "opened.json"
    if not note.exists():
        shutil.rmtree(folder / "gallery" / "derived", ignore_errors=True)
        built = in_process(opened, folder, plan)
        note.write_text(json.dumps({"build_s": built["open_s"], "build_and_save_s": built["all_s"]}))
    found = in_process(opened, folder, plan)
    derived = sum(file.stat().st_size for file in (folder / "gallery" / "derived").glob("*.segment"))
    return {
        **json.loads(note.read_text()),
        "open_s": found["open_s"],
        "memory_bytes_per_subject": found["memory_bytes"] / plan.size,
        "resident_bytes_per_subject": found["resident_bytes"] / plan.size,
        "disk_derived_bytes_per_subject": derived / plan.size,
    }


def opened(folder: Path, plan: Plan) -> dict[str, float]:
    before = resident_bytes()
    begin = time.perf_counter()
    bar = Bar(f"opening {plan.size:,}")
    with Gallery.open(folder / "gallery", progress=bar) as gallery:
        seconds = time.perf_counter() - begin
        memory, resident = gallery.info().memory_bytes, resident_bytes() - before
    return {
        "open_s": seconds,
        "all_s": time.perf_counter() - begin,
        "memory_bytes": memory,
        "resident_bytes": resident,
    }


def search(folder: Path, plan: Plan, share: float, faces: int, non_mated: int) -> list[dict[str, Any]]:
    """One row a search, in a file to go on from."""
    path = folder / f"searches-{share:g}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["kind"], row["probe"]) for row in rows}
    left = [p for p in probes_of(plan, faces, non_mated) if (p[0], p[1]) not in done]
    if left:
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})  # one thread
        with Gallery.open(folder / "gallery") as gallery, path.open("a") as stream:
            for kind in plan.kinds:  # the first search of a kind warms up
                gallery.identify(next(p[3] for p in probes_of(plan, faces, non_mated) if p[0] == kind))
            for kind, name, mate, probe in progress(left, f"searching {plan.size:,}, share {share:g}"):
                begin = time.perf_counter()
                found = gallery.identify(probe, share=share, fpir=None if mate else FPIR)
                row = {
                    "kind": kind,
                    "probe": name,
                    "mate": mate,
                    "seconds": time.perf_counter() - begin,
                    "found": found[0].subject_id if found else "",
                    "compared": found.compared,
                    "comparable": found.comparable,
                    "digest": hashlib.sha256(repr(found.candidates).encode()).hexdigest(),
                }
                rows.append(row)
                stream.write(json.dumps(row) + "\n")
                stream.flush()
    return rows


def probes_of(plan: Plan, faces: int, non_mated: int) -> Iterator[tuple[str, str, str, Templates]]:
    """Kind, name, mate ("" for a non-mated probe) and templates of all probes."""
    people = plan.people()
    fingers = [
        person
        for person in people
        if person.probes and any(isinstance(template, Minutiae) for template in person.probes[0])
    ]
    for kind in plan.kinds:
        if kind == "face":
            continue
        for person in fingers:
            for number, probe in enumerate(person.probes):
                chosen = tuple(filter(KINDS[kind], probe))
                yield kind, f"{person.subject_id}/{number}", person.subject_id, chosen
    images = [
        ("face", f"{person.subject_id}/{n}", person.subject_id, (probe[-1],))
        for person in people
        for n, probe in enumerate(person.probes)
        if "face" in plan.kinds
    ]
    count = min(faces, len(images))
    yield from (images[k * len(images) // count] for k in range(count))
    strangers = Population(seed=plan.seed).encounters(range(2**41, 2**41 + non_mated), impression=1)
    for name, templates in strangers:
        for kind in plan.kinds:
            yield kind, f"non-mated/{name}", "", tuple(filter(KINDS[kind], templates))


def repeat(folder: Path, plan: Plan, share: float) -> list[dict[str, Any]]:
    """Search for some non-mated probes repeatedly: one search at a time, then one on each core at once."""
    path = folder / f"repeats-{share:g}.json"
    if path.exists():
        found: list[dict[str, Any]] = json.loads(path.read_text())
        return found
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    for busy in sorted({1, len(cores)}):
        barrier = multiprocessing.get_context("spawn").Manager().Barrier(busy)
        with _processes(busy) as pool:
            asked = [pool.submit(repeated, folder, plan, share, core, barrier) for core in cores[:busy]]
            for own in asked:
                rows += [{**row, "busy": busy} for row in own.result()]
    path.write_text(json.dumps(rows))
    return rows


def repeated(folder: Path, plan: Plan, share: float, core: int, barrier: Any) -> list[dict[str, Any]]:
    """Searches by one thread on a core of its own, which begin when all processes are ready."""
    os.sched_setaffinity(0, {core})
    probes = [p for p in probes_of(plan, 0, REPEATED) if not p[2]]
    rows = []
    with Gallery.open(folder / "gallery") as gallery:
        for kind in KINDS:
            gallery.identify(next(p[3] for p in probes if p[0] == kind), share=share)
        barrier.wait()
        for _ in range(REPEATS):
            for kind, name, _, probe in probes:
                begin = time.perf_counter()
                gallery.identify(probe, share=share)
                rows.append({"kind": kind, "probe": name, "seconds": time.perf_counter() - begin})
        barrier.wait()
    return rows


def parts(folder: Path, seed: int) -> Figures:
    """What a finger and a face take, and what a subject takes beside them: galleries of some kinds alone."""
    figures: Figures = {"parts_subjects": PARTS}
    for kind in ("one finger", "face", "two fingers + face"):
        note = folder / f"seed{seed}-parts-{label(kind)}-{recipe()[:12]}.json"
        found = in_process(part, note, kind, seed)
        figures |= {f"parts_{label(kind)}_{name}": value for name, value in found.items()}
    return figures


def part(note: Path, kind: str, seed: int) -> dict[str, float]:
    """One such gallery, made and thrown away."""
    if note.exists():
        kept: dict[str, float] = json.loads(note.read_text())
        return kept
    enrollments = [
        Enrollment(name, tuple(filter(KINDS[kind], templates)))
        for name, templates in Population(seed=seed).encounters(range(PARTS))
    ]
    with tempfile.TemporaryDirectory(dir=note.parent) as made:
        begin = time.perf_counter()
        with Gallery.open(made, load=False) as gallery:
            gallery.enroll_many(enrollments)
            seconds = time.perf_counter() - begin
        with Gallery.open(made) as gallery:
            memory, disk = gallery.info().memory_bytes, gallery.info().disk_bytes or 0
        derived = sum(file.stat().st_size for file in (Path(made) / "derived").glob("*.segment"))
    found = {
        "enroll_subjects_per_s": PARTS / seconds,
        "memory_bytes_per_subject": memory / PARTS,
        "disk_store_bytes_per_subject": disk / PARTS,
        "disk_derived_bytes_per_subject": derived / PARTS,
    }
    note.write_text(json.dumps(found))
    return found


def compare_with_everyone(
    folder: Path, plan: Plan, rows: Sequence[Mapping[str, Any]], most: int
) -> dict[str, Any]:
    """For probes whose mate the search did not find: what comparison with everyone puts at rank 1."""
    path = folder / "exact.jsonl"
    exact = {}
    if path.exists():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            exact[f"{row['kind']}: {row['probe']}"] = row
    wanted = []
    for kind in plan.kinds:
        own = [row for row in rows if row["kind"] == kind and row["mate"]]
        missed = [row for row in own if row["found"] != row["mate"]]
        missed = [missed[k * len(missed) // most] for k in range(most)] if len(missed) > most else missed
        wanted += missed + [row for row in own if row not in missed][: min(2, most)]  # for the time
    left = {(r["kind"], r["probe"]) for r in wanted if f"{r['kind']}: {r['probe']}" not in exact}
    if left:
        with Gallery.open(folder / "gallery") as gallery, path.open("a") as stream:
            probes = [p for p in probes_of(plan, 10**6, 0) if (p[0], p[1]) in left]
            for kind, name, _, probe in progress(probes, f"comparing with all {plan.size:,}"):
                begin = time.process_time()
                found = gallery.identify(probe, max_candidates=1, exact=True)
                seconds = time.process_time() - begin
                row = {"kind": kind, "probe": name, "found": found[0].subject_id, "seconds": seconds}
                exact[f"{kind}: {name}"] = row
                stream.write(json.dumps(row) + "\n")
                stream.flush()
    return exact


# -------------------------------------------------------------------------------------------- the figures


def summary(rows: Sequence[Mapping[str, Any]], exact: Mapping[str, Mapping[str, Any]]) -> Figures:
    """Figures of the searches of one kind."""
    if not rows:
        return {}
    mated = [row for row in rows if row["mate"]]
    non_mated = [row for row in rows if not row["mate"]]
    milliseconds = [1e3 * row["seconds"] for row in rows]
    found = [row["found"] == row["mate"] for row in mated]
    in_full = {(r["kind"], r["probe"]): exact.get(f"{r['kind']}: {r['probe']}") for r in rows}

    def is_lost(row: Mapping[str, Any]) -> bool:
        other = in_full[row["kind"], row["probe"]]
        return row["found"] != row["mate"] and other is not None and other["found"] == row["mate"]

    lost = [is_lost(row) for row in mated]
    unknown = sum(
        not ok and in_full[r["kind"], r["probe"]] is None for r, ok in zip(mated, found, strict=True)
    )
    missed = len(mated) - sum(found)
    figures: Figures = {
        **{f"p{q}_ms": float(np.percentile(milliseconds, q)) for q in QUANTILES},
        "mated_p50_ms": 1e3 * float(np.median([row["seconds"] for row in mated])),
        "mated_probes": len(mated),
        "rank_1_percent": 100 * float(np.mean(found)),
        "not_compared_with_everyone": unknown,
        "compared_percent": 100 * sum(r["compared"] for r in rows) / sum(r["comparable"] for r in rows),
        "results": hashlib.sha256("".join(row["digest"] for row in rows).encode()).hexdigest()[:16],
    }
    is_known = missed == 0 or unknown < missed
    if is_known:
        figures |= interval("lost", sum(lost), len(mated))
        # As if of those not compared with everyone as many were lost as of those that were.
        share = 1 + unknown / max(1, missed - unknown)
        figures["lost_estimate_percent"] = 100 * sum(lost) / len(mated) * share
    seconds = [row["seconds"] for row in in_full.values() if row is not None]
    if seconds:
        figures["exhaustive_s"] = float(np.median(seconds))
        figures["speed_up"] = float(np.median(seconds) / np.median(milliseconds) * 1e3)
    by_set = {
        name: [ok for row, ok in zip(mated, lost, strict=True) if row["mate"].startswith(name)]
        for name in SETS
    }
    if is_known and all(by_set.values()):
        figures["lost_mean_of_sets_percent"] = 100 * float(np.mean([np.mean(v) for v in by_set.values()]))
        strict = [ok for name in STRICT_SETS for ok in by_set[name]]
        figures |= {f"lost_{name}_percent": 100 * float(np.mean(v)) for name, v in by_set.items()}
        figures |= interval("lost_strict_sets", sum(strict), len(strict))
    if non_mated:
        figures["non_mated_probes"] = len(non_mated)
        milliseconds = [1e3 * row["seconds"] for row in non_mated]
        figures |= {f"non_mated_p{q}_ms": float(np.percentile(milliseconds, q)) for q in QUANTILES}
        figures |= interval("false_positives", sum(bool(row["found"]) for row in non_mated), len(non_mated))
    return figures


def steadiness(rows: Sequence[Mapping[str, Any]]) -> Figures:
    """How much the same search varies, and how much slower it is when every core searches."""
    alone: dict[str, list[float]] = {}
    together: dict[str, list[float]] = {}
    busy = max(row["busy"] for row in rows)
    for row in rows:
        (alone if row["busy"] == 1 else together).setdefault(row["probe"], []).append(row["seconds"])
    jitter = np.concatenate([np.array(own) / np.median(own) for own in alone.values()])
    figures: Figures = {f"jitter_p{q}": float(np.percentile(jitter, q)) for q in QUANTILES}
    figures["busy_cores"] = busy
    ratios = [np.median(together.get(probe, own)) / np.median(own) for probe, own in alone.items()]
    figures["busy_slowdown"] = float(np.median(ratios))
    return figures


def interval(name: str, errors: int, trials: int) -> Figures:
    low, high = wilson(errors, trials)
    return {
        f"{name}_percent": 100 * errors / trials,
        f"{name}_low_percent": 100 * low,
        f"{name}_high_percent": 100 * high,
    }


def growth(figures: Figures, kinds: Sequence[str], sizes: Sequence[int], shares: Sequence[float]) -> Figures:
    """Exponent of the median time between sizes that follow each other."""
    found: Figures = {}
    for small, large in pairwise(sizes):
        for kind in kinds:
            for share in shares:
                key = f"{label(kind)}_at{share:g}_p50_ms"
                ratio = float(figures[f"n{large}_{key}"]) / float(figures[f"n{small}_{key}"])
                found[f"{label(kind)}_at{share:g}_exponent_{small}_{large}"] = math.log(ratio) / math.log(
                    large / small
                )
    return found


def print_results(
    figures: Figures, kinds: Sequence[str], sizes: Sequence[int], shares: Sequence[float]
) -> None:
    """Three tables: sizes, searches, growth."""

    def row(text: str, name: str, digits: int) -> list[str]:
        return [text, *(f"{figures[f'n{size}_{name}']:,.{digits}f}" for size in sizes)]

    print_table(
        f"Gallery: {'two fingers and a face' if 'face' in kinds else 'one finger'} a subject",
        ["", *(f"{size:,} subjects" for size in sizes)],
        [
            row("enroll, subjects/s", "enroll_subjects_per_s", 0),
            row("open without snapshot, s", "build_s", 1),
            row("open with snapshot, s", "open_s", 1),
            row("memory, bytes a subject", "memory_bytes_per_subject", 0),
            row("memory as the system counts it, bytes a subject", "resident_bytes_per_subject", 0),
            row("disk, store, bytes a subject", "disk_store_bytes_per_subject", 0),
            row("disk, snapshot, bytes a subject", "disk_derived_bytes_per_subject", 0),
        ],
    )
    rows = []
    for size in sizes:
        for kind in kinds:
            for share in shares:
                name = f"n{size}_{label(kind)}_at{share:g}_"
                of = {key.removeprefix(name): value for key, value in figures.items() if key.startswith(name)}
                if not of:
                    continue
                rows.append(
                    [
                        f"{kind}, {size:,}",
                        f"{share:g}",
                        " / ".join(f"{of[f'p{q}_ms']:,.1f}" for q in (50, 95, 99)),
                        f"{of['mated_p50_ms']:,.1f} / {of.get('non_mated_p50_ms', math.nan):,.1f}",
                        f"{of['rank_1_percent']:.2f}",
                        (
                            f"{of['lost_estimate_percent']:.2f} "
                            f"({of['lost_low_percent']:.2f}-{of['lost_high_percent']:.2f})"
                            if "lost_percent" in of
                            else "not measured"
                        ),
                        f"{of.get('lost_strict_sets_percent', math.nan):.2f}",
                        f"{of.get('lost_mean_of_sets_percent', math.nan):.2f}",
                        of["not_compared_with_everyone"],
                        f"{of.get('false_positives_percent', math.nan):.1f}",
                        f"{of['compared_percent']:.3f}",
                        f"{of.get('speed_up', math.nan):,.0f}",
                        of["results"],
                    ]
                )
    print_table(
        "Identify: real mates in a synthetic crowd",
        [
            *(
                "probe, subjects",
                "share",
                "p50 / p95 / p99 ms",
                "p50 mated / non-mated",
                "rank 1 %",
                "lost % (95 %)",
            ),
            *("3 sets %", "8 sets %", "unknown", "FPIR %", "in full %", "speed-up", "results"),
        ],
        rows,
        note=f"One thread. Lost: at rank 1 by comparison with everyone, but not by the search. 3 sets: "
        f"{', '.join(STRICT_SETS)}.\nUnknown: not found, and not compared with everyone. FPIR: at the "
        f"threshold for {FPIR:.0%}. Results: checksum.",
    )
    exponents = [[key, f"{value:.2f}"] for key, value in figures.items() if "_exponent_" in key]
    if exponents:
        print_table("Growth of the median time", ["", "exponent"], exponents)


# ----------------------------------------------------------------------------------------------- helpers


def label(kind: str) -> str:
    return kind.replace(" + ", "_").replace(" ", "_")


def in_process(function: Callable[..., _T], *arguments: Any) -> _T:
    """Run in a process of its own, so that memory is told apart and threads can be bound."""
    with _processes(1) as pool:
        return pool.submit(function, *arguments).result()


def _processes(count: int) -> ProcessPoolExecutor:
    """Processes that may start others, as the extraction of images does."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def progress(rows: Iterable[_T], text: str) -> Iterator[_T]:
    """The rows, with a progress bar where someone watches."""
    return iter(track(list(rows), text, transient=True, disable=not sys.stdout.isatty()))


class Bar:
    """A progress callback that prints now and then."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = 0

    def __call__(self, done: int, total: int) -> None:
        if done >= self._next and sys.stdout.isatty():
            print(f"{self._text}: {done:,} of {total:,} templates", end="\r", flush=True)
            self._next = done + total // 100


if __name__ == "__main__":
    main()
