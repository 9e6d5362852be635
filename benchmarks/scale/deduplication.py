# SPDX-License-Identifier: Apache-2.0
"""Are duplicates found? Planted duplicates, faces of LFW under two names, fingers of FVC sets; and kill -9.

Each part is a question; ``--parts`` selects those to ask now, and the figures of the others are those of
the last run in this folder. Synthetic subjects come from ``abis.synthetic``; one in a hundred is enrolled a
second time as another subject, with captures of another day. ``looks`` compares mates with each other at
the cuts of galleries of several sizes: which of the pairs that a full comparison lists do the first two
looks miss?
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from abis.deduplication import Criterion, Tile, find_pairs
from abis.evaluation.datasets import read_folder
from abis.gallery import Gallery
from abis.index.segments import Entry, Segment
from abis.scoring.calibration import Calibrations
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Embedding, Minutiae, Template
from benchmarks.lib.common import (
    ONE_FINGER_IN_TWO_SETS,
    SETS,
    optional,
    options,
    print_table,
    public_data,
    resident_bytes,
    wilson,
    write,
)

FPIR = 1e-4
PLANTED = 100  # one in this many subjects is enrolled a second time
LOOKED = (10_000, 100_000, 1_000_000)  # subjects of galleries at whose cuts mates are looked at
MATES = 500  # synthetic people for this question
AGAIN = "again-"  # prefix of the subject ids of planted duplicates
PARTS = ("synthetic", "lfw", "fvc", "looks", "kills")

Figures = dict[str, float | int | str]


def main() -> None:
    """Answer the questions, print tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, nargs="+", default=[10_000, 100_000], metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "abis-deduplication")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--kills", type=int, default=10, metavar="N", help="number of kills with SIGKILL (10)"
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder, seed = arguments.folder, arguments.seed
    steps: dict[str, Callable[[], Figures]] = {
        "synthetic": lambda: synthetic(folder, sorted(arguments.subjects), seed),
        "lfw": lambda: lfw(folder),
        "fvc": lambda: fvc(folder),
        "looks": lambda: looks(seed),
        "kills": lambda: kills(folder, min(arguments.subjects), seed, arguments.kills),
    }
    figures: Figures = {}
    for part in PARTS:
        note = folder / f"{part}-{seed}.json"
        if part in arguments.parts:
            with optional(part, figures):
                note.write_text(json.dumps(steps[part]()))
        if note.exists():
            figures |= json.loads(note.read_text())
    write(arguments.json, figures, seed=seed)


# ------------------------------------------------------------------------------------------ made-up people


