# SPDX-License-Identifier: Apache-2.0
"""A gallery spread over many machines, with the methods of one gallery.

The subject_id determines the shard (:mod:`abis.cluster.placement`), so a call about one subject goes to one shard. A
search goes to all shards; each compares the probe with its own subjects, and the answers are merged
(:mod:`abis.cluster.merging`). The client holds no data beyond the calls at work.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Concatenate, NoReturn, ParamSpec, Self, TypeVar

from abis.cluster.calls import PATIENCE_S, ShardCall, ShardClient, clients_of, start_ray, stop_ray
from abis.cluster.manifest import ClusterManifest, Shard
from abis.cluster.merging import ClusterIdentification, merged
from abis.cluster.messages import (
    Answers,
    CallHeader,
    Plain,
    PlainClaim,
    Refused,
    ShardInfo,
    plain,
    plain_enrollment,
)
from abis.cluster.pairs import deduplicate
from abis.cluster.placement import shard_of
from abis.cluster.resharding import begun_again, begun_anew, divide
from abis.cluster.shard import ShardWorker
from abis.comparison.kind import Kind
from abis.deduplication import Duplicates
from abis.errors import AbisError, ArgumentError, StoreError, TemplateError
from abis.identification.search import SearchOptions, as_labels
from abis.index.coverage import counted_kinds, mutual_coverage
from abis.index.sizes import WorkSizes
from abis.results import GalleryInfo, Outcome, Verification
from abis.scoring.calibration import Calibration
from abis.store import (
    Enrollment,
    Status,
    StoredEnrollment,
    Subject,
    check_id,
    checked_templates,
    not_enrolled,
)
from abis.store.encryption import KeyService
from abis.store.once import new_request
from abis.template import Position, Template
from abis.verification import Claim
from abis.verification.policy import Policy

__all__ = ["Cluster"]

_PROBES = 8  # of one call: few calls, and short enough that results flow
_CLAIMS = 256  # of one call
_ENROLLMENTS = 1_000  # of one round over all shards
_AHEAD = 2  # rounds of calls under way while one is waited for
_NAMES = 10_000  # subject_ids of one call

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Made = TypeVar("_Made")


class Cluster:
    """A set of enrolled subjects, spread by subject_id over shards that machines of a Ray cluster serve.

    A cluster has the methods of :class:`abis.Gallery` that concern subjects, with the same results: scores are
    identical to the bit, and with ``exact=True`` so are the candidates. Any thread may call any method at any time,
    and any number of processes may have the cluster open.

    If a shard's process or machine dies, Ray restarts the shard, which reads its store, and the call is repeated. Calls
    that need the shard wait; after ``patience`` they raise :class:`abis.errors.ShardUnavailable`.

    Use :meth:`open` for a cluster that exists and :meth:`create` for a new one.

    Attributes:
        partial_patience_s: seconds to wait for a shard that gives no sign of life, if the answer may be partial.
        sizes: how much a de-duplication works on at once.
    """

    partial_patience_s = 5.0
    sizes = WorkSizes()

    def __init__(
        self, folder: Path, manifest: ClusterManifest, shards: Sequence[ShardClient], *, owns_ray: bool
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._shards = tuple(shards)
        self._owns_ray = owns_ray

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        shards: Sequence[Shard],
        *,
        address: str | None = None,
        key: KeyService | None = None,
    ) -> Cluster:
        """Create a cluster of shards that are empty or do not exist yet, and open it.

        A single shard may also be a gallery with subjects; :meth:`reshard` then spreads them.

        Args:
            folder: folder for the manifest, readable by all that open the cluster; created if it does not exist.
            shards: location of each shard.
            address: address of Ray, as for :meth:`open`.
            key: the master key, as for :meth:`open`.

        Raises:
            StoreError: the folder has a cluster already, or a shard cannot be created.
        """
        path = Path(folder)
        manifest = begun_anew(path, shards)
        with _ray(address) as owns_ray:
            manifest, clients = divide(path, manifest, key=key, progress=None)
            return cls(path, manifest, clients, owns_ray=owns_ray)

    @classmethod
    def reshard(
        cls,
        folder: str | os.PathLike[str],
        shards: Sequence[Shard] = (),
        *,
        address: str | None = None,
        key: KeyService | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Spread a cluster over other shards. Calls of other processes are refused until this ends.

        Subjects are copied to their new shard, and removed from the old one once the copy is on disk. If interrupted,
        the same call goes on; until it ends, the cluster cannot be opened.

        Args:
            folder: the cluster's folder.
            shards: all shards after the call: the present ones first, in their order, or fewer of them. Empty: go
                on with an interrupted call.
            address: address of Ray, as for :meth:`open`.
            key: the master key, as for :meth:`open`.
            progress: called with the subjects looked at and the subjects in all.
        """
        path = Path(folder)
        manifest = begun_again(path, shards)
        with _ray(address) as owns_ray:
            divide(path, manifest, key=key, progress=progress)
        if owns_ray:
            stop_ray()

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        load: bool = True,
        address: str | None = None,
        key: KeyService | None = None,
        keep: bool = False,
        patience: float = PATIENCE_S,
        progress: Callable[[int, int], None] | None = None,
    ) -> Cluster:
        """Open a cluster. Shards that no process serves yet are started.

        Args:
            folder: folder with the cluster's manifest.
            load: load all references for identification now.
            address: address of Ray. The default is ``RAY_ADDRESS`` in the environment. Without both, and if this
                process is not connected to Ray, Ray is started on this machine, and ended by :meth:`close`.
            key: a client of a key management service, which is pickled to the shards. The default is the master key
                in the environment of each shard's machine. A :class:`abis.MasterKey` cannot be pickled.
            keep: shards that are started now outlive this process, until :meth:`stop`.
            patience: seconds to wait for a shard that gives no sign of life. A shard at work may take any time.
            progress: called with the templates loaded and the templates in all.

        Raises:
            StoreError: there is no cluster, a resharding is under way, or a shard cannot be opened.
            ShardUnavailable: a shard gives no sign of life.
        """
        path = Path(folder)
        manifest = ClusterManifest.read(path)
        if manifest.becoming:
            raise StoreError(
                f"{path}: its division into shards was stopped; `abis cluster reshard {path}` goes on"
            )
        with _ray(address) as owns_ray:
            clients = clients_of(manifest, path, key=key, keep=keep, patience=patience)
            cluster = cls(path, manifest, clients, owns_ray=owns_ray)
            cluster._check()
            if load:
                cluster.load(progress=progress)
            return cluster

    def close(self) -> None:
        """Close the cluster. Enrolments are on disk already; the shards write their loaded references now."""
        try:
            self._save()
        finally:
            self._leave()

    def stop(self) -> None:
        """Close the cluster and end its shards' processes, also for other clients."""
        try:
            self._save()
            for shard in self._shards:
                shard.stop()
        finally:
            self._leave()

    def _save(self) -> None:
        """Have snapshots written. They can be rebuilt, so a shard that does not answer is skipped."""
        for call in [shard.ask(ShardWorker.save) for shard in self._shards]:
            with suppress(StoreError):
                call.result(patience=self.partial_patience_s)

    def _leave(self) -> None:
        for shard in self._shards:
            shard.forget()
        if self._owns_ray:
            stop_ray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._leave()

    def __repr__(self) -> str:
        return f"Cluster({str(self._folder)!r}, {len(self._shards)} shards)"

    def __len__(self) -> int:
        """Number of subjects enrolled."""
        return sum(self._of_all(ShardWorker.subjects))

    def __bool__(self) -> bool:
        return True  # an empty one is still one

    def __contains__(self, subject_id: object) -> bool:
        if not isinstance(subject_id, str):
            return False
        return self._shard_of(subject_id).ask(ShardWorker.contains, subject_id).result()

    def __iter__(self) -> Iterator[str]:
        """All subject_ids, shard by shard in the order of enrolment, read page by page."""
        for shard in self._shards:
            last = 0
            while page := shard.ask(ShardWorker.subject_ids, last, _NAMES).result():
                yield from (subject_id for _, subject_id in page)
                last = page[-1][0]

    def info(self) -> GalleryInfo:
        """The sums over all shards of subjects, templates, bytes and changes."""
        found = self._of_all(ShardWorker.info)
        templates: dict[Position, int] = {}
        for one in found:
            for position, count in one.templates.items():
                templates[position] = templates.get(position, 0) + count
        sets = self._of_all(ShardWorker.kinds)
        loaded = [one for one in sets if one is not None]
        kinds: Counter[frozenset[Kind]] = sum(map(Counter, loaded), Counter())
        is_loaded = len(loaded) == len(sets)
        sizes = [one.disk_bytes for one in found]
        known = [size for size in sizes if size is not None]
        return GalleryInfo(
            subjects=sum(one.subjects for one in found),
            encounters=sum(one.encounters for one in found),
            templates=dict(sorted(templates.items())),
            memory_bytes=sum(one.memory_bytes for one in found),
            disk_bytes=sum(known) if len(known) == len(sizes) else None,
            change=sum(one.change for one in found),
            schema_version=found[0].schema_version,
            kinds=counted_kinds(kinds) if is_loaded else None,
            coverage=mutual_coverage(kinds) if is_loaded else None,
        )

    def shards(self) -> list[ShardInfo]:
        """The present state of each shard; for a shard that does not answer, the reason."""
        found = []
        calls = [shard.ask(ShardWorker.described) for shard in self._shards]
        for shard, call, kept in zip(self._shards, calls, self._manifest.shards, strict=True):
            try:
                info = call.result(patience=self.partial_patience_s)
            except StoreError as error:
                info = ShardInfo(shard.number, "", fault=str(error))
            found.append(replace(info, location=str(kept)))
        return found

    def shard_of(self, subject_id: str) -> int:
        """The number of the shard that a subject_id belongs to, enrolled or not."""
        return self._shard_of(subject_id).number

    def load(self, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Load the references of all shards that are not loaded yet."""
        calls = [shard.ask(ShardWorker.load) for shard in self._shards]
        while progress is not None and not all(call.is_done for call in calls):
            signs = [shard.wait_alive(shard.patience)[1] for shard in self._shards]
            progress(sum(done for done, _ in signs), sum(total for _, total in signs))
            time.sleep(0.2)
        for call in calls:
            call.result()

    # ------------------------------------------------------------------------------------- enrolment

    def enroll(
        self,
        subject_id: str,
        templates: Sequence[Template],
        *,
        encounter_id: str | None = None,
        labels: Sequence[str] = (),
        level: int | None = None,
    ) -> None:
        """Enroll a new subject, or a further encounter, as :meth:`abis.Gallery.enroll` does.

        An enrolment that has returned survives any crash. If a worker dies before it answers, the call is repeated;
        the subject is neither enrolled twice nor refused as :class:`abis.AlreadyEnrolled`.
        """
        self.enroll_many([Enrollment(subject_id, templates, encounter_id, labels, level)])

    def enroll_many(self, enrollments: Iterable[Enrollment]) -> int:
        """Enroll many, a thousand at a time, in one transaction of each shard.

        If an error is raised, a shard has enrolled either all or none of its part of the present thousand; other
        shards' parts, and earlier thousands, stay enrolled.

        Returns:
            Number of enrollments.

        Raises:
            AlreadyEnrolled: as :meth:`abis.Gallery.enroll` does.
        """
        count = 0
        under_way: list[ShardCall[None]] = []
        source = iter(enrollments)
        try:
            while batch := list(islice(source, _ENROLLMENTS)):
                parts: dict[int, list[StoredEnrollment]] = {}
                for enrollment in batch:
                    number = shard_of(enrollment.subject_id, len(self._shards))
                    parts.setdefault(number, []).append(plain_enrollment(enrollment))
                _finished(under_way)  # one round at a time, so that the order of enrolment is kept
                under_way = [
                    self._shards[number].ask(ShardWorker.enroll, part, new_request())
                    for number, part in parts.items()
                ]
                count += len(batch)
        finally:
            _finished(under_way)
        return count

    def remove(self, subject_id: str, *, encounter_id: str | None = None) -> None:
        """Remove a subject, or one encounter of it; with the last encounter goes the subject.

        Raises:
            NotEnrolled: there is no such subject or encounter.
        """
        self._shard_of(subject_id).ask(ShardWorker.remove, subject_id, encounter_id).result()

    def replace(
        self, subject_id: str, templates: Sequence[Template], *, encounter_id: str | None = None
    ) -> None:
        """Replace all templates of a subject, as :meth:`abis.Gallery.replace` does."""
        checked = plain(checked_templates(templates))
        self._shard_of(subject_id).ask(ShardWorker.replace, subject_id, checked, encounter_id).result()

    def merge(self, source_id: str, target_id: str) -> NoReturn:
        """Always refused: the two subjects may be in different stores, which no transaction spans.

        Raises:
            StoreError: always.
        """
        raise _spans_shards(f"merge {source_id!r} into {target_id!r}")

    def move(self, encounter_id: str, source_id: str, target_id: str) -> NoReturn:
        """Always refused: the two subjects may be in different stores, which no transaction spans.

        Raises:
            StoreError: always.
        """
        raise _spans_shards(f"move encounter {encounter_id!r} of {source_id!r} to {target_id!r}")

    def subject(self, subject_id: str) -> Subject:
        """Status, level, labels and encounters of a subject.

        Raises:
            NotEnrolled: there is no such subject.
        """
        return self._shard_of(subject_id).ask(ShardWorker.subject, subject_id).result()

    def set_status(self, subject_id: str, status: Status, *, reason: str) -> None:
        """Lock, terminate or activate an identity, as :meth:`abis.Gallery.set_status` does."""
        self._shard_of(subject_id).ask(ShardWorker.set_status, subject_id, status, reason).result()

    def set_level(self, subject_id: str, level: int) -> None:
        """State the assurance level of a subject, 0 to 9."""
        self._shard_of(subject_id).ask(ShardWorker.set_level, subject_id, level).result()

    def set_labels(self, subject_id: str, labels: Iterable[str]) -> None:
        """Replace the labels of a subject."""
        self._shard_of(subject_id).ask(ShardWorker.set_labels, subject_id, list(labels)).result()

    def calibrate(self, calibration: Calibration) -> None:
        """Score comparisons of a kind of templates by this calibration from now on, in all shards.

        If interrupted, searches fail until this is called again.
        """
        self._of_all(ShardWorker.calibrate, calibration.to_json())

    # ------------------------------------------------------------------------------------ comparison

    def verify(
        self,
        templates: Sequence[Template],
        subject_id: str,
        *,
        fmr: float | None = None,
        policy: Policy | None = None,
        liveness: bool | None = None,
    ) -> Verification:
        """Decide whether a probe is of the claimed subject, as :meth:`abis.Gallery.verify` does.

        Raises:
            NotEnrolled: there is no such subject.
        """
        (result,) = self.verify_many([Claim(subject_id, templates, liveness)], fmr=fmr, policy=policy)
        if result.outcome == Outcome.NOT_ENROLLED:
            raise not_enrolled(subject_id)
        return result

    def verify_many(
        self, claims: Iterable[Claim], *, fmr: float | None = None, policy: Policy | None = None
    ) -> Iterator[Verification]:
        """Decide many claims, in order, as :meth:`abis.Gallery.verify_many` does."""

        def begun(claims: Sequence[Claim]) -> Callable[[], Iterable[Verification]]:
            rows: dict[int, list[int]] = {}
            for row, claim in enumerate(claims):
                rows.setdefault(shard_of(claim.subject_id, len(self._shards)), []).append(row)
            calls = {}
            for number, own in rows.items():
                asked = [
                    PlainClaim(c.subject_id, plain(c.templates), c.liveness, c.encounters)
                    for c in map(claims.__getitem__, own)
                ]
                calls[number] = self._shards[number].ask(ShardWorker.verify, asked, fmr, policy)

            def finished() -> Iterable[Verification]:
                results = {
                    row: result
                    for number, call in calls.items()
                    for row, result in zip(rows[number], call.result(), strict=True)
                }
                return [results[row] for row in range(len(claims))]

            return finished

        yield from _rounds(claims, _CLAIMS, begun)

    def identify(
        self,
        templates: Sequence[Template],
        *,
        max_candidates: int | None = None,
        fpir: float | None = None,
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        partial: bool = False,
    ) -> ClusterIdentification:
        """Search for a probe among the subjects of all shards, as :meth:`abis.Gallery.identify` does.

        Args:
            templates: templates of the probe.
            max_candidates: largest number of candidates to return; None for 10, or for what the shards' answer
                policies allow where that is less.
            fpir: false positive identification rate of the whole cluster at its present size; sets the threshold.
                None for no threshold.
            share: largest part of each shard that passes the first look, above 0, at most 1.
            labels: search only subjects that have at least one of these labels; None for all subjects.
            exact: compare the probe in full with all subjects.
            partial: answer without the shards that do not answer, and name them in ``missing``.

        Raises:
            ShardUnavailable: a shard does not answer; with ``partial``, no shard answers.
            TemplateError: probe and gallery have only embeddings, of different models.
        """
        options = SearchOptions(max_candidates, fpir, share, as_labels(labels), exact)
        (result,) = self._begun([plain(checked_templates(templates))], options, partial)()
        if isinstance(result, TemplateError):
            raise result
        return result

    def identify_many(
        self,
        probes: Iterable[Sequence[Template]],
        *,
        max_candidates: int | None = None,
        fpir: float | None = None,
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        partial: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[ClusterIdentification | TemplateError]:
        """Search for many probes: eight in a call, up to three calls to each shard at a time.

        Only a few probes and results are in memory at a time, so the number of probes is not limited. The arguments are
        those of :meth:`identify`; ``progress`` is called with the number of probes searched so far.

        Yields:
            For each probe, in order, the result of :meth:`identify`, or the TemplateError that it would raise.
        """
        options = SearchOptions(max_candidates, fpir, share, as_labels(labels), exact)

        def begun(
            probes: Sequence[Sequence[Template]],
        ) -> Callable[[], Iterable[ClusterIdentification | TemplateError]]:
            given = [_plain_or_fault(probe) for probe in probes]
            finished = self._begun(
                [one for one in given if not isinstance(one, TemplateError)], options, partial
            )

            def answers() -> Iterable[ClusterIdentification | TemplateError]:
                results = iter(finished())
                return [one if isinstance(one, TemplateError) else next(results) for one in given]

            return answers

        for done, result in enumerate(_rounds(probes, _PROBES, begun), 1):
            if progress is not None:
                progress(done)
            yield result

    def deduplicate(
        self,
        *,
        fpir: float | None = None,
        threshold: float | None = None,
        since: int | None = None,
        exact: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Duplicates:
        """Find subjects that are enrolled twice, in all shards, as :meth:`abis.Gallery.deduplicate` does.

        Each shard compares its subjects as of now. The probe of a pair, :attr:`DuplicatePair.other_id`, is the subject
        that was enrolled later or, if the two are in different shards, the subject of the shard that sends its
        references (docs/cluster.md).

        Args:
            fpir: list pairs that reach the threshold of this false positive identification rate, for a search by each
                subject among all of the cluster. The default without a threshold is 1e-4.
            threshold: list pairs of at least this score instead, a log10 likelihood ratio.
            since: must be None: each shard counts its own changes, so one number does not give the state of all.
            exact: compare all pairs in full.
            checkpoint: must be None: a checkpoint holds keys of one gallery's subjects.
            progress: called with the pairs compared and the pairs in all.

        Raises:
            ArgumentError: ``since`` or ``checkpoint`` is given.
            StoreError: shards have different calibrations.
            ShardUnavailable: a shard does not answer.
        """
        if since is not None:
            raise ArgumentError(
                f"since is {since}; expected none: each shard of a cluster counts its own changes"
            )
        if checkpoint is not None:
            raise ArgumentError(
                f"checkpoint is {os.fspath(checkpoint)!r}; expected none: it holds keys of one gallery, "
                "and each shard of a cluster has its own"
            )
        if fpir is None and threshold is None:
            fpir = 1e-4
        return deduplicate(
            self._shards,
            fpir=fpir,
            threshold=threshold,
            exact=exact,
            progress=progress,
            sizes=self.sizes,
        )

    def _begun(
        self, probes: Sequence[Plain], options: SearchOptions, partial: bool
    ) -> Callable[[], Sequence[ClusterIdentification | TemplateError]]:
        """Send a search to all shards; returns a function that waits for the results."""
        if not probes:
            return list
        missing: dict[int, str] = {}
        size = None
        patience_s = self.partial_patience_s if partial else None
        if options.fpir is not None:
            sizes, missing = _gathered([s.ask(ShardWorker.subjects) for s in self._shards], patience_s)
            size = sum(sizes.values())
        calls = [
            shard.ask(ShardWorker.identify, probes, replace(options, gallery_size=size))
            for shard in self._shards
            if shard.number not in missing
        ]

        def finished() -> Sequence[ClusterIdentification | TemplateError]:
            answers: Mapping[int, Answers]
            answers, also_missing = _gathered(calls, patience_s)
            return merged(answers, missing | also_missing, options, len(probes))

        return finished

    # ---------------------------------------------------------------------------------------- inside

    def _check(self) -> None:
        """Check that all shards answer, match the manifest, and run the same abis: scores could differ otherwise."""
        calls = [shard.ask(ShardWorker.subjects) for shard in self._shards]
        own = version("abis")
        for shard, call in zip(self._shards, calls, strict=True):
            call.result()
            other, _ = shard.wait_alive(shard.patience)
            if other != own:
                raise StoreError(
                    f"shard {shard.number} runs abis {other}, this process {own}; expected the same"
                )

    def _shard_of(self, subject_id: str) -> ShardClient:
        check_id("subject_id", subject_id)
        return self._shards[shard_of(subject_id, len(self._shards))]

    def _of_all(
        self,
        method: Callable[Concatenate[ShardWorker, CallHeader, _P], _T | Refused],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> list[_T]:
        calls = [shard.ask(method, *args, **kwargs) for shard in self._shards]
        return [call.result() for call in calls]


def _spans_shards(what: str) -> StoreError:
    return StoreError(
        f"cannot {what} in a cluster: they may be in different shards, which no transaction spans; "
        "enroll the encounters under the right name, then remove the wrong one"
    )


@contextmanager
def _ray(address: str | None) -> Iterator[bool]:
    """Connect to Ray for a block; an error in it disconnects again if this call connected."""
    owns_ray = start_ray(address)
    try:
        yield owns_ray
    except BaseException:
        if owns_ray:
            stop_ray()
        raise


def _rounds(
    things: Iterable[_T], size: int, begun: Callable[[Sequence[_T]], Callable[[], Iterable[_Made]]]
) -> Iterator[_Made]:
    """Start calls in rounds, a few rounds ahead, and yield their results in order."""
    source = iter(things)
    under_way: deque[Callable[[], Iterable[_Made]]] = deque()
    while batch := list(islice(source, size)):
        under_way.append(begun(batch))
        if len(under_way) > _AHEAD:
            yield from under_way.popleft()()
    while under_way:
        yield from under_way.popleft()()


def _gathered(
    calls: Sequence[ShardCall[_T]], patience_s: float | None
) -> tuple[dict[int, _T], dict[int, str]]:
    """The answers by shard, and the reasons of those missing.

    Args:
        calls: one for each shard.
        patience_s: seconds to wait for a shard that gives no sign of life, if the answer may be partial. None: the
            answer must be complete, and a shard that does not answer is an error.
    """
    answers: dict[int, _T] = {}
    missing: dict[int, str] = {}
    last: StoreError | None = None
    try:
        for call in calls:
            try:
                answers[call.shard.number] = call.result(patience=patience_s)
            except StoreError as error:
                if patience_s is None:
                    raise
                missing[call.shard.number] = str(error)
                last = error
    except BaseException:
        for call in calls:
            call.cancel()
        raise
    if last is not None and not answers:
        raise last
    return answers, missing


def _finished(calls: list[ShardCall[None]]) -> None:
    """Wait for all calls, then raise the first error, if there was one."""
    first: AbisError | ValueError | TypeError | None = None
    while calls:
        try:
            calls.pop(0).result()
        except (AbisError, ValueError, TypeError) as error:
            first = first or error
    if first is not None:
        raise first


def _plain_or_fault(probe: Sequence[Template]) -> Plain | TemplateError:
    try:
        return plain(checked_templates(probe))
    except TemplateError as error:
        return error
