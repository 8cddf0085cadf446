"""`batchsend callbacks` as a process: real HTTP, real ledgers, real signals."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import random
import re
import signal
import sqlite3
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from ledgers import planned, send_all, store_plan
from raw_posts import post_all
from update_listener import LEDGER, listening
from world import World, customers, running_sandbox

from batchsend.ledger.opening import open_ledger
from batchsend.sending.outbox import Outcome
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


def test_the_secret_is_made_once_kept_for_the_owner_and_printed(tmp_path: Path) -> None:
    with listening(tmp_path) as listener:
        kept = tmp_path / ".batchsend" / "callback-secret"
        assert listener.path == f"/batchsend/{kept.read_text()}"
        assert len(kept.read_text()) >= 40
        if sys.platform != "win32":
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert f'callback_url = "https://YOUR-HOST{listener.path}"' in listener.greeting
        listener.end()
    # Without --ledger, the ledger that is there now.
    with listening(tmp_path, "--host", "127.0.0.1") as again:
        assert again.path == listener.path


def test_the_secret_can_be_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BATCHSEND_CALLBACK_SECRET=0123456789abcdef\n")
    with listening(tmp_path) as listener:
        assert listener.path == "/batchsend/0123456789abcdef"
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
        out, err = listener.process.communicate(timeout=30)
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
