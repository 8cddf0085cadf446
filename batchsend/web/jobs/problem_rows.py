"""The rows that cannot be sent: what a check found, and a copy of their list with cells that a person corrected."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import orjson

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError, ListError
from batchsend.ledger.opening import SCRATCH_RUN
from batchsend.ledger.runs import run_rows
from batchsend.lists.customer_list import CustomerList, open_list
from batchsend.lists.source import is_made_anew
from batchsend.planning.plan import Plan
from batchsend.planning.sources import open_campaign_list
from batchsend.reports.advice import advise
from batchsend.reports.list_file import write_list
from batchsend.statuses import Code, Status

#: Rows that the page shows; the next ones come once these are corrected.
SHOWN = 50
_LONGEST_CELL = 500
_COPY = re.compile(r" \((?:corrected|with ids)(?: \d+)?\)$")
_MOST_COPIES = 1000

#: Row -> position of a column -> the corrected cell.
Corrections = Mapping[int, Mapping[int, str]]


@dataclass(frozen=True)
class ProblemRow:
    """A row that cannot be sent. `cells`: those of `ProblemRows.columns`; `None` if they cannot be corrected here."""

    row: int
    problem: str
    what_to_do: str
    cells: Sequence[str] | None


@dataclass(frozen=True)
class ProblemRows:
    """The first rows that cannot be sent, of `count` in all.

    `sha256`: from `version_of`; `columns`: position -> header of the columns that the campaign uses; `reason`: why
    the list cannot be corrected here, in a sentence.
    """

    sha256: str
    count: int
    columns: Mapping[int, str]
    rows: Sequence[ProblemRow]
    reason: str = ""

    def stored(self) -> dict[str, Any]:
        """Returns this as JSON values."""
        return {**asdict(self), "columns": list(self.columns.items())}


def restored(value: Mapping[str, Any]) -> ProblemRows:
    """Returns what `stored` returned."""
    rows = [ProblemRow(**row) for row in value["rows"]]
    return ProblemRows(**{**value, "columns": dict(value["columns"]), "rows": rows})


def problem_rows(plan: Plan, campaign: Campaign) -> ProblemRows | None:
    """Returns the rows of a plan that cannot be sent; `None` if there are none.

    `campaign`: as its file has it, with a pattern instead of the newest list.
    """
    count = plan.counts.get(Status.INVALID, 0)
    if not count:
        return None
    customers = plan.sources.customers
    roles = plan.sources.roles
    # Most problems are about these two.
    first = (roles.shown_customer, roles.phone)
    used = sorted(plan.sources.used, key=lambda position: (position not in first, position))
    columns = ("row", "codes", "descriptions", "cells")
    rows = run_rows(plan.scratch, SCRATCH_RUN, [Status.INVALID], columns)
    return ProblemRows(
        sha256=version_of(customers, campaign),
        count=count,
        columns={position: customers.headers[position] for position in used},
        rows=[_problem_row(row, used) for row in islice(rows, SHOWN)],
        reason=_not_here(plan, campaign),
    )


def version_of(customers: CustomerList, campaign: Campaign) -> str:
    """Returns a value that changes with the list's content and with how the campaign reads it, such as the sheet."""
    options = campaign.list_options.model_dump_json()
    return hashlib.sha256(f"{customers.sha256}\n{campaign.list.suffix}\n{options}".encode()).hexdigest()


def _problem_row(row: Mapping[str, Any], used: Sequence[int]) -> ProblemRow:
    advice = advise(Status.INVALID, row["codes"])
    cells = orjson.loads(row["cells"])
    shown = [cells[position] for position in used]
    fits = row["codes"] != Code.MALFORMED_ROW and all(map(_fits, shown))
    return ProblemRow(
        row["row"], row["descriptions"] or advice.meaning, advice.what_to_do, shown if fits else None
    )


def _fits(cell: str) -> bool:
    """Whether a cell can be corrected in a field of one line."""
    return len(cell) <= _LONGEST_CELL and "\n" not in cell


def _not_here(plan: Plan, campaign: Campaign) -> str:
    """Says why a list has to be corrected where it comes from."""
    if is_pattern(campaign.list) or is_made_anew(campaign.list):
        return "This list comes from another program again and again. Correct it there."
    if any(code == Code.MALFORMED_ROW for _, code, _ in plan.codes):
        return "Some rows have more cells than the header, or fewer. Correct the list in a spreadsheet and upload it."
    return ""


def write_corrected(path: Path, content: bytes, version: str, corrections: Corrections) -> Path:
    """Writes a copy of a campaign's list with corrected cells next to the campaign; returns its path.

    `path` and `content`: the campaign file's; `version`: from `version_of`, of the rows that were corrected. The list
    itself is unchanged.
    Raises `BatchsendError`; then there is no copy.
    """
    campaign = parse_campaign(path, content)
    customers = open_campaign_list(campaign, campaign.list)
    if version_of(customers, campaign) != version:
        raise BatchsendError(
            f"{campaign.list.name}: the list, or how it is read, was changed in the meantime. Look at its rows as "
            f"they are now."
        )
    target = copy_name(campaign.directory, campaign.list.stem, "corrected")
    written = write_list(target, customers.headers, in_place(customers, corrections))
    if _is_as_expected(written, customers, corrections):
        return written
    with suppress(OSError):
        written.unlink()
    raise BatchsendError(
        f"{campaign.list.name}: a copy would not be read the same way, so none was kept. Correct the list in a "
        f"spreadsheet and upload it."
    )


def copy_name(folder: Path, stem: str, word: str) -> Path:
    """Returns a name for a copy of a list that no file has yet: `march (corrected 2).xlsx`."""
    stem = _COPY.sub("", stem)
    for number in range(1, _MOST_COPIES):
        path = folder / f"{stem} ({word}{'' if number == 1 else f' {number}'}).xlsx"
        if not path.exists():
            return path
    raise BatchsendError(f"{stem}: there are too many copies. Delete or rename some of them.")


def _rows(customers: CustomerList, corrections: Corrections) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows with their corrections. Rows that the list hides and the campaign skips are left out."""
    for chunk in customers.chunks():
        for number, *cells in chunk.frame.itertuples():
            if number in chunk.hidden:
                continue
            for position, cell in corrections.get(number, {}).items():
                cells[position] = cell
            yield number, cells


def in_place(customers: CustomerList, corrections: Corrections) -> Iterator[list[str]]:
    """Yields the rows for a file whose header is in row 1, with blank ones between them, so that numbers stay."""
    blank = [""] * len(customers.headers)
    next_row = customers.header.row + 1
    for number, cells in _rows(customers, corrections):
        yield from (blank for _ in range(number - next_row))
        yield cells
        next_row = number + 1


def _is_as_expected(path: Path, customers: CustomerList, corrections: Corrections) -> bool:
    """Whether a copy has the same headers and rows, with the corrections."""
    try:
        copy = open_list(path)
    except ListError:
        return False
    found = (cells for _, cells in _rows(copy, {}))
    expected = (cells for _, cells in _rows(customers, corrections) if any(cells))
    pairs = zip_longest(found, expected)
    return copy.headers == customers.headers and all(mine == theirs for mine, theirs in pairs)
