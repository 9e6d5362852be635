# SPDX-License-Identifier: Apache-2.0
"""``abis serve`` and ``abis mosip``: a gallery as a member of other systems."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abis.gallery.answer_policy import Disclosure

if TYPE_CHECKING:
    from abis.service import Settings

__all__ = ["commands"]

commands = typer.Typer()

_Gallery = Annotated[
    str | None,
    typer.Argument(metavar="GALLERY", help="A gallery's folder or the URL of a PostgreSQL database."),
]
_File = Annotated[
    Path | None,
    typer.Option(
        "--settings", help="TOML file of settings; see docs/service.md.", exists=True, dir_okay=False
    ),
]
_Disclosure = Annotated[
    Disclosure | None, typer.Option(help="How much of a score is disclosed: decision, rounded or full.")
]


@commands.command()
def serve(
    gallery: _Gallery = None,
    *,
    settings: _File = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Number of processes.")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="PEM file of the certificate.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    jwks: Annotated[
        str | None, typer.Option(help="URL or file of the keys that tokens are signed with.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="Issuer that tokens must name.")] = None,
    audience: Annotated[str | None, typer.Option(help="Audience that tokens must name.")] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer every caller; only on loopback.")
    ] = False,
    no_identification: Annotated[
        bool, typer.Option("--no-identification", help="Load no references, and refuse to identify.")
    ] = False,
    disclosure: _Disclosure = None,
) -> None:
    """Serve a gallery by OSIA's ABIS interface over HTTP, until SIGTERM or Ctrl-C.

    Requests in progress are finished first. Exit code 0 after SIGTERM, 130 after Ctrl-C.
    """
    from abis.service.server import serve as run  # noqa: PLC0415 - an extra

    given: dict[str, Any] = {
        "gallery": gallery,
        "host": host,
        "port": port,
        "processes": processes,
        "tls_certificate": tls_cert,
        "tls_key": tls_key,
        "jwks": jwks,
        "issuer": issuer,
        "audience": audience,
        "authentication": False if no_auth else None,
        "identification": False if no_identification else None,
        "disclosure": disclosure and str(disclosure),
    }
    read = _settings(settings, given)
    signal.signal(signal.SIGTERM, _exit)  # uvicorn sends itself the signal again when it has stopped in order
    run(read)


def _exit(_number: int, _frame: object) -> None:
    raise SystemExit(0)


@commands.command()
def mosip(
    gallery: _Gallery = None,
    *,
    settings: _File = None,
    broker: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="STOMP connector of the broker.")
    ] = None,
    inbound: Annotated[str | None, typer.Option(help="Queue of requests.")] = None,
    outbound: Annotated[str | None, typer.Option(help="Queue of answers.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of messages worked on at once.")] = None,
    disclosure: _Disclosure = None,
) -> None:
    """Answer MOSIP's ABIS messages from a queue of ActiveMQ, until SIGTERM or Ctrl-C.

    Messages in progress are finished first. Exit code 0.
    """
    if broker is not None and not broker.rpartition(":")[2].isdecimal():
        raise typer.BadParameter(f"--broker is {broker!r}; expected HOST:PORT, such as localhost:61613")
    from abis.service.logs import configure  # noqa: PLC0415 - an extra
    from abis.service.mosip.queue import serve as run  # noqa: PLC0415 - an extra

    host, _, port = (broker or "").rpartition(":")
    given: dict[str, Any] = {
        "gallery": gallery,
        "disclosure": disclosure and str(disclosure),
        "mosip.host": host or None,
        "mosip.port": port or None,
        "mosip.inbound": inbound,
        "mosip.outbound": outbound,
        "mosip.workers": workers,
    }
    read = _settings(settings, given)
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopping.set())
    configure()
    run(read, stopping)


def _settings(file: Path | None, given: dict[str, Any]) -> Settings:
    from abis.service import load  # noqa: PLC0415 - an extra

    return load(file, given)
