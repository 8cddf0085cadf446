"""Reads what a customer's answer asks for: no more texts, texts again, or neither. Pure, in English and Spanish.

The Federal Communications Commission names seven words that end consent in any answer (47 CFR 64.1200(a)(10)): stop,
quit, end, revoke, opt out, cancel and unsubscribe. A request in other words counts as well if a reasonable person
understands it. A wrong guess costs something either way, so an answer with such a word that asks for something else
("please stop by") is left to a person.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

#: Characters that are read. A request to stop is short, and a text message has at most 1,600.
_LONGEST = 2000


class Meaning(StrEnum):
    """What a reply asks for."""

    STOP = "stop"  #: no more texts: an opt-out
    UNCLEAR = "unclear"  #: perhaps no more texts: a person has to decide
    START = "start"  #: texts again: offers to remove the opt-out
    OTHER = "other"


def meaning_of(text: str) -> Meaning:
    """What `text` asks for."""
    # Compiling the patterns takes a twentieth of a second, and `send` judges no answer.
    from batchsend.messages.stop_phrases import (
        BREAK,
        HARMLESS,
        HINT,
        QUOTED_FOOTER,
        REACTION,
        REQUEST,
        START,
        asks_to_stop,
    )

    whole = _one_spelling(text[:_LONGEST])
    said = QUOTED_FOOTER.sub(" ", whole)
    if said != whole and not _words(said):
        return Meaning.STOP
    sentences = [words for part in BREAK.split(REACTION.sub(" ", said)) if (words := _words(part))]
    if asks_to_stop(sentences):
        return Meaning.STOP
    if any(START.fullmatch(sentence) for sentence in sentences):
        return Meaning.START
    hints = any(HINT.search(HARMLESS.sub(" ", part)) or REQUEST.search(part) for part in sentences)
    return Meaning.UNCLEAR if hints else Meaning.OTHER


# --- one spelling for all


def _one_spelling(text: str) -> str:
    """Small letters without accents and with plain quotes; a letter that is repeated thrice or more counts once."""
    text = text.replace("\N{OCTAGONAL SIGN}", " stop ")
    letters = unicodedata.normalize("NFKD", text).casefold().translate(_LOOK_ALIKES)
    kept = "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Cf", "Me"))
    kept = re.sub(r"(?<=[^\W\d_])['’‘`´ʼ](?=[^\W\d_])", "", kept)
    kept = re.sub(r"\bw/(?=[\s\w])", "with ", kept)
    kept = _OPT_OUT_JOINED.sub("optout", _SIGNATURE.sub(" ", kept))
    kept = _STOP_DISGUISED.sub("stop", _UNSUBSCRIBE_APART.sub("unsubscri", kept))
    return _SPELLED_OUT.sub(_joined, re.sub(r"([a-z])\1{2,}", r"\1", kept))


def _words(sentence: str) -> str:
    """The words of a sentence with one blank between them, each in its usual spelling."""
    words = re.sub(r"[^\w]|_", " ", sentence).split()
    return " ".join(_MISSPELLED.get(word, word) for word in map(_unsubscribe, words))


def _unsubscribe(word: str) -> str:
    """`unsubscribe` for what looks like it: people misspell this word in many ways."""
    return "unsubscribe" if _LIKE_UNSUBSCRIBE.fullmatch(word) else word


def _joined(match: re.Match[str]) -> str:
    """`s t o p` and `s.t.o.p` as one word."""
    return re.sub(r"[^a-z]", "", match[0])


_LIKE_UNSUBSCRIBE = re.compile("u?ns[ubscrid]{4,9}(?:e|d|ed|es|ing|eing)?|unsub")
_SPELLED_OUT = re.compile(r"(?<!\w)[a-z](?:[ .*_-]{1,2}[a-z](?!\w)){2,}")
_OPT_OUT_JOINED = re.compile(r"\bopt[\W_]{1,3}out\b")
_UNSUBSCRIBE_APART = re.compile(r"\bun[\W_]{1,3}subscri")
#: `5TOP`, `$TOP`, `STOPSTOP` and `STOP9`.
_STOP_DISGUISED = re.compile(r"(?<!\w)(?:[s5$]t[o0]p)+\d*(?!\w)")
#: Cyrillic and Greek letters and small capitals that look like Latin letters.
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0442\u043f\u0432\u03bf\u03c1\u03c4\u03b1\u03b5\u03b9"
    "\u1d00\u0299\u1d04\u1d05\u1d07\u026a\u029f\u0274\u1d0f\u1d18\u01eb\u0280\ua731\u1d1b\u1d1c",
    "aeopcyxsitpboptaeiabcdeilnopqrstu",
)
#: What a phone appends.
_SIGNATURE = re.compile(r"\n\W*(?:sent (?:from|via)|get outlook|enviado desde)\b.*", re.DOTALL)
_MISSPELLED = {
    wrong: right
    for right, all_wrong in {
        "stop": "stp sotp stpo stopp sstop st0p stopit stoop ctop",
        "optout": "optouts optingout",
        "quit": "quitt",
        "cancel": "cancell cancle cansel",
        "dont": "dnt",
        "want": "wanna",
        "your": "ur",
        "you": "u yall",
        "please": "pls plz pleas plse",
        "texts": "txts textos",
        "text": "txt texto",
        "messages": "msgs msg mensages mensajes mensaje sms",
        "texting": "txting textin",
        "messaging": "messagin",
    }.items()
    for wrong in all_wrong.split()
}
