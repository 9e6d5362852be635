# SPDX-License-Identifier: Apache-2.0
"""What screening saves, and whom it loses, in a gallery of synthetic subjects with real ones hidden in it.

Two tables: the cheap look at fingers by its cutoff, and identification by the length of the shortlist. A
mate is lost where an exact search has it at rank 1 above the threshold and the screened one has not. Real
subjects have two fingers of the FVC sets, impression 1, and a synthetic face; their probes are other
impressions. The first constant stands in ``abis/comparison.py``, the second in ``abis/gallery.py``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import numpy as np
from common import SETS, data_folder, options, print_table, write
from rich.progress import track

import abis.gallery as gallery_module
from abis.calibration import shipped
from abis.comparison import FingerReferences
from abis.evaluation.datasets import read_folder
from abis.gallery import Gallery
from abis.results import Identification
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Minutiae, Position, Template
from abis.thresholds import threshold_for_fpir

EXTRACTOR = "leader"
CUTOFFS = (3.0, 4.0, 5.0, 6.0, 8.0)  # raw scores
SHORTLISTS = (10, 30, 100, 300, 1000)
PLACES = (10, 100, 1000)
WORTH = 2.0  # decades: mates whose fingers say less are told apart
FPIR = 0.01
EXACT_SEARCHES = 10  # that are timed; others are made only where a mate may have been lost

KINDS: dict[str, slice] = {"one finger": slice(1), "two fingers": slice(2), "two fingers + face": slice(3)}
Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class Person:
    """A subject with its enrolled templates (right index, left index, face) and its probes of the same."""

    subject_id: str
    enrolled: Sequence[Template]
    probes: Sequence[Sequence[Template]]


def main() -> None:
    """Make the people, print both tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=10_000, help="synthetic ones (default: 10,000)")
    parser.add_argument("--probes", type=int, default=300, help="of synthetic subjects (default: 300)")
    parser.add_argument("--impressions", nargs="+", default=["2", "3", "4", "5", "6", "7", "8"])
    arguments = parser.parse_args()

    population = Population(seed=arguments.seed)
    mates = [*real_people(population, arguments.subjects, arguments.impressions)]
    figures: Figures = {"subjects": arguments.subjects + len(mates)}
    presented = dict(population.encounters(range(arguments.probes), impression=1))
    crowd = [
        Person(subject_id, templates, [presented[subject_id]] if subject_id in presented else [])
        for subject_id, templates in population.encounters(range(arguments.subjects))
    ]
    print_cheap_look(crowd, mates, figures)
    print_identification(crowd, mates, figures)
    write(arguments.json, figures, seed=arguments.seed)


def real_people(population: Population, first: int, impressions: Sequence[str]) -> Iterator[Person]:
    """Each finger of a set as somebody's right index, and the next one of the set as the left."""
    for name in SETS:
        samples = read_folder(data_folder() / "fingerprints" / EXTRACTOR / name).samples
        by_finger: dict[str, dict[str, Minutiae]] = {}
        for s in samples:
            assert isinstance(s.template, Minutiae)
            by_finger.setdefault(s.finger, {})[s.impression] = s.template
        fingers = list(by_finger.values())
        for number, (right, left) in enumerate(zip(fingers, fingers[1:] + fingers[:1], strict=True)):
            subject = first + len(SETS) * number + SETS.index(name)

            def templates(
                impression: str,
                right: dict[str, Minutiae] = right,
                left: dict[str, Minutiae] = left,
                subject: int = subject,
            ) -> list[Template]:
                face = population.templates(subject, int(impression) - 1)[-1]
                return [
                    at(Position.RIGHT_INDEX, right[impression]),
                    at(Position.LEFT_INDEX, left[impression]),
                    face,
                ]

            yield Person(f"{name}/{number}", templates("1"), [templates(i) for i in impressions])


def at(position: Position, m: Minutiae) -> Minutiae:
    """The same minutiae as of another finger."""
    return Minutiae(
        x=m.x,
        y=m.y,
        direction=m.direction,
        kind=m.kind,
        quality=m.quality,
        width=m.width,
        height=m.height,
        resolution=m.resolution,
        position=position,
    )


