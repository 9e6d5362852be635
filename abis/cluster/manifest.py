# SPDX-License-Identifier: Apache-2.0
"""What a cluster is made of: a small file in a folder, read by whoever opens it.

The file says where the shards are; what is in them says which shard of what they are
(:mod:`abis.store.parts`). Both have to agree.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from abis.cluster.placement import HASH
from abis.errors import StoreError
from abis.files import write_whole

__all__ = ["UNCOUNTED", "Manifest", "Shard", "manifest_file"]

_FORMAT = 1

UNCOUNTED = -1
"""In place of a number of subjects, until they have been counted."""


@dataclass(frozen=True)
class Shard:
    """Where a shard is kept.

    Attributes:
        location: a gallery's folder, as the machines that may serve it see it, or the URL of a database of its
            own. One that is relative is relative to the cluster's folder.
        resource: a resource of Ray that only the machines have which reach it, as those a disk is in:
            ``ray start --resources '{"disk_a": 1}'``; empty where any machine does.
    """

    location: str
    resource: str = ""

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``LOCATION`` or ``LOCATION@RESOURCE``; URLs have their own ``@``, which is before their last ``/``."""
        location, at, resource = text.rpartition("@")
        if at and location and "/" not in resource:
            return cls(location, resource)
        return cls(text)

    def found_from(self, folder: Path) -> str:
        """The location, absolute."""
        return self.location if "://" in self.location else str(folder.absolute() / self.location)

    def __str__(self) -> str:
        """Without the password of a URL."""
        if "://" not in self.location:
            return self.location
        scheme, _, rest = self.location.partition("://")
        user, at, host = rest.rpartition("@")
        return f"{scheme}://{user.partition(':')[0]}{at}{host}"


@dataclass(frozen=True)
class Manifest:
    """A cluster.

    Attributes:
        cluster: its id.
        version: of the division into shards.
        shards: by number.
        becoming: the shards it is being divided into anew; empty where it is not.
        subjects: how many there were when that began, or UNCOUNTED.
    """

    cluster: str
    version: int
    shards: tuple[Shard, ...]
    becoming: tuple[Shard, ...] = ()
    subjects: int = 0

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises StoreError where there is none, or none that this abis can use."""
        file = manifest_file(folder)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"{folder}: no cluster there; `abis cluster create` makes one") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{file}: {error}") from error
        try:
            if (content["format"], content["hash"]) != (_FORMAT, HASH):
                raise StoreError(
                    f"{file}: format {content['format']} and hash {content['hash']!r}; this abis knows format "
                    f"{_FORMAT} and {HASH!r}"
                )
            return cls(
                str(content["cluster"]),
                int(content["version"]),
                tuple(Shard(**shard) for shard in content["shards"]),
                tuple(Shard(**shard) for shard in content["becoming"]),
                int(content["subjects"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{file}: not a cluster's manifest: {error!r}") from error

    def write(self, folder: Path) -> None:
        """Put it in the place of the one there is, as a whole, synced to disk."""
        file = manifest_file(folder)
        content = json.dumps({"format": _FORMAT, "hash": HASH, **asdict(self)}, indent=2)
        try:
            write_whole(file, f"{content}\n".encode())
        except OSError as error:
            raise StoreError(f"{file}: cannot be written: {error.strerror}") from error

    def divided(self) -> Manifest:
        """What it is once it has been divided anew."""
        return Manifest(self.cluster, self.version + 1, self.becoming)


def manifest_file(folder: Path) -> Path:
    """The file that makes a folder a cluster's."""
    return folder / "cluster.json"
