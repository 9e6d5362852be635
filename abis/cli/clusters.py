# SPDX-License-Identifier: Apache-2.0
"""Clusters from the command line: made, looked at, divided anew, kept running; or opened like a gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from abis.cli.console import Faults, out, print_json, progress_bar
from abis.errors import StoreError

if TYPE_CHECKING:
    from abis.cluster import Cluster

__all__ = ["create", "info", "is_cluster", "open_cluster", "reshard", "start", "stop"]


def is_cluster(gallery: str) -> bool:
    """Whether what is given in place of a gallery is a cluster's folder."""
    return "://" not in gallery and Path(gallery, "cluster.json").exists()


@contextmanager
def open_cluster(folder: str, *, load: bool = False, keep: bool = False) -> Iterator[Cluster]:
    """A cluster that exists."""
    with _with_ray().open(folder, load=False, keep=keep) as opened:
        if load:
            with progress_bar("loading") as progress:
                opened.load(progress=progress)
        yield opened


def create(folder: Path, shards: Sequence[str]) -> None:
    """Make it, or go on with that."""
    from abis.cluster import Shard

    _with_ray().create(folder, [Shard.parse(shard) for shard in shards]).close()
    typer.echo(f"{folder} is a cluster of {len(shards)} shards.")


def reshard(folder: Path, shards: Sequence[str]) -> None:
    """Divide it anew, or go on with that."""
    from abis.cluster import Shard

    cluster = _with_ray()
    with progress_bar("moving") as progress:
        try:
            cluster.reshard(folder, [Shard.parse(shard) for shard in shards], progress=progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; nobody is lost, but {folder} cannot be used before "
                f"`abis cluster reshard {folder}` has been run to its end"
            ) from None
    typer.echo(f"{folder} is divided.")


def info(folder: str, *, as_json: bool) -> None:
    """Shard by shard."""
    faults = Faults()
    with open_cluster(folder) as opened:
        shards = opened.shards()
    if as_json:
        for shard in shards:
            print_json(asdict(shard))
    else:
        table = Table(title=folder, title_justify="left")
        for column in ("shard", "location", "machine", "process", "subjects"):
            table.add_column(column)
        for shard in shards:
            process = str(shard.process) if shard.process else "-"
            subjects = "-" if shard.fault else f"{shard.subjects:,}"
            table.add_row(str(shard.number), shard.location, shard.node or "-", process, subjects)
        out.print(table)
    for shard in shards:
        if shard.fault:
            faults.add(shard.fault)
    faults.exit_if_any()


def start(folder: str) -> None:
    """Have the shards served until they are stopped."""
    with open_cluster(folder, load=True, keep=True) as opened:
        typer.echo(
            f"{folder}: {len(opened.shards())} shards are served; `abis cluster stop {folder}` ends that."
        )


def stop(folder: str) -> None:
    """End that."""
    opened = _with_ray().open(folder, load=False)
    opened.stop()
    typer.echo(f"{folder}: no shard is served any more.")


def _with_ray() -> type[Cluster]:
    try:
        from abis.cluster import Cluster
    except ImportError as error:
        raise StoreError(str(error)) from error
    return Cluster
