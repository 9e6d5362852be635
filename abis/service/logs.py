# SPDX-License-Identifier: Apache-2.0
"""Logs as one JSON object a line, with the trace that a line belongs to and without ids of persons."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
from opentelemetry import trace

from abis.text import safe_json

__all__ = ["configure"]

_FIELDS = ("operation", "status", "seconds", "caller", "task_id", "person_id", "reason")


class _Json(logging.Formatter):
    """A record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return safe_json(msgspec.json.encode(line).decode())


def configure() -> None:
    """Write what the service and its server log to the standard error, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    for name in ("abis", "uvicorn", "uvicorn.error", "stomp.py"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name in ("abis", "uvicorn") else []
        logger.propagate = name not in ("abis", "uvicorn")
        logger.setLevel(logging.INFO if name != "stomp.py" else logging.CRITICAL)
