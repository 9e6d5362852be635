# SPDX-License-Identifier: Apache-2.0
"""What each of MOSIP's messages does to a gallery."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from abis.errors import (
    AbisError,
    AlreadyEnrolled,
    ExtractionError,
    FormatError,
    NotEnrolled,
    TemplateError,
)
from abis.formats import read
from abis.results import Outcome, Verification
from abis.scoring.fusion import Evidence
from abis.service import metrics
from abis.service.biometrics import placed, type_of
from abis.service.callers import Caller
from abis.service.images import Images
from abis.service.mosip.cbeff import MINUTIAE, BiometricBlock, blocks
from abis.service.mosip.data_share import DataShare
from abis.service.mosip.messages import Asked, Failure, MessageKind, Reason, answer, parsed
from abis.service.refusals import Refusal
from abis.service.searches import disclosed
from abis.service.served import Served
from abis.service.settings import Settings
from abis.service.tables import requests
from abis.store import Enrollment
from abis.store.records import microseconds
from abis.template import Template
from abis.verification import Claim

__all__ = ["Member"]

_log = logging.getLogger("abis.service.mosip")
_CALLER = Caller("mosip", "deduplication")
_REMEMBERED = timedelta(days=2)  # answers to inserts and deletes, for messages that are delivered again
_MODALITIES = {"FINGER": "FIR", "FACE": "FID", "IRIS": "IIR"}
_SURE = 308  # log10 of a likelihood ratio, beyond which floats end


class Member:
    """Answers MOSIP's messages. Safe for threads.

    Args:
        served: the gallery or cluster, open; the caller closes it.
        settings: of the service.
        pending: says how many messages are being worked on.

    Raises:
        SettingsError: the private key cannot be read.
    """

    def __init__(self, served: Served, settings: Settings, pending: Callable[[], int]) -> None:
        self._served = served
        self._settings = settings
        self._pending = pending
        self._share = DataShare(settings.mosip, limit=settings.limits.fetched_bytes)
        self._images = Images(
            pixels=settings.limits.pixels,
            seconds=settings.limits.seconds,
            face_model=Path(settings.face_model) if settings.face_model else None,
        )

    def close(self) -> None:
        """End the processes that extract."""
        self._images.close()
        self._share.close()

    def answered(self, body: bytes) -> bytes:
        """The answer to a message; a failure is an answer, too."""
        begun = time.perf_counter()
        repeated, asked = parsed(body)
        try:
            if isinstance(asked, Failure):
                raise asked
            key = _key(asked)
            known = self._known(asked, key)
            given = self._done(asked, repeated, key) if known is None else known
            failure = None
        except Failure as error:
            failure = error
        except AbisError as error:
            failure = Failure(Reason.INTERNAL, type(error).__name__)
        except Exception:
            _log.exception("a message failed")
            failure = Failure(Reason.INTERNAL)
        if failure is not None:
            given = answer(repeated, failure)
        operation = str(repeated.get("id", "unknown"))
        seconds = time.perf_counter() - begun
        status = 200 if failure is None else int(failure.reason)
        is_known = isinstance(asked, Asked)
        metrics.observed(operation if is_known else "unknown", status, seconds)
        fields = {"operation": operation, "status": status, "seconds": round(seconds, 6)}
        if failure is not None:
            fields["reason"] = str(failure)
        _log.info("message", extra=fields)
        return given

    def _done(self, asked: Asked, repeated: dict[str, Any], key: str) -> bytes:
        """Do what is asked; returns the answer."""
        fields: dict[str, Any] = {}
        with _CALLER.acting():
            match asked.kind:
                case MessageKind.INSERT:
                    return self._insert(asked, answer(repeated), key)
                case MessageKind.DELETE:
                    return self._delete(asked, answer(repeated), key)
                case MessageKind.IDENTIFY:
                    fields = self._identify(asked)
                case MessageKind.PENDING_JOBS:
                    fields = {"jobscount": str(max(0, self._pending() - 1))}  # without this one
                case MessageKind.REFERENCE_COUNT:
                    fields = {"count": str(len(self._served))}
        return answer(repeated, **fields)

    # ------------------------------------------------------------------------------- insert and delete

    def _insert(self, asked: Asked, given: bytes, key: str) -> bytes:
        part = self._served.part_of(asked.reference_id)
        if asked.reference_id in part.gallery:  # before anything is fetched for it
            raise Failure(Reason.REFERENCE_EXISTS)
        templates = self._templates(asked.reference_url)
        enrollment = Enrollment(asked.reference_id, templates)
        try:
            part.persons.enroll(
                enrollment, lambda transaction: self._note(transaction.connection, key, given)
            )
        except AlreadyEnrolled:
            raise Failure(Reason.REFERENCE_EXISTS) from None
        return given

    def _delete(self, asked: Asked, given: bytes, key: str) -> bytes:
        def note(connection: sa.Connection, _: object) -> None:
            self._note(connection, key, given)

        try:
            self._served.part_of(asked.reference_id).persons.delete(asked.reference_id, None, note)
        except NotEnrolled:
            raise Failure(Reason.REFERENCE_UNKNOWN) from None
        return given

    def _known(self, asked: Asked, key: str) -> bytes | None:
        """The answer that a message got when it was first delivered; None where it changes nothing."""
        if not asked.kind.is_change:
            return None
        with self._served.part_of(asked.reference_id).gallery.internals.store.reading() as connection:
            text = connection.scalar(sa.select(requests.c.answer).where(requests.c.request_id == key))
        return None if text is None else str(text).encode()

    def _note(self, connection: sa.Connection, key: str, given: bytes) -> None:
        """Remember an answer in the transaction that does what it says; forget those of long ago."""
        now = datetime.now(UTC)
        connection.execute(requests.delete().where(requests.c.time < microseconds(now - _REMEMBERED)))
        connection.execute(
            requests.insert().values(request_id=key, time=microseconds(now), answer=given.decode())
        )

    def _templates(self, url: str) -> list[Template]:
        """The templates of a data share.

        Raises:
            Failure: it cannot be had, or no template can be made of it.
        """
        found: list[Template] = []
        reasons: list[str] = []
        for block in blocks(self._share.document(url)):
            try:
                found.extend(self._extracted(block))
            except FormatError as error:
                raise Failure(Reason.NO_DATA, str(error)) from None
            except ExtractionError as error:
                metrics.EXTRACTION_FAILURES.inc()
                reasons.append(str(error))
            except Refusal as error:
                raise Failure(Reason.INTERNAL, error.message) from None
        if not found:
            raise Failure(Reason.QUALITY, "; ".join(reasons))
        return found

    def _extracted(self, block: BiometricBlock) -> tuple[Template, ...]:
        if block.content.startswith(MINUTIAE):
            return tuple(placed(template, block.position) for template in read(block.content))
        return self._images.templates_of(block.content, block.position, None)

    # ---------------------------------------------------------------------------------------- identify

    def _identify(self, asked: Asked) -> dict[str, Any]:
        settings = self._settings.mosip
        fpir = settings.fpir if asked.fpir is None else asked.fpir
        most = min(
            settings.max_candidates if asked.max_results is None else asked.max_results,
            self._settings.limits.candidates,
        )
        try:
            probe = self._served.part_of(asked.reference_id).persons.probe(asked.reference_id, None)
        except NotEnrolled:
            if not asked.reference_url:
                raise Failure(Reason.REFERENCE_UNKNOWN) from None
            probe = self._templates(asked.reference_url)
        if asked.gallery is None:
            (found,) = self._served.identify_many([probe], max_candidates=most + 1, fpir=fpir, labels=None)
            if isinstance(found, TemplateError):
                raise found
            rows = [(each.subject_id, each.score, each.evidence) for each in found]
        else:
            rows = self._among(asked.gallery, probe, fpir)
        rows = [row for row in rows if row[0] != asked.reference_id][:most]
        candidates = [self._candidate(*row) for row in rows]
        return {"candidateList": {"count": str(len(candidates)), "candidates": candidates}}

    def _among(
        self, reference_ids: tuple[str, ...], probe: list[Template], fpir: float
    ) -> list[tuple[str, float, tuple[Evidence, ...]]]:
        """Those of a few persons that the probe matches, the best first.

        Of n persons, each is decided at a false match rate of fpir / n, so that a search without a mate among them
        has a candidate with a probability of at most fpir.
        """
        by_part: dict[int, list[Claim]] = defaultdict(list)
        for reference_id in reference_ids:
            by_part[id(self._served.part_of(reference_id))].append(Claim(reference_id, probe))
        decided: list[Verification] = []
        for part in self._served.parts:
            decided += part.gallery.verify_many(by_part[id(part)], fmr=fpir / len(reference_ids))
        if any(each.outcome is Outcome.NOT_ENROLLED for each in decided):
            raise Failure(Reason.REFERENCE_UNKNOWN)
        rows = [(each.subject_id, each.score, each.evidence) for each in decided if each.match]
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def _candidate(self, reference_id: str, score: float, evidence: tuple[Evidence, ...]) -> dict[str, Any]:
        modalities: dict[str, float] = defaultdict(float)
        for each in evidence:
            modalities[_MODALITIES[type_of(each.position)]] += each.score
        return {
            "referenceId": reference_id,
            "analytics": self._analytics(score),
            "modalities": [
                {"biometricType": kind, "analytics": self._analytics(own)} for kind, own in modalities.items()
            ],
        }

    def _analytics(self, score: float) -> dict[str, str]:
        """The score, and how likely a match is of 100 where both are as likely before."""
        ratio = 10.0 ** min(max(score, -_SURE), _SURE)
        confidence = f"{100 * ratio / (1 + ratio):.0f}"
        if self._settings.disclosure == "decision":
            confidence = "100"
        return {"confidence": confidence, "internalScore": f"{disclosed(score, self._settings.disclosure):g}"}


def _key(asked: Asked) -> str:
    """What tells a message that is delivered again from another one."""
    fields = (asked.kind.name, asked.request_id, asked.reference_id)
    return hashlib.sha256("\0".join(fields).encode(errors="surrogatepass")).hexdigest()
