# SPDX-License-Identifier: Apache-2.0
"""The 22 operations of OSIA's ABIS interface 1.6.0: path, scope, answers, and what each does.

OSIA is Copyright (c) Secure Identity Alliance (2022); see https://github.com/SecureIdentityAlliance/osia.
"""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_args

import msgspec

from abis.service.biometrics import type_of
from abis.service.callers import Caller
from abis.service.messages import (
    BiometricData,
    BiometricSubType,
    BiometricType,
    EncounterMessage,
    Filter,
    IdentifyRequest,
    PersonIds,
    Verified,
    VerifyFromBioRequest,
    VerifyFromIdRequest,
    check_galleries,
)
from abis.service.persons import Note
from abis.service.refusals import Refusal
from abis.service.searches import Search
from abis.service.service import Service
from abis.store import check_id
from abis.template import Template
from abis.text import SafeCsv

__all__ = ["OPERATIONS", "Call", "OperationAnswer", "OsiaOperation", "nothing_more"]

_FPIR = {"LOW": 1e-2, "MEDIUM": 1e-3, "HIGH": 1e-4}
_FMR = {"LOW": 1e-3, "MEDIUM": 1e-4, "HIGH": 1e-6}
_DEFAULT_CANDIDATES = 10
_DEFAULT_PAGE, _LARGEST_PAGE = 1_000, 100_000
_T = TypeVar("_T")


class OperationAnswer(NamedTuple):
    """What an operation answers.

    Attributes:
        status: of HTTP.
        body: a message to be written as JSON; bytes that are written already; None with status 204.
        media_type: of the body.
    """

    status: int
    body: object = None
    media_type: str = "application/json"


def nothing_more(_connection: object, _answer: object) -> None:
    """The note of a call whose answer goes to its caller at once."""


@dataclass(frozen=True, repr=False)
class Call:
    """One call of an operation.

    Attributes:
        operation: that is called.
        path: parameters in the path, by name.
        query: parameters in the query, by name.
        body: as sent.
        accept: media types that the caller takes.
        caller: for the audit log.
        note: is called with the answer in the transaction that does what is asked for.
    """

    operation: OsiaOperation
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    accept: str
    caller: Caller
    note: Note = field(default=nothing_more)

    def message(self, decoder: msgspec.json.Decoder[_T]) -> _T:
        """The body.

        Raises:
            Refusal: 400, naming the field that is wrong.
        """
        try:
            return decoder.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            what = str(error) if isinstance(error, msgspec.DecodeError) else "the message cannot be read"
            raise Refusal(400, f"body: {what}") from None

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number of the query.

        Raises:
            Refusal: 400 where it is none, or out of range.
        """
        text = self.query.get(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or not low <= int(text[:20]) <= high:
            raise Refusal(400, f"{name}: {text[:40]!r}; expected a whole number from {low} to {high}")
        return int(text)

    def number(self, name: str) -> float | None:
        """A number of the query; None where it is not given.

        Raises:
            Refusal: 400 where it is none.
        """
        text = self.query.get(name)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in text:
            raise Refusal(400, f"{name}: {text[:40]!r}; expected a number")
        return value


Run: TypeAlias = Callable[[Service, Call, Any], Awaitable[OperationAnswer]]
Prepare: TypeAlias = Callable[[Service, Call], object]


@dataclass(frozen=True)
class OsiaOperation:
    """One row of the interface.

    Attributes:
        name: OSIA's operationId.
        method: of HTTP.
        path: with parameters in braces.
        scope: that a token needs.
        statuses: refusals, beside 400, 401, 403 and 5xx, that the interface declares for it.
        run: does it; takes what ``prepare`` has made.
        prepare: checks message and query, and nothing that a gallery must be asked for.
        has_body: whether a message is sent.
        may_call_back: whether it takes ``callback``.
    """

    name: str
    method: str
    path: str
    scope: str
    statuses: frozenset[int]
    run: Run
    prepare: Prepare
    has_body: bool = False
    may_call_back: bool = True

    @property
    def is_change(self) -> bool:
        """Whether it changes persons, in a transaction that takes a note of its answer."""
        return self.scope == _WRITE

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """For each segment of the path the name of the parameter there; empty where it is fixed."""
        return tuple(s[1:-1] if s.startswith("{") else "" for s in self.path.split("/")[1:])

    def status(self, status: int) -> int:
        """A refusal's status; 400 in place of 404 and 409 where the interface does not declare them."""
        return status if status not in (404, 409) or status in self.statuses else 400


