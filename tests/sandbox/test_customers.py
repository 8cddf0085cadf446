"""The sandbox's customers: searches find them as the service does, with its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchsend.errors import BatchsendError
from batchsend.sandbox.customers import (
    SandboxCustomer,
    find_customers,
    read_customer,
    read_customers,
    search_faults,
)

ANN = SandboxCustomer("u-ann", "123", "Ann", "Smith", phones=("(312) 555-0142",), vins=("1HGCM82633A004352",))
BOB = SandboxCustomer("u-bob", "12345", "Bob", "Smithson", phones=("(312) 555-0143",))


def keys(field: str, term: str, most: str = "100") -> list[str]:
    query = {"searchTerm": term, "fieldsToBeSearched": field, "maxResults": most}
    return [one["customer"]["customerKey"] for one in json.loads(find_customers([ANN, BOB], query))]


def test_a_term_is_found_anywhere_in_a_field() -> None:
    assert keys("customerKey", "123") == ["123", "12345"]
    assert keys("customerKey", "123", "1") == ["123"]
    assert keys("lname", "smith") == ["123", "12345"]
    assert keys("vehicles.vin", "3a004352") == ["123"]
    assert keys("communications.commValue", "3125550143") == ["12345"]
    assert keys("fname,customerKey", "Bob") == ["12345"]
    assert keys("customerKey", "9") == []


def test_the_id_has_another_name_each_time() -> None:
    query = {"searchTerm": "smith", "fieldsToBeSearched": "lname", "maxResults": "100"}
    first, second = (one["customer"] for one in json.loads(find_customers([ANN, BOB], query)))
    assert (first["uuid"], second["customerUUID"]) == ("u-ann", "u-bob")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"searchTerm": "x" * 31},
        {"searchTerm": "x", "fieldsToBeSearched": "phone"},
        {"searchTerm": "x", "maxResults": "0"},
        {"searchTerm": "x", "maxResults": "101"},
    ],
)
def test_wrong_parameters(query: dict[str, str]) -> None:
    assert [fault.http_status for fault in search_faults(query)] == [400]


def test_one_customer() -> None:
    body = read_customer([ANN], "u-ann", vehicles=False)
    assert body is not None
    answer = json.loads(body)["customerWithVehicles"]
    assert answer["customer"]["phoneNumbers"][0]["phoneNumber"] == "(312) 555-0142"
    assert "vehicles" not in answer
    assert read_customer([ANN], "u-bob", vehicles=True) is None


def test_a_file_of_customers(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("customer_uuid,customer_key,phones\nu-1,7,3125550142; 3125550143\n", encoding="utf-8")
    assert read_customers(file) == (SandboxCustomer("u-1", "7", phones=("3125550142", "3125550143")),)
    file.write_text("customer_key\n7\n", encoding="utf-8")
    with pytest.raises(BatchsendError, match="row 2 has no customer_uuid"):
        read_customers(file)
