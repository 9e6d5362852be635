# SPDX-License-Identifier: Apache-2.0
"""Open what a command's GALLERY argument names: a gallery or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from abis.cli.console import progress_bar
from abis.errors import StoreError
from abis.gallery import Gallery

if TYPE_CHECKING:
    from abis.cluster import Cluster

__all__ = ["cluster_class", "is_cluster", "open_any", "open_cluster", "open_existing", "open_or_create"]


def is_cluster(gallery: str) -> bool:
    """Whether a path is the folder of a cluster."""
    return "://" not in gallery and Path(gallery, "cluster.json").exists()


def open_existing(gallery: str, *, load: bool = False) -> Gallery:
    """Open a gallery that exists; only ``enroll`` and ``import`` create one.

    Args:
        gallery: folder or URL.
        load: load the references, with a progress bar.

    Raises:
        StoreError: there is no gallery, or it is a cluster.
    """
    if is_cluster(gallery):
        raise StoreError(
            f"{gallery}: this command does not work on a cluster; run it on each shard (docs/cluster.md)"
        )
    if not load:
        return Gallery.open(gallery, load=False, create=False)
    with progress_bar("loading") as progress:
        return Gallery.open(gallery, create=False, progress=progress)


def open_any(gallery: str, *, load: bool = False) -> AbstractContextManager[Gallery | Cluster]:
    """Open a gallery or a cluster that exists; arguments as for :func:`open_existing`."""
    return open_cluster(gallery, load=load) if is_cluster(gallery) else open_existing(gallery, load=load)


def open_or_create(gallery: str) -> AbstractContextManager[Gallery | Cluster]:
    """Open a cluster, or a gallery, which is created if it does not exist. References are not loaded."""
    return open_cluster(gallery) if is_cluster(gallery) else Gallery.open(gallery, load=False)


@contextmanager
def open_cluster(folder: str, *, load: bool = False, keep: bool = False) -> Iterator[Cluster]:
    """Open a cluster that exists.

    Args:
        folder: folder with the cluster's manifest.
        load: load the references of all shards, with a progress bar.
        keep: leave the processes of the shards running at the end.
    """
    with cluster_class().open(folder, load=False, keep=keep) as opened:
        if load:
            with progress_bar("loading") as progress:
                opened.load(progress=progress)
        yield opened


def cluster_class() -> type[Cluster]:
    """The class Cluster.

    Raises:
        StoreError: the extra ``abis[cluster]`` is not installed.
    """
    try:
        from abis.cluster import Cluster  # noqa: PLC0415 - an extra, for clusters only
    except ImportError as error:
        raise StoreError(str(error)) from error
    return Cluster