# ------------------------------------------------------------------------------------------------ encounters

_encounter = msgspec.json.Decoder(EncounterMessage)
_names = msgspec.json.Decoder(list[str])
_identify_request = msgspec.json.Decoder(IdentifyRequest)
_filter = msgspec.json.Decoder(Filter)
_verify_request = msgspec.json.Decoder(VerifyFromIdRequest)
_compare_request = msgspec.json.Decoder(VerifyFromBioRequest)


def _nothing(_service: Service, _call: Call) -> None:
    """There is neither a message nor a query to check."""


def _an_encounter(_service: Service, call: Call) -> EncounterMessage:
    message = call.message(_encounter)
    message.check_plain()
    return message


async def _create(service: Service, call: Call, message: EncounterMessage) -> OperationAnswer:
    new = await service.new(message)
    person_id = call.path["personId"] if "personId" in call.path else str(uuid.uuid4())
    encounter_id = call.path.get("encounterId")
    check_id("personId", person_id)
    persons = service.persons(person_id)
    return OperationAnswer(
        200,
        await service.in_thread(call.caller, lambda: persons.create(person_id, encounter_id, new, call.note)),
    )


async def _update(service: Service, call: Call, message: EncounterMessage) -> OperationAnswer:
    new = await service.new(message)
    person_id, encounter_id = call.path["personId"], call.path["encounterId"]
    return OperationAnswer(
        200,
        await service.in_thread(
            call.caller, lambda: service.persons(person_id).update(person_id, encounter_id, new, call.note)
        ),
    )


async def _read_all(service: Service, call: Call, _: None) -> OperationAnswer:
    person_id = call.path["personId"]
    return OperationAnswer(
        200, await service.in_thread(call.caller, lambda: service.persons(person_id).read(person_id, None))
    )


async def _read(service: Service, call: Call, _: None) -> OperationAnswer:
    person_id, encounter_id = call.path["personId"], call.path["encounterId"]
    found = await service.in_thread(
        call.caller, lambda: service.persons(person_id).read(person_id, encounter_id)
    )
    return OperationAnswer(200, found[0])


async def _delete(service: Service, call: Call, _: None) -> OperationAnswer:
    person_id, encounter_id = call.path["personId"], call.path.get("encounterId")
    await service.in_thread(
        call.caller, lambda: service.persons(person_id).delete(person_id, encounter_id, call.note)
    )
    return OperationAnswer(204)


async def _merge(service: Service, call: Call, _: None) -> OperationAnswer:
    target, source = call.path["personIdTarget"], call.path["personIdSource"]
    await service.in_thread(
        call.caller, lambda: service.persons(target, source).merge(target, source, call.note)
    )
    return OperationAnswer(204)


async def _move(service: Service, call: Call, _: None) -> OperationAnswer:
    target, source = call.path["personIdTarget"], call.path["personIdSource"]
    encounter_id = call.path["encounterId"]
    await service.in_thread(
        call.caller, lambda: service.persons(target, source).move(target, source, encounter_id, call.note)
    )
    return OperationAnswer(204)


def _a_status(_service: Service, call: Call) -> bool:
    status = call.query.get("status")
    if status not in ("ACTIVE", "INACTIVE"):
        raise Refusal(400, f"status: {status!r}; expected ACTIVE or INACTIVE")
    return status == "ACTIVE"


async def _set_status(service: Service, call: Call, active: bool) -> OperationAnswer:
    person_id, encounter_id = call.path["personId"], call.path["encounterId"]
    await service.in_thread(
        call.caller,
        lambda: service.persons(person_id).set_status(person_id, encounter_id, call.note, active=active),
    )
    return OperationAnswer(204)


def _galleries(_service: Service, call: Call) -> list[str]:
    galleries = call.message(_names)
    check_galleries(galleries)
    return galleries


async def _set_galleries(service: Service, call: Call, galleries: list[str]) -> OperationAnswer:
    person_id, encounter_id = call.path["personId"], call.path["encounterId"]
    await service.in_thread(
        call.caller,
        lambda: service.persons(person_id).set_galleries(person_id, encounter_id, galleries, call.note),
    )
    return OperationAnswer(204)


