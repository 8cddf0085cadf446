"""Checks the connection to myKaarma and the credentials without sending anything.

It asks for customers that do not exist, which only reads (`GET .../customer/list`). Source: "Find customers" in the
API's documentation. The look-up needs a permission of its own (`customer.search`), which an account that sends texts
may lack; so a refusal for lack of permission is no failure.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from batchsend.mykaarma.connection import read_body, request_headers
from batchsend.mykaarma.customer_search import customers_path
from batchsend.mykaarma.protocol import error_codes, json_object
from batchsend.settings import Credentials

#: Seconds for a connection, and for the whole check.
CONNECT_SECONDS, CHECK_SECONDS = 8.0, 15.0
#: A later answer is called slow.
SLOW_SECONDS = 4.0
#: No customer has this key. A search term has at most 30 characters.
_QUERY = {"searchTerm": "connection-test-no-customer", "fieldsToBeSearched": "customerKey", "maxResults": "1"}
_WRONG_CREDENTIALS = frozenset({"WRONG_CREDENTIAL", "CREDENTIALS_ARE_NULL", "INVALID_SERVICE_SUBSCRIBER"})
_NOT_CONNECTED = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH})
_TRY_A_TEST = "Then send a test text to yourself: it shows whether texts arrive."
_NETWORK = "the person who looks after your network"


class Outcome(StrEnum):
    """What a check found out."""

    WORKS = "works"
    UNSURE = "unsure"
    FAILED = "failed"


class Finding(NamedTuple):
    """The outcome of a check, and what it means and what to do, in sentences for the marketing staff."""

    outcome: Outcome
    sentence: str


async def check_connection(base_url: str, credentials: Credentials, department_uuid: str) -> Finding:
    """Asks the API once whether it accepts the credentials for this department. Never raises for the network.

    Takes at most `CHECK_SECONDS`. Follows no redirect, and shows nothing of the answer but error codes.
    """
    path, headers = customers_path(department_uuid), request_headers(credentials)
    limits = aiohttp.ClientTimeout(total=CHECK_SECONDS, connect=CONNECT_SECONDS)
    now = asyncio.get_running_loop().time
    began = now()
    try:
        async with (
            aiohttp.ClientSession(timeout=limits, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(base_url + path, params=_QUERY, headers=headers, allow_redirects=False) as response,
        ):
            body = await read_body(response)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return explain_error(base_url, error, uses_proxy=_uses_proxy(base_url))
    return explain_answer(base_url, response.status, body, now() - began)


def _uses_proxy(base_url: str) -> bool:
    parts = urlsplit(base_url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")


def explain_answer(base_url: str, status: int, body: bytes, seconds: float) -> Finding:
    """Explains an answer of the server at `base_url` that took `seconds`."""
    answer = json_object(body)
    codes = error_codes(answer)
    if status == 401 or (200 <= status < 300 and _WRONG_CREDENTIALS & set(codes)):
        return _not_accepted(codes)
    if status == 403:
        return _no_permission()
    if 200 <= status < 300 and body.strip()[:1] in (b"[", b"{"):
        return _department(codes) if answer and answer.get("errors") else _works(seconds)
    if status in (400, 404, 422) and answer is not None:
        return _department(codes)
    if status in (407, 511):
        return _failed(
            f"A proxy of your network wants a sign-in before it lets anything through. Ask {_NETWORK} to let this "
            f"computer reach {_host(base_url)} directly."
        )
    if status == 429:
        return _unsure(
            "myKaarma answers, but it gets too many requests at the moment, so the name and password were not "
            "tested. Test again in a few minutes."
        )
    if status >= 500:
        return _failed(
            f"myKaarma answers, but it has a problem of its own at the moment (error {status}). Test again in a few "
            f"minutes. If it stays, ask myKaarma support."
        )
    return _something_else(base_url, status)


def _works(seconds: float) -> Finding:
    sentence = "The connection works. myKaarma accepts the name and the password for this department."
    if seconds > SLOW_SECONDS:
        sentence += (
            f" But the answer took {seconds:.0f} seconds, so sending would be slow too. If that stays, ask "
            f"{_NETWORK}, or myKaarma support."
        )
    return Finding(Outcome.WORKS, sentence)


def _not_accepted(codes: Sequence[str]) -> Finding:
    if "NOT_AUTHORIZED_REQUEST" in codes:
        return _no_permission()
    if _WRONG_CREDENTIALS & set(codes):
        return _failed(
            "myKaarma does not know this name, or the password is wrong. Set both again, exactly as myKaarma support "
            "gave them to you. They are not your own sign-in to myKaarma."
        )
    return _failed(
        "myKaarma refuses the name and the password. Set both again, exactly as myKaarma support gave them to you. "
        "If they are right, ask myKaarma support whether they may text for this department."
    )


def _no_permission() -> Finding:
    return _unsure(
        "myKaarma answers, but this name may not look up customers of this department, which is what this test does. "
        f"Texts may work all the same. Check the department’s id. {_TRY_A_TEST}"
    )


def _department(codes: Sequence[str]) -> Finding:
    named = f" myKaarma calls it {codes[0]}." if codes and codes[0].replace("_", "").isalnum() else ""
    return _failed(
        "myKaarma answers, but it refuses this department. Check the department’s id, or ask myKaarma support for it."
        f"{named}"
    )


def _something_else(base_url: str, status: int) -> Finding:
    return _unsure(
        f"Something answers at {_host(base_url)}, but not as myKaarma does (answer {status}). A sign-in page or a "
        f"proxy of your network may be in between, the address may be wrong, or this name may not look up customers. "
        f"Open any website to see whether your network wants a sign-in. {_TRY_A_TEST}"
    )


def explain_error(base_url: str, error: Exception, *, uses_proxy: bool = False) -> Finding:
    """Explains why there was no answer. `uses_proxy`: this computer's other programs use a proxy."""
    host = _host(base_url)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        sentence = (
            f"The server at {host} could not prove who it is, so the name and password were not sent to it. Check "
            f"this computer’s date and time. If they are right, ask {_NETWORK}: a proxy or a security program may be "
            f"in between."
        )
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        sentence = (
            f"The address {host} cannot be found. Check that this computer is online. If other websites open, the "
            f"address is wrong: the person who set up batchsend can correct it."
        )
    elif isinstance(error, aiohttp.ClientSSLError):
        sentence = (
            f"There is no secure connection to {host}. The address may be wrong, or a proxy is in between."
        )
    elif isinstance(error, aiohttp.ConnectionTimeoutError):
        sentence = (
            f"There was no connection to {host} within {CONNECT_SECONDS:.0f} seconds. Check that this computer is "
            f"online. If other websites open, a firewall may block the way: ask {_NETWORK}."
        )
    elif isinstance(error, TimeoutError):
        sentence = (
            f"{host} gave no answer within {CHECK_SECONDS:.0f} seconds. myKaarma may be slow or down. Test again in "
            f"a few minutes. If it stays, ask myKaarma support."
        )
    else:
        sentence = _no_connection(host, error)
    if uses_proxy and not isinstance(error, aiohttp.ClientConnectorCertificateError):
        sentence += (
            f" This computer uses a proxy for websites, and batchsend does not: ask {_NETWORK} to let this computer "
            f"reach {host} directly."
        )
    return _failed(sentence)


def _no_connection(host: str, error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError):
        return (
            f"{host} refuses the connection. The address may be wrong, or the service is down. Test again in a few "
            f"minutes; then ask the person who set up batchsend."
        )
    if isinstance(cause, OSError) and cause.errno in _NOT_CONNECTED:
        return f"This computer cannot reach {host}. Check its network connection, and test again."
    return (
        f"The connection to {host} was lost before the answer came. Test again. If it stays, ask {_NETWORK}: a "
        f"firewall or a proxy may cut it."
    )


def _host(base_url: str) -> str:
    return urlsplit(base_url).netloc


def _failed(sentence: str) -> Finding:
    return Finding(Outcome.FAILED, sentence)


def _unsure(sentence: str) -> Finding:
    return Finding(Outcome.UNSURE, sentence)
