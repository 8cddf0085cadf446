"""The hours of states, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from batchsend.campaigns.state_hours import (
    NO_LEGAL_ADVICE,
    TCPA,
    StateRule,
    known_rules,
    left_out,
    window_words,
    words_of,
)
from batchsend.campaigns.zones import state_name

_WIDTH = 100
_INDENT = " " * 4


def hours_lines() -> Iterator[str]:
    """All rules, and what was left out."""
    yield from _header()
    for known in known_rules():
        yield ""
        yield from _rule(known)
    yield ""
    yield "Checked, not applied:"
    for state, reason in left_out().items():
        yield from wrap(
            f"{state_name(state)} ({state}): {reason}",
            _WIDTH,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT * 2,
        )
    yield ""
    yield from wrap(NO_LEGAL_ADVICE, _WIDTH)


def state_lines(state: str) -> Iterator[str]:
    """The rule of one state."""
    yield from _header()
    yield ""
    known = next((known for known in known_rules() if known.state == state), None)
    if known is None:
        yield f"{state_name(state)} ({state}): no stricter rule."
    else:
        yield from _rule(known)
    if reason := left_out().get(state):
        yield from wrap(
            f"Checked, not applied: {reason}", _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT * 2
        )
    yield ""
    yield from wrap(NO_LEGAL_ADVICE, _WIDTH)


def _header() -> Iterator[str]:
    yield 'With quiet_hours = "US-states", texts go out'
    yield f"{_INDENT}everywhere: {window_words(TCPA)}, in the recipient's time (TCPA, 47 CFR § 64.1200(c)(1))"
    yield f"{_INDENT}in these states: only in the hours listed here"


def _rule(known: StateRule) -> Iterator[str]:
    yield f"{state_name(known.state)} ({known.state})"
    for days, hours in words_of(known.rule):
        yield f"{_INDENT}{days}: {hours}"
    yield f"{_INDENT}Law: {known.statute}; checked on {known.checked}"
    if known.note:
        yield from wrap(f"Note: {known.note}", _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT * 2)
    for source in known.sources:
        yield f"{_INDENT}Source: {source}"
