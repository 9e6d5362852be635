# SPDX-License-Identifier: Apache-2.0
"""Measure the error rates of 1:N searches from a folder of probes and a folder of references."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from abis.evaluation.datasets import DEFAULT_PATTERN, read_folder
from abis.evaluation.discard import discard_of
from abis.evaluation.findings import Findings, assess, pairs_of, unit_of
from abis.evaluation.folder import balance_of_pairs, calibration_of, comparator, finger_numbers
from abis.evaluation.identification import measure_identification, search
from abis.evaluation.scores import FAILED, Scores
from abis.formats import read_file
from abis.scoring.calibration import Calibration
from abis.template import Template

__all__ = ["evaluate_searches"]


def evaluate_searches(
    probes: Path,
    references: Path,
    *,
    pattern: str = DEFAULT_PATTERN,
    read: Callable[[Path], tuple[Template, ...]] = read_file,
    calibration: Calibration | None = None,
    threads: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Search every probe of one folder among the references of another, with a comparison of every pair.

    The subjects are fingers, eyes, or people, by what the templates are of. A search is mated if the probe's subject
    has a reference, and non-mated otherwise. If every probe is mated, each is also searched among the references
    without its own subject, as a non-mated search. A file that cannot be read
    is a failure to acquire or to enroll: its comparisons fail.

    Args:
        probes: folder of probes, in files named ``<finger>_<impression>.*`` or as ``pattern`` states.
        references: folder of references, with file names of the same form. A subject is enrolled with all its
            samples.
        pattern: regular expression of file names, with the groups ``finger`` and ``impression``. Default:
            :data:`~abis.evaluation.datasets.DEFAULT_PATTERN`.
        read: function that returns the templates of a file. Default: :func:`abis.read_file`.
        calibration: calibration of the templates. None: the shipped one; voices, which have none, are evaluated by
            their raw scores.
        threads: number of threads of a search; 0 (default): one for each core. Scores do not depend on it.
        seed: seed of the bootstrap.
        progress: function that is called after each probe, with the number of probes searched and their total.
            None: no calls.

    Raises:
        ValueError: no probe has a mate, no template can be read, modalities are mixed, or a folder is
            not a data set (see :func:`abis.evaluation.read_folder`).
        NotCalibrated: the templates are DNA profiles, and no calibration is given.
        OSError: a folder cannot be read.
    """
    searched, enrolled = (read_folder(folder, pattern=pattern, read=read) for folder in (probes, references))
    samples = (*searched.samples, *enrolled.samples)
    finger = finger_numbers(samples)
    probe_finger, reference_finger = finger[: len(searched.samples)], finger[len(searched.samples) :]
    if not np.isin(probe_finger, reference_finger).any():
        raise ValueError(
            f"no subject of {probes} is in {references}; expected at least one probe with a mate"
        )
    templates = [sample.template for sample in enrolled.samples]
    present = np.flatnonzero([template is not None for template in templates])
    if all(sample.template is None for sample in samples):
        raise ValueError(f"{probes} and {references}: no template could be read")
    in_force = calibration_of([sample.template for sample in samples], calibration)
    compare = comparator(templates, threads, in_force)
    score = np.full((len(probe_finger), len(reference_finger)), FAILED)
    for place, sample in enumerate(searched.samples):
        if sample.template is not None and len(present):
            score[place, present] = compare(sample.template, np.arange(len(present)))
        if progress is not None:
            progress(place + 1, len(searched.samples))
    made = score != FAILED
    searching, found_in = np.nonzero(made)
    all_templates = [sample.template for sample in samples]
    balance = balance_of_pairs(all_templates, searching, len(searched.samples) + found_in)
    if in_force is not None:
        score[made] = in_force.llr(score[made], balance)

    non_mated = ~np.isin(probe_finger, reference_finger)
    found = search(score, probe_finger, reference_finger, without_mate=not non_mated.any())
    probe, reference = (side.ravel() for side in np.indices(score.shape, dtype=np.int32))
    scores = Scores(score.ravel(), probe_finger[probe], reference_finger[reference])
    protocol, cllr, min_cllr = assess(
        "probes against references", scores, calibrated=in_force is not None, calibration=in_force, seed=seed
    )
    return Findings(
        name=f"{searched.name} in {enrolled.name}",
        compared=f"{len(searched.samples):,} probes with {len(enrolled.samples):,} references",
        unit=unit_of(all_templates),
        samples=len(samples),
        subjects=int(finger.max()) + 1,
        from_files=True,
        failures=(*searched.failures, *enrolled.failures),
        ignored=(*searched.ignored, *enrolled.ignored),
        protocols=(protocol,),
        calibrated=in_force is not None,
        cllr=cllr,
        min_cllr=min_cllr,
        identification=measure_identification(found, seed=seed),
        discard=discard_of(
            all_templates,
            probe[scores.mated],
            len(searched.samples) + reference[scores.mated],
            scores.score[scores.mated],
        ),
        worst=pairs_of(
            [sample.name for sample in samples],
            all_templates,
            lambda place: (int(probe[place]), len(searched.samples) + int(reference[place])),
            scores,
            protocol.summary.rates,
            files=[sample.path for sample in samples],
        ),
    )
