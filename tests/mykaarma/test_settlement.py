"""Which message of a conversation is a text whose outcome is unknown: never the wrong one."""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchsend.mykaarma.conversation import ConversationMessage, Direction
from batchsend.mykaarma.protocol import SendingAttributes
from batchsend.mykaarma.settlement import RequestFacts, UnknownText, end_of_doubt, settle

AT = datetime(2026, 11, 27, 18, 30, tzinfo=UTC)
BODY = "Hi Ann,\nyour car’s ready & clean."
TEXT = UnknownText(BODY, "+13125550123", AT, wanted=True)
MESSAGE = ConversationMessage(
    "m-1",
    Direction.SENT,
    AT + timedelta(seconds=1),
    f"{BODY}\nText STOP to opt-out",
    "+13125550123",
    False,
)
FACTS = RequestFacts(opt_out_line="Antworte STOPP")
WITH_SIGNATURE = RequestFacts(SendingAttributes(add_signature=True))


def found(
    *messages: ConversationMessage,
    text: UnknownText = TEXT,
    others: tuple[UnknownText, ...] = (),
    recorded: frozenset[str] = frozenset(),
    facts: RequestFacts = FACTS,
    clock_ahead: timedelta | None = timedelta(0),
) -> str | None:
    """The UUID of the text's message. No other text may be settled."""
    settled = settle([text, *others], messages, recorded, facts, clock_ahead)
    assert settled.keys() <= {0}
    return settled[0].uuid if settled else None


def said(**changes: Any) -> ConversationMessage:
    return replace(MESSAGE, **changes)


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        f"{BODY}\nText STOP to opt-out",
        f"{BODY}\r\n\r\nReply STOP to unsubscribe.\r\n",
        f"{BODY}\nAntworte STOPP",
        f"{BODY.replace(chr(10), ' ')} Antworte STOPP",
        BODY.replace("\n", "  "),
        f" {html.escape(BODY)} ",
    ],
)
def test_the_body_may_be_coded_otherwise_and_have_an_opt_out_line(body: str) -> None:
    assert found(said(body=body)) == "m-1"


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        BODY[:-1],
        f"{BODY} Text STOP to opt-out",  # the opt-out line is on a line of its own
        f"{BODY}\nSee you at the bus stop",
        f"{BODY}\nStop by\nText STOP to opt-out",
        f"{BODY}\nText STOP to opt-out{' or not' * 30}",
        f"Ann: {BODY}",
        BODY.replace("Ann", "ann"),
    ],
)
def test_another_body_is_another_text(body: str | None) -> None:
    assert found(said(body=body)) is None


def test_a_signature_may_follow_where_the_campaign_asks_for_it() -> None:
    signed = said(body=f"{BODY}\nBob\nLakeside Honda\nText STOP to opt-out")
    assert found(signed) is None
    assert found(signed, facts=WITH_SIGNATURE) == "m-1"
    assert found(said(body=f"{BODY}\n{'x' * 501}"), facts=WITH_SIGNATURE) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"direction": Direction.RECEIVED},
        {"direction": None},
        {"is_manual": True},
        {"phone": "+13125550124"},
        {"at": None},
        {"at": AT - timedelta(seconds=11)},
        {"at": AT + timedelta(hours=1, seconds=41)},
    ],
)
def test_what_does_not_agree_is_not_the_text(changes: dict[str, Any]) -> None:
    assert found(said(**changes)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"is_manual": None},
        {"phone": None},
        {"phone": "(312) 555-0123"},
        {"at": AT - timedelta(seconds=9)},
        {"at": AT + timedelta(minutes=59)},
    ],
)
def test_unknown_facts_and_inexact_clocks_are_tolerated(changes: dict[str, Any]) -> None:
    assert found(said(**changes)) == "m-1"


def test_the_servers_clock_moves_the_window() -> None:
    ahead = timedelta(hours=3)
    late = said(at=AT + ahead)
    assert (found(late), found(late, clock_ahead=ahead), found(MESSAGE, clock_ahead=ahead)) == (
        None,
        "m-1",
        None,
    )
    early = said(at=AT - timedelta(minutes=4))
    assert (found(early), found(early, clock_ahead=None)) == (None, "m-1")


@pytest.mark.parametrize(
    "text", [replace(TEXT, body=None), replace(TEXT, body=" "), replace(TEXT, requested_at=None)]
)
def test_a_text_without_its_body_or_time_is_not_settled(text: UnknownText) -> None:
    assert found(MESSAGE, text=text) is None


@given(ahead=st.integers(-300, 300), tells=st.booleans(), later=st.integers(1, 4000))
def test_no_message_after_the_end_of_doubt_is_the_text(ahead: int, tells: bool, later: int) -> None:
    clock_ahead = timedelta(seconds=ahead) if tells else None
    end = end_of_doubt(TEXT, FACTS)
    assert end is not None
    assert found(said(at=end + timedelta(seconds=ahead + later)), clock_ahead=clock_ahead) is None
    assert end_of_doubt(replace(TEXT, requested_at=None), FACTS) is None


def test_a_message_of_another_row_is_not_used() -> None:
    assert found(MESSAGE, recorded=frozenset({"m-1"})) is None


