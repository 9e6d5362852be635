# SPDX-License-Identifier: Apache-2.0
"""Calls of shards over Ray. A call is repeated if the worker that had it dies. The only module that uses Ray.

A shard is a named actor of Ray. The first client that opens the cluster starts the actor, other clients find it. If
its process or machine dies, Ray restarts it, on another machine if needed, and the client repeats its calls.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from abis.cluster.manifest import ClusterManifest
from abis.cluster.messages import CallHeader, Refused
from abis.cluster.shard import ShardWorker
from abis.errors import ShardUnavailable, StoreError
from abis.store import audit
from abis.store.encryption import KeyService
from abis.text import printable

try:
    import ray
    from ray import exceptions
    from ray._private.authentication.authentication_utils import is_token_auth_enabled
except ImportError as error:
    raise ImportError("a cluster needs the package ray: pip install 'abis[cluster]'") from error

__all__ = ["PATIENCE_S", "ShardCall", "ShardClient", "clients_of", "start_ray", "stop_ray"]

_log = logging.getLogger("abis")

PATIENCE_S = 60.0
"""Default time to wait for a shard that gives no sign of life, seconds."""

_NAMESPACE = "abis"
_AT_ONCE = 16  # calls a shard works on; further calls wait
_ATTEMPTS = 4  # of one call: a call that kills its worker is not repeated forever
_LOOK_S = 5.0  # between two checks that a shard which has not answered is alive
_PAUSE_S = 0.1  # between two tries to reach a shard
_OBJECT_STORE_BYTES = 256 << 20  # of a Ray that this process starts: messages are small

_P = ParamSpec("_P")
_T = TypeVar("_T")


def start_ray(address: str | None) -> bool:
    """Connect to Ray, or start it on this machine for this process if no address is known.

    If Ray is started here, it requires a token of every program that connects, unless ``RAY_AUTH_MODE`` is
    ``disabled``. If there is no token yet, a random one is made that only this process and its children know. A Ray
    cluster that requires no token causes a warning in the log.

    Args:
        address: of Ray; None takes ``RAY_ADDRESS``.

    Returns:
        Whether this call connected or started Ray, so that :func:`stop_ray` has to end it.

    Raises:
        StoreError: Ray was started without tokens, though the environment does not say so.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage reports
    address = address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"namespace": _NAMESPACE, "log_to_driver": False, "logging_level": "warning"}
    if address and address != "local":
        ray.init(address=address, **quiet)
        if not is_token_auth_enabled():
            _log.warning(
                "the Ray cluster %s requires no token: every program that reaches it can run code in it "
                "(docs/cluster.md, access to the cluster)",
                printable(address),
            )
    else:
        if not _has_token():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
        if not is_token_auth_enabled() and os.environ.get("RAY_AUTH_MODE") is None:
            stop_ray()
            raise StoreError(
                "Ray was started, but requires no token; install the version that abis[cluster] names"
            )
    return True


def _has_token() -> bool:
    """Whether Ray finds a token of this user."""
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return True
    try:
        return (Path.home() / ".ray" / "auth_token").exists()
    except (RuntimeError, OSError):
        return False


def stop_ray() -> None:
    """Disconnect from Ray. A Ray that was started for this process ends."""
    ray.shutdown()


