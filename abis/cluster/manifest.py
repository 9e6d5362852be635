# SPDX-License-Identifier: Apache-2.0
"""The manifest of a cluster: a small file in a folder, which each process that opens the cluster reads.

The manifest names the shards' locations. Each shard's own store says which shard of which cluster it is
(:mod:`abis.store.parts`). A shard is used only if both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from abis.cluster.placement import HASH
from abis.errors import StoreError
from abis.files import write_whole

__all__ = ["UNCOUNTED", "ClusterManifest", "Shard", "manifest_file"]

_FORMAT = 1

UNCOUNTED = -1
"""Number of subjects that have not been counted yet."""


@dataclass(frozen=True)
class Shard:
    """The location of a shard.

    Attributes:
        location: a gallery's folder, as the machines that may serve the shard see it, or the URL of a database of
            its own. A relative path is relative to the cluster's folder.
        resource: resource of Ray that a machine must have to serve the shard, such as the machine that a disk is
            in: ``ray start --resources '{"disk_a": 1}'``. Empty: any machine may serve it.
    """

    location: str
    resource: str = ""

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse ``LOCATION`` or ``LOCATION@RESOURCE``. An ``@`` before the last ``/`` belongs to a URL."""
        location, at, resource = text.rpartition("@")
        if at and location and "/" not in resource:
            return cls(location, resource)
        return cls(text)

    def found_from(self, folder: Path) -> str:
        """The absolute location.

        Args:
            folder: the cluster's.
        """
        return self.location if "://" in self.location else str(folder.absolute() / self.location)

    def __str__(self) -> str:
        """The location without the password of a URL."""
        if "://" not in self.location:
            return self.location
        scheme, _, rest = self.location.partition("://")
        user, at, host = rest.rpartition("@")
        return f"{scheme}://{user.partition(':')[0]}{at}{host}"


class ClusterManifest(msgspec.Struct, frozen=True):
    """The shards of a cluster.

    Attributes:
        cluster: id of the cluster.
        version: number of the division into shards; each resharding adds 1.
        shards: by number, from 0.
        becoming: the shards after the resharding that is under way; empty if none is.
        subjects: number of subjects when that resharding began, or UNCOUNTED.
    """

    cluster: str
    version: int
    shards: tuple[Shard, ...]
    becoming: tuple[Shard, ...] = ()
    subjects: int = 0

    @classmethod
    def read(cls, folder: Path) -> ClusterManifest:
        """Read the manifest in a cluster's folder.

        Raises:
            StoreError: the folder has no manifest, or the manifest is damaged or of another version of abis.
        """
        file = manifest_file(folder)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            raise StoreError(f"{folder}: there is no cluster here; `abis cluster create` makes one") from None
        except OSError as error:
            raise StoreError(f"{file}: cannot be read: {error.strerror}") from error
        try:
            stored = msgspec.json.decode(content, type=_Stored)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"{file}: not a cluster's manifest: {error}") from None
        if (stored.format, stored.hash) != (_FORMAT, HASH):
            raise StoreError(
                f"{file}: format {stored.format} and hash {stored.hash!r}; this abis knows format "
                f"{_FORMAT} and {HASH!r}"
            )
        return cls(stored.cluster, stored.version, stored.shards, stored.becoming, stored.subjects)

    def write(self, folder: Path) -> None:
        """Replace the manifest in a folder, whole and synced to disk.

        Raises:
            StoreError: it cannot be written.
        """
        file = manifest_file(folder)
        stored = _Stored(_FORMAT, HASH, *msgspec.structs.astuple(self))
        try:
            write_whole(file, msgspec.json.format(msgspec.json.encode(stored)) + b"\n")
        except OSError as error:
            raise StoreError(f"{file}: cannot be written: {error.strerror}") from error

    def divided(self) -> ClusterManifest:
        """The manifest after the resharding that is under way."""
        return ClusterManifest(self.cluster, self.version + 1, self.becoming)


class _Stored(msgspec.Struct, frozen=True):
    """The manifest as its file holds it."""

    format: int
    hash: str
    cluster: str
    version: int
    shards: tuple[Shard, ...]
    becoming: tuple[Shard, ...]
    subjects: int


def manifest_file(folder: Path) -> Path:
    """The manifest's file in a cluster's folder."""
    return folder / "cluster.json"
