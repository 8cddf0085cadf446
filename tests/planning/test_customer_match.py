"""Who a row means: taken only if one customer fits and nothing contradicts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.campaigns.tables import Lookup
from batchsend.errors import ColumnsError
from batchsend.mykaarma.customer_search import Candidate, Field, Found, Search
from batchsend.planning.customer_match import (
    Match,
    Person,
    Verdict,
    find_match,
    searches_of,
    usable_text,
    usable_vin,
)
from batchsend.planning.lookup_columns import ADDED, LookupColumns, find_lookup_columns, persons

VIN, OTHER_VIN = "1HGCM82633A004352", "2HGXX82633A004352"
PHONE, OTHER_PHONE = "3125550142", "3125550143"


def ann(**values: object) -> Candidate:
    usual = {"uuid": "u-ann", "customer_key": "123", "first_name": "Ann", "last_name": "Smith"}
    return Candidate(**{**usual, "phones": (PHONE,), "vins": (VIN,), **values})  # type: ignore[arg-type]


def match(person: dict[str, object], *candidates: Candidate, more: bool = False) -> str:
    """The match, with the customer's id if there is one. The API finds all of the candidates by anything."""
    verdict = find_match(
        Person("department", **person),  # type: ignore[arg-type]
        lambda _: Found(candidates, more),
    )
    assert isinstance(verdict, Verdict)
    assert (verdict.customer is not None) == (verdict.match is Match.ONE)
    return verdict.match if verdict.customer is None else verdict.customer.uuid


