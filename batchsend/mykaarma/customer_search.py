"""Searches customers at myKaarma: builds requests and reads answers. Pure functions.

Source: "Find customers" in the vendor's documentation (`GET .../customer/list`), whose answer is not fully published.
So customers are found in whatever wraps them, in any spelling of their id, and a fact that is missing is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from batchsend.mykaarma.protocol import error_codes, short_text
from batchsend.mykaarma.reading import NotRead, Permission
from batchsend.mykaarma.updates import message_facts

#: The permission that an account needs. An account that sends texts may lack it.
PERMISSION = Permission("customer.search", "look up customers", "a list of customers")
#: The most characters of a search term.
LONGEST_TERM = 30
#: The most customers in an answer. If there are as many, myKaarma may have more.
MOST_RESULTS = 100

#: How deeply the customers of an answer may be nested.
_DEPTH = 5
_IDS = ("uuid", "customeruuid")
#: An object with one of these is a customer.
_FACTS = ("customerkey", "firstname", "lastname", "company", "phonenumbers", "communications")
_WRAPPERS = (
    "customers",
    "customerswithvehicles",
    "customerwithvehicles",
    "customerlist",
    "customer",
    "data",
    "result",
    "results",
    "content",
)
_MOST_PHONES = 20


class Field(StrEnum):
    """What customers can be searched by, as the API calls it."""

    CUSTOMER_KEY = "customerKey"
    VIN = "vehicles.vin"
    PHONE = "communications.commValue"


class Search(NamedTuple):
    """One question to the API: the customers of a department that have `term` somewhere in `field`."""

    department_uuid: str
    field: Field
    term: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A customer of an answer; facts that the answer does not have are empty. Phones are digits only."""

    uuid: str = ""
    customer_key: str = ""
    first_name: str = ""
    last_name: str = ""
    company: str = ""
    phones: tuple[str, ...] = ()
    vins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The customers of one answer. `more`: myKaarma may have others that the answer leaves out."""

    candidates: tuple[Candidate, ...] = ()
    more: bool = False


def found_json(found: Found) -> str:
    """Found customers as text, to be kept; `null` at the end stands for those that the answer leaves out."""
    entries: list[object] = [asdict(candidate) for candidate in found.candidates]
    return orjson.dumps([*entries, None] if found.more else entries).decode()


def found_of(text: str) -> Found:
    """The reverse of `found_json`."""
    entries = orjson.loads(text)
    candidates = (
        Candidate(**{**entry, "phones": tuple(entry["phones"]), "vins": tuple(entry["vins"])})
        for entry in entries
        if entry is not None
    )
    return Found(tuple(candidates), None in entries)


def customers_path(department_uuid: str) -> str:
    """The path of the customers of a department, relative to the base URL."""
    return f"/customer/v2/department/{quote(department_uuid, safe='')}/customer/list"


def search_params(search: Search) -> dict[str, str]:
    """The parameters of the request."""
    return {
        "searchTerm": search.term,
        "fieldsToBeSearched": search.field,
        "maxResults": str(MOST_RESULTS),
    }


def phone_digits(text: str) -> str:
    """The digits of a phone without the country code of the USA and Canada, in which phones are compared."""
    digits = re.sub(r"\D", "", text)
    return digits[1:] if len(digits) == 11 and digits.startswith("1") else digits


def read_found(answer: object) -> Found | NotRead:
    """The customers in an answer's JSON. An answer that is not understood is never taken for "no customers"."""
    entries = list(_entries(answer))
    if entries:
        return Found(tuple(_merged(map(_candidate, entries))), len(entries) >= MOST_RESULTS)
    codes = error_codes(answer) if isinstance(answer, dict) else ()
    if codes:
        return NotRead(f"myKaarma could not look up a customer ({'; '.join(codes)}).")
    if _is_empty(answer):
        return Found()
    return NotRead("myKaarma answered in a way that batchsend does not understand.")


def _entries(value: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The objects that hold a customer each, with its vehicles beside or in it."""
    if depth == _DEPTH:
        return
    if isinstance(value, list):
        for element in value:
            yield from _entries(element, depth + 1)
    elif isinstance(value, dict):
        facts = message_facts(value)
        if _is_customer(facts) or _is_customer(_inner(facts)):
            yield facts
        else:
            for name in _WRAPPERS:
                yield from _entries(facts.get(name), depth + 1)


def _inner(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts of the object under `customer`."""
    customer = facts.get("customer")
    return message_facts(customer) if isinstance(customer, dict) else {}


def _is_customer(facts: Mapping[str, Any]) -> bool:
    return any(name in facts for name in _FACTS)


def _is_empty(answer: object) -> bool:
    """Whether an answer says that there are no customers."""
    if isinstance(answer, list):
        return not answer
    if not isinstance(answer, dict):
        return False
    inner = [value for name, value in message_facts(answer).items() if name in _WRAPPERS]
    return bool(inner) and all(not value or _is_empty(value) for value in inner)


def _candidate(entry: Mapping[str, Any]) -> Candidate:
    customer = {**entry, **_inner(entry)}
    ids = (_text(customer.get(name)) for name in _IDS)
    phones = (*_values(customer.get("phonenumbers"), "phonenumber"), *_communications(customer))
    vins = (*_values(entry.get("vehicles"), "vin"), *_values(customer.get("vehicles"), "vin"))
    return Candidate(
        uuid=next(filter(None, ids), ""),
        customer_key=_text(customer.get("customerkey")),
        first_name=_text(customer.get("firstname")),
        last_name=_text(customer.get("lastname")),
        company=_text(customer.get("company")),
        phones=tuple(dict.fromkeys(digits for phone in phones if (digits := phone_digits(phone)))),
        vins=tuple(dict.fromkeys(vin.upper() for vin in vins)),
    )


def _merged(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Each customer once: one with several cars may be in an answer several times."""
    by_uuid: dict[str, Candidate] = {}
    for one in candidates:
        known = by_uuid.get(one.uuid)
        if not one.uuid:
            yield one
        elif known is None:
            by_uuid[one.uuid] = one
        else:
            phones, vins = (
                dict.fromkeys((*known.phones, *one.phones)),
                dict.fromkeys((*known.vins, *one.vins)),
            )
            by_uuid[one.uuid] = replace(known, phones=tuple(phones), vins=tuple(vins))
    yield from by_uuid.values()


def _communications(customer: Mapping[str, Any]) -> Iterator[str]:
    """Phones in the other shape, in which e-mail addresses are beside them."""
    values = _values(customer.get("communications"), "commvalue")
    return (value for value in values if "@" not in value)


def _values(entries: object, name: str) -> Iterator[str]:
    """The texts under `name` in a list of objects, or the texts of a list."""
    for entry in entries[:_MOST_PHONES] if isinstance(entries, list) else ():
        value = _text(message_facts(entry).get(name)) if isinstance(entry, dict) else _text(entry)
        if value:
            yield value


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return short_text(value) or ""
