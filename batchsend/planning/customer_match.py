"""Decides which of myKaarma's customers a row of a list means. Pure functions.

myKaarma finds a term anywhere in a field, so each customer that it finds is compared with the row again, exactly. A
customer is taken only if there is one and nothing that the row says contradicts it. In any other case a person has to
look: a namesake, a relative with the same phone or an earlier owner of a car is never guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from batchsend.mykaarma.customer_search import LONGEST_TERM, Candidate, Field, Found, Search
from batchsend.planning.list_checks import API_UUID

#: The length of a VIN, and of the part of it that myKaarma recommends to search by.
VIN_LENGTH, VIN_ENDING = 17, 8
_VIN = re.compile(r"[A-Z0-9]{4,13}\d{4}")
#: The most customers that are named where several fit.
_MOST_OTHERS = 5
_NO_KEYS = frozenset({"n/a", "na", "none", "null", "unknown", "new", "cash"})
_GENERATIONS = frozenset({"jr", "sr", "ii", "iii", "iv"})
_NO_NAMES = _GENERATIONS | {"mr", "mrs", "ms", "dr", "and"}
_LEGAL_FORMS = frozenset({"inc", "llc", "co", "corp", "ltd", "company", "the"})


class Match(StrEnum):
    """How many customers fit a row."""

    ONE = "one"
    SEVERAL = "several"
    NONE = "none"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Person:
    """What a row says of its customer; "" if it says nothing.

    `customer_key`, `vin`: as `usable_text` and `usable_vin` give them; `phones`: as `phone_digits` does; `name`: the
    whole name in one cell; `search_by`: the facts to search by, while all are compared.
    """

    department_uuid: str
    customer_key: str = ""
    vin: str = ""
    phones: tuple[str, ...] = ()
    last_name: str = ""
    first_name: str = ""
    company: str = ""
    name: str = ""
    search_by: frozenset[Field] = frozenset(Field)


class Verdict(NamedTuple):
    """What a look-up found. `customer`: only with `Match.ONE`; `field`: what found it; `why`: a sentence or "".

    `others`: who else may be meant, for a person to choose.
    """

    match: Match
    customer: Candidate | None = None
    field: Field | None = None
    why: str = ""
    others: tuple[Candidate, ...] = ()


def searches_of(person: Person) -> Iterator[Search]:
    """The questions to ask, the most telling first. Each is asked only if those before found nobody."""
    if not API_UUID.fullmatch(person.department_uuid):
        return
    terms = [(Field.CUSTOMER_KEY, person.customer_key), (Field.VIN, person.vin[-VIN_ENDING:])]
    for field, term in (*terms, *((Field.PHONE, phone) for phone in person.phones)):
        if field in person.search_by and 0 < len(term) <= LONGEST_TERM:
            yield Search(person.department_uuid, field, term)


def find_match(person: Person, answers: Callable[[Search], Found | None]) -> Verdict | Search:
    """Finds the row's customer, or returns the question that has to be asked next."""
    searches = list(searches_of(person))
    for search in searches:
        found = answers(search)
        if found is None:
            return search
        verdict = _judge(person, search.field, found)
        if verdict is not None:
            return verdict
    if not API_UUID.fullmatch(person.department_uuid):
        return Verdict(Match.NONE, why="the row has no id of a department of myKaarma")
    if not searches:
        return Verdict(Match.NONE, why="the row has no customer number, VIN or phone to look for")
    return Verdict(Match.NONE, why=f"myKaarma has no customer with this {_listed(searches)}")


def usable_text(text: str) -> str:
    """A customer's number or name in the dealership's system; "" if the text stands for none."""
    return "" if text.casefold() in _NO_KEYS or not set(text) - set("0-. ") else text


def usable_vin(text: str) -> str:
    """A VIN, or its last 8 characters or more; "" if the text is none."""
    vin = re.sub(r"[\s-]", "", text).upper()
    usable = _VIN.fullmatch(vin) and len(set(vin[-VIN_ENDING:])) > 2
    return vin if usable and VIN_ENDING <= len(vin) <= VIN_LENGTH else ""


