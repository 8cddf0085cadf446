"""Searches for customers: the request, and answers in every wrapper and spelling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.mykaarma.customer_search import (
    MOST_RESULTS,
    Candidate,
    Field,
    Found,
    Search,
    customers_path,
    found_json,
    found_of,
    phone_digits,
    read_found,
    search_params,
)
from batchsend.mykaarma.reading import NotRead

CUSTOMER = {"uuid": "u-1", "customerKey": "123", "firstName": "Ann", "lastName": "Smith"}
ENTRY = {"customer": CUSTOMER, "vehicles": [{"vin": "1hgcm82633a004352"}]}
ANN = Candidate("u-1", "123", "Ann", "Smith", vins=("1HGCM82633A004352",))


def test_a_request_names_one_field_and_asks_for_all_that_it_may() -> None:
    search = Search("a/b", Field.CUSTOMER_KEY, "12 3")
    assert customers_path(search.department_uuid) == "/customer/v2/department/a%2Fb/customer/list"
    assert search_params(search) == {
        "searchTerm": "12 3",
        "fieldsToBeSearched": "customerKey",
        "maxResults": "100",
    }


@pytest.mark.parametrize(
    "answer",
    [
        [ENTRY],
        {"customers": [ENTRY]},
        {"customersWithVehicles": [ENTRY], "errors": []},
        {"customerList": [ENTRY]},
        {"data": {"customers": [ENTRY]}},
        [{"customerWithVehicles": ENTRY}],
        [{**CUSTOMER, "vehicles": ENTRY["vehicles"]}],
    ],
)
def test_customers_are_found_in_any_wrapper(answer: object) -> None:
    assert read_found(answer) == Found((ANN,))


@pytest.mark.parametrize("name", ["uuid", "customerUUID", "customerUuid"])
def test_the_id_has_several_names(name: str) -> None:
    found = read_found([{"customer": {name: "u-9", "customerKey": 123}}])
    assert found == Found((Candidate("u-9", "123"),))


def test_a_number_of_the_customer_in_a_database_is_not_its_id() -> None:
    found = read_found([{"customer": {"id": 4711, "customerKey": "123"}}])
    assert found == Found((Candidate("", "123"),))


def test_a_customer_with_two_cars_may_be_in_an_answer_twice() -> None:
    second = {"customer": CUSTOMER, "vehicles": [{"vin": "2HGXX82633A004352"}]}
    assert read_found([ENTRY, second]) == Found((replace(ANN, vins=(*ANN.vins, "2HGXX82633A004352")),))


def test_phones_in_both_shapes() -> None:
    shapes = {
        "phoneNumbers": [{"phoneNumber": "(312) 555-0142"}, {"phoneNumber": "+1 312 555 0143"}],
        "communications": [{"commValue": "ann@example.com"}, {"commValue": "3125550144"}],
    }
    found = read_found([{"customer": {**CUSTOMER, **shapes}}])
    assert isinstance(found, Found)
    assert found.candidates[0].phones == ("3125550142", "3125550143", "3125550144")


@pytest.mark.parametrize("answer", [[], {"customers": []}, {"customersWithVehicles": None, "errors": []}])
def test_nobody(answer: object) -> None:
    assert read_found(answer) == Found()


@pytest.mark.parametrize(
    "answer", [{}, {"errors": []}, {"customers": "x"}, ["x"], {"errors": [{"errorCode": "X"}]}, 7]
)
def test_an_answer_that_is_not_understood_is_never_nobody(answer: object) -> None:
    assert isinstance(read_found(answer), NotRead)


def test_a_full_answer_may_leave_others_out() -> None:
    found = read_found([ENTRY] * MOST_RESULTS)
    assert isinstance(found, Found)
    assert found.more
    assert not read_found([ENTRY] * (MOST_RESULTS - 1)).more  # type: ignore[union-attr]


_text = st.text(max_size=5)
_candidates = st.builds(
    Candidate, _text, _text, _text, _text, _text, st.tuples(_text), st.tuples(_text, _text)
)


@given(st.builds(Found, st.lists(_candidates, max_size=3).map(tuple), st.booleans()))
def test_a_kept_answer_is_the_answer(found: Found) -> None:
    assert found_of(found_json(found)) == found


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["customers", "customer", "vehicles", "uuid", "customerKey", "phoneNumbers", "errors"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(_json)
def test_any_json_is_read_or_refused(answer: Any) -> None:
    assert isinstance(read_found(answer), Found | NotRead)


def test_digits_of_phones() -> None:
    assert phone_digits("+1 (312) 555-0142") == phone_digits("3125550142") == "3125550142"
    assert phone_digits("+44 20 7946 0958") == "442079460958"