def test_two_messages_are_not_one_text() -> None:
    assert found(MESSAGE, said(uuid="m-2")) is None
    # The same message, as two pages may show it.
    assert found(MESSAGE, MESSAGE) == "m-1"
    assert found(MESSAGE, said(uuid="m-2"), recorded=frozenset({"m-2"})) == "m-1"


@pytest.mark.parametrize(
    "other",
    [
        TEXT,  # the same text of another run or campaign
        replace(TEXT, wanted=False),
        replace(TEXT, wanted=False, requested_at=AT - timedelta(hours=20)),  # an earlier --resend
        replace(TEXT, wanted=False, requested_at=None),
        replace(TEXT, wanted=False, body=None),  # purged
        replace(TEXT, wanted=False, body="Hi Ann,"),  # the rest could be a signature
        replace(TEXT, wanted=False, phone="+13125550124"),
    ],
)
def test_two_texts_in_question_are_not_settled_by_one_message(other: UnknownText) -> None:
    assert found(MESSAGE, others=(other,)) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(TEXT, requested_at=AT + timedelta(hours=1)),
        replace(TEXT, requested_at=AT - timedelta(hours=26)),
        replace(TEXT, body="Hi Ann, your truck is ready."),
        replace(TEXT, message_uuid="m-9"),
    ],
)
def test_texts_that_cannot_be_meant_do_not_matter(other: UnknownText) -> None:
    assert found(MESSAGE, others=(other,)) == "m-1"


def test_two_different_texts_are_settled_by_their_own_messages() -> None:
    other = replace(TEXT, body="Hi Ann, your truck is ready.")
    messages = [MESSAGE, said(uuid="m-2", body=other.body)]
    settled = settle([other, TEXT], messages, frozenset(), FACTS, None)
    assert {position: message.uuid for position, message in settled.items()} == {0: "m-2", 1: "m-1"}


def test_a_message_that_the_answer_named_is_the_text_whatever_it_says() -> None:
    named = replace(TEXT, message_uuid="m-1", body=None, requested_at=None)
    assert found(said(body="x", at=None), text=named, recorded=frozenset({"m-1"})) == "m-1"
    assert found(said(uuid="m-2"), text=named) is None


# --- No conversation leads to a wrong decision.

BODIES = ["Hi Ann & Bob", "Hi Ann & Bob\nText STOP now"]
FOOTERS = ["", "\nText STOP to opt-out", "\r\nReply STOP", "\nAntworte STOPP"]


@st.composite
def worlds(
    draw: st.DrawFn,
) -> tuple[list[UnknownText], list[ConversationMessage], set[str], timedelta | None]:
    """Texts, what the server has of those that left, and what else is in the conversation.

    The message of the text at a position is `m-POSITION`.
    """
    ahead = draw(st.integers(-5, 5)) * timedelta(hours=1)
    told = ahead + draw(st.integers(-8, 8)) * timedelta(seconds=1)
    if draw(st.booleans()):
        ahead, told = draw(st.integers(-4, 4)) * timedelta(minutes=1), None  # type: ignore[assignment]
    texts, messages, recorded = [], [], set()
    for position in range(draw(st.integers(1, 4))):
        body = draw(st.sampled_from(BODIES))
        phone = draw(st.sampled_from([None, None, "+13125550123", "+13125550124"]))
        at = AT + draw(st.sampled_from([0, 1, 1600])) * timedelta(minutes=1)
        known = draw(st.booleans())
        if known or draw(st.booleans()):
            delay = timedelta(seconds=draw(st.sampled_from([0, 1, 30, 3000, 20_000])))
            shown = draw(st.sampled_from([str, html.escape]))(body) + draw(st.sampled_from(FOOTERS))
            messages.append(
                ConversationMessage(
                    f"m-{position}",
                    Direction.SENT,
                    at + ahead + delay,
                    shown,
                    draw(st.sampled_from([phone, None])),
                    draw(st.sampled_from([False, None])),
                )
            )
        if known:
            recorded.add(f"m-{position}")
            continue
        shown_body = draw(st.sampled_from([body, body, body, None]))
        texts.append((position, UnknownText(shown_body, phone, at, draw(st.booleans()))))
    for number in range(draw(st.integers(0, 2))):
        # What a person writes is manual; other programs do not write our texts.
        kind = draw(st.sampled_from(["manual", "received", "other"]))
        body = draw(st.sampled_from(BODIES))
        messages.append(
            ConversationMessage(
                f"foreign-{number}",
                Direction.RECEIVED if kind == "received" else Direction.SENT,
                AT + ahead + draw(st.integers(0, 20)) * timedelta(minutes=1),
                f"{BODIES[0]}, and more" if kind == "other" else body,
                None,
                kind == "manual",
            )
        )
    return texts, draw(st.permutations(messages)), recorded, told  # type: ignore[return-value]


@settings(max_examples=300)
@given(worlds())
def test_no_text_is_ever_settled_by_another_message(world: Any) -> None:
    texts, messages, recorded, told = world
    settled = settle([text for _, text in texts], messages, recorded, FACTS, told)
    for position, message in settled.items():
        number, text = texts[position]
        assert text.wanted
        assert message.uuid == f"m-{number}"
