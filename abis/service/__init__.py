# SPDX-License-Identifier: Apache-2.0
"""A gallery as a member of other systems: OSIA's ABIS interface over HTTP, MOSIP's over a queue.

Needs the extra ``abis[service]``. See docs/service.md.
"""

from __future__ import annotations

try:
    import httpx
    import jwt
    import msgspec
    import opentelemetry
    import prometheus_client
    import uvicorn
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: abis.service needs what comes with pip install 'abis[service]'", name=error.name
    ) from None
else:
    del httpx, jwt, msgspec, opentelemetry, prometheus_client, uvicorn

from abis.service.settings import Settings, SettingsError, load

__all__ = ["Settings", "SettingsError", "load"]
