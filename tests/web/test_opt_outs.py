"""The page "Opt-outs": search, add, import, export and remove, in the ledger that the command line uses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from web_client import Clicker
from world import World

from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.optouts import OptOut, opt_outs_ever
from batchsend.lists.newest import newest_match
from batchsend.settings import os_user

PAGE = "/opt-outs"


def entries(folder: Path) -> list[OptOut]:
    """The current and the removed opt-outs in the ledger of a folder's campaigns."""
    ledger = open_for_reading(f"sqlite:///{folder / '.batchsend' / 'ledger.db'}")
    assert ledger is not None
    try:
        return list(opt_outs_ever(ledger))
    finally:
        ledger.close()


def test_a_person_is_added_found_and_removed_with_a_reason(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    assert "No one is on the list yet" in clicker.get(PAGE).plain
    new = {"phone": "312-500-0001", "customer": "customer-1", "reason": "asked at the desk"}
    assert "From now on, no campaign texts them" in clicker.post(f"{PAGE}/add", new).plain
    assert "were on the list already" in clicker.post(f"{PAGE}/add", new).plain
    for folder in (world.folder, world.folder / "campaigns"):
        (entry,) = entries(folder)
        assert (entry.phone, entry.customer_uuid, entry.os_user) == ("+13125000001", "customer-1", os_user())
    for search in ("(312)+500-0001", "500-00", "CUSTOMER-1", "the+desk", ""):
        assert clicker.get(f"{PAGE}?q={search}").plain.count("(312) 500-0001") >= 1, search
    assert "No one was found" in clicker.get(f"{PAGE}?q=percent%25").plain
    assert "asked at the desk" in clicker.get(f"{PAGE}/remove?phone=%2B13125000001").plain

    person = {"customer": "customer-1", "phone": "+13125000001"}
    refused = clicker.post(f"{PAGE}/remove", {**person, "reason": " "})
    assert "Say why" in refused.plain
    assert [one.removed_at for one in entries(world.folder)] == [None]
    removed = clicker.post(f"{PAGE}/remove", {**person, "reason": "signed up again"})
    assert "Campaigns may text them again" in removed.plain
    assert "not on the list any more" in clicker.post(f"{PAGE}/remove", {**person, "reason": "again"}).plain
    for folder in (world.folder, world.folder / "campaigns"):
        assert [one.removed_because for one in entries(folder)] == ["signed up again"]
    assert "(312) 500-0001" not in clicker.get(PAGE).plain
    assert "signed up again" in clicker.get(f"{PAGE}?removed=yes").plain


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"reason": "x"}, "phone", "Give a phone number, a customer id, or both"),
        ({"phone": "12", "reason": "x"}, "phone", "The phone is too short"),
        ({"customer": "(312) 500-0001", "reason": "x"}, "customer", "This is no customer id"),
        ({"phone": "(312) 500-0001", "reason": " "}, "reason", "Say why"),
    ],
)
def test_a_mistake_is_said_next_to_its_field_and_what_was_typed_is_kept(
    office: tuple[World, Clicker], fields: dict[str, str], field: str, words: str
) -> None:
    world, clicker = office
    refused = clicker.post(f"{PAGE}/add", {"phone": "", "customer": "", **fields})
    assert f'id="{field}-error"' in refused.text
    assert words in refused.plain
    assert all(f'value="{value}"' in refused.text for value in fields.values() if value.strip())
    assert not (world.folder / ".batchsend" / "ledger.db").exists()
    discarded = clicker.post(f"{PAGE}/add", {**fields, "discard": "yes"})
    assert "-error" not in discarded.text


