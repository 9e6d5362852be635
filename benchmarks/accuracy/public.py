# SPDX-License-Identifier: Apache-2.0
"""How often does comparison err on all public data sets that are present, in one table?

Fingerprints of the FVC "B" sets by every extractor, with both protocols, set by set, on average, and with
one threshold for all sets; probe and reference by different extractors; LFW's ten folds and all its pairs;
the single matchers of BSSR1; and whether files written by other software are read. Data sets that are
missing are named and left out.

Finished parts are kept in a file in the system's temporary folder until the end, so an interrupted run
continues; with other code, data or seed it begins anew.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from abis.errors import AbisError
from abis.evaluation import (
    ErrorRates,
    Estimate,
    Evaluation,
    Findings,
    Scores,
    Summary,
    evaluate_embeddings,
    evaluate_folder,
    mean_estimate,
    pooled,
    summarise,
)
from abis.evaluation.embeddings import all_scores, read_embeddings
from abis.evaluation.folder import balance_of_pairs, compare_samples
from abis.evaluation.scores import FAILED
from abis.formats import read_file
from abis.scoring.calibration import shipped
from benchmarks.lib.common import ROOT, SETS, optional, options, public_data, write
from benchmarks.lib.lfw import corrected, read_lfw

EXTRACTORS = ("leader", "fingerjetfx", "mindtct", "secugen")
MEASURES = ("eer", "fmr100", "fmr1000", "zero_fmr")
RARE_FMRS = (1e-4, 1e-5)  # where there are comparisons enough

BEST_OPEN = {
    "leader": {"mean_eer": 2.0, "mean_fmr1000": 3.5, "pooled_eer": 2.1, "pooled_fmr100": 2.6}
    | {"pooled_fmr1000": 4.8, "pooled_zero_fmr": 7.5},
    "fingerjetfx": {"mean_eer": 5.5, "pooled_eer": 6.6, "pooled_fmr100": 11.2, "pooled_fmr1000": 17.9}
    | {"pooled_zero_fmr": 23.6},
    "mindtct": {"mean_eer": 6.2, "pooled_eer": 6.9, "pooled_fmr100": 11.2, "pooled_fmr1000": 18.3}
    | {"pooled_zero_fmr": 28.8},
}
"""The best of OpenAFIS, bozorth3, SourceAFIS 3.18 and MCC (LSSR, mpi-afis) on the same templates and pairs,
all against all, in %: MCC everywhere, but SourceAFIS for ZeroFMR. (bozorth3 has an EER of 6.8 on mindtct.)"""

BSSR1 = {"face C": "face-C", "face G": "face-G", "left index": "finger-left", "right index": "finger-right"}
BSSR1_FAILED = -1.0

COLUMNS = (
    *("data", "templates", "protocol", "mated", "non-mated", "failed"),
    *("EER, %", "FNMR at FMR 1 %", "0.1 %", "0.01 %", "0.001 %", "0", "else"),
)


@dataclass
class Part:
    """What one part of the benchmark gave: rows of the table, and the figures in them."""

    rows: list[dict[str, str]] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)

    def add(self, name: str, measured: Summary, *, seen: Mapping[str, str], other: str = "") -> None:
        """A row of error rates; ``seen`` says of what, and ``name`` begins the names of its figures."""
        row = dict(seen) | {
            "mated": f"{measured.mated:,}",
            "non-mated": f"{measured.non_mated:,}",
            "failed": f"{measured.mated_failed + measured.non_mated_failed:,}",
            "else": other,
        }
        for measure, column in zip(MEASURES, ("EER, %", "FNMR at FMR 1 %", "0.1 %", "0"), strict=True):
            row[column] = self.estimate(f"{name}_{measure}", getattr(measured, measure))
        for point in measured.fnmr_at:
            if point.wanted in RARE_FMRS:
                column = f"{100 * point.wanted:.3f}".rstrip("0") + " %"
                row[column] = self.estimate(f"{name}_fnmr_at_fmr_{point.wanted:.0e}", point.fnmr)
        self.rows.append(row)

    def estimate(self, name: str, estimate: Estimate) -> str:
        """Put an estimate and its interval among the figures, in %, and say it."""
        self.figures[f"{name}_percent"] = 100 * estimate.value
        self.figures[f"{name}_percent_low"] = 100 * estimate.low
        self.figures[f"{name}_percent_high"] = 100 * estimate.high
        return str(estimate).replace(" % ", " ")


def main() -> None:
    """Parse, measure what there is, print, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    parser.add_argument("--no-lfw", action="store_true", help="without faces, which take a minute")
    arguments = parser.parse_args()
    seed = arguments.seed
    figures: dict[str, float | int | str] = {}
    kept: Kept | None = None
    with optional("public_data", figures):
        data = public_data()
        parts, missing = plan(data, seed, with_lfw=not arguments.no_lfw)
        kept = Kept(Path(tempfile.gettempdir()) / f"abis-public-{fingerprint(data, seed)}.json")
        done: dict[str, Part] = {}
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=len(parts))
            for name, measure in parts.items():
                progress.update(task, description=name)
                done[name] = kept.part(name, measure)
                progress.advance(task)
        table = markdown([row for part in done.values() for row in part.rows])
        print(table)
        print("In %; [ ]: 95 % interval by bootstrap over subjects (fingers, people).")
        for name in missing:
            print(f"left out, missing: {name}")
        if arguments.markdown is not None:
            arguments.markdown.write_text(table, encoding="utf-8")
        figures |= {name: value for part in done.values() for name, value in part.figures.items()}
    write(arguments.json, figures, seed=seed)
    if kept is not None:
        kept.forget()


