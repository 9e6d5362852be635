# SPDX-License-Identifier: Apache-2.0
"""Resharding: spread the subjects of a cluster over more or fewer shards.

The manifest names the new shards before a subject moves. Until the resharding ends, each shard refuses clients that do
not know the new division. A subject is removed from its old shard after its copy in the new one is on disk. So each
subject is always in its old shard, in its new one, or in both. An interrupted resharding can be started again: it looks
where each subject is, and goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from abis.cluster.calls import ShardCall, ShardClient, clients_of
from abis.cluster.manifest import UNCOUNTED, ClusterManifest, Shard, manifest_file
from abis.cluster.shard import ShardWorker
from abis.errors import ArgumentError, StoreError
from abis.files import private_folder
from abis.store.encryption import KeyService
from abis.store.parts import Part

__all__ = ["begun_again", "begun_anew", "divide"]

Progress = Callable[[int, int], None]


def divide(
    folder: Path, manifest: ClusterManifest, *, key: KeyService | None, progress: Progress | None
) -> tuple[ClusterManifest, list[ShardClient]]:
    """Carry out the resharding that a manifest announces; return the manifest afterwards, and clients of the shards."""
    division = _Division(folder, manifest, key)
    division.run(progress)
    return manifest.divided(), division.clients[: len(manifest.becoming)]


def begun_anew(folder: Path, shards: Sequence[Shard]) -> ClusterManifest:
    """Write the manifest of a new cluster with these shards; an interrupted creation with the same shards goes on.

    Raises:
        ValueError: there is no shard.
        StoreError: the folder has a cluster already, or cannot be created.
    """
    if not shards:
        raise ArgumentError("no shards; expected at least one")
    if manifest_file(folder).exists():
        manifest = ClusterManifest.read(folder)
        if manifest.shards or manifest.becoming != tuple(shards):
            raise StoreError(f"{folder}: there is a cluster already")
        return manifest
    if (folder / "store.sqlite").exists():
        raise StoreError(
            f"{folder}: is a gallery, which a cluster's manifest there would hide; choose another folder for the "
            "cluster, and name the gallery as its shard"
        )
    try:
        private_folder(folder)
    except OSError as error:
        raise StoreError(f"{folder}: no folder for a cluster: {error.strerror}") from error
    manifest = ClusterManifest(uuid.uuid4().hex, 0, (), tuple(shards), UNCOUNTED)
    manifest.write(folder)
    return manifest


def begun_again(folder: Path, shards: Sequence[Shard]) -> ClusterManifest:
    """Note in the manifest that a cluster is spread over these shards; an interrupted resharding goes on.

    Raises:
        StoreError: the interrupted resharding has other shards, or these do not begin with the present ones.
    """
    manifest = ClusterManifest.read(folder)
    if manifest.becoming:
        if shards and tuple(shards) != manifest.becoming:
            raise StoreError(
                f"{folder}: a resharding into {', '.join(map(str, manifest.becoming))} was interrupted; "
                "expected the same shards"
            )
        return manifest
    common = min(len(shards), len(manifest.shards))
    if not shards or tuple(shards[:common]) != manifest.shards[:common]:
        raise StoreError(
            f"{folder}: the shards are {', '.join(map(str, manifest.shards))}; expected these first, in this order"
        )
    manifest = replace(manifest, becoming=tuple(shards), subjects=UNCOUNTED)
    manifest.write(folder)
    return manifest


class _Division:
    """One run of a resharding, from any state in which an earlier run was interrupted."""

    def __init__(self, folder: Path, manifest: ClusterManifest, key: KeyService | None) -> None:
        self._folder = folder
        self._manifest = manifest
        self._after = len(manifest.becoming)
        every = manifest.becoming if self._after >= len(manifest.shards) else manifest.shards
        self.clients = clients_of(replace(manifest.divided(), shards=every), folder, key=key)

    def run(self, progress: Progress | None) -> None:
        """Close the cluster, move the subjects that change shards, check that none is missing, and open it again."""
        before = self._close()
        self._share_calibrations()
        self._move(before, progress)
        self._look(before)
        self._open()

    def _part(self, number: int, *, moving: bool) -> Part:
        manifest = self._manifest
        return Part(manifest.cluster, number, self._after, manifest.version + 1, moving)

    def _close(self) -> int:
        """Close all shards to other readers and writers, and return the number of subjects."""
        adopt = not self._manifest.shards and self._after == 1
        calls = [c.ask(ShardWorker.become, self._part(c.number, moving=True), adopt) for c in self.clients]
        subjects = sum(call.result() for call in calls)
        if self._manifest.subjects == UNCOUNTED:  # no subject has moved yet
            self._manifest = replace(self._manifest, subjects=subjects)
            self._manifest.write(self._folder)
        return self._manifest.subjects

    def _share_calibrations(self) -> None:
        """Give the calibrations of the present shards to the new ones."""
        old = len(self._manifest.shards)
        if old:
            calibrations = self.clients[0].ask(ShardWorker.calibrations).result()
            for call in [c.ask(ShardWorker.set_calibrations, calibrations) for c in self.clients[old:]]:
                call.result()

    def _move(self, subjects: int, progress: Progress | None) -> None:
        """Copy the subjects that change shards, page by page in all shards at a time, and remove the originals."""
        last = dict.fromkeys(range(len(self._manifest.shards)), 0)
        looked_at = 0
        while last:
            pages = {n: self.clients[n].ask(ShardWorker.leaving, key, self._after) for n, key in last.items()}
            taken: list[ShardCall[int]] = []
            gone: dict[int, list[str]] = {}
            last = {}
            for number, call in pages.items():
                page = call.result()
                looked_at += page.subjects
                if page.subjects:
                    last[number] = page.last
                for target, wholes in page.leaving.items():
                    taken.append(self.clients[target].ask(ShardWorker.take, wholes))
                    gone.setdefault(number, []).extend(whole.subject_id for whole in wholes)
            for one in taken:
                one.result()
            for done in [self.clients[n].ask(ShardWorker.drop, ids) for n, ids in gone.items()]:
                done.result()
            if progress is not None:
                progress(looked_at, subjects)

    def _look(self, before: int) -> None:
        """Check that no subject is missing, and that each is in its own shard.

        Raises:
            StoreError: a subject is missing or in a wrong shard.
        """
        calls = [client.ask(ShardWorker.astray, self._after) for client in self.clients]
        found = [call.result() for call in calls]
        for client, (_, astray) in zip(self.clients, found, strict=True):
            if astray is not None:
                raise StoreError(
                    f"{self._folder}: subject {astray!r} is in shard {client.number}, but belongs to another shard; "
                    "run `abis check` on both galleries"
                )
        after = sum(subjects for subjects, _ in found)
        if after != before:
            raise StoreError(
                f"{self._folder}: {after:,} subjects after the resharding, but {before:,} before; run `abis check` on "
                "the galleries of all shards"
            )

    def _open(self) -> None:
        """Open all shards to clients that know the new division."""
        calls = []
        for client in self.clients:
            part = self._part(client.number, moving=False) if client.number < self._after else None
            calls.append(client.ask(ShardWorker.become, part, False))
        for call in calls:
            call.result()
        self._manifest.divided().write(self._folder)