def made_up(folder: Path, size: int, seed: int) -> Path:
    """The gallery, made where it is not there or not whole."""
    path = folder / f"synthetic-{seed}-{size}"
    population = Population(seed=seed)
    people = size - size // (PLANTED + 1)
    again = range(0, people, people // (size - people))[: size - people]
    with Gallery.open(path, load=False) as gallery:
        if len(gallery) < people:
            left = range(len(gallery), people)
            gallery.enroll_many(Enrollment(*e) for e in population.encounters(left))
        done = len(gallery) - people
        gallery.enroll_many(
            Enrollment(AGAIN + name, templates)
            for name, templates in population.encounters(again[done:], impression=1)
        )
    return path


def synthetic(folder: Path, sizes: Sequence[int], seed: int) -> Figures:
    figures: Figures = {}
    rows = []
    for size in sizes:
        with Gallery.open(made_up(folder, size, seed)) as gallery:
            planted = sum(name.startswith(AGAIN) for name in gallery)
            wall, cpu = time.perf_counter(), time.process_time()
            found = gallery.deduplicate(fpir=FPIR)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        true = sum(pair.other_id == AGAIN + pair.subject_id for pair in found)
        false = len(found) - true
        low, high = wilson(true, planted)
        figures |= {
            f"n{size}_planted": planted,
            f"n{size}_found": true,
            f"n{size}_found_low": low,
            f"n{size}_found_high": high,
            f"n{size}_false_pairs": false,
            f"n{size}_wall_s": wall,
            f"n{size}_cpu_s": cpu,
            f"n{size}_resident_bytes": resident_bytes(),
        }
        rows.append((f"{size:,}", f"{true} of {planted}", false, f"{wall:.0f} s", f"{cpu:.0f} s"))
    if len(sizes) > 1:
        first, last = sizes[0], sizes[-1]
        growth = float(figures[f"n{last}_cpu_s"]) / float(figures[f"n{first}_cpu_s"])
        figures["exponent"] = math.log(growth) / math.log(last / first)
    print_table(
        "Made-up people, two fingers and a face",
        ("subjects", "duplicates found", "false pairs", "time", "CPU time"),
        rows,
        note=f"fpir {FPIR:g}; cost grows with the power {figures.get('exponent', math.nan):.2f} of the subjects",
    )
    return figures


# ------------------------------------------------------------------------------------------------ faces


def portraits() -> dict[str, list[Sequence[Template]]]:
    """The images of each person of the set."""
    with np.load(public_data("faces", "lfw_arcface_mobile_512.npz")) as content:
        vectors, names = content["embeddings"], content["names"]
    found: dict[str, list[Sequence[Template]]] = {}
    for name, vector in zip(names, vectors, strict=True):
        found.setdefault(str(name)[:-5], []).append([Embedding(vector=vector, model="w600k_mbf")])
    return found


def lfw(folder: Path) -> Figures:
    """Labeled Faces in the Wild, every person a subject, every image an encounter."""
    notes = json.loads(public_data("faces", "lfw_label_notes.json").read_text())
    with tempfile.TemporaryDirectory(dir=folder) as path, Gallery.open(path) as gallery:
        gallery.enroll_many(
            Enrollment(person, capture, f"{person} {number}")
            for person, captures in portraits().items()
            for number, capture in enumerate(captures, 1)
        )
        begin = time.perf_counter()
        found = gallery.deduplicate(fpir=1e-2)
        seconds = time.perf_counter() - begin
    rank = {frozenset((p.subject_id, p.other_id)): n for n, p in enumerate(found, 1)}
    ranks = {
        kind: [rank.get(frozenset(pair), math.inf) for pair in notes[kind]]
        for kind in (
            "same_person_two_names",
            "siblings_or_twins_keep_as_impostors",
            "probable_label_error_or_same_photo_ignore",
        )
    }
    same, siblings, ignored = ranks.values()
    first = 60
    figures: Figures = {
        "lfw_pairs": len(found),
        "lfw_two_names": len(same),
        "lfw_two_names_found": sum(r < math.inf for r in same),
        f"lfw_two_names_in_first_{first}": sum(r <= first for r in same),
        "lfw_two_names_last_rank": max((r for r in same if r < math.inf), default=0),
        f"lfw_siblings_in_first_{first}": sum(r <= first for r in siblings),
        f"lfw_label_errors_in_first_{first}": sum(r <= first for r in ignored),
        f"lfw_not_in_the_notes_in_first_{first}": min(len(found), first)
        - sum(r <= first for own in ranks.values() for r in own),
        "lfw_s": seconds,
    }
    print_table("Labeled Faces in the Wild as a population", ("what", "figure"), list(figures.items()))
    for kind, own in ranks.items():
        print(kind.replace("_", " "))
        for pair, r in zip(notes[kind], own, strict=True):
            print(f"  {r:>5} {' / '.join(pair)}")
    return figures


# ---------------------------------------------------------------------------------------------- fingers


def impressions() -> dict[str, tuple[tuple[str, str], Minutiae]]:
    """Set and finger, and template, of each impression of eight sets."""
    again, first = ONE_FINGER_IN_TWO_SETS
    samples = {}
    for name in SETS:
        for s in read_folder(public_data("fingerprints", "leader", name)).samples:
            assert isinstance(s.template, Minutiae)
            own = (name, s.finger)
            samples[f"{name}/{s.finger}/{s.impression}"] = (first if own == again else own, s.template)
    return samples


def fvc(folder: Path) -> Figures:
    """79 fingers of eight sets, each impression a subject of its own: 640 subjects, 2,304 true pairs."""
    samples = impressions()
    with tempfile.TemporaryDirectory(dir=folder) as path, Gallery.open(path) as gallery:
        gallery.enroll_many(Enrollment(key, [template]) for key, (_, template) in samples.items())
        found = gallery.deduplicate(fpir=1e-2)
    truth = {
        frozenset(pair) for pair in combinations(samples, 2) if samples[pair[0]][0] == samples[pair[1]][0]
    }
    links = {frozenset((p.subject_id, p.other_id)) for p in found}
    clusters = {frozenset(pair) for c in found.clusters for pair in combinations(c.subjects, 2)}
    families = {
        frozenset(pair) for c in found.clusters for own in c.families for pair in combinations(own, 2)
    }
    figures: Figures = {"fvc_true_pairs": len(truth), "fvc_clusters": len(found.clusters)}
    rows = []
    for name, pairs in (("pairs", links), ("clusters", clusters), ("families", families)):
        precision, recall = len(pairs & truth) / max(1, len(pairs)), len(pairs & truth) / len(truth)
        figures |= {f"fvc_{name}_precision": precision, f"fvc_{name}_recall": recall}
        rows.append((name, f"{100 * precision:.2f} %", f"{100 * recall:.2f} %"))
    print_table("FVC sets as 640 subjects of 79 fingers", ("", "precision", "recall"), rows)
    return figures


# ------------------------------------------------------------------------------------------------ looks


def looks(seed: int) -> Figures:
    """Mates by what they brought, at the cuts of several sizes: listed by full comparison, and by the looks."""
    figures: Figures = {}
    rows = []
    for what, groups in mates(seed):
        for size in LOOKED:
            exact = set().union(
                *(listed([group], n, Criterion(size, FPIR, exact=True)) for n, group in enumerate(groups))
            )
            looked = {pair for pair in listed(groups, 0, Criterion(size, FPIR)) if pair[0][0] == pair[1][0]}
            assert looked <= exact
            missed = len(exact - looked)
            low, high = wilson(missed, max(1, len(exact)))
            key = f"looks_{what.replace(' ', '_')}_n{size}"
            figures |= {f"{key}_pairs": sum(math.comb(len(group), 2) for group in groups)}
            figures |= {f"{key}_listed": len(exact), f"{key}_missed": missed}
            figures |= {f"{key}_missed_low": low, f"{key}_missed_high": high}
            share = f"{100 * missed / max(1, len(exact)):.2f} ({100 * low:.2f}-{100 * high:.2f})"
            rows.append((what, f"{size:,}", figures[f"{key}_pairs"], len(exact), missed, share))
    print_table(
        f"What full comparison lists at fpir {FPIR:g}, and the looks miss",
        ("brought", "subjects", "pairs of mates", "listed", "missed", "%"),
        rows,
    )
    return figures


def mates(seed: int) -> Iterator[tuple[str, list[list[Sequence[Template]]]]]:
    """Groups of captures of one person, by what they hold."""
    fingers: dict[tuple[str, str], list[Sequence[Template]]] = {}
    for finger, template in impressions().values():
        fingers.setdefault(finger, []).append([template])
    yield "one finger", list(fingers.values())
    population = Population(seed=seed)
    days = [list(population.encounters(range(MATES), impression=day)) for day in (0, 1)]
    people = [[one, other] for (_, one), (_, other) in zip(*days, strict=True)]
    for what, count in (
        ("made-up one finger", 1),
        ("made-up two fingers", 2),
        ("made-up two fingers and face", 3),
    ):
        yield what, [[one[:count], other[:count]] for one, other in people]
    yield "face", [own[:2] for own in portraits().values() if len(own) > 1]


def listed(
    groups: Sequence[Sequence[Sequence[Template]]], first: int, criterion: Criterion
) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of captures that are listed, by their group, numbered from ``first``, and place in it."""
    places = [(n, k) for n, group in enumerate(groups, first) for k in range(len(group))]
    captures = [capture for group in groups for capture in group]
    entries = (Entry(key, key, t) for key, capture in enumerate(captures, 1) for t in capture)
    tile = Tile.of([Segment.of(0, 0, entries)])
    pairs = find_pairs(tile, tile, criterion, Calibrations.of(), ordered=True)
    return {(places[pair.reference - 1], places[pair.probe - 1]) for pair in pairs}


# ------------------------------------------------------------------------------------------------ kills


def kills(folder: Path, size: int, seed: int, count: int) -> Figures:
    """Kill the command again and again until it has run through; the file must be that of one run."""
    gallery = made_up(folder, size, seed)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        whole, killed = Path(scratch) / "whole.json", Path(scratch) / "killed.json"
        begin = time.perf_counter()
        subprocess.run(command(gallery, whole), check=True)
        seconds = time.perf_counter() - begin
        draw = random.Random(seed)
        landed = 0
        while landed < count:
            process = subprocess.Popen(command(gallery, killed))
            try:
                process.wait(timeout=draw.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                landed += 1
                continue
            if killed.read_bytes() != whole.read_bytes():
                break
            killed.unlink()
        if not killed.exists():
            subprocess.run(command(gallery, killed), check=True)
        same = killed.read_bytes() == whole.read_bytes()
        digest = hashlib.sha256(whole.read_bytes()).hexdigest()
    print(f"killed {landed} times: {'the same file' if same else 'ANOTHER FILE'} ({digest[:16]})")
    return {"kills": landed, "kills_subjects": size, "kills_same_file": int(same)}


def command(gallery: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "abis", "deduplicate", str(gallery), "-o", str(output), "--fpir", str(FPIR)]


if __name__ == "__main__":
    main()
