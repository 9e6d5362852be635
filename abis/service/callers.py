# SPDX-License-Identifier: Apache-2.0
"""The caller and the purpose of a request, for the audit log."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from abis.store import audit

__all__ = ["Caller"]


class Caller(NamedTuple):
    """Caller and purpose of a request: the actor of the audit log. The name is empty if no caller is known."""

    name: str
    purpose: str

    def acting(self) -> AbstractContextManager[None]:
        """As :meth:`abis.Gallery.acting`: a block whose operations are those of this caller."""
        return audit.acting(self.name, self.purpose) if self.name else nullcontext()
