"""What answers ask for: every word and phrase that ends consent, and ordinary answers that do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchsend.messages.stop_words import Meaning, meaning_of

REPLIES = Path(__file__).parent / "replies"
#: The words that the FCC names, and their Spanish counterparts.
WORDS = ["stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe"]
SPANISH = [
    "alto",
    "parar",
    "basta",
    "cancelar",
    "revocar",
    "baja",
    "detener",
    "terminar",
    "salir",
    "fin",
    "no más",
]
CASES = [str, str.upper, str.title, str.swapcase, lambda text: f"{text[0].upper()}{text[1:]}"]
SPELLINGS = [
    "{}", " {} ", "{}.", "{}!", "{}!!!", "{}?", "{}…", "({})", "*{}*", "_{}_", '"{}"', "'{}'", "“{}”", "‘{}’", "«{}»",
    "{}\n", "\ufeff{}", "\u200b{}\u200d", "{}\u00a0", "{} 🛑", "😡{}😡", "{}👎🏽", "{} {}", "{}. {}!", "please {}",
    "Please, {}", "{} please", "{}, please.", "{} now", "{} thanks", "{}. Thank you!", "ok {}", "Hi! {}", "{} ASAP",
    "¡{}!", "{} por favor", "por favor, {}", "ya {}", "{}\n\nSent from my iPhone", "- {}",
]  # fmt: skip


def lines(name: str) -> list[str]:
    """The answers of a file, one a line."""
    return (REPLIES / name).read_text("utf-8").splitlines()


@pytest.mark.parametrize("word", [*WORDS, *SPANISH])
def test_a_word_that_ends_consent_is_recognized_in_every_spelling(word: str) -> None:
    missed = [
        text
        for spelling in SPELLINGS
        for case in CASES
        if meaning_of(text := spelling.replace("{}", case(word))) is not Meaning.STOP
    ]
    assert missed == []


@pytest.mark.parametrize(
    "text",
    ["S.T.O.P.", "s t o p", "Stoppp", "STOPP", "ＳＴＯＰ", "st0p", "sto\u0301p", "🛑", "opt-out", "OPT–OUT", "optout",
     "opt\u2011out", "STOPALL", "unsub", "unsuscribe", "remove", "reply STOP", "STOP to opt-out",
     "Text STOP to opt-out", "CANCELLED", "No mas", "detengan", "unsubsribe", "unsubscrbe", "Unsubscride",
     "Stop/cancel", "Wrong number, remove"],
)  # fmt: skip
def test_other_spellings_of_a_word_are_recognized(text: str) -> None:
    assert meaning_of(text) is Meaning.STOP


@pytest.mark.parametrize("name", ["stop_english.txt", "stop_spanish.txt"])
def test_every_request_in_a_phrase_is_recognized(name: str) -> None:
    phrases = lines(name)
    assert len(phrases) >= 50
    assert [phrase for phrase in phrases if meaning_of(phrase) is not Meaning.STOP] == []


def test_capitals_accents_and_quotes_make_no_difference_to_a_phrase() -> None:
    for phrase in lines("stop_english.txt") + lines("stop_spanish.txt"):
        for spelling in (
            phrase.upper(),
            phrase.lower(),
            phrase.replace("'", "’"),
            f"{phrase} 😡",
            f"Hi. {phrase}",
        ):
            assert meaning_of(spelling) is Meaning.STOP, spelling


def test_at_most_one_ordinary_answer_in_a_hundred_is_taken_for_a_request() -> None:
    ordinary = lines("ordinary.txt")
    assert len(set(ordinary)) >= 500
    wrong = [text for text in ordinary if meaning_of(text) is Meaning.STOP]
    assert len(wrong) <= len(ordinary) // 100, wrong


def test_an_answer_that_uses_such_a_word_in_another_sense_is_no_request() -> None:
    answers = lines("other_sense.txt")
    assert len(answers) >= 80
    assert [text for text in answers if meaning_of(text) is Meaning.STOP] == []


def test_a_request_in_hard_words_is_recognized_or_shown_to_a_person() -> None:
    requests = [text.replace(" ⏎ ", "\n") for text in lines("hard_requests.txt")]
    assert len(requests) >= 250
    assert [text for text in requests if meaning_of(text) not in (Meaning.STOP, Meaning.UNCLEAR)] == []
    missed = [text for text in requests if meaning_of(text) is not Meaning.STOP]
    assert len(missed) <= len(requests) // 20, missed


def test_at_most_two_hard_answers_in_a_hundred_are_taken_for_a_request() -> None:
    others = lines("hard_others.txt")
    assert len(others) >= 200
    wrong = [text for text in others if meaning_of(text) is Meaning.STOP]
    assert len(wrong) <= len(others) // 50, wrong


@pytest.mark.parametrize(
    "text",
    ["Please stop by", "I'll stop by tomorrow", "Can you cancel my appointment", "Yes, cancel", "No. Cancel",
     "It won't stop beeping", "don't stop texting me", "Please don't unsubscribe me",
     "Can I opt out of the service plan?", "Wrong number",
     "This is harassment", "Not interested", "Don't call before 9", "Necesito cancelar mi cita",
     "Número equivocado", "No me llamen al trabajo", "get me out today", "You never text me",
     "Can you undo unsubscribe", "I accidentally unsubscribed", "I unsubscribed by mistake", "My phone quit texting",
     "No more messages from the dash",
     "Stop texting while driving lol", "how do i stop the notifications from the toyota app", "Don't text, call",
     "cancel my subscription to OnStar", "Please stop calling me, text only", "Take me off the list for Saturday",
     "Me di de baja por error", "No me manden textos, llámenme", "para ya", "stop the repair", "my car won't stop",
     "The start/stop button is broken", "Just a quick stop?", "para"],
)  # fmt: skip
def test_an_unclear_answer_is_left_to_a_person(text: str) -> None:
    assert meaning_of(text) is Meaning.UNCLEAR


@pytest.mark.parametrize(
    "text",
    ["I'll be there at the end of the day", "By the end of next week", "Noise from the rear end", "El fin de semana",
     "Thanks for stopping by", "Car won't start", "I already cancelled", "drop me off please",
     "Can the shuttle take me", "Did you get my number", "No me mandan mensajes", "Nunca me escriben", "", " ", "👍",
     "Liked “Hi Jane, your car is ready. Text STOP to opt-out”", "👍 to “ See you at 9. Text STOP to opt-out ”"],
)  # fmt: skip
def test_an_ordinary_answer_needs_no_person(text: str) -> None:
    assert meaning_of(text) is Meaning.OTHER


@pytest.mark.parametrize(
    "text",
    ["START", "start.", "Unstop", "UNSTOP please", "rejoin", "Re-join!", "opt in", "Please text me again"],
)
def test_an_answer_that_asks_for_texts_again_is_recognized(text: str) -> None:
    assert meaning_of(text) is Meaning.START


@pytest.mark.parametrize("text", ["Remote start isn't working", "When does the sale start?", "start stop"])
def test_start_in_another_sense_is_no_request(text: str) -> None:
    assert meaning_of(text) is not Meaning.START


@given(st.text(max_size=60))
@example("\ud800")
@example("Can you cancel my appointment?")
def test_what_else_a_customer_writes_hides_no_request(text: str) -> None:
    assert meaning_of(f"{text}\nPlease stop texting me.") is Meaning.STOP


@pytest.mark.parametrize(
    "words", ["stop ", "do not want to be ", "unsubscribe from my your the ", "s.", "no "]
)
def test_a_long_text_is_read(words: str) -> None:
    assert meaning_of(words * 5000) in Meaning
