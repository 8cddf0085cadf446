"""A campaign whose list has no ids: preview and send look the customers up and judge alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import Sandbox, World, read_results, running_sandbox

CUSTOMERS = """customer_uuid,customer_key,first_name,last_name,company,phones,vins
u-ann,10234,Ann,Smith,,(312) 555-0142,1HGCM82633A004352
u-bob,12,Bob,Jones,,(312) 555-0143;(773) 555-0199,
u-mary,13,Mary,Jones,,(773) 555-0199,
"""
ROWS = [
    {"Cust No": "10234", "First Name": "Ann", "Last Name": "Smith", "Cell": "(312) 555-0142"},
    {"Cust No": "", "First Name": "", "Last Name": "Jones", "Cell": "(773) 555-0199"},
    {"Cust No": "77", "First Name": "Tom", "Last Name": "Young", "Cell": ""},
    {"Cust No": "12", "First Name": "Bob", "Last Name": "Miller", "Cell": ""},
]
LOOKUP = "[columns]\nlookup = {}\n[sending]\nrate = 100\n"
EXPECTED = {
    2: ("u-ann", ""),
    3: (None, "CUSTOMER_AMBIGUOUS"),
    4: (None, "CUSTOMER_NOT_FOUND"),
    5: (None, "CUSTOMER_AMBIGUOUS"),
}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    (tmp_path / "truth.csv").write_text(CUSTOMERS, encoding="utf-8")
    with running_sandbox(tmp_path, "--customers", "truth.csv") as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, sandbox: Sandbox) -> World:
    folder = tmp_path / "dealership"
    folder.mkdir()
    return World(folder, sandbox.base_url).write(ROWS, campaign=LOOKUP, template="Your service is due.")


def judged(path: Path) -> dict[int, tuple[str | None, str]]:
    """Row -> the customer and the codes."""
    rows = read_results(path)
    return {row: (values["customerUUID"], values["errorCodes"] or "") for row, values in rows.items()}


def test_preview_and_send_judge_alike(world: World, sandbox: Sandbox) -> None:
    preview = world.run("preview", "campaign.toml")
    assert preview.code == 1, preview
    assert judged(world.folder / "previews" / "campaign.xlsx") == EXPECTED
    assert sandbox.texts() == {}
    assert not list(world.folder.rglob("ledger.db"))
    done = world.send()
    assert done.code == 1, done
    assert judged(world.folder / "results" / "campaign-1.xlsx") == EXPECTED
    assert sandbox.texts() == {"u-ann": 1}
    # The list is the same, so the run continues and nobody is texted twice.
    assert world.send().code == 1
    assert sandbox.texts() == {"u-ann": 1}
    why = world.workbook()[3]["errorDescriptions"]
    assert why == "myKaarma has 2 customers with this phone"


def test_an_id_that_a_person_filled_in_is_taken(world: World, sandbox: Sandbox) -> None:
    world.write_list(
        [{**row, "customer_uuid": ""} for row in ROWS[:1]] + [{**ROWS[1], "customer_uuid": "u-mary"}]
    )
    done = world.send()
    assert done.code == 0, done
    assert sandbox.texts() == {"u-ann": 1, "u-mary": 1}


def test_a_rehearsal_needs_no_credentials_and_takes_what_is_known(world: World) -> None:
    assert world.run("lookup", "campaign.toml").code == 1
    rehearsed = World(world.folder, world.base_url, {"MYKAARMA_PASSWORD": ""})
    world.write_list([*ROWS, {**ROWS[0], "Cust No": "555", "Last Name": "Walker", "Cell": "(312) 555-0777"}])
    done = rehearsed.send("--sandbox")
    found = judged(world.folder / "results" / "campaign-rehearsal.xlsx")
    assert {row: found[row] for row in EXPECTED} == EXPECTED, done
    assert found[6] == ("rehearsal-1", "")


def test_without_credentials_rows_are_not_sent_and_say_why(world: World) -> None:
    world.environment["MYKAARMA_PASSWORD"] = ""
    preview = world.run("preview", "campaign.toml")
    assert preview.code == 1
    assert "The look-up of customers ended early. MYKAARMA_PASSWORD is not set" in " ".join(
        preview.out.split()
    )
    rows = read_results(world.folder / "previews" / "campaign.xlsx")
    assert {values["errorCodes"] for values in rows.values()} == {"CUSTOMER_NOT_FOUND"}


def test_a_list_that_was_looked_up_is_sent_as_it_is(world: World, sandbox: Sandbox) -> None:
    done = world.run("lookup", "campaign.toml")
    assert done.code == 1, done
    assert "4 rows = 1 found + 1 with several customers + 1 that differ + 1 not found" in done.out
    (world.folder / "campaign.toml").write_text(
        (world.folder / "campaign.toml").read_text(encoding="utf-8").replace("lookup = {}", ""),
        encoding="utf-8",
    )
    sent = world.send("--list", "results/campaign-lookup.xlsx")
    assert sent.code == 1, sent
    assert sandbox.texts() == {"u-ann": 1}
    assert world.workbook()[3]["errorCodes"] == "MISSING_CUSTOMER_UUID"


def test_a_looked_up_list_does_not_confirm_itself(world: World, sandbox: Sandbox) -> None:
    world.write_list([{**dict.fromkeys(ROWS[0], ""), "Cust No": "10234"}])
    found, next_list = "results/campaign-lookup.xlsx", "again.xlsx"
    assert world.run("lookup", "campaign.toml").code == 1
    again = world.run("lookup", "campaign.toml", "--list", found, "--out", next_list)
    assert "1 row = 0 found" in again.out, again
    for lookup in ("{}", '{ phone = "Found Phones" }'):
        world.write(ROWS, campaign=LOOKUP.replace("{}", lookup), template="Your service is due.")
        for path in (found, next_list):
            preview = world.run("preview", "campaign.toml", "--list", path)
            assert preview.code in (1, 2), preview
            assert world.send("--list", path).code in (1, 2)
    assert sandbox.texts() == {}
    assert "which proves nothing; it has: Cust No" in " ".join(preview.err.split())