_WORDS = {Field.CUSTOMER_KEY: "customer number", Field.VIN: "VIN", Field.PHONE: "phone"}


def _listed(searches: Sequence[Search]) -> str:
    return " or ".join(dict.fromkeys(_WORDS[search.field] for search in searches))


def _judge(person: Person, field: Field, found: Found) -> Verdict | None:
    """The verdict about the customers of one answer; `None`: nobody fits, so ask the next question."""
    facts = [(candidate, _Facts.of(person, candidate)) for candidate in found.candidates]
    fitting = [(candidate, fact) for candidate, fact in facts if fact.of_field(field) is not False]
    if len(fitting) > 1 or found.more:
        # Two facts that are compared exactly, such as VIN and phone, may still single one out.
        sure = [(candidate, fact) for candidate, fact in fitting if fact.identifiers > 1]
        if len(sure) != 1:
            others = [candidate for candidate, _ in fitting]
            return _several(field, others, found) if others or found.more else None
        fitting = sure
    if not fitting:
        return None
    [(candidate, fact)] = fitting
    if not API_UUID.fullmatch(candidate.uuid):
        return Verdict(Match.DIFFERS, field=field, why="myKaarma's answer does not have this customer's id")
    problem = fact.problem(field)
    if problem is not None:
        why = f"the customer with this {_WORDS[field]} {problem}"
        return Verdict(Match.DIFFERS, field=field, why=why, others=(candidate,))
    return Verdict(Match.ONE, candidate, field)


def _several(field: Field, others: Sequence[Candidate], found: Found) -> Verdict:
    count = f"more than {len(found.candidates)}" if found.more else str(len(others))
    return Verdict(
        Match.SEVERAL,
        field=field,
        why=f"myKaarma has {count} customers with this {_WORDS[field]}",
        others=tuple(others[:_MOST_OTHERS]),
    )


class _Facts(NamedTuple):
    """Which facts of a row and a customer agree; `None`: one of the two does not say."""

    key: bool | None
    vin: bool | None
    phone: bool | None
    last_name: bool | None
    first_name: bool | None
    #: `False` also if only one of the two is a Jr. or Sr.
    generation: bool | None

    @classmethod
    def of(cls, person: Person, candidate: Candidate) -> _Facts:
        key = person.customer_key
        last, first = _names(person, candidate)
        ours, theirs = _generations(person), _generations(candidate)
        vin = person.vin
        return cls(
            key=key == candidate.customer_key if key and candidate.customer_key else None,
            vin=any(one.endswith(vin) for one in candidate.vins) if vin and candidate.vins else None,
            phone=not set(person.phones).isdisjoint(candidate.phones)
            if person.phones and candidate.phones
            else None,
            last_name=last,
            first_name=False if ours and theirs and ours != theirs else first,
            generation=ours == theirs if ours or theirs else None,
        )

    def of_field(self, field: Field) -> bool | None:
        return {Field.CUSTOMER_KEY: self.key, Field.VIN: self.vin, Field.PHONE: self.phone}[field]

    @property
    def identifiers(self) -> int:
        """How many facts agree of which each points to few customers."""
        return [self.key, self.vin, self.phone].count(True)

    def problem(self, field: Field) -> str | None:
        """Why this customer may be another one, in words that follow "the customer with this VIN"."""
        return None if self._is_sure(field) else self._what_differs()

    def _is_sure(self, field: Field) -> bool:
        if False in (self.last_name, self.first_name):
            return False
        if self.key:
            # The list may come from another store, whose numbers are other people's here.
            return any((self.last_name, self.phone, self.vin))
        if False in (self.key, self.generation):
            return False
        if field is Field.CUSTOMER_KEY and not self.identifiers:
            # The answer does not show the number, so it may be a longer one that has this one in it.
            return False
        if self.last_name and self.first_name:
            return True
        # A relative may have the same last name and car, and an earlier owner or a leasing company the same car.
        second = self.identifiers > 1 or bool(self.last_name and self.phone)
        return second and False not in (self.phone, self.vin)

    def _what_differs(self) -> str:
        named = {
            "customer number": self.key,
            "last name": self.last_name,
            "first name": self.first_name,
            "generation (Jr., Sr.)": self.generation,
            "phone": self.phone,
            "VIN": self.vin,
        }
        different = [name for name, agrees in named.items() if agrees is False]
        if different:
            return f"has another {', '.join(different)}"
        return "may be a relative" if self.last_name else "cannot be checked by name or phone"


