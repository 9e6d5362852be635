# SPDX-License-Identifier: Apache-2.0
"""The JSON messages of the OSIA ABIS interface 1.6.0, as its OpenAPI document declares them.

OSIA is Copyright (c) Secure Identity Alliance (2022); see https://github.com/SecureIdentityAlliance/osia.
A field that a message leaves out is ``UNSET``; ``null`` is refused, because no field of the interface is nullable.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "BiometricComputedData",
    "BiometricData",
    "CandidateMessage",
    "EncounterMessage",
    "Error",
    "IdentifyRequest",
    "PersonIds",
    "Protected",
    "ScoreDetail",
    "TaskId",
    "Verified",
    "VerifyFromBioRequest",
    "VerifyFromIdRequest",
    "check_galleries",
]

BiometricType: TypeAlias = Literal["FACE", "FINGER", "IRIS", "SIGNATURE", "UNKNOWN"]
BiometricSubType: TypeAlias = Literal[
    "UNKNOWN",
    "RIGHT_THUMB",
    "RIGHT_INDEX",
    "RIGHT_MIDDLE",
    "RIGHT_RING",
    "RIGHT_LITTLE",
    "LEFT_THUMB",
    "LEFT_INDEX",
    "LEFT_MIDDLE",
    "LEFT_RING",
    "LEFT_LITTLE",
    "PLAIN_RIGHT_FOUR_FINGERS",
    "PLAIN_LEFT_FOUR_FINGERS",
    "PLAIN_THUMBS",
    "UNKNOWN_PALM",
    "RIGHT_FULL_PALM",
    "RIGHT_WRITERS_PALM",
    "LEFT_FULL_PALM",
    "LEFT_WRITERS_PALM",
    "RIGHT_LOWER_PALM",
    "RIGHT_UPPER_PALM",
    "LEFT_LOWER_PALM",
    "LEFT_UPPER_PALM",
    "RIGHT_OTHER",
    "LEFT_OTHER",
    "RIGHT_INTERDIGITAL",
    "RIGHT_THENAR",
    "RIGHT_HYPOTHENAR",
    "LEFT_INTERDIGITAL",
    "LEFT_THENAR",
    "LEFT_HYPOTHENAR",
    "RIGHT_INDEX_AND_MIDDLE",
    "RIGHT_MIDDLE_AND_RING",
    "RIGHT_RING_AND_LITTLE",
    "LEFT_INDEX_AND_MIDDLE",
    "LEFT_MIDDLE_AND_RING",
    "LEFT_RING_AND_LITTLE",
    "RIGHT_INDEX_AND_LEFT_INDEX",
    "RIGHT_INDEX_AND_MIDDLE_AND_RING",
    "RIGHT_MIDDLE_AND_RING_AND_LITTLE",
    "LEFT_INDEX_AND_MIDDLE_AND_RING",
    "LEFT_MIDDLE_AND_RING_AND_LITTLE",
    "EYE_UNDEF",
    "EYE_RIGHT",
    "EYE_LEFT",
    "EYE_BOTH",
    "PORTRAIT",
    "LEFT_PROFILE",
    "RIGHT_PROFILE",
]
ImpressionType: TypeAlias = Literal[
    "LIVE_SCAN_PLAIN",
    "LIVE_SCAN_ROLLED",
    "NONLIVE_SCAN_PLAIN",
    "NONLIVE_SCAN_ROLLED",
    "LATENT_IMPRESSION",
    "LATENT_TRACING",
    "LATENT_PHOTO",
    "LATENT_LIFT",
    "LIVE_SCAN_SWIPE",
    "LIVE_SCAN_VERTICAL_ROLL",
    "LIVE_SCAN_PALM",
    "NONLIVE_SCAN_PALM",
    "LATENT_PALM_IMPRESSION",
    "LATENT_PALM_TRACING",
    "LATENT_PALM_PHOTO",
    "LATENT_PALM_LIFT",
    "LIVE_SCAN_OPTICAL_CONTACTLESS_PLAIN",
    "OTHER",
    "UNKNOWN",
]
CompressionType: TypeAlias = Literal["NONE", "WSQ", "JPEG", "JPEG2000", "PNG"]
DateTime: TypeAlias = Annotated[datetime, Meta(tz=True)]
Galleries: TypeAlias = Annotated[list[str], Meta(min_length=1)]
Filter: TypeAlias = dict[str, Any]


class _Message(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message; names are camelCase in JSON, unknown ones are refused."""


class Error(_Message):
    """What is wrong; ``code`` is the status of the HTTP answer."""

    code: int
    message: str


class Encryption(_Message):
    """Says that parts of a message are encrypted."""

    type: Literal["JWE", "PKCS7"]
    scope: str


class Integrity(_Message, kw_only=True):
    """A hash, and perhaps a signature, over parts of a message."""

    scope: str
    alg: str
    hash: str
    id: str | UnsetType = UNSET
    type: Literal["NONE", "JWS", "PKCS7"] | UnsetType = UNSET
    encrypted: bool | UnsetType = UNSET
    follow_ref: bool | UnsetType = UNSET
    signature: str | UnsetType = UNSET
    signature_ref: str | UnsetType = UNSET


