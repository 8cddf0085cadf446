"""Reads the list and tries the text while a campaign is edited. Runs in the processes of `reader_pool`.

A list can be large or malicious and a template slow. In a separate process, neither can hold up the pages.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError, FileError, ListError
from batchsend.lists.customer_list import CustomerList
from batchsend.lists.headers import ColumnIndex
from batchsend.lists.newest import newest_match
from batchsend.lists.source import QUERY_ENDING
from batchsend.messages.sms import normalize, size_with_opt_out, smart_encode
from batchsend.messages.template import MessageTemplate, RowProblem
from batchsend.messages.template_choice import TemplateChoice
from batchsend.messages.template_mistakes import reference_to
from batchsend.planning.columns import Roles, find_columns, guess_columns
from batchsend.planning.optout_files import read_opt_outs
from batchsend.planning.row_frame import Context, rows_of
from batchsend.planning.rules import judge
from batchsend.planning.sources import open_campaign_list
from batchsend.reports.advice import advise
from batchsend.runs.start import refuse_sample_ids
from batchsend.statuses import Status

#: Rows of a list that are kept in memory, and how many lists.
_ROWS_KEPT, LISTS_KEPT = 2000, 4
#: Values of a column that the page shows.
_SAMPLES = 3
#: Rows of a list that the page shows.
_ROWS_SHOWN = 5


@dataclass(frozen=True)
class ListView:
    """A list as the page shows it.

    `problems`: why the list cannot be used; then only `path` and perhaps `headers` are set. `roles`: our name for a
    column -> the list's header, for the columns that were found. `variables`: how a template writes each column.

    The rest is for people who choose: `options`, the list options that solve all of its problems; `sheets`, those
    that could be the list; `hidden_rows`, how many are hidden; `top`, the first rows of the file; `header_row`, the
    number of the row with the headers; `title`: that row is probably a title; `guesses`: as `roles`, of what the
    columns are called; `samples`: a header -> different values below it.
    """

    path: Path
    headers: tuple[str, ...] = ()
    rows: int = 0
    saved_at: str = ""
    notes: tuple[str, ...] = ()
    first: list[tuple[int, Sequence[str]]] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    column_problems: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    sheets: tuple[str, ...] = ()
    hidden_rows: int = 0
    top: tuple[tuple[int, tuple[str, ...]], ...] = ()
    header_row: int | None = None
    title: bool = False
    guesses: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RowText:
    """The text of one row, or why it has none. `problems` concern the list or the template, `problem` the row.

    `row` is `None` if the list has no rows. `earlier` and `later`: the numbers of the neighboring rows.
    """

    problems: tuple[str, ...] = ()
    row: int | None = None
    earlier: int | None = None
    later: int | None = None
    phone: str | None = None
    body: str | None = None
    segments: int = 0
    encoding: str = ""
    units: int = 0
    opt_out_line: str | None = None
    code: str = ""
    problem: str = ""
    cells: tuple[tuple[str, str], ...] = ()


@dataclass
class _CachedList:
    """A list that was read a moment ago, and its first rows by their numbers."""

    customers: CustomerList
    rows: dict[int, Sequence[str]]
    malformed: dict[int, str]
    hidden: frozenset[int]


class _PreviewRow(NamedTuple):
    """A row of a list. `malformed`: why it cannot be used."""

    number: int
    cells: Sequence[str]
    malformed: str | None = None
    hidden: bool = False


_lists: OrderedDict[tuple[object, ...], _CachedList] = OrderedDict()


def read_list(path: Path, content: bytes) -> ListView:
    """Reads the list of a campaign file. Raises `BatchsendError` if the campaign file is wrong.

    `path` and `content`: the campaign file's.
    """
    campaign = parse_campaign(path, content)
    try:
        file = _list_file(campaign)
        cached = _list(campaign, file)
    except ListError as error:
        return ListView(
            error.path,
            error.headers or (),
            problems=error.problems,
            options=error.options,
            sheets=error.sheets,
            hidden_rows=error.hidden_rows,
            top=error.top,
            header_row=campaign.list_options.header_row,
            title="header_row" in error.options,
        )
    customers = cached.customers
    roles, problems = _roles(campaign, customers.headers)
    return ListView(
        path=file,
        headers=customers.headers,
        rows=customers.rows,
        saved_at=customers.saved_at.isoformat(),
        notes=customers.notes,
        first=list(islice(cached.rows.items(), _ROWS_SHOWN)),
        column_problems=problems,
        roles=_found(roles, customers.headers),
        variables=tuple(_variables(customers.headers)),
        hidden_rows=customers.hidden_rows,
        top=customers.top,
        header_row=customers.header.row,
        title=campaign.list_options.header_row is None and _is_title(customers.headers, customers.top),
        guesses=guess_columns(customers.headers),
        samples=_samples(cached),
    )


def _samples(cached: _CachedList) -> dict[str, tuple[str, ...]]:
    """Returns the first different values of each column."""
    found: dict[str, tuple[str, ...]] = {}
    for position, header in enumerate(cached.customers.headers):
        values = dict.fromkeys(cells[position] for cells in cached.rows.values() if cells[position])
        found[header] = tuple(islice(values, _SAMPLES))
    return found


def _is_title(headers: Sequence[str], top: Sequence[tuple[int, Sequence[str]]]) -> bool:
    """Whether a row has too few values to be the headers of the rows below it."""
    widest = max((sum(map(bool, cells)) for _, cells in top), default=0)
    return 2 * sum(map(bool, headers)) <= widest


def count_opt_outs(path: Path, region: str) -> int:
    """Returns how many rows of a file name someone to skip. Raises `ListError` if the file could lose one."""
    return sum(not row.is_empty for row in read_opt_outs(path, region).rows)


def render_row(path: Path, content: bytes, template: Path, source: str, wanted: int | None) -> RowText:
    """Renders a row with the text in the editor. `wanted`: the row's number; `None`: the first row.

    `path` and `content`: the campaign file's. `template` and `source`: the template's, as it is in the editor.
    """
    campaign = parse_campaign(path, content)
    try:
        cached = _list(campaign, _list_file(campaign))
    except ListError as error:
        return RowText(problems=error.problems)
    headers = cached.customers.headers
    try:
        compiled = MessageTemplate.of(template, source, headers)
    except FileError as error:
        return RowText(problems=error.problems)
    row = _row(cached, wanted)
    if row is None:
        return RowText()
    earlier, later = _neighbors(cached, row.number)
    empty = RowText(
        row=row.number,
        earlier=earlier,
        later=later,
        opt_out_line=campaign.message.opt_out_line if campaign.message.add_tcpa_footer else None,
        cells=tuple((headers[index], row.cells[index]) for index in sorted(compiled.uses)),
    )
    return _with_text(campaign, headers, compiled, row, empty)


def file_problems(path: Path, content: bytes) -> list[str]:
    """Returns what the command line would say is wrong with a campaign file of this content."""
    try:
        campaign = parse_campaign(path, content)
    except FileError as error:
        return list(error.problems)
    found: list[str] = []
    try:
        refuse_sample_ids(campaign)
    except FileError as error:
        found += error.problems
    try:
        headers = _list(campaign, _list_file(campaign)).customers.headers
    except BatchsendError as error:
        return [*found, *error.on_page.splitlines()]
    found += _roles(campaign, headers)[1]
    try:
        TemplateChoice.load(campaign, headers)
    except BatchsendError as error:
        found += error.on_page.splitlines()
    return found


def _list_file(campaign: Campaign) -> Path:
    return newest_match(campaign.list, campaign.allows_list) if is_pattern(campaign.list) else campaign.list


def list_key(campaign: Campaign) -> tuple[object, ...]:
    """Returns a value that changes with the campaign's list, without reading it."""
    try:
        return _key(campaign, _list_file(campaign))
    except ListError as error:
        return (error.on_page,)


