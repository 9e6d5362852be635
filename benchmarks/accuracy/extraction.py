# SPDX-License-Identifier: Apache-2.0
"""How good are templates made from images, how long does an image take, and does quality predict errors?

Error rates of three FVC sets from their images and from pyfing's own templates; accuracy on the first fold
of LFW; CPU time an image on one thread; error versus discard. Needs the extra ``abis[extraction]``.

    python benchmarks/accuracy/extraction.py --json benchmarks/results/extraction.json
    python benchmarks/accuracy/extraction.py --face-scores sface.csv   # also LFW's scores, to fit a calibration to
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from abis.comparison import cosine
from abis.evaluation import Evaluation, error_versus_discard, evaluate_folder
from abis.extraction.extracting import Extraction, ExtractionSettings, extract_all
from abis.template import Embedding, Position, Template
from abis.template.modality import quality_of
from benchmarks.lib.common import optional, options, print_table, public_data, write

SETS = {"fvc2002_db1_b": 500.0, "fvc2002_db2_b": 569.0, "fvc2004_db3_b": 512.0}
"""Sets whose images are among the public data, and their resolution in dpi."""

_DISCARDED = (0.0, 0.1, 0.2, 0.3)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--face-scores",
        type=Path,
        metavar="FILE",
        help="write the scores of all pairs of LFW's images as CSV",
    )
    arguments = parser.parse_args()
    figures: dict[str, float | int | str] = {}
    with optional("fingers", figures):
        _fingers(public_data("images").parent, arguments.seed, figures)
    with optional("faces", figures):
        _faces(public_data("images", "lfw_fold1").parents[1], figures, arguments.face_scores)
    write(arguments.json, figures, seed=arguments.seed)


def _fingers(data: Path, seed: int, figures: dict[str, float | int | str]) -> None:
    error_rows: list[tuple[object, ...]] = []
    quality_rows: list[tuple[str, ...]] = []
    for name, dpi in SETS.items():
        settings = ExtractionSettings(Position.UNKNOWN_FINGER, dpi)
        done = _extracted(sorted((data / "images" / name).glob("*.tif")), settings)
        templates = {path: extraction.templates for path, (extraction, _) in done.items()}
        images = evaluate_folder(data / "images" / name, read=templates.__getitem__, seed=seed)
        leader = evaluate_folder(data / "fingerprints" / "leader" / name, seed=seed)
        milliseconds = 1000 * np.array(
            [seconds for _, seconds in done.values()][1:]
        )  # the first loads the network
        failures = sum(not extraction for extraction, _ in done.values())
        for protocol in ("all_against_all", "fvc_protocol"):
            ours, theirs = (getattr(each, protocol).eer for each in (images, leader))
            is_last = protocol == "fvc_protocol"
            speed = (failures, f"{np.median(milliseconds):.0f}") if is_last else ("", "")
            error_rows.append((name, protocol, ours, theirs, *speed))
            for kind, estimate in (("images", ours), ("templates", theirs)):
                figures[f"{name}_{protocol}_eer_percent_from_{kind}"] = 100 * estimate.value
                figures[f"{name}_{protocol}_eer_low_percent_from_{kind}"] = 100 * estimate.low
                figures[f"{name}_{protocol}_eer_high_percent_from_{kind}"] = 100 * estimate.high
        figures[f"{name}_images"] = len(done)
        figures[f"{name}_failures"] = failures
        figures[f"{name}_cpu_ms_median"] = float(np.median(milliseconds))
        figures[f"{name}_cpu_ms_95th"] = float(np.percentile(milliseconds, 95))
        quality_rows.append((name, *_discard(name, images, figures)))
    print_table(
        "EER from images and from pyfing's templates, 95 % intervals over fingers; CPU time of one thread",
        ("set", "protocol", "from images", "from templates", "failures", "ms an image"),
        error_rows,
        note="80 images a set; 280 mated pairs, 2,880 non-mated (all against all) and 45 (FVC protocol)",
    )
    print_table(
        "FNMR in percent of the pairs left when those of the lowest finger quality are discarded",
        ("set", *(f"{100 * part:.0f} %" for part in _DISCARDED)),
        quality_rows,
        note="threshold at an FNMR of 10 %: these sets have too few errors at one that is used",
    )


def _discard(name: str, evaluation: Evaluation, figures: dict[str, float | int | str]) -> tuple[str, ...]:
    quality = np.array([_quality(sample.template) for sample in evaluation.data_set.samples], np.float64)
    mated = evaluation.mated
    pairs = np.minimum(quality[evaluation.probe[mated]], quality[evaluation.reference[mated]])
    curve = error_versus_discard(evaluation.raw[mated], pairs, fnmr=0.1)
    for part in _DISCARDED:
        figures[f"{name}_fnmr_percent_discarding_{round(100 * part)}"] = 100 * curve.at(part)
    return tuple(f"{100 * curve.at(part):.1f}" for part in _DISCARDED)


def _quality(template: Template | None) -> float:
    quality = None if template is None else quality_of(template)
    return -np.inf if quality is None else quality


def _faces(data: Path, figures: dict[str, float | int | str], scores: Path | None) -> None:
    folder = data / "images" / "lfw_fold1"
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    done = _extracted(sorted(folder.glob("*.jpg")), ExtractionSettings(Position.FACE))
    face = {path.name: extraction.templates for path, (extraction, _) in done.items()}
    mated = np.array([pair["mated"] == "1" for pair in pairs])
    sides = [(face[pair["first"]], face[pair["second"]]) for pair in pairs]
    score = np.array([_cosine(*side) for side in sides])
    accuracy = max(float(((score >= threshold) == mated).mean()) for threshold in score)
    failures = sum(not extraction for extraction, _ in done.values())
    several = sum(bool(extraction.note) for extraction, _ in done.values())
    milliseconds = 1000 * np.array([seconds for _, seconds in done.values()][1:])
    figures |= {
        "lfw_fold1_pairs": len(pairs),
        "lfw_fold1_images": len(done),
        "lfw_fold1_accuracy_percent": 100 * accuracy,
        "lfw_fold1_failures": failures,
        "lfw_fold1_images_of_several_faces": several,
        "face_cpu_ms_median": float(np.median(milliseconds)),
        "face_cpu_ms_95th": float(np.percentile(milliseconds, 95)),
    }
    quality = np.array([min(_quality(t[0]) if t else -np.inf for t in side) for side in sides], np.float64)
    curve = error_versus_discard(score[mated], quality[mated], fnmr=0.1)
    for part in _DISCARDED:
        figures[f"lfw_fold1_fnmr_percent_discarding_{round(100 * part)}"] = 100 * curve.at(part)
    print_table(
        "The first fold of LFW, by SFace",
        (
            "pairs",
            "accuracy, best threshold",
            "failures",
            "ms an image",
            *(f"FNMR, {p:.0%}" for p in _DISCARDED),
        ),
        [
            (
                f"{len(pairs)}",
                f"{100 * accuracy:.1f} %",
                f"{failures}",
                f"{np.median(milliseconds):.0f}",
                *(f"{100 * curve.at(part):.1f}" for part in _DISCARDED),
            )
        ],
        note="FNMR in percent when the pairs of lowest quality are discarded, from a threshold at 10 %",
    )
    if scores is not None:
        _write_all_pairs({name: t[0] for name, t in face.items() if t}, scores)


def _write_all_pairs(face: Mapping[str, Template], path: Path) -> None:
    """The score of every two images, as ``abis.evaluation`` reads scores; a person is all but a name's number."""
    names = list(face)
    vectors = np.stack([template.vector for template in face.values() if isinstance(template, Embedding)])
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("probe", "reference", "probe_subject", "reference_subject", "score"))
        for i, name in enumerate(names):
            probe = face[name]
            assert isinstance(probe, Embedding)
            for other, value in zip(names[i + 1 :], cosine(probe, vectors[i + 1 :]).tolist(), strict=True):
                rows.writerow((name, other, name.rpartition("_")[0], other.rpartition("_")[0], value))


def _cosine(first: Sequence[Template], second: Sequence[Template]) -> float:
    match first, second:
        case (Embedding() as probe,), (Embedding() as reference,):
            return float(cosine(probe, reference.vector[np.newaxis])[0])
        case _:
            return -np.inf


def _extracted(files: Sequence[Path], settings: ExtractionSettings) -> dict[Path, tuple[Extraction, float]]:
    """What came of each file, and the CPU seconds it took; in this process, on one thread."""
    found = {}
    for number, file in enumerate(files, 1):
        image = file.read_bytes()
        begin = time.process_time()
        extraction = extract_all(image, settings)
        found[file] = (extraction, time.process_time() - begin)
        if sys.stderr.isatty():
            print(f"\r{file.parent.name}: {number} of {len(files)}", end="", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