def print_cheap_look(crowd: Sequence[Person], mates: Sequence[Person], figures: Figures) -> None:
    """Time of a comparison and place of the mate among all right index fingers, by cutoff."""
    packed = FingerReferences()
    people = [*crowd, *mates]
    packed.extend([finger for p in people if isinstance(finger := p.enrolled[0], Minutiae)])
    probes = [(i, probe[0]) for i, p in enumerate(people) for probe in p.probes]
    rows = []
    for cutoff in (-np.inf, *CUTOFFS):
        nanoseconds, places, worth = [], [], []
        # All scores of all probes would take long, and tell no more about time than those of a few.
        for mate, probe in track(probes if cutoff > 0 else probes[::50], f"cutoff {cutoff}", transient=True):
            assert isinstance(probe, Minutiae)
            begin = time.thread_time_ns()
            scores = packed.compare(probe, cutoff=cutoff, threads=1)
            nanoseconds.append((time.thread_time_ns() - begin) / len(packed))
            places.append(int((scores >= scores[mate]).sum()))
            raw = packed.compare(probe, np.array([mate]))
            worth.append(float(shipped("minutiae").llr(raw)[0]) >= WORTH)
        median = float(np.median(nanoseconds))
        row = [f"{cutoff:g}" if cutoff > 0 else "none: in full", f"{median / 1e3:.2f}"]
        figures[f"cutoff_{cutoff:g}_ns_per_comparison"] = median
        for group, chosen in (("worth", np.array(worth)), ("all", np.full(len(worth), True))):
            for place in PLACES if cutoff > 0 else ():
                missed = 100 * float((np.array(places)[chosen] > place).mean())
                figures[f"cutoff_{cutoff:g}_{group}_not_in_{place}_percent"] = missed
                row.append(f"{missed:.2f}")
        rows.append(row + ["-"] * (2 + 2 * len(PLACES) - len(row)))
    print_table(
        f"The cheap look: mates not among the nearest of {len(people):,} right index fingers, %",
        [
            "cutoff",
            "µs",
            *(f"{place:,}{which}" for which in (f" (LLR ≥ {WORTH:g})", " (all)") for place in PLACES),
        ],
        rows,
        note=f"{len(probes)} mated probes, {sum(worth) / len(worth):.0%} of the mates' fingers with an LLR of "
        f"{WORTH:g} or more. Median time of a comparison by one thread.",
    )


def print_identification(crowd: Sequence[Person], mates: Sequence[Person], figures: Figures) -> None:
    """Time of a search and mates lost, by the length of the shortlist."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Gallery.open(folder) as gallery:
        gallery.enroll_many(Enrollment(p.subject_id, p.enrolled) for p in [*crowd, *mates])
        for group, people in (("real", mates), ("synthetic", crowd)):
            for kind, part in KINDS.items():
                probes = [(p.subject_id, probe[part]) for p in people for probe in p.probes]
                for length, found in search(gallery, probes, f"{group}, {kind}").items():
                    name = f"{group} {kind} shortlist {length}".replace(" + ", "_").replace(" ", "_")
                    figures |= {f"{name}_{key}": value for key, value in found.items()}
                    rows.append(
                        [
                            f"{group}, {kind}",
                            length,
                            f"{found['p50_ms']:.1f}",
                            f"{found['exact_p50_ms']:.0f}",
                            f"{found['compared_percent']:.1f}",
                            found["probes"],
                            found["exact_finds"],
                            f"{found['lost']} ({found['lost_percent']:.2f} %)",
                            f"{found['lost_at_any_score_percent']:.2f}",
                        ]
                    )
    print_table(
        f"Identify among {figures['subjects']:,} subjects",
        [
            "probe",
            "shortlist",
            "median ms",
            "exact ms",
            "compared %",
            "probes",
            "exact finds",
            "lost",
            "at any score %",
        ],
        rows,
        note=f"Exact finds: the mate is at rank 1 and reaches the threshold for an FPIR of {FPIR:.0%}.\n"
        "At any score: lost from rank 1.",
    )


def search(
    gallery: Gallery, probes: Sequence[tuple[str, Sequence[Template]]], label: str
) -> dict[int, dict[str, float]]:
    """Figures for each length of the shortlist."""
    compared = [[gallery.calibration(template)] for template in probes[0][1]]
    threshold = threshold_for_fpir(FPIR, len(gallery), compared)
    exact_seconds = [timed(gallery, probe, exact=True)[1] for _, probe in probes[:EXACT_SEARCHES]]

    @cache
    def exact(number: int) -> Identification:
        return timed(gallery, probes[number][1], exact=True)[0]

    def lost(searches: Sequence[Identification], least: float) -> tuple[int, int]:
        """How many mates screening alone misses, and how many it finds."""
        missed = [i for i, (name, _) in enumerate(probes) if not is_found(searches[i], name, least)]
        return sum(is_found(exact(i), probes[i][0], least) for i in missed), len(probes) - len(missed)

    figures = {}
    for length in SHORTLISTS:
        with patch.object(gallery_module, "_SHORTLIST", length):
            results = [timed(gallery, p) for _, p in track(probes, f"{label}, {length}", transient=True)]
        searches = [found for found, _ in results]
        lost_above, found_above = lost(searches, threshold)
        lost_first, _ = lost(searches, -np.inf)
        figures[length] = {
            "p50_ms": 1e3 * float(np.median([seconds for _, seconds in results])),
            "exact_p50_ms": 1e3 * float(np.median(exact_seconds)),
            "compared_percent": 100
            * sum(found.compared for found in searches)
            / sum(found.comparable for found in searches),
            "probes": len(probes),
            "exact_finds": found_above + lost_above,  # one found by screening is taken for found
            "lost": lost_above,
            "lost_percent": 100 * lost_above / len(probes),
            "lost_at_any_score_percent": 100 * lost_first / len(probes),
        }
    return figures


def timed(
    gallery: Gallery, probe: Sequence[Template], *, exact: bool = False
) -> tuple[Identification, float]:
    """A search for one candidate, and how many seconds it took."""
    begin = time.perf_counter()
    found = gallery.identify(probe, max_candidates=1, exact=exact)
    return found, time.perf_counter() - begin


def is_found(found: Identification, mate: str, threshold: float) -> bool:
    """Whether the mate is at rank 1 and reaches the threshold."""
    return bool(found) and found[0].subject_id == mate and found[0].score >= threshold


if __name__ == "__main__":
    main()
