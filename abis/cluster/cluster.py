# SPDX-License-Identifier: Apache-2.0
"""A gallery over many machines: the same questions as to one gallery, asked of all shards, and one answer.

Who is in a shard is known from a subject's name (:mod:`abis.cluster.placement`), so whatever is about one subject
goes to one shard. A search goes to all of them; each compares with its own subjects, and the best of all
are the answer (:mod:`abis.cluster.merging`). The client holds no data but what is under way.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Concatenate, NoReturn, ParamSpec, Self, TypeVar

from abis.cluster.calls import PATIENCE_S, Call, ShardClient, clients_of, start_ray, stop_ray
from abis.cluster.manifest import Manifest, Shard
from abis.cluster.merging import ClusterIdentification, merged
from abis.cluster.messages import (
    Answers,
    Asked,
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
from abis.deduplication import Duplicates
from abis.errors import AbisError, StoreError, TemplateError
from abis.identification.search import SearchOptions
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

_PARTIAL_PATIENCE_S = 5.0  # for a shard without a sign of life, where a partial answer will do
_PROBES = 8  # of one call: few calls, and short enough that results flow
_CLAIMS = 256  # of one call
_ENROLLMENTS = 1_000  # of one round over all shards
_AHEAD = 2  # rounds of calls under way while one is waited for
_NAMES = 10_000  # subject_ids of one call

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Made = TypeVar("_Made")


class Cluster:
    """A set of enrolled subjects, spread by their names over shards that machines of a Ray cluster serve.

    Has the methods of :class:`abis.Gallery` for what is done to subjects, with the same results: scores are
    the same to the bit, and with ``exact=True`` so are the candidates. Threads may call any method at any time,
    and any number of processes may have the cluster open.

    Where a shard's process or machine dies, Ray starts it anew, it reads its store, and is asked again. Until
    then calls that need it wait; they raise :class:`abis.errors.ShardUnavailable` when ``patience`` is at its end.

    Use :meth:`open`; :meth:`create` makes a new one.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, shards: Sequence[ShardClient], *, owns_ray: bool
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
        """Make a cluster of shards that are empty or not there yet, and open it.

        A cluster of a single shard may be made of a gallery as it is; :meth:`reshard` then spreads it.

        Args:
            folder: for the cluster's manifest, where all who open it can read it; made where absent.
            shards: where each is kept.
            address: of Ray, as for :meth:`open`.
            key: the master key, as for :meth:`open`.

        Raises:
            StoreError: where there is a cluster already, or a shard cannot be made.
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
        """Spread a cluster over other shards, while nobody uses it: calls of others are refused meanwhile.

        Subjects are copied to where they belong, and removed where they were once the copy is on disk. Stopped at
        any moment, the same call goes on; until it has, the cluster cannot be opened.

        Args:
            folder: of the cluster.
            shards: all that there shall be, those there are first, in their order; there may be fewer than before.
                none, to go on with what was stopped.
            address: of Ray, as for :meth:`open`.
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
        """Open a cluster. Shards that nobody serves yet are started.

        Args:
            folder: with the cluster's manifest.
            load: have all references prepared for identification now.
            address: of Ray; by default ``RAY_ADDRESS`` in the environment. Where neither is given, and this
                process is not connected to Ray, a Ray on this machine is started, and ended by :meth:`close`.
            key: a client of a key management service, which is pickled to the shards; by default the master key
                in the environment of each shard's machine. A :class:`abis.MasterKey` is not pickled.
            keep: shards started now go on to be served when this process ends, until :meth:`stop`.
            patience: seconds to wait for a shard that gives no sign of life. One at work is waited for.
            progress: called with the templates loaded and the templates in all.

        Raises:
            StoreError: where there is no cluster, it is being divided anew, or a shard cannot be opened.
            ShardUnavailable: where a shard gives no sign of life.
        """
        path = Path(folder)
        manifest = Manifest.read(path)
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
        """Leave the cluster. All that was enrolled is on disk; shards write what they have prepared."""
        try:
            self._save()
        finally:
            self._leave()

    def stop(self) -> None:
        """Leave the cluster and end its shards' processes, whoever started them and uses them."""
        try:
            self._save()
            for shard in self._shards:
                shard.stop()
        finally:
            self._leave()

    def _save(self) -> None:
        """Have snapshots written; they are derived, so a shard that does not answer is left alone."""
        for call in [shard.ask(ShardWorker.save) for shard in self._shards]:
            with suppress(StoreError):
                call.result(patience=_PARTIAL_PATIENCE_S)

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
        """Subjects enrolled."""
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
        """What all shards hold and take together; changes of all are counted together."""
        found = self._of_all(ShardWorker.info)
        templates: dict[Position, int] = {}
        for one in found:
            for position, count in one.templates.items():
                templates[position] = templates.get(position, 0) + count
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
        )

    def shards(self) -> list[ShardInfo]:
        """Each shard as it is now; of one that does not answer, why."""
        found = []
        calls = [shard.ask(ShardWorker.described) for shard in self._shards]
        for shard, call, kept in zip(self._shards, calls, self._manifest.shards, strict=True):
            try:
                info = call.result(patience=_PARTIAL_PATIENCE_S)
            except StoreError as error:
                info = ShardInfo(shard.number, "", fault=str(error))
            found.append(replace(info, location=str(kept)))
        return found

    def shard_of(self, subject_id: str) -> int:
        """The number of the shard that a subject is in, or would be."""
        return self._shard_of(subject_id).number

    def load(self, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Have all shards prepare the references that are not yet."""
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

        Once this has returned it survives any crash. Where a worker dies before it has answered it is asked again;
        what it had enrolled is not enrolled twice, and is no :class:`abis.AlreadyEnrolled`.
        """
        self.enroll_many([Enrollment(subject_id, templates, encounter_id, labels, level)])

    def enroll_many(self, enrollments: Iterable[Enrollment]) -> int:
        """Enroll many: a thousand at a time, in one transaction of each shard.

        Of each thousand, the part of each shard is enrolled as a whole or, where an error is raised, not at all;
        parts of other shards, and those before it, stay.

        Returns:
            How many there were.

        Raises:
            AlreadyEnrolled: as :meth:`abis.Gallery.enroll` does.
        """
        count = 0
        under_way: list[Call[None]] = []
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
            NotEnrolled: where there is no such subject or encounter.
        """
        self._shard_of(subject_id).ask(ShardWorker.remove, subject_id, encounter_id).result()

    def replace(
        self, subject_id: str, templates: Sequence[Template], *, encounter_id: str | None = None
    ) -> None:
        """Enroll a subject anew, as :meth:`abis.Gallery.replace` does."""
        checked = plain(checked_templates(templates))
        self._shard_of(subject_id).ask(ShardWorker.replace, subject_id, checked, encounter_id).result()

    def merge(self, source_id: str, target_id: str) -> NoReturn:
        """Refused: the two may be in different stores, which no transaction spans.

        Raises:
            StoreError: always.
        """
        raise _spans_shards(f"merge {source_id!r} into {target_id!r}")

    def move(self, encounter_id: str, source_id: str, target_id: str) -> NoReturn:
        """Refused: the two may be in different stores, which no transaction spans.

        Raises:
            StoreError: always.
        """
        raise _spans_shards(f"move encounter {encounter_id!r} of {source_id!r} to {target_id!r}")

    def subject(self, subject_id: str) -> Subject:
        """Status, level, labels and encounters of a subject.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        return self._shard_of(subject_id).ask(ShardWorker.subject, subject_id).result()

    def set_status(self, subject_id: str, status: Status, *, reason: str) -> None:
        """Lock, terminate or activate an identity, as :meth:`abis.Gallery.set_status` does."""
        self._shard_of(subject_id).ask(ShardWorker.set_status, subject_id, status, reason).result()

    def set_level(self, subject_id: str, level: int) -> None:
        """State the assurance level of a subject, 0 to 9."""
        self._shard_of(subject_id).ask(ShardWorker.set_level, subject_id, level).result()

    def set_labels(self, subject_id: str, labels: Iterable[str]) -> None:
        """Give a subject these labels in place of those it had."""
        self._shard_of(subject_id).ask(ShardWorker.set_labels, subject_id, list(labels)).result()

    def calibrate(self, calibration: Calibration) -> None:
        """Have comparisons of a kind scored by this calibration from now on, in all shards.

        Stopped half-way, searches are refused until it is called again.
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
        """Is this the subject it claims to be? As :meth:`abis.Gallery.verify`, of the subject's shard alone.

        Raises:
            NotEnrolled: where there is no such subject.
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
                    PlainClaim(c.subject_id, plain(c.templates), c.liveness)
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
        max_candidates: int = 10,
        fpir: float | None = None,
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        partial: bool = False,
    ) -> ClusterIdentification:
        """Who is this? As :meth:`abis.Gallery.identify`, among the subjects of all shards.

        Args:
            templates: the probe.
            max_candidates: list at most so many.
            fpir: false positive identification rate of the whole, at its present size.
            share: of each shard that gets more than a first look.
            labels: look only among subjects that have any of these.
            exact: compare with everyone in full.
            partial: where a shard does not answer, answer without it, and say so: in ``missing``.

        Raises:
            ShardUnavailable: where a shard does not answer; with ``partial``, where none does.
            TemplateError: where probe and gallery have embeddings of different models only.
        """
        options = SearchOptions(max_candidates, fpir, share, None if labels is None else tuple(labels), exact)
        (result,) = self._begun([plain(checked_templates(templates))], options, partial)()
        if isinstance(result, TemplateError):
            raise result
        return result

    def identify_many(
        self,
        probes: Iterable[Sequence[Template]],
        *,
        max_candidates: int = 10,
        fpir: float | None = None,
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        partial: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[ClusterIdentification | TemplateError]:
        """Who are these? Eight probes a call, up to three calls of each shard under way.

        Probes are taken a few ahead, and results come in their order; so any number of probes takes no
        more memory than some. Arguments as for :meth:`identify`; ``progress`` is called with the number of
        probes searched so far.

        Yields:
            What :meth:`identify` gives; where it raises a TemplateError, that, and the others go on.
        """
        options = SearchOptions(max_candidates, fpir, share, None if labels is None else tuple(labels), exact)

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
        """Who is enrolled twice? Every pair of subjects of all shards, as :meth:`abis.Gallery.deduplicate`.

        Runs as of now in each shard. Of a pair in one shard, who was enrolled later is the probe; of one in two
        shards, who is in the shard that sends: docs/cluster.md. :attr:`DuplicatePair.other_id` is the probe.

        Args:
            fpir: as there, at the size of the whole. 1e-4 where no threshold is given either.
            threshold: as there.
            since: refused: changes are counted in each shard, and one number does not say where each was.
            exact: as there.
            checkpoint: refused: it holds keys of one gallery's subjects.
            progress: called with the pairs worked off and those in all.

        Raises:
            ValueError: where ``since`` or ``checkpoint`` is given.
            StoreError: where shards have different calibrations.
            ShardUnavailable: where a shard does not answer; nothing is found without it.
        """
        if since is not None:
            raise ValueError(
                f"since is {since}; expected none: each shard of a cluster counts its own changes"
            )
        if checkpoint is not None:
            raise ValueError(
                f"checkpoint is {os.fspath(checkpoint)!r}; expected none: it holds keys of one gallery, "
                "and each shard of a cluster has its own"
            )
        if fpir is None and threshold is None:
            fpir = 1e-4
        return deduplicate(self._shards, fpir=fpir, threshold=threshold, exact=exact, progress=progress)

    def _begun(
        self, probes: Sequence[Plain], options: SearchOptions, partial: bool
    ) -> Callable[[], Sequence[ClusterIdentification | TemplateError]]:
        """Begin to search; gives what to call for the results."""
        if not probes:
            return list
        missing: dict[int, str] = {}
        size = None
        if options.fpir is not None:
            sizes, missing = _gathered([s.ask(ShardWorker.subjects) for s in self._shards], partial)
            size = sum(sizes.values())
        calls = [
            shard.ask(ShardWorker.identify, probes, replace(options, gallery_size=size))
            for shard in self._shards
            if shard.number not in missing
        ]

        def finished() -> Sequence[ClusterIdentification | TemplateError]:
            answers: Mapping[int, Answers]
            answers, also_missing = _gathered(calls, partial)
            return merged(answers, missing | also_missing, options, len(probes))

        return finished

    # ---------------------------------------------------------------------------------------- inside

    def _check(self) -> None:
        """All shards are there, are those of the manifest, and run the same abis: else scores may differ."""
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
        method: Callable[Concatenate[ShardWorker, Asked, _P], _T | Refused],
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
    """Connected to Ray; where that was done here, an error ends it."""
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
    """Begin with some things at a time, a few rounds ahead; the results in order."""
    source = iter(things)
    under_way: deque[Callable[[], Iterable[_Made]]] = deque()
    while batch := list(islice(source, size)):
        under_way.append(begun(batch))
        if len(under_way) > _AHEAD:
            yield from under_way.popleft()()
    while under_way:
        yield from under_way.popleft()()


def _gathered(calls: Sequence[Call[_T]], partial: bool) -> tuple[dict[int, _T], dict[int, str]]:
    """The answers by shard; and where that will do, why there is none, by shard."""
    answers: dict[int, _T] = {}
    missing: dict[int, str] = {}
    last: StoreError | None = None
    try:
        for call in calls:
            try:
                answers[call.shard.number] = call.result(patience=_PARTIAL_PATIENCE_S if partial else None)
            except StoreError as error:
                if not partial:
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


def _finished(calls: list[Call[None]]) -> None:
    """Wait for all of them; then raise the first error, if there was one."""
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
