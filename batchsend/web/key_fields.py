"""Keys of the campaign file as fields of a form. Pure functions.

A field converts between a key's value and what people read and type. It judges nothing: text that it cannot convert
goes to the campaign file's own rules as it was typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.web.toml_edit import Changes

#: Units of a length of time: as the campaign file writes them -> seconds.
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
#: The same, in words.
UNIT_WORDS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,15}\.\d{1,15}", re.ASCII)
#: Commas between thousands.
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+", re.ASCII)


class Kind(Enum):
    """What a field looks like. `LINES`: several texts, one a line; `PAIRS`: lines such as `name: value`.

    `CHOICES`: any number of the options, each with a checkbox.
    """

    NUMBER = auto()
    DURATION = auto()
    TEXT = auto()
    CHOICE = auto()
    CHOICES = auto()
    LINES = auto()
    PAIRS = auto()


@dataclass(frozen=True)
class KeyField:
    """A field for one key. `options`: the values of a choice, each with its words."""

    key: tuple[str, ...]
    label: str
    help: str = ""
    kind: Kind = Kind.NUMBER
    options: tuple[tuple[Any, str], ...] = ()

    @property
    def name(self) -> str:
        """Its name in the form, and the key as the campaign file's rules call it."""
        return ".".join(self.key)

    @property
    def unit(self) -> str:
        """The name of the field with the unit of a length of time."""
        return f"{self.name}.unit"

    def box(self, option: str) -> str:
        """Returns the name of the checkbox of an option."""
        return f"{self.name}.{option}"

    @property
    def kind_name(self) -> str:
        return self.kind.name.lower()

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The options as the form has them."""
        return [(_text(value), words) for value, words in self.options]

    def shown(self, campaign: Campaign) -> dict[str, str]:
        """Returns the texts of the form for the present value."""
        value = value_of(campaign, self.key)
        match self.kind:
            case Kind.DURATION:
                number, unit = _split(value)
                return {self.name: number, self.unit: unit}
            case Kind.LINES:
                return {self.name: "\n".join(value or ())}
            case Kind.CHOICES:
                boxes = {self.box(option): "yes" if option in value else "" for option, _ in self.options}
                return {self.name: "", **boxes}
            case Kind.PAIRS:
                return {self.name: "\n".join(f"{name}: {text}" for name, text in (value or {}).items())}
            case _:
                return {self.name: _text(value)}

    def typed(self, form: Mapping[str, Any]) -> Any:
        """Returns the value for the campaign file; `None` if the field is empty."""
        text = self._plain(form.get(self.name, ""))
        match self.kind:
            case Kind.CHOICES:
                return [option for option, _ in self.options if form.get(self.box(option))] or None
            case _ if not text:
                return None
            case Kind.NUMBER:
                return _number(text)
            case Kind.DURATION:
                return _duration(text, str(form.get(self.unit, "")))
            case Kind.CHOICE:
                return next((value for value, _ in self.options if _text(value) == text), text)
            case Kind.LINES:
                return [line.strip() for line in text.split("\n") if line.strip()]
            case Kind.PAIRS:
                return _pairs(text)
            case _:
                return text

    def is_as_shown(self, form: Mapping[str, Any], campaign: Campaign) -> bool:
        """Whether the form has what it showed."""
        shown = self.shown(campaign)
        return all(self._plain(form.get(name, "")) == self._plain(text) for name, text in shown.items())

    def _plain(self, text: object) -> str:
        """Returns a form's text with plain line ends. A choice can be a tab."""
        return str(text) if self.kind is Kind.CHOICE else str(text).replace("\r\n", "\n").strip()

    def words(self, campaign: Campaign) -> str:
        """Returns the present value for people; "" if it is the usual one."""
        value = value_of(campaign, self.key)
        if value is None or value == _usual(campaign, self.key):
            return ""
        match self.kind:
            case Kind.CHOICE:
                return next((words for option, words in self.options if option == value), _text(value))
            case Kind.DURATION:
                number, unit = _split(value)
                return f"{number} {UNIT_WORDS[unit] if number != '1' else UNIT_WORDS[unit][:-1]}"
            case Kind.LINES | Kind.PAIRS:
                return ", ".join(value)
            case Kind.CHOICES:
                return ", ".join(words for option, words in self.options if option in value)
            case _:
                return _text(value)


def value_of(campaign: Campaign, key: Sequence[str]) -> Any:
    """Returns the value of a key, which may be a default; `None` if its section is missing."""
    value: Any = campaign
    for part in key:
        value = getattr(value, part, None)
    return value


def changes_of(fields: Iterable[KeyField], form: Mapping[str, Any], campaign: Campaign) -> Changes:
    """Returns the changes for those fields that the form has and that are not as the campaign has them."""
    given = (field for field in fields if field.name in form)
    return {field.key: field.typed(form) for field in given if not field.is_as_shown(form, campaign)}


def in_words(errors: Mapping[str, str], fields: Sequence[KeyField]) -> dict[str, str]:
    """Returns errors that call other fields by their labels, not by their keys."""

    def worded(sentence: str) -> str:
        for field in fields:
            sentence = sentence.replace(f"`{field.key[-1]}`", f"“{field.label}”")
        return sentence

    return {name: worded(sentence) for name, sentence in errors.items()}


def _usual(campaign: Campaign, key: Sequence[str]) -> Any:
    *sections, last = key
    return getattr(type(value_of(campaign, sections))(), last)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _number(text: str) -> int | float | str:
    plain = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    if _WHOLE.fullmatch(plain):
        return int(plain)
    return float(plain) if _DECIMAL.fullmatch(plain) else text


def _duration(text: str, unit: str) -> str | float:
    if unit in _UNITS and _DECIMAL.fullmatch(text):
        return float(text) * _UNITS[unit]
    return f"{text}{unit}" if unit in _UNITS and _WHOLE.fullmatch(text) else text


def _split(value: timedelta | str | None) -> tuple[str, str]:
    if not isinstance(value, timedelta):
        return "", "h"
    seconds = value.total_seconds()
    unit = next((unit for unit, length in _UNITS.items() if seconds % length == 0), "s")
    return _text(seconds / _UNITS[unit]), unit


def _pairs(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.split("\n") if line.strip())
    return {name.strip(): value.strip() for name, _, value in lines}
