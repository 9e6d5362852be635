# SPDX-License-Identifier: Apache-2.0
"""Who is in a population twice: planted duplicates, faces under two names, fingers of FVC sets; and kill -9.

Each part is a question; ``--parts`` picks some. Made-up people are enrolled from ``abis.synthetic``; one in a hundred
comes a second time, as another subject, with the captures of another day. A gallery stays in the folder given.
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
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from common import (
    ONE_FINGER_IN_TWO_SETS,
    SETS,
    data_folder,
    options,
    print_table,
    resident_bytes,
    wilson,
    write,
)

from abis.evaluation.datasets import read_folder
from abis.gallery import Gallery
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Embedding, Minutiae, Template

FPIR = 1e-4
PLANTED = 100  # one in so many people comes a second time
AGAIN = "again-"  # begins the subject_id of whoever does
PARTS = ("synthetic", "lfw", "fvc", "kills")

Figures = dict[str, float | int | str]


def main() -> None:
    """Answer the questions, print tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, nargs="+", default=[10_000, 100_000], metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "abis-deduplication")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="kill -9 so many times (10)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    if "synthetic" in arguments.parts:
        figures |= synthetic(arguments.folder, sorted(arguments.subjects), arguments.seed)
    if "lfw" in arguments.parts:
        figures |= lfw(arguments.folder)
    if "fvc" in arguments.parts:
        figures |= fvc(arguments.folder)
    if "kills" in arguments.parts:
        figures |= kills(arguments.folder, min(arguments.subjects), arguments.seed, arguments.kills)
    write(arguments.json, figures, seed=arguments.seed)


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


def lfw(folder: Path) -> Figures:
    """Labeled Faces in the Wild, every person a subject, every image an encounter."""
    faces = data_folder() / "faces"
    with np.load(faces / "lfw_arcface_mobile_512.npz") as content:
        vectors, names = content["embeddings"], content["names"]
    notes = json.loads((faces / "lfw_label_notes.json").read_text())
    with tempfile.TemporaryDirectory(dir=folder) as path, Gallery.open(path) as gallery:
        gallery.enroll_many(
            Enrollment(str(name)[:-5], [Embedding(vector=vector, model="w600k_mbf")], str(name))
            for name, vector in zip(names, vectors, strict=True)
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
        "lfw_s": seconds,
    }
    print_table("Labeled Faces in the Wild as a population", ("what", "figure"), list(figures.items()))
    for pair, r in zip(notes["same_person_two_names"], same, strict=True):
        print(f"  {r:>5} {' / '.join(pair)}")
    return figures


# ---------------------------------------------------------------------------------------------- fingers


def fvc(folder: Path) -> Figures:
    """79 fingers of eight sets, each impression a subject of its own: 640 subjects, 2,304 true pairs."""
    again, first = ONE_FINGER_IN_TWO_SETS
    samples: dict[str, tuple[tuple[str, str], Template]] = {}
    for name in SETS:
        for s in read_folder(data_folder() / "fingerprints" / "leader" / name).samples:
            assert isinstance(s.template, Minutiae)
            own = (name, s.finger)
            samples[f"{name}/{s.finger}/{s.impression}"] = (first if own == again else own, s.template)
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
    return {"kills": landed, "kills_same_file": int(same)}


def command(gallery: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "abis", "deduplicate", str(gallery), "-o", str(output), "--fpir", str(FPIR)]


if __name__ == "__main__":
    main()