CASES = [
    # by customer number
    ({"customer_key": "123"}, [ann()], "differs"),
    ({"customer_key": "123", "vin": VIN[-8:]}, [ann()], "u-ann"),
    ({"customer_key": "123", "last_name": "smith"}, [ann()], "u-ann"),
    ({"customer_key": "123", "last_name": "Miller", "phones": (PHONE,)}, [ann()], "differs"),
    (
        {
            "customer_key": "123",
            "vin": VIN,
            "last_name": "Miller",
            "first_name": "Bob",
            "phones": (OTHER_PHONE,),
        },
        [ann()],
        "differs",
    ),
    ({"customer_key": "123", "last_name": "Smith", "first_name": "Bob"}, [ann()], "differs"),
    ({"customer_key": "123", "last_name": "Miller"}, [ann()], "differs"),
    ({"customer_key": "123", "last_name": "Miller", "phones": (OTHER_PHONE,)}, [ann()], "differs"),
    ({"customer_key": "123"}, [ann(customer_key="12345")], "none"),
    (
        {"customer_key": "123", "last_name": "Smith"},
        [ann(), ann(uuid="u-2", customer_key="12345")],
        "u-ann",
    ),
    ({"customer_key": "123"}, [ann(), ann(uuid="u-2")], "several"),
    ({"customer_key": "123", "last_name": "Smith"}, [ann(customer_key="")], "differs"),
    ({"customer_key": "123", "last_name": "Smith"}, [ann(uuid="")], "differs"),
    ({"customer_key": "123", "last_name": "Smith"}, [ann(uuid="?")], "differs"),
    # by VIN
    ({"vin": VIN}, [ann()], "differs"),
    ({"vin": VIN, "last_name": "Smith"}, [ann()], "differs"),
    ({"vin": VIN, "last_name": "Smith", "first_name": "Ann"}, [ann()], "u-ann"),
    ({"vin": VIN, "last_name": "Smith", "first_name": "A"}, [ann()], "differs"),
    (
        {"vin": VIN, "last_name": "Garcia", "first_name": "Ana"},
        [ann(last_name="", first_name="", company="Ally Leasing")],
        "differs",
    ),
    ({"vin": VIN, "phones": (OTHER_PHONE,)}, [ann()], "differs"),
    ({"vin": VIN}, [ann(vins=(OTHER_VIN,))], "none"),
    ({"vin": VIN, "last_name": "Jones"}, [ann()], "differs"),
    ({"vin": VIN, "last_name": "Smith", "first_name": "Bob"}, [ann()], "differs"),
    ({"vin": VIN[-8:]}, [ann()], "differs"),
    ({"vin": VIN[-8:], "last_name": "Smith"}, [ann()], "differs"),
    ({"vin": VIN[-8:], "name": "Ann Smith"}, [ann()], "u-ann"),
    ({"vin": VIN, "phones": (PHONE,)}, [ann(), ann(uuid="u-2", phones=())], "u-ann"),
    ({"vin": VIN, "last_name": "Smith"}, [ann(), ann(uuid="u-2", last_name="Jones")], "several"),
    # by phone
    ({"phones": (PHONE,)}, [ann()], "differs"),
    ({"phones": (PHONE,), "last_name": "Smith"}, [ann()], "u-ann"),
    ({"phones": (OTHER_PHONE, PHONE), "last_name": "Smith"}, [ann()], "u-ann"),
    ({"phones": (PHONE,), "last_name": "Smith", "vin": OTHER_VIN}, [ann()], "differs"),
    ({"phones": (PHONE,), "last_name": "Jones"}, [ann()], "differs"),
    ({"phones": (PHONE,), "name": "SMITH, ANN"}, [ann()], "u-ann"),
    ({"phones": (PHONE,), "name": "SMITH, BOB"}, [ann()], "differs"),
    ({"phones": (PHONE,), "name": "Ann Smith"}, [ann()], "u-ann"),
    ({"phones": (PHONE,), "name": "SMITH ANN M"}, [ann()], "u-ann"),
    ({"phones": (PHONE,), "name": "Bob Smith"}, [ann()], "differs"),
    ({"phones": (PHONE,)}, [ann(), ann(uuid="u-2", first_name="Bob")], "several"),
    # A number that is another customer's: the row's customer is not the one with this phone.
    ({"customer_key": "777", "phones": (PHONE,), "last_name": "Smith"}, [ann()], "differs"),
    # names
    ({"phones": (PHONE,), "last_name": "García López"}, [ann(last_name="Garcia")], "u-ann"),
    ({"phones": (PHONE,), "last_name": "De La Cruz"}, [ann(last_name="De Leon")], "differs"),
    ({"phones": (PHONE,), "last_name": "O'Brien"}, [ann(last_name="OBrien")], "u-ann"),
    # A relative.
    ({"phones": (PHONE,), "last_name": "Smith", "first_name": "Mary J"}, [ann(first_name="John")], "differs"),
    (
        {"phones": (PHONE,), "last_name": "Smith", "first_name": "Chris"},
        [ann(first_name="Christina")],
        "differs",
    ),
    (
        {"phones": (PHONE,), "last_name": "Smith", "first_name": "Ann Lee"},
        [ann(first_name="Ann May")],
        "differs",
    ),
    ({"phones": (PHONE,), "last_name": "Smith", "first_name": "Ann"}, [ann(first_name="Ann M.")], "u-ann"),
    ({"phones": (PHONE,), "last_name": "Smith", "first_name": "A."}, [ann()], "u-ann"),
    ({"phones": (PHONE,), "name": "Ann Smith Jr"}, [ann(last_name="Smith Sr.")], "differs"),
    ({"phones": (PHONE,), "name": "Ann Smith Jr"}, [ann()], "differs"),
    ({"phones": (PHONE,), "name": "Ann Smith Jr"}, [ann(last_name="Smith Jr.")], "u-ann"),
    ({"customer_key": "123", "name": "Ann Smith Jr"}, [ann()], "u-ann"),
    ({"customer_key": "123", "name": "Ann Smith Jr"}, [ann(last_name="Smith Sr")], "differs"),
    # Another employee of a company.
    (
        {"phones": (PHONE,), "last_name": "Jones", "first_name": "Bob", "company": "Acme"},
        [ann(company="Acme")],
        "differs",
    ),
    (
        {"phones": (PHONE,), "last_name": "Smith", "first_name": "Ann", "company": "Acme"},
        [ann(company="Acme")],
        "u-ann",
    ),
    ({"vin": VIN, "company": "Acme"}, [ann(last_name="", first_name="", company="ACME Inc")], "u-ann"),
    ({"vin": VIN, "company": "Acme"}, [ann(company="ACME Inc")], "differs"),
    # What stands for no name.
    ({"vin": VIN, "company": "N/A"}, [ann(last_name="", first_name="", company="N/A")], "differs"),
    ({"phones": (PHONE,), "last_name": "Unknown"}, [ann(last_name="UNKNOWN")], "differs"),
    (
        {"phones": (PHONE,), "name": "ACME PLUMBING"},
        [ann(last_name="", company="Acme Plumbing, LLC")],
        "u-ann",
    ),
    ({}, [ann()], "none"),
]


@pytest.mark.parametrize(("person", "candidates", "expected"), CASES)
def test_who_is_meant(person: dict[str, object], candidates: list[Candidate], expected: str) -> None:
    assert match(person, *candidates) == expected


def test_an_answer_that_leaves_customers_out_needs_two_facts() -> None:
    assert match({"customer_key": "123"}, ann(), more=True) == "several"
    assert match({"customer_key": "123", "phones": (PHONE,)}, ann(), more=True) == "u-ann"
    assert match({"customer_key": "999"}, ann(), more=True) == "several"


