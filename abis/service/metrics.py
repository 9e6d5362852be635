# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told: counts and times by operation and outcome, and the state of the gallery. Never an id."""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter as TallyOf

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from abis.service.served import Served

__all__ = ["EXTRACTION_FAILURES", "MEDIA_TYPE", "observed", "text"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PROCESSES = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's: where several processes add up their metrics

_registry = CollectorRegistry()
_requests = Counter(
    "abis_requests", "Requests, by operation and status.", ("operation", "status"), registry=_registry
)
_seconds = Histogram(
    "abis_request_seconds",
    "Time from a request's headers to its answer.",
    ("operation",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=_registry,
)
EXTRACTION_FAILURES = Counter(
    "abis_extraction_failures", "Images that no template could be made of.", registry=_registry
)


def _gauge(name: str, documentation: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(name, documentation, labels, registry=_registry, multiprocess_mode="mostrecent")


_subjects = _gauge("abis_gallery_subjects", "Subjects enrolled.")
_behind = _gauge("abis_references_behind", "Changes of the gallery that this process has not followed yet.")
_references = _gauge("abis_references_bytes", "Memory of the references loaded.")
_memory = _gauge("abis_resident_bytes", "Largest memory that the process has had.")
_tasks = _gauge("abis_tasks", "Tasks, by state.", ("state",))


def observed(operation: str, status: int, seconds: float) -> None:
    """Count a request.

    Args:
        operation: OSIA's operationId, or a MOSIP message's id.
        status: of the answer.
        seconds: that it took.
    """
    _requests.labels(operation, str(status)).inc()
    _seconds.labels(operation).observe(seconds)


def text(served: Served) -> bytes:
    """All metrics as Prometheus reads them."""
    _subjects.set(len(served))
    _behind.set(served.changes_behind)
    _references.set(served.memory_bytes)
    kilo = 1 if sys.platform == "darwin" else 1024
    _memory.set(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo)
    depth: TallyOf[str] = TallyOf()
    for part in served.parts:
        depth.update(part.outbox.depth())
    for state, count in depth.items():
        _tasks.labels(state).set(count)
    if _PROCESSES not in os.environ:
        return generate_latest(_registry)
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