def _which_templates(_service: Service, call: Call) -> dict[str, str | None]:
    return {
        "biometric_type": _one_of(call.query, "biometricType", BiometricType),
        "biometric_sub_type": _one_of(call.query, "biometricSubType", BiometricSubType),
        "instance": call.query.get("instance"),
        "template_format": call.query.get("templateFormat"),
    }


async def _read_templates(service: Service, call: Call, which: dict[str, str | None]) -> OperationAnswer:
    person_id, encounter_id = call.path["personId"], call.path["encounterId"]
    return OperationAnswer(
        200,
        await service.in_thread(
            call.caller, lambda: service.persons(person_id).templates(person_id, encounter_id, **which)
        ),
    )


def _one_of(query: Mapping[str, str], name: str, values: Any) -> str | None:
    value = query.get(name)
    if value is not None and value not in get_args(values):
        raise Refusal(400, f"{name}: {value[:40]!r} is not one of OSIA's values")
    return value


# ---------------------------------------------------------------------------------------------------- search


class _Asked(NamedTuple):
    """What a search is to find, and what it searches by; types None: all."""

    data: list[BiometricData]
    wanted: Search
    types: frozenset[str] | None


class _Decision(NamedTuple):
    """How a verification decides."""

    fmr: float
    threshold: float | None


def _a_probe(service: Service, call: Call) -> _Asked:
    request = call.message(_identify_request)
    return _Asked(request.biometric_data, *_search(service, call, request.filter, request))


def _a_filter(service: Service, call: Call) -> _Asked:
    given = call.message(_filter) if call.body else {}
    return _Asked([], *_search(service, call, given, None))


async def _identify(service: Service, call: Call, asked: _Asked) -> OperationAnswer:
    _check_identification(service)
    templates = _of_types(await service.probe(asked.data), asked.types)
    await service.in_thread(call.caller, lambda: service.check_gallery(asked.wanted.gallery))
    return OperationAnswer(200, await service.searches.identify(call.caller, templates, asked.wanted))


async def _identify_stored(service: Service, call: Call, asked: _Asked) -> OperationAnswer:
    _check_identification(service)
    person_id, encounter_id = call.path["personId"], call.path.get("encounterId")
    wanted = replace(asked.wanted, without=person_id)

    def probe() -> list[Template]:
        service.check_gallery(wanted.gallery)
        return service.persons(person_id).probe(person_id, encounter_id)

    templates = _of_types(await service.in_thread(call.caller, probe), asked.types)
    return OperationAnswer(200, await service.searches.identify(call.caller, templates, wanted))


def _a_claim(service: Service, call: Call) -> tuple[list[BiometricData], _Decision]:
    request = call.message(_verify_request)
    request.check_plain()
    for name in ("galleryId", "personId"):
        check_id(name, call.path[name])
    return request.biometric_data, _decision(service, call)


async def _verify(
    service: Service, call: Call, asked: tuple[list[BiometricData], _Decision]
) -> OperationAnswer:
    data, decision = asked
    gallery, person_id = call.path["galleryId"], call.path["personId"]
    templates = await service.probe(data)
    verified = await service.searches.verify(
        call.caller, gallery, person_id, templates, fmr=decision.fmr, threshold=decision.threshold
    )
    return OperationAnswer(200, verified)


def _two_probes(service: Service, call: Call) -> tuple[VerifyFromBioRequest, _Decision]:
    request = call.message(_compare_request)
    request.check_plain()
    return request, _decision(service, call)


async def _compare(
    service: Service, call: Call, asked: tuple[VerifyFromBioRequest, _Decision]
) -> OperationAnswer:
    request, decision = asked
    one = await service.probe(request.biometric_data1, "biometricData1")
    other = await service.probe(request.biometric_data2, "biometricData2")

    def compared() -> Verified:
        return service.searches.compare(one, other, fmr=decision.fmr, threshold=decision.threshold)

    return OperationAnswer(200, await service.in_thread(call.caller, compared))


def _check_identification(service: Service) -> None:
    if not service.settings.identification:
        raise Refusal(403, "this service does not identify (identification = false)")


