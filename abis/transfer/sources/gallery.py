# SPDX-License-Identifier: Apache-2.0
"""Another gallery as a source."""

from __future__ import annotations

from collections.abc import Iterator

from abis.formats import native
from abis.store import Mark, Store
from abis.store.import_records import Record, Sample
from abis.transfer.sources.names import NamedSample, records_of
from abis.transfer.sources.source import Progress, Source, hash_of

__all__ = ["GallerySource"]

_TEMPLATES = 10_000  # read at once: some 5 MB


class GallerySource(Source):
    """All encounters of a gallery in the order of enrolment, with their encounter_ids."""

    def __init__(self, store: Store) -> None:
        self.name = store.name
        self._store = store
        self._state = store.state()
        self._done = 0

    @property
    def fingerprint(self) -> str:
        return hash_of(self.name, self._state.change)

    def records(self, after: int) -> Iterator[Record]:
        yield from records_of(self._samples(after))

    def progress(self) -> Progress:
        return Progress(self._done, self._state.last_template)

    def _samples(self, after: int) -> Iterator[NamedSample]:
        complete = False
        mark = Mark(self._state.change, after)
        while not complete:
            tail = self._store.tail(mark, limit=_TEMPLATES)
            names = self._store.names({stored.subject for stored in tail.enrolled})
            for stored in tail.enrolled:
                self._done = stored.key
                if stored.subject not in names:  # has been removed since
                    continue
                yield NamedSample(
                    names[stored.subject],
                    stored.encounter_id,
                    Sample(f"template {stored.key}", native.write(stored.template)),
                    stored.key,
                )
            mark, complete = tail.mark, tail.complete
