"""Finds the columns that tell who a row's customer is, as dealer management systems name them, and reads them.

The names are those of exports from CDK, Reynolds, Tekion and Dealertrack. A column that was named by a person is used
instead of what its header says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from batchsend.errors import ColumnsError, Sentence
from batchsend.lists.customer_list import CustomerList
from batchsend.lists.damage import is_damaged
from batchsend.lists.headers import match_key
from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.mykaarma.customer_search import phone_digits
from batchsend.planning.customer_match import Person, usable_key, usable_vin
from batchsend.planning.list_checks import look_like_dms_numbers

_KEYS = (
    "customerkey",
    "customernumber",
    "customerdmsnumber",
    "customerdmsid",
    "customerdmskey",
    "dmscustomernumber",
    "dmscustomerid",
    "dmscustomerkey",
    "dmsnumber",
    "dmsid",
    "dmskey",
    "customercode",
    "customerdisplayid",
    "nameid",
)
#: Also the name of myKaarma's id, so it counts only if the values look like numbers of a dealer management system.
_MAYBE_KEYS = ("customerid",)
_VINS = (
    "vin",
    "vinnumber",
    "fullvin",
    "vehiclevin",
    "vehiclevinnumber",
    "vehvin",
    "vehicleidentificationnumber",
    "serialnumber",
    "vehicleserialnumber",
    "vinlast8",
    "last8vin",
    "last8ofvin",
    "vin8",
)
_LAST_NAMES = (
    "lastname",
    "customerlastname",
    "lname",
    "customerlname",
    "surname",
    "last",
    "familyname",
    "namelast",
)
_FIRST_NAMES = ("firstname", "customerfirstname", "fname", "customerfname", "givenname", "first", "namefirst")
_NAMES = ("customername", "name", "fullname", "customerfullname", "customer", "name1", "contactname")
_COMPANIES = ("company", "companyname", "businessname", "customercompany", "customercompanyname")

_PHONE = re.compile(r"phone|cell|mobile|\btel\b")
_NO_PHONE = re.compile(
    r"fax|dealer|store|advisor|sales|rep\b|type|ok\b|opt|consent|provider|carrier|\bext|emergency|status|flag|date"
    r"|employee|country|code|valid|label|count|text"
)
_CUSTOMER = re.compile(r"^(?:owner|buyer|client|purchaser|cust(?!omer))")
_NUMBER = re.compile(r"(?:no|num|nbr)$")
#: Rows that are looked at to see whether a column has numbers of a dealer management system.
_SAMPLE = 1_000


@dataclass(frozen=True)
class NamedColumns:
    """The headers that a person named. If one of the first three is named, the other two are not used."""

    customer_key: str | None = None
    vin: str | None = None
    phone: tuple[str, ...] = ()
    last_name: str | None = None


@dataclass(frozen=True)
class LookupColumns:
    """Positions of the columns that tell who a customer is."""

    customer_key: int | None = None
    vin: int | None = None
    phones: tuple[int, ...] = ()
    last_name: int | None = None
    first_name: int | None = None
    company: int | None = None
    name: int | None = None

    @property
    def identifiers(self) -> tuple[int, ...]:
        """The columns to search by, the most telling first."""
        return tuple(one for one in (self.customer_key, self.vin, *self.phones) if one is not None)

    @property
    def used(self) -> frozenset[int]:
        """The columns to search by and the last name. The others may be cut off."""
        names = (self.last_name, self.name)
        return frozenset((*self.identifiers, *(one for one in names if one is not None)))

    def described(self, headers: Sequence[str]) -> str:
        """Which column is what: `customer number "Cust No", VIN "VIN", phone "Cell"`."""
        named = [
            ("customer number", self.customer_key),
            ("VIN", self.vin),
            *(("phone", position) for position in self.phones),
            ("last name", self.last_name),
            ("first name", self.first_name),
            ("name", self.name),
            ("company", self.company),
        ]
        return ", ".join(f'{word} "{headers[position]}"' for word, position in named if position is not None)


def find_lookup_columns(customers: CustomerList, named: NamedColumns) -> LookupColumns:
    """Finds the columns by their headers, or as named. Raises `ColumnsError` if there is none to search by."""
    finder = _Finder(customers.headers)
    chosen = (named.customer_key, named.vin, named.phone)
    if any(chosen):
        key, vin = finder.named("customer_key", named.customer_key), finder.named("vin", named.vin)
        phones = tuple(one for header in named.phone if (one := finder.named("phone", header)) is not None)
    else:
        key = finder.first(_KEYS)
        key = finder.first(_MAYBE_KEYS) if key is None and _has_dms_numbers(customers, finder) else key
        vin, phones = finder.first(_VINS), finder.phones()
    last_name = finder.named("last_name", named.last_name)
    if named.last_name is None:
        last_name = finder.first(_LAST_NAMES)
    found = LookupColumns(
        customer_key=key,
        vin=vin,
        phones=phones,
        last_name=last_name,
        first_name=finder.first(_FIRST_NAMES),
        company=finder.first(_COMPANIES),
        name=finder.first(_NAMES) if last_name is None else None,
    )
    if not found.identifiers and not finder.problems:
        finder.problems.append(_nothing_to_search_by(customers.headers))
    if finder.problems:
        error = ColumnsError(customers.path, finder.problems)
        error.columns = tuple((f"columns.lookup.{key}", header) for key, header in finder.missing)
        raise error
    return found


def _nothing_to_search_by(headers: Sequence[str]) -> str:
    problem = (
        "has no column to look up customers by: a customer number (DMS), a VIN or a phone. It has: "
        f"{', '.join(filter(None, headers))}."
    )
    return Sentence(
        f'{problem} If one of them is, name it, such as --customer-key "Cust No" or, under [columns], '
        f'lookup = {{ customer_key = "Cust No" }}',
        f"{problem} Choose a list that has one",
    )


def _has_dms_numbers(customers: CustomerList, finder: _Finder) -> bool:
    position = finder.first(_MAYBE_KEYS)
    if position is None:
        return False
    first = next(iter(customers.chunks(())), None)
    return first is not None and look_like_dms_numbers(first.frame.iloc[:_SAMPLE, position])


class _Finder:
    """Looks up columns of one list and collects the problems."""

    def __init__(self, headers: Sequence[str]) -> None:
        self._headers = headers
        self._plain = {_plain(header): position for position, header in reversed([*enumerate(headers)])}
        self._keys = {match_key(header): position for position, header in enumerate(headers) if header}
        self.problems: list[str] = []
        self.missing: list[tuple[str, str]] = []

    def first(self, names: Sequence[str]) -> int | None:
        return next((self._plain[name] for name in names if name in self._plain), None)

    def phones(self) -> tuple[int, ...]:
        return tuple(position for position, header in enumerate(self._headers) if _is_phone(header))

    def named(self, key: str, header: str | None) -> int | None:
        if header is None:
            return None
        position = self._keys.get(match_key(header))
        if position is None:
            self.missing.append((key, header))
            has = ", ".join(filter(None, self._headers))
            self.problems.append(
                f'"{header}" was named for the look-up, and is not in the list; it has: {has}'
            )
        return position


def _is_phone(header: str) -> bool:
    words = _words(header)
    return bool(_PHONE.search(words)) and not _NO_PHONE.search(words)


def _words(header: str) -> str:
    """The words in small letters; `HomePhone` is two."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header.replace("#", " number "))
    return " ".join(re.findall(r"[^\W_]+", spaced)).casefold()


