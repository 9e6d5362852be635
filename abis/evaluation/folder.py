# SPDX-License-Identifier: Apache-2.0
"""Measure the error rates of a folder of templates, each compared with every other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.comparison.kind import Kind
from abis.errors import NotCalibrated
from abis.evaluation.datasets import DEFAULT_PATTERN, DataSet, FolderSample, read_folder
from abis.evaluation.discard import discard_of
from abis.evaluation.findings import Findings, Protocol, pairs_of, unit_of
from abis.evaluation.likelihood_ratios import cllr, min_cllr
from abis.evaluation.protocols import all_pairs, first_enrolled, fvc_pairs
from abis.evaluation.scores import FAILED, Scores
from abis.evaluation.summary import Summary, summarise
from abis.evaluation.thresholds import promises
from abis.formats import read_file
from abis.scoring.calibration import Calibration, Calibrations, kind_of
from abis.template import Template
from abis.template.modality import modality_of
from abis.text import counted

__all__ = ["Evaluation", "comparator", "compare_samples", "evaluate_folder"]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Scores and error rates of a data set, with every sample compared with every other.

    The arrays have the shape (pairs,) and contain every unordered pair once.

    Attributes:
        data_set: the samples and the failures.
        probe: int32, place of the probe, the first sample of the pair, in ``data_set.samples``.
        reference: int32, place of the reference, the second sample of the pair.
        mated: bool, whether both samples are of one finger, eye or person.
        fvc: bool, whether the FVC protocol contains the pair.
        raw: float32 comparison scores; -inf if a sample could not be read.
        balance: float64, balance of the templates of fingers (:func:`abis.comparison.balance`). None: the templates
            are not of fingers.
        score: float64 log10 likelihood ratios, or raw scores where not ``calibrated``; -inf if a sample could not be
            read.
        all_against_all: error rates over all pairs.
        fvc_protocol: error rates over the pairs of the FVC protocol.
        calibrated: whether there is a calibration of the templates.
        cllr: Cllr over all comparisons that did not fail, in bits; None where not ``calibrated``.
        min_cllr: least Cllr over all comparisons that did not fail, in bits.
        seed: seed of the bootstrap.
    """

    data_set: DataSet
    probe: npt.NDArray[np.int32]
    reference: npt.NDArray[np.int32]
    mated: npt.NDArray[np.bool_]
    fvc: npt.NDArray[np.bool_]
    raw: npt.NDArray[np.float32]
    balance: npt.NDArray[np.float64] | None
    score: npt.NDArray[np.float64]
    all_against_all: Summary
    fvc_protocol: Summary
    calibrated: bool
    cllr: float | None
    min_cllr: float
    seed: int

    def scores(self) -> Scores:
        """Return the log10 likelihood ratios and the fingers of all pairs."""
        finger = finger_numbers(self.data_set.samples)
        return Scores(self.score, finger[self.probe], finger[self.reference])

    def findings(self) -> Findings:
        """Return the error rates of both protocols and of 1:N searches, and the worst pairs.

        In the searches the first impression of every finger is enrolled, and the other impressions are probes. Each
        probe is searched with and without its own finger in the gallery.
        """
        samples = self.data_set.samples
        return Findings(
            name=self.data_set.name,
            compared=f"every two of {len(samples):,} samples",
            unit=unit_of(sample.template for sample in samples),
            samples=len(samples),
            subjects=len({sample.finger for sample in samples}),
            from_files=True,
            failures=self.data_set.failures,
            ignored=self.data_set.ignored,
            protocols=(
                Protocol("all against all", self.all_against_all),
                Protocol("FVC protocol", self.fvc_protocol),
            ),
            calibrated=self.calibrated,
            cllr=self.cllr,
            min_cllr=self.min_cllr,
            identification=first_enrolled(self.score, finger_numbers(samples), seed=self.seed),
            discard=discard_of(
                [sample.template for sample in samples],
                self.probe[self.mated],
                self.reference[self.mated],
                self.score[self.mated],
            ),
            worst=pairs_of(
                [sample.name for sample in samples],
                [sample.template for sample in samples],
                lambda place: (int(self.probe[place]), int(self.reference[place])),
                self.scores(),
                self.all_against_all.rates,
                files=[sample.path for sample in samples],
            ),
        )

    def __repr__(self) -> str:
        samples = counted(len(self.data_set.samples), "sample")
        return f"Evaluation({self.data_set.name!r}: {samples}, {counted(len(self.raw), 'pair')})"

    def __str__(self) -> str:
        """Return the findings as a text table."""
        return str(self.findings())