def test_of_a_file_the_good_rows_are_added_and_the_others_are_listed(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    content = b"Phone,Reason\n(312) 500-0001,wrong number\nnonsense,\n(312) 500-0002,\n12,\n"
    done = clicker.upload(f"{PAGE}/import", "stop list.csv", content)
    assert "2 added, 0 already on the list" in done.plain
    assert "2 rows were NOT added" in done.plain
    assert "Rows 3, 5: has no valid customer id or phone number" in done.plain
    # They stay on the page until another file is imported.
    assert "Rows 3, 5" in clicker.get(f"{PAGE}/import").plain
    assert [(one.phone, one.reason) for one in entries(world.folder)] == [
        ("+13125000001", "wrong number"),
        ("+13125000002", "from stop list.csv"),
    ]
    again = clicker.upload(f"{PAGE}/import", "stop list.csv", b"Phone\n(312) 500-0001\n(312) 500-0003\n")
    assert "1 added, 1 already on the list" in again.plain
    assert "Rows 3, 5" not in clicker.get(f"{PAGE}/import").plain
    unreadable = clicker.upload(f"{PAGE}/import", "other.csv", b"Name,City\nBo,Chicago\n")
    assert "a list of opt-outs needs a column" in unreadable.plain
    assert "Nothing was added" in unreadable.plain
    assert not list(world.folder.rglob("stop list*")) + list(world.folder.rglob("other.csv"))

    exported = clicker.raw("GET", f"{PAGE}/download")
    assert exported.status == 200
    assert 'filename="opt-outs.xlsx"' in exported.headers["Content-Disposition"]
    file = world.folder / ".batchsend" / "web" / "opt-outs.xlsx"
    imported = world.run("optouts", "import", str(file), "--ledger", "new/ledger.db")
    assert imported.code == 2, "hidden files are never read"
    file.rename(world.folder / "exported.xlsx")
    imported = world.run("optouts", "import", "exported.xlsx", "--ledger", "new/ledger.db")
    assert imported.out == "3 added, 0 already on the list.\n"


def test_a_change_that_fails_in_one_ledger_says_where_it_is_saved(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    other = world.folder / "campaigns"
    with (
        closing(open_ledger(f"sqlite:///{other / '.batchsend' / 'ledger.db'}")) as ledger,
        ledger.write() as db,
    ):
        refuses = "BEFORE INSERT ON optouts BEGIN SELECT RAISE(ABORT, 'no room'); END"
        db.exec_driver_sql(f"CREATE TRIGGER full {refuses}")
    content = b"Phone\n(312) 500-0001\n"
    done = clicker.upload(f"{PAGE}/import", "stop.csv", content)
    assert 'saved for the campaigns "campaign", but NOT for "other"' in done.plain
    assert "Nothing was added" not in done.plain
    new = {"phone": "312-500-0002", "customer": "", "reason": "asked at the desk"}
    added = clicker.post(f"{PAGE}/add", new)
    assert 'but NOT for "other"' in added.plain
    assert 'value="312-500-0002"' in added.text
    assert [one.phone for one in entries(world.folder)] == ["+13125000001", "+13125000002"]
    assert entries(other) == []


def test_a_file_being_imported_is_no_campaigns_newest_list(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    url = f"sqlite:///{world.folder / '.batchsend' / 'ledger.db'}"
    with closing(open_ledger(url)) as ledger, ThreadPoolExecutor(1) as pool:
        # The import waits for this transaction.
        with ledger.write():
            done = pool.submit(clicker.upload, f"{PAGE}/import", "stop.csv", b"Phone\n(312) 500-0001\n")
            while not list(world.folder.rglob("stop.csv")):
                assert not done.done()
            assert newest_match(world.folder / "*.csv", lambda _path: True).name == "customers.csv"
            assert not list((world.folder / "campaigns").glob("*.csv"))
        assert "1 added" in done.result().plain
    assert not list(world.folder.rglob("stop.csv")) + list(world.folder.rglob("opt-outs-*"))


def test_a_person_added_here_gets_no_text(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    clicker.post(f"{PAGE}/add", {"customer": "customer-1", "reason": "asked"})
    done = world.run("preview", "campaign.toml")
    assert "opt" in done.out
    assert "2 texts" in done.out