def plan(data: Path, seed: int, *, with_lfw: bool) -> tuple[dict[str, Callable[[], Part]], list[str]]:
    """The parts that the data allow, and what they do not."""
    parts: dict[str, Callable[[], Part]] = {}
    missing = []
    present = []
    for extractor in EXTRACTORS:
        folder = data / "fingerprints" / extractor
        sets = [name for name in SETS if (folder / name).is_dir()]
        if not sets:
            missing.append(str(folder))
            continue
        parts[extractor] = lambda f=folder, s=tuple(sets): fingerprints(f, s, seed)  # type: ignore[misc]
        if len(sets) == len(SETS):
            present.append(extractor)
    if len(present) > 1:
        parts["across extractors"] = lambda: across_extractors(data, present)
    faces = data / "faces" / "lfw_arcface_mobile_512.npz"
    scores = data / "scores" / "bssr1_set1"
    conformance = data / "conformance" / "finger_minutiae"
    for name, path, measure, wanted in (
        ("LFW", faces, lambda: lfw(data, seed), with_lfw),
        ("BSSR1", scores, lambda: bssr1(scores, seed), True),
        ("conformance", conformance, lambda: read_conformance(conformance), True),
    ):
        if not path.exists():
            missing.append(str(path))
        elif wanted:
            parts[name] = measure
    return parts, missing


class Kept:
    """Finished parts, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def part(self, name: str, measure: Callable[[], Part]) -> Part:
        """A part: as it was found, or measured now."""
        if name not in self._parts:
            part = measure()
            self._parts[name] = {"rows": part.rows, "figures": part.figures}
            unfinished = self._path.with_suffix(".new")
            unfinished.write_text(json.dumps(self._parts))
            unfinished.replace(self._path)
        return Part(**self._parts[name])

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def fingerprint(data: Path, seed: int) -> str:
    """Of all that the figures depend on: the code, the built core, the data's names and sizes, the seed."""
    content = hashlib.sha256(str(seed).encode())
    code = [
        *ROOT.glob("abis/**/*.py"),
        *ROOT.glob("abis/**/*.json"),
        *ROOT.glob("abis/_core*.so"),
        Path(__file__),
    ]
    for path in sorted(code):
        content.update(path.read_bytes())
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        content.update(f"{path.relative_to(data)} {path.stat().st_size}\n".encode())
    return content.hexdigest()[:16]


