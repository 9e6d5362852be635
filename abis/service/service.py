# SPDX-License-Identifier: Apache-2.0
"""What all operations of a service share: the gallery, threads, limits, the way from samples to templates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import UNSET

from abis.errors import AbisError
from abis.service.biometrics import BiometricSample, position_of, sample_of, templates_of
from abis.service.callers import Caller
from abis.service.encounters import ALL
from abis.service.fetching import Fetcher
from abis.service.images import Images
from abis.service.messages import BiometricData, EncounterMessage, PersonIds
from abis.service.persons import New, Persons
from abis.service.refusals import Refusal, at
from abis.service.searches import Searches
from abis.service.served import Served
from abis.service.settings import Settings
from abis.template import Template

__all__ = ["Service"]

_T = TypeVar("_T")
_THREADS = 16
_SMALL_BYTES = 64 * 1024  # templates up to this size are read without a thread


class Service:
    """A gallery or a cluster and what serves it. For one event loop.

    Args:
        served: open; the caller closes it.
        settings: of the service.

    Attributes:
        served: the gallery, or the shards of the cluster.
        settings: of the service.
        searches: identification and verification.
    """

    def __init__(self, served: Served, settings: Settings) -> None:
        self.served = served
        self.settings = settings
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="abis-service")
        self.searches = Searches(served, settings, self._executor)
        self._fetch = Fetcher(
            settings.fetch_origins,
            limit=settings.limits.fetched_bytes,
            seconds=settings.limits.receive_seconds,
        )
        self._images = Images(
            pixels=settings.limits.pixels,
            seconds=settings.limits.seconds,
            face_model=Path(settings.face_model) if settings.face_model else None,
        )

    def close(self) -> None:
        """End threads and processes, once what they have begun is done."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._images.close()
        self._fetch.close()

    async def in_thread(self, caller: Caller, work: Callable[[], _T]) -> _T:
        """Run what blocks, as done by a caller."""

        def acting() -> _T:
            with caller.acting():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._executor, acting)

    def persons(self, person_id: str, *others: str) -> Persons:
        """The persons of the gallery or the shard that a person is in.

        Raises:
            Refusal: other persons are in another shard; no transaction spans both.
        """
        part = self.served.part_of(person_id)
        if any(self.served.part_of(other) is not part for other in others):
            raise Refusal(
                400,
                "the persons are in different shards of a cluster, which no transaction spans; create the encounters "
                "under the right person, then delete the wrong one",
            )
        return part.persons

    def galleries(self) -> list[str]:
        """Names of all galleries that encounters are in, sorted."""
        return sorted({name for part in self.served.parts for name in part.persons.galleries()})

    def check_gallery(self, gallery: str) -> None:
        """Refuse a gallery that nothing is in.

        Raises:
            Refusal: 404.
        """
        if gallery != ALL and not any(part.persons.has_gallery(gallery) for part in self.served.parts):
            raise Refusal(404, f"there is no gallery {gallery!r}")

    def content(self, gallery: str, offset: int, limit: int) -> list[PersonIds]:
        """The encounters of a gallery in the order of enrolment; of a cluster, shard by shard.

        Raises:
            Refusal: there is no such gallery.
        """
        self.check_gallery(gallery)
        found: list[PersonIds] = []
        for part in self.served.parts:
            page = part.persons.content(gallery, offset, limit - len(found))
            found += page
            if len(found) == limit or part is self.served.parts[-1]:
                break
            offset = 0 if page else max(0, offset - part.persons.count(gallery))
        return found

    async def new(self, message: EncounterMessage) -> New:
        """An encounter and its templates.

        Raises:
            Refusal: naming the biometric datum that cannot be taken.
        """
        templates = await self.templates(message.biometric_data)
        kept = copy(message)
        kept.biometric_data = [_without_buffers(data) for data in message.biometric_data]
        return New(kept, templates)

    async def probe(self, data: Sequence[BiometricData], field: str = "biometricData") -> list[Template]:
        """The templates of all samples.

        Raises:
            Refusal: naming the biometric datum that cannot be taken, or where there is none.
        """
        found = [template for own in await self.templates(data, field) for template in own]
        if not found:
            raise Refusal(400, f"{field}: empty; expected at least one sample of a finger, a face or an eye")
        return found

    async def templates(
        self, data: Sequence[BiometricData], field: str = "biometricData"
    ) -> list[tuple[Template, ...]]:
        """The templates of each sample.

        Raises:
            Refusal: naming the biometric datum that cannot be taken.
        """
        if len(data) > self.settings.limits.samples:
            raise Refusal(
                413, f"{field}: {len(data)} samples; at most {self.settings.limits.samples} are accepted"
            )
        read = partial(self._read, data, field)
        if sum(len(each.template or "") for each in data) < _SMALL_BYTES and all(map(_is_template, data)):
            return read()
        return await asyncio.get_running_loop().run_in_executor(self._executor, read)

    def _read(self, data: Sequence[BiometricData], field: str) -> list[tuple[Template, ...]]:
        found = []
        for number, each in enumerate(data):
            try:
                position_of(each)  # before anything is fetched for it
                sample = sample_of(each, self._fetch)
                found.append(self._extracted(sample) if sample.is_image else templates_of(sample))
            except (AbisError, Refusal, ValueError) as error:
                raise at(f"{field}[{number}]", error) from None
        return found

    def _extracted(self, sample: BiometricSample) -> tuple[Template, ...]:
        data, content = sample.data, sample.content
        if data.compression == "NONE":
            if data.width is UNSET or data.height is UNSET or data.bitdepth not in (UNSET, 8):
                raise Refusal(400, "compression: NONE needs width and height, and 8 bits a pixel")
            content = self._images.raw(content, data.width, data.height)
        dpi = None if data.resolution is UNSET else float(data.resolution)
        if dpi is not None and not 50 <= dpi <= 10_000:
            raise Refusal(400, f"resolution: {data.resolution}; expected pixels an inch, 50 to 10000")
        return self._images.templates_of(content, position_of(data), dpi)


def _is_template(data: BiometricData) -> bool:
    return data.template is not UNSET


def _without_buffers(data: BiometricData) -> BiometricData:
    """What is kept of a datum: its templates are in the store, and images are not kept."""
    kept = copy(data)
    kept.image = UNSET
    kept.template = UNSET
    return kept
