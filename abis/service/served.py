# SPDX-License-Identifier: Apache-2.0
"""What a service serves: one gallery, or the shards of a cluster.

Persons, encounters and tasks are rows in a gallery's database. Of a cluster, a service opens the database of each shard
itself, so that all that concerns one person is one transaction as in a gallery; searches go to the shards' processes.
"""

from __future__ import annotations

import random
import signal
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from abis.errors import StoreError, TemplateError
from abis.gallery import Gallery
from abis.results import Identification
from abis.service.outbox import Outbox
from abis.service.persons import Persons
from abis.service.settings import Settings
from abis.store.parts import Part, part_of, read_part
from abis.template import Template

if TYPE_CHECKING:
    from abis.cluster import Cluster

__all__ = ["Served", "ServedPart", "check_served", "open_served", "served_gallery", "signals_kept"]


class ServedPart(NamedTuple):
    """A gallery, alone or one shard of a cluster, and what the service keeps in its database.

    Attributes:
        gallery: of the persons.
        persons: OSIA's persons and encounters.
        outbox: tasks that concern these persons.
    """

    gallery: Gallery
    persons: Persons
    outbox: Outbox


class Served(ABC):
    """One gallery or the shards of a cluster. Safe for threads.

    Args:
        parts: in the order of their numbers.

    Attributes:
        parts: at least one.
    """

    def __init__(self, parts: Sequence[ServedPart]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        """Number of persons."""
        return sum(len(part.gallery) for part in self.parts)

    @abstractmethod
    def part_of(self, person_id: str) -> ServedPart:
        """The part that a person is in, enrolled or not."""

    def part_of_task(self, task_id: str) -> ServedPart:
        """The part that a task is in."""
        return self.part_of(task_id)

    def new_task_id(self, person_id: str | None) -> str:
        """An id for a task, which says in which part it is.

        Args:
            person_id: person that the task changes; None: it changes nothing, and may be in any part.
        """
        part = random.choice(self.parts) if person_id is None else self.part_of(person_id)
        while True:
            task_id = str(uuid.uuid4())
            if self.part_of(task_id) is part:
                return task_id

    @abstractmethod
    def identify_many(
        self,
        probes: Sequence[Sequence[Template]],
        *,
        max_candidates: int,
        fpir: float | None,
        labels: Sequence[str] | None,
    ) -> Iterator[Identification | TemplateError]:
        """As :meth:`abis.Gallery.identify_many`."""

    @abstractmethod
    def load(self) -> None:
        """Load all references that are not loaded yet."""

    @property
    @abstractmethod
    def is_loaded(self) -> bool:
        """Whether references are loaded, so that an identification need not wait for them."""

    @property
    def changes_behind(self) -> int:
        """Changes that the references have not followed yet, as far as this process knows.

        Raises:
            StoreError: a database does not answer.
        """
        return sum(part.gallery.changes_behind for part in self.parts)

    @property
    def memory_bytes(self) -> int:
        """Memory of the references in this process."""
        return sum(part.gallery.memory_bytes for part in self.parts)

    def close(self) -> None:
        """Close all that is open."""
        for part in self.parts:
            part.gallery.close()


class _OneGallery(Served):
    """A gallery by itself."""

    def __init__(self, part: ServedPart) -> None:
        super().__init__([part])
        self._gallery = part.gallery

    def part_of(self, person_id: str) -> ServedPart:
        return self.parts[0]

    def identify_many(
        self,
        probes: Sequence[Sequence[Template]],
        *,
        max_candidates: int,
        fpir: float | None,
        labels: Sequence[str] | None,
    ) -> Iterator[Identification | TemplateError]:
        return self._gallery.identify_many(probes, max_candidates=max_candidates, fpir=fpir, labels=labels)

    def load(self) -> None:
        self._gallery.load()

    @property
    def is_loaded(self) -> bool:
        return self._gallery.is_loaded


class _Shards(Served):
    """The shards of a cluster."""

    def __init__(self, parts: Sequence[ServedPart], cluster: Cluster) -> None:
        super().__init__(parts)
        self._cluster = cluster
        self._is_loaded = False

    def part_of(self, person_id: str) -> ServedPart:
        return self.parts[self._cluster.shard_of(person_id)]

    def identify_many(
        self,
        probes: Sequence[Sequence[Template]],
        *,
        max_candidates: int,
        fpir: float | None,
        labels: Sequence[str] | None,
    ) -> Iterator[Identification | TemplateError]:
        return self._cluster.identify_many(probes, max_candidates=max_candidates, fpir=fpir, labels=labels)

    def load(self) -> None:
        self._cluster.load()
        self._is_loaded = True

    @property
    def is_loaded(self) -> bool:
        return self._is_loaded

    def close(self) -> None:
        super().close()
        self._cluster.close()


def open_served(settings: Settings) -> Served:
    """Open what a service serves; references are not loaded.

    Raises:
        StoreError: the gallery or a shard cannot be opened.
    """
    folder = _cluster_folder(settings)
    if folder is None:
        return served_gallery(Gallery.open(settings.gallery, load=False), settings)
    try:
        from abis.cluster import Cluster  # noqa: PLC0415 - an extra, for clusters only
    except ImportError as error:
        raise StoreError(str(error)) from error
    with ExitStack() as opened:
        parts = _opened_shards(folder, settings, opened)
        cluster = opened.enter_context(Cluster.open(folder, load=False))
        opened.pop_all()
        return _Shards(parts, cluster)


def check_served(settings: Settings) -> None:
    """Open and close the databases of what a service is to serve.

    Raises:
        StoreError: the gallery or a shard cannot be opened.
    """
    with ExitStack() as opened:
        folder = _cluster_folder(settings)
        if folder is None:
            opened.enter_context(Gallery.open(settings.gallery, load=False))
        else:
            _opened_shards(folder, settings, opened)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Keep the handlers of SIGTERM and SIGINT of this process: Ray replaces them when a cluster is opened.

    For the main thread; a cluster that is opened in the block may be opened by another one.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


def _cluster_folder(settings: Settings) -> Path | None:
    """The folder of the cluster to be served; None where it is a gallery."""
    folder = Path(settings.gallery)
    return folder if "://" not in settings.gallery and (folder / "cluster.json").exists() else None


def _opened_shards(folder: Path, settings: Settings, opened: ExitStack) -> list[ServedPart]:
    """The databases of all shards of a cluster, to be closed with a stack."""
    try:
        from abis.cluster.manifest import ClusterManifest  # noqa: PLC0415 - an extra, for clusters only
    except ImportError as error:
        raise StoreError(str(error)) from error
    manifest = ClusterManifest.read(folder)
    parts = []
    for number, shard in enumerate(manifest.shards):
        location = shard.found_from(folder)
        if "://" not in location and not Path(location, "store.sqlite").exists():
            raise StoreError(
                f"{location}: no gallery there; to serve a cluster, this machine must reach the folder or the "
                f"database of every shard, also of shard {number}"
            )
        gallery = opened.enter_context(Gallery.open(location, load=False))
        expected = Part(manifest.cluster, number, len(manifest.shards), manifest.version)
        found = read_part(gallery.internals.store)
        if found != expected:
            raise StoreError(f"{location}: is {found or 'a gallery by itself'}; expected {expected}")
        parts.append(_part(gallery, settings, partial(_check_part, gallery.internals.store.name, expected)))
    return parts


def served_gallery(gallery: Gallery, settings: Settings) -> Served:
    """A gallery that is open."""
    return _OneGallery(_part(gallery, settings, None))


def _part(gallery: Gallery, settings: Settings, check: Callable[[sa.Connection], None] | None) -> ServedPart:
    return ServedPart(gallery, Persons(gallery, check), Outbox(gallery.internals.store, settings))


def _check_part(name: str, expected: Part, connection: sa.Connection) -> None:
    """Refuse to read or write a shard of another division: a person may be in another shard by now."""
    found = part_of(connection)
    if found != expected:
        raise StoreError(f"{name}: the cluster is being or was resharded; start the service again")
