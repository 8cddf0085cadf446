"""Reading enough of a conversation to decide, and giving up in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from ledgers import came_to, identity, planned, send_all, store_plan
from misbehaving import Misbehaving, answer, misbehaving, says

from batchsend.errors import StoppedError
from batchsend.exits import Exit
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.settlements import ReadConversation, Thread
from batchsend.mykaarma.conversation import (
    PAGE_MESSAGES,
    Conversation,
    ConversationAnswer,
    ConversationClient,
    ConversationMessage,
    ConversationQuery,
    Direction,
)
from batchsend.mykaarma.protocol import Refused, RetryLater
from batchsend.mykaarma.reading import NotRead
from batchsend.mykaarma.settlement import RequestFacts, UnknownText
from batchsend.runs import settle
from batchsend.runs.settle import asking_patiently, look_for_texts
from batchsend.settings import Credentials
from batchsend.statuses import Status
from batchsend.utils.timestamps import now, to_text

THREAD = Thread("department", "user", "customer")
QUERY = ConversationQuery(*THREAD)


def message(number: int, age: timedelta | None) -> ConversationMessage:
    at = now() - age if age is not None else None
    return ConversationMessage(f"m-{number}", Direction.SENT, at, "Hi")


def pages(every: timedelta | None) -> tuple[list[ConversationQuery], Callable[..., Any]]:
    """A conversation without an end, with a message at these intervals, and the questions that it was asked."""
    asked: list[ConversationQuery] = []

    async def ask(query: ConversationQuery) -> Conversation:
        first = len(asked) * PAGE_MESSAGES
        asked.append(query)
        numbers = range(first, first + PAGE_MESSAGES)
        ages = (every * n if every is not None else None for n in numbers)
        found = tuple(message(n, age) for n, age in zip(numbers, ages, strict=True))
        return Conversation(found, is_full=True, clock_ahead=timedelta(0))

    return asked, ask


def read(ask: Callable[..., Any], age: timedelta) -> ReadConversation | NotRead:
    text = UnknownText("Hi", None, now() - age, wanted=True)
    return asyncio.run(settle._read_thread(ask, THREAD, [text], RequestFacts()))


def test_pages_are_read_until_before_the_request() -> None:
    asked, ask = pages(timedelta(minutes=1))
    found = read(ask, timedelta(minutes=30))
    assert isinstance(found, ReadConversation)
    # 30 minutes, and as long before as clocks may differ: 36 messages.
    assert len(found.messages) == 2 * PAGE_MESSAGES
    first, second = asked
    assert (first.before, first.known) == (None, ())
    assert second.before is not None
    assert set(second.known) == {f"m-{n}" for n in range(PAGE_MESSAGES)}


def test_an_old_request_is_looked_for_where_it_belongs() -> None:
    asked, ask = pages(timedelta(days=100))
    read(ask, timedelta(days=40))
    assert asked[0].before is not None
    assert timedelta(days=38) < now() - asked[0].before < timedelta(days=40)


@pytest.mark.parametrize("every", [timedelta(seconds=1), None])
def test_a_conversation_that_is_too_long_or_has_no_times_decides_nothing(every: timedelta | None) -> None:
    asked, ask = pages(every)
    assert isinstance(read(ask, timedelta(hours=3)), NotRead)
    assert len(asked) <= 10


class Answering:
    """A client that gives these answers."""

    def __init__(self, *answers: ConversationAnswer) -> None:
        self.answers = list(answers)

    async def ask(self, _query: ConversationQuery) -> ConversationAnswer:
        return self.answers.pop(0)


def patiently(*answers: ConversationAnswer) -> Conversation | NotRead:
    client = cast("ConversationClient", Answering(*answers))
    return asyncio.run(cast("Any", asking_patiently(client, 1000.0)(QUERY)))


def test_it_asks_again_after_answers_that_ask_for_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(settle.asyncio, "sleep", wait)
    slow = RetryLater("slow down", "Try again later.", True, 7.0)
    assert patiently(slow, slow, Conversation(())) == Conversation(())
    assert waits == [7.0, 7.0]
    assert patiently(*[slow] * 5) == NotRead("slow down. Try again later.")
    # An hour is too long to wait for.
    waits.clear()
    with pytest.raises(StoppedError):
        patiently(RetryLater("slow down", "Try again later.", True, 3600.0))
    assert waits == []


def test_a_refusal_stops_it_and_one_conversation_that_cannot_be_read_does_not() -> None:
    with pytest.raises(StoppedError, match="no"):
        patiently(Refused("no"))
    assert patiently(NotRead("not this one")) == NotRead("not this one")


def conversations(bench: Misbehaving, *customers: str) -> list[Conversation | NotRead]:
    """What the server answers about the conversations of these customers, one after the other."""

    async def ask_all() -> list[Conversation | NotRead]:
        credentials = Credentials("user", "password")
        async with ConversationClient(bench.base_url, credentials, timeout=30) as client:
            ask = asking_patiently(client, 1000.0)
            return [await ask(ConversationQuery("department", "user", customer)) for customer in customers]

    return asyncio.run(ask_all())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "backoff", lambda *_: 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("poison", "asked", "reason"),
    [
        (answer(504, b"<html>Gateway Timeout</html>"), 5, "HTTP 504"),
        (answer(503, b"", "Retry-After: 3600"), 1, "HTTP 503"),
        (answer(200, b" " * 1_000_001), 1, "too long"),
        (answer(404), 1, "HTTP 404"),
        (answer(200, b"null"), 1, "HTTP 200"),
    ],
)
def test_a_conversation_without_an_answer_does_not_keep_the_others_from_being_read(
    poison: bytes, asked: int, reason: str
) -> None:
    with misbehaving() as bench:
        bench.scripts = {name: [[says(poison)]] for name in ("bad", "worse")}
        bench.scripts["good"] = [[says(answer(200, []))]]
        found = conversations(bench, *["bad", "worse", "good"] * 2)
        assert bench.customers() == {"bad": 2 * asked, "worse": 2 * asked, "good": 2}
    bad, worse, good = found[:3]
    assert isinstance(bad, NotRead)
    assert reason in bad.reason
    assert found == [bad, worse, good] * 2
    assert isinstance(good, Conversation)


@pytest.mark.usefixtures("impatient")
def test_an_api_that_answers_nothing_stops_it() -> None:
    with misbehaving(listening=False) as bench, pytest.raises(StoppedError, match="no answer from"):
        conversations(bench, "a", "b", "c", "d")
    with misbehaving() as bench:
        bench.scripts = {name: [[says(answer(504))]] for name in "abcd"}
        with pytest.raises(StoppedError, match="HTTP 504"):
            conversations(bench, *"abcd")
        assert bench.customers() == {"a": 5, "b": 5, "c": 5}


@pytest.mark.parametrize(
    ("delivery", "other", "expected"),
    [
        ("DELIVERED", Status.ACCEPTED, Exit.DONE),
        ("FAILED", Status.ACCEPTED, Exit.ATTENTION),
        ("DELIVERED", Status.FAILED, Exit.ATTENTION),
        ("DELIVERED", Status.UNCONFIRMED, Exit.ATTENTION),
    ],
)
def test_the_exit_code_tells_whether_rows_of_the_run_need_attention(
    ledger: Ledger, delivery: str, other: Status, expected: Exit
) -> None:
    sent_at = to_text(now())
    shown = {"uuid": "m-2", "messageType": "S", "protocol": "X", "sentOn": sent_at, "body": "Text 2"}
    with misbehaving() as bench:
        plan = store_plan(ledger, [planned(2), planned(3)], who=identity(base_url=bench.base_url))
        send_all(ledger, plan, came_to(2, Status.UNCONFIRMED, "TIMEOUT", sent_at), came_to(3, other))
        bench.scripts = {
            "customer-2": [[says(answer(200, [{**shown, "deliveryStatus": delivery}]))]],
            "customer-3": [[says(answer(200, []))]],
        }
        found = look_for_texts(ledger, plan.run_id, bench.base_url, Credentials("user", "password"), None)
    assert (found.settled, found.exit) == (1, expected)
