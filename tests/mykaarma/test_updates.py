"""Reading updates in every known shape, and ignoring everything else."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.mykaarma.updates import SendRef, Update, UpdateOutcome, overrules, read_events, read_update
from batchsend.statuses import Status

METADATA = {
    "source": "batchsend",
    "batchsendLedger": "L1",
    "batchsendRun": "3",
    "batchsendRow": "17",
    "batchsendSend": "2",
}
SEND = SendRef("L1", 3, 17, 1)
ACCEPTED, DELIVERED = UpdateOutcome(Status.ACCEPTED), UpdateOutcome(Status.DELIVERED)
TWILIO = {"errorCode": "TWILIO_SENDING_FAILURE", "errorDescription": "Not taken."}


def undelivered(codes: str = "", descriptions: str = "") -> UpdateOutcome:
    return UpdateOutcome(Status.UNDELIVERED, codes, descriptions)


SHAPES: list[tuple[str, Any, Update | None]] = [
    (
        "the update to callbackURL",
        {"messageUUID": "m", "status": "SUCCESS", "errors": None, "callbackMetaData": METADATA},
        Update(SEND, "m", ACCEPTED),
    ),
    (
        "the same under other names",
        {"messageUuid": "m", "status": "SUCCESS", "errors": [], "metaData": METADATA},
        Update(SEND, "m", ACCEPTED),
    ),
    (
        "metadata null under one name, given under the other, as JSON in a text",
        {"metaData": None, "callbackMetaData": json.dumps(METADATA), "status": "SUCCESS"},
        Update(SEND, None, ACCEPTED),
    ),
    (
        "numbers where texts were sent",
        {"callbackMetaData": {**METADATA, "batchsendRun": 3, "batchsendRow": 17}, "status": "SUCCESS"},
        Update(SEND, None, ACCEPTED),
    ),
    (
        "sending failed",
        {"messageUUID": "m", "status": "FAILURE", "errors": [TWILIO, TWILIO, {"errorCode": "OTHER"}]},
        Update(None, "m", undelivered("TWILIO_SENDING_FAILURE; OTHER", "Not taken.")),
    ),
    (
        "errors without a status",
        {"messageUUID": "m", "errors": [TWILIO]},
        Update(None, "m", undelivered("TWILIO_SENDING_FAILURE", "Not taken.")),
    ),
    (
        "errors of other kinds",
        {"messageUUID": "m", "status": "failed", "errors": ["A", 7, None, {"code": "B", "description": "b"}]},
        Update(None, "m", undelivered("A; B", "b")),
    ),
    (
        "a sentence where a code was due",
        {"messageUUID": "m", "errors": ["Could not send Hi Ann to +12125550123"]},
        Update(None, "m", undelivered("", "Could not send Hi Ann to +12125550123")),
    ),
    (
        "the message event",
        {"messageDTO": {"uuid": "m", "deliveryStatus": "DELIVERED", "twilioDeliveryFailureMessage": None}},
        Update(None, "m", DELIVERED),
    ),
    (
        "the message event as JSON inside the JSON",
        {"payload": json.dumps({"messageDTO": {"uuid": "m", "deliveryStatus": "delivered"}})},
        Update(None, "m", DELIVERED),
    ),
    (
        "JSON inside the JSON, twice",
        json.dumps({"payload": json.dumps({"data": json.dumps({"messageUuid": "m", "status": "SENT"})})}),
        Update(None, "m", ACCEPTED),
    ),
    (
        "a failed delivery",
        {
            "messageDTO": {
                "uuid": "m",
                "deliveryStatus": "UNDELIVERED",
                "twilioDeliveryFailureMessage": "30003",
            }
        },
        Update(None, "m", undelivered("", "30003")),
    ),
    (
        "a reason of failure next to the status of an earlier stage",
        {"messageDTO": {"uuid": "m", "deliveryStatus": "SENT", "twilioDeliveryFailureMessage": "30003"}},
        Update(None, "m", undelivered("", "30003")),
    ),
    (
        "the phone network's status overrules the service's status",
        {"status": "SUCCESS", "messageDTO": {"uuid": "m", "deliveryStatus": "undelivered"}},
        Update(None, "m", undelivered()),
    ),
    (
        "an unknown status is ignored, but the metadata is used",
        {"messageUUID": "m", "status": "HALF_WAY", "callbackMetaData": METADATA},
        Update(SEND, "m", None),
    ),
    (
        "a test text is about no row",
        {"messageUUID": "m", "status": "SUCCESS", "callbackMetaData": {**METADATA, "batchsendTest": "1"}},
        Update(None, "m", ACCEPTED),
    ),
    (
        "JSON in the text of a message is not parsed",
        {
            "messageDTO": {
                "uuid": "m",
                "message": json.dumps({"status": "DELIVERED"}),
                "body": '{"status":"SENT"}',
            }
        },
        Update(None, "m", None),
    ),
    ("half of the metadata", {"callbackMetaData": {"batchsendLedger": "L1", "batchsendRun": "3"}}, None),
    (
        "numbers that no ledger has",
        {"status": "SENT", "callbackMetaData": {**METADATA, "batchsendRow": "99999999999"}},
        Update(None, None, ACCEPTED),
    ),
    ("a list of one", [{"messageUUID": "m", "status": "SENT"}], Update(None, "m", ACCEPTED)),
    ("nothing that is known", {"hello": "world", "uuid": "m"}, None),
    ("no object", [1, 2], None),
    (
        "characters that a database or workbook refuses",
        {"messageUUID": "m\0\ud800", "errors": [{"errorCode": "\0A\nB\udfff"}]},
        Update(None, "m", undelivered("", "A B")),
    ),
    ("an id that is too long", {"messageUUID": "m" * 129, "status": "SENT"}, Update(None, None, ACCEPTED)),
]


@pytest.mark.parametrize(
    ("body", "update"), [shape[1:] for shape in SHAPES], ids=[shape[0] for shape in SHAPES]
)
def test_every_shape_is_read(body: Any, update: Update | None) -> None:
    assert read_update(json.dumps(body).encode()) == update


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_body_in_another_encoding_is_read(encoding: str) -> None:
    assert read_update('{"messageUUID": "m", "status": "SENT"}'.encode(encoding)) == Update(
        None, "m", ACCEPTED
    )


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[" * 200_000, b'{"a":' * 100_000, b"9" * 10_000])
def test_a_body_that_is_not_json_is_ignored(body: bytes) -> None:
    assert read_update(body) is None


def event(uuid: str, **facts: Any) -> str:
    return json.dumps({"messageUUID": uuid, "status": "SENT", **facts})


def facts_of(body: str) -> list[str | None]:
    """The message of each event of a body; `None` where it has no facts."""
    return [one.update.message_uuid if one.update else None for one in read_events(body.encode())]


BATCHES: list[tuple[str, str, list[str | None]]] = [
    ("one", event("a"), ["a"]),
    ("an array", f"[{event('a')}, {event('b')},{event('c')}]", ["a", "b", "c"]),
    ("an array of one", f"[{event('a')}]", ["a"]),
    ("arrays in an array", f"[[{event('a')}], [[{event('b')}], []], []]", ["a", "b"]),
    ("an array in a string", json.dumps(f"[{event('a')},{event('b')}]"), ["a", "b"]),
    ("strings in an array", json.dumps([event("a"), event("b")]), ["a", "b"]),
    ("garbage between", f'[1, null, "]", {event("a")}, "\\"", {{}}, {event("b")}]', ["a", "b", None]),
    ("a malformed one", f'[{event("a")}, {{"x": }}, {event("b")}]', ["a", "b", None]),
    ("a number that is too long", f"[{event('a')}, {'9' * 5000}, {event('b')}]", ["a", "b", None]),
    ("one that is too deep", f"[{event('a')}, {'[' * 5000 + ']' * 5000}, {event('b')}]", ["a", "b", None]),
    ("a deep object", "[" + event("a") + "," + '{"x":' * 5000 + "1" + "}" * 5000 + "]", ["a", None]),
    ("the end is missing", f'[{event("a")}, {event("b")}, {{"messageUUID": "c', ["a", "b", None]),
    ("a bracket in a text", "[" + event("a", body='] \\" }} [') + "," + event("b") + "]", ["a", "b"]),
    ("only garbage", '[1, {"x": 2}]', [None]),
    ("empty", "[]", [None]),
    ("nothing", "", [None]),
    ("wrapped", f'{{"events": [{event("a")}, {event("b")}]}}', ["a", "b"]),
    ("one wrapped", f'{{"events": [{event("a")}]}}', ["a"]),
    ("a payload of several", json.dumps({"payload": f"[{event('a')}, {event('b')}]"}), ["a", "b"]),
    ("messages", '{"messages": [{"uuid": "a"}, {"uuid": "b", "deliveryStatus": "READ"}]}', ["a", "b"]),
]


@pytest.mark.parametrize(("body", "messages"), [batch[1:] for batch in BATCHES], ids=[b[0] for b in BATCHES])
def test_each_event_of_a_body_is_read_by_itself(body: str, messages: list[str | None]) -> None:
    assert facts_of(body) == messages


def test_events_keep_what_stands_around_their_list() -> None:
    events = read_events(
        json.dumps({"metaData": METADATA, "events": [{"status": "SENT"}, {"status": "READ"}]}).encode()
    )
    assert [one.update for one in events] == [Update(SEND, None, ACCEPTED), Update(SEND, None, DELIVERED)]


def test_an_event_is_the_same_alone_and_in_an_array() -> None:
    assert read_events(f"[ {event('a')} ,\n{event('b')}]".encode())[1] == read_events(event("b").encode())[0]


def test_large_objects_around_a_long_list_are_not_copied_for_each_event() -> None:
    body = json.dumps(
        {"x": "y" * 100_000, "events": [{"messageUUID": str(number)} for number in range(5000)]}
    )
    assert facts_of(body) == [None]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16", "utf-32"])
def test_texts_in_another_encoding_do_not_hide_the_facts(encoding: str) -> None:
    body = f"[{event('a', body='José')}, {event('b')}]".replace("\\u00e9", "é").encode(encoding)
    assert [one.update for one in read_events(body)] == [Update(None, uuid, ACCEPTED) for uuid in "ab"]


WORDS = (
    "payload messageDTO message data status deliveryStatus errors errorCode messageUUID messageUuid uuid metaData "
    "callbackMetaData batchsendLedger batchsendRun batchsendRow batchsendSend twilioDeliveryFailureMessage"
)
NAMES = st.sampled_from(WORDS.split())
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["SUCCESS", "DELIVERED", "1", "FAILURE"])
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6) | st.builds(json.dumps, inner)
    ),
    max_leaves=20,
)


@given(st.lists(st.uuids().map(str), min_size=2, max_size=8, unique=True), st.data())
def test_garbage_anywhere_in_an_array_hides_no_event(uuids: list[str], data: st.DataObject) -> None:
    elements: list[Any] = [{"messageUUID": uuid} for uuid in uuids]
    for garbage in data.draw(st.lists(TREES.filter(lambda tree: read_update(json.dumps(tree)) is None))):
        elements.insert(data.draw(st.integers(0, len(elements))), garbage)
    found = [one for one in facts_of(json.dumps(elements)) if one in uuids]
    assert found == uuids


@given(TREES)
def test_reading_never_fails(tree: Any) -> None:
    update = read_update(json.dumps(tree).encode())
    if update is None:
        return
    outcome = update.outcome or UpdateOutcome(Status.ACCEPTED)
    texts = [update.message_uuid or "", outcome.codes, outcome.descriptions]
    # Both databases accept them.
    assert all("\0" not in text and text.encode() for text in texts if text)
    assert update.send is None or (update.send.run_id >= 1 and update.send.generation >= 0)


OUTCOMES = st.builds(
    UpdateOutcome,
    st.sampled_from([Status.ACCEPTED, Status.UNDELIVERED, Status.DELIVERED]),
    st.sampled_from(["", "A", "OPTED_OUT_COMMUNICATION_VALUE", "TWILIO_SENDING_FAILURE; A"]),
    st.sampled_from(["", "a", "b"]),
)


@given(OUTCOMES, OUTCOMES, OUTCOMES)
def test_outcomes_have_a_total_order(a: UpdateOutcome, b: UpdateOutcome, c: UpdateOutcome) -> None:
    assert overrules(a, None) and not overrules(a, a)
    assert (a == b) or (overrules(a, b) != overrules(b, a))
    assert not (overrules(a, b) and overrules(b, c)) or overrules(a, c)


def test_final_outcomes_overrule_others_and_an_opt_out_overrules_other_reasons() -> None:
    opted_out = undelivered("OPTED_OUT_COMMUNICATION_VALUE")
    order = [ACCEPTED, undelivered(), undelivered("TWILIO_SENDING_FAILURE"), opted_out, DELIVERED]
    assert all(overrules(later, earlier) for earlier, later in pairwise(order))
