"""Finds the columns that tell who a row's customer is, as dealer management systems name them, and reads them.

The names are those of exports from CDK, Reynolds, Tekion and Dealertrack. A column that was named by a person is used
instead of what its header says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from batchsend.campaigns.tables import Lookup
from batchsend.errors import ColumnsError, Sentence
from batchsend.lists.customer_list import CustomerList
from batchsend.lists.damage import is_damaged
from batchsend.lists.headers import match_key
from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.mykaarma.customer_search import Field, Found, Search, phone_digits
from batchsend.planning.customer_match import Match, Person, Verdict, find_match, usable_text, usable_vin
from batchsend.planning.list_checks import API_UUID, DMS_NUMBER, look_like_dms_numbers

#: The columns that a look-up adds to a list. They repeat what myKaarma said, so they never prove who a customer is.
ADDED = (
    "customer_uuid",
    "match",
    "matched_by",
    "found_names",
    "found_customer_keys",
    "found_phones",
    "found_uuids",
    "match_note",
)
_OURS = frozenset(map(match_key, ADDED))

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
    r"|employee|country|code|valid|label|count|text|\bfound\b"
)
_CUSTOMER = re.compile(r"^(?:owner|buyer|client|purchaser|cust(?!omer))")
_NUMBER = re.compile(r"(?:no|num|nbr)$")
#: Rows that are looked at to see whether a column has numbers of a dealer management system.
_SAMPLE = 1_000


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
    #: What to search by. The others are only compared.
    search_by: frozenset[Field] = frozenset(Field)

    @property
    def identifiers(self) -> tuple[int, ...]:
        """The columns that point to few customers each, the most telling first."""
        return tuple(one for one in (self.customer_key, self.vin, *self.phones) if one is not None)

    @property
    def used(self) -> frozenset[int]:
        """These columns and the last name. The others may be cut off."""
        names = (self.last_name, self.name)
        return frozenset((*self.identifiers, *(one for one in names if one is not None)))

    def described(self, headers: Sequence[str]) -> str:
        """Which column is what: `customer number "Cust No", VIN "VIN", phone "Cell"`."""
        named = [
            (self._searched("customer number", Field.CUSTOMER_KEY), self.customer_key),
            (self._searched("VIN", Field.VIN), self.vin),
            *((self._searched("phone", Field.PHONE), position) for position in self.phones),
            ("last name", self.last_name),
            ("first name", self.first_name),
            ("name", self.name),
            ("company", self.company),
        ]
        return ", ".join(f'{word} "{headers[position]}"' for word, position in named if position is not None)

    def _searched(self, word: str, field: Field) -> str:
        return word if field in self.search_by else f"(only to compare) {word}"


def _always(_position: int) -> bool:
    return True


def find_lookup_columns(
    path: Path,
    headers: Sequence[str],
    named: Lookup,
    has_dms_numbers: Callable[[int], bool] = _always,
) -> LookupColumns:
    """Finds the columns of the list `path` by their headers, or as named.

    `has_dms_numbers`: whether a column that may have myKaarma's ids has customer numbers instead. Raises
    `ColumnsError` if there is no column to search by.
    """
    finder = _Finder(headers)
    key, vin = finder.named("customer_key", named.customer_key), finder.named("vin", named.vin)
    phones = tuple(one for header in named.phone or () if (one := finder.named("phone", header)) is not None)
    chosen = {Field.CUSTOMER_KEY: named.customer_key, Field.VIN: named.vin, Field.PHONE: named.phone}
    search_by = frozenset(field for field, header in chosen.items() if header) or frozenset(Field)
    if not named.customer_key:
        key = finder.first(_KEYS)
        maybe = finder.first(_MAYBE_KEYS) if key is None else None
        key = maybe if maybe is not None and has_dms_numbers(maybe) else key
    last_name = finder.named("last_name", named.last_name)
    if named.last_name is None:
        last_name = finder.first(_LAST_NAMES)
    found = LookupColumns(
        customer_key=key,
        vin=vin if named.vin else finder.first(_VINS),
        phones=phones if named.phone else finder.phones(),
        search_by=search_by,
        last_name=last_name,
        first_name=finder.first(_FIRST_NAMES),
        company=finder.first(_COMPANIES),
        name=finder.first(_NAMES) if last_name is None else None,
    )
    if not found.identifiers and not finder.problems:
        finder.problems.append(_nothing_to_search_by(finder.headers))
        finder.missing.append(("columns.lookup", None))
    if finder.problems:
        error = ColumnsError(path, finder.problems)
        error.columns = tuple(finder.missing)
        raise error
    return found


def look_like_numbers(customers: CustomerList, position: int) -> bool:
    """Whether a column of a list has numbers as a dealership's system gives them."""
    first = next(iter(customers.chunks(())), None)
    return first is not None and look_like_dms_numbers(first.frame.iloc[:_SAMPLE, position])


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


