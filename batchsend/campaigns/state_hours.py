"""The hours, Sundays and holidays that states set, from `state_hours.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import cache
from importlib.resources import files
from typing import Any

from batchsend.campaigns.quiet_hours import ALL_DAY, Rule, Window
from batchsend.campaigns.zones import state_name

NO_LEGAL_ADVICE = (
    "This is not legal advice. It is what the named sources said on the day they were checked. Laws change and have "
    "exceptions that are not considered here. Ask a lawyer before you rely on it."
)
#: What applies everywhere: 47 CFR 64.1200(c)(1).
TCPA = Window(time(21), time(8))


@dataclass(frozen=True)
class StateRule:
    """The rule of one state, and where it comes from."""

    state: str
    rule: Rule
    statute: str
    checked: date
    sources: Sequence[str]
    note: str = ""


@cache
def known_rules() -> tuple[StateRule, ...]:
    """The states whose rules are known, in the order of their names."""
    known = (
        StateRule(
            state,
            Rule(
                _window(table),
                _window(table.get("saturday")),
                _window(table.get("sunday")),
                tuple(table.get("holidays", ())),
            ),
            table["statute"],
            table["checked"],
            table["sources"],
            table.get("note", ""),
        )
        for state, table in _data().items()
        if state != "left_out"
    )
    return tuple(sorted(known, key=lambda rule: state_name(rule.state)))


@cache
def state_rules() -> tuple[tuple[str, Rule], ...]:
    """The rules of the states as quiet hours have them."""
    return tuple((known.state, known.rule) for known in known_rules())


def left_out() -> Mapping[str, str]:
    """Rules of states that were found and not taken: the state, and why."""
    found: Mapping[str, str] = _data()["left_out"]
    return found


def window_words(window: Window) -> str:
    """`8:00 AM to 8:00 PM`: the hours in which texts may go out."""
    return "no texts" if window == ALL_DAY else f"{_clock(window.ends)} to {_clock(window.begins)}"


def _clock(moment: time) -> str:
    return f"{moment:%I:%M %p}".lstrip("0")


@cache
def _data() -> Mapping[str, Any]:
    source = files("batchsend.campaigns") / "state_hours.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))


def _window(table: Mapping[str, Any] | str | None) -> Window | None:
    if isinstance(table, str):
        return ALL_DAY
    if table is None:
        return None
    return Window(time.fromisoformat(table["from"]), time.fromisoformat(table["to"]))


def words_of(rule: Rule) -> Iterator[tuple[str, str]]:
    """The days of a rule and the hours in which texts may go out on them, such as `Sunday`, `no texts`.

    Days without hours in the rule are left out, because other quiet hours apply on them.
    """
    weekday, saturday, sunday = (rule.window_on(day) for day in (0, 5, 6))
    if weekday == saturday == sunday:
        days = {"Every day": weekday}
    elif weekday == saturday:
        days = {"Monday to Saturday": weekday, "Sunday": sunday}
    else:
        days = {"Monday to Friday": weekday, "Saturday": saturday, "Sunday": sunday}
    yield from ((name, window_words(window)) for name, window in days.items() if window is not None)
    if rule.days_off:
        yield "Holidays", f"no texts ({', '.join(rule.days_off)})"
