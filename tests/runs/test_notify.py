"""`[notify]`: people are told how a start ended, and no problem with that changes how it ended."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from free_ports import free_port
from notices import Hook, Mailbox, running_hook, running_mail_server
from packages import installed, write_package
from world import Sandbox, World, customers

from batchsend.campaigns.file import load_campaign
from batchsend.runs import notify
from batchsend.runs.notify import Notice, body_for

ALWAYS = '[notify]\nwhen = "always"\n'


@pytest.fixture
def hook() -> Iterator[Hook]:
    with running_hook() as running:
        yield running


@pytest.fixture
def mail_server() -> Iterator[tuple[str, Mailbox]]:
    with running_mail_server() as running:
        yield running


def with_a_refused_row(count: int = 3) -> list[dict[str, str]]:
    rows = customers(count)
    rows[1]["Customer UUID"] = "sandbox-locked-1"
    return rows


def test_a_run_that_needs_attention_is_told(world: World, sandbox: Sandbox, hook: Hook) -> None:
    world.write(with_a_refused_row(), campaign=f'[notify]\nurl = "{hook.url}"\n')
    assert world.send().code == 1
    [body] = hook.bodies()
    title, summary, problem = body.pop("text").splitlines()
    assert title == "Spring, run 1: done, and some rows need attention"
    assert summary == "3 rows = 2 accepted by myKaarma + 0 skipped + 1 need attention + 0 waiting"
    assert problem.startswith("1 row failed (CUSTOMER_LOCKED): ")
    assert body == {"campaign": "Spring", "run": 1, "exit": 1, "attention": True}
    assert len(sandbox.requests()) == 3


@pytest.mark.parametrize("when", ["attention", "always"])
def test_a_run_that_needs_no_one_is_told_only_where_that_is_wanted(
    world: World, sandbox: Sandbox, hook: Hook, when: str
) -> None:
    world.write(customers(2), campaign=f'[notify]\nurl = "{hook.url}"\nwhen = "{when}"\n')
    done = world.send("--log-format", "json")
    assert done.code == 0, sandbox.requests()
    told = [body["text"].splitlines()[0] for body in hook.bodies()]
    assert told == (["Spring, run 1: done"] if when == "always" else [])
    assert json.loads(done.out)["undelivered_notices"] == []


def test_a_notice_has_no_phone_and_no_text(world: World, sandbox: Sandbox, hook: Hook) -> None:
    rows = with_a_refused_row(4)
    rows[3]["Phone"] = "not a phone"
    world.write(rows, campaign=f'{ALWAYS}url = "{hook.url}"\n')
    assert world.send().code == 1
    said = json.dumps(hook.bodies())
    assert len(sandbox.requests()) == 3
    for secret in ("Name0", "time for your service", "500-0000", "5000000", "not a phone", "customer-0"):
        assert secret not in said


def test_a_start_that_is_refused_is_told(world: World, sandbox: Sandbox, hook: Hook) -> None:
    world.write(customers(3), campaign=f'[notify]\nurl = "{hook.url}"\n[guards]\nmax_texts = 2\n')
    refused = world.send()
    assert refused.code == 2
    [body] = hook.bodies()
    assert body["text"].splitlines()[0] == "Spring: not sent"
    assert "max_texts" in body["text"]
    assert body["exit"] == 2
    assert not sandbox.requests()


def test_a_refusal_for_the_texts_is_told_without_their_words(
    world: World, sandbox: Sandbox, hook: Hook
) -> None:
    rows = customers(2)
    rows[1]["First Name"] = "Gina de de"
    world.write(rows, campaign=f'[notify]\nurl = "{hook.url}"\n[guards]\nlint = "error"\n')
    refused = world.send("--log-format", "json")
    assert refused.code == 2
    [body] = hook.bodies()
    assert "A word twice (doubled_word): row 3." in body["text"]
    assert "de de" not in json.dumps(body) + refused.out + refused.err
    assert "“de de” has a word twice (row 3)" in world.run("preview", "campaign.toml").out
    assert not sandbox.requests()


def test_a_run_that_stops_is_told_with_what_to_do(world: World, sandbox: Sandbox, hook: Hook) -> None:
    rows = customers(3)
    rows[0]["Customer UUID"] = "sandbox-garbage"
    sending = "[sending]\nstop_after_failures = 1\nconcurrency = 1\n"
    world.write(rows, campaign=f'[notify]\nurl = "{hook.url}"\n{sending}')
    assert world.send().code == 3
    [body] = hook.bodies()
    title, *lines = body["text"].splitlines()
    assert title == "Spring, run 1: sending stopped"
    assert lines[-1] == "Run the same command again to continue; nobody is texted twice."
    assert body["exit"] == 3
    assert len(sandbox.requests()) == 1


def test_a_declined_start_and_a_rehearsal_tell_no_one(world: World, sandbox: Sandbox, hook: Hook) -> None:
    world.write(customers(2), campaign=f'{ALWAYS}url = "{hook.url}"\n')
    assert world.ask("send", "campaign.toml", answer="no").code == 2
    assert world.send("--sandbox").code == 0
    assert world.run("preview", "campaign.toml").code == 0
    assert hook.bodies() == []
    assert not sandbox.requests()


@pytest.mark.parametrize("problem", ["no server", 500, 302])
def test_a_notice_that_cannot_be_delivered_changes_nothing(
    world: World, sandbox: Sandbox, hook: Hook, problem: int | str
) -> None:
    url = hook.url
    if isinstance(problem, int):
        hook.status = problem
    else:
        url = f"http://127.0.0.1:{free_port()}/services/secret-of-the-channel"
    world.write(customers(2), campaign=f'{ALWAYS}url = "{url}"\n')
    done = world.send()
    assert done.code == 0
    assert len(sandbox.requests()) == 2
    assert "The notice to 127.0.0.1 was not delivered: " in done.out
    assert "Check `url` under [notify]" in done.out
    assert "secret-of-the-channel" not in done.out + done.err
    with closing(sqlite3.connect(world.folder / ".batchsend" / "ledger.db")) as ledger:
        [about] = ledger.execute("SELECT about FROM runs").fetchone()
    assert json.loads(about)["undelivered_notices"].startswith("The notice to 127.0.0.1 was not delivered: ")
    # A redirect is not followed.
    assert len(hook.bodies()) == (0 if problem == "no server" else 1)


def test_a_refusal_says_that_its_notice_was_not_delivered(world: World) -> None:
    url = f"http://127.0.0.1:{free_port()}/secret-of-the-channel"
    world.write(customers(3), campaign=f'[notify]\nurl = "{url}"\n[guards]\nmax_texts = 2\n')
    refused = world.send()
    assert refused.code == 2
    assert "The notice to 127.0.0.1 was not delivered" in refused.err
    assert "secret-of-the-channel" not in refused.err


def test_an_e_mail_has_the_title_as_its_subject(
    world: World, sandbox: Sandbox, mail_server: tuple[str, Mailbox]
) -> None:
    url, mailbox = mail_server
    world.environment["BATCHSEND_SMTP_URL"] = f"{url}?from=texts@dealer.example"
    world.write(
        with_a_refused_row(),
        campaign='[notify]\nemail = ["manager@dealer.example", "bdc@dealer.example"]\n',
    )
    done = world.send()
    assert done.code == 1, done.err
    [mail] = mailbox.messages
    assert mail["Subject"] == "Spring, run 1: done, and some rows need attention"
    assert mail["From"] == "texts@dealer.example"
    assert mail["To"] == "manager@dealer.example, bdc@dealer.example"
    assert "3 rows = 2 accepted by myKaarma" in mail.get_payload(decode=True).decode()
    assert len(sandbox.requests()) == 3


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (None, "BATCHSEND_SMTP_URL is not set"),
        ("smtp://user:pa55word@127.0.0.1:{closed}", "Check BATCHSEND_SMTP_URL"),
        ("mail.example.com", "BATCHSEND_SMTP_URL is not an address such as"),
        ("smtp://user:pa55word@127.0.0.1:{open}", "Check BATCHSEND_SMTP_URL"),
    ],
)
def test_a_mail_server_that_cannot_be_used_changes_nothing(
    world: World, sandbox: Sandbox, mail_server: tuple[str, Mailbox], url: str | None, sentence: str
) -> None:
    if url is not None:
        port = mail_server[0].rpartition(":")[2]
        world.environment["BATCHSEND_SMTP_URL"] = url.format(closed=free_port(), open=port)
    world.write(customers(2), campaign=f'{ALWAYS}email = ["manager@dealer.example"]\n')
    done = world.send()
    assert done.code == 0
    assert "The notice by e-mail was not delivered: " in done.out
    assert sentence in done.out
    assert "pa55word" not in done.out + done.err
    assert len(sandbox.requests()) == 2
    assert mail_server[1].messages == []


def test_teams_gets_a_card_and_slack_only_text() -> None:
    notice = Notice("Spring", "Spring, run 1: done", ("3 rows",), needs_attention=False, run=1, exit_code=0)
    card = body_for("https://prod-1.westus.logic.azure.com/workflows/1", notice)
    [attachment] = card["attachments"]
    assert [block["text"] for block in attachment["content"]["body"]] == ["Spring, run 1: done", "3 rows"]
    assert body_for("https://hooks.slack.com/services/1", notice) == {"text": "Spring, run 1: done\n3 rows"}


def test_a_notice_to_a_server_that_never_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_LONGEST", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/secret-of-the-channel"
        World(tmp_path).write(campaign=f'{ALWAYS}url = "{url}"\n')
        notice = notify.notice_of_problem("Spring", "It was not sent.")
        assert notify.tell(load_campaign(tmp_path / "campaign.toml"), None, notice) == [
            "The notice was not delivered within 0 seconds. Check [notify] and BATCHSEND_SMTP_URL."
        ]


NOTIFIERS = """
import sys
from threading import Event
from batchsend.errors import BatchsendError

