"""The main job with the installed command: sending a campaign, and starting it again."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest
from world import PASSWORD, USERNAME, Sandbox, World, customers, read_results, running_sandbox, running_world

from batchsend.ledger.dismissals import dismiss, dismissals_of, restore
from batchsend.ledger.opening import open_ledger

BROKEN = [
    {"Customer UUID": "", "First Name": "Nobody", "Phone": "(312) 555-0190"},
    {"Customer UUID": "customer-blank", "First Name": "", "Phone": "(312) 555-0191"},
    {"Customer UUID": "customer-phone", "First Name": "Ann", "Phone": "12"},
    {"Customer UUID": "sandbox-opted-out-1", "First Name": "Bo", "Phone": "(312) 555-0192"},
    {"Customer UUID": "sandbox-500-1", "First Name": "Cy", "Phone": "(312) 555-0193"},
    {"Customer UUID": "customer-0", "First Name": "Name0", "Phone": "(312) 500-0000"},
]


def statuses(world: World, number: int = 1) -> dict[int, tuple[str, str | None]]:
    return {row: (values["status"], values["errorCodes"]) for row, values in world.workbook(number).items()}


def test_every_row_is_in_the_results_once_with_its_outcome(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3) + BROKEN)
    done = world.send()
    assert done.code == 1
    assert "9 rows = 3 accepted by myKaarma + 1 skipped + 5 need attention + 0 waiting\n" in done.out
    assert done.out.endswith("Results: results/campaign-1.xlsx\nReport: results/campaign-1.html\n")
    assert statuses(world) == {
        2: ("accepted", None),
        3: ("accepted", None),
        4: ("accepted", None),
        5: ("invalid", "MISSING_CUSTOMER_UUID"),
        6: ("invalid", "MISSING_VALUE"),
        7: ("invalid", "INVALID_PHONE"),
        8: ("failed", "OPTED_OUT_COMMUNICATION_VALUE"),
        9: ("unconfirmed", "INTERNAL_SERVER_ERROR"),
        10: ("skipped", "DUPLICATE"),
    }
    sent = {request["customerUUID"]: request for request in sandbox.requests()}
    first = world.workbook()[2]
    assert first["messageUUID"] == sent["customer-0"]["messageUUID"]
    assert first["message"] == sent["customer-0"]["body"] == "Hi Name0, it is time for your service."
    assert first["phone"] == sent["customer-0"]["phone"] == "+13125000000"
    assert first["First Name"] == "Name0"
    assert sent["customer-0"]["callbackMetaData"]["batchsendRow"] == "2"


def test_a_second_start_sends_nothing_and_shows_the_state(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3) + BROKEN)
    world.send()
    before, received = statuses(world), len(sandbox.requests())
    again = world.send()
    assert again.code == 1
    assert "Nothing was left to send." in again.out
    assert "9 rows = 3 accepted by myKaarma + 1 skipped + 5 need attention + 0 waiting" in again.out
    assert statuses(world) == before
    assert len(sandbox.requests()) == received


def test_a_row_added_is_one_text_more(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3))
    assert world.send().code == 0
    first = world.workbook(1)
    world.write_list(customers(4))
    done = world.send()
    assert done.code == 0
    assert sandbox.texts() == {f"customer-{number}": 1 for number in range(4)}
    assert [status for status, _ in statuses(world, 2).values()] == ["skipped"] * 3 + ["accepted"]
    earlier = world.workbook(2)[2]
    assert earlier["errorCodes"] == "ALREADY_SENT"
    assert (earlier["messageUUID"], earlier["sentAtUTC"], earlier["run"]) == (
        first[2]["messageUUID"],
        first[2]["sentAtUTC"],
        1,
    )


def test_after_a_kill_no_customer_is_texted_twice_and_none_is_lost(tmp_path: Path) -> None:
    with running_world(tmp_path, "--latency", "0.05") as (world, sandbox):
        world.write(customers(200), campaign="[sending]\nrate = 400\nconcurrency = 10\n")
        process = world.start("send", "campaign.toml", "--yes")
        sandbox.wait_for(50)
        process.kill()
        process.communicate()
        assert world.run("stop", "1").out == (
            "Run 1 is not running; nothing to stop. Its state: not ended: its process was killed. Run the same "
            "command again to continue.\n"
        )
        done = world.send()
        assert max(sandbox.texts().values()) == 1
        outcome = statuses(world)
        assert sorted(outcome) == list(range(2, 202))
        interrupted = [row for row, codes in outcome.items() if codes == ("unconfirmed", "INTERRUPTED")]
        assert len(interrupted) <= 20
        assert set(outcome.values()) <= {("accepted", None), ("unconfirmed", "INTERRUPTED")}
        assert done.code == (1 if interrupted else 0)
        # The server's record has a text to every customer who was not interrupted.
        texted = set(sandbox.texts())
        assert {f"customer-{row - 2}" for row in outcome if row not in interrupted} <= texted


def test_an_interrupt_finishes_texts_in_flight_and_the_next_start_sends_the_rest(tmp_path: Path) -> None:
    with running_world(tmp_path, "--latency", "0.2") as (world, sandbox):
        world.write(customers(60), campaign="[sending]\nrate = 20\n")
        process = world.start("send", "campaign.toml", "--yes")
        sandbox.wait_for(10)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Run the same command again to continue." in out
        counts = [status for status, _ in statuses(world).values()]
        assert set(counts) == {"accepted", "pending"}
        assert {codes for status, codes in statuses(world).values() if status == "pending"} == {"STOPPED"}
        assert world.send().code == 0
        assert set(sandbox.texts().values()) == {1}
        assert len(sandbox.texts()) == 60


def test_wrong_credentials_stop_the_run_at_the_first_answer(world: World, sandbox: Sandbox) -> None:
    rows = [{"Customer UUID": "sandbox-unauthorized-1", "First Name": "A", "Phone": ""}, *customers(50)]
    world.write(rows, campaign="[sending]\nconcurrency = 1\n")
    done = world.send()
    assert done.code == 3
    assert "Stopped: myKaarma does not accept the username and password (NOT_AUTHORIZED_REQUEST)." in done.out
    assert "does not accept the username and password" in done.out
    assert "Check both, and that this account may send texts" in done.out
    assert set(statuses(world).values()) == {("pending", "STOPPED")}
    assert len(sandbox.requests()) == 1


def test_the_credentials_are_in_no_output_and_no_file(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3) + BROKEN)
    outputs = [
        world.send(),
        world.run("preview", "campaign.toml"),
        world.run("runs"),
        world.run("results", "1"),
    ]
    for output in outputs:
        assert PASSWORD not in output.out + output.err
        assert USERNAME not in output.out + output.err
    files = [file for file in world.folder.rglob("*") if file.is_file()]
    assert any(file.name == "ledger.db" for file in files)
    for file in files:
        content = file.read_bytes()
        assert PASSWORD.encode() not in content, file
        assert USERNAME.encode() not in content, file


def test_limit_holds_the_others_back(world: World, sandbox: Sandbox) -> None:
    world.write(customers(5))
    done = world.send("--limit", "2")
    assert done.code == 0
    assert "5 rows = 2 accepted by myKaarma + 0 skipped + 0 need attention + 3 waiting" in done.out
    assert "3 rows held back by --limit: run it again without --limit to send them." in done.out
    assert [statuses(world)[row] for row in (4, 5, 6)] == [("pending", "HELD_BACK")] * 3
    assert world.send().code == 0
    assert sandbox.texts() == {f"customer-{number}": 1 for number in range(5)}


def test_a_changed_template_is_reported_and_used_for_the_rest(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3))
    world.send("--limit", "1")
    world.write(template="Dear {{ first_name }}, please call us.")
    done = world.send()
    assert "The template has changed: 1 text already went out with the old one." in done.out
    assert [request["body"] for request in sandbox.requests()] == [
        "Hi Name0, it is time for your service.",
        "Dear Name1, please call us.",
        "Dear Name2, please call us.",
    ]


def test_another_list_closes_the_untried_rows_of_the_run_before(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3))
    world.send("--limit", "1")
    world.write_list(customers(2, prefix="other"))
    done = world.send()
    assert "Run 1 had 2 rows not yet tried. This is a new list, so they were closed (CLOSED)." in done.out
    world.run("results", "1")
    assert statuses(world, 1) == {
        2: ("accepted", None),
        3: ("skipped", "CLOSED"),
        4: ("skipped", "CLOSED"),
    }
    assert sandbox.texts() == {"customer-0": 1, "other-0": 1, "other-1": 1}


def test_resend_sends_the_failed_again_but_never_the_opted_out(world: World, sandbox: Sandbox) -> None:
    rows = [
        {"Customer UUID": name, "First Name": "A", "Phone": f"(312) 555-01{number:02}"}
        for number, name in enumerate(
            ["sandbox-locked-1", "sandbox-opted-out-1", "sandbox-500-1", "customer-1"]
        )
    ]
    world.write(rows)
    world.send()
    done = world.send("--resend", "failed")
    assert done.code == 1
    received = [request["customerUUID"] for request in sandbox.requests()]
    assert received.count("sandbox-locked-1") == 2
    assert received.count("sandbox-opted-out-1") == received.count("sandbox-500-1") == 1
    assert received.count("customer-1") == 1
    unattended = world.send("--resend", "unconfirmed")
    assert unattended.code == 2
    assert "may have been sent already, and there is no terminal to ask on" in unattended.err
    assert world.send("--resend", "unconfirmed", "--expect", "1").code == 1
    received = [request["customerUUID"] for request in sandbox.requests()]
    assert received.count("sandbox-500-1") == 2
    assert sandbox.requests()[-1]["callbackMetaData"]["batchsendSend"] == "2"


def test_resend_leaves_dismissed_rows_out_until_the_dismissal_is_taken_back(
    world: World, sandbox: Sandbox
) -> None:
    world.write([{**row, "Customer UUID": f"sandbox-locked-{n}"} for n, row in enumerate(customers(2), 1)])
    world.send()
    url = f"sqlite:///{world.folder / '.batchsend' / 'ledger.db'}"
    with closing(open_ledger(url)) as ledger:
        assert dismiss(ledger, 1, "failed", "CUSTOMER_LOCKED", 2, reason="They called.", by="dana")
        left = world.send("--resend", "failed")
        assert "Left out because they were dismissed on the page of the run: 2 rows." in left.out + left.err
        assert len(sandbox.requests()) == 2
        (one,) = dismissals_of(ledger, [1])
        assert restore(ledger, 1, one.id, "dana")
    world.send("--resend", "failed")
    assert len(sandbox.requests()) == 4


def test_a_rehearsal_does_what_the_start_would_and_leaves_nothing_behind(
    world: World, sandbox: Sandbox
) -> None:
    world.write(customers(3))
    world.send("--limit", "1")
    rehearsal = world.send("--sandbox")
    assert "3 rows = 3 accepted by myKaarma + 0 skipped + 0 need attention + 0 waiting" in rehearsal.out
    assert len(sandbox.requests()) == 1
    rows = read_results(world.folder / "results" / "campaign-rehearsal.xlsx")
    assert [row["status"] for row in rows.values()] == ["accepted"] * 3
    assert world.send().code == 0
    assert sandbox.texts() == {f"customer-{number}": 1 for number in range(3)}


def test_a_rehearsal_needs_no_credentials_and_no_ledger(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.environment = {"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": "", "MYKAARMA_BASE_URL": ""}
    world.write(customers(2))
    assert world.send("--sandbox").code == 0
    assert not (tmp_path / ".batchsend").exists()


def test_a_second_start_during_the_first_is_refused(tmp_path: Path) -> None:
    with running_world(tmp_path, "--latency", "0.5") as (world, sandbox):
        world.write(customers(60), campaign="[sending]\nrate = 1\n")
        process = world.start("send", "campaign.toml", "--yes")
        sandbox.wait_for(1)
        second = world.send()
        assert second.code == 4
        assert '"Spring" is being sent by another process.' in second.err
        stopped = world.run("stop", "campaign.toml")
        assert stopped.code == 0
        assert "Run 1 was asked to stop" in stopped.out
        process.communicate(timeout=60)
        assert process.returncode == 130
        idle = world.run("stop", "1")
        assert idle.out == "Run 1 is not running; nothing to stop. Its state: ended: a stop was requested.\n"


def test_without_a_terminal_yes_is_needed(world: World, sandbox: Sandbox) -> None:
    world.write(customers(1))
    done = world.run("send", "campaign.toml")
    assert done.code == 2
    assert "There is no terminal to ask on. Add --yes to send without a question." in done.err
    assert sandbox.requests() == []


def test_expect_guards_the_number_of_texts(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3))
    refused = world.send("--expect", "4")
    assert refused.code == 2
    assert "--expect 4, but 3 texts would be sent now. Nothing was sent." in refused.err
    assert sandbox.requests() == []
    assert world.send("--expect", "3").code == 0


def test_strict_sends_nothing_when_a_row_is_invalid(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3) + BROKEN)
    done = world.send("--strict")
    assert done.code == 2
    assert "3 rows are invalid, so --strict sends nothing." in done.err
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        # A renamed campaign would text all customers again.
        ({"campaign": 'name = "Summer"'}, 'this campaign was sent under the name "Spring" before'),
        # With another key, it is unknown who already has the text.
        (
            {"campaign": '[recipients]\nkey = ["Customer UUID", "Phone"]\n'},
            "the key of this campaign is the customer's id and \"Phone\", but it was sent with the customer's id.",
        ),
    ],
)
def test_changes_that_would_lose_the_history_are_refused(
    world: World, sandbox: Sandbox, change: dict[str, str], sentence: str
) -> None:
    world.write(customers(2))
    world.send()
    text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    text = (
        text.replace('name = "Spring"', change["campaign"])
        if "name" in change["campaign"]
        else text + change["campaign"]
    )
    (world.folder / "campaign.toml").write_text(text, encoding="utf-8")
    done = world.send()
    assert done.code == 2
    assert sentence in done.err
    assert len(sandbox.requests()) == 2


def test_a_copied_campaign_file_is_refused(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send()
    copy = world.folder / "copy.toml"
    copy.write_bytes((world.folder / "campaign.toml").read_bytes())
    done = world.run("send", "copy.toml", "--yes")
    assert done.code == 2
    assert 'another campaign file has this name, "Spring"' in done.err
    (world.folder / "campaign.toml").unlink()
    moved = world.run("send", "copy.toml", "--yes")
    assert moved.code == 0
    assert "Nothing was left to send." in moved.out
    assert len(sandbox.requests()) == 2


def test_formerly_keeps_the_history_and_new_campaign_starts_without(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send()
    file = world.folder / "campaign.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('name = "Spring"', 'name = "Summer"\nformerly = "Spring"'), encoding="utf-8")
    assert "Nothing was left to send." in world.send().out
    file.write_text(text.replace('name = "Spring"', 'name = "Autumn"'), encoding="utf-8")
    assert world.send().code == 2
    assert world.send("--new-campaign").code == 0
    assert set(sandbox.texts().values()) == {2}


def test_the_history_counts_for_one_base_url_only(world: World, sandbox: Sandbox, tmp_path: Path) -> None:
    world.write(customers(2))
    world.send()
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    with running_sandbox(other_folder) as other:
        world.base_url = other.base_url
        assert world.send().code == 0
        assert len(other.texts()) == 2


@pytest.mark.parametrize(
    ("answer", "code", "texts"),
    [
        ("3", 0, 3),  # the number of texts
        # Any other answer sends nothing.
        ("y", 2, 0),
        ("yes", 2, 0),
        ("", 2, 0),
        ("30", 2, 0),  # it begins with the number
    ],
)
def test_a_terminal_asks_for_the_number_of_texts(
    world: World, sandbox: Sandbox, answer: str, code: int, texts: int
) -> None:
    world.write(customers(3))
    done = world.ask("send", "campaign.toml", answer=answer)
    assert done.code == code
    assert "Hi Name0, it is time for your service." in done.out
    assert "This campaign has never been sent." in done.out
    assert len(sandbox.requests()) == texts
    if code:
        # A declined start is not recorded.
        assert "Nothing has been sent yet." in world.run("runs").out