def _key(campaign: Campaign, file: Path) -> tuple[object, ...]:
    try:
        stat = file.stat()
    except OSError:
        stat = None
    # The rows of a query can change though its file does not.
    minute = time.monotonic() // 60 if file.suffix.lower() == QUERY_ENDING else None
    options = campaign.list_options.model_dump_json()
    return minute, file, stat and stat.st_mtime_ns, stat and stat.st_size, options


def _list(campaign: Campaign, file: Path) -> _CachedList:
    key = _key(campaign, file)
    if key in _lists:
        _lists.move_to_end(key)
        return _lists[key]
    customers = open_campaign_list(campaign, file)
    rows: dict[int, Sequence[str]] = {}
    malformed: dict[int, str] = {}
    hidden: set[int] = set()
    for chunk in customers.chunks(()):
        rows.update({row: cells for row, *cells in chunk.frame.itertuples()})
        malformed.update(chunk.malformed)
        hidden.update(chunk.hidden)
        if len(rows) >= _ROWS_KEPT:
            break
    _lists[key] = _CachedList(customers, rows, malformed, frozenset(hidden))
    while len(_lists) > LISTS_KEPT:
        _lists.popitem(last=False)
    return _lists[key]


def _row(cached: _CachedList, wanted: int | None) -> _PreviewRow | None:
    """Returns the row with this number or the next one; past the end, the last row in memory. `None`: no rows."""
    for number, cells in cached.rows.items():
        if wanted is None or number >= wanted:
            return _PreviewRow(number, cells, cached.malformed.get(number), number in cached.hidden)
    for chunk in cached.customers.chunks(()):
        for number, *cells in chunk.frame.itertuples():
            if wanted is not None and number >= wanted:
                return _PreviewRow(number, cells, chunk.malformed.get(number), number in chunk.hidden)
    last = next(reversed(cached.rows), None)
    return None if last is None else _PreviewRow(last, cached.rows[last])


