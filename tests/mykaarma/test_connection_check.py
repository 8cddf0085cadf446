"""The check of the connection: what it asks, what it says of each answer, and that it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ConnectionTimeoutError
from misbehaving import WRONG_CERTIFICATE, answer
from virtual_time import skip

from batchsend.mykaarma.connection_check import (
    CHECK_SECONDS,
    Finding,
    Outcome,
    check_connection,
    explain_answer,
    explain_error,
)
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.server import Sandbox
from batchsend.settings import Credentials

NAME, WORD = "subscriber-12", "open sesame"
DEPARTMENT = "-dept_1"
HTML = b"<html>Sign in</html>"


def refusal(code: str) -> bytes:
    return b'{"errors": [{"errorCode": "%s"}]}' % code.encode()


@dataclass
class Server:
    """A server on raw sockets. `heads`: the requests that arrived; no `response` means silence."""

    response: bytes
    base_url: str = ""
    heads: list[str] = field(default_factory=list)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if self.response:
                writer.write(self.response)
                await writer.drain()
            else:
                skip(CHECK_SECONDS)
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(response: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    found = Server(response)
    listening = await asyncio.start_server(found.accept, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    found.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    async with listening:
        yield found


def check(base_url: str) -> Finding:
    return asyncio.run(check_connection(base_url, Credentials(NAME, WORD), DEPARTMENT))


async def _checked(response: bytes, tls: ssl.SSLContext | None = None) -> tuple[Finding, Server]:
    async with server(response, tls) as found:
        return await check_connection(found.base_url, Credentials(NAME, WORD), DEPARTMENT), found


def checked(response: bytes, tls: ssl.SSLContext | None = None) -> tuple[Finding, Server]:
    return asyncio.run(_checked(response, tls))


async def _with_sandbox(password: str) -> tuple[Finding, int]:
    options = SandboxOptions(username=NAME, password=password)
    async with Sandbox(options) as sandbox:
        finding = await check_connection(sandbox.base_url, Credentials(NAME, WORD), DEPARTMENT)
        return finding, len(sandbox.requests)


def test_the_sandbox_accepts_or_refuses_the_credentials_and_is_sent_no_text() -> None:
    assert asyncio.run(_with_sandbox(WORD)) == (
        Finding(
            Outcome.WORKS,
            "The connection works. myKaarma accepts the name and the password for this department.",
        ),
        0,
    )
    finding, texts = asyncio.run(_with_sandbox("another"))
    assert finding.outcome is Outcome.FAILED
    assert "the password is wrong" in finding.sentence
    assert texts == 0


def test_it_asks_once_and_only_reads() -> None:
    finding, found = checked(answer(200, []))
    assert finding.outcome is Outcome.WORKS
    (head,) = found.heads
    assert head.startswith(f"GET /customer/v2/department/{DEPARTMENT}/customer/list?searchTerm=")
    assert "maxResults=1" in head.splitlines()[0]


def test_it_follows_no_redirect() -> None:
    elsewhere = "Location: http://169.254.169.254/latest/meta-data"
    finding, found = checked(answer(302, b"", elsewhere))
    assert finding.outcome is Outcome.UNSURE
    assert "169.254" not in finding.sentence
    assert len(found.heads) == 1


@pytest.mark.parametrize(
    ("status", "body", "outcome", "words"),
    [
        (200, b"[]", Outcome.WORKS, "The connection works"),
        (200, b'{"customers": null, "errors": []}', Outcome.WORKS, "The connection works"),
        (200, refusal("WRONG_CREDENTIAL"), Outcome.FAILED, "the password is wrong"),
        (200, refusal("INVALID_DEPARTMENT"), Outcome.FAILED, "refuses this department"),
        (200, b'{"errors": [{"errorCode": 17}]}', Outcome.FAILED, "refuses this department"),
        (200, HTML, Outcome.UNSURE, "sign-in page or a proxy"),
        (200, b"", Outcome.UNSURE, "not as myKaarma does"),
        (301, b"", Outcome.UNSURE, "not as myKaarma does"),
        (400, refusal("INVALID_DEPARTMENT"), Outcome.FAILED, "myKaarma calls it INVALID_DEPARTMENT"),
        (400, refusal("<b>bold</b>"), Outcome.FAILED, "ask myKaarma support for it."),
        (401, refusal("WRONG_CREDENTIAL"), Outcome.FAILED, "the password is wrong"),
        (401, refusal("INVALID_SERVICE_SUBSCRIBER"), Outcome.FAILED, "does not know this name"),
        (401, refusal("NOT_AUTHORIZED_REQUEST"), Outcome.UNSURE, "may not look up customers"),
        (401, HTML, Outcome.FAILED, "refuses the name and the password"),
        (403, HTML, Outcome.UNSURE, "may not look up customers"),
        (404, refusal("ANY"), Outcome.FAILED, "refuses this department"),
        (404, HTML, Outcome.UNSURE, "the address may be wrong"),
        (407, HTML, Outcome.FAILED, "proxy of your network wants a sign-in"),
        (429, b"{}", Outcome.UNSURE, "too many requests"),
        (500, refusal("INTERNAL_SERVER_ERROR"), Outcome.FAILED, "a problem of its own"),
        (503, HTML, Outcome.FAILED, "error 503"),
    ],
)
def test_each_answer_has_its_explanation(status: int, body: bytes, outcome: Outcome, words: str) -> None:
    finding = explain_answer("https://api.example.com", status, body, 0.1)
    assert finding.outcome is outcome
    assert words in finding.sentence
    assert "<" not in finding.sentence


def test_a_slow_answer_is_called_slow() -> None:
    assert "took 9 seconds" in explain_answer("https://api.example.com", 200, b"[]", 9.2).sentence


def test_a_wrong_certificate_gets_no_credentials() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(WRONG_CERTIFICATE)
    finding, found = checked(answer(200, []), tls)
    assert "could not prove who it is" in finding.sentence
    assert found.heads == []


def test_nothing_listens_there_or_the_name_does_not_exist() -> None:
    assert "refuses the connection" in check("http://127.0.0.1:9").sentence
    assert "cannot be found" in check("https://no-such-host.invalid").sentence


def test_a_server_that_speaks_no_tls_or_no_http() -> None:
    finding, found = checked(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    assert finding.outcome is Outcome.FAILED
    assert "was lost before the answer came" in finding.sentence
    assert found.heads
    secure = asyncio.run(_asked_for_tls())
    assert secure.outcome is Outcome.FAILED
    assert "no secure connection" in secure.sentence


async def _asked_for_tls() -> Finding:
    """Asks a server that answers everything with plain HTTP."""

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        return await check_connection(f"https://127.0.0.1:{port}", Credentials(NAME, WORD), DEPARTMENT)


def test_a_silent_server_is_given_up() -> None:
    finding, found = checked(b"")
    assert "gave no answer within 15 seconds" in finding.sentence
    assert len(found.heads) == 1


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n["
    finding, _ = checked(head + b" " * 2_000_000)
    assert finding.outcome is Outcome.WORKS


def test_a_proxy_of_other_programs_is_named_where_there_is_no_connection() -> None:
    finding = explain_error("https://api.example.com", ConnectionTimeoutError(), uses_proxy=True)
    assert "no connection to api.example.com" in finding.sentence
    assert "uses a proxy for websites, and batchsend does not" in finding.sentence
    alone = explain_error("https://api.example.com", ConnectionTimeoutError())
    assert "proxy for websites" not in alone.sentence


@pytest.mark.parametrize("body", [b"[]", HTML, refusal("WRONG_CREDENTIAL")])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 500])
def test_no_explanation_contains_the_credentials_or_terms_of_the_command_line(
    status: int, body: bytes
) -> None:
    sentence = explain_answer("https://api.example.com", status, body, 0).sentence
    for term in (NAME, WORD, "MYKAARMA_", "`", ".env", "--"):
        assert term not in sentence