def evaluate_folder(
    folder: Path,
    *,
    pattern: str = DEFAULT_PATTERN,
    read: Callable[[Path], tuple[Template, ...]] = read_file,
    calibration: Calibration | None = None,
    threads: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare all templates of a folder with each other, and measure the errors under both protocols.

    The subjects are fingers, eyes, or people, by what the templates are of.

    Every unordered pair is compared once; its first sample is the probe. A file that cannot be read is a failure to
    acquire: its comparisons fail, and a failed comparison is a non-match.

    Args:
        folder: folder of files named ``<finger>_<impression>.*``, or as ``pattern`` states.
        pattern: regular expression of file names, with the groups ``finger`` and ``impression``. Default:
            :data:`~abis.evaluation.datasets.DEFAULT_PATTERN`.
        read: function that returns the templates of a file. Default: :func:`abis.read_file`.
        calibration: calibration of the templates. None: the shipped one; voices, which have none, are evaluated by
            their raw scores.
        threads: number of threads; 0 (default): one for each core. Scores do not depend on it.
        seed: seed of the bootstrap.
        progress: function that is called after every probe, with the number of comparisons done and their total.
            None: no calls.

    Raises:
        ValueError: no two samples are of one subject or no two are of different subjects, modalities are mixed, too
            few files can be read, or the folder is not a data set (see :func:`abis.evaluation.read_folder`).
        NotCalibrated: the templates are DNA profiles, and no calibration is given.
        OSError: the folder cannot be read.
    """
    data_set = read_folder(folder, pattern=pattern, read=read)
    samples = data_set.samples
    probe, reference = all_pairs(len(samples))
    finger = finger_numbers(samples)
    mated = np.asarray(finger[probe] == finger[reference])
    if mated.all() or not mated.any():
        missing = "of one subject" if not mated.any() else "of different subjects"
        raise ValueError(f"{folder}: no two samples are {missing}; both kinds of pairs are needed")
    fvc = fvc_pairs(probe, reference, finger)

    templates = [sample.template for sample in samples]
    in_force = calibration_of(templates, calibration)
    raw = compare_samples(templates, templates, calibration=in_force, threads=threads, progress=progress)
    made = raw != FAILED
    if not made[mated].any() or not made[~mated].any():
        failure = data_set.failures[0]
        raise ValueError(f"{folder}: too few templates could be read; {failure.name}: {failure.reason}")
    score = raw.astype(np.float64)
    balance = balance_of_pairs(templates, probe, reference)
    if in_force is not None:
        score[made] = in_force.llr(raw[made], None if balance is None else balance[made])
    kept_promises = promises(in_force) if in_force is not None else ()

    scores = Scores(score, finger[probe], finger[reference])
    return Evaluation(
        data_set=data_set,
        probe=probe,
        reference=reference,
        mated=mated,
        fvc=fvc,
        raw=raw,
        balance=balance,
        score=score,
        all_against_all=summarise(scores, seed=seed, promises=kept_promises),
        fvc_protocol=summarise(scores.select(fvc), seed=seed, promises=kept_promises),
        calibrated=in_force is not None,
        cllr=None if in_force is None else cllr(score[made & mated], score[made & ~mated]),
        min_cllr=min_cllr(score[made & mated], score[made & ~mated]),
        seed=seed,
    )


def calibration_of(
    templates: Sequence[Template | None], calibration: Calibration | None
) -> Calibration | None:
    """Return the calibration for comparisons among templates; None if there is none, and raw scores need none.

    Args:
        templates: of one modality; None for a failed sample.
        calibration: the caller's; it must be of the kind of the templates. None: the shipped one.

    Raises:
        ValueError: the calibration is of another kind.
        NotCalibrated: there is none, and raw scores depend on it.
    """
    present = [template for template in templates if template is not None]
    if not present:
        return calibration
    try:
        found = Calibrations.of([] if calibration is None else [calibration]).for_templates(present)
    except NotCalibrated:
        if modality_of(present[0]).comparator().scored is not None:
            raise
        found = None
    if calibration is not None and found is not calibration:
        raise ValueError(
            f"the calibration is of {calibration.kind}; the templates are of {kind_of(present[0])}"
        )
    return found


def finger_numbers(samples: Sequence[FolderSample]) -> npt.NDArray[np.int32]:
    """Return the (n,) finger number of each sample; fingers are numbered from 0 in the order of the samples."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(sample.finger, len(numbers)) for sample in samples], dtype=np.int32)


def compare_samples(
    probes: Sequence[Template | None],
    references: Sequence[Template | None],
    *,
    calibration: Calibration | None = None,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the raw scores of every probe with the references of later places, in the order of ``all_pairs``.

    Args:
        probes: (n,) templates of one kind; None for a failed sample, whose comparisons score -inf.
        references: (n,) templates of the same samples, by the same or another extractor; None for a failed sample.
        calibration: of the templates; raw scores of DNA depend on it, others do not.
        threads: number of threads; 0 (default): one for each core.
        progress: function that is called after every probe, with the number of comparisons done and their total.
            None: no calls.

    Raises:
        ValueError: minutiae and embeddings are mixed, or the lengths differ.
    """
    if len(probes) != len(references):
        raise ValueError(f"{len(probes)} probes and {len(references)} references; expected equal counts")
    compare = comparator(references, threads, calibration)
    total = len(probes) * (len(probes) - 1) // 2
    raw = np.full(total, FAILED, dtype=np.float32)
    has_reference = np.array([template is not None for template in references], dtype=bool)
    slot = np.cumsum(has_reference) - 1
    done = 0
    for i, probe in enumerate(probes):
        row = raw[done : done + len(probes) - i - 1]
        made = has_reference[i + 1 :]
        if probe is not None and made.any():
            row[made] = compare(probe, slot[i + 1 :][made])
        done += len(row)
        if progress is not None:
            progress(done, total)
    return raw


def balance_of_pairs(
    templates: Sequence[Template | None],
    probe: npt.NDArray[np.integer[Any]],
    reference: npt.NDArray[np.integer[Any]],
) -> npt.NDArray[np.float64] | None:
    """Return the balance of each pair of templates; None if their modality has none, or no template is given.

    Args:
        templates: templates of all samples, of one modality; None for a failed sample.
        probe: (n,) place of each pair's probe in ``templates``.
        reference: (n,) place of each pair's reference in ``templates``.

    Returns:
        (n,) float64, 0 to 1; see :func:`abis.comparison.balance`.
    """
    present = [template for template in templates if template is not None]
    comparator = modality_of(present[0]).comparator() if present else None
    if comparator is None or comparator.contents is None:
        return None
    content = np.zeros(len(templates), np.int64)
    content[[number for number, template in enumerate(templates) if template is not None]] = (
        comparator.contents(present)
    )
    return comparator.of_contents(content[probe], content[reference])


def comparator(
    references: Sequence[Template | None], threads: int, calibration: Calibration | None = None
) -> Callable[[Template, npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
    """Return a function that compares a probe with the references of given slots.

    Args:
        references: templates of one kind; None for a failed sample. The slots number the others from 0.
        threads: number of threads; 0: one for each core.
        calibration: of the templates; raw scores of DNA depend on it, others do not.

    Returns:
        Function from a probe and (k,) slots to (k,) float32 raw scores.

    Raises:
        ValueError: the references are of several modalities or models.
    """
    present = [template for template in references if template is not None]
    kinds = {Kind.of(template)[1:] for template in present}
    modalities = {modality_of(template).name for template in present}
    if len(modalities) > 1:
        raise ValueError(f"templates of several modalities are mixed: {', '.join(sorted(modalities))}")
    if len(kinds) > 1:
        raise ValueError("templates of several models are mixed")
    if not present:
        return lambda probe, slots: np.empty(len(slots), np.float32)
    modality = modality_of(present[0])
    compared = modality.comparator().under(calibration).packed(present)

    def compare(probe: Template, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if not isinstance(probe, modality.template) or Kind.of(probe)[1:] not in kinds:
            raise ValueError(f"{probe} cannot be compared with {present[0]}")
        return compared(probe, slots, threads)

    return compare
