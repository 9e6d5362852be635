# SPDX-License-Identifier: Apache-2.0
"""What do cuts by evidence save, and what do they lose, against fixed shares? The same probes both ways, turn by turn.

The gallery is that of ``scale.py``: real people hidden among synthetic subjects. Each probe is searched for by both
ways in turn, by one thread, and the time is CPU time of that thread, so other load on the machine disturbs both alike.
A mate is *lost* by one way if the other finds it at rank 1 and this one does not. ``scale.py`` tells which mates an
exhaustive search finds.

    python -m benchmarks.scale.cuts --subjects 100000 --json benchmarks/results/cuts.json
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from abis.gallery import Gallery
from abis.identification.screening import Cuts, Screening
from abis.identification.search import SearchOptions, search
from abis.index.segments import Probe
from abis.template import Minutiae
from benchmarks.lib.common import optional, options, print_table, write
from benchmarks.scale.scale import FPIR, Plan, Templates, enroll, in_process, label, probes_of, progress

WAYS = ("shares", "evidence")

Figures = dict[str, float | int | str]


def main() -> None:
    """Enroll, search both ways in turn, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, nargs="+", default=[100_000], metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "abis-scale")
    parser.add_argument("--non-mated", type=int, default=100, metavar="N", help="non-mated probes (100)")
    parser.add_argument("--one-finger", action="store_true", help="every subject has its right index alone")
    parser.add_argument(
        "--every", type=int, default=1, metavar="K", help="take one in K of the mated probes (1)"
    )
    arguments = parser.parse_args()
    figures: Figures = {}
    with optional("real_people", figures):
        for size in arguments.subjects:
            plan = Plan(arguments.seed, size, arguments.one_finger)
            folder = arguments.folder / plan.folder
            folder.mkdir(parents=True, exist_ok=True)
            in_process(enroll, folder, plan)
            rows = in_process(searched, folder, plan, arguments.non_mated, arguments.every)
            for kind in plan.kinds:
                own = [row for row in rows if row["kind"] == kind]
                figures |= {f"n{size}_{label(kind)}_{k}": v for k, v in summary(own).items()}
        show(figures, arguments.subjects, Plan(arguments.seed, 0, arguments.one_finger).kinds)
    write(arguments.json, figures, seed=arguments.seed)