def _neighbors(cached: _CachedList, row: int) -> tuple[int | None, int | None]:
    """Returns the numbers of the rows before and after a row. Past the rows in memory they are guessed."""
    numbers = list(cached.rows)
    if row > numbers[-1]:
        return (max(row - 1, numbers[-1])), row + 1
    earlier = max((number for number in numbers if number < row), default=None)
    later = min((number for number in numbers if number > row), default=None)
    if later is None and len(numbers) < cached.customers.rows:
        later = row + 1
    return earlier, later


def _roles(campaign: Campaign, headers: Sequence[str]) -> tuple[Roles | None, tuple[str, ...]]:
    """Returns the columns' roles, or the problems in finding them."""
    try:
        return find_columns(campaign, headers), ()
    except ListError as error:
        return None, error.problems


def _found(roles: Roles | None, headers: Sequence[str]) -> dict[str, str]:
    """Returns our names for columns -> the headers that were found for them."""
    if roles is None:
        return {}
    names = ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone", "zip", "state", "consent")
    positions = {name: getattr(roles, name) for name in names}
    return {name: headers[position] for name, position in positions.items() if position is not None}


def _variables(headers: Sequence[str]) -> list[str]:
    """Returns how a template writes each column that has a header."""
    columns = ColumnIndex(headers)
    return [reference_to(columns, index) for index, header in enumerate(headers) if header]


def _with_text(
    campaign: Campaign, headers: Sequence[str], compiled: MessageTemplate, row: _PreviewRow, empty: RowText
) -> RowText:
    """Adds the row's text, or the reason that it would not be sent."""
    roles, _ = _roles(campaign, headers)
    if roles is None:
        return _rendered(campaign, compiled, row.cells, empty)
    context = Context(
        campaign=campaign,
        headers=headers,
        roles=roles,
        templates=TemplateChoice(compiled),
        malformed={row.number: row.malformed} if row.malformed else {},
        hidden=[row.number] if row.hidden else [],
    )
    judged = judge(rows_of(pd.DataFrame([row.cells], index=[row.number], dtype=object)), context).iloc[0]
    code, description = judged["code"], judged["description"] or ""
    if judged["body"] is None and judged["phone_problem"] is None and not row.malformed:
        # The row is skipped before its text is made, but the person who edits the text wants to see it.
        shown = _rendered(campaign, compiled, row.cells, empty)
        return shown if shown.code or code is None else _with_issue(shown, code, description)
    shown = replace(empty, phone=judged["phone"])
    if judged["body"] is not None:
        shown = _with_body(shown, judged["body"])
    return shown if code is None else _with_issue(shown, code, description)


def _rendered(campaign: Campaign, compiled: MessageTemplate, cells: Sequence[str], empty: RowText) -> RowText:
    """Renders a row without judging it."""
    try:
        body = normalize(compiled.render(cells))
    except RowProblem as problem:
        return _with_issue(empty, problem.code, problem.description)
    if campaign.message.smart_encoding:
        body = smart_encode(body)
    return _with_body(empty, body)


def _with_body(shown: RowText, body: str) -> RowText:
    size = size_with_opt_out(body, shown.opt_out_line)
    return replace(shown, body=body, segments=size.segments, encoding=str(size.encoding), units=size.units)


def _with_issue(shown: RowText, code: str, description: str) -> RowText:
    advice = advise(Status.INVALID, code)
    sentence = description or advice.meaning
    return replace(shown, code=str(code), problem=f"{sentence.removesuffix('.')}. {advice.what_to_do}")
