# SPDX-License-Identifier: Apache-2.0
"""``abis cluster``: a gallery spread over many machines."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from abis.cli.arguments import AsJson
from abis.cli.console import Faults, out, print_json, progress_bar, tell
from abis.cli.opening import cluster_class, open_cluster

__all__ = ["commands"]

_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with the cluster's manifest.")]
_Shards = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SHARDS]...",
        help="A gallery's folder (relative to FOLDER, or absolute) or the URL of a database for each shard; "
        "SHARD@RESOURCE if only machines with that resource of Ray reach it.",
    ),
]

commands = typer.Typer()
cluster = typer.Typer(
    no_args_is_help=True,
    help="Spread a gallery over machines with Ray. The commands enroll, identify, verify, remove and info take a "
    "cluster's folder in place of a gallery. RAY_ADDRESS names the Ray to use; without it, Ray is started on this "
    "machine for the time of the command.",
)
commands.add_typer(cluster, name="cluster")


@cluster.command()
def create(folder: _Folder, shards: _Shards = None) -> None:
    """Create a cluster of shards that are empty or do not exist yet, or of one gallery as it is."""
    from abis.cluster import Shard  # noqa: PLC0415 - an extra

    parsed = [Shard.parse(shard) for shard in shards or []]
    cluster_class().create(folder, parsed).close()
    tell(f"{folder} is a cluster of {len(parsed)} shards.")


@cluster.command()
def reshard(folder: _Folder, shards: _Shards = None) -> None:
    """Spread a cluster over these shards, the present ones first; without shards, continue an interrupted reshard."""
    from abis.cluster import Shard  # noqa: PLC0415 - an extra

    with progress_bar("moving") as progress:
        try:
            parsed = [Shard.parse(shard) for shard in shards or []]
            cluster_class().reshard(folder, parsed, progress=progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; no subject is lost, but {folder} cannot be used before "
                f"`abis cluster reshard {folder}` has completed"
            ) from None
    tell(f"{folder} is divided into its new shards.")


@cluster.command()
def info(folder: _Folder, *, as_json: AsJson = False) -> None:
    """Print where each shard is, which process serves it, and how many subjects it has."""
    faults = Faults()
    with open_cluster(str(folder)) as opened:
        shards = opened.shards()
    if as_json:
        for shard in shards:
            print_json(asdict(shard))
    else:
        table = Table(title=str(folder), title_justify="left")
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


@cluster.command()
def start(folder: _Folder) -> None:
    """Load all shards on the Ray of RAY_ADDRESS; they serve until `abis cluster stop`."""
    with open_cluster(str(folder), load=True, keep=True) as opened:
        tell(f"{folder}: {len(opened.shards())} shards are served until `abis cluster stop {folder}`.")


@cluster.command()
def stop(folder: _Folder) -> None:
    """Stop the processes that serve the shards; all enrolments are on disk."""
    cluster_class().open(str(folder), load=False).stop()
    tell(f"{folder}: no shard is served any more.")