def _plain(header: str) -> str:
    """A key that is equal for `Cust #`, `CustNo`, `CUSTOMER-NO.` and `Owner Number`."""
    joined = _words(header).replace(" ", "")
    return _NUMBER.sub("number", _CUSTOMER.sub("customer", joined))


def persons(
    frame: pd.DataFrame, columns: LookupColumns, department: str | int, region: str
) -> Iterator[Person]:
    """Who each row's customer is. `department`: its id, or the column that has it; `region`: that of phones."""
    cells = {
        name: _column(frame, position)
        for name, position in (
            ("customer_key", columns.customer_key),
            ("vin", columns.vin),
            ("last_name", columns.last_name),
            ("first_name", columns.first_name),
            ("company", columns.company),
            ("name", columns.name),
        )
    }
    phones = [_column(frame, position) for position in columns.phones]
    departments = [department] * len(frame) if isinstance(department, str) else _column(frame, department)
    for number, department_uuid in enumerate(departments):
        values = {name: column[number] for name, column in cells.items()}
        values["customer_key"] = usable_key(values["customer_key"])
        values["vin"] = usable_vin(values["vin"])
        # A column "Customer" may have numbers.
        values["name"] = values["name"] if any(map(str.isalpha, values["name"])) else ""
        yield Person(
            department_uuid=department_uuid,
            phones=_phones([column[number] for column in phones], region),
            **values,
        )


def _column(frame: pd.DataFrame, position: int | None) -> list[str]:
    if position is None:
        return [""] * len(frame)
    return ["" if is_damaged(cell) else cell for cell in frame.iloc[:, position]]


def _phones(cells: Sequence[str], region: str) -> tuple[str, ...]:
    found = []
    for cell in filter(None, cells):
        try:
            found.append(phone_digits(to_e164(cell, region)))
        except PhoneProblem:
            continue
    return tuple(dict.fromkeys(found))