class _Finder:
    """Looks up columns of one list and collects the problems."""

    def __init__(self, headers: Sequence[str]) -> None:
        self.headers = ["" if _is_ours(header) else header for header in headers]
        self._plain = {_plain(header): position for position, header in reversed([*enumerate(self.headers)])}
        self._keys = {match_key(header): position for position, header in enumerate(self.headers) if header}
        self.problems: list[str] = []
        self.missing: list[tuple[str, str | None]] = []

    def first(self, names: Sequence[str]) -> int | None:
        return next((self._plain[name] for name in names if name in self._plain), None)

    def phones(self) -> tuple[int, ...]:
        return tuple(position for position, header in enumerate(self.headers) if _is_phone(header))

    def named(self, key: str, header: str | None) -> int | None:
        if header is None:
            return None
        position = self._keys.get(match_key(header))
        if position is None:
            self.missing.append((f"columns.lookup.{key}", header))
            has = ", ".join(filter(None, self.headers))
            why = (
                "a column that a look-up adds, which proves nothing"
                if _is_ours(header)
                else "not in the list"
            )
            self.problems.append(f'"{header}" was named for the look-up, and is {why}; it has: {has}')
        return position


def _is_ours(header: str) -> bool:
    return match_key(header) in _OURS


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
        values["customer_key"] = usable_text(values["customer_key"])
        values["vin"] = usable_vin(values["vin"])
        # A column "Customer" may have numbers.
        values["name"] = values["name"] if any(map(str.isalpha, values["name"])) else ""
        yield Person(
            department_uuid=department_uuid,
            phones=_phones([column[number] for column in phones], region),
            search_by=columns.search_by,
            **values,
        )


def given_ids(frame: pd.DataFrame, headers: Sequence[str]) -> list[str]:
    """The ids that a list has already, such as one that a person has added to an earlier result; "" for none."""
    position = next(
        (at for at, one in enumerate(headers) if match_key(one) == match_key("customer_uuid")), None
    )
    cells = _column(frame, position)
    return [cell if API_UUID.fullmatch(cell) and not DMS_NUMBER.fullmatch(cell) else "" for cell in cells]


@dataclass(frozen=True)
class CustomerLookup:
    """What the look-up of a list's customers has found. `problem`: why it ended early, a sentence."""

    answers: Callable[[Search], Found | None]
    problem: str | None = None

    def verdict(self, person: Person) -> Verdict:
        """Who a row's customer is."""
        verdict = find_match(person, self.answers)
        if isinstance(verdict, Verdict):
            return verdict
        return Verdict(Match.NONE, why=f"not looked up: {self.problem or _NO_ANSWER}")


_NO_ANSWER = "myKaarma gave no usable answer"


def _unknown(_search: Search) -> Found | None:
    return None


#: Before anything was looked up.
NO_LOOKUP = CustomerLookup(_unknown)


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
