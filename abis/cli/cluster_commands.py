# SPDX-License-Identifier: Apache-2.0
"""What the commands for clusters are called, take and say; see :mod:`abis.cli.clusters`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["cluster"]

_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="With the cluster's manifest.")]
_Shards = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SHARDS]...",
        help="A gallery's folder (relative to FOLDER, or absolute) or the URL of a database each; SHARD@RESOURCE "
        "where only machines with that resource of Ray reach it.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object a line.")]

cluster = typer.Typer(
    no_args_is_help=True,
    help="A gallery spread over machines, by Ray. A cluster's folder is also what enroll, identify, verify, remove "
    "and info take in place of a gallery. Ray is that of RAY_ADDRESS; without it, one is started on this machine for "
    "the time of the command.",
)


@cluster.command("create")
def cluster_create(folder: _Folder, shards: _Shards = None) -> None:
    """Make a cluster of shards that are empty or not there yet; or of one gallery as it is."""
    from abis.cli import clusters as room

    room.create(folder, shards or [])


@cluster.command("reshard")
def cluster_reshard(folder: _Folder, shards: _Shards = None) -> None:
    """Spread a cluster over all of these shards, those it has first; without any, go on with what was stopped."""
    from abis.cli import clusters as room

    room.reshard(folder, shards or [])


@cluster.command("info")
def cluster_info(folder: _Folder, *, as_json: _Json = False) -> None:
    """Where each shard is, who serves it, and how many subjects it has."""
    from abis.cli import clusters as room

    room.info(str(folder), as_json=as_json)


@cluster.command("start")
def cluster_start(folder: _Folder) -> None:
    """Load all shards on the Ray of RAY_ADDRESS, and have them served until `abis cluster stop`."""
    from abis.cli import clusters as room

    room.start(str(folder))


@cluster.command("stop")
def cluster_stop(folder: _Folder) -> None:
    """End the processes that serve the shards; all that was enrolled is on disk."""
    from abis.cli import clusters as room

    room.stop(str(folder))
