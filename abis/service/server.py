# SPDX-License-Identifier: Apache-2.0
"""Starts the HTTP server: in this process, in several, or in a thread for tests and benchmarks."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import uvicorn
from uvicorn.supervisors import Multiprocess

from abis.errors import StoreError
from abis.service.connections import BoundedProtocol
from abis.service.http import Application
from abis.service.logs import configure
from abis.service.served import check_served
from abis.service.settings import Settings

__all__ = ["application", "serve", "serving"]

_SETTINGS = "ABIS_SERVICE_ALL_SETTINGS"  # from the first process to those that it starts
_KEEP_ALIVE_S = 75
_START_S = 60  # for a process to start, or to answer its parent, on a busy machine
_CONNECTIONS_PER_REQUEST = 4  # connections that are open, for each request that may be at work


def application() -> Application:
    """The application of a process that was started by :func:`serve`."""
    configure()
    return Application(msgspec.json.decode(os.environ[_SETTINGS], type=Settings))


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests at work; SIGHUP restarts processes one by one.

    Raises:
        SettingsError: these settings cannot be served.
        StoreError: the gallery cannot be opened.
    """
    settings.check_http()
    check_served(settings)  # else each process would find out by itself
    configure()
    if settings.processes == 1:
        server = uvicorn.Server(_config(settings, Application(settings)))

        def stop(*_: object) -> None:
            server.should_exit = True

        signal.signal(signal.SIGTERM, stop)  # uvicorn raises it again at the end, which is to be a success
        server.run()
        if not server.started:
            raise StoreError("the service has not started; the log says why")
        return
    with tempfile.TemporaryDirectory(prefix="abis-metrics-") as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        os.environ[_SETTINGS] = msgspec.json.encode(settings).decode()
        config = _config(settings, "abis.service.server:application")
        socket = config.bind_socket()
        Multiprocess(config, sockets=[socket]).run()


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve in a thread; yields the URL. For tests and benchmarks."""
    config = _config(settings, Application(settings))
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    socket.listen()  # what connects before the server is there waits for it
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    try:
        scheme = "https" if settings.tls_certificate else "http"
        yield f"{scheme}://{settings.host}:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        socket.close()


def _config(settings: Settings, app: Application | str) -> uvicorn.Config:
    limits = settings.limits
    BoundedProtocol.head_s = limits.receive_seconds
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port,
        http=BoundedProtocol,
        ws="none",
        workers=settings.processes,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
        access_log=False,  # the application logs requests, without what is in their paths
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=limits.requests * _CONNECTIONS_PER_REQUEST,
        timeout_worker_healthcheck=_START_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(limits.seconds),
    )
