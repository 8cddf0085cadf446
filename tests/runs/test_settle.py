"""Reading enough of a conversation to decide, and giving up in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from batchsend.errors import StoppedError
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
from batchsend.runs.settle import asking_patiently
from batchsend.utils.timestamps import now

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
    with pytest.raises(StoppedError, match=r"slow down\. Try again later\."):
        patiently(*[slow] * 5)
    # An hour is too long to wait for.
    waits.clear()
    with pytest.raises(StoppedError):
        patiently(RetryLater("slow down", "Try again later.", True, 3600.0))
    assert waits == []


def test_a_refusal_stops_it_and_one_conversation_that_cannot_be_read_does_not() -> None:
    with pytest.raises(StoppedError, match="no"):
        patiently(Refused("no"))
    assert patiently(NotRead("not this one")) == NotRead("not this one")
