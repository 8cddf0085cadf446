"""The steps to a campaign that can be sent: what a step is, and the state of each. Pure functions.

A state comes from what a check found, and a check makes the same plan as sending. `views.all_steps` has the steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from batchsend.errors import (
    BatchsendError,
    ColumnsError,
    CombinedError,
    FileError,
    ForbiddenFileError,
    ListError,
    SettingsError,
)
from batchsend.errors import TemplateError as TextError
from batchsend.statuses import Code
from batchsend.utils.wording import row_count, text_count

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: The names of the steps, as in their addresses.
LIST, COLUMNS, TEXT, SENDER, WHEN, CHECK, SEND = "list", "columns", "text", "sender", "when", "check", "send"
#: The address of the page with the rows that cannot be sent, below a campaign's.
ROWS = f"{LIST}/rows"
#: Codes of rows that a change of the text mends; the list mends all others.
_OF_TEXT = frozenset({Code.MISSING_VALUE, Code.TEMPLATE_ERROR, Code.EMPTY_MESSAGE, Code.MESSAGE_TOO_LONG})
#: A key of the campaign file that names a column -> what the column has, in words.
_COLUMNS: Mapping[str, str] = {
    "customer_uuid": "the customer's id in myKaarma",
    "phone": "the phone",
    "department_uuid": "the department's id",
    "user_uuid": "the user's id",
    "timezone": "the time zone",
    "zip": "the ZIP code",
    "state": "the state",
    "lookup": "the customer's number, the VIN or a phone",
    "lookup.customer_key": "the customer's number",
    "lookup.vin": "the VIN",
    "lookup.phone": "the phone to look up",
    "lookup.last_name": "the last name",
    "recipients.consent": "who agreed to texts",
    "recipients.key": "what makes a text the same",
    "template_by.column": "the language",
}


class Page(NamedTuple):
    """An address of a step and its handler. `below`: what follows the step's own address."""

    method: str
    below: str
    handler: Handler


@dataclass(frozen=True)
class Step:
    """A step. `name`: its address below the campaign's; `question`: the heading of its page."""

    name: str
    title: str
    question: str
    pages: Sequence[Page]


class State(StrEnum):
    """The state of a step."""

    DONE = "done"
    ATTENTION = "attention"
    NOT_YET = "not-yet"
    UNCHECKED = "unchecked"


#: What the pages say of a state.
STATE_WORDS: Mapping[State, str] = {
    State.DONE: "done",
    State.ATTENTION: "needs attention",
    State.NOT_YET: "not yet",
    State.UNCHECKED: "not checked yet",
}


@dataclass(frozen=True)
class Problem:
    """Something wrong in a step. `blocks`: nothing can be sent until it is fixed.

    `place`: the address of the page that shows it, below the campaign's, if it is not the step's own; `unbegun`: the
    step still has the sample's list or text.
    """

    step: str
    sentence: str
    blocks: bool = True
    place: str = ""
    unbegun: bool = False


@dataclass(frozen=True)
class Facts:
    """What a check of the present files found.

    `checked`: it has ended; `complete`: it judged every row. `notes`: step -> what was chosen there, in a few words.
    `sent`: the campaign has a run.
    """

    checked: bool = False
    complete: bool = False
    problems: Sequence[Problem] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    texts: int = 0
    sent: bool = False


@dataclass(frozen=True)
class Status:
    """The state of a step, with what was chosen there and what is wrong."""

    state: State
    note: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def words(self) -> str:
        return STATE_WORDS[self.state]

    @property
    def blocks(self) -> bool:
        return any(problem.blocks for problem in self.problems)

    @property
    def is_unbegun(self) -> bool:
        return any(problem.unbegun for problem in self.problems)


def statuses(steps: Sequence[Step], facts: Facts) -> dict[str, Status]:
    """Returns the status of each step, by its name. No step is done before a check has judged every row."""
    return {step.name: _status(step.name, facts) for step in steps}


def next_step(steps: Sequence[Step], found: Mapping[str, Status]) -> Step | None:
    """Returns the first step in which something must be done; `None` if nothing is known or left to do.

    As long as something must be done at all, that includes steps that still have the sample's list or text.
    """
    if not any(status.blocks for status in found.values()):
        return None
    return next(step for step in steps if found[step.name].blocks or found[step.name].is_unbegun)