class ShardClient:
    """The client's side of a shard. Safe for threads.

    Args:
        number: of the shard.
        location: folder or URL of its gallery.
        resource: resource of Ray that a machine needs to serve the shard; empty: none.
        cluster: id of the cluster.
        version: number of the division that the client knows.
        key: a key service that can be pickled; None takes the key in each machine's environment.
        keep: if this client starts the actor, let the actor outlive this process.
        patience: seconds to wait for a shard that gives no sign of life.
    """

    def __init__(
        self,
        number: int,
        location: str,
        resource: str,
        cluster: str,
        version: int,
        *,
        key: KeyService | None,
        keep: bool,
        patience: float,
    ) -> None:
        self.number = number
        self.version = version
        self.patience = patience
        self._handle: Any = None
        self._arguments = (location, number, cluster, key)
        self._options = {
            "name": f"{cluster}-{number}",
            "namespace": _NAMESPACE,
            "get_if_exists": True,
            "lifetime": "detached" if keep else None,
            "num_cpus": 0,  # a shard uses all cores of its machine
            "resources": {resource: 0.001} if resource else None,
            "scheduling_strategy": "SPREAD",
            "max_restarts": -1,
            "max_task_retries": 0,  # the client repeats calls
            "max_concurrency": _AT_ONCE,
        }

    def ask(
        self,
        method: Callable[Concatenate[ShardWorker, CallHeader, _P], _T | Refused],
        *args: _P.args,
        **_: _P.kwargs,
    ) -> ShardCall[_T]:
        """Begin a call."""
        return ShardCall(self, method.__name__, args)

    def began(self, method: str, args: tuple[object, ...], *, again: bool) -> Any:
        """Send a call; returns Ray's reference to the answer."""
        asked = CallHeader(self.version, audit.actor(), again)
        return getattr(self._reached(), method).remote(asked, *args)

    def wait_alive(self, patience: float) -> tuple[str, tuple[int, int]]:
        """Wait for a sign of life; returns the answer of :meth:`ShardWorker.ping`.

        Args:
            patience: seconds to wait.

        Raises:
            ShardUnavailable: there is none in that time.
        """
        deadline = time.monotonic() + patience
        reason: object = "no sign of life"
        while (left := deadline - time.monotonic()) > 0:
            try:
                ping = self._reached().ping.options(concurrency_group="signs").remote()
                sign: tuple[str, tuple[int, int]] = ray.get(ping, timeout=min(left, _LOOK_S))
                return sign
            except exceptions.GetTimeoutError:
                continue
            except exceptions.ActorDiedError as error:  # for good: to be started anew
                self._handle, reason = None, error
            except exceptions.RayError as error:
                reason = error
            time.sleep(min(_PAUSE_S, left))
        raise self.unavailable(f"within {patience:g} s: {_words(reason)}")

    def unavailable(self, reason: str) -> ShardUnavailable:
        return ShardUnavailable(f"shard {self.number} ({self._arguments[0]}) does not answer {reason}")

    def forget(self) -> None:
        """Look the actor up again before the next call."""
        self._handle = None

    def stop(self) -> None:
        """End the actor, if there is one."""
        try:
            ray.kill(ray.get_actor(self._options["name"], namespace=_NAMESPACE), no_restart=True)
        except ValueError:
            return
        self._handle = None

    def _reached(self) -> Any:
        handle = self._handle
        if handle is None:
            actor = ray.remote(concurrency_groups={"signs": 1})(ShardWorker)
            handle = self._handle = actor.options(**self._options).remote(*self._arguments)
        return handle


def clients_of(
    manifest: ClusterManifest,
    folder: Path,
    *,
    key: KeyService | None = None,
    keep: bool = False,
    patience: float = PATIENCE_S,
) -> list[ShardClient]:
    """Clients of all shards of a cluster; arguments as for :class:`ShardClient`."""
    return [
        ShardClient(
            number,
            shard.found_from(folder),
            shard.resource,
            manifest.cluster,
            manifest.version,
            key=key,
            keep=keep,
            patience=patience,
        )
        for number, shard in enumerate(manifest.shards)
    ]


class ShardCall(Generic[_T]):
    """A call that was sent."""

    def __init__(self, shard: ShardClient, method: str, args: tuple[object, ...]) -> None:
        self.shard = shard
        self._method = method
        self._args = args
        self._attempts = 0
        self._reference: Any = None
        self._begin()

    def result(self, *, patience: float | None = None) -> _T:
        """Wait for the answer; repeat the call if the worker that had it dies.

        Args:
            patience: seconds to wait for a shard that gives no sign of life; None takes the client's. A shard that
                is alive and at work may take any time.

        Raises:
            ShardUnavailable: there is no answer.
            AbisError, ValueError, TypeError: the shard refuses the call.
        """
        patience = self.shard.patience if patience is None else patience
        while True:
            try:
                if self._reference is None:
                    self._begin()
                answer: _T | Refused = ray.get(self._reference, timeout=min(_LOOK_S, patience))
            except exceptions.GetTimeoutError:
                self.shard.wait_alive(patience)
                continue
            except exceptions.RayTaskError as error:
                raise StoreError(f"shard {self.shard.number}: {error.cause!r}") from None
            except exceptions.RayError as error:
                if isinstance(error, exceptions.ActorDiedError):
                    self.shard.forget()
                if self._attempts == _ATTEMPTS:
                    why = f"in {_ATTEMPTS} attempts: {_words(error)}"
                    raise self.shard.unavailable(why) from None
                self._reference = None
                self.shard.wait_alive(patience)
                continue
            if isinstance(answer, Refused):
                raise answer.error
            return answer

    @property
    def is_done(self) -> bool:
        """Whether the answer, or an error, has arrived."""
        return self._reference is None or bool(ray.wait([self._reference], timeout=0)[0])

    def cancel(self) -> None:
        """Cancel the call if the shard has not begun with it: the client does not wait for the answer."""
        if self._reference is not None:
            ray.cancel(self._reference)

    def _begin(self) -> None:
        try:
            self._reference = self.shard.began(self._method, self._args, again=self._attempts > 0)
        except exceptions.RayError:
            self.shard.forget()
        self._attempts += 1


def _words(reason: object) -> str:
    """The first line of a reason; Ray's further lines help only to debug Ray."""
    return str(reason).strip().partition("\n")[0]
