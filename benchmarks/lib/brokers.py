# SPDX-License-Identifier: Apache-2.0
"""An ActiveMQ broker of our own, for tests and benchmarks, where Debian's package is installed."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import stomp
from stomp.exception import StompException

__all__ = ["Broker", "broker", "is_installed"]

_JAR = Path("/usr/share/activemq/bin/activemq.jar")
_START_S = 90.0
_CONFIGURATION = """\
<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans
    http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
    http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
 <broker xmlns="http://activemq.apache.org/schema/core" useJmx="false" persistent="{persistent}"
   brokerName="localhost" dataDirectory="{folder}/data" schedulerSupport="false">
  <transportConnectors>
   <transportConnector name="stomp" uri="stomp://127.0.0.1:{port}"/>
  </transportConnectors>
 </broker>
</beans>
"""


def is_installed() -> bool:
    """Whether a broker can be started (Debian: apt-get install activemq)."""
    return _JAR.exists() and shutil.which("java") is not None


class Broker:
    """A broker that runs; :meth:`kill` and :meth:`start` end and begin it anew.

    Args:
        folder: for its configuration, data and log.
        persistent: whether messages outlive its process.
    """

    def __init__(self, folder: Path, *, persistent: bool) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        (folder / "activemq.xml").write_text(
            _CONFIGURATION.format(persistent=str(persistent).lower(), folder=folder, port=self.port)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "java",
                    "-Xmx256m",
                    "-Dactivemq.home=/usr/share/activemq",
                    *(f"-Dactivemq.{name}={self._folder}" for name in ("base", "conf")),
                    f"-Dactivemq.data={self._folder}/data",
                    "-jar",
                    str(_JAR),
                    "start",
                    f"xbean:file:{self._folder}/activemq.xml",
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the broker does not start; see {self._folder}/log")
            time.sleep(0.1)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    def _answers(self) -> bool:
        connection = stomp.Connection12([("127.0.0.1", self.port)], reconnect_attempts_max=1)
        try:
            connection.connect(wait=True)
            connection.disconnect()
        except (StompException, OSError):
            return False
        return True


@contextmanager
def broker(folder: Path, *, persistent: bool = False) -> Iterator[Broker]:
    """A broker for the time of a ``with`` block."""
    running = Broker(folder, persistent=persistent)
    running.start()
    try:
        yield running
    finally:
        running.kill(signal.SIGTERM)
