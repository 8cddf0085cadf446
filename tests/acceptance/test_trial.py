"""`send --test-customer`: what the server gets, and that nothing is recorded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from world import BATCHSEND, CAMPAIGN, Sandbox, World, customers

from batchsend.cli.main import run
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages
from batchsend.utils.timestamps import now, to_text

CALLBACK = (
    '[message]\ncallback_url = "http://127.0.0.1:9/batchsend"\ncallback_metadata = { source = "shop" }\n'
)


@pytest.fixture
def inside(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world, with commands run in this process."""
    monkeypatch.chdir(world.folder)
    for name, value in world.env().items():
        monkeypatch.setenv(name, value)
    return world


def test_the_test_customer_gets_the_text_and_nothing_is_recorded(inside: World, sandbox: Sandbox) -> None:
    world = inside.write(customers(3), campaign=CALLBACK)
    assert world.send("--limit", "1").code == 0
    first = world.send("--test-customer", "-me_1")
    assert first.code == 0
    again = world.send("--test-customer", "-me_1", "--row", "2")  # a sent row still has a text
    assert again.code == 0
    before, test, of_sent_row = sandbox.requests()
    assert (test["customerUUID"], test["phone"], test["body"]) == (
        "-me_1",
        None,  # row 3 has a phone, but it is the customer's
        "Hi Name1, it is time for your service.",
    )
    assert of_sent_row["body"] == before["body"]
    assert test["callbackURL"] == before["callbackURL"]
    assert "batchsendTest" not in before["callbackMetaData"]
    assert test["callbackMetaData"]["batchsendTest"] == "true"
    assert test["callbackMetaData"]["source"] == "shop"
    assert not {"batchsendLedger", "batchsendRun"} & test["callbackMetaData"].keys()
    assert first.out.endswith(
        "  to           customer -me_1, their preferred number\n"
        "  text         of row 3 in customers.csv, 1 segment in GSM-7:\n"
        "               | Hi Name1, it is time for your service.\n"
        "               | [myKaarma adds: Text STOP to opt-out]\n"
        "accepted: Accepted by myKaarma, which now passes it on to the customer's phone.\n"
        f"messageUUID: {test['messageUUID']}\n"
    )
    rest = world.send("--expect", "2")
    assert rest.code == 0
    assert "3 rows = 3 accepted by myKaarma + 0 skipped + 0 need attention + 0 waiting" in rest.out
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1, "customer-2": 1, "-me_1": 2}


def test_a_test_customer_on_the_list_still_gets_the_campaigns_text(inside: World, sandbox: Sandbox) -> None:
    inside.write(customers(2))
    assert run(["send", "campaign.toml", "--yes", "--test-customer", "customer-1"]) == 0
    assert not (inside.folder / ".batchsend").exists()
    assert not (inside.folder / "results").exists()
    assert inside.send("--expect", "2").code == 0
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 2}


@pytest.mark.parametrize(
    ("customer", "code", "output"),
    [
        ("sandbox-opted-out-1", 1, "failed OPTED_OUT_COMMUNICATION_VALUE: "),
        ("sandbox-500-1", 1, "unconfirmed INTERNAL_SERVER_ERROR: "),
        (
            "sandbox-unauthorized-1",
            3,
            "The test was not sent.\nStopped: myKaarma does not accept the username",
        ),
    ],
)
def test_the_outcome_is_shown(
    inside: World, capfd: pytest.CaptureFixture[str], customer: str, code: int, output: str
) -> None:
    inside.write(customers(1))
    assert run(["send", "campaign.toml", "--yes", "--quiet", "--test-customer", customer]) == code
    assert capfd.readouterr().out.startswith(output)
    # An opted-out test customer is not recorded as an opt-out: no campaign text was refused.
    assert not (inside.folder / ".batchsend").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--row", "2"], "--row names the row for a test: add --test-customer UUID."),
        (["--test-customer", "me", "--limit", "1"], "sends one text and no run: leave --limit out"),
        (
            ["--test-customer", "me", "--log-format", "json"],
            "sends one text and no run: leave --log-format out",
        ),
        (["--test-customer", "me@example.com"], "is not a myKaarma customer id"),
        (["--test-customer", "out"], "--test-customer out: out.csv names this customer."),
        (["--test-customer", "me", "--row", "9"], "--row 9: "),
        (["--test-customer", "me", "--row", "3"], "--row 3: this row has no text to send (MISSING_VALUE"),
        (["--test-customer", "me", "--row", "4"], "--row 4: this row has no text to send (INVALID_PHONE"),
    ],
)
def test_wrong_options_and_rows_without_a_text_are_refused(
    inside: World, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], options: list[str], error: str
) -> None:
    rows = customers(3)
    rows[1]["First Name"] = ""
    rows[2]["Phone"] = "12"
    inside.write(rows, campaign='[recipients]\nsuppress = ["out.csv"]\n')
    (inside.folder / "out.csv").write_text("customer_uuid\nout\n", encoding="utf-8")
    assert run(["send", "campaign.toml", "--yes", *options]) == 2
    assert error in capfd.readouterr().err
    assert sandbox.requests() == []


