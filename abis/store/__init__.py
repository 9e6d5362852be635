# SPDX-License-Identifier: Apache-2.0
"""The database of a gallery: subjects, encounters, templates and logs. All else is derived from it."""

from __future__ import annotations

from abis.store.records import (
    FIRST_ENCOUNTER,
    Claimed,
    Encounter,
    Enrollment,
    Fault,
    ListedSubject,
    Mark,
    Named,
    State,
    Status,
    StoredEnrollment,
    StoredTemplate,
    Subject,
    Tail,
    Written,
    check_id,
    checked_templates,
    not_enrolled,
)
from abis.store.schema import SCHEMA_VERSION
from abis.store.store import Store

__all__ = [
    "FIRST_ENCOUNTER",
    "SCHEMA_VERSION",
    "Claimed",
    "Encounter",
    "Enrollment",
    "Fault",
    "ListedSubject",
    "Mark",
    "Named",
    "State",
    "Status",
    "Store",
    "StoredEnrollment",
    "StoredTemplate",
    "Subject",
    "Tail",
    "Written",
    "check_id",
    "checked_templates",
    "not_enrolled",
]
