"""Lint: what carriers block and customers dislike in a text, although it can be sent. Pure functions.

Each rule finds sentences about a text. To add one, write its function and an entry in `RULES`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from batchsend.messages.lint_values import compared_columns, differing, header_words
from batchsend.messages.template_mistakes import PLACEHOLDER


class Finding(NamedTuple):
    """What is wrong with a text. `rule`: its name; `sentence`: the same for all texts with the same mistake.

    `title` and `advice`: those of the rule.
    """

    rule: str
    sentence: str
    title: str
    advice: str


@dataclass(frozen=True)
class LintContext:
    """What the rules know besides the text.

    `sender`: the dealership's name, "" if it is not known; `opt_out_line`: the line that myKaarma adds, if it does;
    `cells`: header -> cell of the text's row, for the columns of `read_columns`.
    """

    sender: str = ""
    opt_out_line: str | None = None
    cells: Mapping[str, str] = field(default_factory=dict)


class LintRule(NamedTuple):
    """`find` returns the sentences about a text. `title` and `advice`: for people.

    Packages add one by an entry point of `Point.LINT_RULE`. Its `cells` are those of all columns.
    """

    title: str
    find: Callable[[str, LintContext], Iterable[str]]
    advice: str


def lint(text: str, context: LintContext, rules: Collection[str] | None = None) -> list[Finding]:
    """What is wrong with a text. `rules`: only these."""
    chosen = RULES if rules is None else {name: rule for name, rule in RULES.items() if name in rules}
    return [
        Finding(name, sentence, rule.title, rule.advice)
        for name, rule in chosen.items()
        for sentence in dict.fromkeys(rule.find(text, context))
    ]


@cache
def _data() -> Mapping[str, Any]:
    source = files("batchsend.messages") / "lint.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))


@cache
def _known(name: str) -> frozenset[str]:
    """A list of words in `lint.toml`."""
    return frozenset(_data()[name].split())


def read_columns(headers: Sequence[str]) -> list[int]:
    """The positions of the columns whose cells the rules read besides the text."""
    return sorted({*compared_columns(headers), *name_columns(headers)})


def name_columns(headers: Sequence[str]) -> list[int]:
    """The positions of columns with names of people and places."""
    return [position for position, header in enumerate(headers) if _has_names(header)]


@lru_cache(maxsize=256)
def _has_names(header: str) -> bool:
    return bool(words := set(header_words(header).split())) and words <= _known("name_headers")


# Links

_link = re.compile(r"(https?://)?(?<![\w@.-])((?:[a-z0-9-]+\.)+[a-z]{2,10})(?![\w@-])(/\w)?", re.IGNORECASE)
_forgotten_blank = re.compile(r"\w[a-z]*\.(?!Com)[A-Z][a-z]+")


def _links(text: str) -> Iterator[tuple[str, str, bool]]:
    """The links in a text: `https://`, `http://` or "", the host, and whether a path follows."""
    for word in text.split():
        if "." in word[:-1]:
            for scheme, host, path in _link.findall(word):
                if scheme or path or not _forgotten_blank.fullmatch(host):
                    yield scheme.lower(), host.lower(), bool(path)


def _short_link(text: str, _: LintContext) -> Iterator[str]:
    for _scheme, host, _path in _links(text):
        for shortener in _shorteners_of(host):
            yield f"Carriers block links of public shorteners such as {shortener}."


def _plain_link(text: str, _: LintContext) -> Iterator[str]:
    for scheme, host, has_path in _links(text):
        ending = host.rpartition(".")[2]
        is_link = ending in _known("endings") or (has_path and ending in _known("endings_with_path"))
        is_known = host in _known("names_with_dot_com") or bool(_shorteners_of(host))
        if not is_known and (scheme == "http://" or (not scheme and is_link)):
            yield f"The link {scheme}{host} does not begin with https://."


def _shorteners_of(host: str) -> frozenset[str]:
    """The shorteners that a host belongs to: it, or a domain above it."""
    labels = host.split(".")
    return _known("shorteners") & {".".join(labels[start:]) for start in range(len(labels) - 1)}


# Words


class _Words(NamedTuple):
    """Words of all classes as one pattern, and the words of each class."""

    every: re.Pattern[str]
    by_class: Mapping[str, tuple[str, ...]]


@cache
def _forbidden() -> Sequence[_Words]:
    """The words that count in any letter case, and those that do not count as names."""
    classes: Mapping[str, Mapping[str, list[str]]] = _data()["forbidden"]

    def words(kind: str) -> _Words:
        some = {name: tuple(lists[kind]) for name, lists in classes.items() if kind in lists}
        return _Words(_pattern(tuple(chain.from_iterable(some.values()))), some)

    return words("words"), words("not_names")


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    # Grouped by their first letters, most words of a text are passed over at once.
    by_letter = {
        letter: "|".join(one[1:] if letter.isalpha() else one for one in some)
        for letter, some in groupby(sorted(words), key=itemgetter(0))
    }
    every = (f"{letter}(?:{rest})" if letter.isalpha() else rest for letter, rest in by_letter.items())
    return re.compile(rf"\b(?:{'|'.join(every)})(?!\w)".replace(" ", "[ -]"))


def _forbidden_word(text: str, context: LintContext) -> Iterator[str]:
    for name, word in _forbidden_words(text):
        if not _is_name(word, context.cells):
            yield f"Carriers may block “{word}”, which is about {name}."


def _is_name(word: str, cells: Mapping[str, str]) -> bool:
    """Whether a word is part of a name in the row, such as that of Mr. GAMBLE."""
    names = " ".join(cell.lower() for header, cell in cells.items() if _has_names(header))
    return set(re.findall(r"\w+", word)) <= set(re.findall(r"\w+", names))


def _forbidden_words(text: str) -> Iterator[tuple[str, str]]:
    """The class and the word."""
    small = text.lower()
    words, not_names = _forbidden()
    found: set[int] = set()
    for match in words.every.finditer(small):
        found.update(range(*match.span()))
        yield _of_class(words, match)
    for match in not_names.every.finditer(small):
        written = text[match.start() : match.end()]
        if match.start() not in found and (written.islower() or written.isupper()):
            yield _of_class(not_names, match)


def _of_class(words: _Words, match: re.Match[str]) -> tuple[str, str]:
    # The pattern of a class is compiled here, because most lists have none of its words.
    classes = words.by_class.items()
    name = next(name for name, some in classes if _pattern(some).match(match.string, match.start()))
    return name, match[0]


_opt_out = re.compile(
    r"""(?<!\w)(?:(?:reply|text|txt|send|respond|answer|type)(?:[ ]with|[ ]the[ ]word|[ ]back)?
    |(?:responda|responde|envíe|envie|envía|envia|mande|manda|escriba|escribe|conteste|contesta)
    (?:[ ]con)?(?:[ ]la[ ]palabra)?)
    [ ]*[:"'“‘(]?[ ]?(?:stop(?![ ]by|[ ]in(?!\w))|end(?![ -]of)|quit|unsubscribe|alto|parar|baja
    |cancel[ ]to[ ](?:opt|stop|unsub|end))\b
    |\bstop[ ]?(?:to|2|=|para)[ ]?(?:end|opt|unsub|quit|cancel|stop|no[ ]recibir|cancelar|darse)
    |\b(?:opt|opting)[ -]?out\b(?![ ]of(?![ ](?:\w+[ ]){0,3}(?:texts?|texting|messages?|messaging|sms|alerts|
    notifications|reminders|communications|offers|promotions)\b))
    |\bunsubscribe\b(?![ ]from[ ](?:\w+[ ]){0,2}e-?mails?)
    |\bdarse[ ]de[ ]baja\b(?![ ](?:del|de[ ](?:la|el|su))[ ](?:garantía|seguro|plan|póliza|contrato|servicio))
    |\bno[ ]recibir[ ]más[ ]mensajes\b""",
    re.VERBOSE,
)


def _second_opt_out(text: str, context: LintContext) -> Iterator[str]:
    small = text.lower()
    if context.opt_out_line is None or not any(word in small for word in _known("opt_out_words")):
        return
    if match := _opt_out.search(small):
        said = text[match.start() : match.end()].strip()
        yield f"The text says “{said}”, and myKaarma adds “{context.opt_out_line}” to it."


_no_letter = re.compile(r"[\W_]+")


def sender_of(sender_name: str | None, label: str | None) -> str:
    """The name that texts should have; may be "".

    It is `sender_name`, else `label` without words such as "Service" at its ends: "Toyota of Naples".
    """
    if sender_name is not None:
        return sender_name
    words = (label or "").split()
    own = [
        position
        for position, word in enumerate(words)
        if _no_letter.sub("", word.casefold()) not in {*_known("departments"), ""}
    ]
    return " ".join(words[own[0] : own[-1] + 1]) if own else ""


def _no_sender(text: str, context: LintContext) -> Iterator[str]:
    name = context.sender
    if name and name not in text and _squeezed(name) not in _letters(text):
        yield f"The text never names “{name}”."


def _letters(text: str) -> str:
    return _no_letter.sub("", text.casefold().replace("&", "and"))


_squeezed = lru_cache(maxsize=16)(_letters)

#: Fewer capitals, or a smaller part of all letters, are no finding; of nearly only capitals, any words are one.
_LEAST_CAPITALS, _MOSTLY, _NEARLY_ONLY = 20, 0.6, 0.9
_capital_words = re.compile(r"[A-ZÁÉÍÓÚÑ]{2,}(?:[ ,!'’.&-]+[A-ZÁÉÍÓÚÑ]{2,}){4,}")


def _capitals(text: str, _: LintContext) -> Iterator[str]:
    upper = sum(map(str.isupper, text))
    if upper < _LEAST_CAPITALS:
        return
    letters = sum(map(str.isalpha, text))
    shouted = [text] if upper > _MOSTLY * letters else _capital_words.findall(text)
    if upper > _NEARLY_ONLY * letters or any(
        len(_known("ordinary").intersection(re.findall(r"\w+", words))) > 1 for words in shouted
    ):
        yield "The text is in capital letters."


_twice = re.compile(r"(?<![\w’'.-])(\w{2,}|[ay]) +(\1)(?![\w’'-])", re.IGNORECASE)
_letters_only = re.compile(r"[^\W\d_]+")


def _doubled_word(text: str, context: LintContext) -> Iterator[str]:
    for match in _twice.finditer(text):
        word = match[1].casefold()
        if not _letters_only.fullmatch(word) or word in _known("said_twice"):
            continue
        if match[0].casefold() in context.sender.casefold():
            continue
        is_name = match[1][:1].isupper() and match[2][:1].isupper()
        if not is_name or word in _known("no_names") or word in context.sender.casefold().split():
            yield f"“{match[0]}” has a word twice."


_words_of_names = re.compile(r"[A-ZÁÉÍÓÚÑ]?[a-záéíóúñ]+|[A-ZÁÉÍÓÚÑ]+|\d+")


def _placeholder(text: str, _: LintContext) -> Iterator[str]:
    for match in PLACEHOLDER.finditer(text):
        name = re.split(r"[|,:?=]", match[match.lastindex or 0])[0]
        words = {word.casefold() for word in _words_of_names.findall(name)}
        is_name = bool(words & _known("fields")) and words <= _known("fields") | _known("more_fields")
        if is_name or match[0].startswith("*|"):
            yield f"“{match[0]}” is a placeholder of another program, and customers would see it."


# Prices and dates


def _other_value(text: str, context: LintContext) -> Iterable[str]:
    return differing(text, context.cells) if context.cells else ()


_OWN_LINK = "Use a link of your own website."
RULES: Mapping[str, LintRule] = {
    "short_link": LintRule("Public link shorteners", _short_link, _OWN_LINK),
    "forbidden_word": LintRule(
        "Words that carriers block", _forbidden_word, "Say it without this word, or leave it out of texts."
    ),
    "second_opt_out": LintRule(
        "A second opt-out line",
        _second_opt_out,
        "Take the sentence out of the text, or turn off the line that myKaarma adds.",
    ),
    "no_sender": LintRule(
        "No name of the dealership",
        _no_sender,
        "Say who is texting: many people do not answer a number that they do not know.",
    ),
    "capitals": LintRule(
        "Capital letters",
        _capitals,
        "Write it in small letters: capitals look like spam to people and carriers.",
    ),
    "placeholder": LintRule(
        "Placeholders of other programs",
        _placeholder,
        "Put a column of the list there, or the words that are meant.",
    ),
    "doubled_word": LintRule("A word twice", _doubled_word, "Take one of the two out."),
    "plain_link": LintRule(
        "Links without https",
        _plain_link,
        "Write the whole link with https://, so that phones open it safely.",
    ),
    "other_value": LintRule(
        "A price or date that differs from its column",
        _other_value,
        "Put the column into the text instead, or correct the list.",
    ),
}
