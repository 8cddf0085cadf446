"""The contract's answer table on the wire: the installed command against a server that misbehaves by instruction.

The server's record says which requests came, how often and when; the workbook, the terminal and the exit code
are what the user gets to see of it.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from misbehaving import (
    Act,
    Misbehaving,
    Script,
    answer,
    closes,
    drips,
    endless,
    half_closes,
    misbehaving,
    never,
    refusal,
    resets,
    resets_at_reuse,
    says,
    success,
    waits_until,
)
from virtual_time import skip
from world import World, customers

from batchsend.mykaarma import connection as api_connection
from batchsend.mykaarma.client import ApiClient, Departure
from batchsend.mykaarma.connection import ANSWER_BYTES
from batchsend.mykaarma.protocol import Answered, Judgement, Refused, Request, RetryLater, SendingAttributes
from batchsend.settings import Credentials

OK = answer(200, success())
HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"
#: A server that closes without it may meet the next request on its way: that one is then lost, whichever it is.
CLOSE = "Connection: close"


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def gzipped(body: bytes) -> bytes:
    return answer(200, gzip.compress(body), "Content-Encoding: gzip")


def chunked(*lines: str, status: int = 200) -> bytes:
    return raw(f"HTTP/1.1 {status} X", "Transfer-Encoding: chunked", body="\r\n".join(lines).encode())


def once(*acts: Act) -> list[Script]:
    return [acts]


def then_ok(*acts: Act) -> list[Script]:
    return [acts, [says(OK)]]


#: What the server does to a row's requests, and the row's status and codes.
ANSWERS: dict[str, tuple[list[Script], str]] = {
    # 2xx, SUCCESS
    "success": (once(says(OK)), "accepted"),
    "success-201": (once(says(answer(201, success()))), "accepted"),
    "success-with-codes": (once(says(answer(200, refusal("CODE", status="SUCCESS")))), "accepted CODE"),
    "success-after-1xx": (
        once(says(raw("HTTP/1.1 100 Continue"), raw("HTTP/1.1 103 Early Hints", "Link: </x>"), OK)),
        "accepted",
    ),
    "success-gzip": (once(says(gzipped(b'{"status": "SUCCESS"}'))), "accepted"),
    "success-100-kb": (once(says(answer(200, {**success(), "metaData": "x" * 100_000}))), "accepted"),
    "success-chunked": (once(says(chunked("15", '{"status": "SUCCESS"}', "0", "", ""))), "accepted"),
    "success-in-drops": (once(drips(OK, 0.0)), "accepted"),
    "success-http-1-0": (
        once(says(raw("HTTP/1.0 200 OK", body=b'{"status":"SUCCESS"}')), closes),
        "accepted",
    ),
    "success-and-closed": (once(says(answer(200, success(), CLOSE)), closes), "accepted"),
    "success-with-cookie": (once(says(answer(200, success(), "Set-Cookie: a=b"))), "accepted"),
    "success-too-much": (once(says(OK + answer(200, success("stale")))), "accepted"),
    # 2xx, FAILURE
    "failure": (once(says(answer(200, refusal("INVALID_CUSTOMER")))), "failed INVALID_CUSTOMER"),
    "failure-no-status": (once(says(answer(200, refusal("LOCKED", status=None)))), "failed LOCKED"),
    "failure-no-code": (once(says(answer(200, refusal()))), "failed HTTP_200"),
    # 2xx, anything else
    "empty": (once(says(answer(200))), "unconfirmed BAD_RESPONSE"),
    "no-content": (once(says(raw("HTTP/1.1 204 No Content"))), "unconfirmed BAD_RESPONSE"),
    "empty-object": (once(says(answer(200, {}))), "unconfirmed BAD_RESPONSE"),
    "other-status": (once(says(answer(200, {"status": "QUEUED"}))), "unconfirmed BAD_RESPONSE"),
    "half-json": (once(says(answer(200, b'{"status": "SUCC'))), "unconfirmed BAD_RESPONSE"),
    "length-too-long": (once(says(answer(200, success(), length=999)), closes), "unconfirmed BAD_RESPONSE"),
    "length-too-short": (once(says(answer(200, success(), length=9))), "unconfirmed BAD_RESPONSE"),
    "length-twice": (
        once(says(raw("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 20", body=b"{}"))),
        "unconfirmed BAD_RESPONSE",
    ),
    "length-negative": (once(says(answer(200, success(), length=-2))), "unconfirmed BAD_RESPONSE"),
    "gzip-that-is-not": (
        once(says(answer(200, b"plain", "Content-Encoding: gzip"))),
        "unconfirmed BAD_RESPONSE",
    ),
    "gzip-of-20-mb": (once(says(gzipped(b" " * 20_000_000 + b"{}"))), "unconfirmed BAD_RESPONSE"),
    "unknown-encoding": (
        once(says(answer(200, b"xx", "Content-Encoding: br"))),
        "unconfirmed BAD_RESPONSE",
    ),
    "chunk-broken": (once(says(chunked("zz", "{}"))), "unconfirmed BAD_RESPONSE"),
    "chunk-cut": (once(says(chunked("15", '{"status"')), closes), "unconfirmed BAD_RESPONSE"),
    "endless-body": (once(says(raw("HTTP/1.1 200 OK")), endless(b"x" * 65536)), "unconfirmed BAD_RESPONSE"),
    "endless-head": (
        once(says(b"HTTP/1.1 200 OK\r\n"), endless(b"X: y\r\n" * 500)),
        "unconfirmed BAD_RESPONSE",
    ),
    "long-header": (once(says(answer(200, success(), f"X: {'x' * 99_999}"))), "unconfirmed BAD_RESPONSE"),
    "rubbish": (once(says(b"\x00\x01\x02 rubbish\r\n\r\n"), closes), "unconfirmed BAD_RESPONSE"),
    "other-protocol": (once(says(b"SSH-2.0-OpenSSH_9.9\r\n"), never), "unconfirmed BAD_RESPONSE"),
    "no-head": (once(says(b'{"status": "SUCCESS"}'), closes), "unconfirmed BAD_RESPONSE"),
    "upgrade": (
        once(says(raw("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: x"))),
        "unconfirmed BAD_RESPONSE",
    ),
    # 3xx
    "moved": (once(says(answer(301, b"", "Location: /moved/customer/elsewhere/message"))), "failed HTTP_301"),
    "found": (once(says(answer(302, HTML, "Location: https://elsewhere.invalid/"))), "failed HTTP_302"),
    "again-there": (
        once(says(answer(307, b"", "Location: /x/customer/elsewhere/message"))),
        "failed HTTP_307",
    ),
    # 4xx
    "bad-request": (
        once(says(answer(400, refusal("CUSTOMER_LOCKED", status=None)))),
        "failed CUSTOMER_LOCKED",
    ),
    "opted-out": (
        once(says(answer(400, refusal("OPTED_OUT_COMMUNICATION_VALUE")))),
        "failed OPTED_OUT_COMMUNICATION_VALUE",
    ),
    "two-codes": (once(says(answer(400, refusal("A", "B")))), "failed A; B"),
    "not-found": (once(says(answer(404, HTML))), "failed HTTP_404"),
    "conflict": (
        once(says(answer(409, refusal("MESSAGE_ALREADY_SENT")))),
        "failed MESSAGE_ALREADY_SENT",
    ),
    "too-large": (once(says(answer(413, b"", CLOSE)), closes), "failed HTTP_413"),
    "unprocessable": (once(says(answer(422, {"errors": None}))), "failed HTTP_422"),
    "other-4xx": (once(says(answer(451, b"\xff\xfe"))), "failed HTTP_451"),
    "bad-request-cut": (once(says(answer(400, b"{", length=99)), closes), "failed HTTP_400"),
    # The status says it, even where the rest never comes.
    "bad-request-stuck": (once(says(answer(400, b"{", length=99)), never), "failed HTTP_400"),
    # 429, 503: again, however often
    "busy-429": (then_ok(says(answer(429))), "accepted"),
    "busy-429-html": (then_ok(says(answer(429, HTML, CLOSE)), closes), "accepted"),
    "busy-429-stuck": (then_ok(says(answer(429, b"", length=99)), never), "accepted"),
    "busy-503": (then_ok(says(answer(503, HTML))), "accepted"),
    "busy-503-thrice": (
        [*once(says(answer(503, b"", "Retry-After: 0.1"))) * 3, [says(OK)]],
        "accepted",
    ),
    "busy-then-failed": (
        [[says(answer(429))], [says(answer(400, refusal("CUSTOMER_LOCKED")))]],
        "failed CUSTOMER_LOCKED",
    ),
    # 5xx, time-outs, lost connections
    "error-500": (
        once(says(answer(500, refusal("INTERNAL_SERVER_ERROR", status=None)))),
        "unconfirmed INTERNAL_SERVER_ERROR",
    ),
    "error-500-html": (once(says(answer(500, HTML))), "unconfirmed HTTP_500"),
    "error-500-missing": (
        once(says(answer(500, refusal("MISSING_MESSAGE_ATTRIBUTES")))),
        "unconfirmed MISSING_MESSAGE_ATTRIBUTES",
    ),
    "error-502": (once(says(answer(502, HTML, CLOSE)), closes), "unconfirmed HTTP_502"),
    "error-504": (once(says(answer(504, HTML))), "unconfirmed HTTP_504"),
    "error-599": (once(says(answer(599))), "unconfirmed HTTP_599"),
    "never": (once(never), "unconfirmed TIMEOUT"),
    "never-after-1xx": (once(says(raw("HTTP/1.1 100 Continue")), never), "unconfirmed TIMEOUT"),
    "never-ending-head": (once(says(OK[:25]), never), "unconfirmed TIMEOUT"),
    "never-ending-body": (once(says(answer(200, success(), length=999)), never), "unconfirmed TIMEOUT"),
    "drips": (once(drips(OK, 0.2)), "unconfirmed TIMEOUT"),
    "closed": (once(closes), "unconfirmed CONNECTION_LOST"),
    "half-closed": (once(half_closes, never), "unconfirmed CONNECTION_LOST"),
    "reset": (once(resets), "unconfirmed CONNECTION_LOST"),
    "cut-in-status": (once(says(OK[:12]), closes), "unconfirmed CONNECTION_LOST"),
    "cut-in-head": (once(says(OK[:40]), resets), "unconfirmed CONNECTION_LOST"),
}

#: What the run has to wait for until the time-out.
SLOW = {name for name, (_, outcome) in ANSWERS.items() if "TIMEOUT" in outcome or name.endswith("-stuck")}
#: How often these are asked for; all others once.
ASKED = {name: len(scripts) for name, (scripts, _) in ANSWERS.items() if name.startswith("busy")}

#: Connections are used again and again, so that what one answer leaves behind would meet the next row.
FAST = "\n[sending]\nrate = 500\ntimeout = 60\nstop_after_failures = 10000\n"
ONE_BY_ONE = "\n[sending]\nrate = 500\nconcurrency = 1\ntimeout = 60\n"


@pytest.fixture
def bench() -> Iterator[Misbehaving]:
    with misbehaving() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, bench: Misbehaving) -> World:
    return World(tmp_path, bench.base_url)


def rows_for(*uuids: str) -> list[dict[str, str]]:
    return [{"Customer UUID": uuid, "First Name": "Ann"} for uuid in uuids]


def outcomes(world: World) -> dict[str, str]:
    """Customer -> status and codes, as the workbook has them."""
    return {
        values["customerUUID"]: f"{values['status']} {values['errorCodes'] or ''}".strip()
        for values in world.workbook().values()
    }


# A busy computer may need seconds for an immediate answer, so only tests of the time-out have a short one.
@pytest.mark.parametrize(
    ("names", "seconds"),
    [
        pytest.param(ANSWERS.keys() - SLOW, 60, id="immediate"),
        pytest.param(SLOW, 5, id="slow", marks=pytest.mark.system),
    ],
)
def test_every_answer_has_its_outcome(
    world: World, bench: Misbehaving, names: Collection[str], seconds: int
) -> None:
    answers = {name: ANSWERS[name] for name in ANSWERS if name in names}
    bench.scripts = {name: scripts for name, (scripts, _) in answers.items()}
    sound = [f"sound-{number}" for number in range(40)]
    for name in sound:
        bench.scripts[name] = once(says(answer(200, success(f"for-{name}"))))
    campaign = FAST.replace("timeout = 60", f"timeout = {seconds}")
    done = world.write(rows_for(*answers, *sound), campaign=campaign).send()
    expected = {name: outcome for name, (_, outcome) in answers.items()} | dict.fromkeys(sound, "accepted")
    assert outcomes(world) == expected
    asked = {name: count for name, count in ASKED.items() if name in names}
    assert bench.customers() == dict.fromkeys(expected, 1) | asked
    assert done.code == 1
    assert f"{len(expected)} rows = " in done.out
    rows = {values["customerUUID"]: values for values in world.workbook().values()}
    assert {name: rows[name]["attempts"] for name in asked} == asked
    # No row has the answer of another one.
    assert {name: rows[name]["messageUUID"] for name in sound} == {name: f"for-{name}" for name in sound}


@pytest.mark.parametrize(
    ("received", "sentences"),
    [
        (answer(403, HTML), ["(HTTP 403)", "this department and user"]),
        (
            answer(200, refusal("INVALID_USER")),
            ["INVALID_USER", "Correct the user's id, or the department's"],
        ),
        (
            answer(400, refusal("USER_DOES_NOT_HAVE_AUTHORITY", status=None)),
            ["USER_DOES_NOT_HAVE_AUTHORITY", "Choose another user"],
        ),
        (answer(200, refusal("DEALERSHIP_HOLIDAY")), ["DEALERSHIP_HOLIDAY", "Send again on a working day"]),
        (answer(422, refusal("MISSING_MESSAGE_TYPE")), ["MISSING_MESSAGE_TYPE", "Please report this"]),
    ],
    ids=["403", "user", "authority", "holiday", "missing"],
)
def test_what_would_meet_every_row_stops_the_run(
    world: World, bench: Misbehaving, received: bytes, sentences: list[str]
) -> None:
    bench.scripts["about-all"] = then_ok(says(received))
    world.write(rows_for("first", "about-all", "third", "fourth"), campaign=ONE_BY_ONE)
    done = world.send()
    assert done.code == 3
    for sentence in sentences:
        assert sentence in done.out
    assert outcomes(world) == {
        "first": "accepted",
        "about-all": "pending STOPPED",
        "third": "pending STOPPED",
        "fourth": "pending STOPPED",
    }
    assert bench.customers() == {"first": 1, "about-all": 1}
    assert world.workbook()[3]["attempts"] == 1


def test_a_web_page_instead_of_an_answer_stops_the_run_at_the_first_one(
    world: World, bench: Misbehaving
) -> None:
    bench.scripts["page"] = once(says(answer(200, b"\xef\xbb\xbf\n <!DOCTYPE html><html>Sign in</html>")))
    world.write(rows_for("first", "page", "third"), campaign=ONE_BY_ONE)
    done = world.send()
    assert done.code == 3
    assert f"{bench.base_url}{bench.received[-1].target} answers with a web page" in done.out
    assert "the scope message.create" in done.out
    # The text may have left all the same.
    assert outcomes(world) == {
        "first": "accepted",
        "page": "unconfirmed BAD_RESPONSE",
        "third": "pending STOPPED",
    }
    assert bench.customers() == {"first": 1, "page": 1}


def test_after_wrong_credentials_the_same_command_continues(world: World, bench: Misbehaving) -> None:
    bench.scripts["about-all"] = then_ok(says(answer(401, refusal("WRONG_CREDENTIAL", status=None))))
    world.write(rows_for("first", "about-all", "third"), campaign=ONE_BY_ONE)
    done = world.send()
    assert done.code == 3
    assert "myKaarma does not accept the username and password (WRONG_CREDENTIAL)." in done.out
    assert "does not accept the username and password" in done.out
    assert bench.customers() == {"first": 1, "about-all": 1}
    assert set(list(outcomes(world).values())[1:]) == {"pending STOPPED"}
    assert world.send().code == 0
    assert set(outcomes(world).values()) == {"accepted"}
    assert bench.customers() == {"first": 1, "about-all": 2, "third": 1}
    assert world.workbook()[3]["attempts"] == 2


def test_a_wrong_certificate_stops_the_run_before_anything_is_said(tmp_path: Path) -> None:
    with misbehaving(tls=True) as bench:
        world = World(tmp_path, bench.base_url).write(rows_for("first", "second"))
        done = world.send()
        assert bench.received == []
    assert done.code == 3
    assert "could not prove who it is (its certificate is not valid). Nothing was sent to it." in done.out
    assert "Check this address, this computer's clock" in done.out
    assert set(outcomes(world).values()) == {"pending STOPPED"}


def test_where_the_sender_comes_from_columns_it_is_that_rows_failure(
    world: World, bench: Misbehaving
) -> None:
    bench.scripts = {
        "forbidden": once(says(answer(403, HTML))),
        "user": once(says(answer(200, refusal("INVALID_USER")))),
        "authority": once(says(answer(400, refusal("USER_DOES_NOT_HAVE_AUTHORITY")))),
        "holiday": once(says(answer(400, refusal("DEALERSHIP_HOLIDAY")))),
        "missing": once(says(answer(400, refusal("MISSING_MESSAGE_BODY")))),
    }
    rows = [{**row, "Advisor": f"user-{row['Customer UUID']}"} for row in rows_for(*bench.scripts, "sound")]
    world.write(
        rows,
        campaign='name = "Spring"\nlist = "customers.csv"\ntemplate = "message.txt.j2"\ndepartment_uuid = "dep"\n'
        'timezone = "America/Chicago"\n[columns]\nuser_uuid = "Advisor"\n' + ONE_BY_ONE,
    )
    done = world.send()
    assert done.code == 1
    assert outcomes(world) == {
        "forbidden": "failed HTTP_403",
        "user": "failed INVALID_USER",
        "authority": "failed USER_DOES_NOT_HAVE_AUTHORITY",
        "holiday": "failed DEALERSHIP_HOLIDAY",
        "missing": "failed MISSING_MESSAGE_BODY",
        "sound": "accepted",
    }
    assert (
        bench.received[0].target
        == "/communications/department/dep/user/user-forbidden/customer/forbidden/message"
    )


def test_all_requests_wait_as_long_as_retry_after_says_in_either_form(
    world: World, bench: Misbehaving
) -> None:
    # The server's clock is years behind ours: its dates are relative to its `Date` header.
    date, until = "Date: Mon, 02 Mar 2020 08:00:00 GMT", "Retry-After: Mon, 02 Mar 2020 08:00:01 GMT"
    bench.scripts = {
        "seconds": then_ok(says(answer(429, b"", "Retry-After: 1"))),
        "date": then_ok(says(answer(503, HTML, date, until))),
        "kept": once(says(OK), resets_at_reuse),
    }
    done = world.write(rows_for("seconds", "date", "kept", "on-the-kept"), campaign=ONE_BY_ONE).send()
    order = [request.customer for request in bench.received]
    assert order == ["seconds", "seconds", "date", "date", "kept", "on-the-kept"]
    at = [request.at for request in bench.received]
    # The first request of each pair was received before its refusal was said, which makes this a lower bound.
    assert at[1] - at[0] >= 1
    assert at[3] - at[2] >= 1
    assert [line.partition(": ")[2] for line in done.err.splitlines() if line.startswith("waiting")] == [
        "myKaarma asks to slow down (HTTP 429)",
        "myKaarma is not available (HTTP 503)",
    ]
    # A request on a connection that broke at the moment of reuse is not made again.
    assert done.code == 1
    assert outcomes(world)["on-the-kept"] == "unconfirmed CONNECTION_LOST"
    assert bench.received[-1].nth > 1


def test_a_server_that_is_down_costs_no_row(tmp_path: Path) -> None:
    with misbehaving(listening=False) as bench:
        world = World(tmp_path, bench.base_url).write(customers(30), campaign=FAST)
        process = world.start("send", "campaign.toml", "--yes")
        assert process.stderr is not None
        said = process.stderr.readline()
        bench.listen()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        refused = re.escape(f"cannot reach {bench.base_url} (connection refused)")
        assert re.search(rf"waiting about \d+ seconds?: {refused}", said + err)
        assert bench.customers() == {f"customer-{number}": 1 for number in range(30)}
    assert {values["status"] for values in world.workbook().values()} == {"accepted"}


def test_nothing_taken_for_give_up_after_stops_the_run(world: World, bench: Misbehaving) -> None:
    bench.scripts = {f"customer-{number}": once(says(answer(503, HTML))) for number in range(1, 5)}
    done = world.write(customers(5), campaign=f'{ONE_BY_ONE}give_up_after = "1s"\n').send()
    assert done.code == 3
    assert (
        "myKaarma is not available (HTTP 503), and no text was accepted for 1 second. Try again" in done.out
    )
    assert outcomes(world) == {"customer-0": "accepted"} | {
        f"customer-{number}": "pending STOPPED" for number in range(1, 5)
    }


def test_a_name_that_cannot_be_found_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, "https://api.nowhere.example").write(
        customers(5), campaign=f'{ONE_BY_ONE}give_up_after = "1s"\n'
    )
    # In place of a name server: none knows this name.
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def getaddrinfo(*_, **__):\n"
        "    raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')\n"
        "socket.getaddrinfo = getaddrinfo\n"
    )
    world.environment["PYTHONPATH"] = str(tmp_path)
    done = world.send()
    assert done.code == 3
    assert (
        "cannot reach https://api.nowhere.example (its name cannot be found), and no text was accepted"
        in done.out
    )
    assert "Check this computer's network connection and this address." in done.out
    assert set(outcomes(world).values()) == {"pending STOPPED"}


@pytest.mark.parametrize(
    ("script", "said", "outcome"),
    [
        (
            once(resets),
            "failed without a reason from myKaarma (last: CONNECTION_LOST)",
            "unconfirmed CONNECTION_LOST",
        ),
        (
            once(says(answer(404, HTML))),
            "failed without a reason from myKaarma (last: HTTP_404)",
            "failed HTTP_404",
        ),
        (
            once(says(answer(400, refusal("CUSTOMER_LOCKED")))),
            "were refused with CUSTOMER_LOCKED",
            "failed CUSTOMER_LOCKED",
        ),
    ],
    ids=["unconfirmed", "no code", "one code"],
)
def test_failures_in_a_row_stop_the_run(
    world: World, bench: Misbehaving, script: list[Script], said: str, outcome: str
) -> None:
    bench.scripts = {f"customer-{number}": script for number in range(2, 12)}
    done = world.write(customers(12), campaign=f"{ONE_BY_ONE}stop_after_failures = 4\n").send()
    assert done.code == 3
    assert f"4 rows in a row {said}" in done.out
    tried = outcomes(world)
    assert [tried[f"customer-{number}"] for number in range(12)] == [
        *["accepted"] * 2,
        *[outcome] * 4,
        *["pending STOPPED"] * 6,
    ]
    assert len(bench.received) == 6


# Connections, seen from inside: one client, one request after the other.


class Client:
    """The HTTP client of the program, with one connection at a time."""

    def __init__(self, base_url: str, timeout: float = 20) -> None:
        self.client = ApiClient(
            base_url,
            Credentials("somebody", "secret"),
            options=SendingAttributes(),
            timeout=timeout,
            sender_per_row=False,
        )

    async def post(self, customer: str) -> Judgement:
        return await self.client.post(Request("d", "u", customer, None, "Hi", {}), Departure(_at_once))


async def _at_once() -> None:
    pass


async def _see_what_has_arrived() -> None:
    """Lets the event loop read its sockets; on this machine, sent data has arrived."""
    for _ in range(10):
        await asyncio.sleep(0)


def in_short(judgement: Judgement) -> tuple[Any, ...]:
    assert isinstance(judgement, Answered), judgement
    return (judgement.status.value, *judgement.codes, judgement.message_uuid)


async def wait_for(event: Any) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 60)


@pytest.mark.parametrize(
    "late",
    [
        says(answer(200, success("stale"))),
        says(answer(429)),
        says(b"\x00rubbish\r\n\r\n"),
        says(raw("HTTP/1.1 408 Request Timeout", "Content-Length: 0", "Connection: close")),
        closes,
        resets,
    ],
    ids=["answer", "busy", "rubbish", "408", "closed", "reset"],
)
def test_data_that_arrives_between_requests_never_answers_the_next_one(bench: Misbehaving, late: Act) -> None:
    idle, done = threading.Event(), threading.Event()

    async def tell(_: Any) -> None:
        done.set()

    bench.scripts = {
        "first": once(says(answer(200, success("one"))), waits_until(idle), late, tell),
        "second": once(says(answer(200, success("two")))),
    }

    async def story() -> list[tuple[Any, ...]]:
        client = Client(bench.base_url)
        async with client.client:
            first = await client.post("first")
            idle.set()
            await wait_for(done)
            await _see_what_has_arrived()
            return [in_short(first), in_short(await client.post("second"))]

    assert asyncio.run(story()) == [("accepted", "one"), ("accepted", "two")]
    assert bench.customers() == {"first": 1, "second": 1}
    assert [request.nth for request in bench.received] == [1, 1]


@pytest.mark.parametrize("between", [True, False], ids=["between requests", "with the answer before"])
def test_the_beginning_of_another_answer_never_answers_the_next_request(
    bench: Misbehaving, between: bool
) -> None:
    idle, done = threading.Event(), threading.Event()
    one, stale = answer(200, success("one")), answer(200, success("stale"))

    async def tell(_: Any) -> None:
        done.set()

    first = [says(one), waits_until(idle), says(stale[:30])] if between else [says(one + stale[:30])]
    bench.scripts = {
        "first": once(*first, tell),
        "second": once(says(stale[30:] + answer(200, success("two")))),
    }

    async def story() -> list[tuple[Any, ...]]:
        client = Client(bench.base_url)
        async with client.client:
            before = await client.post("first")
            idle.set()
            await wait_for(done)
            await _see_what_has_arrived()
            return [in_short(before), in_short(await client.post("second"))]

    assert asyncio.run(story()) == [("accepted", "one"), ("unconfirmed", "BAD_RESPONSE", None)]
    assert bench.customers() == {"first": 1, "second": 1}


@pytest.mark.parametrize(
    ("received", "outcome"),
    [
        (answer(200, success("one")), ("accepted", "one")),
        (answer(413), ("failed", "HTTP_413", None)),
        (answer(502, HTML), ("unconfirmed", "HTTP_502", None)),
    ],
    ids=["success", "too-large", "error-502"],
)
def test_an_answer_counts_where_the_server_closes_without_saying_so(
    bench: Misbehaving, received: bytes, outcome: tuple[Any, ...]
) -> None:
    bench.scripts["customer-1"] = once(says(received), closes)
    assert in_short(post_to(bench.base_url)) == outcome


def test_sound_connections_are_used_again(bench: Misbehaving) -> None:
    async def story() -> None:
        client = Client(bench.base_url)
        async with client.client:
            for number in range(5):
                await client.post(f"customer-{number}")

    asyncio.run(story())
    assert [(request.connection, request.nth) for request in bench.received] == [
        (0, nth) for nth in range(1, 6)
    ]


def test_a_connection_that_breaks_at_the_moment_of_reuse_sends_nothing_twice(bench: Misbehaving) -> None:
    bench.scripts["first"] = once(says(OK), resets_at_reuse)

    async def story() -> Judgement:
        client = Client(bench.base_url)
        async with client.client:
            await client.post("first")
            return await client.post("second")

    assert in_short(asyncio.run(story())) == ("unconfirmed", "CONNECTION_LOST", None)
    assert [(request.customer, request.nth) for request in bench.received] == [("first", 1), ("second", 2)]


def test_idle_connections_are_dropped_before_the_server_does_it(
    bench: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Servers close after 5 s and more (Apache 5, Node 5, nginx 75, AWS 60).
    assert api_connection.KEEP_ALIVE_SECONDS < 5
    monkeypatch.setattr(api_connection, "KEEP_ALIVE_SECONDS", 0.05)

    async def story() -> None:
        client = Client(bench.base_url)
        async with client.client:
            await client.post("first")
            while not bench.connections[0].ended_by_client:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await client.post("second")

    asyncio.run(story())
    assert [request.connection for request in bench.received] == [0, 1]


def test_a_connection_that_waited_for_a_request_that_did_not_leave_is_not_used_again(
    bench: Misbehaving,
) -> None:
    async def story() -> None:
        client = Client(bench.base_url)
        async with client.client:
            await client.post("first")
            waits = asyncio.Event()

            async def allow() -> None:
                waits.set()
                await asyncio.Event().wait()

            request = Request("d", "u", "never sent", None, "Hi", {})
            unsent = asyncio.create_task(client.client.post(request, Departure(allow)))
            await waits.wait()
            unsent.cancel()
            await asyncio.wait([unsent])
            await client.post("second")

    asyncio.run(story())
    assert [(request.customer, request.connection) for request in bench.received] == [
        ("first", 0),
        ("second", 1),
    ]


def test_an_endless_answer_is_read_up_to_a_bound(bench: Misbehaving) -> None:
    said = 0

    async def talk(connection: Any) -> None:
        nonlocal said
        while True:
            await connection.say(b" " * 65536)
            said += 65536

    bench.scripts["endless"] = once(says(raw("HTTP/1.1 400 X")), talk)

    async def story() -> Judgement:
        client = Client(bench.base_url)
        async with client.client:
            return await client.post("endless")

    assert in_short(asyncio.run(story())) == ("failed", "HTTP_400", None)
    # What the sockets hold between the two comes on top.
    assert said < ANSWER_BYTES + 12_000_000


def test_every_request_carries_what_it_must(bench: Misbehaving) -> None:
    async def story() -> None:
        client = Client(bench.base_url)
        async with client.client:
            await client.post("first")

    asyncio.run(story())
    headers = bench.received[0].headers
    assert headers["authorization"] == "Basic c29tZWJvZHk6c2VjcmV0"
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("batchsend/")
    assert "cookie" not in headers


def post_to(base_url: str, timeout: float = 20) -> Judgement:
    async def story() -> Judgement:
        client = Client(base_url, timeout)
        async with client.client:
            return await client.post("customer-1")

    return asyncio.run(story())


def _refuse_tls(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        connection.recv(65536)
        connection.sendall(raw("HTTP/1.1 400 Bad Request", "Content-Length: 0"))


def retry_reason(judgement: Judgement) -> str:
    assert isinstance(judgement, RetryLater), judgement
    assert not judgement.slow_down
    return judgement.reason


def test_before_a_request_has_left_nothing_is_unconfirmed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        # It does not speak TLS.
        answering = threading.Thread(target=_refuse_tls, args=(plain,))
        answering.start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        assert retry_reason(post_to(url)) == f"cannot reach {url} (no secure connection)"
        answering.join()
    with socket.create_server(("127.0.0.1", 0), backlog=1) as mute:
        # It accepts, and then never says a word about encryption.
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        assert retry_reason(post_to(url, 0.2)) == f"cannot reach {url} (no connection within the time-out)"
    with misbehaving(tls=True) as wrong:
        judgement = post_to(wrong.base_url)
        assert isinstance(judgement, Refused)
        assert wrong.received == []


def test_an_answer_that_came_during_suspension_is_read(bench: Misbehaving) -> None:
    """SIGSTOP does the same to the whole command in `test_signals.py`."""
    asleep, said = threading.Event(), threading.Event()

    async def tell(_: Any) -> None:
        said.set()

    bench.scripts["slow"] = once(waits_until(asleep), says(answer(200, success("late"))), tell)
    bench.scripts["never"] = once(waits_until(asleep), tell, never)

    async def story(customer: str) -> Judgement:
        asleep.clear()
        said.clear()
        client = Client(bench.base_url, timeout=60)
        async with client.client:
            post = asyncio.create_task(client.post(customer))
            while not bench.customers()[customer]:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            # Nothing runs in this loop for longer than the time-out.
            asleep.set()
            assert said.wait(60)
            skip(61)
            return await post

    assert in_short(asyncio.run(story("slow"))) == ("accepted", "late")
    assert in_short(asyncio.run(story("never"))) == ("unconfirmed", "TIMEOUT", None)
