"""`batchsend optouts`, and what campaigns do with the list."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from ledgers import (
    everything,
)
from openpyxl import load_workbook
from world import CAMPAIGN, Sandbox, World, customers, read_results

from batchsend.cli.main import cli
from batchsend.errors import BatchsendError
from batchsend.ledger.opening import open_ledger
from batchsend.planning.suppression import load_suppression
from batchsend.settings import VARIABLES

# --- the installed command


OPTED_OUT_ROW = {"Customer UUID": "sandbox-opted-out-1", "First Name": "Bo", "Phone": "(312) 555-0192"}


def another_campaign(world: World, rows: list[dict[str, str]]) -> None:
    world.write_list(rows, "others.csv")
    (world.folder / "other.toml").write_text(
        CAMPAIGN.replace("Spring", "Other").replace("customers.csv", "others.csv"), encoding="utf-8"
    )


def outcome(world: World, name: str) -> dict[int, tuple[str, str | None, str | None]]:
    rows = read_results(world.folder / "results" / f"{name}.xlsx")
    return {row: (one["status"], one["errorCodes"], one["errorDescriptions"]) for row, one in rows.items()}


def test_another_campaign_skips_opted_out_customers_until_they_are_removed(
    world: World, sandbox: Sandbox
) -> None:
    world.write([*customers(1), OPTED_OUT_ROW])
    assert world.send().code == 1
    # Another customer with the same phone is skipped too, in a rehearsal as in a real start.
    another_campaign(
        world, [OPTED_OUT_ROW, {**OPTED_OUT_ROW, "Customer UUID": "another-customer"}, *customers(2)]
    )
    before = everything_in(world)
    rehearsed = world.run("send", "other.toml", "--sandbox", "--yes")
    assert "4 rows = 0 accepted by myKaarma" not in rehearsed.out
    assert everything_in(world) == before
    received = len(sandbox.requests())
    assert world.run("send", "other.toml", "--yes").code == 0
    assert len(sandbox.requests()) == received + 2
    found = outcome(world, "other-2")
    for row, who in ((2, "this customer"), (3, "this phone")):
        status, code, description = found[row]
        assert (status, code) == ("skipped", "SUPPRESSED")
        assert description is not None
        assert description.startswith("myKaarma reported on ")
        assert f"that {who} opted out (Spring, run 1, row 3)" in description
    # After the removal, `--resend` sends to the customer again.
    done = world.run("optouts", "remove", "--customer", "sandbox-opted-out-1", "--reason", "signed up again")
    assert done.code == 0
    assert "Removed: customer sandbox-opted-out-1, (312) 555-0192" in done.out
    assert "myKaarma keeps its own opt-outs" in done.out
    assert world.send("--resend", "failed").code == 1
    assert len(sandbox.requests()) == received + 3
    # The sandbox refused it again, after the removal.
    ever = world.run("optouts", "list", "--all").out
    assert ever.count("customer sandbox-opted-out-1, (312) 555-0192") == 2
    assert ever.count("removed on") == 1
    assert ": signed up again" in ever
    assert f"only at {world.base_url}" in ever


def everything_in(world: World) -> dict[str, list[tuple[object, ...]]]:
    ledger = open_ledger(f"sqlite:///{world.folder / '.batchsend' / 'ledger.db'}")
    try:
        return everything(ledger)
    finally:
        ledger.close()


def test_the_list_can_be_edited_exported_and_imported(world: World, sandbox: Sandbox) -> None:
    world.write([*customers(3), OPTED_OUT_ROW])
    named = ("--ledger", ".batchsend/ledger.db")
    added = world.run("optouts", "add", "--phone", "(312) 500-0001", "--reason", "wrong number", *named)
    assert (added.code, added.out) == (
        0,
        "Added. From now on, no campaign of this ledger texts them.\n",
    )
    assert world.send().code == 1
    assert sandbox.texts() == {"customer-0": 1, "customer-2": 1}
    status, code, description = outcome(world, "campaign-1")[3]
    assert (status, code) == ("skipped", "SUPPRESSED")
    assert (description or "").endswith(": wrong number")
    exported = world.run("optouts", "export", "out.csv")
    assert exported.code == 0
    assert exported.out.splitlines() == [
        f"1 written to {world.folder / 'out.csv'}",
        "1 skipped: they come from a sandbox and apply only there.",
    ]
    new = world.run("optouts", "import", "out.csv", "--ledger", "elsewhere/ledger.db")
    assert new.out == "1 added, 0 already on the list.\n"
    assert "Created a new ledger: " in new.err


# --- the same commands, without a process for each


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a ledger."""
    open_ledger(f"sqlite:///{tmp_path / '.batchsend' / 'ledger.db'}").close()
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def optouts(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `batchsend optouts ...` prints."""
    cli.main(["optouts", *arguments], prog_name="batchsend", standalone_mode=False)
    printed = capsys.readouterr()
    return printed.out + printed.err


@pytest.mark.parametrize("name", ["out.csv", "out.xlsx"])
def test_an_export_can_be_imported_without_duplicates(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    optouts(capsys, "add", "--customer", "-leading_hyphen", "--reason", '=HYPERLINK("http://x","y")')
    optouts(capsys, "add", "--customer", "c2", "--phone", "+44 20 7946 0958", "--reason", 'moved, "away"')
    optouts(capsys, "export", name)
    if name.endswith(".csv"):
        assert "\"'=HYPERLINK" in (folder / name).read_text(encoding="utf-8-sig")
    else:
        cells = [cell for row in load_workbook(folder / name)["List"] for cell in row]
        assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
    assert optouts(capsys, "import", name) == "0 added, 2 already on the list.\n"
    elsewhere = ("--ledger", "elsewhere.db")
    assert "2 added, 0 already on the list." in optouts(capsys, "import", name, *elsewhere)
    listed = optouts(capsys, "list", *elsewhere)
    for line in (
        "customer -leading_hyphen\n",
        '  =HYPERLINK("http://x","y") (imported',
        "customer c2, +44 20 7946 0958",
        'moved, "away" (imported',
    ):
        assert line in listed
    # It is a suppression file as well.
    suppression = load_suppression([folder / name], "US")
    assert set(suppression.customer_uuids) == {"-leading_hyphen", "c2"}
    assert set(suppression.phones) == {"+442079460958"}


def test_a_list_of_any_format_is_imported_and_unusable_rows_are_reported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "stop.txt").write_text(
        "Cell Phone;Customer ID;Reason\n312 555 0101;;\n;c9;complained\n;;no name\n312-555-0101;;\n",
        encoding="utf-8",
    )
    printed = optouts(capsys, "import", "stop.txt", "--reason", "the old system's list")
    assert "2 added, 1 already on the list." in printed
    assert "stop.txt: 1 row has no customer id and no phone: 4." in printed
    listed = optouts(capsys, "list")
    assert "(312) 555-0101\n  the old system's list (imported by " in listed
    assert "customer c9\n  complained (imported by " in listed


def test_rows_that_name_nobody_keep_no_other_row_from_being_recorded(world: World) -> None:
    rows = [f"c{number},,Ann" for number in range(3000)]
    rows[10], rows[20], rows[30] = "Jane Doe,,Ann", ",555-0142,Bo", "c30,,Lee, Ann"
    rows[40] = "3125550142,,Cy"
    (world.folder / "stop.csv").write_text("\n".join(["customer_uuid,phone,name", *rows]), encoding="utf-8")
    done = world.run("optouts", "import", "stop.csv", "--ledger", ".batchsend/ledger.db")
    assert done.code == 1
    assert done.out == "2,996 added, 0 already on the list.\n"
    assert "stop.csv: 4 rows were NOT added. Correct the file and import it again:" in done.err
    assert "  rows 12, 22, 42: has no valid customer id or phone number, so the person" in done.err
    assert "  row 32: has 4 cells, the header has 3, so it is unclear who it names." in done.err
    listed = world.run("optouts", "list").out
    assert listed.count("customer c") == 2996


def test_adding_and_removing_say_what_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Added." in optouts(capsys, "add", "--phone", "(312) 555-0101", "--reason", "wrong number")
    again = optouts(capsys, "add", "--phone", "+1 312 555 0101", "--reason", "still wrong")
    assert again == "Already on the list; nothing was changed.\n"
    removed = optouts(capsys, "remove", "--phone", "312.555.0101")
    assert "Removed: (312) 555-0101 (opted out since " in removed
    assert optouts(capsys, "list") == "This ledger has no opt-outs.\n"
    assert "removed on " in optouts(capsys, "list", "--all")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "--reason", "x"], "Name a customer with --customer, a phone number with --phone, or both."),
        (["add", "--customer", "c1"], "--reason"),
        (["add", "--customer", "(312) 555-0101", "--reason", "x"], "For a phone number, use --phone."),
        (["add", "--customer", "312-555-0101", "--reason", "x"], "For a phone number, use --phone."),
        (["add", "--customer", "555-0101", "--reason", "x"], "For a phone number, use --phone."),
        (["add", "--phone", "12", "--reason", "x"], "--phone: the phone is "),
        (["add", "--phone", "3125550101", "--reason", " "], "Give a reason, such as --reason"),
        (["remove"], "Name a customer with --customer, or a phone number with --phone."),
        (
            ["remove", "--customer", "stranger"],
            "stranger is not on the opt-out list; nothing was removed.",
        ),
        (["import", "nowhere.csv"], "nowhere.csv"),
        (
            ["import", "people.csv"],
            "a list of opt-outs needs a column `customer_uuid` or `phone`; it has: Name",
        ),
        (["export", "out.pdf"], "out.pdf: a list is written as .xlsx or .csv."),
        (["list", "--ledger", "postgresql://u:secret@h/db"], "--ledger holds a password"),
    ],
)
def test_mistakes_are_refused_with_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    (folder / "people.csv").write_text("Name\nAnn\n", encoding="utf-8")
    with pytest.raises((BatchsendError, click.UsageError)) as raised:
        optouts(capsys, *arguments)
    message = (
        raised.value.format_message() if isinstance(raised.value, click.UsageError) else str(raised.value)
    )
    assert sentence in message


def test_an_opt_out_without_a_ledger_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    add = ("add", "--customer", "c1", "--reason", "x")
    with pytest.raises(BatchsendError, match="There is no ledger in") as refused:
        optouts(capsys, *add)
    option = ("--ledger", ".batchsend/ledger.db")
    assert " ".join(option) in str(refused.value)
    optouts(capsys, *add, *option)
    # Commands in this folder use the ledger that was created.
    assert "c1" in optouts(capsys, "list")