# --- the parts --------------------------------------------------------------------------------------------


def fingerprints(folder: Path, sets: Sequence[str], seed: int) -> Part:
    """Every set of one extractor; each with draws of its own, since their fingers are different ones."""
    part = Part()
    found = [evaluate_folder(folder / name, seed=seed + SETS.index(name)) for name in sets]
    name = folder.name
    for protocol, prefix, summaries, scores in (
        (
            "all against all",
            "",
            [one.all_against_all for one in found],
            [one.scores() for one in found],
        ),
        (
            "FVC",
            "fvc_",
            [one.fvc_protocol for one in found],
            [one.scores().select(one.fvc) for one in found],
        ),
    ):
        seen = {"templates": name, "protocol": protocol}
        for set_name, summary in zip(sets, summaries, strict=True):
            part.add(f"{name}_{set_name}_{prefix}".rstrip("_"), summary, seen=seen | {"data": set_name})
        if len(sets) < len(SETS):
            continue
        means = {m: mean_estimate([getattr(summary, m) for summary in summaries]) for m in MEASURES}
        cells = [part.estimate(f"{name}_mean_{prefix}{m}", mean) for m, mean in means.items()]
        row = dict(zip(("EER, %", "FNMR at FMR 1 %", "0.1 %", "0"), cells, strict=True))
        part.rows.append(seen | {"data": "**mean over sets**"} | row | best_open(name, "mean", prefix))
        together = summarise(pooled(scores), seed=seed)
        part.add(
            f"{name}_pooled_{prefix}".rstrip("_"), together, seen=seen | {"data": "**one threshold for all**"}
        )
        part.rows[-1] |= best_open(name, "pooled", prefix)
    for measure in ("cllr", "min_cllr"):
        part.figures[f"{name}_mean_{measure}_bits"] = float(np.mean([getattr(one, measure) for one in found]))
    part.figures[f"{name}_raw_scores_sha256"] = checksum([one.raw for one in found])
    return part


def best_open(extractor: str, kind: str, prefix: str) -> dict[str, str]:
    """What is known of :data:`BEST_OPEN`, for the last column."""
    known = BEST_OPEN.get(extractor, {})
    names = {"eer": "EER", "fmr100": "1 %", "fmr1000": "0.1 %", "zero_fmr": "0"}
    found = [f"{label} {known[key]}" for m, label in names.items() if (key := f"{kind}_{m}") in known]
    return {"else": f"best open matcher: {', '.join(found)}" if found and not prefix else ""}


def across_extractors(data: Path, extractors: Sequence[str]) -> Part:
    """Mean EER with the probe's minutiae by one extractor and the reference's by another."""
    part = Part()
    sets: dict[str, list[Evaluation]] = {
        extractor: [evaluate_folder(data / "fingerprints" / extractor / name) for name in SETS]
        for extractor in extractors
    }
    for probe, reference in product(extractors, repeat=2):
        if probe == reference:
            continue
        eers = []
        for probes, references in zip(sets[probe], sets[reference], strict=True):
            score = scores_across(probes, references)
            eers.append(ErrorRates(score[probes.mated], score[~probes.mated]).eer)
        mean = 100 * float(np.mean(eers))
        part.figures[f"cross_{probe}_{reference}_mean_eer_percent"] = mean
        part.rows.append(
            {
                "data": "**mean over sets**",
                "templates": f"probe {probe}, reference {reference}",
                "protocol": "all against all",
                "EER, %": f"{mean:.2f}",
            }
        )
    return part