def _search(
    service: Service, call: Call, given: Mapping[str, Any], request: IdentifyRequest | None
) -> tuple[Search, frozenset[str] | None]:
    """What to search, and which biometric types to search by."""
    if request is not None:
        request.check_plain()
    check_id("galleryId", call.path["galleryId"])
    call.integer("serviceLevel", 0, 0, 9)
    threshold = _threshold(service, call)
    fpir = _rate(call, "fpir", _FPIR)
    if fpir is None and threshold is None:
        fpir = service.settings.fpir
    types = given.get("biometricType")
    if types is not None:
        types = [types] if isinstance(types, str) else types
        if not isinstance(types, list) or not all(isinstance(each, str) for each in types):
            raise Refusal(400, "filter.biometricType: expected a list of biometric types")
    wanted = Search(
        gallery=call.path["galleryId"],
        most=call.integer("maxNbCand", _DEFAULT_CANDIDATES, 1, service.settings.limits.candidates),
        fpir=fpir,
        threshold=threshold,
        filter={name: value for name, value in given.items() if name != "biometricType"},
    )
    return wanted, None if types is None else frozenset(types)


def _of_types(templates: list[Template], types: frozenset[str] | None) -> list[Template]:
    found = [t for t in templates if types is None or type_of(t.position) in types]
    if not found:
        raise Refusal(400, "nothing to search by: there is no sample of the types in filter.biometricType")
    return found


def _decision(service: Service, call: Call) -> _Decision:
    call.integer("serviceLevel", 0, 0, 9)
    fmr = _rate(call, "fmr", _FMR)
    return _Decision(service.settings.fmr if fmr is None else fmr, _threshold(service, call))


def _threshold(service: Service, call: Call) -> float | None:
    threshold = call.number("threshold")
    if threshold is None:
        return None
    if "decision" in (service.settings.disclosure, service.served.parts[0].gallery.answer_policy.disclosure):
        raise Refusal(400, "threshold: not accepted, because this service does not disclose scores")
    return threshold


def _rate(call: Call, name: str, levels: Mapping[str, float]) -> float | None:
    """``accuracyLevel`` as an error rate: LOW, MEDIUM, HIGH, or ``fpir=1e-4`` (verification: ``fmr=``)."""
    text = call.query.get("accuracyLevel")
    if text is None:
        return None
    if text.upper() in levels:
        return levels[text.upper()]
    given, _, value = text.partition("=")
    try:
        rate = float(value)
    except ValueError:
        rate = math.nan
    if given != name or not 0 < rate < 1:
        raise Refusal(
            400,
            f"accuracyLevel: {text[:40]!r}; expected {', '.join(levels)}, or {name}= and a rate, as {name}=1e-4",
        )
    return rate


# ------------------------------------------------------------------------------------------------- galleries


async def _read_galleries(service: Service, call: Call, _: None) -> OperationAnswer:
    return OperationAnswer(200, await service.in_thread(call.caller, service.galleries))


def _a_page(_service: Service, call: Call) -> tuple[int, int]:
    return call.integer("offset", 0, 0, 2**62), call.integer("limit", _DEFAULT_PAGE, 0, _LARGEST_PAGE)


async def _read_gallery(service: Service, call: Call, page: tuple[int, int]) -> OperationAnswer:
    offset, limit = page
    gallery = call.path["galleryId"]
    ids = await service.in_thread(call.caller, lambda: service.content(gallery, offset, limit))
    if _prefers_csv(call.accept):
        return OperationAnswer(200, _as_csv(ids), "text/csv; charset=utf-8")
    return OperationAnswer(200, ids)


