"""Reads from myKaarma: requests that change nothing, and what an answer means in general.

Reading needs permissions of its own, which an account that sends texts may lack. So a refusal here concerns reading
only: it must neither stop nor fail a send.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp

from batchsend.mykaarma.connection import ANSWER_BYTES
from batchsend.mykaarma.protocol import Refused, RetryLater, error_codes, json_value
from batchsend.mykaarma.retry_after import retry_seconds, server_time
from batchsend.settings import Credentials
from batchsend.utils.version import __version__

#: With one of these, an answer without JSON comes from something else than the route that was asked.
_ROUTE_ANSWERS = frozenset({*range(200, 400), 404, 405})


class Permission(NamedTuple):
    """What an account may read: `scope` as myKaarma calls it, `action` and `thing` in words."""

    scope: str
    action: str
    thing: str


class Reading(NamedTuple):
    """An answer that came: its HTTP status, body and headers, which ignore case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class NotRead(NamedTuple):
    """This request could not be answered, and others may be. `reason` is a sentence without personal data."""

    reason: str


def read_json(
    url: str, reading: Reading, permission: Permission, ours: datetime
) -> object | NotRead | RetryLater | Refused:
    """The JSON of an answer with a success; else why there is none. `ours`: this computer's time."""
    status, body, headers = reading
    if status in (401, 403):
        return Refused(
            f"{url}: myKaarma does not let this account {permission.action} (HTTP {status}). Ask myKaarma support "
            f"for the scope `{permission.scope}`, or look in myKaarma itself. Nothing was changed, and texts can "
            f"still be sent."
        )
    if status in (429, 502, 503, 504):
        wait = retry_seconds(headers.get("Retry-After"), server_time(headers.get("Date"), ours))
        reason = f"myKaarma does not answer now (HTTP {status})"
        return RetryLater(reason, "Try again later.", status == 429, wait)
    answer = json_value(body)
    if status in _ROUTE_ANSWERS and not isinstance(answer, dict | list):
        return Refused(
            f"{url}: the answer is not {permission.thing} but {_kind_of(body)} (HTTP {status}). This route is "
            f"probably not live for this account. Ask myKaarma support for the scope `{permission.scope}`. Nothing "
            f"was changed, and texts can still be sent."
        )
    if status >= 300:
        codes = error_codes(answer) if isinstance(answer, dict) else ()
        return NotRead(
            f"myKaarma could not read {permission.thing} ({'; '.join(codes) or f'HTTP {status}'})."
        )
    return answer


def _kind_of(body: bytes) -> str:
    return "a web page" if body.lstrip()[:1] == b"<" else "something else"


class ApiReader:
    """Makes reading requests to one API. `timeout`: seconds for one request. Problems of the network never raise."""

    def __init__(self, base_url: str, credentials: Credentials, *, timeout: float) -> None:
        self.base_url = base_url
        self._headers = {
            "Authorization": aiohttp.encode_basic_auth(
                credentials.username, credentials.password, encoding="utf-8"
            ),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"batchsend/{__version__}",
        }
        self._limits = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=self._limits, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reading | RetryLater | Refused:
        """Asks once. `path` is encoded and relative to the base URL. Changes nothing at myKaarma."""
        assert self._session is not None  # noqa: S101
        try:
            async with self._session.request(
                method, self.base_url + path, params=params, data=data, allow_redirects=False
            ) as response:
                return Reading(response.status, await _body(response), response.headers)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch):
            return Refused(
                f"the server at {self.base_url} could not prove who it is (its certificate is not valid). Nothing "
                f"was sent to it. Check this address, this computer's clock, and your network's proxy."
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            advice = "Check this computer's network connection and this address."
            return RetryLater(f"no answer from {self.base_url}", advice, slow_down=False)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Reads the body. Raises `aiohttp.ClientPayloadError` if it is too long for an answer of the API."""
    body = b""
    async for part in response.content.iter_any():
        body += part
        if len(body) > ANSWER_BYTES:
            raise aiohttp.ClientPayloadError
    return body