class Protected(_Message):
    """A message that may be encrypted or signed in part."""

    encryption: Encryption | UnsetType = UNSET
    integrity: list[Integrity] | UnsetType = UNSET

    def check_plain(self) -> None:
        """Refuse a message that is protected: OSIA leaves keys and algorithms to an agreement that is not known here.

        Raises:
            ValueError: naming the member.
        """
        for name in ("encryption", "integrity"):
            if getattr(self, name) is not UNSET:
                raise ValueError(f"{name}: not supported; send the data as it is, over TLS")


class Missing(_Message, kw_only=True):
    """A part of the body that could not be captured."""

    biometric_sub_type: BiometricSubType | UnsetType = UNSET
    presence: Literal["BANDAGED", "AMPUTATED", "DAMAGED"] | UnsetType = UNSET


class BiometricData(Protected, kw_only=True):
    """One sample: an image, a template, or a reference to one of them."""

    biometric_type: BiometricType
    biometric_sub_type: BiometricSubType | UnsetType = UNSET
    instance: str | UnsetType = UNSET
    encounter_id: str | UnsetType = UNSET
    image: str | UnsetType = UNSET
    image_ref: str | UnsetType = UNSET
    capture_date: DateTime | UnsetType = UNSET
    capture_device: str | UnsetType = UNSET
    impression_type: ImpressionType | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    bitdepth: int | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    resolution: int | UnsetType = UNSET
    compression: CompressionType | UnsetType = UNSET
    missing: list[Missing] | UnsetType = UNSET
    metadata: str | UnsetType = UNSET
    comment: str | UnsetType = UNSET
    template: str | UnsetType = UNSET
    template_ref: str | UnsetType = UNSET
    template_format: str | UnsetType = UNSET
    quality: int | UnsetType = UNSET
    quality_format: str | UnsetType = UNSET
    algorithm: str | UnsetType = UNSET
    vendor: str | UnsetType = UNSET


class EncounterMessage(Protected, kw_only=True):
    """One capture session of a person. ``encounter_id`` is read only: what a request says there is ignored."""

    status: Literal["ACTIVE", "INACTIVE"]
    encounter_type: str
    galleries: Galleries
    biometric_data: list[BiometricData]
    encounter_id: str | UnsetType = UNSET
    created_date: DateTime | UnsetType = UNSET
    updated_date: DateTime | UnsetType = UNSET
    client_data: str | UnsetType = UNSET
    contextual_data: Any = UNSET
    biographic_data: Any = UNSET

    def __post_init__(self) -> None:
        check_galleries(self.galleries)
        if isinstance(self.client_data, str):
            try:
                base64.b64decode(self.client_data, validate=True)
            except ValueError as error:
                raise ValueError(f"clientData: not base64: {error}") from None


def check_galleries(galleries: list[str]) -> None:
    """Refuse a list of galleries that names one twice.

    Raises:
        ValueError: it does, or it names none.
    """
    if not galleries:
        raise ValueError("galleries: empty; expected at least one gallery")
    if len(set(galleries)) < len(galleries):
        raise ValueError("galleries: a gallery is named twice")


class BiometricComputedData(_Message, kw_only=True):
    """A template read back."""

    biometric_type: BiometricType
    template: str
    biometric_sub_type: BiometricSubType | UnsetType = UNSET
    instance: str | UnsetType = UNSET
    template_format: str | UnsetType = UNSET
    quality: int | UnsetType = UNSET
    quality_format: str | UnsetType = UNSET
    algorithm: str | UnsetType = UNSET
    vendor: str | UnsetType = UNSET


class ScoreDetail(_Message, kw_only=True):
    """What one position of the probe contributes to a score."""

    score: float
    encounter_id: str | UnsetType = UNSET
    galleries: list[str] | UnsetType = UNSET
    biometric_type: BiometricType | UnsetType = UNSET
    biometric_sub_type: BiometricSubType | UnsetType = UNSET


class CandidateMessage(_Message, kw_only=True):
    """A candidate of a search."""

    person_id: str
    rank: int
    score: float
    scores: list[ScoreDetail] | UnsetType = UNSET
    others: dict[str, Any] | UnsetType = UNSET


class Verified(_Message, kw_only=True):
    """The answer of a verification."""

    decision: bool
    scores: list[ScoreDetail] | UnsetType = UNSET


class PersonIds(_Message):
    """The ids of a person and an encounter."""

    person_id: str
    encounter_id: str


class TaskId(_Message):
    """The answer to a request with a callback."""

    task_id: str


class IdentifyRequest(Protected, kw_only=True):
    """A probe, and what candidates must fulfil beside."""

    filter: Filter
    biometric_data: list[BiometricData]


class VerifyFromIdRequest(Protected, kw_only=True):
    """A probe."""

    biometric_data: list[BiometricData]


class VerifyFromBioRequest(Protected, kw_only=True):
    """Two sets of samples that may be of one person."""

    biometric_data1: list[BiometricData]
    biometric_data2: list[BiometricData]
