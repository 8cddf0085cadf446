"""`batchsend callbacks` as a process: real HTTP, real ledgers, real signals."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import json
import os
import random
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from ledgers import planned, send_all, store_plan
from raw_posts import post_all
from update_listener import LEDGER, listening
from world import BATCHSEND, World, customers, running_sandbox

from batchsend.ledger.opening import open_ledger
from batchsend.sending.rows import Outcome
from batchsend.statuses import Status

#: Malformed bodies; `make replay` takes 10,000.
MALFORMED = int(os.environ.get("BATCHSEND_MALFORMED", "2000"))


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def sent_run(folder: Path, rows: int) -> None:
    """A ledger whose rows 2, 3 ... were sent and got no answer."""
    ledger = open_ledger(f"sqlite:///{folder / '.batchsend' / 'ledger.db'}")
    stored_plan = store_plan(ledger, [planned(row) for row in range(2, rows + 2)])
    lost = [
        Outcome(row, Status.UNCONFIRMED, "TIMEOUT", message_uuid=f"m-{row}") for row in range(2, rows + 2)
    ]
    send_all(ledger, stored_plan, *lost)
    ledger.close()


@pytest.mark.timeout(300)
@pytest.mark.system
def test_every_row_of_a_run_gets_its_update_even_if_its_answer_was_lost(tmp_path: Path) -> None:
    people = customers(1000)
    for number, person in enumerate(people):
        name = {
            3: "sandbox-500-sent",
            5: "sandbox-undelivered",
            7: "sandbox-dropped-sent",
            9: "sandbox-not-sent",
        }
        if (beginning := name.get(number % 20)) is not None:
            person["Customer UUID"] = f"{beginning}-{number}"
    updates = ("--updates", "--update-delay", "0.05", "--update-repeat", "0.3", "--update-shuffle")
    with running_sandbox(tmp_path, *updates, "--seed", "7") as sandbox, listening(tmp_path) as listener:
        world = World(tmp_path, sandbox.base_url)
        world.write(
            people,
            campaign=f'[message]\ncallback_url = "{listener.url}"\n'
            "[sending]\nrate = 2000\nstop_after_failures = 100000\n",
        )
        assert world.send("--quiet").code == 1
        until(
            lambda: listener.statuses() == {"delivered": 900, "undelivered": 100},
            "not every row got its update",
        )
        out, err = listener.end()
    assert (re.search(r"(\d+) of them", out) or [""])[1] == "0", out
    assert err == ""
    done = world.run("results", "campaign.toml")
    assert "1,000 rows = 900 accepted by myKaarma + 0 skipped + 100 need attention + 0 waiting" in done.out
    assert "900 delivered, 100 undelivered, 0 not known yet" in done.out
    assert "900 delivered, 100 undelivered" in world.run("runs").out
    results = Counter((row["status"], row["errorCodes"]) for row in world.workbook().values())
    assert results == {
        ("delivered", None): 900,
        ("undelivered", None): 50,
        ("undelivered", "TWILIO_SENDING_FAILURE"): 50,
    }
    # Nothing is left to send, and the undelivered ones need attention.
    assert world.send("--quiet").code == 1


def test_the_secret_is_made_once_and_kept_for_the_owner(tmp_path: Path) -> None:
    with listening(tmp_path) as listener:
        kept = tmp_path / ".batchsend" / "callback-secret"
        assert listener.path == f"/batchsend/{kept.read_text()}"
        assert len(kept.read_text()) >= 40
        if sys.platform != "win32":
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert 'callback_url = "https://YOUR-HOST/batchsend/THE-SECRET"' in listener.greeting
        assert f"THE-SECRET is not shown outside a terminal. It is in {kept}." in listener.greeting
        assert kept.read_text() not in listener.greeting
        listener.end()
    # Without --ledger, the ledger that is there now.
    with listening(tmp_path, "--host", "127.0.0.1") as again:
        assert again.path == listener.path


def test_the_secret_can_be_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BATCHSEND_CALLBACK_SECRET=0123456789abcdef\n")
    with listening(tmp_path) as listener:
        assert "It is in BATCHSEND_CALLBACK_SECRET" in listener.greeting
        assert listener.request(path="/batchsend/0123456789abcdef") == 200
        assert not (tmp_path / ".batchsend" / "callback-secret").exists()
    refused = World(tmp_path, environment={"BATCHSEND_CALLBACK_SECRET": "a/b"}).run("callbacks", *LEDGER)
    assert refused.code == 2
    assert "BATCHSEND_CALLBACK_SECRET cannot be used: a secret has 16 to 128 letters" in refused.err
    assert "a/b" not in refused.err


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    nowhere = World(tmp_path).run("callbacks")
    assert (nowhere.code, "name the ledger with --ledger" in nowhere.err) == (2, True)
    with listening(tmp_path) as listener:
        taken = World(tmp_path).run("callbacks", "--port", str(listener.port), *LEDGER)
        assert taken.code == 2
        assert "another program uses it" in taken.err


def test_only_who_knows_the_secret_is_let_in_and_only_with_updates(tmp_path: Path) -> None:
    with listening(tmp_path) as listener:
        right = listener.path
        wrong = [
            "/",
            "/batchsend",
            "/batchsend/",
            right[:-1],
            right + "/",
            right + "x",
            right.upper(),
            right + "%00",
            "/batchsend/" + "x" * 43,
            "/" + right,
            "/batchsend/../batchsend",
            "/batchsend/%ff",
            "/healthy",
        ]
        for path in wrong:
            assert listener.request(path=path) == 404, path
            assert listener.request("GET", path) == 404, path
        assert listener.request("GET", "/health") == 200
        assert listener.request("POST", "/health") == 404
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
            assert listener.request(method) == 405
        assert listener.request(body=b"x" * 256_001) == 413
        assert listener.query("SELECT count(*) FROM updates") == [(0,)]
        assert listener.request(body=b"x" * 200_000) == 200
        assert listener.query("SELECT count(*) FROM updates") == [(1,)]


def test_signatures_are_checked_where_a_key_is_set(tmp_path: Path) -> None:
    key, body = "a signing key", b'{"messageUUID": "m", "status": "SENT"}'
    right = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    with listening(tmp_path, BATCHSEND_CALLBACK_SIGNING_KEY=key) as listener:

        def signed(value: str) -> int:
            return listener.request(body=body, headers={"mykaarma-signature-token": value})

        assert listener.request(body=body) == 401
        for value in ("", right, "sha256=", f"sha256={right[:-1]}0", f"sha1={right}", "sha256=" + "é" * 64):
            assert signed(value.encode().decode("latin-1")) == 401
        assert listener.query("SELECT count(*) FROM updates") == [(0,)]
        assert signed(f"sha256={right}") == 200
        assert signed(f"SHA256={right.upper()}") == 200
        assert listener.query("SELECT count(*) FROM updates") == [(1,)]


def test_a_signed_update_needs_no_secret(tmp_path: Path) -> None:
    key, body = "a signing key", b'{"messageUUID": "m", "status": "SENT"}'
    right = {"mykaarma-signature-token": "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}
    with listening(tmp_path, BATCHSEND_CALLBACK_SIGNING_KEY=key) as listener:
        for path in ("/batchsend", "/batchsend/"):
            assert listener.request(path=path, body=body) == 401
            assert listener.request(path=path, body=body, headers=right) == 200
        assert listener.request(path="/batchsend/x", body=body, headers=right) == 404


def test_a_proxy_can_send_the_secret_in_a_header(tmp_path: Path) -> None:
    with listening(tmp_path) as listener:
        secret = listener.secret
        for path in ("/batchsend", "/batchsend/"):
            assert listener.request(path=path, headers={"Authorization": f"Bearer {secret}"}) == 200
        for wrong in ("", secret, "Bearer ", f"Bearer {secret}x", f"Basic {secret}", "Bearer é"):
            encoded = wrong.encode().decode("latin-1")
            assert listener.request(path="/batchsend", headers={"Authorization": encoded}) == 404
        assert listener.request(path="/batchsend/x", headers={"Authorization": f"Bearer {secret}"}) == 404


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_a_terminal_shows_the_secret(tmp_path: Path) -> None:
    import pty

    above, below = pty.openpty()
    command = [*BATCHSEND, "callbacks", "--port", "0", *LEDGER]
    process = subprocess.Popen(command, cwd=tmp_path, env=World(tmp_path).env(), stdout=below)
    try:
        until((tmp_path / ".batchsend" / "callback-secret").exists, "no secret was made")
        shown = b""
        while b"Ctrl-C" not in shown:
            shown += os.read(above, 4096)
    finally:
        process.kill()
        process.wait()
        os.close(above)
        os.close(below)
    assert (tmp_path / ".batchsend" / "callback-secret").read_bytes() in shown


@pytest.mark.parametrize(
    ("host", "key", "warned"), [("0.0.0.0", "", True), ("0.0.0.0", "key", False), ("127.0.0.1", "", False)]
)
def test_a_public_address_without_a_signature_is_warned_about(
    tmp_path: Path, host: str, key: str, warned: bool
) -> None:
    environment = {"BATCHSEND_CALLBACK_SIGNING_KEY": key} if key else {}
    with listening(tmp_path, "--host", host, *LEDGER, **environment) as listener:
        _, err = listener.end()
    assert ("Warning: with --host 0.0.0.0" in err and "docs/callbacks.md" in err) == warned
    assert warned or err == ""


EVENT = b'{"messageUUID": "Maria-3125550002", "status": "SENT", "body": "Hello Maria"}'
PACKED = gzip.compress(EVENT)
CHUNKED = b"Transfer-Encoding: chunked"


def encoded(name: str) -> bytes:
    return f"Content-Encoding: {name}".encode()


#: What is wrong -> the header, the body, and the answer; 0: the connection breaks.
BROKEN: dict[str, tuple[bytes, bytes, int]] = {
    "gzip that is none": (encoded("gzip"), EVENT, 400),
    "gzip cut short": (encoded("gzip"), PACKED[:-5], 400),
    "gzip of nothing": (encoded("gzip"), b"", 400),
    "gzip with more behind it": (encoded("gzip"), PACKED + b"x", 400),
    "gzip with a wrong checksum": (encoded("gzip"), PACKED[:-8] + b"\0" * 8, 400),
    "a bomb": (encoded("gzip"), gzip.compress(b" " * 50_000_000), 413),
    "a bomb in a bomb": (encoded("gzip, gzip"), gzip.compress(gzip.compress(b" " * 50_000_000)), 413),
    "deflate that is none": (encoded("deflate"), EVENT, 400),
    "brotli": (encoded("br"), EVENT, 415),
    "zstd": (encoded("zstd"), EVENT, 415),
    "an unknown encoding": (encoded("\xe9".encode().decode("latin-1")), EVENT, 415),
    "two encodings, one unknown": (encoded("gzip, br"), PACKED, 415),
    "an unknown transfer coding": (b"Transfer-Encoding: br, chunked", b"3\r\nabc\r\n0\r\n\r\n", 415),
    "chunks without an end": (CHUNKED, b"4c\r\n" + EVENT[:20], 0),
    "a chunk with a wrong size": (CHUNKED, b"zz\r\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    "a wrong second chunk": (CHUNKED, b"1\r\n{\r\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    "a body cut short": (b"Content-Length: 1000", EVENT, 0),
    "two lengths": (b"Content-Length: 3\r\nContent-Length: 4", EVENT, 400),
    "a length and chunks": (CHUNKED + b"\r\nContent-Length: 3", EVENT, 400),
    "a length that is none": (b"Content-Length: -1", EVENT, 400),
    "a header that is too long": (b"X: " + b"Maria" * 20_000, EVENT, 400),
    "a header that is none": (b"Maria", EVENT, 400),
    "another expectation": (b"Expect: Maria", EVENT, 417),
    "too much": (b"Content-Length: 300000", b"x" * 300_000, 413),
    "too much in chunks": (
        CHUNKED,
        b"ffff\r\n" + b"x" * 65_535 + b"\r\n" + b"40000\r\n" + b"x" * 262_144,
        413,
    ),
}


def raw_answer(port: int, request: bytes, *, cut: bool = False) -> tuple[int, bytes]:
    """The HTTP status and the whole answer; 0 and nothing where the connection breaks. `cut`: breaks it itself."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(request)
            if cut:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while part := connection.recv(4096):
                answer += part
    return int(answer.split()[1]) if answer else 0, answer


