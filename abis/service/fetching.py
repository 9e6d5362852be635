# SPDX-License-Identifier: Apache-2.0
"""What requests refer to, fetched from those origins alone that the settings allow."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import httpx

from abis.service.refusals import Refusal

__all__ = ["Fetcher", "origin_of"]


def origin_of(url: str) -> str | None:
    """Scheme, host and port of a URL of HTTP; None where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if port is None or not parts.hostname or parts.username is not None or any(c <= " " for c in url):
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}"


class Fetcher:
    """Fetches from some origins. Safe for threads.

    Args:
        origins: allowed, as ``https://host:port``.
        limit: the most bytes of one answer.
        seconds: the longest that one answer may take between two packets.
    """

    def __init__(self, origins: Iterable[str], *, limit: int, seconds: float) -> None:
        self._origins = {origin_of(origin) for origin in origins} - {None}
        self._limit = limit
        self._client = httpx.Client(timeout=seconds, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __call__(self, url: str) -> bytes:
        """What is at a URL.

        Raises:
            Refusal: the origin is not allowed (403), or does not deliver (400).
        """
        if origin_of(url) not in self._origins:
            raise Refusal(403, "the URL's origin is not among those that this service fetches from")
        try:
            with self._client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise Refusal(400, f"the server answers {response.status_code}; expected 200")
                content = bytearray()
                for part in response.iter_bytes():
                    content += part
                    if len(content) > self._limit:
                        raise Refusal(400, f"more than {self._limit} bytes, the limit of this service")
        except httpx.HTTPError as error:
            raise Refusal(400, f"cannot be fetched: {type(error).__name__}") from None
        return bytes(content)
