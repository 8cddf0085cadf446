"""Suppression files: any list format, and no opt-out gets lost."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from workbooks import new_workbook, ods, ods_row, spreadsheetml, spreadsheetml_row

from batchsend.errors import ListError, StoppedError
from batchsend.planning import suppression as suppression_module
from batchsend.planning.suppression import WatchedSuppression, load_suppression

HERE = Path(__file__).parents[1] / "lists" / "formats" / "odd_lists"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("optouts.csv", b"customer_uuid,phone\nc1,\n,(312) 555-0142\n"),
        ("optouts.xls", b"customer_uuid\tphone\nc1\t\n\t312-555-0142\n"),  # tab-separated text
        (
            "optouts.xls",
            b"<table><tr><th>customer_uuid<th>phone<tr><td>c1<tr><td><td>+1 312 555 0142</table>",
        ),
        ("optouts.ods", ods(ods_row("customer_uuid", "phone") + ods_row("c1") + ods_row("", "3125550142"))),
        (
            "optouts.xls",
            spreadsheetml(
                spreadsheetml_row("customer_uuid", "phone")
                + spreadsheetml_row("c1")
                + spreadsheetml_row("", "1-312-555-0142")
            ),
        ),
    ],
)
def test_any_format_names_the_same_people(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    suppression = load_suppression([path], "US")
    assert (set(suppression.customer_uuids), set(suppression.phones)) == ({"c1"}, {"+13125550142"})
    assert suppression.notes == (f"{name}: 1 customer id and 1 phone",)


def test_a_file_that_changes_during_a_run_is_read_again_and_nobody_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression_module, "_PATIENCE_SECONDS", 0.0)
    path = tmp_path / "optouts.csv"
    path.write_text("customer_uuid,phone\nc1,\n", encoding="utf-8")
    watched = WatchedSuppression([path], "US", load_suppression([path], "US"))
    watched.refresh()
    assert (watched.why("c1", None), watched.why("c2", None)) == ("optouts.csv names this customer", None)
    # A program that writes the file anew has not come to c1 yet.
    path.write_text("customer_uuid,phone\nc2,\n,312-555-0142\n", encoding="utf-8")
    watched.refresh()
    assert watched.why("c1", None) is not None
    assert watched.why("c2", None) is not None
    assert watched.why("c3", "+13125550142") is not None
    path.unlink()
    with pytest.raises(StoppedError, match=r"optouts\.csv"):
        watched.refresh()
    path.write_text("customer_uuid\nc4\n", encoding="utf-8")
    watched.refresh()
    assert watched.why("c4", None) is not None


@pytest.mark.parametrize("name", ["only_a_header.xls", "only_a_header.ods"])
def test_a_file_without_opt_outs(name: str) -> None:
    suppression = load_suppression([HERE / name], "US")
    assert (suppression.customer_uuids, suppression.phones) == ({}, {})
    assert suppression.notes == (f"{name}: no customer ids and no phones",)


def hidden_xlsx(path: Path) -> None:
    workbook, sheet = new_workbook([["customer_uuid"], ["c1"], ["c2"]])
    sheet.auto_filter.ref = "A1:A3"
    sheet.row_dimensions[3].hidden = True
    workbook.save(path)


def hidden_ods(path: Path) -> None:
    rows = ods_row("customer_uuid") + ods_row("c1") + ods_row("c2", attributes='table:visibility="filter"')
    path.write_bytes(ods(rows))


@pytest.mark.parametrize(("name", "write"), [("o.xlsx", hidden_xlsx), ("o.ods", hidden_ods)])
def test_an_opt_out_that_is_filtered_away_is_still_an_opt_out(
    tmp_path: Path, name: str, write: object
) -> None:
    assert callable(write)
    write(tmp_path / name)
    assert set(load_suppression([tmp_path / name], "US").customer_uuids) == {"c1", "c2"}


def test_a_damaged_row_is_refused(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    for row in (["customer_uuid", "phone"], ["c1", ""], ["1.5E+20", "5.55E+20"]):
        workbook.active.append(row)
    workbook.save(tmp_path / "o.xlsx")
    with pytest.raises(ListError) as caught:
        load_suppression([tmp_path / "o.xlsx"], "US")
    assert caught.value.problems == (LOST,)


LOST = (
    "Row 3 has no valid customer id or phone number, so the person who opted out there could still be texted. "
    "Correct or delete this row."
)


@pytest.mark.parametrize(
    "row",
    [
        "Jane Doe,",  # a name is no id
        "c 1,",
        "#N/A,#N/A",
        ",#####",
        ", Bo",  # a name with a comma in it, shifted
        ",555-0142",  # no area code
        ",3.13E+09",
        "N/A,312555014",
    ],
)
def test_a_row_that_names_no_one_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "o.csv").write_text(f"customer_uuid,phone\nc1,\n{row}\n", encoding="utf-8")
    with pytest.raises(ListError) as caught:
        load_suppression([tmp_path / "o.csv"], "US")
    assert caught.value.problems == (LOST,)


@pytest.mark.parametrize("phone", ["", "n/a", "-", "000-000-0000", "(999) 999-9999", "none", "Phone"])
def test_a_row_without_a_phone_is_reported(tmp_path: Path, phone: str) -> None:
    (tmp_path / "o.csv").write_text(f"phone,name\n3125550142,Ann\n{phone},Bo\n", encoding="utf-8")
    assert load_suppression([tmp_path / "o.csv"], "US").notes == (
        "o.csv: 1 phone",
        "o.csv: 1 row has no customer id and no phone: 3",
    )


@pytest.mark.parametrize(
    "cell",
    [
        "312-555-0142 / 312-555-0143",
        "3125550142; (312) 555-0143",
        "3125550142 3125550143",
        "312-555-0142 or 312-555-0143",
        '"312-555-0142\n312-555-0143"',
        "h 312-555-0142 w 312-555-0143 (wife)",
    ],
)
def test_all_phones_of_a_cell_count(tmp_path: Path, cell: str) -> None:
    (tmp_path / "o.csv").write_text(f"name,phone\nAnn,{cell}\n", encoding="utf-8")
    assert set(load_suppression([tmp_path / "o.csv"], "US").phones) == {"+13125550142", "+13125550143"}


def test_one_of_two_phones_in_a_cell_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("phone\n312-555-0142 / 555-0143\n", encoding="utf-8")
    found = load_suppression([tmp_path / "o.csv"], "US")
    assert set(found.phones) == {"+13125550142"}
    assert (
        "1 row has an invalid customer id or phone number, only the other values are used: 2"
        in found.notes[1]
    )


def test_all_columns_for_phones_count_and_other_columns_with_phones_are_named(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text(
        "Customer ID,Customer UUID,Mobile,Cell Phone,Phone 2,Home Phone,Work Phone,Fax,Visits\n"
        "7,c1,3125550142,3125550143,3125550144,3125550145,3125550146,3125550147,3\n"
        "8,c2,,,,3125550148,,,4\n",
        encoding="utf-8",
    )
    found = load_suppression([tmp_path / "o.csv"], "US")
    assert set(found.customer_uuids) == {"c1", "c2"}
    assert set(found.phones) == {"+13125550142", "+13125550143", "+13125550144"}
    assert found.notes[1:] == (
        (
            'o.csv: "Home Phone" and "Work Phone" have phone numbers and were not used; to skip these numbers too, '
            "rename these columns to Phone and Phone 3"
        ),
        'o.csv: "Customer ID" was not used, because Customer UUID has the ids',
    )


@pytest.mark.parametrize(
    "value",
    [
        "3125550142",
        "312-555-0142",
        "555-0142",
        "+13125550142",
        "ann@example.com",
        "put-your-customer-uuid-here",
    ],
)
def test_a_value_that_cannot_be_an_id_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "o.csv").write_text(f"customer_uuid\nc1\n{value}\n", encoding="utf-8")
    with pytest.raises(ListError) as caught:
        load_suppression([tmp_path / "o.csv"], "US")
    assert caught.value.problems == (LOST,)


def test_a_total_and_a_second_header_name_no_customer(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("customer_uuid\nc1\ncustomer_uuid\nc2\nTotal\n", encoding="utf-8")
    suppression = load_suppression([tmp_path / "o.csv"], "US")
    assert set(suppression.customer_uuids) == {"c1", "c2"}
    assert "2 rows have no customer id and no phone: 3, 5" in suppression.notes[1]


def test_an_invalid_value_beside_a_valid_one_is_reported(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text(
        "customer_uuid,phone\nc1,5.55E+09\nc2,3125550142\nJane Doe,3125550143\n", encoding="utf-8"
    )
    suppression = load_suppression([tmp_path / "o.csv"], "US")
    assert set(suppression.customer_uuids) == {"c1", "c2"}
    assert suppression.notes == (
        "o.csv: 2 customer ids and 2 phones",
        "o.csv: 2 rows have an invalid customer id or phone number, only the other values are used: 2, 4",
    )


def test_ids_that_look_like_those_of_another_system_are_reported(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("customer_uuid\n5760069\n5760070\n", encoding="utf-8")
    assert load_suppression([tmp_path / "o.csv"], "US").notes == (
        "o.csv: 2 customer ids",
        "o.csv: the customer ids look like DMS numbers, not myKaarma ids, and may match no customer",
    )


@pytest.mark.parametrize(
    ("files", "phones_only"),
    [
        (["phone\n3125550142\n", "customer_uuid\nc1\n"], True),
        (["customer_uuid\nc1\n", "customer_uuid,phone\n,3125550142\n"], True),
        (["customer_uuid,phone\nJane Doe,3125550142\n"], True),
        (["customer_uuid,phone\nc1,3125550142\n"], False),
        (["customer_uuid\nc1\n"], False),
        (["phone\n"], False),
    ],
)
def test_one_file_of_phones_makes_phones_necessary(
    tmp_path: Path, files: list[str], phones_only: bool
) -> None:
    paths = [tmp_path / f"{number}.csv" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_text(content, encoding="utf-8")
    assert load_suppression(paths, "US").phones_only is phones_only


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        # A comma without quotation marks puts the phone where no header is: that opt-out would be lost.
        (
            b"name,phone\nBo,3125550143\nLee, Ann,3125550142\n",
            (
                "Row 3 has 3 cells, the header has 2, so it is unclear who it names. Correct it (a cell with "
                "a comma in it needs quotation marks), or export the file again."
            ),
        ),
        # The extra cell is blank, but the phone is not under its header.
        (
            b"name;phone;note\nBo;3125550143;x\nLee; Ann;3125550142;\n",
            (
                "Row 3 has 4 cells, the header has 3, so it is unclear who it names. Correct it (a cell with "
                "a comma in it needs quotation marks), or export the file again."
            ),
        ),
        # In a spreadsheet, a second phone without a header: only a campaign's list could do without it.
        (
            ods(ods_row("name", "phone") + ods_row("Bo", "3125550143", "3125550142")),
            (
                "Column C has values but no header, and could name people who opted out. "
                "Give it a header, or delete it."
            ),
        ),
        (
            b",phone\n3125550143,3125550142\n",
            (
                "Column A has values but no header, and could name people who opted out. "
                "Give it a header, or delete it."
            ),
        ),
        # A column of numbers without a header: the first number is where the header should be.
        (
            b"3125550142\n3125550143\n",
            (
                "Its first row looks like a customer, not headers: it has a phone number, an e-mail address or a "
                "myKaarma id. Add a row of column names above it."
            ),
        ),
        # The number in the dealer's system, and the id in myKaarma: which is which?
        (
            b"Customer ID,Customer GUID\n1,c1\n",
            (
                '"Customer ID" and "Customer GUID" could each be the customer\'s id in myKaarma. '
                "Rename the right one to customer_uuid."
            ),
        ),
        # The right columns, but nothing in them.
        (
            b"customer_uuid,phone,name\n,,Ann\n,,Bo\n",
            (
                "It has 2 rows, but no customer id or phone number in customer_uuid and phone. Export the file "
                "again, with the people who opted out."
            ),
        ),
        # The phones are in a column that is not known as one.
        (
            b"customer_uuid,Primary Phone\nc1,3125550142\n,3125550143\n",
            (
                'Row 3 has a phone number only in "Primary Phone", whose header is not known as a phone. Rename that '
                "column to Phone."
            ),
        ),
        # An export that failed leaves an empty file, which does not mean that there are no opt-outs.
        (b"", "It is empty. Export the list again, with its header and its rows."),
    ],
)
def test_a_file_that_could_lose_an_opt_out_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "o.csv"
    path.write_bytes(content)
    with pytest.raises(ListError) as caught:
        load_suppression([path], "US")
    assert caught.value.problems == (sentence,)


def test_options_of_the_list_do_not_help_a_file_of_opt_outs(tmp_path: Path) -> None:
    with pytest.raises(ListError) as caught:
        load_suppression([HERE / "two_sheets.ods"], "US")
    assert caught.value.problems[-1] == (
        "But [list_options] applies only to the campaign's list. Save this file again as .xlsx with one sheet or "
        'as "CSV UTF-8".'
    )


def test_a_row_that_ends_early_still_names_a_person(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("customer_uuid,name,phone\nc1\n,,3125550142\n", encoding="utf-8")
    suppression = load_suppression([tmp_path / "o.csv"], "US")
    assert (set(suppression.customer_uuids), set(suppression.phones)) == ({"c1"}, {"+13125550142"})