def works(notice, address):
    print(address, notice.title, notice.run)

def raises(notice, address):
    raise ValueError(address)

def explains(notice, address):
    raise BatchsendError("The channel is closed.")

def ends(notice, address):
    sys.exit(1)

def hangs(notice, address):
    Event().wait()

def answers(notice, address):
    return 5
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("works", None),
        ("raises", "failed (ValueError, tell.py, line 10). Update the package, or ask its author."),
        ("explains", "failed: The channel is closed."),
        ("ends", "failed (SystemExit, tell.py, line 16). Update the package, or ask its author."),
        ("hangs", "took more than 0.1 seconds and was given up. Update the package, or ask its author."),
        ("answers", "gave int, and it has to give nothing. Update the package, or ask its author."),
    ],
)
def test_a_notifier_of_a_package(
    name: str,
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(notify, "_TIMEOUT", 0.1 if name == "hangs" else 20)
    World(tmp_path).write(campaign=f'{ALWAYS}notifiers = {{ {name} = "Service" }}\n')
    write_package(tmp_path / "packages", "tell", NOTIFIERS, notifiers=f"{name} = tell:{name}")
    notice = notify.notice_of_problem("Spring", "It was not sent.")
    campaign = load_campaign(tmp_path / "campaign.toml")
    with installed(tmp_path / "packages"):
        problems = notify.tell(campaign, None, notice)
    what = f'The notifier "{name}" of the package tell 1.0 (tell:{name})'
    assert problems == ([f"The notice by {name} was not delivered: {what} {said}"] if said else [])
    assert capsys.readouterr().out == ("" if said else "Service Spring: not sent None\n")
    # A worker without the package says so.
    [missing] = notify.tell(campaign, None, notice)
    assert missing.startswith(
        f'The notice by {name} was not delivered: No package with the notifier "{name}" is installed on this'
    )
