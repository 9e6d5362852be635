# SPDX-License-Identifier: Apache-2.0
"""Portraits degraded on purpose: how many strangers match, with and without the floor of quality at extraction.

Images of the first fold of LFW, blurred, darkened, shrunk, compressed, covered and turned. The floors were chosen on
other people of the same fold, who are left out here. For each kind of degradation: how often non-mated comparisons
among such portraits reach the thresholds of SFace's calibration, by the rate that those promise, of all portraits
(before) and of those that pass the floor (after); how many are refused; and the false non-match rate of mated
comparisons with the originals. What was extracted is kept, so that a run that was stopped goes on. Needs the extra
``abis[extraction]``.

    python -m benchmarks.accuracy.degraded_faces --json benchmarks/results/degraded_faces.json
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

from abis.extraction import extract_many
from abis.scoring.calibration import Calibration, shipped
from abis.scoring.thresholds import threshold_for_fmr
from abis.template import Embedding, Position
from benchmarks.lib.common import ROOT, optional, options, print_table, public_data, write

RATES = (1e-2, 1e-3, 1e-4)
_CACHE = ROOT / "build" / "extracted"
_FIRST, _EVERY = 300, 6  # the floors were chosen on the first 300 images and on every sixth
Picture = PIL.Image.Image
Degrade = Callable[[Picture, int], Picture]
"""A portrait of 250 by 250 pixels, and a seed of its own, to a degraded one."""


def _blurred(radius: float) -> Degrade:
    return lambda image, seed: image.filter(PIL.ImageFilter.GaussianBlur(radius))


def _dark(part: float) -> Degrade:
    table = [round(value * part) for value in range(256)] * 3
    return lambda image, seed: image.point(table)


def _small(side: int) -> Degrade:
    return lambda image, seed: image.resize((side, side), PIL.Image.Resampling.BICUBIC)


def _compressed(quality: int) -> Degrade:
    def compress(image: Picture, seed: int) -> Picture:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return PIL.Image.open(file)

    return compress


def _covered(box: tuple[int, int, int, int] | None, grey: int = 0) -> Degrade:
    """A grey box over the face; without a place, one of 50 pixels a side anywhere near the middle."""

    def cover(image: Picture, seed: int) -> Picture:
        left, top = np.random.default_rng(seed).integers(75, 125, 2).tolist()
        place = (left, top, left + 50, top + 50) if box is None else box
        covered = image.copy()
        PIL.ImageDraw.Draw(covered).rectangle(place, fill=(grey,) * 3)
        return covered

    return cover


def _turned(how: PIL.Image.Transpose) -> Degrade:
    return lambda image, seed: image.transpose(how)


DEGRADATIONS: Mapping[str, Degrade] = {
    "original": lambda image, seed: image,
    "blur 2 px": _blurred(2),
    "blur 4 px": _blurred(4),
    "blur 8 px": _blurred(8),
    "light 20 %": _dark(0.20),
    "light 10 %": _dark(0.10),
    "light 5 %": _dark(0.05),
    "100 px wide": _small(100),
    "60 px wide": _small(60),
    "JPEG 10": _compressed(10),
    "eyes covered, black": _covered((60, 95, 190, 130)),
    "eyes covered, grey": _covered((60, 95, 190, 130), grey=128),
    "mouth covered": _covered((70, 135, 180, 250)),
    "half covered": _covered((0, 0, 125, 250)),
    "square covered": _covered(None),
    "upside down": _turned(PIL.Image.Transpose.ROTATE_180),
    "on its left side": _turned(PIL.Image.Transpose.ROTATE_90),
}


@dataclass(frozen=True, eq=False)
class Portraits:
    """What came of all portraits after one degradation.

    Attributes:
        names: of those of which an embedding was made.
        vectors: (n, d), of unit length.
        passed: (n,) whether the portrait passed the floor.
        failed: number of portraits without an embedding.
    """

    names: list[str]
    vectors: npt.NDArray[np.float64]
    passed: npt.NDArray[np.bool_]
    failed: int

    @property
    def people(self) -> npt.NDArray[np.str_]:
        return np.array([_person(name) for name in self.names])


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--images", type=int, metavar="N", help="only N of the images")
    arguments = parser.parse_args()
    figures: dict[str, float | int | str] = {}
    with optional("faces", figures):
        held_out = _held_out(sorted(public_data("images", "lfw_fold1").glob("*.jpg")))
        _measure(_some(held_out, arguments.images), arguments.seed, figures)
    write(arguments.json, figures, seed=arguments.seed)


def _held_out(files: Sequence[Path]) -> list[Path]:
    """The images of people without an image in the set by which the floors were chosen."""
    looked_at = {_person(file.stem) for file in (*files[:_FIRST], *files[::_EVERY])}
    return [file for file in files if _person(file.stem) not in looked_at]


def _some(files: Sequence[Path], count: int | None) -> Sequence[Path]:
    """A number of files, evenly spread; all for None."""
    if count is None or count >= len(files):
        return files
    return [files[place * len(files) // count] for place in range(count)]


def _person(name: str) -> str:
    return name.rpartition("_")[0]


def _measure(files: Sequence[Path], seed: int, figures: dict[str, float | int | str]) -> None:
    calibration = shipped("embedding-sface_2021dec")
    thresholds = [threshold_for_fmr(rate, [[calibration]]) for rate in RATES]
    figures["images"] = len(files)
    rows = []
    originals: Portraits | None = None
    for name, degrade in DEGRADATIONS.items():
        found = _extracted(files, degrade, seed)
        originals = found if originals is None else originals
        key = name.replace(" %", "_percent").replace(", ", "_").replace(" ", "_").lower()
        refused = int((~found.passed).sum())
        cells = [name, str(found.failed), str(refused)]
        for which, chosen in (("before", np.ones(len(found.names), bool)), ("after", found.passed)):
            seen, pairs = _false_matches(found, chosen, calibration, thresholds)
            cells += [
                f"{rate / promised:.2f}" if pairs else "-" for rate, promised in zip(seen, RATES, strict=True)
            ]
            figures[f"{key}_{which}_non_mated_pairs"] = pairs
            for rate, promised in zip(seen, RATES, strict=True):
                figures[f"{key}_{which}_fmr_seen_at_{promised:g}"] = rate
        figures |= {f"{key}_no_face": found.failed, f"{key}_refused": refused}
        fnmr = _false_non_matches(found, originals, calibration, thresholds[1])
        if fnmr is not None:
            figures[f"{key}_fnmr_at_0.001"] = fnmr
        rows.append((*cells, "-" if fnmr is None else f"{100 * fnmr:.1f}"))
    heading = ("portraits", "no face", "refused")
    print_table(
        f"False match rate seen by the rate promised; {len(files)} portraits of people held out, LFW's fold 1, SFace",
        (*heading, *(f"{when}, {rate:g}" for when in ("before", "after") for rate in RATES), "FNMR %"),
        rows,
        note="FNMR at 1e-3 against originals, of those that pass. A dash: fewer than two people pass.",
    )


def _extracted(files: Sequence[Path], degrade: Degrade, seed: int) -> Portraits:
    def degraded(file: Path) -> bytes:
        image = degrade(PIL.Image.open(file).convert("RGB"), seed + zlib.crc32(file.name.encode()))
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=1)
        return png.getvalue()

    names, vectors, passed = [], [], []
    outcomes = extract_many(
        map(degraded, files), position=Position.FACE, allow_poor=True, workers=1, cache=_CACHE
    )
    for file, made in zip(files, outcomes, strict=True):
        match made.templates:
            case (Embedding() as face,):
                names.append(file.stem)
                vectors.append(face.vector.astype(np.float64))
                passed.append("quality too low" not in made.note)
    return Portraits(
        names, np.array(vectors).reshape(len(names), -1), np.array(passed, bool), len(files) - len(names)
    )


def _false_matches(
    found: Portraits, chosen: npt.NDArray[np.bool_], calibration: Calibration, thresholds: Sequence[float]
) -> tuple[list[float], int]:
    """The rates of non-mated pairs among the chosen that reach each threshold; and how many pairs there are."""
    vectors, people = found.vectors[chosen], found.people[chosen]
    first, second = np.triu_indices(len(vectors), 1)
    non_mated = people[first] != people[second]
    pairs = int(non_mated.sum())
    if not pairs:
        return [0.0] * len(thresholds), 0
    scores = calibration.llr((vectors @ vectors.T)[first[non_mated], second[non_mated]])
    return [float((scores >= threshold).mean()) for threshold in thresholds], pairs


def _false_non_matches(
    found: Portraits, originals: Portraits, calibration: Calibration, threshold: float
) -> float | None:
    """Of degraded portraits that pass against other originals of the same person; None where none does."""
    passed = found.passed
    names = np.array(found.names)[passed]
    mated = found.people[passed][:, np.newaxis] == originals.people
    mated &= names[:, np.newaxis] != np.array(originals.names)
    if not mated.any():
        return None
    scores = calibration.llr((found.vectors[passed] @ originals.vectors.T)[mated])
    return float((scores < threshold).mean())


if __name__ == "__main__":
    main()