def searched(folder: Path, plan: Plan, non_mated: int, every: int) -> list[dict[str, Any]]:
    """A row for each probe, searched for both ways."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread
    with Gallery.open(folder / "gallery") as gallery:
        probes = [p for p in probes_of(plan, 0, non_mated) if p[0] != "face"]
        chosen = [p for p in probes if p[2]][::every] + [p for p in probes if not p[2]]
        for kind in plan.kinds:  # the first search of a kind warms up
            for way in WAYS if kind != "face" else ():
                one_search(gallery, next(p[3] for p in probes if p[0] == kind), "", way)
        rows = []
        for turn, (kind, name, mate, templates) in enumerate(progress(chosen, f"searching {plan.size:,}")):
            row: dict[str, Any] = {"kind": kind, "probe": name, "mate": mate}
            for way in WAYS if turn % 2 else WAYS[::-1]:
                row |= {f"{way}_{k}": v for k, v in one_search(gallery, templates, mate, way).items()}
            rows.append(row)
    return rows


def one_search(gallery: Gallery, templates: Templates, mate: str, way: str) -> dict[str, Any]:
    """CPU time of one search, whether the mate is at rank 1, and how many templates were compared in full."""
    view, _ = gallery.internals.view(None)
    calibrations = gallery.internals.calibrations(templates)
    wanted = SearchOptions(fpir=None if mate else FPIR)
    begin = time.thread_time()
    probe = [Probe.of(template) for template in templates]
    cuts = Cuts.at(wanted.share, probe=templates, subjects=view.subjects, wanted=wanted.wanted)
    if way == "shares":
        cuts = by_shares(cuts, sum(isinstance(template, Minutiae) for template in templates))
    screening = Screening(view.segments, probe, cuts, span=view.span)
    found = search(probe, view, None, calibrations, wanted, screening=screening)
    milliseconds = 1e3 * (time.thread_time() - begin)
    first = ""
    if len(found.subjects):
        best = found.subjects[int(np.argmax(found.scores))]
        encounters = {int(c.encounter[c.subject == best][0]) for c in found.comparisons if best in c.subject}
        named, _ = gallery.internals.store.owners(encounters)
        first = named.subjects[int(best)]
    return {"ms": milliseconds, "found": first == mate, "compared": sum(map(len, found.comparisons))}


def by_shares(cuts: Cuts, fingers: int) -> Cuts:
    """The rule before: fixed shares; of several fingers the first portion had half of them, one finger had none."""
    second = max(cuts.third, cuts.second // 2)
    halves = (max(second, cuts.first // 2), second, cuts.third)
    whole = (cuts.first, cuts.second, cuts.third)
    return replace(cuts, best=halves if fingers > 1 else whole, by_evidence=False)


def summary(rows: Sequence[Mapping[str, Any]]) -> Figures:
    """Times of both ways, their ratio, and the mates that only one of them finds."""
    figures: Figures = {}
    for name, own in (
        ("mated", [row for row in rows if row["mate"]]),
        ("non_mated", [row for row in rows if not row["mate"]]),
    ):
        if not own:
            continue
        figures[f"{name}_probes"] = len(own)
        for way in WAYS:
            figures[f"{name}_{way}_p50_ms"] = float(np.median([row[f"{way}_ms"] for row in own]))
            figures[f"{name}_{way}_p95_ms"] = float(np.percentile([row[f"{way}_ms"] for row in own], 95))
            figures[f"{name}_{way}_compared"] = float(np.median([row[f"{way}_compared"] for row in own]))
        ratios = [row["evidence_ms"] / row["shares_ms"] for row in own]
        figures[f"{name}_ratio"] = float(np.median(ratios))
        if name == "mated":
            both = [(row["shares_found"], row["evidence_found"]) for row in own]
            figures |= {
                "found_by_both": sum(a and b for a, b in both),
                "found_by_shares_only": sum(a and not b for a, b in both),
                "found_by_evidence_only": sum(b and not a for a, b in both),
            }
    return figures


def show(figures: Figures, sizes: Sequence[int], kinds: Sequence[str]) -> None:
    """A row for each size, kind and sort of probe."""
    rows: list[list[object]] = []
    for size, kind in ((size, kind) for size in sizes for kind in kinds if kind != "face"):
        for sort in ("mated", "non_mated"):
            key = f"n{size}_{label(kind)}_{sort}"
            if f"{key}_probes" not in figures:
                continue
            lost = [figures[f"n{size}_{label(kind)}_found_by_{n}"] for n in ("shares_only", "evidence_only")]
            rows.append(
                [
                    f"{kind}, {sort.replace('_', '-')}, {size:,}",
                    figures[f"{key}_probes"],
                    *(
                        f"{float(figures[f'{key}_{way}_p50_ms']):.1f} / {float(figures[f'{key}_{way}_p95_ms']):.1f}"
                        for way in WAYS
                    ),
                    f"{float(figures[f'{key}_ratio']):.2f}",
                    *(f"{float(figures[f'{key}_{way}_compared']):.0f}" for way in WAYS),
                    *(lost if sort == "mated" else ["", ""]),
                ]
            )
    print_table(
        "Cuts by fixed shares and by evidence",
        [
            "probe, subjects",
            "probes",
            "shares, p50 / p95 ms",
            "evidence, p50 / p95 ms",
            "ratio",
            *("in full", "in full"),
            *("only by shares", "only by evidence"),
        ],
        rows,
        note="CPU time of one thread. In full: comparisons, median, by shares and by evidence. Only by: mates that one "
        "way alone has at rank 1.",
    )


if __name__ == "__main__":
    main()
