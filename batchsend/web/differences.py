"""Two versions of a file that was changed while its form was open: merged, and where they differ. Pure functions.

Both began from the version that the form was made from. What only one side changed is merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from batchsend.web.auth.sessions import Difference
from batchsend.web.more_settings import GROUPS, SPEED
from batchsend.web.toml_edit import Changes

#: Key -> what the pages call it, for keys whose form is not one of the fields.
LABELS: Mapping[str, str] = {
    "list": "List",
    "list_options.sheet": "Sheet of the list",
    "list_options.hidden_rows": "Hidden rows of the list",
    "list_options.header_row": "Row with the column names",
    "columns.customer_uuid": "Column with the customer’s id",
    "columns.phone": "Column with the phone",
    "columns.department_uuid": "Column with the department",
    "columns.user_uuid": "Column with the user",
    "columns.timezone": "Column with the time zone",
    "columns.state": "Column with the state",
    "columns.zip": "Column with the ZIP code",
    "columns.lookup": "Columns to look customers up by",
    "recipients.consent": "Who agreed to texts",
    "recipients.key": "When it is the same text",
    "recipients.suppress": "Files with people to skip",
    "template_by": "Which customers get which text",
    "template": "Text",
    "template_by.column": "Column with the language",
    "department_uuid": "Department",
    "department_label": "Name of the department",
    "user_uuid": "User",
    "timezone": "Time zone",
    "schedule": "Scheduled starts",
    "schedule.cron": "Repeated start",
    "schedule.at": "Start",
    "sending.quiet_hours": "Quiet hours",
    "hours": "Hours of states",
}
_FIELDS = {field.name: field for field in (*SPEED, *(field for group in GROUPS for field in group.fields))}
#: Lines around a change that are shown.
_AROUND = 4


class Line(NamedTuple):
    """A line in two versions; `None` if a version does not have it."""

    mine: str | None
    theirs: str | None

    @property
    def differs(self) -> bool:
        return self.mine != self.theirs


@dataclass(frozen=True)
class Part:
    """Lines that follow each other. `skipped`: equal lines before them that are not shown."""

    skipped: int
    lines: tuple[Line, ...]


def of_keys(
    changes: Changes, present: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> tuple[Difference, ...]:
    """Returns the keys that a form would change in the present file, with both values in words.

    `base`: the file from which the form was made. With it, only keys that the present file changed too.
    """
    pairs = ((key, mine, value_at(present, key)) for key, mine in changes.items())
    return tuple(
        Difference(label_of(key), _words(key, mine), _words(key, theirs))
        for key, mine, theirs in pairs
        if mine != theirs and (base is None or value_at(base, key) != theirs)
    )


def merged_lines(base: str, mine: str, theirs: str) -> tuple[str, bool]:
    """Returns a text with the lines that either side changed, and whether both changed the same place.

    There the text has the lines of `mine`. Changes of lines next to each other are changes of the same place.
    """
    lines, sides = base.split("\n"), (mine.split("\n"), theirs.split("\n"))
    edits = sorted((edit, side) for side in (0, 1) for edit in _edits(lines, sides[side]))
    result: list[str] = []
    done, conflict = 0, False
    for begin, end, both in _places(edits):
        ours, other = (_changed(lines, begin, end, both, side) for side in (0, 1))
        untouched = lines[begin:end]
        conflict |= untouched not in (ours, other) and ours != other
        result += [*lines[done:begin], *(other if ours == untouched else ours)]
        done = end
    return "\n".join([*result, *lines[done:]]), conflict


class _Edit(NamedTuple):
    """Lines of a text that were replaced by others."""

    begin: int
    end: int
    lines: tuple[str, ...]


def _edits(base: list[str], changed: list[str]) -> Iterator[_Edit]:
    for tag, i, j, k, m in SequenceMatcher(None, base, changed, autojunk=False).get_opcodes():
        if tag != "equal":
            yield _Edit(i, j, tuple(changed[k:m]))


_Edits = list[tuple[_Edit, int]]


def _places(edits: _Edits) -> Iterator[tuple[int, int, _Edits]]:
    """Yields the edits that overlap or touch each other together: where they begin and end, and the edits."""
    found: _Edits = []
    end = -1
    for edit, side in edits:
        if found and edit.begin > end:
            yield found[0][0].begin, end, found
            found = []
        end = max(end, edit.end) if found else edit.end
        found.append((edit, side))
    if found:
        yield found[0][0].begin, end, found


def _changed(base: list[str], begin: int, end: int, edits: _Edits, side: int) -> list[str]:
    """Returns the lines of a place as one side has them."""
    result: list[str] = []
    for edit in (edit for edit, whose in edits if whose == side):
        result += [*base[begin : edit.begin], *edit.lines]
        begin = edit.end
    return [*result, *base[begin:end]]


def label_of(key: tuple[str, ...]) -> str:
    """Returns what the pages call a key."""
    name = ".".join(key[:1] if key[0] == "hours" else key)
    return _FIELDS[name].label if name in _FIELDS else LABELS.get(name, name)


def parts_of(mine: str, theirs: str) -> Iterator[Part]:
    """Returns the lines of two texts side by side. Equal lines far from any change are left out."""
    mine_lines, their_lines = mine.splitlines(), theirs.splitlines()
    shown = 0
    for group in SequenceMatcher(None, mine_lines, their_lines, autojunk=False).get_grouped_opcodes(_AROUND):
        lines: list[Line] = []
        for _, i, j, k, m in group:
            longest = max(j - i, m - k)
            left = [*mine_lines[i:j], *([None] * (longest - (j - i)))]
            right = [*their_lines[k:m], *([None] * (longest - (m - k)))]
            lines += map(Line, left, right)
        yield Part(group[0][1] - shown, tuple(lines))
        shown = group[-1][2]


def value_at(present: Mapping[str, Any], key: tuple[str, ...]) -> Any:
    """Returns the value of a key of a campaign file; `None` if it does not have it."""
    value: Any = present
    for part in key:
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _words(key: tuple[str, ...], value: Any) -> str:
    field = _FIELDS.get(".".join(key))
    options = field.options if field is not None else ()
    return next((words for option, words in options if option == value), _plain(value))


def _plain(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_plain(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)
