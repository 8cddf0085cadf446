"""The log of an unattended start: only JSON, and no personal data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from world import CAMPAIGN, PASSWORD, Finished, Sandbox, World, customers

from batchsend.cli.json_log import run_as_job
from batchsend.cli.main import run
from batchsend.errors import LedgerError
from batchsend.runs.api import load_campaign, prepare
from batchsend.runs.report import Report
from batchsend.runs.start import Start
from batchsend.sending.rows import Outcome
from batchsend.sending.sender import Event, OtherOutcomes
from batchsend.statuses import Status

JOB = ("--log-format", "json")


def events(done: Finished) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.err.splitlines()]


def test_a_line_for_each_event_and_one_object_for_the_end(world: World, sandbox: Sandbox) -> None:
    people = customers(3)
    people[1]["Customer UUID"] = "sandbox-locked-1"
    world.write(people)
    done = world.send(*JOB)
    assert done.code == 1
    planned, ended = events(done)
    assert (planned["event"], planned["texts"], planned["rows"]) == ("planned", 3, {"pending": 3})
    assert planned["campaign"] == "Spring"
    assert (ended["event"], ended["exit"]) == ("ended", 1)
    (summary,) = map(json.loads, done.out.splitlines())
    assert (summary["run"], summary["exit"], summary["rows"], summary["taken"]) == (1, 1, 3, 2)
    assert summary["rows"] == (
        summary["taken"] + summary["left_out"] + summary["needs_you"] + summary["waits"]
    )
    assert summary["statuses"] == {"accepted": 2, "failed": 1}
    assert {"status": "failed", "codes": "CUSTOMER_LOCKED", "rows": 1} in summary["codes"]
    assert summary["results"].endswith("campaign-1.xlsx")
    output = done.out + done.err
    for person in people:
        assert person["Phone"][-4:] not in output
        assert person["First Name"] not in output
    assert PASSWORD not in output
    # A start with nothing to send reports in the same form.
    again = world.send(*JOB)
    nothing, ended = events(again)
    assert (nothing["event"], nothing["texts"], ended["event"]) == ("planned", 0, "ended")
    assert (nothing["list"], nothing["last_run"]["run"]) == (str(world.folder / "customers.csv"), 1)
    end = json.loads(again.out)
    assert (end["planned"], end["list"]) == (0, str(world.folder / "customers.csv"))
    assert end["list_saved_at"] == planned["list_saved_at"]


def test_the_plan_names_its_list_the_ledger_and_what_looks_wrong(world: World, sandbox: Sandbox) -> None:
    people = [
        person | {"Timezone": zone} for person, zone in zip(customers(2), ("MST", "Nowhere"), strict=True)
    ]
    world.write(people, campaign='[sending]\nquiet_hours = { from = "03:00", to = "03:01" }\n')
    file = world.folder / "customers.csv"
    file.write_bytes(file.read_bytes().rstrip().removesuffix(b",Nowhere") + b",Nowhere\nc,Ann")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    planned = events(world.send(*JOB))[0]
    assert planned["list"] == str(file)
    assert planned["list_saved_at"] == "2023-11-14T22:13:20.000Z"
    assert planned["list_notes"] == ["its last line has no line end"]
    assert planned["list_cut_at"] == 4
    assert planned["unknown_zones"] == 1
    assert planned["ledger"] == str(world.folder / ".batchsend" / "ledger.db")
    assert (planned["known_since"], planned["last_run"]) == (None, None)
    world.write(customers(3, "others"))
    planned = events(world.send(*JOB))[0]
    assert planned["known_since"] == planned["last_run"]["began"]
    assert planned["last_run"]["run"] == 1
    assert planned["list_cut_at"] is None


#: A word in every cell of the list but the ids.
CELL = "Zebulon"
LISTS = [
    "template = 'message.txt.j2'",
    "[recipients]\nconsent = { column = 'First Name', yes = ['Y'] }",
    "[recipients]\nkey = ['First Name']",
    "[recipients]\nwhere = 'first_name | number > 3'",
    "[recipients]\nwhere = 'first_name < 3'",
    "[recipients]\nsuppress = ['customers.csv']",
    "[columns]\ntimezone = 'First Name'\n[sending]\nquiet_hours = 'TCPA'",
    "[columns]\nphone = 'First Name'",
    "[columns]\nuser_uuid = 'First Name'",
    "[columns]\ncustomer_uuid = 'First Name'",
    "[list_options]\ndelimiter = 'tab'",
    "[guards]\nmax_texts = 1",
]
TEMPLATES = [
    "Hi {{ first_name }}",
    "Hi {{ first_nam }}",
    "Hi {{ first_name | date }}",
    "Hi {{ first_name | money }} {{ 1 // 0 }}",
    "Hi {{ first_name[99] }} {{ first_name + 1 }}",
]


@pytest.mark.parametrize(
    ("more", "template"), [*((more, TEMPLATES[0]) for more in LISTS), *(("", text) for text in TEMPLATES)]
)
def test_no_line_quotes_a_cell(world: World, sandbox: Sandbox, more: str, template: str) -> None:
    people = [person | {"First Name": CELL, "Timezone": CELL, "Day": CELL} for person in customers(4)]
    people[1]["Day"] = f'{CELL}"\n"'
    text = CAMPAIGN.replace('user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"\n', "")
    if "user_uuid" not in more:
        text = CAMPAIGN
    if more.startswith("template"):
        text, more = (
            text.replace('template = "message.txt.j2"', ""),
            (
                "template_by = { column = 'Day', default = 'message.txt.j2', cases = { 'message.txt.j2' = ['x'] } }"
            ),
        )
    world.write(people, campaign=f"{text}\n{more}\n", template=template)
    done = world.send(*JOB, "--sandbox", "--strict")
    assert all(map(json.loads, [*done.err.splitlines(), *done.out.splitlines()]))
    assert CELL.casefold() not in (done.err + done.out).casefold()


def test_a_refused_start_is_an_event_with_its_reason(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3), campaign="[guards]\nmax_texts = 2\n")
    refused = world.send(*JOB)
    assert refused.code == 2
    first, ended = events(refused)
    assert first["event"] == "refused"
    assert "guards.max_texts is 2, but 3 texts would be sent." in first["message"]
    assert ended["exit"] == 2
    assert json.loads(refused.out)["exit"] == 2
    assert sandbox.requests() == []


def test_a_campaign_that_cannot_be_read_is_an_event_too(world: World) -> None:
    world.write(customers(1), campaign='name = "x"\nrate = 3\n')
    refused = world.send(*JOB)
    assert refused.code == 2
    assert events(refused)[0]["event"] == "refused"
    assert "campaign.toml" in events(refused)[0]["message"]


def test_without_yes_nothing_is_sent(world: World, sandbox: Sandbox) -> None:
    world.write(customers(1))
    done = world.run("send", "campaign.toml", *JOB)
    assert done.code == 2
    assert "Add --yes" in done.err
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["campaign.toml"], "Add --yes to send without a question."),
        (["campaign.toml", "--yes", "--rat", "3"], "No such option '--rat'"),
        (["campaign.toml", "--yes", "--limit", "many"], "'many' is not a valid integer"),
        (["--yes"], "Missing argument 'CAMPAIGN'"),
        (["campaign.toml", "--yes", "--test-customer", "abc"], "leave --log-format out"),
        (["none.toml", "--yes"], "none.toml"),
    ],
)
@pytest.mark.parametrize("option", [["--log-format", "json"], ["--log-format=json"]])
def test_a_wrong_command_line_is_an_event(
    world: World, arguments: list[str], message: str, option: list[str]
) -> None:
    world.write(customers(1))
    refused = world.run("send", *option, *arguments)
    assert refused.code == 2
    first, ended = events(refused)
    assert first["event"] == "refused"
    assert message in first["message"]
    assert (ended["event"], ended["exit"]) == ("ended", 2)
    assert json.loads(refused.out) | {"exit": 2} == json.loads(refused.out)


@pytest.mark.parametrize(
    ("error", "event", "code"),
    [
        (KeyboardInterrupt(), "interrupted", 130),
        (RuntimeError("+13125550142"), "stopped", 3),
        (PermissionError(13, "Permission denied", "ledger.db"), "refused", 2),
    ],
)
def test_interrupts_and_bugs_are_events(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    event: str,
    code: int,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("batchsend.cli.main.cli.invoke", fail)
    assert run(["send", str(world.folder / "campaign.toml"), "--yes", *JOB]) == code
    out, err = capsys.readouterr()
    first, ended = map(json.loads, err.splitlines())
    assert (first["event"], ended["event"], ended["exit"]) == (event, "ended", code)
    assert json.loads(out)["exit"] == code
    assert "5550142" not in out + err


@pytest.mark.parametrize(
    ("command", "event", "code"),
    [("stop", "interrupted", 130), ("refuse", "stopped", 3)],
)
def test_why_a_run_ended_early_is_an_event(
    world: World, sandbox: Sandbox, command: str, event: str, code: int
) -> None:
    people = customers(30)
    if command == "refuse":
        people[3]["Customer UUID"] = "sandbox-forbidden-1"
    world.write(people, campaign="[sending]\nrate = 5\nconcurrency = 1\n")
    process = world.start("send", "campaign.toml", "--yes", *JOB)
    sandbox.wait_for(2)
    if command == "stop":
        assert world.run("stop", "campaign.toml").code == 0
    out, err = process.communicate(timeout=60)
    planned, *_, why, ended = map(json.loads, err.splitlines())
    assert [one["event"] for one in (planned, why, ended)] == ["planned", event, "ended"]
    assert (process.returncode, ended["exit"]) == (code, code)
    assert why["message"] == json.loads(out)["message"]
    assert why["message"]


def test_progress_is_a_line_every_ten_seconds_with_all_counts_so_far(world: World) -> None:
    world.write(customers(1))
    seconds = 0.0
    log: list[str] = []

    def sends(_start: Start, *, listener: Callable[[Event], None], **_: object) -> Report:
        nonlocal seconds
        for number in range(2100):
            seconds = number / 100
            listener(Outcome(number, Status.ACCEPTED))
        seconds = 30.0
        listener(OtherOutcomes({"failed": 7}))
        raise LedgerError("The disk is full.")

    start = partial(prepare, load_campaign(world.folder / "campaign.toml"))
    assert run_as_job(start, sends, log.append, log.append, clock=lambda: seconds) == 2
    progress = [event for event in map(json.loads, log) if event.get("event") == "progress"]
    assert [(event["done"], event["rows"]) for event in progress] == [
        (1001, {"accepted": 1001}),
        (2001, {"accepted": 2001}),
        (2107, {"accepted": 2100, "failed": 7}),
    ]