def _status(name: str, facts: Facts) -> Status:
    note = facts.notes.get(name, "")
    mine = tuple(problem for problem in facts.problems if problem.step == name)
    if mine:
        return Status(State.ATTENTION, note, mine)
    if not facts.checked:
        return Status(State.UNCHECKED, note)
    if not facts.complete:
        return Status(State.NOT_YET, note)
    if name in (CHECK, SEND):
        return _last(name, facts)
    return Status(State.DONE, note)


def _last(name: str, facts: Facts) -> Status:
    """Returns the status of the steps that come after everything is chosen."""
    if any(problem.blocks for problem in facts.problems):
        return Status(State.NOT_YET)
    if name == CHECK:
        return Status(
            State.DONE, f"{text_count(facts.texts)} ready to send" if facts.texts else "nothing to send"
        )
    return Status(State.DONE if facts.sent and not facts.texts else State.NOT_YET)


def problems_of(error: BatchsendError, suppress: Sequence[Path] = ()) -> list[Problem]:
    """Returns an error of a check as problems of the steps in which they are fixed.

    `suppress`: the campaign's files with people to skip.
    """
    return list(_problems(error, frozenset(suppress)))


def _problems(error: BatchsendError, suppress: frozenset[Path]) -> Iterator[Problem]:
    if isinstance(error, CombinedError):
        for one in error.errors:
            yield from _problems(one, suppress)
        return
    if isinstance(error, ForbiddenFileError):
        yield Problem(CHECK, error.on_page)
        return
    if isinstance(error, ColumnsError) and error.columns:
        yield from _column_problems(error)
        return
    if isinstance(error, ListError) and error.options and error.path not in suppress:
        yield from (Problem(LIST, sentence) for sentence in _choices(error))
        return
    step = _step_of(error, suppress)
    for sentence in error.page_problems:
        yield Problem(step, sentence)


def _choices(error: ListError) -> Iterator[str]:
    """Yields what has to be chosen on the page of the list before it can be used."""
    if "sheet" in error.options:
        yield "Choose the sheet that has the customers."
    if "header_row" in error.options:
        yield "Choose the row that has the column names."
    if "hidden_rows" in error.options:
        hidden = f"{row_count(error.hidden_rows)} {'is' if error.hidden_rows == 1 else 'are'} hidden or filtered out"
        yield f"{hidden}. Say whether these customers get the text."


def _column_problems(error: ColumnsError) -> Iterator[Problem]:
    if error.title:
        yield Problem(LIST, "The first row looks like a title. Choose the row that has the column names.")
        return
    for key, header in error.columns:
        what = _COLUMNS.get(key.removeprefix("columns."), key)
        if header is None:
            yield Problem(COLUMNS, f"Choose the column with {what}.")
        else:
            yield Problem(COLUMNS, f'The column "{header}" ({what}) is not in this list. Choose another one.')


def _step_of(error: BatchsendError, suppress: frozenset[Path]) -> str:
    match error:
        case FileError() if error.path in suppress:
            return WHEN
        case ColumnsError():
            return COLUMNS
        case ListError():
            return LIST
        case TextError():
            return TEXT
        case SettingsError():
            return SENDER
        case _:
            return CHECK


def row_problems(codes: Sequence[tuple[str, int]]) -> list[Problem]:
    """Returns the rows that cannot be sent as problems that do not keep the others from being sent.

    `codes`: code and number of rows, of the rows that are `invalid`.
    """
    rows = {LIST: 0, TEXT: 0}
    for code, count in codes:
        rows[TEXT if code in _OF_TEXT else LIST] += count
    return [
        Problem(
            step,
            f"{row_count(count)} cannot be sent as {'it is' if count == 1 else 'they are'}.",
            blocks=False,
            place=ROWS,
        )
        for step, count in rows.items()
        if count
    ]


def stored(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Returns problems as JSON."""
    return [asdict(one) for one in problems]


STEPS = web.AppKey("steps", tuple[Step, ...])