def _names(person: Person, candidate: Candidate) -> tuple[bool | None, bool | None]:
    """Whether last and first names agree. A company that agrees counts as both if neither side names a person."""
    theirs, their_first = _words(candidate.last_name), _words(candidate.first_name)
    company = _company_words(candidate.company)
    named_as = [text for text in (person.last_name, person.name) if text]
    own_name_is_company = bool(company) and any(_company_words(text) == company for text in named_as)
    if own_name_is_company or (company and _company_words(person.company) == company):
        has_person = bool(named_as) and not own_name_is_company
        if not (has_person and theirs):
            return True, None if has_person or theirs else True
    if person.last_name or person.first_name:
        return _last_agrees(_words(person.last_name), theirs), _first_agrees(
            _words(person.first_name), their_first
        )
    last, comma, rest = person.name.partition(",")
    if comma:
        return _last_agrees(_words(last), theirs), _first_agrees(_words(rest), their_first)
    return _whole_agrees(_words(person.name), theirs, their_first)


def _generations(named: Person | Candidate) -> frozenset[str]:
    """Jr., Sr. and the like."""
    whole = named.name if isinstance(named, Person) else ""
    return frozenset(_all_words(f"{named.first_name} {named.last_name} {whole}")) & _GENERATIONS


def _company_words(text: str) -> frozenset[str]:
    return frozenset(_words(text)) - _LEGAL_FORMS


def _words(text: str) -> tuple[str, ...]:
    """The words of a name in small letters, without accents, punctuation, titles and suffixes."""
    return tuple(word for word in _all_words(usable_text(text)) if word not in _NO_NAMES)


def _all_words(text: str) -> list[str]:
    plain = "".join(
        char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char)
    )
    return re.findall(r"\w+", re.sub(r"['’`.]", "", plain))


def _last_agrees(ours: Sequence[str], theirs: Sequence[str]) -> bool | None:
    """Of a double name, one part is enough."""
    return set(ours) <= set(theirs) or set(theirs) <= set(ours) if ours and theirs else None


def _first_agrees(ours: Sequence[str], theirs: Sequence[str]) -> bool | None:
    """Compares first names, and middle names if both have one. An initial can contradict, but does not tell."""
    pairs = list(zip(ours, theirs, strict=False))
    if not pairs:
        return None
    if any(one != other and not _is_initial_of(one, other) for one, other in pairs):
        return False
    one, other = pairs[0]
    return True if one == other and len(one) > 1 else None


def _is_initial_of(one: str, other: str) -> bool:
    return 1 in (len(one), len(other)) and one[0] == other[0]


def _whole_agrees(
    ours: Sequence[str], last: Sequence[str], first: Sequence[str]
) -> tuple[bool | None, bool | None]:
    """Whether a whole name, in either order, is this last name and this first name."""
    if not ours or not last:
        return None, None
    size = len(last)
    orders = [(ours[-size:], ours[:-size])]
    if first:
        # "Scott James" may be either way around, so the first name has to tell.
        orders.append((ours[:size], ours[size:]))
    agreeing = [_first_agrees(rest, first) for part, rest in orders if tuple(part) == tuple(last)]
    fitting = [one for one in agreeing if one is not False]
    return bool(fitting), (True if True in fitting else None)
