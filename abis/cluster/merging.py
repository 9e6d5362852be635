# SPDX-License-Identifier: Apache-2.0
"""Merge the answers of shards: candidates by score, as one gallery lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from abis.cluster.messages import Answers
from abis.comparison.coverage import Coverage
from abis.errors import StoreError, TemplateError
from abis.identification.search import SearchOptions
from abis.results import Identification

__all__ = ["ClusterIdentification", "merged"]


@dataclass(frozen=True)
class ClusterIdentification(Identification):
    """The result of :meth:`Cluster.identify`: an :class:`abis.Identification`, and the shards it comes from.

    Attributes:
        answered: numbers of the shards that were searched.
        missing: the reason why a shard was not searched, by its number; empty unless ``partial=True`` was given.
    """

    answered: tuple[int, ...] = ()
    missing: Mapping[int, str] | None = None

    @property
    def is_partial(self) -> bool:
        """Whether a mate may be in a shard that was not searched."""
        return bool(self.missing)

    def __str__(self) -> str:
        lines = [super().__str__()]
        lines += [f"PARTIAL: shard {n} was not searched: {why}" for n, why in (self.missing or {}).items()]
        return "\n".join(lines)


def merged(
    answers: Mapping[int, Answers], missing: Mapping[int, str], options: SearchOptions, probes: int
) -> Sequence[ClusterIdentification | TemplateError]:
    """One identification for each probe.

    Args:
        answers: of each shard, by its number.
        missing: the reason why a shard has not answered, by its number.
        options: of the search.
        probes: number of probes.

    Raises:
        StoreError: the shards have different calibrations, so their scores cannot be compared.
    """
    if len({answer.calibrations for answer in answers.values()}) > 1:
        raise StoreError(
            "the shards have different calibrations: Cluster.calibrate was stopped; call it again"
        )
    size = sum(answer.subjects for answer in answers.values())
    shards = tuple(sorted(answers))
    return [
        _merged([answers[n].results[row] for n in shards], size, shards, missing, options)
        for row in range(probes)
    ]


def _merged(
    results: Sequence[Identification | str],
    size: int,
    answered: tuple[int, ...],
    missing: Mapping[int, str],
    options: SearchOptions,
) -> ClusterIdentification | TemplateError:
    found = [result for result in results if isinstance(result, Identification)]
    unlike = [result for result in results if isinstance(result, str)]
    if unlike and not any(result.comparable for result in found):
        return TemplateError(unlike[0])
    coverage = sum((result.coverage for result in found if result.coverage), Coverage(0, 0))
    coverage += Coverage(max(0, size - coverage.subjects), 0)  # of shards where nothing is comparable
    rows = sorted((c for result in found for c in result), key=lambda c: (-c.score, c.subject_id))
    return ClusterIdentification(
        tuple(replace(c, rank=rank) for rank, c in enumerate(rows[: options.wanted], 1)),
        compared=sum(result.compared for result in found),
        comparable=sum(result.comparable for result in found),
        gallery_size=size,
        fpir=options.fpir,
        coverage=coverage,
        answered=answered,
        missing=dict(missing),
    )
