# SPDX-License-Identifier: Apache-2.0
"""Calls of shards over Ray, which outlive the worker they were made to: here, and only here, is Ray.

A shard is a named actor of Ray. Whoever opens the cluster first starts it, others find it. Ray starts it anew,
on another machine if need be, where its process or its machine has died; who had asked it asks again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from abis.cluster.manifest import Manifest
from abis.cluster.messages import Asked, Refused
from abis.cluster.shard import ShardWorker
from abis.errors import ShardUnavailable, StoreError
from abis.store import audit
from abis.store.encryption import KeyService

try:
    import ray
    from ray import exceptions
except ImportError as error:
    raise ImportError("a cluster needs the package ray: pip install 'abis[cluster]'") from error

__all__ = ["PATIENCE_S", "Call", "ShardClient", "clients_of", "start_ray", "stop_ray"]

PATIENCE_S = 60.0
"""By default, for a shard without a sign of life."""

_NAMESPACE = "abis"
_AT_ONCE = 16  # calls a shard works on; further ones wait at its door
_ATTEMPTS = 4  # a call is made at most so often: what kills every worker that it meets must end
_LOOK_S = 5.0  # so often a shard that has not answered yet is asked whether it lives
_PAUSE_S = 0.1  # between two tries to reach a shard
_OBJECT_STORE_BYTES = 256 << 20  # of a Ray of our own: what is on the way is small

_P = ParamSpec("_P")
_T = TypeVar("_T")


def start_ray(address: str | None) -> bool:
    """Connect to Ray; start one on this machine, for this process alone, where no address is known.

    Returns:
        Whether it was started or connected here, so that :func:`stop_ray` should end that.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    address = address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"namespace": _NAMESPACE, "log_to_driver": False, "logging_level": "warning"}
    if address and address != "local":
        ray.init(address=address, **quiet)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
    return True


def stop_ray() -> None:
    """Leave Ray; one that was started for this process ends."""
    ray.shutdown()


class ShardClient:
    """A shard as its clients see it. Safe for threads.

    Args:
        number: which.
        location: of its gallery.
        resource: of Ray, that the machines have which may serve it.
        cluster: id of the cluster.
        version: of the division that the client knows.
        key: a key service that can be pickled; None for the key in each machine's environment.
        keep: start it so that it outlives this process, if it has to be started.
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
            "num_cpus": 0,  # a shard takes the cores there are
            "resources": {resource: 0.001} if resource else None,
            "scheduling_strategy": "SPREAD",
            "max_restarts": -1,
            "max_task_retries": 0,  # who asked asks again
            "max_concurrency": _AT_ONCE,
        }

    def ask(
        self,
        method: Callable[Concatenate[ShardWorker, Asked, _P], _T | Refused],
        *args: _P.args,
        **_: _P.kwargs,
    ) -> Call[_T]:
        """Begin a call."""
        return Call(self, method.__name__, args)

    def began(self, method: str, args: tuple[object, ...], *, again: bool) -> Any:
        """Send a call; returns what to wait for."""
        asked = Asked(self.version, audit.actor(), again)
        return getattr(self._reached(), method).remote(asked, *args)

    def wait_alive(self, patience: float) -> tuple[str, tuple[int, int]]:
        """Wait until it gives a sign of life; what :meth:`ShardWorker.ping` says.

        Raises:
            ShardUnavailable: where it does not in so many seconds.
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
        """Look its actor up again before the next call."""
        self._handle = None

    def stop(self) -> None:
        """End its actor, if there is one."""
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
    manifest: Manifest,
    folder: Path,
    *,
    key: KeyService | None = None,
    keep: bool = False,
    patience: float = PATIENCE_S,
) -> list[ShardClient]:
    """The shards of a cluster."""
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


class Call(Generic[_T]):
    """A call under way."""

    def __init__(self, shard: ShardClient, method: str, args: tuple[object, ...]) -> None:
        self.shard = shard
        self._method = method
        self._args = args
        self._attempts = 0
        self._reference: Any = None
        self._begin()

    def result(self, *, patience: float | None = None) -> _T:
        """Wait for the answer; ask again where the worker died that was to give it.

        Args:
            patience: seconds to wait for a shard without a sign of life; None for the shard's own. One that is
                alive and at work is waited for as long as it takes.

        Raises:
            ShardUnavailable: where there is no answer.
            AbisError, ValueError, TypeError: what the shard refuses.
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
        """Whether there is an answer, or an error, to look at."""
        return self._reference is None or bool(ray.wait([self._reference], timeout=0)[0])

    def cancel(self) -> None:
        """Nobody waits for it any more: if it has not begun, it need not."""
        if self._reference is not None:
            ray.cancel(self._reference)

    def _begin(self) -> None:
        try:
            self._reference = self.shard.began(self._method, self._args, again=self._attempts > 0)
        except exceptions.RayError:
            self.shard.forget()
        self._attempts += 1


def _words(reason: object) -> str:
    """The first line: the others are for those who debug Ray."""
    return str(reason).strip().partition("\n")[0]
