"""Which values `--resend` accepts: a value that nothing matches would send only the rest of the list."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from world import Sandbox, World, customers

from batchsend.errors import GuardError
from batchsend.mykaarma.protocol import API_CODES
from batchsend.planning.resend import check_resend
from batchsend.statuses import OPTED_OUT, Code


def nothing_recorded() -> set[str]:
    return set()


def recorded() -> set[str]:
    return {"", "CARRIER_VIOLATION", "TIMEOUT"}


@pytest.mark.parametrize("what", ["failed", "unconfirmed", "HTTP_418", *Code, *sorted(API_CODES - OPTED_OUT)])
def test_known_values_are_accepted_without_a_look_into_the_ledger(what: str) -> None:
    def not_called() -> set[str]:
        raise AssertionError("the ledger is large")

    check_resend(what, not_called)


def test_a_code_that_stands_in_the_ledger_is_accepted() -> None:
    check_resend("CARRIER_VIOLATION", recorded)


@pytest.mark.parametrize(
    ("what", "hint"),
    [
        # Letter case, spaces and hyphens; spelling.
        ("timeout", "Did you mean --resend TIMEOUT?"),
        ("Failed", "Did you mean --resend failed?"),
        ("FAILED", "Did you mean --resend failed?"),
        ("customer-locked", "Did you mean --resend CUSTOMER_LOCKED?"),
        (" failed", "Did you mean --resend failed?"),
        ("unconfrimed", "Did you mean --resend unconfirmed?"),
        ("TIME_OUT", "Did you mean --resend TIMEOUT?"),
        ("CUSTOMER_LOCKD", "Did you mean --resend CUSTOMER_LOCKED?"),
        ("CARRIER_VIOLATIONS", "Did you mean --resend CARRIER_VIOLATION?"),
        # Never the opted-out, however near.
        ("OPTED_OUT_COMMUNICATION_VALU", "Did you mean --resend INVALID_COMMUNICATION_VALUE?"),
        # Nothing is near.
        ("everything", "Write --resend failed, --resend unconfirmed, or an error code"),
        ("all", "Write --resend failed, --resend unconfirmed, or an error code"),
        ("HTTP_5000", "Write --resend failed, --resend unconfirmed, or an error code"),
        ("failed,unconfirmed", "Did you mean --resend"),
        ("", "only `failed` and `unconfirmed` rows can be sent again."),
        ("accepted", "only `failed` and `unconfirmed` rows can be sent again."),
    ],
)
def test_unknown_values_are_refused_with_the_nearest_known(what: str, hint: str) -> None:
    with pytest.raises(GuardError) as refused:
        check_resend(what, recorded)
    assert str(refused.value).startswith(f"--resend {what}: ")
    assert hint in str(refused.value)


@pytest.mark.parametrize("command", ["preview", "send", "rehearse"])
def test_an_unknown_value_sends_nothing_and_creates_no_ledger(
    world: World, sandbox: Sandbox, command: str
) -> None:
    world.write(customers(3))
    arguments = {
        "preview": ["preview"],
        "send": ["send", "--yes"],
        "rehearse": ["send", "--yes", "--sandbox"],
    }
    done = world.run(*arguments[command], "campaign.toml", "--resend", "everything")
    assert done.code == 2
    assert "--resend everything: this is no known error code, and no row in the ledger has it." in done.err
    assert sandbox.requests() == []
    assert not (world.folder / ".batchsend").exists()


def test_a_code_of_an_earlier_run_is_known(world: World, sandbox: Sandbox) -> None:
    world.write([{"Customer UUID": "sandbox-locked-1", "First Name": "Ann", "Phone": ""}])
    world.send()
    with closing(sqlite3.connect(world.folder / ".batchsend" / "ledger.db")) as ledger:
        ledger.execute("UPDATE messages SET codes = 'CARRIER_VIOLATION; SPAM'")
        ledger.commit()
    assert world.send("--resend", "Spam").err.rstrip().endswith("Did you mean --resend SPAM?")
    assert world.send("--resend", "SPAM").code == 1
    # The first outcome was replaced, and its code is still known.
    assert world.send("--resend", "SPAM").code == 1
    assert len(sandbox.requests()) == 2
