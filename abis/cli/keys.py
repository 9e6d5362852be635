# SPDX-License-Identifier: Apache-2.0
"""``abis keys``: encryption at rest and its keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import GalleryPath
from abis.cli.console import progress_bar, tell
from abis.cli.opening import open_existing
from abis.errors import StoreError
from abis.store.encryption import MasterKey

__all__ = ["commands"]

commands = typer.Typer()
keys = typer.Typer(
    no_args_is_help=True,
    help="Encrypt galleries and change keys. The environment names the master key: ABIS_KEY (base64) or "
    "ABIS_KEY_FILE.",
)
commands.add_typer(keys, name="keys")


@keys.command()
def new(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to create, readable by its owner alone.")
    ],
) -> None:
    """Write a new master key to a file. Keep copies of it apart from copies of the gallery."""
    MasterKey.generate(file)
    tell(f"{file} holds a new master key. Without the key, a gallery that it encrypts is lost.")


@keys.command()
def encrypt(gallery: GalleryPath) -> None:
    """Encrypt a gallery that is not encrypted, with the master key of the environment."""
    key = _key_of_environment()
    # Opening with the key would take the gallery for an encrypted one.
    hidden = {name: os.environ.pop(name) for name in ("ABIS_KEY", "ABIS_KEY_FILE") if name in os.environ}
    try:
        opened = open_existing(gallery)
    finally:
        os.environ.update(hidden)
    with opened, progress_bar("encrypting") as progress:
        count = opened.encrypt(key, progress=progress)
    tell(f"{gallery} is encrypted: {count:,} templates sealed.")


@keys.command()
def rotate(gallery: GalleryPath) -> None:
    """Seal all templates by a new data key, while other processes use the gallery."""
    with open_existing(gallery) as opened, progress_bar("sealing") as progress:
        count = opened.rotate_data_key(progress=progress)
    tell(f"{gallery}: {count:,} templates sealed by a new data key.")


@keys.command()
def reseal(gallery: GalleryPath) -> None:
    """Go on with an `encrypt` or `rotate` that was interrupted."""
    with open_existing(gallery) as opened, progress_bar("sealing") as progress:
        count = opened.reseal(progress=progress)
    tell(f"{gallery}: {count:,} templates sealed by the newest data key.")


@keys.command()
def master(
    gallery: GalleryPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of the new master key.")],
) -> None:
    """Replace the master key: wrap the data keys by the key in FILE."""
    with open_existing(gallery) as opened:
        opened.rotate_master_key(MasterKey.from_file(file))
    tell(f"{gallery} now opens with the master key in {file}, and not with the old one.")


def _key_of_environment() -> MasterKey:
    key = MasterKey.from_environment()
    if key is None:
        raise StoreError("no master key: set ABIS_KEY_FILE to a file that `abis keys new` wrote")
    return key