def _prefers_csv(accept: str) -> bool:
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/csv" in kinds and not {"application/json", "application/*"} & set(kinds)


def _as_csv(ids: list[PersonIds]) -> bytes:
    text = io.StringIO()
    rows = SafeCsv(text)
    rows.row(["PersonId", "encounterId"])
    rows.rows([each.person_id, each.encounter_id] for each in ids)
    return text.getvalue().encode()


# ----------------------------------------------------------------------------------------------------- tasks


async def _task_status(service: Service, call: Call, _: None) -> OperationAnswer:
    task_id = call.path["taskId"]
    outbox = service.served.part_of_task(task_id).outbox
    return OperationAnswer(200, await service.in_thread(call.caller, lambda: outbox.status(task_id)))


async def _redeliver(service: Service, call: Call, _: None) -> OperationAnswer:
    task_id = call.path["taskId"]
    outbox = service.served.part_of_task(task_id).outbox
    await service.in_thread(call.caller, lambda: outbox.redeliver(task_id))
    return OperationAnswer(204)


# ----------------------------------------------------------------------------------------------------- table

_WRITE, _READ = "abis.encounter.write", "abis.encounter.read"
_IDENTIFY, _VERIFY, _GALLERY = "abis.identify", "abis.verify", "abis.gallery.read"
_ENCOUNTERS = "/v1/persons/{personId}/encounters"
_ENCOUNTER = f"{_ENCOUNTERS}/{{encounterId}}"
_SEARCH = "/v1/identify/{galleryId}"
_TASK = "/v1/tasks/{taskId}"
_NONE, _404, _409, _BOTH = frozenset[int](), frozenset({404}), frozenset({409}), frozenset({404, 409})

OPERATIONS = (
    OsiaOperation(
        "createEncounterNoIds", "POST", "/v1/persons", _WRITE, _NONE, _create, _an_encounter, has_body=True
    ),
    OsiaOperation(
        "createEncounterNoId", "POST", _ENCOUNTERS, _WRITE, _NONE, _create, _an_encounter, has_body=True
    ),
    OsiaOperation("readAllEncounters", "GET", _ENCOUNTERS, _READ, _404, _read_all, _nothing),
    OsiaOperation("createEncounter", "POST", _ENCOUNTER, _WRITE, _409, _create, _an_encounter, has_body=True),
    OsiaOperation("readEncounter", "GET", _ENCOUNTER, _READ, _404, _read, _nothing),
    OsiaOperation("updateEncounter", "PUT", _ENCOUNTER, _WRITE, _404, _update, _an_encounter, has_body=True),
    OsiaOperation("deleteEncounter", "DELETE", _ENCOUNTER, _WRITE, _404, _delete, _nothing),
    OsiaOperation(
        "mergeEncounter",
        "POST",
        "/v1/persons/{personIdTarget}/merge/{personIdSource}",
        _WRITE,
        _BOTH,
        _merge,
        _nothing,
    ),
    OsiaOperation(
        "moveEncounter",
        "POST",
        "/v1/persons/{personIdTarget}/move/{personIdSource}/encounters/{encounterId}",
        _WRITE,
        _BOTH,
        _move,
        _nothing,
    ),
    OsiaOperation(
        "updateEncounterStatus", "PUT", f"{_ENCOUNTER}/status", _WRITE, _NONE, _set_status, _a_status
    ),
    OsiaOperation(
        "updateEncounterGalleries",
        "PUT",
        f"{_ENCOUNTER}/galleries",
        _WRITE,
        _NONE,
        _set_galleries,
        _galleries,
        has_body=True,
    ),
    OsiaOperation(
        "readTemplate", "GET", f"{_ENCOUNTER}/templates", _READ, _404, _read_templates, _which_templates
    ),
    OsiaOperation("deleteAll", "DELETE", "/v1/persons/{personId}", _WRITE, _404, _delete, _nothing),
    OsiaOperation("identify", "POST", _SEARCH, _IDENTIFY, _404, _identify, _a_probe, has_body=True),
    OsiaOperation(
        "identifyFromId",
        "POST",
        f"{_SEARCH}/{{personId}}",
        _IDENTIFY,
        _404,
        _identify_stored,
        _a_filter,
        has_body=True,
    ),
    OsiaOperation(
        "identifyFromEncounterId",
        "POST",
        f"{_SEARCH}/{{personId}}/encounters/{{encounterId}}",
        _IDENTIFY,
        _404,
        _identify_stored,
        _a_filter,
        has_body=True,
    ),
    OsiaOperation(
        "verifyFromId",
        "POST",
        "/v1/verify/{galleryId}/{personId}",
        _VERIFY,
        _404,
        _verify,
        _a_claim,
        has_body=True,
    ),
    OsiaOperation(
        "verifyFromBio", "POST", "/v1/verify", _VERIFY, _NONE, _compare, _two_probes, has_body=True
    ),
    OsiaOperation("readGalleries", "GET", "/v1/galleries", _GALLERY, _NONE, _read_galleries, _nothing),
    OsiaOperation(
        "readGalleryContent", "GET", "/v1/galleries/{galleryId}", _GALLERY, _404, _read_gallery, _a_page
    ),
    OsiaOperation(
        "readTaskStatus",
        "GET",
        f"{_TASK}/status",
        "abis.task.read",
        _404,
        _task_status,
        _nothing,
        may_call_back=False,
    ),
    OsiaOperation(
        "redeliverTaskResult",
        "POST",
        f"{_TASK}/redeliver",
        "abis.task.update",
        _404,
        _redeliver,
        _nothing,
        may_call_back=False,
    ),
)
"""All operations. ``galleryId`` is ALL for every gallery."""