def raw_request(path: str, header: bytes, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + header
    if b"Content-Length" not in header and b"Transfer" not in header:
        head += b"\r\nContent-Length: %d" % len(body)
    return head + b"\r\n\r\n" + body


@pytest.mark.system
def test_broken_requests_are_refused_and_said_nowhere(tmp_path: Path) -> None:
    sent_run(tmp_path, 1)
    with listening(tmp_path) as listener:
        for what, (header, body, status) in BROKEN.items():
            request = raw_request(listener.path, header, body)
            answered, answer = raw_answer(listener.port, request, cut=status == 0)
            assert answered == status, what
            assert b"Traceback" not in answer, what
        for garbage in (
            b"\x16\x03\x01\x02",
            b"Maria",
            b"POST " + listener.path.encode() + b" HTTP/9.9\r\n\r\n",
        ):
            assert raw_answer(listener.port, garbage, cut=True)[0] in (0, 400)
        assert listener.query("SELECT count(*) FROM updates") == [(0,)]
        assert listener.tell(messageUUID="m-2", status="DELIVERED") == 200
        assert listener.statuses() == {"delivered": 1}
        out, err = listener.end()
    assert out == "Stopped. 1 updates recorded; 0 of them matched no row.\n"
    assert err == ""


#: A header, and how it makes the body of an event.
READABLE: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (encoded("gzip"), gzip.compress),
    (encoded("X-GZIP"), gzip.compress),
    (encoded("identity"), bytes),
    (encoded("deflate"), zlib.compress),
    (encoded("deflate"), lambda event: zlib.compress(event, wbits=-15)),
    (encoded("gzip, deflate"), lambda event: zlib.compress(gzip.compress(event))),
    (encoded("gzip") + b"\r\n" + encoded("deflate"), lambda event: zlib.compress(gzip.compress(event))),
    (b"Content-Type: application/json; charset=latin-9", bytes),
    (b"Content-Type: application/json; charset=nonsense", bytes),
    (b"Content-Type: multipart/form-data", bytes),
    (b"Expect: 100-continue", bytes),
    (CHUNKED, lambda event: b"1\r\n{\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(event) - 1, event[1:])),
]


def test_updates_are_read_in_each_encoding(tmp_path: Path) -> None:
    events = [b'{"messageUUID": "m-%d", "status": "SENT"}' % number for number in range(len(READABLE))]
    with listening(tmp_path) as listener:
        for (header, packed), event in zip(READABLE, events, strict=True):
            answer = raw_answer(listener.port, raw_request(listener.path, header, packed(event)))[1]
            assert b"HTTP/1.1 200 OK" in answer, header
        recorded = {raw for (raw,) in listener.query("SELECT raw FROM updates")}
    assert recorded == {event.decode() for event in events}


def test_each_event_of_an_array_is_recorded_once(tmp_path: Path) -> None:
    sent_run(tmp_path, 3)
    events = [json.dumps({"messageUUID": f"m-{row}", "status": "DELIVERED"}) for row in (2, 3)]
    failed = json.dumps({"messageUUID": "m-4", "status": "FAILED", "body": "[}"})
    body = f"[{events[0]}, [7, null, {'[' * 3000}{']' * 3000}], {events[1]},{events[0]}, {failed}, {{"
    with listening(tmp_path) as listener:
        for _ in range(2):
            assert listener.request(body=body.encode()) == 200
        assert listener.request(body=events[0].encode()) == 200
        assert listener.statuses() == {"delivered": 2, "undelivered": 1}
        assert listener.query("SELECT count(*) FROM updates") == [(4,)]
        out, err = listener.end()
    assert "1 of them matched no row" in out
    assert err == ""


def malformed(count: int, seed: int) -> Iterator[bytes]:
    """Bodies that are wrong in every way that comes to mind; each is another one."""
    chance = random.Random(seed)
    sound = json.dumps(
        {
            "messageUUID": "m-5",
            "status": "SENT",
            "callbackMetaData": {"batchsendLedger": "x", "batchsendRow": "2"},
        }
    ).encode()
    ways: list[Callable[[bytes], bytes]] = [
        lambda mark: chance.randbytes(chance.randint(0, 300)) + mark,
        lambda mark: sound[: chance.randint(0, len(sound) - 1)] + mark,
        lambda mark: b'{"payload":' * chance.randint(1, 2000) + mark,
        lambda mark: b'{"messageUUID": [' + mark + b'], "status": {"a": 1}, "errors": "\\ud800"}',
        lambda mark: b'{"status": ' + b"9" * chance.randint(1, 6000) + mark + b"}",
        lambda mark: b"[" * chance.randint(1, 3000) + b"\0" + mark,
        lambda mark: b'{"callbackMetaData": {"batchsendRun": "-1", "batchsendRow": ' + mark + b"}}",
        lambda mark: b"payload=%7B%22status%22%3A%22SENT%22%7D&n=" + mark,
    ]
    for number in range(count):
        yield ways[number % len(ways)](str(number).encode())


@pytest.mark.timeout(300)
def test_malformed_bodies_do_not_bring_it_down_and_lose_nothing(tmp_path: Path) -> None:
    sent_run(tmp_path, 100)
    bodies = list(malformed(MALFORMED, 1))
    assert len(set(bodies)) == len(bodies)
    sound = [json.dumps({"messageUUID": f"m-{row}", "status": "DELIVERED"}).encode() for row in range(2, 102)]
    with listening(tmp_path) as listener:
        answers = posted_until_taken(listener.url, [*bodies, *sound])
        strangers = posted_until_taken(listener.url + "x", bodies[:500])
        assert listener.request("GET", "/health") == 200
        assert listener.statuses() == {"delivered": 100}
        assert listener.query("SELECT count(*) FROM updates") == [(MALFORMED + 100,)]
        out, err = listener.end()
    assert (answers, strangers) == ({200}, {404})
    assert f"{MALFORMED:,} of them matched no row" in out
    assert err == ""


def posted(url: str, bodies: list[bytes]) -> list[int]:
    """The HTTP statuses of these bodies; 0 where the connection broke."""
    return [status for status, _ in asyncio.run(post_all(url, bodies, 50))]


def posted_until_taken(url: str, bodies: list[bytes]) -> set[int]:
    """The last HTTP statuses; what a busy computer could not record in time is sent again, as myKaarma does."""
    statuses: set[int] = set()
    while bodies:
        answers = posted(url, bodies)
        bodies = [body for body, status in zip(bodies, answers, strict=True) if status == 503]
        statuses.update(answers)
    return statuses - {503}


def test_killed_between_commit_and_answer_the_repeat_is_harmless(tmp_path: Path) -> None:
    sent_run(tmp_path, 900)
    bodies = [
        json.dumps({"messageUUID": f"m-{row}", "status": status}).encode()
        for row in range(2, 902)
        for status in ("SENT", "DELIVERED")
    ]
    with listening(tmp_path) as listener, ThreadPoolExecutor(1) as other:
        posting = other.submit(posted, listener.url, bodies)
        until(lambda: listener.query("SELECT count(*) FROM updates")[0][0], "nothing was recorded")
        listener.process.kill()
        first = posting.result()
    recorded = listener.query("SELECT count(*) FROM updates")[0][0]
    # Every answered update was on disk.
    assert first.count(200) <= recorded < len(bodies)
    with listening(tmp_path) as listener:
        repeated = [body for body, status in zip(bodies, first, strict=True) if status != 200]
        assert posted_until_taken(listener.url, repeated) == {200}
        assert listener.statuses() == {"delivered": 900}
        assert listener.query("SELECT count(*) FROM updates") == [(len(bodies),)]
        listener.end()


def test_while_the_ledger_is_held_updates_are_turned_away_in_time_and_recorded_all_the_same(
    tmp_path: Path,
) -> None:
    sent_run(tmp_path, 3)
    with listening(tmp_path) as listener:
        with closing(sqlite3.connect(listener.file)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert listener.tell(messageUUID="m-2", status="DELIVERED") == 503
            other.rollback()
        until(lambda: listener.statuses() == {"delivered": 1, "unconfirmed": 2}, "it was not recorded")
        assert listener.tell(messageUUID="m-3", status="DELIVERED") == 200
        listener.end()


def test_neither_phones_nor_texts_nor_the_secret_are_ever_said(tmp_path: Path) -> None:
    sent_run(tmp_path, 1)
    body = {
        "messageDTO": {"uuid": "m-2", "body": "Hello Maria", "to": "+13125550002", "deliveryStatus": "READ"}
    }
    with listening(tmp_path) as listener:
        assert listener.request(body=json.dumps(body).encode()) == 200
        listener.request(path="/batchsend/Hello")
        with closing(sqlite3.connect(listener.file)) as ledger:
            ledger.execute("DROP TABLE updates")
        assert listener.tell(messageUUID="Maria", status="SENT") == 503
        listener.process.send_signal(signal.SIGTERM)
        out, err = listener.process.communicate(timeout=60)
    said = out + err
    assert "updates were not recorded" in err
    assert not [word for word in ("Maria", "3125550002", "Hello", "Traceback") if word in said]


@pytest.mark.parametrize("kind", ["postgresql"])
def test_it_works_the_same_on_a_server(tmp_path: Path, postgres_url: str, kind: str) -> None:
    ledger = open_ledger(postgres_url)
    stored_plan = store_plan(ledger, [planned(2)])
    send_all(ledger, stored_plan)
    ledger.close()
    with listening(tmp_path, "--host", "127.0.0.1", BATCHSEND_LEDGER=postgres_url) as listener:
        assert listener.tell(messageUUID="message-2", status="DELIVERED") == 200
        assert (tmp_path / ".batchsend" / "callback-secret").exists()
        listener.end()
    ledger = open_ledger(postgres_url)
    assert ledger.counts(stored_plan.run_id) == {"delivered": 1}
    ledger.close()
