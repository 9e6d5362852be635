# SPDX-License-Identifier: Apache-2.0
"""One shard, served: an ordinary gallery behind plain calls. Knows nothing of Ray, whose actor it is made.

It opens its gallery when it is first asked for something: a worker that has come back on another machine, or
before its database has, says so in its answer and is asked again. Every call names the version of the division
into shards that the caller knows; the shard compares it with the version in its own database.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from abis.cluster.holding import Holding, tile_of
from abis.cluster.messages import (
    Answers,
    CallHeader,
    Keys,
    NamedPair,
    Page,
    Plain,
    PlainClaim,
    Refused,
    ShardInfo,
    ShardPopulation,
    enrollments_of,
    templates_of,
)
from abis.cluster.placement import shard_of
from abis.deduplication import Criterion, Tile
from abis.errors import AbisError, AlreadyEnrolled, NotEnrolled, StoreError
from abis.gallery import Gallery
from abis.identification.search import SearchOptions
from abis.index.coverage import KindSets, kind_sets
from abis.results import GalleryInfo, Identification, Verification
from abis.scoring.dna import calibration_of_json
from abis.store import Status, StoredEnrollment, Subject, audit, once, parts
from abis.store.encryption import KeyService
from abis.store.parts import Part, Whole
from abis.verification import Claim
from abis.verification.policy import Policy

__all__ = ["ShardWorker"]

_PAGE = 500  # subjects looked at, and moved to other shards in one transaction of each
_NAMES = 10_000  # subject_ids read at once

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Call = Callable[Concatenate["ShardWorker", Gallery, CallHeader, _P], _T]


def answered(method: _Call[_P, _T]) -> Callable[Concatenate[ShardWorker, CallHeader, _P], _T | Refused]:
    """Call a method with the shard's gallery as the caller's actor; a refusal is returned as an answer."""
    return _answered(method, moving=False)


def moving(method: _Call[_P, _T]) -> Callable[Concatenate[ShardWorker, CallHeader, _P], _T | Refused]:
    """As the decorator above, for methods that run only during a resharding."""
    return _answered(method, moving=True)


def _answered(
    method: _Call[_P, _T], *, moving: bool
) -> Callable[Concatenate[ShardWorker, CallHeader, _P], _T | Refused]:
    def wrapper(self: ShardWorker, asked: CallHeader, /, *args: _P.args, **kwargs: _P.kwargs) -> _T | Refused:
        try:
            gallery = self.gallery()
            self.check(parts.read_part(gallery.internals.store), asked, moving=moving)
            with audit.acting(*asked.actor) if asked.actor else nullcontext():
                return method(self, gallery, asked, *args, **kwargs)
        except (AbisError, ValueError, TypeError) as error:
            return Refused(error.with_traceback(None))

    wrapper.__name__, wrapper.__doc__ = method.__name__, method.__doc__
    return wrapper


class ShardWorker:
    """Serves one shard.

    Args:
        location: its gallery's folder or URL, as this machine sees it.
        number: which shard this is.
        cluster: id of the cluster.
        key: the master key; by default that of this machine's environment.
    """

    def __init__(self, location: str, number: int, cluster: str, key: KeyService | None = None) -> None:
        self._location = location
        self._number = number
        self._cluster = cluster
        self._key = key
        self._opening = threading.Lock()
        self._gallery: Gallery | None = None
        self._loaded = (0, 0)
        self._calibrations = ""
        self._holding = Holding()

    # ------------------------------------------------------------------------------------------ itself

    def gallery(self, *, create: bool = False) -> Gallery:
        """The shard's gallery, opened by the first call; ``create`` makes it if it does not exist."""
        with self._opening:
            if self._gallery is None:
                file = Path(self._location, "store.sqlite")
                if not create and "://" not in self._location and not file.exists():
                    raise StoreError(
                        f"{self._location}: no gallery there, on {platform.node()}; shard {self._number} is not lost, "
                        "but must be served by a machine that reaches its folder (docs/cluster.md)"
                    )
                gallery = Gallery.open(self._location, load=False, key=self._key)
                self._calibrations = parts.calibrations_digest(gallery.internals.store)
                self._gallery = gallery
            return self._gallery

    def check(self, part: Part | None, asked: CallHeader, *, moving: bool) -> None:
        """Refuse a store that is another shard, or of another division than the caller's."""
        if part is None or (part.whole, part.number) != (self._cluster, self._number):
            raise StoreError(
                f"{self._location}: is {part or 'a gallery by itself'}; expected shard {self._number} of cluster "
                f"{self._cluster}"
            )
        if part.version != asked.version or part.moving != moving:
            raise StoreError(
                f"{self._location}: the cluster is being or was resharded; open it again"
                f" (version {part.version}{', moving' if part.moving else ''}; asked for {asked.version})"
            )

    def ping(self) -> tuple[str, tuple[int, int]]:
        """The version of abis; the number of templates loaded, and of all. Answers while other calls run."""
        return version("abis"), self._loaded

    # ------------------------------------------------------------------------------------------ reading

    @answered
    def load(self, gallery: Gallery, _: CallHeader) -> None:
        """Load all references."""

        def progress(done: int, total: int) -> None:
            self._loaded = done, total

        gallery.load(progress=progress)

    @answered
    def save(self, gallery: Gallery, _: CallHeader) -> None:
        """Write the loaded references to files, if enough has changed."""
        gallery.save()

    @answered
    def subjects(self, gallery: Gallery, _: CallHeader) -> int:
        """The number of subjects."""
        return len(gallery)

    @answered
    def identify(
        self, gallery: Gallery, _: CallHeader, probes: Sequence[Plain], options: SearchOptions
    ) -> Answers:
        """Search for probes among the subjects of this shard."""
        found = gallery.identify_many(map(templates_of, probes), **asdict(options))
        results = [one if isinstance(one, Identification) else str(one) for one in found]
        return Answers(results, len(gallery), self._calibrations)

    @answered
    def verify(
        self,
        gallery: Gallery,
        _: CallHeader,
        claims: Sequence[PlainClaim],
        fmr: float | None,
        policy: Policy | None,
    ) -> list[Verification]:
        """Decide claims of subjects of this shard."""
        return list(
            gallery.verify_many(
                (Claim(c.subject_id, templates_of(c.templates), c.liveness, c.encounters) for c in claims),
                fmr=fmr,
                policy=policy,
            )
        )

    @answered
    def contains(self, gallery: Gallery, _: CallHeader, subject_id: str) -> bool:
        """Whether a subject is enrolled."""
        return subject_id in gallery

    @answered
    def subject_ids(self, gallery: Gallery, _: CallHeader, after: int, limit: int) -> list[tuple[int, str]]:
        """The next page of subject_ids, each with the key after which the next page begins."""
        return parts.ids_after(gallery.internals.store, after, limit)

    @answered
    def subject(self, gallery: Gallery, _: CallHeader, subject_id: str) -> Subject:
        """Status, level, labels and encounters of a subject."""
        return gallery.subject(subject_id)

    @answered
    def info(self, gallery: Gallery, _: CallHeader) -> GalleryInfo:
        """Number of subjects and templates, memory and disk of the shard."""
        return gallery.info()

    @answered
    def kinds(self, gallery: Gallery, _: CallHeader) -> KindSets | None:
        """Number of subjects by the kinds of their templates; None before references are loaded."""
        if not gallery.is_loaded:
            return None
        view = gallery.internals.references.view()
        return kind_sets(view.segments, last_subject=view.span - 1)

    @answered
    def described(self, gallery: Gallery, _: CallHeader) -> ShardInfo:
        """The present state of the shard."""
        return ShardInfo(self._number, "", platform.node(), os.getpid(), len(gallery), gallery.memory_bytes)

    # ------------------------------------------------------------------------------------ de-duplication

    @answered
    def population(self, gallery: Gallery, _: CallHeader) -> ShardPopulation:
        """The size of the shard as of now, for a de-duplication; logged if an actor is stated."""
        gallery.internals.record("deduplicate", "", "as a shard")
        view, _calibrations = gallery.internals.view_with_calibrations()
        return ShardPopulation(
            view.subjects,
            view.span - 1,
            view.last_encounter,
            view.mark.change,
            self._calibrations,
            kind_sets(view.segments, last_subject=view.span - 1),
        )

    @answered
    def tile(self, gallery: Gallery, _: CallHeader, keys: Keys) -> Tile:
        """References of some subjects, for another shard."""
        return tile_of(gallery, keys)

    @answered
    def pairs(
        self,
        gallery: Gallery,
        _: CallHeader,
        references: Keys,
        probes: Tile | Keys,
        criterion: Criterion,
        calibrations: str,
    ) -> Sequence[NamedPair]:
        """Pairs of some subjects of this shard with probes of another shard, or of this one by key."""
        if calibrations != self._calibrations:
            raise StoreError(f"{self._location}: was calibrated during the de-duplication; start it again")
        return self._holding.pairs(gallery, references, probes, criterion)

    @answered
    def forget_pairs(self, _gallery: Gallery, _: CallHeader) -> None:
        """Free the memory of the references: no more pairs will be asked for."""
        self._holding.forget()

    @answered
    def names(self, gallery: Gallery, _: CallHeader, keys: Sequence[int]) -> dict[int, str]:
        """The subject_ids of those keys that still exist."""
        return gallery.internals.store.names(keys)

    # ------------------------------------------------------------------------------------------ writing

    @answered
    def enroll(
        self, gallery: Gallery, asked: CallHeader, enrollments: Sequence[StoredEnrollment], request: str
    ) -> None:
        """Enroll all, or none, once for each request, however often the request is sent."""
        store = gallery.internals.store
        if once.is_done(store, request):
            return
        try:
            with gallery.internals.enrolling(enrollments_of(enrollments)) as transaction:
                once.note(transaction.connection, request)
                self.check(parts.part_of(transaction.connection), asked, moving=False)
        except (AlreadyEnrolled, StoreError):
            if not once.is_done(store, request):  # else an earlier call of the same request has just done it
                raise

    @answered
    def remove(self, gallery: Gallery, asked: CallHeader, subject_id: str, encounter_id: str | None) -> None:
        """Remove a subject or an encounter; a repeated call does not fail because the first one removed it."""
        try:
            gallery.remove(subject_id, encounter_id=encounter_id)
        except NotEnrolled:
            if not asked.again:
                raise

    @answered
    def set_status(
        self, gallery: Gallery, _: CallHeader, subject_id: str, status: Status, reason: str
    ) -> None:
        gallery.set_status(subject_id, status, reason=reason)

    @answered
    def set_level(self, gallery: Gallery, _: CallHeader, subject_id: str, level: int) -> None:
        gallery.set_level(subject_id, level)

    @answered
    def set_labels(self, gallery: Gallery, _: CallHeader, subject_id: str, labels: Sequence[str]) -> None:
        gallery.set_labels(subject_id, labels)

    @answered
    def replace(
        self, gallery: Gallery, _: CallHeader, subject_id: str, templates: Plain, encounter_id: str | None
    ) -> None:
        gallery.replace(subject_id, templates_of(templates), encounter_id=encounter_id)

    @answered
    def calibrate(self, gallery: Gallery, _: CallHeader, calibration: str) -> None:
        gallery.calibrate(calibration_of_json(calibration))
        self._calibrations = parts.calibrations_digest(gallery.internals.store)

    # -------------------------------------------------------------------------------------- resharding

    def become(self, asked: CallHeader, part: Part | None, adopt: bool) -> int | Refused:
        """Mark the store as this part of the cluster, or as no part. Returns the number of subjects.

        The store is created if it does not exist.

        A store that is no part yet has to be empty, unless ``adopt`` is set.
        """
        try:
            gallery = self.gallery(create=part is not None)
            known = parts.read_part(gallery.internals.store)
            if known is None and part is not None and len(gallery) and not adopt:
                raise StoreError(
                    f"{self._location}: holds {len(gallery):,} subjects; expected an empty gallery"
                )
            if known is not None and (known.whole, known.number) != (self._cluster, self._number):
                raise StoreError(f"{self._location}: is {known} already")
            with audit.acting(*asked.actor) if asked.actor else nullcontext():
                if known != part:
                    parts.set_part(gallery.internals.store, part)
            return len(gallery)
        except (AbisError, ValueError, TypeError) as error:
            return Refused(error.with_traceback(None))

    @moving
    def leaving(self, gallery: Gallery, _: CallHeader, after: int, shards: int) -> Page:
        """The subjects of the next page that belong to another one of ``shards`` shards."""
        page = parts.ids_after(gallery.internals.store, after, _PAGE)
        others: dict[int, list[str]] = {}
        for _key, subject_id in page:
            number = shard_of(subject_id, shards)
            if number != self._number:
                others.setdefault(number, []).append(subject_id)
        leaving = {number: parts.give(gallery.internals.store, ids) for number, ids in others.items()}
        return Page(len(page), page[-1][0] if page else after, leaving)

    @moving
    def astray(self, gallery: Gallery, _: CallHeader, shards: int) -> tuple[int, str | None]:
        """The number of subjects, and the first subject that belongs to another shard, or None."""
        last = count = 0
        while page := parts.ids_after(gallery.internals.store, last, _NAMES):
            for _key, subject_id in page:
                if shard_of(subject_id, shards) != self._number:
                    return len(gallery), subject_id
            count += len(page)
            last = page[-1][0]
        return count, None

    @moving
    def take(self, gallery: Gallery, _: CallHeader, wholes: Sequence[Whole]) -> int:
        """Enroll subjects that come from another shard; return how many were not here before. They are then on disk."""
        return parts.take(gallery.internals.store, wholes)

    @moving
    def drop(self, gallery: Gallery, _: CallHeader, subject_ids: Sequence[str]) -> None:
        """Remove subjects that another shard has taken."""
        parts.drop(gallery.internals.store, subject_ids)

    @moving
    def calibrations(self, gallery: Gallery, _: CallHeader) -> list[str]:
        """The shard's own calibrations, for new shards."""
        return parts.calibrations(gallery.internals.store)

    @moving
    def set_calibrations(self, gallery: Gallery, _: CallHeader, calibrations: Sequence[str]) -> None:
        for one in calibrations:
            gallery.calibrate(calibration_of_json(one))
        self._calibrations = parts.calibrations_digest(gallery.internals.store)
