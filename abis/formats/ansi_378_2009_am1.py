# SPDX-License-Identifier: Apache-2.0
"""ANSI/INCITS 378-2009/AM1, the amendment of 2010: the records of 378-2009 with a version of their own."""

from __future__ import annotations

from collections.abc import Sequence

from abis.formats import ansi_378_2009
from abis.formats._cursor import Repairs
from abis.template import Minutiae

__all__ = ["read", "write"]

_VERSION = b"035\0"


def read(data: bytes, repairs: Repairs = None) -> tuple[Minutiae, ...]:
    """The templates of all finger views in a record; see :func:`abis.formats.ansi_378_2009.read`."""
    return ansi_378_2009.read_version(data, _VERSION, repairs)


def write(templates: Sequence[Minutiae]) -> bytes:
    """One record of one view for each template; see :func:`abis.formats.ansi_378_2009.write`."""
    return ansi_378_2009.write_version(templates, _VERSION)
