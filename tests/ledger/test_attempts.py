"""`batchsend history`: who was sent what, when and by whom."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
from pathlib import Path

import click
import pytest
from ledgers import planned, store_plan
from sqlalchemy import update
from world import CAMPAIGN, Sandbox, World, customers

from batchsend.cli.main import cli
from batchsend.ledger.attempts import of_name
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import runs

LOCKED = {"Customer UUID": "sandbox-locked-1", "First Name": "Ann", "Phone": "(312) 555-0101"}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_all_campaigns_and_replaced_sends_with_text_sender_and_hashes(world: World, sandbox: Sandbox) -> None:
    world.write([LOCKED, *customers(1)])
    first_list, template = sha256(world.folder / "customers.csv"), world.folder / "message.txt.j2"
    first_template = sha256(template)
    world.send()
    template.write_text("Hello {{ first_name }}, once more.", encoding="utf-8")
    world.send("--resend", "failed")
    world.write_list([LOCKED], "others.csv")
    (world.folder / "other.toml").write_text(
        CAMPAIGN.replace("Spring", "Other").replace("customers.csv", "others.csv"), encoding="utf-8"
    )
    world.run("send", "other.toml", "--yes")
    world.run("optouts", "add", "--phone", "312-555-0101", "--reason", "wrong number")
    done = world.run("history", "--phone", "312-555-0101")
    assert done.code == 0
    latest, resent, first = re.split(r"^(?=\d{4}-\d\d-\d\d \d\d:)", done.out, flags=re.MULTILINE)[1:]
    assert "failed CUSTOMER_LOCKED  Other, run 2, row 2" in latest
    assert "failed CUSTOMER_LOCKED  Spring, run 1, row 2" in resent
    assert "| Hello Ann, once more." in resent
    assert "failed CUSTOMER_LOCKED  Spring, run 1, row 2" in first
    assert "| Hi Ann, it is time for your service." in first
    one_line = " ".join(first.split())
    assert f"sent by {getpass.getuser()} on {socket.gethostname()}" in one_line
    assert f"{world.folder / 'customers.csv'}, SHA-256 {first_list}" in one_line
    assert f"{template}, SHA-256 {first_template}" in one_line
    assert sha256(template) in resent and sha256(template) in latest
    assert latest.count("wrong number") + first.count("wrong number") == 1
    assert "Opt-outs:" in done.out
    assert "customer-0" not in done.out


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("smith", ["customer-2", "customer-3"]),
        ("Smith ann", ["customer-2"]),
        ("élodie", ["customer-4"]),
        ("ÉLODIE", ["customer-4"]),
        ("o'brien", ["customer-3"]),
        ('"jo"', ["customer-5"]),
        ("100%", []),
        ("chicago", []),  # a city
        ("nobody", []),
    ],
)
def test_customers_are_found_by_name(ledger: Ledger, name: str, found: list[str]) -> None:
    people = [("Ann", "Smith"), ("Bo", "O'Brien-SMITH"), ("Élodie", "Martin"), ('Jo "JO"', "x")]
    rows = [
        planned(row, cells=json.dumps([f"customer-{row}", *person, "Chicago"], ensure_ascii=False))
        for row, person in enumerate(people, 2)
    ]
    store_plan(ledger, rows)
    headers = json.dumps(["Customer UUID", "First Name", "Last Name", "City"])
    with ledger.write() as connection:
        connection.execute(update(runs).values(headers=headers))
    assert [one.customer_uuid for one in of_name(ledger, name, 9)] == found
    assert len(of_name(ledger, name, 1)) == min(len(found), 1)


def test_a_list_without_names_is_searched_in_all_columns(ledger: Ledger) -> None:
    store_plan(ledger, [planned(2, cells='["customer-2"]')])
    assert [one.name for one in of_name(ledger, "MER-2", 9)] == ["customer-2"]


def test_an_invalid_phone_is_refused() -> None:
    with pytest.raises(click.UsageError, match="--phone: the phone is"):
        cli.main(["history", "--phone", "12"], standalone_mode=False)
