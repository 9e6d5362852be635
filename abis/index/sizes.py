# SPDX-License-Identifier: Apache-2.0
"""How much of a gallery is worked on at once."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WorkSizes"]


@dataclass(frozen=True)
class WorkSizes:
    """How much of a gallery is worked on at once. Answers do not depend on it; memory and waiting times do.

    Attributes:
        segment: template keys that a full segment spans; with two fingers and a face a subject, 65,536 subjects.
        load: templates read at once; 10,000 take about 5 MB.
        save: templates without a file from which on a gallery that is closed writes one. Preparing 5,000 templates
            takes about a second.
        save_beside: templates without a file from which on the background thread of an open gallery writes one.
        batch: subjects, or records of an import, that are enrolled in one transaction.
        tile: keys of subjects whose tables a de-duplication has in memory at once: about 400 MB for a finger of each.
        portion: keys of subjects that a de-duplication compares with a tile between two checkpoints: some seconds.
        reseal: templates that a new data key seals in one transaction; other writers wait meanwhile.
        backup: pages of the database that are copied between two reports of progress; 2,000 are 8 MB.
        arrivals_tile: keys of subjects whose references the uniqueness check of an import packs together.
    """

    segment: int = 196_608
    load: int = 10_000
    save: int = 5_000
    save_beside: int = 49_152
    batch: int = 1_000
    tile: int = 32_768
    portion: int = 2_048
    reseal: int = 2_000
    backup: int = 2_000
    arrivals_tile: int = 8_192
