"""Makes requests to myKaarma that change nothing. `reading` says what their answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from batchsend.mykaarma.connection import ANSWER_BYTES, read_body, request_headers
from batchsend.mykaarma.protocol import Refused, RetryLater
from batchsend.mykaarma.reading import NotRead, Reading
from batchsend.settings import Credentials

#: Asking again would bring the same answer.
_TOO_LONG = NotRead("The answer of myKaarma is too long to read.")


class ApiReader:
    """Makes reading requests to one API. `timeout`: seconds for one request. Problems of the network never raise."""

    def __init__(self, base_url: str, credentials: Credentials, *, timeout: float) -> None:
        self.base_url = base_url
        self._headers = {**request_headers(credentials), "Content-Type": "application/json"}
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
    ) -> Reading | NotRead | RetryLater | Refused:
        """Asks once. `path` is encoded and relative to the base URL. Changes nothing at myKaarma."""
        assert self._session is not None  # noqa: S101
        try:
            async with self._session.request(
                method, self.base_url + path, params=params, data=data, allow_redirects=False
            ) as response:
                body = await read_body(response)
                is_whole = len(body) <= ANSWER_BYTES
                return Reading(response.status, body, response.headers) if is_whole else _TOO_LONG
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch):
            return Refused(
                f"the server at {self.base_url} could not prove who it is (its certificate is not valid). Nothing "
                f"was sent to it. Check this address, this computer's clock, and your network's proxy."
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            advice = "Check this computer's network connection and this address."
            return RetryLater(f"no answer from {self.base_url}", advice, slow_down=False)