def test_a_customer_whom_the_ledger_has_opted_out_is_refused(
    inside: World, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    inside.write([{**customers(1)[0], "Customer UUID": "sandbox-opted-out-1"}, customers(2)[1]])
    inside.send()
    assert (
        run(["send", "campaign.toml", "--yes", "--row", "3", "--test-customer", "sandbox-opted-out-1"]) == 2
    )
    assert "that this customer opted out" in capfd.readouterr().err
    assert len(sandbox.requests()) == 2


def test_a_customer_whose_own_text_is_in_question_is_refused_until_the_test_cannot_be_taken_for_it(
    inside: World, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    inside.write([{**customers(1)[0], "Customer UUID": "sandbox-502-1"}, *customers(2)[1:]])
    test = ["send", "campaign.toml", "--yes", "--row", "2", "--test-customer"]
    inside.send()
    assert run([*test, "sandbox-502-1"]) == 2
    said = "row 2 in run 1, and the test could be taken for that text. Nothing was sent. Try again after 20"
    assert said in capfd.readouterr().err
    assert len(sandbox.requests()) == 2
    # Others, and a rehearsal, are not concerned.
    assert run([*test, "customer-1"]) == 0
    assert run([*test, "sandbox-502-1", "--sandbox"]) == 1
    file = inside.folder / ".batchsend" / "ledger.db"
    with closing(open_ledger(f"sqlite:///{file}")) as ledger, ledger.write() as connection:
        connection.execute(update(messages).values(sent_at=to_text(now() - timedelta(minutes=60))))
    assert run([*test, "sandbox-502-1"]) == 2
    with closing(open_ledger(f"sqlite:///{file}")) as ledger, ledger.write() as connection:
        connection.execute(update(messages).values(sent_at=to_text(now() - timedelta(minutes=75))))
    assert run([*test, "sandbox-502-1"]) == 1  # 502 again: it was sent
    assert len(sandbox.requests()) == 4


def test_without_a_sendable_row_the_row_must_be_named(
    inside: World, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    inside.write([{"Customer UUID": "", "First Name": "A", "Phone": ""}])
    assert run(["send", "campaign.toml", "--yes", "--test-customer", "me"]) == 2
    assert "No row would be sent now, so there is no first text to test with." in capfd.readouterr().err
    assert sandbox.requests() == []


def test_sample_ids_are_refused(inside: World, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    inside.write(
        customers(1), campaign=re.sub("user_uuid = .*", 'user_uuid = "put-your-user-uuid-here"', CAMPAIGN)
    )
    assert run(["send", "campaign.toml", "--yes", "--test-customer", "me"]) == 2
    assert "`user_uuid` is still the sample id" in capfd.readouterr().err
    assert sandbox.requests() == []


def test_quiet_hours_do_not_delay_a_test(inside: World, sandbox: Sandbox) -> None:
    hours = '[sending]\nquiet_hours = { from = "00:00", to = "23:59", timezone = "America/Chicago" }\n'
    inside.write(customers(1), campaign=hours)
    assert run(["send", "campaign.toml", "--yes", "--test-customer", "me"]) == 0
    assert sandbox.texts() == {"me": 1}


def test_a_rehearsal_of_a_test_needs_no_credentials(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.environment = {"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": "", "MYKAARMA_BASE_URL": ""}
    world.write(customers(1))
    done = world.send("--sandbox", "--test-customer", "me")
    assert done.code == 0
    assert "Spring: rehearsal of a test, no text goes out; it isn't recorded\n" in done.out
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "campaign.toml",
        "customers.csv",
        "message.txt.j2",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal needs POSIX")
@pytest.mark.parametrize(("answer", "code", "texts"), [("1\n", 0, {"me": 1}), ("yes\n", 2, {})])
def test_a_terminal_asks_before_a_test(
    world: World, sandbox: Sandbox, answer: str, code: int, texts: dict[str, int]
) -> None:
    world.write(customers(3))
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*BATCHSEND, "send", "campaign.toml", "--test-customer", "me"],
        cwd=world.folder,
        env=world.env(),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == code, out
    assert "Type 1 to send 1 text, anything else to stop" in out
    assert sandbox.texts() == texts
