"""Rows with the same status and codes, as the pages show them: how many, which, and a few examples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchsend.reports.advice import Advice, advise
from batchsend.statuses import IN_FLIGHT, Code, Status

#: How many row numbers of a group are listed, and how many rows are shown.
NUMBERS_NAMED = 200
EXAMPLES = 8
#: How many cells, and characters of each, show whose row it is.
_CELLS = 3
_CHARACTERS = 28


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a group. `who`: its first cells; `problem`: what is wrong with this row in particular."""

    row: int
    who: str
    problem: str


@dataclass
class Group:
    """The rows with one outcome. `numbers` are the first of them."""

    status: str
    codes: str
    count: int = 0
    numbers: list[int] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    @property
    def advice(self) -> Advice:
        return advise(self.status, self.codes)


class Groups:
    """Collects groups row by row; holds a bounded number of rows of each.

    `customer`, `phone`: positions of these columns in the list, if it has them.
    """

    def __init__(self, headers: Sequence[str], customer: int | None, phone: int | None) -> None:
        self._headers = headers
        self._customer = customer
        self._phone = phone
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, status: str, codes: str, row: Mapping[str, Any]) -> None:
        """Adds a row of the ledger's `messages` under the status and codes that it is shown with."""
        group = self._groups.setdefault((status, codes), Group(status, codes))
        group.count += 1
        if len(group.numbers) < NUMBERS_NAMED:
            group.numbers.append(row["row"])
        if len(group.examples) < EXAMPLES:
            cells = json.loads(row["cells"])
            problem = "; ".join(filter(None, (self._value(codes, cells), row["descriptions"])))
            group.examples.append(Example(row["row"], self._who(cells), problem))

    def of(self, *statuses: str) -> list[Group]:
        """The groups of these statuses, the largest first."""
        groups = (group for group in self._groups.values() if group.status in statuses)
        return sorted(groups, key=lambda group: (-group.count, group.numbers[0]))

    def _who(self, cells: Sequence[str]) -> str:
        filled = [cell for position, cell in enumerate(cells) if cell and position != self._customer]
        return " · ".join(map(_shortened, filled[:_CELLS]))

    def _value(self, codes: str, cells: Sequence[str]) -> str:
        """The cell that the code is about, if the description does not name it."""
        if codes != Code.INVALID_PHONE or self._phone is None or self._phone >= len(cells):
            return ""
        return f'{self._headers[self._phone]} holds "{_shortened(cells[self._phone])}"'


def shown(status: str, codes: str) -> tuple[str, str]:
    """Status and codes as results show them: what is still in flight in a ledger is `unconfirmed`."""
    return (Status.UNCONFIRMED, Code.INTERRUPTED) if status == IN_FLIGHT else (status, codes)


def _shortened(value: str) -> str:
    return value if len(value) <= _CHARACTERS else f"{value[: _CHARACTERS - 1]}…"
