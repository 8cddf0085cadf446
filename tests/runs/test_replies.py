"""Reading the replies in a conversation: what was read counts, whatever comes after it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from batchsend.cli.text.replies import poll_lines
from batchsend.errors import StoppedError
from batchsend.mykaarma.conversation import (
    PAGE_MESSAGES,
    Conversation,
    ConversationMessage,
    ConversationQuery,
    Direction,
)
from batchsend.mykaarma.reading import NotRead
from batchsend.mykaarma.replies import CustomerText
from batchsend.runs.replies import Poll, _read

SINCE = datetime(2026, 3, 2, 10, tzinfo=UTC)
QUERY = ConversationQuery("department", "user", "customer")
Page = Conversation | NotRead | StoppedError


def reply(number: int, words: str | None) -> ConversationMessage:
    at = SINCE + timedelta(hours=1, minutes=-number)
    return ConversationMessage(f"r-{number}", Direction.RECEIVED, at, words, "+13125550123")


def full(*messages: ConversationMessage) -> Conversation:
    """A page behind which there is another one."""
    sent = (
        replace(reply(number, "Hi"), direction=Direction.SENT)
        for number in range(len(messages), PAGE_MESSAGES)
    )
    return Conversation((*messages, *sent), is_full=True)


def read(*pages: Page) -> tuple[list[CustomerText], Poll]:
    """What is recorded of these pages, and what is said about them."""
    recorded: list[CustomerText] = []
    coming, poll = iter(pages), Poll(1)

    async def ask(_query: ConversationQuery) -> Conversation | NotRead:
        page = next(coming)
        if isinstance(page, StoppedError):
            raise page
        return page

    try:
        asyncio.run(_read(ask, QUERY, SINCE, recorded.extend, poll))
    except StoppedError as stopped:
        poll.stopped = str(stopped)
    return recorded, poll


def test_all_pages_are_read() -> None:
    recorded, poll = read(full(reply(0, "Hi")), Conversation((reply(30, "STOP"),)))
    assert [text.body for text in recorded] == ["Hi", "STOP"]
    assert list(poll_lines(poll)) == ["Conversations read: 1 of 1."]


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (NotRead("Not now."), "1 not read, or not to the end: Not now."),
        (StoppedError("No permission."), "Stopped: No permission."),
    ],
)
def test_a_page_that_cannot_be_read_costs_no_other_one(problem: Page, line: str) -> None:
    recorded, poll = read(full(reply(0, "STOP")), problem)
    assert [text.body for text in recorded] == ["STOP"]
    assert list(poll_lines(poll)) == ["Conversations read: 0 of 1.", line]


def test_requests_without_a_time_are_recorded_and_other_words_are_counted() -> None:
    words = ["STOP", None, "I'll stop by", "Thanks", "Tuesday?"]
    undated = [replace(reply(number, text), at=None) for number, text in enumerate(words)]
    recorded, poll = read(Conversation((*undated, reply(9, "Yes"), reply(90, "too old"))))
    assert [(text.body, text.at is None) for text in recorded] == [
        ("STOP", True),
        (None, True),
        ("I'll stop by", True),
        ("Yes", False),
    ]
    assert list(poll_lines(poll)) == [
        "Conversations read: 1 of 1.",
        "2 replies left out: without a readable time, and not about opting out. Look in myKaarma.",
    ]


def test_a_full_page_without_times_is_not_the_whole_conversation() -> None:
    recorded, poll = read(full(replace(reply(0, "STOP"), at=None)))
    assert [text.body for text in recorded] == ["STOP"]
    assert (poll.asked, poll.unread.total()) == (0, 1)