def scores_across(probes: Evaluation, references: Evaluation) -> npt.NDArray[np.float64]:
    """Scores of the pairs of two extractors' templates of the same samples, in the order of ``all_pairs``."""
    probe, reference = ([s.template for s in one.data_set.samples] for one in (probes, references))
    raw = compare_samples(probe, reference)
    balance = balance_of_pairs(probe + reference, probes.probe, len(probe) + probes.reference)
    return np.where(raw == FAILED, FAILED, shipped("minutiae").llr(raw, balance))


def checksum(scores: Sequence[npt.NDArray[np.float32]]) -> str:
    """SHA-256 of raw scores, little-endian: what a change that should change nothing leaves as it is."""
    return hashlib.sha256(b"".join(part.astype("<f4").tobytes() for part in scores)).hexdigest()


def lfw(data: Path, seed: int) -> Part:
    """LFW's own protocol, and all pairs of images, with the labels as they are and with notes applied."""
    part = Part()
    path = data / "faces" / "lfw_arcface_mobile_512.npz"
    seen = {"data": "LFW", "templates": "ArcFace MobileFaceNet"}
    if (listed := data / "faces" / "lfw_pairs.txt").exists():
        folds = evaluate_embeddings(path, pairs=listed, seed=seed)
        part.add("lfw_pairs", folds.main, seen=seen | {"protocol": "10 folds"}, other=accuracy(folds, part))
    scores = all_scores(read_embeddings(path))
    part.add(
        "lfw_labels_as_they_are", summarise(scores, seed=seed), seen=seen | {"protocol": "all against all"}
    )
    if (data / "faces" / "lfw_label_notes.json").exists():
        noted = corrected(scores, read_lfw(data), data)
        del scores
        part.add(
            "lfw_label_notes_applied",
            summarise(noted, seed=seed),
            seen=seen | {"protocol": "all against all, known wrong labels corrected"},
        )
    return part


def accuracy(findings: Findings, part: Part) -> str:
    """The accuracy over folds."""
    found = findings.accuracy
    if found is None:
        return ""
    part.figures["lfw_accuracy_percent"] = 100 * found.mean
    part.figures["lfw_accuracy_percent_standard_error"] = 100 * found.standard_error
    return f"accuracy {100 * found.mean:.2f} ± {100 * found.standard_error:.2f}"


def bssr1(folder: Path, seed: int) -> Part:
    """NIST's Biometric Scores Set 1: each matcher by itself."""
    part = Part()
    for name, file in BSSR1.items():
        score = np.array([[float(cell) for cell in row] for row in rows_of(folder / f"{file}.csv")])
        score[score == BSSR1_FAILED] = -np.inf
        probe, reference = (side.ravel().astype(np.int32) for side in np.indices(score.shape))
        part.add(
            f"bssr1_{name.replace(' ', '_').lower()}",
            summarise(Scores(score.ravel(), probe, reference), seed=seed),
            seen={"data": "BSSR1 Set 1", "templates": name, "protocol": "probes against references"},
        )
    return part


def rows_of(path: Path) -> Iterator[list[str]]:
    """The scores of a matrix with names in its first row and column."""
    with path.open(newline="") as file:
        table = csv.reader(file)
        next(table)
        yield from (row[1:] for row in table)


def read_conformance(folder: Path) -> Part:
    """How many records of other people's software are read, and which are not."""
    part = Part()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")
    refused = []
    for path in files:
        try:
            read_file(path)
        except AbisError as error:
            refused.append(f"{path.name}: {error}".replace(f"{path}: ", ""))
    read = len(files) - len(refused)
    part.figures |= {"conformance_files": len(files), "conformance_files_read": read}
    part.rows.append(
        {
            "data": "conformance",
            "templates": "records of other software",
            "protocol": "reading",
            "failed": str(len(refused)),
            "else": "; ".join([f"{read} of {len(files)} read", *refused]),
        }
    )
    return part


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """The table."""
    lines = [
        COLUMNS,
        ["---", "---", "---", *["---:"] * 9, "---"],
        *([row.get(c, "") for c in COLUMNS] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    main()
