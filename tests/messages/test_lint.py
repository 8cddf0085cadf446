"""The lint: what carriers block and customers dislike in a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from batchsend.campaigns.guards_table import LintRuleName
from batchsend.messages.lint import RULES, LintContext, lint, sender_of

CONTEXT = LintContext(sender="Lakeside Honda", opt_out_line="Text STOP to opt-out")


def found(text: str, context: LintContext = CONTEXT) -> list[str]:
    """The rules that find something in a text that names the dealership."""
    return [finding.rule for finding in lint(f"Lakeside Honda: {text}", context)]


def test_the_campaign_file_knows_the_rules() -> None:
    assert get_args(LintRuleName) == tuple(RULES)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("see https://bit.ly/abc", "short_link"),
        ("see https://go.maps.goo.gl/abc.", "short_link"),
        ("free beer on Saturday", "forbidden_word"),
        ("FREE BEER on Saturday", "forbidden_word"),
        ("payday-loans here", "forbidden_word"),
        ("Reply STOP to end", "second_opt_out"),
        ("Responda ALTO para cancelar", "second_opt_out"),
        ("HURRY IN, YOUR CAR IS WAITING FOR YOU", "capitals"),
        ("hi [Customer First Name]", "placeholder"),
        ("hi *|ANYTHING|*", "placeholder"),
        ("bring the the keys", "doubled_word"),
        ("your Honda Honda Civic", "doubled_word"),
        ("see http://lakeside.example/a", "plain_link"),
        ("see www.lakesidehonda.com", "plain_link"),
        ("see www.Lakeside.Net today", "plain_link"),
        ("poker night on Friday", "forbidden_word"),
        ("bring your rifle", "forbidden_word"),
        ("opt out of our texts at any time", "second_opt_out"),
        ("Reply END to leave", "second_opt_out"),
    ],
)
def test_what_is_found(text: str, rule: str) -> None:
    assert found(text) == [rule]


@pytest.mark.parametrize(
    "text",
    [
        "Hi Colt, your Ford Escape is ready. Mr. Shaft says hello from Essex.",
        "Hi Margarita, Wine Country Subaru and Casino Road are near the Weed exit.",
        "the cigarette lighter is fixed, and we brought root beer",
        "he had had it, near Walla Walla or Pago Pago",
        "your 2021 HONDA CR-V EX AWD, JOHN SMITH",
        "Stop by today, or reply C to cancel your appointment",
        "write to service@lakesidehonda.com or see https://lakesidehonda.com/x.y",
        "leave a review on Cars.com",
        "Hi Mr. Gamble, Ms. Martini and Dr. Tequila of Rifle, we are at Pistol Creek.",
        "the alcohol interlock is in, and so are the rifle rack bolts and the pistol grip sprayer",
        "your Ford Escort service is due, so don't gamble with worn tires; card ending XXX-1234",
        "Please reply end of day",
        "you may opt out of the extended warranty within 30 days",
        "that is ok.Net price is the same",
        "bring this text [limited] and get 10% off parts, 20% off service",
    ],
)
def test_what_is_no_finding(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("sender_name", "label", "sender"),
    [
        ("Lakeside Honda Service", None, "Lakeside Honda Service"),
        ("Lakeside", "Other", "Lakeside"),
        (None, "Lakeside Honda - Service Department", "Lakeside Honda"),
        (None, "Toyota of Naples Service", "Toyota of Naples"),
        (None, "Service Department of Smith and Sons Ford", "Smith and Sons Ford"),
        (None, "Auto Center of Tampa", "Auto Center of Tampa"),
        (None, "The Service Center - Smith & Sons Ford (BDC)", "Smith & Sons Ford"),
        (None, "Service", ""),
        (None, None, ""),
    ],
)
def test_the_name_that_texts_should_say(sender_name: str | None, label: str | None, sender: str) -> None:
    assert sender_of(sender_name, label) == sender


@pytest.mark.parametrize(
    "text",
    ["Lakeside Honda here", "LAKESIDE HONDA here", "see https://lakesidehonda.com", "Lakeside  Honda."],
)
def test_a_name_in_any_spelling_counts(text: str) -> None:
    assert lint(text, CONTEXT, {"no_sender"}) == []


def test_a_text_without_the_name() -> None:
    assert [one.sentence for one in lint("Lakeside Toyota here", CONTEXT, {"no_sender"})] == [
        "The text never names “Lakeside Honda”."
    ]


@pytest.mark.parametrize(
    ("header", "is_found"),
    [
        ("Last Name", False),
        ("customer_name", False),
        ("City", False),
        ("Offer", True),
        ("Customer Note", True),
    ],
)
def test_a_name_of_the_row_is_no_forbidden_word(header: str, is_found: bool) -> None:
    context = LintContext(cells={header: "JUUL GAMBLE"})
    assert bool(lint("Hi MR. GAMBLE, welcome", context)) is is_found
    assert lint("Hi MR. GAMBLE, free beer", context, {"forbidden_word"})


@pytest.mark.parametrize(
    ("text", "cells", "is_found"),
    [
        ("an oil change for $49.99", {"Price": "59.99"}, True),
        ("an oil change for $49.99", {"Price": "$49.99"}, False),
        ("an oil change for $50", {"Price": "50.00"}, False),
        ("$20 off, save $15, up to $100", {"Price": "59.99"}, False),
        ("from $49.99, starting at $39", {"Price": "59.99"}, False),
        ("an oil change for $49.99", {"Last Payment": "59.99", "Price": ""}, False),
        ("see you on March 12", {"Appointment Date": "2026-03-13"}, True),
        ("see you on 3/12/2026 at 9", {"Appointment Date": "2026-03-12 09:00:00"}, False),
        ("le esperamos el 12 de marzo", {"Appt": "3/13/2026"}, True),
        ("the sale ends March 31", {"Appointment Date": "2026-03-13"}, False),
        ("good through March 31", {"Offer Expires": "2026-03-30"}, True),
        ("from March 10 to 14", {"Appointment Date": "2026-03-13"}, False),
        ("since your visit on March 2", {"Last Visit Date": "2026-03-01"}, False),
        # An offer in the text is about none of the row's own sums and days.
        ("oil changes are $39 this week", {"Total": "212.40"}, False),
        ("your total is $39", {"Total": "212.40"}, True),
        ("oil changes are $39. Your total was in the mail", {"Total": "212.40"}, False),
        ("Sale Dec 5", {"Appointment Date": "2026-12-09"}, False),
        ("see you at our sale on Dec 5", {"Appointment Date": "2026-12-09"}, False),
        ("see you at our event on Dec 5", {"Event Date": "2026-12-09"}, True),
        ("Reminder: come by on Dec. 5 at 9", {"Appointment Date": "2026-12-09"}, True),
        ("the sale ends Dec 5", {"Warranty Expires": "2027-12-09"}, False),
        ("your warranty ends Dec 5", {"Warranty Expires": "2027-12-09"}, True),
    ],
)
def test_a_price_or_date_is_compared_with_its_column(
    text: str, cells: dict[str, str], is_found: bool
) -> None:
    assert bool(lint(text, LintContext(cells=cells))) is is_found


TEXTS = Path(__file__).parents[1] / "data" / "lint"


def corpus(file: str) -> Iterator[tuple[str, LintContext]]:
    """The texts of a file, each with what is known of it. How they are written is said in the files."""
    sender = ""
    for line in (TEXTS / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("=="):
            sender = sender_of(None, line.removeprefix("=="))
        elif line and not line.startswith("# "):
            text, _, columns = line.partition(" || ")
            cells = dict(one.split("=", 1) for one in columns.split("; ") if one)
            yield text, LintContext(sender, "Text STOP to opt-out", cells)


def test_few_false_alarms_on_ordinary_texts() -> None:
    texts = list(corpus("good.txt"))
    alarms = [text for text, context in texts if lint(text, context)]
    assert len(texts) >= 500
    assert len(alarms) <= 0.02 * len(texts), alarms


def test_mistakes_are_found() -> None:
    texts = [(*text.split(": ", 1), context) for text, context in corpus("bad.txt")]
    missed = [(rule, text) for rule, text, context in texts if not lint(text, context, {rule})]
    assert len(texts) >= 200
    assert {rule for rule, _, _ in texts} == set(RULES)
    assert len(missed) <= 0.05 * len(texts), missed
