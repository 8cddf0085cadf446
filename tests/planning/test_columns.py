"""Which column of a list is what."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import CAMPAIGN

from batchsend.campaigns.file import load_campaign
from batchsend.errors import ListError
from batchsend.planning.columns import Roles, find_columns


def found(folder: Path, headers: list[str], more: str = "", campaign: str = CAMPAIGN) -> Roles:
    file = folder / "campaign.toml"
    file.write_text(campaign + more, encoding="utf-8")
    return find_columns(load_campaign(file), headers)


@pytest.mark.parametrize(
    ("headers", "customer_uuid", "phone"),
    [
        (["customer_uuid", "phone"], 0, 1),
        # Case, spaces, underscores and hyphens do not matter.
        (["Phone", "CUSTOMER-UUID"], 1, 0),
        (["Customer ID", "Mobile Phone"], 0, 1),
        # Our own name comes before any other that would do.
        (["Customer ID", "Customer UUID", "Cell"], 1, 2),
        (["Customer Key", "Customer ID", "Cell Phone"], 1, 2),
        *(
            (["Customer ID", header], 0, 1)
            for header in ("Cell Phone", "CellPhone", "cell-phone", "CELLPHONE")
        ),
        # A phone of another kind does not compete.
        (["Customer UUID", "Home Phone", "Phone"], 0, 2),
        # A list without phones: myKaarma picks the preferred number.
        (["Customer UUID", "First Name"], 0, None),
        # A column without a header has no meaning.
        (["", "Customer UUID"], 1, None),
    ],
)
def test_columns_are_found_by_what_exports_call_them(
    tmp_path: Path, headers: list[str], customer_uuid: int, phone: int | None
) -> None:
    roles = found(tmp_path, headers)
    assert (roles.customer_uuid, roles.phone) == (customer_uuid, phone)
    assert roles.key == (customer_uuid,)
    assert roles.used == {position for position in (customer_uuid, phone) if position is not None}


def test_one_of_two_phones_can_be_chosen(tmp_path: Path) -> None:
    headers = ["Customer ID", "Phone", "Mobile"]
    assert found(tmp_path, headers, '[columns]\nphone = "Phone"\n').phone == 1
    assert found(tmp_path, headers, '[columns]\nphone = "Mobile"\n').phone == 2


def test_a_customer_key_is_the_id_where_the_campaign_says_so(tmp_path: Path) -> None:
    assert found(tmp_path, ["Customer Key"], '[columns]\ncustomer_uuid = "Customer Key"\n').customer_uuid == 0


def test_what_the_campaign_names_comes_first(tmp_path: Path) -> None:
    roles = found(
        tmp_path,
        ["Customer UUID", "Guid", "Phone", "Second Phone", "Time Zone", "OK", "VIN"],
        '[columns]\ncustomer_uuid = "guid"\nphone = "second_phone"\n'
        '[recipients]\nkey = ["Guid", "vin"]\nconsent = { column = "ok", yes = ["Y"] }\n',
    )
    assert (roles.customer_uuid, roles.phone, roles.timezone, roles.consent) == (1, 3, 4, 5)
    assert roles.key == (1, 6)
    assert roles.used == {1, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("headers", "more", "zip_code", "state"),
    [
        (["Customer ID", "ZIP", "State"], "", 1, 2),
        (["Customer ID", "Postal Code", "ST"], "", 1, 2),
        (["Customer ID", "zipcode", "Province"], "", 1, 2),
        (["Customer ID", "Home Zip", "State/Province"], "", 1, 2),
        (["Customer ID", "Status", "Zippered"], "", None, None),
        # Two of them are no problem: the plainest name counts.
        (["Customer ID", "Postal Code", "Zip Code", "Mailing State", "State"], "", 2, 4),
        (["Customer ID", "ZIP", "PLZ", "Land"], '[columns]\nzip = "PLZ"\nstate = "Land"\n', 2, 3),
    ],
)
def test_zip_code_and_state(
    tmp_path: Path, headers: list[str], more: str, zip_code: int | None, state: int | None
) -> None:
    roles = found(tmp_path, headers, more)
    assert (roles.zip, roles.state) == (zip_code, state)
    # A row whose last cells are cut off still has its text.
    assert roles.used == {0}


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        # The same key, however it is spelled: the ledger must not take it for another one.
        (["Customer UUID", "VIN"], '[recipients]\nkey = ["Customer UUID", "VIN"]\n'),
        (["customer_uuid", "vin"], '[recipients]\nkey = ["CUSTOMER-UUID", "Vin"]\n'),
        (
            ["Customer ID", "vin "],
            '[columns]\ncustomer_uuid = "Customer ID"\n[recipients]\nkey = ["Customer ID", "VIN"]\n',
        ),
    ],
)
def test_the_ledger_remembers_a_key_by_one_name(tmp_path: Path, headers: list[str], more: str) -> None:
    assert found(tmp_path, headers, more).key_names == ("customer_uuid", "vin")


def test_the_customers_column_as_the_key_is_the_usual_key(tmp_path: Path) -> None:
    usual = found(tmp_path, ["Customer ID"])
    named = found(tmp_path, ["Customer ID"], '[recipients]\nkey = ["Customer ID"]\n')
    assert usual.key_names == named.key_names == ("customer_uuid",)


def test_the_sender_comes_from_columns_where_the_campaign_says_so(tmp_path: Path) -> None:
    without = CAMPAIGN.replace("department_uuid", "#").replace("user_uuid", "#")
    columns = '[columns]\ndepartment_uuid = "Dept ID"\nuser_uuid = "User ID"\n'
    roles = found(tmp_path, ["Customer UUID", "Dept ID", "User ID"], columns, without)
    assert (roles.department_uuid, roles.user_uuid) == (1, 2)
    # A column with that name does not change the sender unless [columns] names it.
    assert found(tmp_path, ["Customer UUID", "Dept ID", "User ID"]).department_uuid is None


@pytest.mark.parametrize(
    ("headers", "more", "problem"),
    [
        (
            ["Name", "Phone"],
            "",
            (
                "needs a column for `customer_uuid`; it has: Name, Phone. If it has another name here, write it "
                "under [columns]. If the list has no ids of myKaarma, write lookup = {} under [columns] instead of "
                "customer_uuid, or let `batchsend lookup` write a list with ids"
            ),
        ),
        (
            ["Customer ID", "Cell", "Mobile"],
            "",
            '"Cell" and "Mobile" could each be `phone`. Name the right one under [columns], such as phone = "Cell"',
        ),
        # A list with both usually has the landline in the first.
        *(
            (
                ["Customer ID", "Phone", mobile],
                "",
                (
                    f'"Phone" and "{mobile}" could each be `phone`. Name the right one under [columns], such as '
                    f'phone = "{mobile}"'
                ),
            )
            for mobile in ("Mobile", "Cell Phone", "cell_number", "Mobile-Phone")
        ),
        (
            ["Customer Key", "Phone"],
            "",
            (
                "needs a column for `customer_uuid`; it has: Customer Key, Phone. If it has another name here, write "
                "it under [columns]. If the list has no ids of myKaarma, write lookup = {} under [columns] instead "
                "of customer_uuid, or let `batchsend lookup` write a list with ids"
            ),
        ),
        (
            ["Cust No", "Customer Nbr", "Customer Cell", "Custom Id Nr"],
            '[columns]\ncustomer_uuid = "Customer ID"\n',
            (
                '`columns.customer_uuid` names the column "Customer ID", which is not in the list; it has: Cust No, '
                'Customer Nbr, Customer Cell, Custom Id Nr. Did you mean "Custom Id Nr"? If the list has no ids of '
                "myKaarma, write lookup = {} under [columns] instead of customer_uuid, or let `batchsend lookup` "
                "write a list with ids"
            ),
        ),
        (
            ["Customer ID", "Vin No"],
            '[recipients]\nkey = ["VIN Nr"]\n',
            (
                '`recipients.key` names the column "VIN Nr", which is not in the list; it has: Customer ID, Vin No. '
                'Did you mean "Vin No"?'
            ),
        ),
    ],
)
def test_what_is_missing_or_unclear_is_named(
    tmp_path: Path, headers: list[str], more: str, problem: str
) -> None:
    with pytest.raises(ListError) as caught:
        found(tmp_path, headers, more)
    assert caught.value.problems == (problem,)


def test_a_title_above_the_headers_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ListError) as caught:
        found(tmp_path, ["Lakeside Motors - Spring tires 2026", "", ""], "")
    assert caught.value.problems[0] == (
        "The first row looks like a title, not like headers. If the headers are further down, name their row under "
        "[list_options], such as header_row = 3, or delete the rows above them and save the list again"
    )