def test_the_most_telling_question_is_asked_first_and_the_next_only_if_nobody_fits() -> None:
    person = Person("d", customer_key="123", vin=VIN, phones=(PHONE,), last_name="Smith")
    answers: dict[Search, Found] = {}
    asked = []
    while isinstance(step := find_match(person, answers.get), Search):
        asked.append(step)
        answers[step] = Found((ann(customer_key=""),)) if step.field is Field.PHONE else Found()
    assert asked == list(searches_of(person))
    assert [one.term for one in asked] == ["123", "3A004352", PHONE]
    assert step.match is Match.ONE


def test_columns_that_are_not_named_are_compared_and_not_searched() -> None:
    headers = ["Car", "Phone", "Cust No"]
    columns = find_lookup_columns(Path("list.csv"), headers, Lookup(vin="Car"))
    frame = pd.DataFrame([[VIN, "(312) 555-0143", "123"]])
    [person] = persons(frame, columns, "department", "US")
    assert [search.field for search in searches_of(person)] == [Field.VIN]
    assert (person.phones, person.customer_key) == ((OTHER_PHONE,), "123")
    assert columns.described(headers) == (
        '(only to compare) customer number "Cust No", VIN "Car", (only to compare) phone "Phone"'
    )


@pytest.mark.parametrize("text", ["", "0", "000", "N/A", "none", "Cash", "-", "0-0"])
def test_what_stands_for_no_number(text: str) -> None:
    assert usable_text(text) == ""


@pytest.mark.parametrize(
    ("text", "vin"),
    [
        (VIN.lower(), VIN),
        (" 1HGCM-82633 A004352", VIN),
        (VIN[-8:], VIN[-8:]),
        ("NOVIN", ""),
        ("UNKNOWN1", ""),
        ("0" * 17, ""),
        (VIN + "1", ""),
    ],
)
def test_what_is_a_vin(text: str, vin: str) -> None:
    assert usable_vin(text) == vin


_keys, _names = st.sampled_from(["", "1", "12", "123"]), st.sampled_from(["", "Ann", "Bob", "Smith", "Jones"])
_phones = st.lists(st.sampled_from([PHONE, OTHER_PHONE]), unique=True, max_size=2).map(tuple)
_vins = st.lists(st.sampled_from([VIN, OTHER_VIN]), unique=True, max_size=2).map(tuple)
_people = st.builds(
    lambda key, vin, phones, last, first: Person("d", key, vin, phones, last, first),
    _keys,
    st.sampled_from(["", VIN, OTHER_VIN, VIN[-8:]]),
    _phones,
    _names,
    _names,
)
_found = st.lists(
    st.builds(Candidate, st.uuids().map(str), _keys, _names, _names, st.just(""), _phones, _vins),
    max_size=4,
).map(lambda some: Found(tuple(some)))


@given(_people, _found)
def test_nobody_is_taken_whom_an_exact_fact_does_not_name_or_another_fact_contradicts(
    person: Person, found: Found
) -> None:
    verdict = find_match(person, lambda _: found)
    assert isinstance(verdict, Verdict)
    one = verdict.customer
    if one is None:
        return
    assert not (person.customer_key and one.customer_key) or person.customer_key == one.customer_key
    by_number = bool(person.customer_key) and person.customer_key == one.customer_key
    by_phone = not set(person.phones).isdisjoint(one.phones)
    by_vin = bool(person.vin) and any(vin.endswith(person.vin) for vin in one.vins)
    by_name = bool(person.last_name) and person.last_name == one.last_name
    assert by_number or by_phone or by_vin or by_name
    assert [by_number, by_phone, by_vin, by_name].count(True) > 1
    if person.last_name and one.last_name:
        assert by_name
    if person.first_name and one.first_name:
        assert person.first_name == one.first_name
    if not by_number and not by_phone:
        assert person.first_name == one.first_name != ""
    # Nobody else has the same number, VIN and phone as far as the row says them.
    twins = [
        other
        for other in found.candidates
        if other is not one
        and (other.customer_key, other.phones, other.vins) == (one.customer_key, one.phones, one.vins)
    ]
    assert twins == []


@pytest.mark.parametrize("spelled", [str, str.upper, lambda name: name.replace("_", " ").title()])
@pytest.mark.parametrize("added", ADDED)
def test_a_column_that_a_look_up_added_is_no_fact(added: str, spelled: Callable[[str], str]) -> None:
    headers = ["Cust No", spelled(added)]
    assert find_lookup_columns(Path("list.csv"), headers, Lookup()) == LookupColumns(customer_key=0)
    for named in (
        Lookup(customer_key=added),
        Lookup(vin=added),
        Lookup(phone=(added,)),
        Lookup(last_name=added),
    ):
        with pytest.raises(ColumnsError, match="a column that a look-up adds, which proves nothing"):
            find_lookup_columns(Path("list.csv"), headers, named)
