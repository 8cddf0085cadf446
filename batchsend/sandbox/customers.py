"""The customers of the sandbox, whom a search finds, and the answers about them.

Source: the pages "Find customers" and "Read a customer" of the service's documentation. The id of a customer has
several names there, so the sandbox uses them in turn.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchsend.errors import BatchsendError
from batchsend.sandbox.checks import Fault

#: What the service accepts.
_LONGEST_TERM, _MOST_RESULTS = 30, 100
_FIELDS = ("fname", "lname", "company", "customerKey", "communications.commValue", "vehicles.vin")
_ID_NAMES = ("uuid", "customerUUID", "customerUuid")
_COLUMNS = ("customer_uuid", "customer_key", "first_name", "last_name", "company", "phones", "vins")


@dataclass(frozen=True, slots=True)
class SandboxCustomer:
    """A customer that the sandbox knows. Phones as the service shows them, such as `(312) 555-0142`."""

    uuid: str
    customer_key: str = ""
    first_name: str = ""
    last_name: str = ""
    company: str = ""
    phones: tuple[str, ...] = ()
    vins: tuple[str, ...] = ()

    def values(self, field: str) -> tuple[str, ...]:
        """What a search in `field` looks at."""
        match field:
            case "fname":
                return (self.first_name,)
            case "lname":
                return (self.last_name,)
            case "company":
                return (self.company,)
            case "customerKey":
                return (self.customer_key,)
            case "vehicles.vin":
                return self.vins
            case _:
                # A search by phone has digits only.
                return tuple("".join(filter(str.isdigit, phone)) for phone in self.phones)


def read_customers(path: Path) -> tuple[SandboxCustomer, ...]:
    """Reads customers from a CSV file. Several phones or VINs are separated by semicolons."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BatchsendError(f"{path}: the customers cannot be read ({error}). Give a CSV file.") from error
    for number, row in enumerate(rows, 2):
        if not row.get("customer_uuid"):
            raise BatchsendError(
                f"{path}: row {number} has no customer_uuid. The columns are {', '.join(_COLUMNS)}."
            )
    return tuple(_customer(row) for row in rows)


def _customer(row: Mapping[str, str]) -> SandboxCustomer:
    cells = {name: (row.get(name) or "").strip() for name in _COLUMNS}
    uuid, phones, vins = cells.pop("customer_uuid"), cells.pop("phones"), cells.pop("vins")
    return SandboxCustomer(uuid=uuid, phones=_several(phones), vins=_several(vins), **cells)


def _several(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())


def search_faults(query: Mapping[str, str]) -> Iterator[Fault]:
    """Checks the parameters of a search."""
    if not 0 < len(query.get("searchTerm", "")) <= _LONGEST_TERM:
        yield _malformed(f"searchTerm must have 1 to {_LONGEST_TERM} characters.")
    if not set(query.get("fieldsToBeSearched", "customerKey").split(",")) <= set(_FIELDS):
        yield _malformed(f"fieldsToBeSearched must be some of {', '.join(_FIELDS)}.")
    most = query.get("maxResults", "1")
    if not most.isdecimal() or not 1 <= int(most) <= _MOST_RESULTS:
        yield _malformed(f"maxResults must be 1 to {_MOST_RESULTS}.")


def _malformed(description: str) -> Fault:
    return Fault(400, "MALFORMED_REQUEST", description)


def find_customers(customers: Iterable[SandboxCustomer], query: Mapping[str, str]) -> str:
    """The answer to a search: customers that have the term anywhere in one of the fields, in any letter case."""
    term = query["searchTerm"].casefold()
    fields = query.get("fieldsToBeSearched", ",".join(_FIELDS)).split(",")
    found = (
        one
        for one in customers
        if any(term in value.casefold() for field in fields for value in one.values(field))
    )
    entries = [_entry(number, one) for number, one in enumerate(found)]
    return json.dumps(entries[: int(query.get("maxResults", _MOST_RESULTS))])


def read_customer(customers: Iterable[SandboxCustomer], uuid: str, *, vehicles: bool) -> str | None:
    """The answer about one customer; `None` if there is none."""
    found = next((one for one in customers if one.uuid == uuid), None)
    if found is None:
        return None
    entry = _entry(0, found)
    if not vehicles:
        del entry["vehicles"]
    return json.dumps({"errors": [], "warnings": [], "customerWithVehicles": entry})


def _entry(number: int, one: SandboxCustomer) -> dict[str, Any]:
    customer = {
        _ID_NAMES[number % len(_ID_NAMES)]: one.uuid,
        "customerKey": one.customer_key,
        "firstName": one.first_name or None,
        "lastName": one.last_name or None,
        "company": one.company or None,
        "preferredLocale": "en-us",
        "phoneNumbers": [
            {
                "phoneNumber": phone,
                "label": "Cell",
                "okToCall": True,
                "okToText": True,
                "isPreferred": place == 0,
                "comments": None,
            }
            for place, phone in enumerate(one.phones)
        ],
        "emails": [],
    }
    return {"customer": customer, "vehicles": [{"vin": vin} for vin in one.vins]}
